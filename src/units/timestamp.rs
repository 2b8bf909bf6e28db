//! A reading of a clock that tells the time of day.
//!
//! Inside Paraclock a `Timestamp` counts nanoseconds from 1970-01-01 without leap
//! seconds: it equals POSIX time at start-up and then runs on uniformly. Leap
//! seconds, TAI and NTP eras are converted at the edges.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Offset;

/// Seconds from the NTP prime epoch (1900) to the Unix epoch.
const NTP_UNIX_SECONDS: i64 = 2_208_988_800;

/// Nanoseconds since 1970-01-01 in a continuous count. Arithmetic saturates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00.
    pub const UNIX_EPOCH: Self = Self(0);

    /// From nanoseconds since 1970.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since 1970 and nanoseconds; saturates.
    #[must_use]
    pub const fn from_parts(seconds: i64, nanos: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970 (rounded down) and the nanoseconds within.
    #[must_use]
    pub const fn parts(self) -> (i64, i64) {
        (self.0.div_euclid(1_000_000_000), self.0.rem_euclid(1_000_000_000))
    }

    /// If this lies on the last day of June or December, the days on which leap seconds happen: that day's end.
    #[must_use]
    pub const fn end_of_leap_day(self) -> Option<Self> {
        let day = self.parts().0.div_euclid(86_400);
        // Civil date from days: years begin in March, so that leap days come last.
        let shifted = day + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
        // 30 June and 31 December are the days 121 and 305 of a year that begins on 1 March.
        let last = day_of_year == 121 || day_of_year == 305;
        debug_assert!(era * 146_097 + day_of_era == shifted, "the era and the day within make the day");
        if last { Some(Self::from_parts((day + 1) * 86_400, 0)) } else { None }
    }

    /// Seconds since 1970 as floating point, good to about 0.2 us today: for printing and metrics.
    #[must_use]
    pub const fn unix_seconds(self) -> f64 {
        Offset::from_nanos(self.0).seconds()
    }

    /// The signed distance from `earlier` to `self`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Offset {
        Offset::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The middle between two timestamps.
    #[must_use]
    pub const fn midpoint(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0.saturating_sub(self.0) / 2))
    }
}

impl Add<Offset> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Offset) -> Self {
        Self(self.0.saturating_add(rhs.nanos()))
    }
}

impl Sub<Offset> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Offset) -> Self {
        Self(self.0.saturating_sub(rhs.nanos()))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        self + Offset::from(rhs)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = self.parts();
        write!(f, "{seconds}.{nanos:09}")
    }
}

/// The 64-bit NTP timestamp of RFC 5905 section 6: seconds since 1900 modulo 2^32 and a binary fraction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NtpTimestamp(pub u64);

impl NtpTimestamp {
    /// "Unknown or unsynchronised".
    pub const ZERO: Self = Self(0);

    /// The NTP timestamp of a UTC time, rounded to the nearest 2^-32 s.
    #[must_use]
    #[expect(clippy::cast_sign_loss, reason = "the era is dropped on purpose")]
    pub const fn from_utc(utc: Timestamp) -> Self {
        let (seconds, nanos) = utc.parts();
        let fraction = ((nanos << 32) + 500_000_000) / 1_000_000_000;
        let era = seconds.wrapping_add(NTP_UNIX_SECONDS);
        Self(((era as u64) << 32).wrapping_add(fraction as u64))
    }

    /// The UTC time meant, in the era that brings it closest to `pivot` (within 68 years).
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "modular arithmetic over one era"
    )]
    pub const fn to_utc(self, pivot: Timestamp) -> Timestamp {
        let seconds = (self.0 >> 32) as u32;
        let fraction = (self.0 & 0xffff_ffff) as i64;
        let pivot_seconds = pivot.parts().0.wrapping_add(NTP_UNIX_SECONDS);
        let delta = seconds.wrapping_sub(pivot_seconds as u32) as i32;
        let unix = pivot_seconds.wrapping_add(delta as i64).wrapping_sub(NTP_UNIX_SECONDS);
        let nanos = (fraction * 1_000_000_000 + (1 << 31)) >> 32;
        Timestamp::from_parts(unix, nanos)
    }

    /// True for the all-zero timestamp.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for NtpTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{:08x}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        let unix_epoch = NtpTimestamp::from_utc(Timestamp::UNIX_EPOCH);
        assert_eq!(unix_epoch.0, 2_208_988_800 << 32);
        // The era change: 2036-02-07T06:28:16Z is NTP second zero.
        let era1 = Timestamp::from_parts(2_085_978_496, 0);
        assert_eq!(NtpTimestamp::from_utc(era1).0, 0);
        assert_eq!(NtpTimestamp(0).to_utc(Timestamp::from_parts(2_000_000_000, 0)), era1);
        assert_eq!(NtpTimestamp(u64::MAX).to_utc(era1), era1);
    }

    #[test]
    fn leap_days_are_the_last_of_june_and_december() {
        let end = |seconds| Timestamp::from_parts(seconds, 0).end_of_leap_day().map(|t| t.parts().0);
        // 2016-12-31T12:00:00, 2012-06-30T00:00:00, 2016-12-30T23:59:59, 2017-01-01T00:00:00, 2024-06-30T23:59:59.
        assert_eq!(end(1_483_185_600), Some(1_483_228_800));
        assert_eq!(end(1_341_014_400), Some(1_341_100_800));
        assert_eq!(end(1_483_142_399), None);
        assert_eq!(end(1_483_228_800), None);
        assert_eq!(end(1_719_791_999), Some(1_719_792_000));
        assert_eq!(end(1_800_000_000), None);
    }

    #[test]
    fn negative_times_split_downwards() {
        assert_eq!(Timestamp::from_nanos(-1).parts(), (-1, 999_999_999));
    }

    proptest! {
        #[test]
        fn emit_then_parse_is_identity_within_an_era(seconds in 0_i64..4_000_000_000, nanos in 0_i64..1_000_000_000, skew in -2_000_000_000_i64..2_000_000_000) {
            let time = Timestamp::from_parts(seconds, nanos);
            let pivot = Timestamp::from_parts(seconds + skew, 0);
            prop_assert!(NtpTimestamp::from_utc(time).to_utc(pivot).since(time).nanos().abs() <= 1);
        }
    }
}
