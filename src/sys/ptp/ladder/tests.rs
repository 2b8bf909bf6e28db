use proptest::prelude::*;

use super::*;
use crate::sys::ptp::abi::{SysOffset, SysOffsetExtended, SysOffsetPrecise};
use crate::units::Offset;

const REAL_MINUS_RAW: i64 = 1_700_000_000_000_000_000;
const DEVICE_MINUS_RAW: i64 = 1_700_000_123_000_000_000;

/// A kernel with a PTP clock, in virtual nanoseconds.
struct Fake {
    now: i64,
    /// Added to `now` by each clock read and each stamp.
    tick: i64,
    /// Added to `CLOCK_REALTIME` by a step.
    stepped: i64,
    /// A step to make in the middle of the next ioctl.
    step: i64,
    precise: Result<Fill, Errno>,
    extended_raw: Result<(), Errno>,
    extended2: Result<(), Errno>,
    extended: Result<(), Errno>,
    basic: Result<(), Errno>,
    /// Whether a clock id in the request is honoured.
    knows_clock: bool,
    /// Seconds to put in place of the device's.
    garbage: Option<ClockTime>,
    calls: Vec<Rung>,
}

/// Which system stamps a PRECISE answer carries.
#[derive(Clone, Copy)]
enum Fill {
    All,
    RealtimeOnly,
    Neither,
}

impl Fake {
    fn new() -> Self {
        let no = Err(Errno::EOPNOTSUPP);
        Self {
            now: 5_000_000_000,
            tick: 20,
            stepped: 0,
            step: 0,
            precise: Err(Errno::EOPNOTSUPP),
            extended_raw: no,
            extended2: no,
            extended: no,
            basic: no,
            knows_clock: true,
            garbage: None,
            calls: Vec::new(),
        }
    }

    fn stamp(&mut self, clock: u32) -> ClockTime {
        self.now += self.tick;
        clock_time(if clock == CLOCK_MONOTONIC_RAW { self.now } else { self.now + REAL_MINUS_RAW + self.stepped })
    }

    fn device(&mut self) -> ClockTime {
        self.now += self.tick;
        self.stepped += std::mem::take(&mut self.step);
        self.garbage.unwrap_or(clock_time(self.now + DEVICE_MINUS_RAW))
    }
}

fn clock_time(nanos: i64) -> ClockTime {
    let (seconds, nanos) = Timestamp::from_nanos(nanos).parts();
    ClockTime { seconds, nanos: u32::try_from(nanos).unwrap(), reserved: 0 }
}

impl Device for Fake {
    fn precise(&mut self) -> nix::Result<SysOffsetPrecise> {
        self.calls.push(Rung::Precise);
        let fill = self.precise?;
        let device = self.device();
        let realtime = clock_time(self.now + REAL_MINUS_RAW + self.stepped);
        let raw = clock_time(self.now);
        self.now += 500;
        Ok(match fill {
            Fill::All => SysOffsetPrecise { device, realtime, raw, ..SysOffsetPrecise::default() },
            Fill::RealtimeOnly => SysOffsetPrecise { device, realtime, ..SysOffsetPrecise::default() },
            Fill::Neither => SysOffsetPrecise { device, ..SysOffsetPrecise::default() },
        })
    }

    fn extended(&mut self, second: bool, samples: u32, clock: u32) -> nix::Result<SysOffsetExtended> {
        let (rung, answer) = match (second, clock) {
            (false, CLOCK_MONOTONIC_RAW) => (Rung::ExtendedRaw, self.extended_raw),
            (true, _) => (Rung::Extended2, self.extended2),
            (false, _) => (Rung::Extended, self.extended),
        };
        self.calls.push(rung);
        answer?;
        let clock = if self.knows_clock { clock } else { CLOCK_REALTIME };
        let mut filled = SysOffsetExtended::new(samples, 0);
        for triple in filled.stamps.iter_mut().take(usize::try_from(samples).unwrap()) {
            *triple = [self.stamp(clock), self.device(), self.stamp(clock)];
            // Later windows are wider.
            self.tick += i64::from(self.tick > 0);
        }
        Ok(filled)
    }

    fn basic(&mut self, samples: u32) -> nix::Result<SysOffset> {
        self.calls.push(Rung::Basic);
        self.basic?;
        let mut filled = SysOffset::new(samples);
        for index in 0..usize::try_from(2 * samples + 1).unwrap() {
            filled.stamps[index] = if index % 2 == 0 { self.stamp(CLOCK_REALTIME) } else { self.device() };
        }
        Ok(filled)
    }

    fn raw(&mut self) -> Instant {
        self.now += self.tick;
        Instant::from_nanos(self.now)
    }

    fn realtime(&mut self) -> Timestamp {
        self.now += self.tick;
        Timestamp::from_nanos(self.now + REAL_MINUS_RAW + self.stepped)
    }
}

