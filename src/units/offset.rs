//! A signed difference between two times, in nanoseconds.

use std::fmt;
use std::ops::{Add, Neg, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Signed nanoseconds; positive when the reference is ahead of what it is compared with.
/// Arithmetic saturates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Offset(i64);

impl Offset {
    /// No difference.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From seconds, rounded to the nearest nanosecond; NaN becomes zero, overflow saturates.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "`as` saturates, which is what we want")]
    pub fn from_seconds(seconds: f64) -> Self {
        // As `round` does, which is a call where the processor may lack the instruction.
        let nanos = seconds * 1e9;
        let whole = nanos as i64;
        let rest = nanos - whole as f64;
        Self(whole.saturating_add(i64::from(rest >= 0.5) - i64::from(rest <= -0.5)))
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Seconds as floating point; exact to a nanosecond below 104 days.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact to a nanosecond below 2^53 ns")]
    pub const fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The magnitude.
    #[must_use]
    pub const fn abs(self) -> Duration {
        Duration::from_nanos(self.0.unsigned_abs())
    }

    /// The value when positive, else zero.
    #[must_use]
    pub fn positive(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl From<Duration> for Offset {
    fn from(value: Duration) -> Self {
        Self(i64::try_from(value.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Add for Offset {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl Sub for Offset {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

impl Neg for Offset {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.9}s", self.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_and_saturate() {
        assert_eq!(Offset::from_seconds(1.5e-9).nanos(), 2);
        assert_eq!(Offset::from_seconds(-1.5e-9).nanos(), -2);
        assert_eq!(Offset::from_seconds(0.4e-9).nanos(), 0);
        assert_eq!(Offset::from_seconds(-0.25).nanos(), -250_000_000);
        assert_eq!(Offset::from_seconds(f64::NEG_INFINITY).nanos(), i64::MIN);
        assert_eq!(Offset::from_seconds(f64::NAN).nanos(), 0);
        assert_eq!(Offset::from_seconds(1e30).nanos(), i64::MAX);
        assert_eq!(Offset::from(Duration::MAX).nanos(), i64::MAX);
        assert_eq!((-Offset::from_nanos(i64::MIN)).nanos(), i64::MAX);
    }
}
