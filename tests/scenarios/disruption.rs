//! What virtual machines do to time.

use std::time::Duration;

use super::world::*;
use paraclock::core::Generation;
use paraclock::sim::{Action, Phc};

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
        assert_eq!(report.counters.disruptions["suspend"], 1);
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
        assert_eq!(report.counters.disruptions["restore"], 1);
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
        assert_eq!(report(world).counters.disruptions["migration"], 1);
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
