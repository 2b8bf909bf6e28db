//! From "the clock is this far off" to an order: step, slew or hold.
//!
//! Frequency follows the estimate at once; phase is spread out, unless the error is certain.

use std::time::Duration;

use super::event::Correction;
use crate::config::Makestep;
use crate::units::{Offset, Ppm, duration};

/// Errors above this many sigmas are certain: they are removed quickly.
const CERTAIN_SIGMAS: f64 = 10.0;
/// After a disruption the first so many updates remove what exceeds so many sigmas: the first measurement was stepped to,
/// however poor it was.
const SETTLING: u32 = 4;
const SETTLING_SIGMAS: f64 = 2.0;
/// Over how much of sigma of phase / sigma of frequency: the error that is left in the phase costs as much as the
/// slew costs in frequency where this is 1; less is in favour of phase.
const SPREAD: f64 = 0.34;
/// An offset beyond so many sigmas is an error to be removed, and does not slow its own removal down any more.
const NOISE_SIGMAS: f64 = 2.0;
/// A correction takes at least so many intervals: slewing faster would cost more in frequency than it gains in phase.
const SHORTEST_SPREAD: f64 = 1.4;
/// A frequency with a larger sigma than this is not known yet: no oscillator strays so far between two polls.
const UNKNOWN: f64 = 1e-6;
/// Noise is not spread over more than this, seconds.
const LONGEST_SPREAD: f64 = 16_384.0;
/// A fast slew runs at remaining/this a second: never far beyond the target if we die in it.
const FAST_TIME: f64 = 0.5;
/// After a disruption or a foreign step, an offset that takes longer than this to slew is stepped, seconds.
const QUICK_SLEW: f64 = 0.1;

/// Why a correction is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Occasion {
    /// New measurements.
    Update,
    /// A slew ended: remove what is left.
    SlewEnd,
    /// Somebody else moved the clock, or a disruption was survived: the error is certain.
    Restore,
}

/// One sigma of the line.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Doubt {
    /// Seconds.
    pub(super) phase: f64,
    /// Ratio.
    pub(super) frequency: f64,
}

/// The state of the discipline.
#[derive(Clone, Debug)]
pub(super) struct Discipline {
    /// From `makestep`.
    makestep: Option<Makestep>,
    /// From `maxslewrate`.
    max_slew: Ppm,
    updates: u32,
    step_once: bool,
    /// So many more updates follow a step on a first measurement, which may have been a poor one.
    settling: u32,
}

impl Discipline {
    /// Nothing done yet.
    #[must_use]
    pub(super) const fn new(makestep: Option<Makestep>, max_slew: Ppm) -> Self {
        Self { makestep, max_slew, updates: 0, step_once: false, settling: 0 }
    }

    /// The next update may step whatever `makestep` says: the clock is known to be wrong.
    pub(super) const fn allow_one_step(&mut self) {
        self.step_once = true;
        self.settling = SETTLING;
    }

