//! Paravirtual clocks among other sources: preempted readings, devices that go away, timescales.

use super::world::*;
use paraclock::sim::{Action, LeapSecond, Phc, Preemption, Scenario, Server, Truth};
use paraclock::units::{Leap, Timescale, Timestamp};

/// Readings torn open by milliseconds, so often.
fn preempted(probability: f64) -> Phc {
    Phc { preemption: Some(Preemption { probability, mean: 3e-3 }), ..phc() }
}

#[test]
fn torn_readings_are_set_aside_and_do_no_harm() {
    let mut errors = [0.0, 0.0];
    for (of, probability) in errors.iter_mut().zip([0.0, 0.33]) {
        let scenario = guest(&["refclock PHC /dev/ptp0 poll 0"]).phc(preempted(probability));
        let worst = std::cell::Cell::new(0.0_f64);
        for_seeds(&scenario, |world| {
            world.run_until(600.0);
            world.reset_statistics();
            world.run_until(2600.0);
            assert_right(world, 1e-6);
            let aside = source(world, "PHC0").preempted;
            // A third of 2600; in rows of more than three some are heard.
            assert!(if probability > 0.0 { (700..900).contains(&aside) } else { aside == 0 }, "{aside}");
            worst.set(worst.get().max(world.statistics().rms()));
        });
        *of = worst.get();
    }
    // A third of the readings is missing, and nothing else: their middles were up to milliseconds off.
    assert!(errors[1] < 2.0 * errors[0], "{errors:?}");
}

#[test]
fn a_clock_that_goes_away_is_missed_at_once() {
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0", "server 10.0.0.1 minpoll 4 maxpoll 4 iburst"])
        .phc(phc())
        .server(truthful(), link_local())
        .at(500.5, Action::ShowPhc { guest: 0, phc: 0, present: false })
        .at(600.5, Action::ShowPhc { guest: 0, phc: 0, present: true });
    for_seeds(&scenario, |world| {
        world.run_until(500.0);
        assert_eq!(source(world, "PHC0").state, "selected");
        world.run_until(501.5);
        let gone = source(world, "PHC0");
        assert_eq!((gone.state.as_str(), gone.reason.as_str()), ("unreachable", "its device is not there"));
        assert_eq!(source(world, "10.0.0.1").state, "selected");
        assert_right(world, 1e-4);
        // A device that stays away is asked less often, and is taken back.
        world.run_until(630.0);
        assert_eq!(source(world, "PHC0").state, "selected");
        assert_right(world, 1e-4);
    });
}

/// A day whose leap second, 14 hours from its beginning, is smeared from the second hour on.
fn smeared_day(lines: &[&str], truth: Truth) -> Scenario {
    let mut scenario = guest(lines);
    scenario.epoch = Timestamp::from_parts(1_861_869_600, 0);
    scenario.leap = Some(LeapSecond { at: 50_400.0, kind: Leap::Insert, smear: 86_400.0, truth });
    let named = |n: u8| (format!("time{n}.google.com"), vec![std::net::IpAddr::from([10, 0, 0, n])]);
    scenario.guests[0].names = (1..=3).map(named).collect();
    scenario
}

fn smearing() -> Server {
    Server { smear: true, ..truthful() }
}

#[test]
fn smeared_servers_are_never_combined_with_utc() {
    let polls = "iburst minpoll 4 maxpoll 6";
    let line = |host: &str| format!("server {host} {polls}");
    let mixed = |utc: &[u8], smeared: &[u8], extra: &str, truth| {
        let hosts = utc.iter().map(|n| format!("{}{extra}", line(&format!("10.0.0.{n}"))));
        let lines: Vec<String> = hosts.chain(smeared.iter().map(|n| line(&format!("time{n}.google.com")))).collect();
        let mut scenario = smeared_day(&lines.iter().map(String::as_str).collect::<Vec<_>>(), truth);
        for n in 1..=4_u8 {
            scenario = scenario.server(if smeared.contains(&n) { smearing() } else { truthful() }, link_local());
        }
        scenario
    };
    for (scenario, followed) in [
        (mixed(&[2, 3], &[1], "", Truth::Utc), "utc"),
        (mixed(&[4], &[1, 2, 3], " prefer", Truth::Utc), "utc"),
        (mixed(&[4], &[1, 2, 3], "", Truth::Smeared), "smeared"),
    ] {
        for_seeds(&scenario, |world| {
            // From hours before the smear to a quarter of a second into it.
            for at in [7_000.0, 8_000.0, 12_000.0, 30_000.0] {
                world.run_until(at);
                for source in report(world).sources {
                    let used = matches!(source.mark, '*' | '+' | '-');
                    assert_eq!(used, source.timescale == followed, "{at}: {source:?}");
                    assert!(used || source.state == "timescale", "{at}: {source:?}");
                }
                assert_right(world, 1e-3);
            }
        });
    }
}

