//! What two measurements some time apart prove of the frequency, whatever the noise.
//!
//! The truth lies within the claims of both, so its mean rate lies within the slopes that lead from one claim into the
//! other. A filter that is sure of itself too early is found out by that.

use crate::units::{Instant, Timestamp};

/// A chord begins anew after so many measurements: over a longer one the frequency itself changes.
const LONGEST: u32 = 32;

/// A claim: at `at` the truth lay within `half` of `time` + `phase`.
#[derive(Clone, Copy, Debug)]
struct Claim {
    at: Instant,
    time: Timestamp,
    phase: f64,
    half: f64,
}

/// The chord from an earlier claim to the last one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chord {
    from: Claim,
    /// Where the next chord begins.
    middle: Option<Claim>,
    measurements: u32,
    /// Mean frequency along it, and how far the truth's may be from that.
    slope: f64,
    doubt: f64,
}

impl Chord {
    /// Nothing is proven yet.
    pub(super) const fn new(at: Instant, time: Timestamp, phase: f64, half: f64) -> Self {
        let from = Claim { at, time, phase, half };
        Self { from, middle: None, measurements: 0, slope: 0.0, doubt: f64::INFINITY }
    }

    /// At `at` the truth lay within `half` of `time` + `phase`.
    pub(super) fn lead_to(&mut self, at: Instant, time: Timestamp, phase: f64, half: f64) {
        let claim = Claim { at, time, phase, half };
        self.measurements += 1;
        if self.measurements >= LONGEST {
            self.from = self.middle.replace(claim).unwrap_or(self.from);
            self.measurements = 0;
        }
        let elapsed = at.since(self.from.at);
        let span = elapsed.seconds();
        if span > 0.0 {
            self.slope = ((time.since(self.from.time) - elapsed).seconds() + phase - self.from.phase) / span;
            self.doubt = (half + self.from.half) / span;
        }
    }

    /// It has reached its full length, so that a model that agrees with it has stood its trial.
    pub(super) const fn is_long(&self) -> bool {
        self.middle.is_some()
    }

    /// How far the truth's frequency may be from this one.
    pub(super) fn away(&self, frequency: f64) -> f64 {
        (frequency - self.slope).abs() + self.doubt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_far_apart_prove_the_frequency() {
        let second = |s: i64| Instant::from_nanos(s * 1_000_000_000);
        let start = Timestamp::from_parts(1_800_000_000, 0);
        let mut chord = Chord::new(second(0), start, 0.0, 1e-3);
        assert!(chord.away(0.0).is_infinite());
        // 10 ppm fast, measured within a millisecond each time.
        for s in 1..=100_u32 {
            let at = second(i64::from(s) * 10);
            let time = start + at.since(second(0));
            chord.lead_to(at, time, f64::from(s) * 1e-4, 1e-3);
            assert!(chord.away(10e-6) < 2.2e-3 / (f64::from(s.min(32)) * 10.0), "{s}");
            assert!(chord.away(30e-6) >= 20e-6);
        }
    }
}
