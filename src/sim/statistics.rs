//! What is seen of one guest, looked at each second of true time.

use super::histogram::Histogram;
use crate::units::count;

/// The limits whose reaching is timed, seconds.
pub const LIMITS: [f64; 4] = [1e-3, 1e-4, 1e-5, 1e-6];
/// A limit is reached where the offset stays below it for so long, seconds.
const STAY: f64 = 60.0;

/// One look at a guest.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Look {
    /// Clock minus truth, seconds.
    pub(super) offset: f64,
    /// The steered clock's frequency error, slew included.
    pub(super) frequency: f64,
    /// The clock's bound; infinite if unknown.
    pub(super) bound: f64,
    /// The truth left the clock's bound.
    pub(super) clock_violated: bool,
    /// The truth left the line's bound.
    pub(super) line_violated: bool,
    /// The guest could not know yet what happened to it.
    pub(super) unaware: bool,
}

/// What was seen since the last reset.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Statistics {
    /// Seconds sampled.
    pub samples: u64,
    /// Sum of squared errors of the clock, s^2.
    pub square: f64,
    /// Largest error of the clock, seconds.
    pub worst: f64,
    /// Sum of squared frequency errors of the clock, slews included.
    pub frequency_square: f64,
    /// Seconds at which the clock's error exceeded its published bound.
    pub clock_violations: u64,
    /// Seconds at which the line's error exceeded its published bound.
    pub line_violations: u64,
    /// Seconds at which either did, and the guest could not know yet what had happened to it.
    pub unaware: u64,
    /// Seconds at which nothing was promised.
    pub unknown: u64,
    /// Requests sent.
    pub requests: u64,
    /// Readings of paravirtual clocks begun.
    pub readings: u64,
    offsets: Histogram,
    bounds: Histogram,
}

impl Statistics {
    pub(super) fn add(&mut self, look: &Look) {
        let size = look.offset.abs();
        self.samples += 1;
        self.square += size * size;
        self.worst = self.worst.max(size);
        self.frequency_square += look.frequency * look.frequency;
        self.offsets.add(size);
        if look.bound.is_finite() {
            self.bounds.add(look.bound);
        } else {
            self.unknown += 1;
        }
        if look.clock_violated || look.line_violated {
            if look.unaware {
                self.unaware += 1;
            } else {
                self.clock_violations += u64::from(look.clock_violated);
                self.line_violations += u64::from(look.line_violated);
            }
        }
    }

    /// Root mean square of the clock's error, seconds.
    #[must_use]
    pub fn rms(&self) -> f64 {
        (self.square / count(self.samples.max(1))).sqrt()
    }

    /// Root mean square of the clock's frequency error, as a ratio.
    #[must_use]
    pub fn frequency_rms(&self) -> f64 {
        (self.frequency_square / count(self.samples.max(1))).sqrt()
    }

    /// The error of the clock below which it is for this share of the time, seconds.
    #[must_use]
    pub fn offset_quantile(&self, share: f64) -> f64 {
        self.offsets.quantile(share)
    }

    /// The bound of the clock, where one was known, that is not exceeded for this share of the time, seconds.
    #[must_use]
    pub fn bound_quantile(&self, share: f64) -> f64 {
        self.bounds.quantile(share)
    }
}

/// When the clock came below each of [`LIMITS`] and stayed there.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Reach {
    /// Seconds of true time from which it counts.
    from: f64,
    since: [f64; LIMITS.len()],
    reached: [Option<f64>; LIMITS.len()],
}

impl Reach {
    pub(super) const fn new(from: f64) -> Self {
        Self { from, since: [f64::NAN; LIMITS.len()], reached: [None; LIMITS.len()] }
    }

    pub(super) fn add(&mut self, now: f64, offset: f64) {
        for ((limit, since), reached) in LIMITS.iter().zip(&mut self.since).zip(&mut self.reached) {
            if reached.is_some() {
                continue;
            }
            if offset.abs() >= *limit {
                *since = f64::NAN;
            } else if since.is_nan() {
                *since = now;
            } else if now - *since >= STAY {
                *reached = Some(*since - self.from);
            }
        }
    }

    /// Seconds to each limit.
    pub(super) const fn reached(&self) -> [Option<f64>; LIMITS.len()] {
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_reached_where_the_offset_stays_below_it_for_a_minute() {
        let mut reach = Reach::new(100.0);
        for s in 101..=300 {
            let t = f64::from(s);
            // Below a millisecond from 110 on, but for one second at 150; below 10 us never for long.
            let offset = if s < 110 || s == 150 {
                2e-3
            } else if s % 50 == 0 {
                -2e-5
            } else {
                5e-6
            };
            reach.add(t, offset);
        }
        assert_eq!(reach.reached(), [Some(51.0), Some(51.0), None, None]);
    }

    #[test]
    fn what_a_guest_cannot_know_is_counted_apart() {
        let mut statistics = Statistics::default();
        let look = Look { offset: 3.0, frequency: 0.0, bound: 1.0, clock_violated: true, line_violated: false, unaware: true };
        statistics.add(&look);
        statistics.add(&Look { unaware: false, ..look });
        statistics.add(&Look { clock_violated: false, offset: -4.0, bound: f64::INFINITY, ..look });
        assert_eq!((statistics.clock_violations, statistics.unaware, statistics.unknown, statistics.samples), (1, 1, 1, 3));
        assert!((statistics.rms() - (34.0_f64 / 3.0).sqrt()).abs() < 1e-12 && (statistics.worst - 4.0).abs() < 1e-12);
    }
}