#[test]
fn a_clock_of_unknown_timescale_counts_as_what_it_agrees_with_until_it_disagrees() {
    let unknown = Phc { timescale: Some(Timescale::Unknown), ..phc() };
    let polls = "iburst minpoll 4 maxpoll 4";
    let lines = ["refclock PHC /dev/ptp0 poll 0", &format!("server 10.0.0.1 {polls}"), &format!("server 10.0.0.2 {polls}")];
    let scenario = guest(&lines)
        .phc(unknown)
        .server(truthful(), link_local())
        .server(truthful(), link_local())
        // Its host begins to smear.
        .at(3000.0, Action::DriftPhc { guest: 0, phc: 0, drift: 1.157e-5 });
    for_seeds(&scenario, |world| {
        world.run_until(1000.0);
        let clock = source(world, "PHC0");
        assert_eq!((clock.state.as_str(), clock.timescale.as_str()), ("selected", "utc"));
        assert!(clock.timescale_from.starts_with("it agrees with 10.0.0."), "{clock:?}");
        world.run_until(4000.0);
        let clock = source(world, "PHC0");
        assert_eq!(
            (clock.state.as_str(), clock.timescale.as_str(), clock.timescale_from.as_str()),
            ("falseticker", "unknown", "nobody says")
        );
        assert!(clock.reason.contains("disagrees") && clock.reason.contains("its timescale is not known"), "{clock:?}");
        assert_right(world, 1e-3);
    });
}

#[test]
fn a_clock_that_agrees_with_smeared_servers_is_smeared_too() {
    let unknown = Phc { timescale: Some(Timescale::Unknown), ..phc() };
    let mut scenario =
        smeared_day(&["refclock PHC /dev/ptp0 poll 0", "server time1.google.com iburst minpoll 4 maxpoll 4"], Truth::Smeared);
    scenario = scenario.phc(unknown).server(smearing(), link_local());
    for_seeds(&scenario, |world| {
        world.run_until(1000.0);
        let clock = source(world, "PHC0");
        assert_eq!((clock.timescale.as_str(), clock.timescale_from.as_str()), ("smeared", "it agrees with time1.google.com"));
        assert_right(world, 1e-4);
    });
}

#[test]
fn what_the_configuration_says_of_a_timescale_comes_first() {
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0 timescale smeared", "server 10.0.0.1 iburst", "server 10.0.0.2 iburst"])
        .phc(Phc { timescale: Some(Timescale::Utc), ..phc() })
        .server(truthful(), link_local())
        .server(truthful(), link_local());
    for_seeds(&scenario, |world| {
        world.run_until(300.0);
        let clock = source(world, "PHC0");
        assert_eq!(
            (clock.state.as_str(), clock.timescale.as_str(), clock.timescale_from.as_str()),
            ("timescale", "smeared", "as configured")
        );
        assert_right(world, 1e-3);
    });
}

#[test]
fn servers_announce_the_leap_second_of_a_clock_that_cannot() {
    let polls = "iburst minpoll 4 maxpoll 4";
    for (servers, extra) in [(1, ""), (3, ""), (3, "prefer")] {
        let clock = format!("refclock PHC /dev/ptp0 poll 0 {extra}");
        let lines: Vec<String> = std::iter::once(clock).chain((1..=servers).map(|n| format!("server 10.0.0.{n} {polls}"))).collect();
        let mut scenario = guest(&lines.iter().map(String::as_str).collect::<Vec<_>>()).phc(phc());
        scenario.epoch = Timestamp::from_parts(1_861_920_000 - 600, 0);
        scenario.leap = Some(LeapSecond { at: 600.0, kind: Leap::Insert, smear: 86_400.0, truth: Truth::Utc });
        for _ in 0..servers {
            scenario = scenario.server(truthful(), link_local());
        }
        for_seeds(&scenario, |world| {
            world.run_until(590.0);
            assert_eq!(report(world).tracking.leap, "Insert second", "{servers} {extra}");
            world.reset_statistics();
            world.run_until(1200.0);
            assert_right(world, 1e-5);
            let report = report(world);
            assert_eq!((report.counters.steps, report.counters.disruptions["jump"]), (1, 0));
        });
    }
}

#[test]
fn a_clock_that_is_not_followed_makes_the_bound_grow_too() {
    // Both clocks see another rate in the same second; a server that was asked long before does not.
    let scenario =
        guest(&["refclock PHC /dev/ptp0 poll 0 prefer", "refclock PHC /dev/ptp1 poll 0", "server 10.0.0.1 iburst minpoll 6 maxpoll 6"])
            .phc(phc())
            .phc(phc())
            .server(truthful(), link_local())
            .at(1000.5, Action::Retune { guest: 0, frequency: -4.5e-5 });
    for_seeds(&scenario, |world| {
        world.run_until(1000.9);
        world.reset_statistics();
        for quarter in 0..40 {
            // From the first reading after it on.
            world.run_until(1001.05 + 0.25 * f64::from(quarter));
            let bound = world.agent().core().bounds(world.now()).0.at(world.now()).as_secs_f64();
            assert!(world.line_error().abs() <= bound, "{} s off, the bound is {bound}", world.line_error());
        }
    });
}
