//! What virtual machines do to time.

use std::time::Duration;

use super::world::*;
use paraclock::core::Generation;
use paraclock::sim::{Action, Phc};
use paraclock::units::Offset;
use paraclock::wire::control::Report;

/// How many disruptions there were, and what the last was.
fn events(report: &Report) -> (u64, &str) {
    report.disruption.as_ref().map_or((0, ""), |event| (event.number, &event.kind))
}

/// A guest that stood still for a minute: nothing says so.
const UNSIGNALLED: Action = Action::Migrate { guest: 0, away: Duration::from_secs(60), frequency: 1e-4, signalled: false };

#[test]
fn a_suspend_is_noticed_and_mended_without_trusting_the_kernels_guess() {
    let scenario = guest(&["server 10.0.0.1 minpoll 4 maxpoll 4 iburst"])
        .server(truthful(), link_local())
        .at(1000.3, Action::Suspend { guest: 0, away: Duration::from_millis(20_400) });
    for_seeds(&scenario, |world| {
        world.run_until(1000.0);
        assert_right(world, 1e-3);
        world.run_until(1024.0);
        let report = report(world);
        assert_eq!(events(&report), (1, "suspend"));
        assert_eq!(report.tracking.status, "synchronised", "{report:#?}");
        assert!(world.clock_error().abs() < 1e-3, "{:e}", world.clock_error());
        assert_honest(world);
    });
}

#[test]
fn a_restore_is_announced_at_once_and_mended_by_the_ptp_clock() {
    let generation = Some(Generation { disruption_marker: 1, vm_generation: Some(1) });
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0", "server 10.0.0.1 minpoll 6 maxpoll 6"])
        .phc(Phc { generation, ..phc() })
        .server(truthful(), link_local())
        .at(1000.3, Action::Restore { guest: 0, away: Duration::from_secs(60), frequency: 9e-5 });
    for_seeds(&scenario, |world| {
        world.run_until(1000.0);
        world.run_until(1062.5);
        let report = report(world);
        assert_eq!(events(&report), (1, "restore"));
        assert_eq!(report.tracking.status, "synchronised", "{report:#?}");
        assert!(world.clock_error().abs() < 1e-3, "{:e}", world.clock_error());
        world.run_until(1300.0);
        assert!(world.clock_error().abs() < 1e-5, "{:e}", world.clock_error());
    });
}

#[test]
fn a_device_that_carries_no_time_still_tells_of_disruptions() {
    let generation = Some(Generation { disruption_marker: 1, vm_generation: None });
    let scenario = guest(&["refclock KVM poll 0", "server 10.0.0.1 minpoll 6 maxpoll 6"])
        .phc(Phc { generation, ..phc() })
        .server(truthful(), link_local())
        .at(2000.3, Action::Restore { guest: 0, away: Duration::from_secs(60), frequency: 1e-4 });
    for_seeds(&scenario, |world| {
        world.run_until(2000.2);
        assert_right(world, 1e-3);
        world.run_until(2066.0);
        assert_eq!(events(&report(world)), (1, "migration"));
        assert!(world.clock_error().abs() < 1e-3, "stepped on the first answer: {:e}", world.clock_error());
        let watcher = source(world, "KVM0");
        assert_ne!(watcher.state, "selected");
    });
}

#[test]
fn another_hosts_counter_is_learned_and_the_bound_stays_true() {
    let generation = Some(Generation { disruption_marker: 1, vm_generation: None });
    let scenario = guest(&["refclock KVM poll 0", "server 10.0.0.1 minpoll 4 maxpoll 4"])
        .phc(Phc { generation, ..phc() })
        .server(truthful(), link_local())
        .at(2000.3, Action::Restore { guest: 0, away: Duration::from_millis(300), frequency: 1.3e-4 });
    for_seeds(&scenario, |world| {
        // The page is read once a second: until then nobody can know.
        world.run_until(2002.0);
        let s = world.statistics().clone();
        assert!(s.line_violations <= 1 && s.clock_violations <= 1, "{s:?}");
        world.reset_statistics();
        world.run_until(6000.0);
        assert_right(world, 1e-4);
    });
}

#[test]
fn a_drift_file_of_another_machine_does_no_lasting_harm() {
    for lines in [["server 10.0.0.1 minpoll 4 maxpoll 4"], ["server 10.0.0.1 minpoll 6 maxpoll 6"], ["refclock PHC /dev/ptp0 poll 0"]] {
        let scenario = guest(&lines).phc(phc()).server(truthful(), link_local()).drift(60.0, 0.01);
        for_seeds(&scenario, |world| {
            world.run_until(5000.0);
            assert!(world.clock_error().abs() < 1e-4, "{:e}", world.clock_error());
            let s = world.statistics().clone();
            // The file says 60 +- 0.01 ppm where 100 is true: believed, with its margin, for two polls at most.
            assert!(s.line_violations <= 130, "{s:?}");
            world.reset_statistics();
            world.run_until(10_000.0);
            assert_right(world, 1e-4);
        });
    }
}

