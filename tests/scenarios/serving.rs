//! Guests that serve guests.

use std::time::Duration;

use paraclock::agent::Surroundings;
use paraclock::sim::{Action, Guest, Machine, Oscillator, Scenario, Server};
use paraclock::units::{Leap, Offset, Stratum};
use paraclock::wire::control::Report;

use super::world::{Build, config, for_seeds, guest, link_local, truthful};

fn report(machine: &Machine) -> Report {
    machine.agent().report(machine.now(), &Surroundings::default())
}

/// Follows the first guest.
fn follower(ahead: f64) -> Guest {
    let oscillator = Oscillator { frequency: -3e-5, wander: 1e-9, ..Oscillator::default() };
    let lines = ["server 10.0.1.1 iburst minpoll 4 maxpoll 4", "makestep 0.1 3"];
    Guest { clock_error: Offset::from_seconds(ahead), oscillator, ..Guest::new(config(&lines)) }
}

#[test]
fn our_own_time_is_served_where_there_is_no_better() {
    let mut scenario: Scenario = guest(&["local stratum 7 waitunsynced 100"]);
    scenario.guests.push(follower(3.0));
    for_seeds(&scenario, |world| {
        world.run_until(90.0);
        assert_eq!(report(world.guest(1)).tracking.status, "unsynchronised", "its hour has not come");
        world.run_until(900.0);
        let (server, client) = (report(world.guest(0)), report(world.guest(1)));
        assert_eq!((server.tracking.stratum, server.tracking.reference_id.as_str()), (7, "7F7F0101"));
        assert_eq!(server.tracking.status, "unsynchronised", "it does not deceive itself");
        assert_eq!((client.tracking.status.as_str(), client.tracking.stratum), ("synchronised", 8));
        let apart = world.guest(1).clock_error() - world.guest(0).clock_error();
        assert!(apart.abs() < 1e-3, "{apart} s apart");
    });
}

#[test]
fn our_own_time_gives_way_to_better() {
    let scenario = guest(&["local stratum 7", "server 10.0.0.1 iburst minpoll 4 maxpoll 4"]).server(truthful(), link_local());
    for_seeds(&scenario, |world| {
        world.run_until(0.001);
        assert_eq!(report(world.guest(0)).tracking.stratum, 7);
        world.run_until(600.0);
        assert_eq!(report(world.guest(0)).tracking.stratum, 2);
    });
}

#[test]
fn time_of_the_last_stratum_is_followed_and_not_handed_on() {
    let mut scenario =
        guest(&["server 10.0.0.1 iburst minpoll 4 maxpoll 4"]).server(Server { stratum: Stratum::new(15), ..truthful() }, link_local());
    scenario.guests.push(follower(0.0));
    for_seeds(&scenario, |world| {
        world.run_until(600.0);
        let last = world.guest(0);
        let face = last.agent().published().snapshot.face(last.now());
        assert_eq!((report(last).tracking.status.as_str(), face.leap, face.stratum.get()), ("synchronised", Leap::Unsynchronised, 16));
        assert_eq!(report(world.guest(1)).tracking.status, "unsynchronised");
    });
}

#[test]
fn a_server_that_was_disrupted_is_not_followed_until_it_is_right() {
    let lines = ["server 10.0.0.1 iburst minpoll 4 maxpoll 4", "local stratum 10"];
    let mut scenario = guest(&lines).server(truthful(), link_local());
    scenario.guests.push(follower(0.0));
    let scenario = scenario.at(2000.0, Action::Suspend { guest: 0, away: Duration::from_secs(60) });
    for_seeds(&scenario, |world| {
        world.run_until(1990.0);
        assert_eq!(report(world.guest(1)).tracking.stratum, 3);
        for second in 2061..2400 {
            world.run_until(f64::from(second));
            let error = world.guest(1).clock_error();
            assert!(error.abs() < 5e-3, "{error} s off at {second} s");
        }
        assert_eq!(report(world.guest(1)).tracking.stratum, 3);
    });
}

