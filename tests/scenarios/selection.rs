//! Who is believed, and why the others are not.

use super::world::*;
use paraclock::sim::{Action, Path, Server};
use paraclock::units::{Leap, Offset, Stratum};

const FAST: &str = "minpoll 4 maxpoll 4 iburst";

fn servers(n: usize) -> Vec<String> {
    (1..=n).map(|i| format!("server 10.0.0.{i} {FAST}")).collect()
}

fn lines(n: usize) -> paraclock::sim::Scenario {
    let lines = servers(n);
    guest(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn every_minority_of_liars_is_named_and_does_no_harm() {
    for (n, liars) in (3..=12).flat_map(|n| (1..=(n - 1) / 2).map(move |liars| (n, liars))) {
        let mut scenario = lines(n);
        for i in 0..n {
            let error = if i < liars { Offset::from_seconds(0.2 + 0.1 * f64::from(u8::try_from(i).unwrap())) } else { Offset::ZERO };
            scenario = scenario.server(Server::lying(error), link_local());
        }
        for_seeds(&scenario, |world| {
            world.run_until(300.0);
            assert_right(world, 1e-3);
            for i in 0..n {
                let state = source(world, &format!("10.0.0.{}", i + 1)).state;
                assert_eq!(state == "falseticker", i < liars, "{n} servers, {liars} liars: number {i} is {state}");
            }
        });
    }
}

#[test]
fn liars_that_tell_the_same_lie_are_named_as_long_as_they_are_fewer() {
    for n in [3, 5, 8, 12] {
        let mut scenario = lines(n);
        for i in 0..n {
            let error = if i < (n - 1) / 2 { Offset::from_seconds(-0.4) } else { Offset::ZERO };
            scenario = scenario.server(Server::lying(error), link_local());
        }
        for_seeds(&scenario, |world| {
            world.run_until(300.0);
            assert_right(world, 1e-3);
            let named = report(world).sources.iter().filter(|s| s.state == "falseticker").count();
            assert_eq!(named, (n - 1) / 2, "of {n}");
        });
    }
}

#[test]
fn a_liar_that_drifts_away_slowly_is_found_out_before_it_does_harm() {
    // 200 ns a second: far below what any single sample shows.
    let liar = Server { drift: 2e-7, ..truthful() };
    let mut scenario = lines(3).server(truthful(), link_local()).server(liar, link_local());
    scenario = scenario.server(truthful(), link_local());
    for_seeds(&scenario, |world| {
        world.run_until(1000.0);
        world.reset_statistics();
        world.run_until(20_000.0);
        assert_right(world, 1e-3);
        assert!(world.statistics().worst < 3e-4, "{:e}", world.statistics().worst);
        assert_eq!(source(world, "10.0.0.2").state, "falseticker");
    });
}

#[test]
fn wrong_servers_are_outvoted_by_a_paravirtual_clock_and_one_other() {
    let lines =
        ["refclock PHC /dev/ptp0 poll 0", "server 10.0.0.1 minpoll 4 maxpoll 4 iburst", "server 10.0.0.2 minpoll 4 maxpoll 4 iburst"];
    let wrong = Server::lying(Offset::from_seconds(0.02));
    let scenario = guest(&lines).phc(phc()).server(wrong, link_local()).server(truthful(), link_local());
    for_seeds(&scenario, |world| {
        world.run_until(200.0);
        assert_right(world, 1e-6);
        assert_eq!(source(world, "10.0.0.1").state, "falseticker");
        assert_eq!(source(world, "PHC0").state, "selected");
    });
}

#[test]
fn sources_that_swap_places_do_not_make_the_clock_jump() {
    // One path is calm while the other is busy, and the other way round every 500 s.
    let (calm, busy) = (Path::symmetric(1e-3, 2e-5), Path::symmetric(5e-3, 2e-3));
    let mut scenario = lines(2).server(truthful(), calm).server(truthful(), busy);
    for i in 1..20_u8 {
        let (first, second) = if i % 2 == 1 { (busy, calm) } else { (calm, busy) };
        let at = 500.0 * f64::from(i);
        scenario =
            scenario.at(at, Action::Route { guest: 0, server: 0, path: first }).at(at, Action::Route { guest: 0, server: 1, path: second });
    }
    for_seeds(&scenario, |world| {
        world.run_until(500.0);
        let mut selected = Vec::new();
        let mut before = world.clock_error();
        for second in 501..10_000_u16 {
            world.run_until(f64::from(second));
            let error = world.clock_error();
            // A hundredth of the busy path's noise: nobody would call that a jump.
            assert!((error - before).abs() < 2e-5, "{:e} in a second at {second} s", error - before);
            before = error;
            let now = world.agent().published().selected;
            if selected.last() != Some(&now) {
                selected.push(now);
            }
        }
        assert!(selected.len() >= 4, "the test needs sources that swap places: {selected:?}");
        assert_right(world, 1e-4);
    });
}

#[test]
fn a_source_that_goes_wrong_later_is_found_out() {
    let scenario = lines(3)
        .server(truthful(), link_local())
        .server(truthful(), link_local())
        .server(truthful(), link_local())
        .at(500.0, Action::Mislead { server: 1, error: Offset::from_seconds(0.3) });
    for_seeds(&scenario, |world| {
        world.run_until(600.0);
        assert_right(world, 1e-3);
        assert_eq!(source(world, "10.0.0.2").state, "falseticker");
    });
}

#[test]
fn two_against_two_is_no_majority_and_holds_over() {
    let mut scenario = lines(4);
    for _ in 0..4 {
        scenario = scenario.server(truthful(), link_local());
    }
    let wrong = Offset::from_seconds(0.5);
    let scenario = scenario.at(500.0, Action::Mislead { server: 0, error: wrong }).at(500.0, Action::Mislead { server: 1, error: wrong });
    for_seeds(&scenario, |world| {
        world.run_until(700.0);
        assert_right(world, 1e-3);
        assert_eq!(report(world).tracking.status, "holdover");
        for i in 1..=4 {
            assert_eq!(source(world, &format!("10.0.0.{i}")).state, "no_majority");
        }
    });
}

#[test]
fn a_paravirtual_clock_votes_and_can_be_outvoted() {
    let wrong = paraclock::sim::Phc { error: Offset::from_seconds(2.0), ..phc() };
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0", &format!("server 10.0.0.1 {FAST}"), &format!("server 10.0.0.2 {FAST}")])
        .phc(wrong)
        .server(truthful(), link_local())
        .server(truthful(), link_local());
    for_seeds(&scenario, |world| {
        world.run_until(120.0);
        assert_right(world, 1e-3);
        assert_eq!(source(world, "PHC0").state, "falseticker");
    });
}

#[test]
fn a_good_paravirtual_clock_is_followed_and_far_servers_only_vote() {
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0", &format!("server 10.0.0.1 {FAST}")])
        .phc(phc())
        .server(truthful(), paraclock::sim::Path::symmetric(1e-2, 1e-3));
    for_seeds(&scenario, |world| {
        world.run_until(300.0);
        assert_right(world, 1e-6);
        assert_eq!(source(world, "PHC0").state, "selected");
        assert_eq!(source(world, "10.0.0.1").state, "outclassed");
        assert_eq!(report(world).tracking.stratum, 1);
    });
}

#[test]
fn options_are_obeyed() {
    let scenario = guest(&[
        &format!("server 10.0.0.1 {FAST} noselect"),
        &format!("server 10.0.0.2 {FAST} prefer"),
        &format!("server 10.0.0.3 {FAST}"),
    ])
    .server(truthful(), link_local())
    .server(truthful(), link_local())
    .server(truthful(), link_local());
    for_seeds(&scenario, |world| {
        world.run_until(100.0);
        let states: Vec<String> = (1..=3).map(|i| source(world, &format!("10.0.0.{i}")).state).collect();
        assert_eq!(states, ["noselect", "selected", "not_preferred"]);
    });
}

#[test]
fn minsources_and_require_keep_the_clock_alone() {
    let few = guest(&[&format!("server 10.0.0.1 {FAST}"), "minsources 2"]).server(truthful(), link_local());
    for_seeds(&few, |world| {
        world.run_until(100.0);
        assert_eq!(report(world).tracking.status, "unsynchronised");
        assert_eq!(source(world, "10.0.0.1").state, "too_few");
        assert_eq!(report(world).counters.slews, 0);
    });
    let required = guest(&[&format!("server 10.0.0.1 {FAST}"), &format!("server 10.0.0.2 {FAST} require")])
        .server(truthful(), link_local())
        .server(Server { alive: false, ..truthful() }, link_local());
    for_seeds(&required, |world| {
        world.run_until(100.0);
        assert_eq!(report(world).tracking.status, "unsynchronised");
        assert_eq!(source(world, "10.0.0.1").state, "untrusted");
    });
}

#[test]
fn a_trusted_source_outvotes_others() {
    let scenario =
        guest(&[&format!("server 10.0.0.1 {FAST} trust"), &format!("server 10.0.0.2 {FAST}"), &format!("server 10.0.0.3 {FAST}")])
            .server(truthful(), link_local())
            .server(Server::lying(Offset::from_seconds(1.0)), link_local())
            .server(Server::lying(Offset::from_seconds(1.0)), link_local());
    for_seeds(&scenario, |world| {
        world.run_until(100.0);
        assert!(world.clock_error().abs() < 1e-3);
        assert_eq!(source(world, "10.0.0.2").state, "falseticker");
    });
}

#[test]
fn unsynchronised_and_distant_servers_are_not_followed() {
    let scenario = lines(2)
        .server(Server { leap: Leap::Unsynchronised, ..truthful() }, link_local())
        .server(Server { root_dispersion: std::time::Duration::from_secs(5), ..truthful() }, link_local());
    for_seeds(&scenario, |world| {
        world.run_until(100.0);
        assert_eq!(report(world).tracking.status, "unsynchronised");
        assert_eq!(source(world, "10.0.0.1").state, "unsynchronised");
        assert_eq!(source(world, "10.0.0.2").state, "distant");
    });
}

#[test]
fn a_server_that_follows_us_is_not_followed() {
    let us = paraclock::units::ReferenceId([10, 0, 1, 1]);
    let scenario = lines(1).server(Server { reference_id: us, stratum: Stratum::new(3), ..truthful() }, link_local());
    for_seeds(&scenario, |world| {
        world.run_until(100.0);
        assert_eq!(report(world).tracking.status, "unsynchronised");
        assert!(source(world, "10.0.0.1").rejected["loop"] > 0);
    });
}

#[test]
fn the_first_to_answer_is_not_believed_before_the_others_had_time() {
    // The liar is near, the truthful are far.
    let far = paraclock::sim::Path::symmetric(5e-2, 1e-3);
    let mut scenario =
        lines(3).server(Server::lying(Offset::from_seconds(100.0)), link_local()).server(truthful(), far).server(truthful(), far);
    scenario.guests[0].config.makestep = Some(paraclock::config::Makestep { threshold: std::time::Duration::from_secs(1), limit: Some(3) });
    for_seeds(&scenario, |world| {
        world.run_until(30.0);
        assert_right(world, 1e-2);
        assert_eq!(report(world).counters.steps, 0, "never stepped to the liar");
    });
}

#[test]
fn a_late_liar_breaks_the_majority_and_nothing_else() {
    let scenario = lines(2)
        .server(truthful(), link_local())
        .server(Server { alive: false, ..Server::lying(Offset::from_seconds(0.5)) }, link_local())
        .at(320.0, Action::Serve { server: 1, alive: true });
    for_seeds(&scenario, |world| {
        world.run_until(3000.0);
        assert_eq!(report(world).tracking.status, "holdover");
        assert_right(world, 1e-3);
        let wakeups = report(world).counters.wakeups;
        assert!(wakeups < 10_000, "{wakeups} wake-ups in 3000 s");
    });
}

#[test]
fn the_bound_holds_against_a_near_clock_that_is_a_little_wrong() {
    // One millisecond is within what two honest servers 20 ms away can tell: the bound must say so.
    let wrong = paraclock::sim::Phc { error: Offset::from_seconds(1e-3), ..phc() };
    let far = paraclock::sim::Path::symmetric(1e-2, 1e-3);
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0", &format!("server 10.0.0.1 {FAST}"), &format!("server 10.0.0.2 {FAST}")])
        .phc(wrong)
        .server(truthful(), far)
        .server(truthful(), far);
    for_seeds(&scenario, |world| {
        world.run_until(60.0);
        world.reset_statistics();
        world.run_until(1000.0);
        assert_honest(world);
    });
}

#[test]
fn a_server_that_loses_its_own_source_is_left() {
    let scenario = lines(1).server(truthful(), link_local()).at(500.0, Action::Announce { server: 0, leap: Leap::Unsynchronised });
    for_seeds(&scenario, |world| {
        world.run_until(600.0);
        assert_eq!(report(world).tracking.status, "holdover");
        assert_eq!(source(world, "10.0.0.1").state, "unsynchronised");
        assert_right(world, 1e-3);
    });
}