#[test]
fn servers_that_all_jump_are_a_disruption_and_stepped_to_at_once() {
    for servers in 1..=3_u8 {
        let lines: Vec<String> = (1..=servers).map(|i| format!("server 10.0.0.{i} iburst minpoll 4 maxpoll 4")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let scenario = (0..servers).fold(guest(&lines), |scenario, _| scenario.server(truthful(), link_local()));
        for_seeds(&scenario.at(1000.3, UNSIGNALLED), |world| {
            world.run_until(1000.0);
            assert_right(world, 1e-3);
            // Found with the next poll; the first answer of one server is confirmed by another.
            world.run_until(1060.3 + 17.0);
            let report = report(world);
            assert_eq!(events(&report), (1, "jump"), "{report:#?}");
            assert!(report.disruption.as_ref().unwrap().witnesses.contains_key("sources"));
            assert!(world.clock_error().abs() < 1e-3, "{:e}", world.clock_error());
            world.reset_statistics();
            world.run_until(1300.0);
            assert_right(world, 1e-3);
        });
    }
}

#[test]
fn a_ptp_clock_that_jumps_alone_is_believed_once_it_is_confirmed() {
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0"]).phc(phc()).at(1000.3, UNSIGNALLED);
    for_seeds(&scenario, |world| {
        world.run_until(1061.4);
        assert_eq!(events(&report(world)), (1, "jump"));
        assert!(world.clock_error().abs() < 1e-3, "{:e}", world.clock_error());
    });
}

#[test]
fn a_ptp_clock_that_jumps_beside_a_server_has_the_server_asked_at_once() {
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0", "server 10.0.0.1 minpoll 6 maxpoll 6"])
        .phc(phc())
        .server(truthful(), link_local())
        .at(1000.3, UNSIGNALLED);
    for_seeds(&scenario, |world| {
        world.run_until(1062.0);
        assert_eq!(events(&report(world)), (1, "jump"));
        assert!(world.clock_error().abs() < 1e-3, "{:e}", world.clock_error());
    });
}

#[test]
fn one_server_that_jumps_is_outvoted_and_disturbs_nobody() {
    let scenario =
        guest(&["server 10.0.0.1 minpoll 4 maxpoll 4", "server 10.0.0.2 minpoll 4 maxpoll 4", "server 10.0.0.3 minpoll 4 maxpoll 4"])
            .server(truthful(), link_local())
            .server(truthful(), link_local())
            .server(truthful(), link_local())
            .at(1000.3, Action::Mislead { server: 0, error: Offset::from_seconds(60.0) });
    for_seeds(&scenario, |world| {
        world.run_until(1200.0);
        assert_right(world, 1e-3);
        assert_eq!(events(&report(world)), (0, ""));
        assert_eq!(source(world, "10.0.0.1").state, "falseticker");
    });
}

#[test]
fn a_ptp_clock_that_stood_still_with_the_machine_loses_against_the_server() {
    let counters = Some(Generation { disruption_marker: 1, vm_generation: Some(1) });
    let lines = ["refclock PHC /dev/ptp0 poll 0", "server 10.0.0.1 minpoll 4 maxpoll 4", "refclock KVM poll 0"];
    let lost = Offset::from_seconds(-60.0);
    let scenario = guest(&lines)
        .phc(phc())
        .phc(Phc { generation: counters, ..phc() })
        .server(truthful(), link_local())
        .at(1000.3, Action::Restore { guest: 0, away: Duration::from_secs(60), frequency: 1e-4 })
        .at(1060.3, Action::MisleadPhc { guest: 0, phc: 0, error: lost });
    for_seeds(&scenario, |world| {
        world.run_until(1064.5);
        assert_eq!(events(&report(world)), (1, "restore"));
        assert_eq!(source(world, "PHC0").state, "stopped");
        assert!(world.clock_error().abs() < 1e-3, "{:e}", world.clock_error());
        world.reset_statistics();
        world.run_until(3000.0);
        assert_right(world, 1e-3);
        assert_eq!(source(world, "PHC0").state, "stopped", "it has no vote until it is right again");
    });
}

#[test]
fn nobody_is_believed_when_a_ptp_clock_and_the_server_part_and_nothing_says_who_is_right() {
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0", "server 10.0.0.1 minpoll 4 maxpoll 4"])
        .phc(phc())
        .server(truthful(), link_local())
        .at(1000.3, UNSIGNALLED)
        .at(1060.3, Action::MisleadPhc { guest: 0, phc: 0, error: Offset::from_seconds(-60.0) });
    for_seeds(&scenario, |world| {
        world.run_until(1080.0);
        world.reset_statistics();
        world.run_until(2000.0);
        assert_eq!(report(world).tracking.status, "disrupted");
        assert_honest(world);
    });
}

#[test]
fn a_migration_that_keeps_the_time_right_is_verified_and_steps_nothing() {
    let counters = Some(Generation { disruption_marker: 1, vm_generation: Some(1) });
    let scenario = guest(&["refclock PHC /dev/ptp0 poll 0"])
        .phc(Phc { generation: counters, ..phc() })
        .at(1000.3, Action::Migrate { guest: 0, away: Duration::from_micros(200), frequency: 1e-4, signalled: true });
    for_seeds(&scenario, |world| {
        world.run_until(1003.0);
        let report = report(world);
        let event = report.disruption.as_ref().unwrap();
        assert_eq!((event.kind.as_str(), event.stepped, event.recovered_after.is_some()), ("migration", None, true));
        assert!(world.clock_error().abs() < 1e-4, "{:e}", world.clock_error());
    });
}