/// Three guests that list one server and each other.
fn siblings(also: &str) -> Scenario {
    let polls = "iburst minpoll 4 maxpoll 4";
    let one = |own: usize| {
        let siblings = (1..=3).filter(move |n| *n != own).map(|n| format!("server 10.0.1.{n} {polls}"));
        let lines: Vec<String> = [format!("server 10.0.0.1 {polls}"), also.to_owned()].into_iter().chain(siblings).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let oscillator = Oscillator { frequency: f64::from(u8::try_from(own).unwrap_or(0)) * 1e-5, wander: 1e-9, ..Oscillator::default() };
        Guest { oscillator, ..Guest::new(config(&lines)) }
    };
    let mut scenario = guest(&[]);
    scenario.guests = (1..=3).map(one).collect();
    scenario
}

const ORPHANS: &str = "local stratum 10 orphan distance 0.02 waitunsynced 60";

#[test]
fn orphans_that_lose_the_one_they_follow_agree_on_another() {
    let (lost, dead) = (2000.0, 20_000.0);
    let scenario = siblings(ORPHANS)
        .server(truthful(), link_local())
        .at(lost, Action::Announce { server: 0, leap: Leap::Unsynchronised })
        .at(dead, Action::Suspend { guest: 0, away: Duration::from_secs(100_000) });
    for_seeds(&scenario, |world| {
        world.run_until(dead - 1.0);
        assert_eq!(report(world.guest(2)).tracking.reference_name, "10.0.1.1");
        world.run_until(dead + 40_000.0);
        let (leader, follower) = (report(world.guest(1)), report(world.guest(2)).tracking);
        assert_eq!((leader.tracking.stratum, leader.tracking.reference_id.as_str()), (10, "7F7F0101"));
        assert_eq!((follower.stratum, follower.reference_name.as_str()), (11, "10.0.1.2"));
        let apart = world.guest(2).clock_error() - world.guest(1).clock_error();
        assert!(apart.abs() < 1e-4, "{apart} s apart");
    });
}

#[test]
fn orphans_agree_on_one_of_them_until_there_is_better() {
    let (lost, found) = (2000.0, 60_000.0);
    let scenario = siblings(ORPHANS)
        .server(truthful(), link_local())
        .at(lost, Action::Announce { server: 0, leap: Leap::Unsynchronised })
        .at(found, Action::Announce { server: 0, leap: Leap::Normal });
    for_seeds(&scenario, |world| {
        world.run_until(lost);
        for i in 0..3 {
            let report = report(world.guest(i));
            assert_eq!(report.tracking.stratum, 2, "guest {i}: {report:?}");
        }
        for minute in 0..160 {
            world.run_until(50_000.0 + 60.0 * f64::from(minute));
            let leader = report(world.guest(0));
            assert_eq!((leader.tracking.stratum, leader.tracking.reference_id.as_str()), (10, "7F7F0101"), "it has the smallest id");
            for i in 1..3 {
                let tracking = report(world.guest(i)).tracking;
                assert_eq!(
                    (tracking.stratum, tracking.reference_name.as_str(), tracking.status.as_str()),
                    (11, "10.0.1.1", "synchronised"),
                    "guest {i}"
                );
                let apart = world.guest(i).clock_error() - world.guest(0).clock_error();
                assert!(apart.abs() < 1e-4, "guest {i} is {apart} s from the one followed");
            }
        }
        let sibling = report(world.guest(2)).sources.into_iter().find(|s| s.name == "10.0.1.2").expect("it is asked");
        assert!(sibling.reason.contains("all follow one of them"), "{sibling:?}");
        world.run_until(found + 2000.0);
        for i in 0..3 {
            assert_eq!(report(world.guest(i)).tracking.reference_name, "10.0.0.1", "guest {i}");
            assert!(world.guest(i).clock_error().abs() < 1e-3, "guest {i}");
        }
    });
}
