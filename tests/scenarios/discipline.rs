//! The clock is brought to the truth, stays there, and is stepped only where that is allowed.

use super::world::*;
use paraclock::sim::{Action, LeapSecond, Server, Truth};
use paraclock::units::{Leap, Offset, Timestamp};

const SERVER: &str = "server 10.0.0.1 minpoll 4 maxpoll 4";

#[test]
fn one_link_local_server_brings_the_clock_to_microseconds() {
    let scenario = guest(&[SERVER]).server(truthful(), link_local());
    for_seeds(&scenario, |world| {
        world.run_until(40.0);
        assert_right(world, 1e-3);
        world.run_until(2000.0);
        world.reset_statistics();
        world.run_until(6000.0);
        assert_right(world, 5e-5);
        let s = world.statistics();
        assert!(s.rms() < 1e-5, "rms {:e}", s.rms());
        assert!(s.frequency_rms() < 3e-7, "frequency rms {:e}", s.frequency_rms());
        assert_eq!(report(world).counters.steps, 0, "0.1 s is slewed without makestep");
    });
}

#[test]
fn a_wide_area_server_with_default_polls_is_followed_within_its_noise() {
    let path = paraclock::sim::Path::symmetric(2e-2, 2e-3);
    let scenario = guest(&["server 10.0.0.1"]).server(truthful(), path);
    for_seeds(&scenario, |world| {
        world.run_until(20_000.0);
        world.reset_statistics();
        world.run_until(60_000.0);
        assert_right(world, 1e-2);
        assert!(world.statistics().rms() < 1.5e-3, "rms {:e}", world.statistics().rms());
        assert!(source(world, "10.0.0.1").poll > 6, "the interval grows when all is calm");
    });
}

#[test]
fn a_ptp_clock_brings_the_clock_to_nanoseconds() {
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0"]).phc(phc());
    for_seeds(&scenario, |world| {
        world.run_until(10.0);
        assert_right(world, 1e-6);
        world.run_until(2000.0);
        world.reset_statistics();
        world.run_until(6000.0);
        assert_right(world, 2e-7);
        assert!(world.statistics().rms() < 2e-8, "rms {:e}", world.statistics().rms());
        let wakeups = report(world).counters.wakeups;
        assert!(wakeups < 2 * 6000, "{wakeups} wake-ups in 6000 s");
    });
}

#[test]
fn makestep_steps_in_its_first_updates_only() {
    let mut scenario = guest(&[SERVER, "makestep 1 3"]).server(truthful(), link_local());
    scenario.guests[0].clock_error = Offset::from_seconds(-3600.0);
    for_seeds(&scenario, |world| {
        world.run_until(3.0);
        assert_right(world, 1e-2);
        assert_eq!(report(world).counters.steps, 1);
    });
}

#[test]
fn without_makestep_a_large_error_is_slewed_at_the_rate_allowed() {
    let mut scenario = guest(&[SERVER, "maxslewrate 1000"]).server(truthful(), link_local());
    scenario.guests[0].clock_error = Offset::from_seconds(0.5);
    for_seeds(&scenario, |world| {
        world.run_until(100.0);
        // 1000 ppm for 100 s is 0.1 s.
        assert!((world.clock_error() - 0.4).abs() < 0.02, "{}", world.clock_error());
        world.run_until(700.0);
        assert_right(world, 1e-3);
        assert_eq!(report(world).counters.steps, 0);
    });
}

#[test]
fn a_foreign_step_is_undone_at_once_whatever_makestep_says() {
    for seconds in [3600.0, -3600.0, 0.02] {
        let scenario = guest(&[SERVER, "makestep 1 3"])
            .server(truthful(), link_local())
            .at(1000.3, Action::StepClock { guest: 0, by: Offset::from_seconds(seconds) });
        for_seeds(&scenario, |world| {
            world.run_until(1000.2);
            assert_right(world, 1e-3);
            world.run_until(1003.0);
            let error = world.clock_error();
            assert!(error.abs() < 1e-3, "{error:e} after a step by {seconds} s");
            assert_eq!(report(world).counters.foreign_steps, 1);
            // The line never moved.
            assert_eq!(world.statistics().line_violations, 0);
        });
    }
}

#[test]
fn foreignstep_slew_and_accept_do_what_they_say() {
    let step = Action::StepClock { guest: 0, by: Offset::from_seconds(1.0) };
    let slew = guest(&[SERVER, "foreignstep slew"]).server(truthful(), link_local()).at(1000.3, step);
    for_seeds(&slew, |world| {
        world.run_until(1004.0);
        assert!(world.clock_error() > 0.5, "slewing takes longer than that");
        world.run_until(1050.0);
        assert!(world.clock_error().abs() < 1e-3);
        assert_eq!(report(world).counters.steps, 0);
    });
    let accept = guest(&[SERVER, "foreignstep accept"]).server(truthful(), link_local()).at(1000.3, step);
    for_seeds(&accept, |world| {
        world.run_until(1002.0);
        assert!(world.clock_error() > 0.9, "believed until the next sample");
        assert_eq!(world.statistics().line_violations, 0, "and the bound says so");
        world.run_until(1060.0);
        assert!(world.clock_error().abs() < 1e-3);
    });
}