/// Every window must contain the instant at which the device was read.
fn assert_true(measurement: &Measurement) {
    for window in &measurement.windows {
        let at = Instant::from_nanos(window.device.nanos() - DEVICE_MINUS_RAW);
        assert!(window.before <= at && at <= window.after, "{window:?} misses {at:?}");
    }
    assert!(measurement.windows.windows(2).all(|pair| pair[0].width() <= pair[1].width()));
}

fn read(fake: &mut Fake, samples: u32) -> (Ladder, Result<Measurement, ReadError>) {
    let mut ladder = Ladder::default();
    let result = ladder.read(fake, samples, "/dev/ptp0");
    (ladder, result)
}

#[test]
fn a_cross_stamp_is_a_window_of_no_width() {
    let mut fake = Fake { precise: Ok(Fill::All), ..Fake::new() };
    let (ladder, result) = read(&mut fake, 5);
    let measurement = result.unwrap();
    assert_eq!((ladder.rung(), measurement.windows.len()), (Rung::Precise, 1));
    assert_eq!(measurement.windows[0].width(), Duration::ZERO);
    assert_true(&measurement);
}

#[test]
fn a_cross_stamp_without_raw_is_carried_over_from_realtime() {
    let mut fake = Fake { precise: Ok(Fill::RealtimeOnly), ..Fake::new() };
    let (_, result) = read(&mut fake, 1);
    let measurement = result.unwrap();
    assert_eq!(measurement.rung, Rung::Precise);
    assert!(measurement.windows[0].width() < Duration::from_nanos(100));
    assert_true(&measurement);
}

#[test]
fn a_cross_stamp_without_any_system_time_is_given_up_after_a_while() {
    let mut fake = Fake { precise: Ok(Fill::Neither), extended2: Ok(()), ..Fake::new() };
    let mut ladder = Ladder::default();
    for _ in 1..PATIENCE {
        assert!(matches!(ladder.read(&mut fake, 1, "p"), Err(ReadError::Invalid { .. })));
    }
    assert_eq!(ladder.read(&mut fake, 1, "p").unwrap().rung, Rung::Extended2);
}

#[test]
fn each_rung_is_reached_and_kept() {
    for errno in [Errno::ENODEV, Errno::EOPNOTSUPP, Errno::EINVAL, Errno::ENOTTY] {
        for rung in [Rung::ExtendedRaw, Rung::Extended2, Rung::Extended, Rung::Basic] {
            let answer = |other: Rung| if other == rung { Ok(()) } else { Err(errno) };
            let mut fake = Fake {
                precise: Err(errno),
                extended_raw: answer(Rung::ExtendedRaw),
                extended2: answer(Rung::Extended2),
                extended: answer(Rung::Extended),
                basic: answer(Rung::Basic),
                ..Fake::new()
            };
            let (mut ladder, result) = read(&mut fake, 5);
            let measurement = result.unwrap();
            assert_eq!((measurement.rung, measurement.windows.len()), (rung, 5), "{errno}");
            assert_true(&measurement);
            fake.calls.clear();
            ladder.read(&mut fake, 5, "p").unwrap();
            assert_eq!(fake.calls, [rung]);
            ladder.reset();
            assert_eq!(ladder.rung(), Rung::Precise);
        }
    }
}

#[test]
fn raw_stamps_have_the_exact_width() {
    let mut fake = Fake { extended_raw: Ok(()), ..Fake::new() };
    let measurement = read(&mut fake, 3).1.unwrap();
    assert_eq!(measurement.windows[0].width(), Duration::from_nanos(40));
}

#[test]
fn a_kernel_that_ignores_the_clock_id_is_found_out() {
    let mut fake = Fake { extended_raw: Ok(()), extended: Ok(()), knows_clock: false, ..Fake::new() };
    let measurement = read(&mut fake, 2).1.unwrap();
    assert_eq!(measurement.rung, Rung::Extended);
    assert_true(&measurement);
}

#[test]
fn a_step_during_the_reading_drops_it() {
    for step in [-1_000_000_000, -1_000_000, 100_000, 3_600_000_000_000] {
        for (extended, basic) in [(Ok(()), Err(Errno::ENOTTY)), (Err(Errno::ENOTTY), Ok(()))] {
            let mut fake = Fake { extended, basic, step, ..Fake::new() };
            let (mut ladder, result) = read(&mut fake, 1);
            assert!(matches!(result, Err(ReadError::Invalid { .. })), "{step}: {result:?}");
            // The next reading is good again, on the same rung.
            assert_true(&ladder.read(&mut fake, 1, "p").unwrap());
        }
    }
}

#[test]
fn a_step_too_small_to_see_is_inside_the_window() {
    let mut fake = Fake { extended: Ok(()), step: 8_000, ..Fake::new() };
    assert_true(&read(&mut fake, 1).1.unwrap());
}

