//! How servers are asked.

use super::world::*;
use paraclock::sim::{Action, Kiss, World};

#[test]
fn iburst_synchronises_within_seconds() {
    let scenario = guest(&["server 10.0.0.1 iburst"]).server(truthful(), link_local());
    for_seeds(&scenario, |world| {
        world.run_until(7.0);
        assert_right(world, 1e-3);
        assert_eq!(world.asked(0), 4);
        assert_eq!(report(world).tracking.status, "synchronised");
    });
}

#[test]
fn a_rate_kiss_slows_us_down_for_good() {
    let kiss = |k| Action::Kiss { server: 0, kiss: k };
    let scenario = guest(&["server 10.0.0.1 minpoll 4 maxpoll 4"])
        .server(truthful(), link_local())
        .at(1000.0, kiss(Some(Kiss::Rate)))
        .at(1020.0, kiss(None));
    for_seeds(&scenario, |world| {
        world.run_until(1000.0);
        let before = world.asked(0);
        world.run_until(2000.0);
        let asked = world.asked(0) - before;
        assert!(asked <= 33, "asked {asked} times in 1000 s after a RATE kiss at poll 4");
        assert_right(world, 1e-3);
    });
}

#[test]
fn a_deny_kiss_ends_the_association() {
    let scenario = guest(&["server 10.0.0.1 minpoll 4 maxpoll 4"])
        .server(truthful(), link_local())
        .at(1000.0, Action::Kiss { server: 0, kiss: Some(Kiss::Deny) });
    for_seeds(&scenario, |world| {
        world.run_until(1050.0);
        let asked = world.asked(0);
        world.run_until(9000.0);
        assert_eq!(world.asked(0), asked);
        let source = source(world, "10.0.0.1");
        assert_eq!(source.reason, "the server refuses to answer us");
        assert_eq!(report(world).tracking.status, "holdover");
        assert_honest(world);
    });
}

#[test]
fn losing_half_of_all_packets_is_survived() {
    let path = link_local().losing(0.3);
    let scenario = guest(&["server 10.0.0.1 minpoll 4 maxpoll 6"]).server(truthful(), path);
    for_seeds(&scenario, |world| {
        world.run_until(6000.0);
        assert_right(world, 1e-3);
    });
}

#[test]
fn the_same_seed_makes_the_same_decisions() {
    let scenario = guest(&["server 10.0.0.1 iburst", "refclock PHC /dev/ptp0 poll 2 dpoll -2"]).server(truthful(), link_local()).phc(phc());
    let run = |seed, stops: &[f64]| {
        let mut world = World::new(&scenario, seed);
        for &stop in stops {
            world.run_until(stop);
        }
        (world.digest(), format!("{:?} {:?}", world.agent().published(), world.statistics()))
    };
    assert_eq!(run(42, &[3000.0]), run(42, &[3000.0]));
    assert_eq!(run(42, &[3000.0]), run(42, &[0.3, 17.25, 1000.0, 3000.0]), "whoever looks changes nothing");
    assert_ne!(run(42, &[3000.0]).0, run(43, &[3000.0]).0);
}
