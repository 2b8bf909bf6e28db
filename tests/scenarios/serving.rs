//! Guests that serve guests.

use std::time::Duration;

use paraclock::agent::Surroundings;
use paraclock::ntp::{Curve, SmoothingLimits};
use paraclock::sim::{Action, Guest, Machine, Oscillator, Scenario, Server};
use paraclock::units::{Instant, Leap, Offset, Ppm, Stratum, Timestamp};
use paraclock::wire::control::Report;

use super::world::{Build, assert_honest, config, for_seeds, guest, link_local, truthful};

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

/// The last day of 2016 from ten minutes before its end, when servers insert a second.
fn leap_day(lines: &[&str]) -> Scenario {
    let mut scenario = guest(lines);
    scenario.epoch = Timestamp::from_parts(1_483_228_800 - 600, 0);
    for server in 0..2 {
        scenario = scenario
            .server(Server { leap: Leap::Insert, ..truthful() }, link_local())
            .at(600.0, Action::Mislead { server, error: Offset::from_seconds(-1.0) })
            .at(600.0, Action::Announce { server, leap: Leap::Normal });
    }
    scenario
}

#[test]
fn a_leap_second_is_smeared_for_those_who_are_served() {
    let sources = ["server 10.0.0.1 iburst minpoll 4 maxpoll 4", "server 10.0.0.2 iburst minpoll 4 maxpoll 4"];
    let mut scenario = leap_day(&[sources[0], sources[1], "leapsecmode slew", "smoothtime 400 0.001 leaponly"]);
    scenario.guests.push(follower(0.5));
    let limits = SmoothingLimits { max_frequency: Ppm::new(400.0), max_wander: Ppm::new(0.001) };
    let curve = Curve::new(Instant::ZERO, 1.0, 0.0, &limits);
    for_seeds(&scenario, |world| {
        world.run_until(590.0);
        assert_eq!(report(world.guest(0)).smoothing.map(|s| (s.active, s.offset.abs() < 1e-12)), Some((true, true)));
        assert_eq!(report(world.guest(1)).tracking.leap, "Normal", "nobody who is served hears of it");
        let steps = report(world.guest(1)).counters.steps;
        let mut worst = 0.0_f64;
        // Peak rate 32 ppm, after nine hours.
        for second in 595..64_000 {
            world.run_until(f64::from(second));
            // The simulator counts on; UTC falls back by a second.
            let served = curve.at(Instant::ZERO + Offset::from_seconds((f64::from(second) - 600.0).max(0.0))).offset - 1.0;
            worst = worst.max((world.guest(1).clock_error() - served).abs());
        }
        assert!(worst < 1e-3, "{worst} s from what should be served");
        assert_eq!(report(world.guest(1)).counters.steps, steps, "nothing was stepped");
        assert_ne!(report(world.guest(0)).tracking.reference_id, "7F7F01FF", "the smear is over");
        assert!((world.guest(0).clock_error() + 1.0).abs() < 1e-3, "{}", world.guest(0).clock_error());
    });
}

#[test]
fn a_leap_second_that_is_announced_is_not_smeared_as_well() {
    let sources = ["server 10.0.0.1 iburst minpoll 4 maxpoll 4", "server 10.0.0.2 iburst minpoll 4 maxpoll 4"];
    for (mode, smooth) in [
        ("leapsecmode system", "smoothtime 400 1 leaponly"),
        ("leapsecmode step", "smoothtime 400 1 leaponly"),
        ("leapsecmode step", "smoothtime 400 1"),
    ] {
        let mut scenario = leap_day(&[sources[0], sources[1], mode, smooth]);
        scenario.guests.push(follower(0.5));
        for_seeds(&scenario, |world| {
            world.run_until(590.0);
            assert_eq!(report(world.guest(1)).tracking.leap, "Insert second", "{mode}, {smooth}");
            for second in 602..2000 {
                world.run_until(f64::from(second));
                let error = world.guest(1).clock_error();
                assert!((error + 1.0).abs() < 1e-2, "{mode}, {smooth}: {error} s at {second} s");
            }
        });
    }
}