#[test]
fn clocks_that_stand_still_give_windows_of_no_width() {
    let mut fake = Fake { tick: 0, extended: Ok(()), ..Fake::new() };
    let measurement = read(&mut fake, 1).1.unwrap();
    assert_eq!(measurement.windows[0].width(), Duration::ZERO);
    assert_true(&measurement);
}

#[test]
fn garbage_from_the_device_is_no_time() {
    for garbage in [ClockTime { seconds: -1, nanos: 0, reserved: 0 }, ClockTime { seconds: 1, nanos: u32::MAX, reserved: 0 }] {
        let mut fake = Fake { extended: Ok(()), garbage: Some(garbage), ..Fake::new() };
        assert!(matches!(read(&mut fake, 5).1, Err(ReadError::Invalid { .. })));
    }
    let huge = ClockTime { seconds: i64::MAX, nanos: 999_999_999, reserved: 0 };
    let mut fake = Fake { extended: Ok(()), garbage: Some(huge), ..Fake::new() };
    assert_eq!(read(&mut fake, 1).1.unwrap().windows[0].device.nanos(), i64::MAX);
}

#[test]
fn a_device_that_answers_nothing_says_all_that_was_tried() {
    let (ladder, result) = read(&mut Fake::new(), 5);
    let text = result.unwrap_err().to_string();
    assert!(text.contains("PTP_SYS_OFFSET_PRECISE: Operation not supported"), "{text}");
    assert!(text.contains("PTP_SYS_OFFSET: "), "{text}");
    // The next reading tries everything again.
    assert_eq!(ladder.rung(), Rung::Precise);
    let gone = Err(Errno::ENODEV);
    let mut fake = Fake { precise: Err(Errno::ENODEV), extended_raw: gone, extended2: gone, extended: gone, basic: gone, ..Fake::new() };
    assert!(matches!(read(&mut fake, 1).1, Err(ReadError::Absent { .. })));
}

#[test]
fn passing_failures_are_retried_before_going_down() {
    let mut fake = Fake { precise: Err(Errno::EBUSY), basic: Ok(()), ..Fake::new() };
    let mut ladder = Ladder::default();
    for _ in 1..PATIENCE {
        assert!(matches!(ladder.read(&mut fake, 1, "p"), Err(ReadError::Invalid { .. })));
        assert_eq!(ladder.rung(), Rung::Precise);
    }
    assert_eq!(ladder.read(&mut fake, 1, "p").unwrap().rung, Rung::Basic);
    let mut fake = Fake { precise: Err(Errno::EACCES), ..Fake::new() };
    assert!(matches!(read(&mut fake, 1).1, Err(ReadError::Denied { .. })));
}

#[test]
fn more_samples_than_the_kernel_takes_are_clamped() {
    for (asked, got) in [(0, 1), (25, 25), (99, 25)] {
        let mut fake = Fake { basic: Ok(()), ..Fake::new() };
        assert_eq!(read(&mut fake, asked).1.unwrap().windows.len(), got);
    }
}

proptest! {
    #[test]
    fn any_stamps_never_panic(seconds: [i64; 3], nanos: [u32; 3], base: i64, step: i64) {
        struct Wild { stamps: [ClockTime; 3], base: i64, step: i64 }
        impl Device for Wild {
            fn precise(&mut self) -> nix::Result<SysOffsetPrecise> {
                let [device, realtime, raw] = self.stamps;
                Ok(SysOffsetPrecise { device, realtime, raw, reserved: [0; 4] })
            }
            fn extended(&mut self, _: bool, samples: u32, _: u32) -> nix::Result<SysOffsetExtended> {
                let mut filled = SysOffsetExtended::new(samples, 0);
                filled.stamps = [self.stamps; MAX_SAMPLES];
                Ok(filled)
            }
            fn basic(&mut self, samples: u32) -> nix::Result<SysOffset> {
                let mut filled = SysOffset::new(samples);
                filled.stamps = std::array::from_fn(|index| self.stamps[index % 3]);
                Ok(filled)
            }
            fn raw(&mut self) -> Instant {
                self.base = self.base.wrapping_add(self.step);
                Instant::from_nanos(self.base)
            }
            fn realtime(&mut self) -> Timestamp {
                Timestamp::from_nanos(self.base) + Offset::from_nanos(self.step)
            }
        }
        let stamp = |index: usize| ClockTime { seconds: seconds[index], nanos: nanos[index], reserved: 0 };
        let mut wild = Wild { stamps: [stamp(0), stamp(1), stamp(2)], base, step };
        let mut ladder = Ladder::default();
        for _ in 0..20 {
            let _ = ladder.read(&mut wild, 3, "wild");
        }
    }
}
