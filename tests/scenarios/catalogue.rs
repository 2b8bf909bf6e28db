//! The scenarios that the program brings along, and what each of them is there to show.

use paraclock::sim::{self, Experiment, World};

use super::world::report;

/// Runs a scenario that comes along until some second of true time.
fn run(name: &str, seed: u64, until: f64) -> World {
    let experiment = named(name);
    let mut world = World::new(&experiment.scenario, seed);
    world.run_until(until);
    world
}

fn named(name: &str) -> Experiment {
    sim::built_in(name).unwrap_or_else(|| panic!("there is no {name}"))
}

/// Every guest is within `limit` seconds of the truth, and none ever broke a promise.
fn assert_all_right(world: &World, limit: f64) {
    for (i, guest) in world.guests().iter().enumerate() {
        let error = guest.clock_error();
        assert!(error.abs() < limit, "guest {i} is {error:e} s off");
        assert_eq!(guest.violation(), None, "guest {i}");
    }
}

#[test]
fn no_scenario_keeps_the_program_awake() {
    for name in sim::names() {
        let world = run(name, 1, named(name).duration.min(2000.0));
        for guest in world.guests() {
            assert_eq!(guest.spins(), 0, "{name}: something due was left undone");
            let wakeups = guest.agent().totals().wakeups;
            let readings = guest.readings();
            assert!(wakeups < 2 * 2000 + readings, "{name}: {wakeups} wake-ups in 2000 s");
        }
    }
}

#[test]
fn guests_follow_each_other_in_tiers() {
    for seed in 1..=3 {
        let world = run("tiers", seed, 6000.0);
        assert_all_right(&world, 5e-3);
        let strata: Vec<u8> = world.guests().iter().map(|g| g.agent().published().snapshot.stratum.get()).collect();
        assert_eq!(strata, [2, 3, 4]);
    }
}

#[test]
fn a_new_era_passes_unnoticed() {
    for seed in 1..=3 {
        // The change comes 3496 s after the start.
        let world = run("era-2036", seed, 5000.0);
        assert_all_right(&world, 1e-3);
        assert_eq!(report(&world).tracking.status, "synchronised");
    }
}

#[test]
fn a_leap_second_is_followed_whether_it_is_inserted_or_smeared() {
    for seed in 1..=3 {
        let inserted = run("leap-second", seed, 4000.0);
        assert_all_right(&inserted, 1e-3);
        assert_eq!(report(&inserted).counters.steps, 1);
        let smeared = run("leap-smear", seed, 60_000.0);
        assert_all_right(&smeared, 1e-3);
        assert_eq!(report(&smeared).counters.steps, 0);
    }
}

#[test]
fn a_migration_is_survived_whether_it_is_told_or_not() {
    for name in ["migration", "migration-unsignalled"] {
        for seed in 1..=3 {
            let mut world = run(name, seed, 4000.0);
            assert_all_right(&world, 1e-3);
            world.run_until(4300.0);
            assert_all_right(&world, 1e-3);
            let migrations = report(&world).counters.disruptions["migration"];
            assert_eq!(migrations, u64::from(name == "migration"), "{name}");
        }
    }
}

#[test]
fn a_clock_that_goes_away_is_missed_and_taken_back() {
    for seed in 1..=3 {
        let mut world = run("ena", seed, 8300.0);
        assert_all_right(&world, 1e-3);
        assert_eq!(report(&world).sources[0].state, "unreachable");
        world.run_until(8900.0);
        assert_all_right(&world, 1e-4);
        assert_eq!(report(&world).sources[0].state, "selected");
    }
}

#[test]
fn what_another_program_does_to_the_clock_is_undone() {
    for seed in 1..=3 {
        let mut world = run("interference", seed, 4002.0);
        assert_all_right(&world, 1e-3);
        world.run_until(9000.0);
        assert_all_right(&world, 1e-3);
        assert!(report(&world).counters.foreign_steps >= 3);
    }
}

#[test]
fn a_host_that_keeps_its_guest_waiting_does_not_make_it_wrong() {
    for seed in 1..=3 {
        assert_all_right(&run("noisy-neighbour", seed, 4000.0), 1e-4);
    }
}