#[test]
fn what_is_smoothed_can_be_seen() {
    let scenario = leap_day(&[
        "server 10.0.0.1 iburst minpoll 4 maxpoll 4",
        "server 10.0.0.2 iburst minpoll 4 maxpoll 4",
        "leapsecmode slew",
        "smoothtime 400 1 leaponly",
    ]);
    for_seeds(&scenario, |world| {
        world.run_until(1600.0);
        let report = report(world.guest(0));
        let smoothing = report.smoothing.expect("it is configured");
        // A second after the leap second at the earliest, and within a poll of it, the curve begins.
        assert!((0.679..0.681).contains(&smoothing.offset) && (smoothing.frequency_ppm + 400.0).abs() < 1e-6, "{smoothing:?}");
        assert!((1890.0..1910.0).contains(&smoothing.remaining), "{smoothing:?}");
        assert_eq!(report.tracking.reference_id, "7F7F01FF");
    });
}

#[test]
fn a_disruption_ends_a_smear() {
    let sources = ["server 10.0.0.1 iburst minpoll 4 maxpoll 4", "server 10.0.0.2 iburst minpoll 4 maxpoll 4"];
    let scenario = leap_day(&[sources[0], sources[1], "leapsecmode slew", "smoothtime 400 0.01 leaponly"]);
    let scenario = scenario.at(2000.0, Action::Suspend { guest: 0, away: Duration::from_secs(60) });
    for_seeds(&scenario, |world| {
        world.run_until(1999.0);
        let smear = report(world.guest(0));
        assert!(smear.smoothing.is_some_and(|s| s.offset > 0.5), "{:?}", smear.smoothing);
        assert_eq!(smear.tracking.reference_id, "7F7F01FF");
        world.run_until(2200.0);
        let over = report(world.guest(0));
        assert!(over.smoothing.is_some_and(|s| s.active && s.offset.abs() < 1e-9), "{:?}", over.smoothing);
        assert_eq!((over.tracking.status.as_str(), over.tracking.stratum), ("synchronised", 2));
        assert_ne!(over.tracking.reference_id, "7F7F01FF");
    });
}

#[test]
fn corrections_are_smoothed_too_unless_only_leap_seconds_are() {
    let lines = ["server 10.0.0.1 iburst minpoll 4 maxpoll 4", "smoothtime 100 0.01"];
    let mut scenario = guest(&lines).server(truthful(), link_local());
    scenario.guests.push(follower(0.0));
    let scenario = scenario.at(2000.0, Action::Mislead { server: 0, error: Offset::from_seconds(0.05) });
    for_seeds(&scenario, |world| {
        world.run_until(1999.0);
        let mut before = world.guest(1).clock_error();
        for second in 2000..7000 {
            world.run_until(f64::from(second));
            let now = world.guest(1).clock_error();
            assert!((now - before).abs() < 1e-4, "{} ppm at {second} s", (now - before) * 1e6);
            before = now;
        }
        assert!((before - 0.05).abs() < 1e-3, "{before}");
        let smoothing = report(world.guest(0)).smoothing.expect("it is configured");
        assert!(smoothing.offset.abs() < 1e-4, "{smoothing:?}");
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

/// Each follows its own server and stays sure of the time; says what the third thinks of the first in the end.
fn assert_no_doubt_is_fed(scenario: &Scenario, server_of: fn(usize) -> String) {
    for_seeds(scenario, |world| {
        world.run_until(300.0);
        world.reset_statistics();
        for hour in 1..=6 {
            world.run_until(3600.0 * f64::from(hour));
            for i in 0..3 {
                let tracking = report(world.guest(i)).tracking;
                assert_eq!((tracking.stratum, tracking.reference_name), (2, server_of(i)), "guest {i}");
                assert!(tracking.line.error.is_some_and(|error| error < 1e-3), "guest {i} after {hour} h: {:?}", tracking.line);
            }
        }
        assert_honest(world);
        let sources = report(world.guest(2)).sources;
        let sibling = sources.iter().find(|s| s.name == "10.0.1.1").expect("it is asked");
        assert!(sibling.reason.ends_with("it asks us too, and is told what we know without it"), "{sibling:?}");
    });
}

#[test]
fn siblings_of_one_server_do_not_feed_each_others_doubt() {
    assert_no_doubt_is_fed(&siblings("").server(truthful(), link_local()), |_| "10.0.0.1".to_owned());
}

#[test]
fn siblings_with_servers_of_their_own_do_not_feed_each_others_doubt() {
    let mut scenario = siblings("");
    for own in 1..=3 {
        scenario.guests[own - 1].config.servers[0].name = format!("10.0.0.{own}");
        scenario = scenario.server(truthful(), link_local());
    }
    assert_no_doubt_is_fed(&scenario, |guest| format!("10.0.0.{}", guest + 1));
}

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
