//! How wrong a clock can be, in a form that grows by itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Instant, Ppm, duration, nanos_or_unknown};

/// An error bound stated at `as_of` that grows with age. Every reader evaluates it at
/// the time of reading, so a stalled program cannot keep a bound small.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Bound {
    /// When the bound was stated.
    pub as_of: Instant,
    /// The error possible at that time.
    #[serde(with = "nanos_or_unknown")]
    pub error: Duration,
    /// How fast it grows.
    pub growth: Ppm,
}

impl Bound {
    /// "Nothing is known".
    pub const UNKNOWN: Self = Self { as_of: Instant::ZERO, error: Duration::MAX, growth: Ppm::ZERO };

    /// The bound at `now`; saturates at `Duration::MAX`.
    #[must_use]
    pub fn at(&self, now: Instant) -> Duration {
        let age = now.elapsed_since(self.as_of).as_secs_f64();
        self.error.saturating_add(duration(age * self.growth.ratio().max(0.0)))
    }

    /// False for [`Bound::UNKNOWN`].
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.error < Duration::MAX
    }

    /// The same bound with `extra` added.
    #[must_use]
    pub fn widened(self, extra: Duration) -> Self {
        Self { error: self.error.saturating_add(extra), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_with_age_and_never_shrinks() {
        let bound = Bound { as_of: Instant::from_nanos(0), error: Duration::from_micros(10), growth: Ppm::new(2.0) };
        assert_eq!(bound.at(Instant::from_nanos(-5)), Duration::from_micros(10));
        assert_eq!(bound.at(Instant::from_nanos(5_000_000_000)), Duration::from_micros(20));
        assert_eq!(Bound::UNKNOWN.at(Instant::from_nanos(1)), Duration::MAX);
        assert_eq!(bound.widened(Duration::MAX).error, Duration::MAX);
    }
}
