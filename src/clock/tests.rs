//! What every clock must do. The kernel's clock is held to it in a guest only, never on the
//! machine that builds: `tests/guest` runs the ignored test there.

mod contract;

use super::*;
use std::time::Duration;

#[test]
fn the_simulated_clock_keeps_the_contract() {
    let timebase = Timebase::new(Instant::from_nanos(1_000));
    let mut clock = Simulated::new(timebase.clone(), Timestamp::from_parts(1_700_000_000, 0));
    contract::run(&mut clock, |wait| timebase.set(timebase.now() + wait));
}

#[test]
fn the_shadow_clock_keeps_the_contract() {
    contract::run(&mut Shadow::new(), std::thread::sleep);
}

#[test]
fn a_simulated_clock_sees_a_foreign_hand_and_drops_the_stamp_across_it() {
    let timebase = Timebase::new(Instant::ZERO);
    let mut clock = Simulated::new(timebase.clone(), Timestamp::from_parts(1_700_000_000, 0));
    timebase.set(Instant::from_nanos(1_000_000_000));
    assert_eq!(clock.watch(), None);
    clock.interfere(Offset::from_seconds(-3600.0));
    let stamp = clock.time();
    timebase.set(Instant::from_nanos(1_001_000_000));
    let Some(Signal::ClockSet { by, .. }) = clock.watch() else { panic!("a step of an hour goes unnoticed") };
    assert_eq!(by, Offset::from_seconds(-3600.0));
    assert_eq!(clock.instant_of(stamp), None);
    assert_eq!(clock.watch(), None, "reported once");
}

#[test]
fn a_shadow_places_packet_stamps_on_the_timebase() {
    let mut clock = Shadow::new();
    let before = crate::sys::time::raw();
    let stamp = crate::sys::time::realtime();
    let after = crate::sys::time::raw();
    let placed = clock.instant_of(stamp).unwrap();
    let slack = Duration::from_micros(50);
    assert!(placed + slack >= before && placed <= after + slack, "{before:?} {placed:?} {after:?}");
    assert_eq!(clock.instant_of(stamp + Offset::from_seconds(5.0)), None, "a stamp from the future");
    assert_eq!(clock.instant_of(stamp + Offset::from_seconds(-60.0)), None, "a stamp from long ago");
}

#[test]
#[ignore = "steers CLOCK_REALTIME: runs in a guest (tests/guest)"]
fn the_kernel_clock_keeps_the_contract() {
    assert!(std::env::var_os("PARACLOCK_IN_GUEST").is_some(), "this test steers the clock of the machine it runs on");
    contract::run(&mut Kernel::new(Some(Ppm::ZERO)).unwrap(), std::thread::sleep);
}
