//! A point on the timebase: nanoseconds of `CLOCK_MONOTONIC_RAW`, which nobody steers.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Offset;

/// Nanoseconds of the raw monotonic clock. Arithmetic saturates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Instant(i64);

impl Instant {
    /// The timebase's origin (the kernel's boot, or a simulation's start).
    pub const ZERO: Self = Self(0);

    /// From nanoseconds since the timebase's origin.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the timebase's origin.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The signed distance from `earlier` to `self`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Offset {
        Offset::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time passed since `earlier`, zero if `earlier` lies ahead.
    #[must_use]
    pub fn elapsed_since(self, earlier: Self) -> Duration {
        self.since(earlier).positive()
    }

    /// The middle between two instants.
    #[must_use]
    pub const fn midpoint(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0.saturating_sub(self.0) / 2))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(Offset::from(rhs).nanos()))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(Offset::from(rhs).nanos()))
    }
}

impl Add<Offset> for Instant {
    type Output = Self;
    fn add(self, rhs: Offset) -> Self {
        Self(self.0.saturating_add(rhs.nanos()))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "raw+{:.9}s", self.since(Self::ZERO).seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_signed_and_saturates() {
        let a = Instant::from_nanos(10);
        let b = a + Duration::from_nanos(5);
        assert_eq!(b.since(a).nanos(), 5);
        assert_eq!(a.since(b).nanos(), -5);
        assert_eq!(a.elapsed_since(b), Duration::ZERO);
        assert_eq!(Instant::from_nanos(i64::MAX) + Duration::MAX, Instant::from_nanos(i64::MAX));
        assert_eq!(a.midpoint(Instant::from_nanos(20)), Instant::from_nanos(15));
    }
}
