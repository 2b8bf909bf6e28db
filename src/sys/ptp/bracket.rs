//! Carries `CLOCK_REALTIME` stamps over to the timebase.
//!
//! The two clocks are read as a pair before and after the stamps were taken; a stamp is placed
//! between the pairs by linear interpolation. A step of the clock in between makes the pairs
//! disagree, and then nothing is carried over. Pure but for the reads of the pairs.

use std::time::Duration;

use super::device::Device;
use crate::units::{Instant, Offset, Timestamp};

/// Pairs may differ by this much beyond what reading and slewing explain.
const STEP: Duration = Duration::from_micros(10);
/// The kernel slews by at most a tenth (`adjtimex` tick) plus 500 ppm: an eighth is generous.
const SLEW_DIVISOR: u32 = 8;
/// How often a pair is read to find a narrow one.
const TRIES: usize = 3;

/// `CLOCK_REALTIME` between two raw readings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) before: Instant,
    pub(super) time: Timestamp,
    pub(super) after: Instant,
}

impl Pair {
    /// The narrowest of a few tries.
    pub(super) fn read(device: &mut impl Device) -> Self {
        let once = |device: &mut _| {
            let device: &mut dyn Device = device;
            Self { before: device.raw(), time: device.realtime(), after: device.raw() }
        };
        let mut best = once(device);
        for _ in 1..TRIES {
            let pair = once(device);
            if pair.width() < best.width() {
                best = pair;
            }
        }
        best
    }

    fn width(&self) -> Duration {
        self.after.elapsed_since(self.before)
    }

    fn middle(&self) -> Instant {
        self.before.midpoint(self.after)
    }
}

/// Pairs around the stamps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bracket {
    pub(super) before: Pair,
    pub(super) after: Pair,
}

impl Bracket {
    /// Whether a raw stamp lies inside.
    pub(super) fn contains(&self, stamp: Instant) -> bool {
        (self.before.before..=self.after.after).contains(&stamp)
    }

    /// How much more the clock moved than the timebase did.
    fn drift(&self) -> Offset {
        self.after.time.since(self.before.time) - self.after.middle().since(self.before.middle())
    }

    /// Error of carried stamps: the pairs' own width, and the drift, which may have come at once.
    fn uncertainty(&self) -> Duration {
        self.before.width().max(self.after.width()) / 2 + self.drift().abs()
    }

    /// Fails if the clock was stepped between the pairs.
    pub(super) fn check(&self) -> Result<(), String> {
        let span = self.after.after.elapsed_since(self.before.before);
        let allowed = STEP + self.before.width() + self.after.width() + span / SLEW_DIVISOR;
        if self.drift().abs() > allowed {
            return Err(format!("the clock was stepped by {:?} while the device was read", self.drift()));
        }
        Ok(())
    }

    /// The raw interval in which a `CLOCK_REALTIME` stamp was taken.
    pub(super) fn carry(&self, stamp: Timestamp) -> Result<(Instant, Instant), String> {
        self.check()?;
        let uncertainty = self.uncertainty();
        let position = i128::from(stamp.since(self.before.time).nanos());
        let clock_span = i128::from(self.after.time.since(self.before.time).nanos());
        let slack = i128::try_from(uncertainty.as_nanos()).unwrap_or(i128::MAX);
        if position < -slack || position > clock_span + slack {
            return Err(format!(
                "a system stamp ({stamp:?}) lies outside of the reading ({:?} to {:?})",
                self.before.time, self.after.time
            ));
        }
        let raw_span = i128::from(self.after.middle().since(self.before.middle()).nanos());
        let along = if clock_span > 0 { position * raw_span / clock_span } else { position };
        let at = self.before.middle() + Offset::from_nanos(i64::try_from(along).unwrap_or(i64::MAX));
        Ok(((at - uncertainty).max(self.before.before), (at + uncertainty).min(self.after.after)))
    }
}
