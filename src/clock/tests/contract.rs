//! The contract itself, for any clock and any way to let time pass.

use std::time::Duration;

use crate::clock::Clock;
use crate::core::{Adjustment, Announcement, Correction};
use crate::units::{Leap, Offset, Ppm};

/// `wait` lets time pass on the clock's timebase.
pub(super) fn run(clock: &mut dyn Clock, wait: impl Fn(Duration)) {
    reads_on_its_course(clock);
    runs_at_the_rate_asked(clock, &wait);
    slews_by_the_offset_asked(clock, &wait);
    steps_by_the_offset_asked(clock);
    places_its_own_stamps(clock, &wait);
    holds(clock, &wait);
}

fn order(correction: Correction) -> Adjustment {
    let announcement = Announcement {
        synchronised: true,
        max_error: Duration::from_millis(5),
        est_error: Duration::from_millis(1),
        leap: Leap::Normal,
        tai_offset: None,
    };
    Adjustment { correction, announcement }
}

/// How far a reading lies from a course, beyond what its bracket excuses, nanoseconds.
fn off(clock: &dyn Clock, course: &crate::core::Course) -> u128 {
    let pair = clock.pair();
    let deviation = pair.time.since(course.at(pair.at())).abs().as_nanos();
    deviation.saturating_sub(pair.half_width().abs().as_nanos())
}

fn reads_on_its_course(clock: &mut dyn Clock) {
    let applied = clock.apply(&order(Correction::Slew { offset: Offset::ZERO, over: Duration::ZERO, frequency: Ppm::ZERO })).unwrap();
    assert_eq!(applied.course, clock.course());
    assert!(applied.stepped.is_none() && applied.course.until.is_none());
    assert!(off(clock, &applied.course) < 5_000, "{} ns off its course", off(clock, &applied.course));
    assert_eq!(clock.watch(), None);
}

fn runs_at_the_rate_asked(clock: &mut dyn Clock, wait: &impl Fn(Duration)) {
    for ppm in [-400.0, 80.0, 5_000.0] {
        let frequency = Ppm::new(ppm);
        let slew = Correction::Slew { offset: Offset::ZERO, over: Duration::ZERO, frequency };
        let course = clock.apply(&order(slew)).unwrap().course;
        assert!((course.rate.ppm() - ppm).abs() < 1e-3, "asked for {ppm} ppm, got {:?}", course.rate);
        wait(Duration::from_millis(200));
        assert!(off(clock, &course) < 5_000, "at {ppm} ppm: {} ns off its course", off(clock, &course));
        assert_eq!(clock.watch(), None, "our own change is not foreign");
    }
}

fn slews_by_the_offset_asked(clock: &mut dyn Clock, wait: &impl Fn(Duration)) {
    for millis in [2, -2] {
        let offset = Offset::from_nanos(millis * 1_000_000);
        let before = clock.course();
        let over = Duration::from_millis(100);
        let course = clock.apply(&order(Correction::Slew { offset, over, frequency: Ppm::ZERO })).unwrap().course;
        let until = course.until.expect("a slew ends");
        assert_eq!(until.since(course.at), over.into());
        let plain = before.at(course.at) + until.since(course.at);
        let moved = course.at(until).since(plain);
        let doubt = before.error + course.error + Duration::from_micros(2);
        assert!((moved - offset).abs() < doubt, "moved {moved:?}, not {offset:?}");
        wait(over);
        assert!(off(clock, &course) < 5_000);
        // A late wake-up is not a fault of the clock: it still runs on its course.
        wait(Duration::from_millis(20));
        assert!(off(clock, &course) < 5_000);
        clock.apply(&order(Correction::Slew { offset: Offset::ZERO, over: Duration::ZERO, frequency: Ppm::ZERO })).unwrap();
    }
}

fn steps_by_the_offset_asked(clock: &mut dyn Clock) {
    for seconds in [3.25, -7.5, 0.000_9] {
        let before = clock.course();
        let offset = Offset::from_seconds(seconds);
        let applied = clock.apply(&order(Correction::Step { offset, frequency: Ppm::ZERO })).unwrap();
        assert_eq!(applied.stepped, Some(offset));
        let moved = applied.course.time.since(before.at(applied.course.at));
        let doubt = before.error + applied.course.error + Duration::from_nanos(100_100);
        assert!((moved - offset).abs() < doubt, "stepped by {moved:?}, not {offset:?}");
        assert!(off(clock, &applied.course) < 150_000, "{} ns off after the step", off(clock, &applied.course));
        assert!(
            clock
                .watch()
                .is_none_or(|signal| matches!(signal, crate::core::Signal::ClockSet { by, .. } if by.abs() < Duration::from_micros(150)))
        );
    }
}

fn places_its_own_stamps(clock: &mut dyn Clock, wait: &impl Fn(Duration)) {
    if clock.kind() == "shadow" {
        return; // Packet stamps are CLOCK_REALTIME, which is not this clock; it has its own test.
    }
    let early = clock.pair();
    wait(Duration::from_millis(50));
    let slew = Correction::Slew { offset: Offset::from_nanos(1_000_000), over: Duration::from_millis(100), frequency: Ppm::ZERO };
    clock.apply(&order(slew)).unwrap();
    wait(Duration::from_millis(50));
    let late = clock.pair();
    for pair in [early, late] {
        let placed = clock.instant_of(pair.time).expect("the stamp is on a known piece");
        let error = placed.since(pair.at()).abs().saturating_sub(pair.half_width().abs());
        assert!(error < Duration::from_micros(5), "placed {error:?} wrong");
    }
}

fn holds(clock: &mut dyn Clock, wait: &impl Fn(Duration)) {
    let before = clock.course();
    let applied = clock.apply(&order(Correction::Hold)).unwrap();
    // A reading may narrow down where the clock is, within what was known; nothing else changes.
    let moved = applied.course.time.since(before.time).abs();
    assert!(moved <= before.error, "moved by {moved:?}, known to {:?}", before.error);
    assert_eq!((applied.course.at, applied.course.rate, applied.course.until), (before.at, before.rate, before.until));
    wait(Duration::from_millis(20));
    assert!(off(clock, &before) < 5_000);
}