    /// The order for a clock that is `remaining` seconds behind the line (negative: ahead),
    /// where `doubt` is the line's own uncertainty and `interval` the seconds between updates.
    pub(super) fn correct(&mut self, occasion: Occasion, remaining: f64, doubt: Doubt, interval: f64, frequency: Ppm) -> Correction {
        let size = remaining.abs();
        let max_slew = self.max_slew.ratio().abs();
        let restorable = size > max_slew * QUICK_SLEW;
        let stepping = match occasion {
            Occasion::Update => {
                let allowed =
                    self.makestep.is_some_and(|m| size > m.threshold.as_secs_f64() && m.limit.is_none_or(|limit| self.updates < limit));
                self.updates = self.updates.saturating_add(1);
                allowed || (std::mem::take(&mut self.step_once) && restorable)
            }
            Occasion::SlewEnd => false,
            Occasion::Restore => {
                self.step_once = false;
                restorable
            }
        };
        let offset = Offset::from_seconds(remaining);
        if stepping {
            return Correction::Step { offset, frequency };
        }
        if offset == Offset::ZERO || max_slew <= 0.0 {
            return Correction::Slew { offset: Offset::ZERO, over: Duration::ZERO, frequency };
        }
        let sigmas = size / doubt.phase.max(1e-9);
        // At the start it is the frequency that is not known: nothing is gained by waiting.
        let starting = doubt.frequency > UNKNOWN && doubt.frequency * interval > 2.0 * doubt.phase;
        let settling = occasion == Occasion::Update && self.settling > 0;
        self.settling -= u32::from(settling);
        let doubtful = if settling { SETTLING_SIGMAS } else { CERTAIN_SIGMAS };
        let certain = occasion == Occasion::Restore || starting || (sigmas > doubtful && size > 1e-6);
        let over = if certain {
            // Exponential approach, never slower than spreading it would be.
            FAST_TIME.min(interval)
        } else {
            (SPREAD * doubt.phase.hypot(size.min(NOISE_SIGMAS * doubt.phase)) / doubt.frequency)
                .min(LONGEST_SPREAD)
                .max(SHORTEST_SPREAD * interval)
        };
        Correction::Slew { offset, over: duration(over.max(size / max_slew)), frequency }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: Doubt = Doubt { phase: 1e-6, frequency: 1e-8 };
    const MUCH: Doubt = Doubt { phase: 1e-3, frequency: 1e-6 };

    fn new(makestep: Option<Makestep>) -> Discipline {
        Discipline::new(makestep, Ppm::new(83_333.0))
    }

    #[test]
    fn steps_only_where_makestep_allows() {
        let mut none = new(None);
        assert!(matches!(none.correct(Occasion::Update, 10.0, MUCH, 16.0, Ppm::ZERO), Correction::Slew { .. }));
        let mut first = new(Some(Makestep { threshold: Duration::from_secs(1), limit: Some(1) }));
        assert!(matches!(first.correct(Occasion::Update, 10.0, MUCH, 16.0, Ppm::ZERO), Correction::Step { .. }));
        assert!(matches!(first.correct(Occasion::Update, 10.0, MUCH, 16.0, Ppm::ZERO), Correction::Slew { .. }));
        let mut always = new(Some(Makestep { threshold: Duration::from_secs(1), limit: None }));
        for _ in 0..5 {
            assert!(matches!(always.correct(Occasion::Update, -10.0, MUCH, 16.0, Ppm::ZERO), Correction::Step { .. }));
        }
        assert!(matches!(always.correct(Occasion::Update, 0.5, MUCH, 16.0, Ppm::ZERO), Correction::Slew { .. }));
    }

    #[test]
    fn restores_at_once_whatever_makestep_says() {
        let mut none = new(None);
        assert!(matches!(none.correct(Occasion::Restore, 3600.0, LITTLE, 16.0, Ppm::ZERO), Correction::Step { .. }));
        none.allow_one_step();
        assert!(matches!(none.correct(Occasion::Update, 60.0, MUCH, 16.0, Ppm::ZERO), Correction::Step { .. }));
        assert!(matches!(none.correct(Occasion::Update, 60.0, MUCH, 16.0, Ppm::ZERO), Correction::Slew { .. }));
    }

    #[test]
    fn slews_within_the_rate_and_spreads_noise() {
        let mut d = new(None);
        let Correction::Slew { over, .. } = d.correct(Occasion::Update, 1.0, LITTLE, 16.0, Ppm::ZERO) else { panic!() };
        assert!((over.as_secs_f64() - 12.0).abs() < 0.01);
        let Correction::Slew { over, .. } = d.correct(Occasion::Update, 1e-6, LITTLE, 16.0, Ppm::ZERO) else { panic!() };
        // A correction of one sigma, spread over SPREAD times the square root of two sigmas of phase over one of frequency.
        assert!((over.as_secs_f64() - 48.08).abs() < 0.01);
        let Correction::Slew { over, .. } = d.correct(Occasion::Update, 1e-3, LITTLE, 16.0, Ppm::ZERO) else { panic!() };
        assert_eq!(over, Duration::from_millis(500));
    }
}
