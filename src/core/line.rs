//! The line *time = f(raw)*: what Paraclock believes the time is.

use crate::units::{Instant, Offset, Ppm, Timestamp};

/// A straight line through (`at`, `time` + `fraction`), rising by `1 + frequency` a second.
///
/// `time` is whole nanoseconds and `fraction` what lies below, so that moving the
/// anchor a million times loses nothing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Line {
    at: Instant,
    time: Timestamp,
    /// Seconds, below a nanosecond after each rebase.
    fraction: f64,
    /// Ratio: line seconds per raw second, minus one.
    frequency: f64,
}

impl Line {
    /// Through one point.
    #[must_use]
    pub const fn new(at: Instant, time: Timestamp, frequency: Ppm) -> Self {
        Self { at, time, fraction: 0.0, frequency: frequency.ratio() }
    }

    /// Through `time + phase` (seconds) at `at`.
    #[must_use]
    pub fn through(at: Instant, time: Timestamp, phase: f64, frequency: f64) -> Self {
        let whole = Offset::from_seconds(phase);
        Self { at, time: time + whole, fraction: phase - whole.seconds(), frequency }
    }

    /// Its anchor (instant, time and seconds below a nanosecond) and its rate as a ratio: for shared memory.
    #[must_use]
    pub const fn parts(&self) -> (Instant, Timestamp, f64, f64) {
        (self.at, self.time, self.fraction, self.frequency)
    }

    /// Back from its parts.
    #[must_use]
    pub const fn of_parts(at: Instant, time: Timestamp, fraction: f64, frequency: f64) -> Self {
        Self { at, time, fraction, frequency }
    }

    /// The time at `now`.
    #[must_use]
    pub fn at(&self, now: Instant) -> Timestamp {
        let elapsed = now.since(self.at);
        self.time + elapsed + Offset::from_seconds(elapsed.seconds() * self.frequency + self.fraction)
    }

    /// Seconds by which the line lies ahead of `time` at `now`, with less than a nanosecond of rounding.
    #[must_use]
    pub fn ahead_of(&self, time: Timestamp, now: Instant) -> f64 {
        let elapsed = now.since(self.at);
        (self.time + elapsed).since(time).seconds() + elapsed.seconds() * self.frequency + self.fraction
    }

    /// The raw instant at which the line reads `time`.
    #[must_use]
    pub fn instant_of(&self, time: Timestamp) -> Instant {
        let ahead = time.since(self.time).seconds() - self.fraction;
        // First order is exact to frequency^2 * distance: 0.1 ns over 1000 s at 10 ppm.
        self.at + Offset::from_seconds(-ahead * self.frequency / (1.0 + self.frequency)) + time.since(self.time)
    }

    /// Its rate against the timebase.
    #[must_use]
    pub const fn frequency(&self) -> Ppm {
        Ppm::from_ratio(self.frequency)
    }

    /// The same line after the timebase stood still for `slept` while time went on.
    #[must_use]
    pub fn shifted(self, by: Offset) -> Self {
        Self { time: self.time + by, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn evaluates_forwards_and_backwards() {
        let start = Instant::from_nanos(1_000);
        let line = Line::new(start, Timestamp::from_parts(100, 0), Ppm::new(50.0));
        let later = start + Duration::from_secs(1000);
        assert_eq!(line.at(later), Timestamp::from_parts(1100, 50_000_000));
        assert_eq!(line.instant_of(line.at(later)), later);
        assert!((line.ahead_of(Timestamp::from_parts(1100, 0), later) - 0.05).abs() < 1e-12);
        assert_eq!(line.shifted(Offset::from_seconds(2.0)).at(start), Timestamp::from_parts(102, 0));
    }

    #[test]
    fn fractions_of_a_nanosecond_survive_rebasing() {
        let mut line = Line::through(Instant::ZERO, Timestamp::UNIX_EPOCH, 0.0, 0.25e-9);
        for second in 1..=4000_i64 {
            let at = Instant::from_nanos(second * 1_000_000_000);
            let time = Timestamp::from_parts(second, 0);
            line = Line::through(at, time, line.ahead_of(time, at), 0.25e-9);
        }
        let end = Instant::from_nanos(4_000_000_000_000);
        assert_eq!(line.at(end).since(Timestamp::from_parts(4000, 0)).nanos(), 1000);
    }
}