#[test]
fn holdover_keeps_the_frequency_and_the_bound_grows_honestly() {
    let scenario = guest(&[SERVER]).server(truthful(), link_local()).at(3000.0, Action::Serve { server: 0, alive: false });
    for_seeds(&scenario, |world| {
        world.run_until(3000.0);
        let before = report(world).tracking.clock.error.unwrap();
        world.run_until(3300.0);
        assert_eq!(report(world).tracking.status, "holdover");
        world.run_until(10_000.0);
        assert_right(world, 2e-3);
        let after = report(world).tracking.clock.error.unwrap();
        assert!(after > 2.0 * before, "{before:e} -> {after:e}");
        assert_eq!(source(world, "10.0.0.1").state, "unreachable");
    });
}

#[test]
fn the_drift_file_saves_relearning_the_frequency() {
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0"]).phc(phc());
    for_seeds(&scenario, |world| {
        world.run_until(60.0);
        let (frequency, skew) = world.saved().expect("saved within a minute");
        assert!((frequency.ppm() - 100.0).abs() < 0.1, "{frequency:?} is what chrony writes for a fast clock");
        assert!(skew.ppm() < 5.0);
    });
    let restarted = guest(&[SERVER]).server(truthful(), link_local()).drift(100.0, 0.05);
    for_seeds(&restarted, |world| {
        let frequency = report(world).tracking.frequency_ppm;
        assert!((frequency - 100.0).abs() < 1e-9, "known before the first sample: {frequency}");
        world.run_until(15.0);
        assert_right(world, 1e-4);
    });
}

#[test]
fn an_inserted_second_is_passed_without_a_stir() {
    // The last day of 2016, ten minutes before its end; the servers' labels fall back by a second.
    let mut scenario = guest(&[SERVER, "server 10.0.0.2 minpoll 4 maxpoll 4"]);
    scenario.epoch = Timestamp::from_parts(1_483_228_800 - 600, 0);
    for server in 0..2 {
        let told = Server { leap: Leap::Insert, ..truthful() };
        scenario = scenario
            .server(told, link_local())
            .at(600.0, Action::Mislead { server, error: Offset::from_seconds(-1.0) })
            .at(600.0, Action::Announce { server, leap: Leap::Normal });
    }
    for_seeds(&scenario, |world| {
        world.run_until(599.5);
        assert_right(world, 1e-3);
        world.run_until(602.0);
        assert!((world.clock_error() + 1.0).abs() < 1e-3, "a second behind the simulator's count: {}", world.clock_error());
        world.run_until(1200.0);
        assert!((world.clock_error() + 1.0).abs() < 1e-3, "{}", world.clock_error());
        let report = report(world);
        assert_eq!((report.counters.steps, report.counters.foreign_steps), (1, 0));
        assert_eq!(report.tracking.status, "synchronised");
    });
}

#[test]
fn a_leap_second_comes_once_though_servers_were_last_heard_before_it() {
    let mut scenario =
        guest(&["server 10.0.0.1 iburst minpoll 6", "server 10.0.0.2 iburst minpoll 6", "server 10.0.0.3 minpoll -2 maxpoll -2"]);
    scenario.epoch = Timestamp::from_parts(1_483_228_800 - 600, 0);
    scenario.leap = Some(LeapSecond { at: 600.0, kind: Leap::Insert, smear: 100.0, truth: Truth::Utc });
    // What the third says changes nothing, but makes the others be weighed again within the second.
    let unsynchronised = Server { leap: Leap::Unsynchronised, ..truthful() };
    let scenario = scenario.server(truthful(), link_local()).server(truthful(), link_local()).server(unsynchronised, link_local());
    for_seeds(&scenario, |world| {
        world.run_until(610.0);
        assert_right(world, 1e-3);
        assert_eq!(report(world).counters.steps, 1);
    });
}

#[test]
fn a_leap_second_on_any_other_day_is_not_believed() {
    let told = Server { leap: Leap::Insert, ..truthful() };
    let mut scenario = guest(&[SERVER]).server(told, link_local());
    // The end of an ordinary day.
    scenario.epoch = Timestamp::from_parts(1_800_057_600 - 600, 0);
    for_seeds(&scenario, |world| {
        world.run_until(1200.0);
        assert_right(world, 1e-3);
        assert_eq!(report(world).counters.steps, 0);
    });
}
