//! A paravirtual clock in the simulated world: PTP device, vmclock page or kvm-clock page.
//!
//! Which of these it is, the guest's `refclock` line says. All have a reading window and noise; those with
//! disruption counters tell of restores and migrations.

use std::time::Duration;

use serde::Deserialize;

use super::calendar::Calendar;
use super::{Chance, values};
use crate::core::{Generation, ReadError, Reading};
use crate::units::{Instant, Leap, Offset, Timescale};

/// Readings that a preemption widens.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Preemption {
    /// Probability that a reading meets one.
    #[serde(deserialize_with = "values::probability")]
    pub probability: f64,
    /// Its mean length, seconds; exponential. The device is read anywhere within.
    #[serde(deserialize_with = "values::positive")]
    pub mean: f64,
}

/// A paravirtual clock.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Phc {
    /// Its error at the start; positive when it is ahead of the truth.
    #[serde(deserialize_with = "values::offset")]
    pub error: Offset,
    /// How fast that error grows, as a ratio.
    #[serde(deserialize_with = "values::ratio")]
    pub drift: f64,
    /// Normal noise of one reading, seconds.
    #[serde(deserialize_with = "values::seconds")]
    pub noise: f64,
    /// Width of the reading window, seconds; the device is read in its middle.
    #[serde(deserialize_with = "values::seconds")]
    pub window: f64,
    /// Readings that take longer.
    pub preemption: Option<Preemption>,
    /// What it states of its own error.
    #[serde(deserialize_with = "values::duration")]
    pub max_error: Duration,
    /// The timescale that it states, if it does.
    pub timescale: Option<Timescale>,
    /// Its disruption counters, if it has any.
    #[serde(rename = "counters", deserialize_with = "values::generation")]
    pub generation: Option<Generation>,
    /// False: it cannot be read.
    pub present: bool,
}

impl Phc {
    /// A truthful clock with this noise of one reading, seconds.
    #[must_use]
    pub const fn new(noise: f64) -> Self {
        Self {
            error: Offset::ZERO,
            drift: 0.0,
            noise,
            window: 2e-7,
            preemption: None,
            max_error: Duration::ZERO,
            timescale: None,
            generation: None,
            present: true,
        }
    }
}

impl Default for Phc {
    fn default() -> Self {
        Self::new(1e-8)
    }
}

/// A reading under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Begun {
    /// The counter when it began.
    pub(super) before: Instant,
    /// True time when the device is read.
    pub(super) read: Instant,
    /// True time when it ends.
    pub(super) after: Instant,
}

/// A paravirtual clock as it runs.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) phc: Phc,
    /// When `phc.error` was true.
    since: Instant,
    chance: Chance,
    pub(super) readings: u64,
    /// False for a device that carries disruption counters alone.
    pub(super) tells_time: bool,
}

impl Device {
    pub(super) const fn new(phc: Phc, tells_time: bool, chance: Chance) -> Self {
        Self { phc, since: Instant::ZERO, chance, readings: 0, tells_time }
    }

    /// By how much it is ahead of the truth at `now`.
    pub(super) fn error(&self, now: Instant) -> Offset {
        self.phc.error + Offset::from_seconds(now.since(self.since).seconds() * self.phc.drift)
    }

    /// How far one reading of a truthful clock may lie from the truth, seconds.
    pub(super) fn reach(&self) -> f64 {
        self.phc.window / 2.0 + 6.0 * self.phc.noise + self.phc.max_error.as_secs_f64()
    }

    /// When its error was changed last.
    pub(super) const fn changed(&self) -> Instant {
        self.since
    }

    /// From `now` on it is wrong by `error`.
    pub(super) const fn mislead(&mut self, now: Instant, error: Offset) {
        self.phc.error = error;
        self.since = now;
    }

    /// From `now` on its error grows at this rate.
    pub(super) fn drift(&mut self, now: Instant, drift: f64) {
        self.phc.error = self.error(now);
        self.since = now;
        self.phc.drift = drift;
    }

    /// Begins a reading at `now`, when the counter shows `before`; the guest is held up for `stolen` seconds in it.
    pub(super) fn begin(&mut self, before: Instant, now: Instant, stolen: f64) -> Begun {
        self.readings += 1;
        let preempted = match self.phc.preemption {
            Some(p) if self.chance.happens(p.probability) => self.chance.exponential(p.mean),
            _ => 0.0,
        } + stolen;
        // Whatever held the guest up did so before or after the device was read.
        let early = if preempted > 0.0 { preempted * f64::from(u8::from(self.chance.happens(0.5))) } else { 0.0 };
        let read = now + Offset::from_seconds(self.phc.window / 2.0 + early);
        Begun { before, read, after: now + Offset::from_seconds(self.phc.window + preempted) }
    }

    /// The reading that ends now, when the counter shows `after`.
    pub(super) fn end(&mut self, calendar: &Calendar, begun: Begun, after: Instant) -> Result<Reading, ReadError> {
        if !self.phc.present {
            return Err(ReadError::Absent { device: "simulated clock".to_owned(), reason: "it is not there".to_owned() });
        }
        let noise = Offset::from_seconds(self.phc.noise * self.chance.normal());
        Ok(Reading {
            before: begun.before,
            after,
            reference: calendar.truth(begun.read) + self.error(begun.read) + noise,
            max_error: self.phc.max_error,
            tai_offset: None,
            timescale: self.phc.timescale,
            leap: Leap::Normal,
            generation: self.phc.generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    #[test]
    fn a_reading_lies_within_its_window_even_when_preempted() {
        let calendar = Calendar::new(Timestamp::from_parts(1_800_000_000, 0), None);
        let preemption = Some(Preemption { probability: 0.5, mean: 1e-3 });
        let mut device = Device::new(Phc { preemption, ..Phc::new(0.0) }, true, Chance::new(1));
        let mut wide = 0;
        for s in 0..1000 {
            let now = Instant::from_nanos(s * 1_000_000_000);
            let begun = device.begin(now, now, 0.0);
            let reading = device.end(&calendar, begun, begun.after).unwrap();
            let (low, high) = (calendar.truth(reading.before), calendar.truth(reading.after));
            assert!(low <= reading.reference && reading.reference <= high);
            wide += u32::from(reading.after.since(reading.before).nanos() > 10_000);
        }
        assert!((400..600).contains(&wide), "{wide}");
        assert_eq!(device.readings, 1000);
    }

    #[test]
    fn a_clock_that_is_gone_says_so() {
        let calendar = Calendar::new(Timestamp::from_parts(1_800_000_000, 0), None);
        let mut device = Device::new(Phc { present: false, ..Phc::default() }, true, Chance::new(1));
        let begun = device.begin(Instant::ZERO, Instant::ZERO, 0.0);
        assert!(matches!(device.end(&calendar, begun, begun.after), Err(ReadError::Absent { .. })));
    }
}
