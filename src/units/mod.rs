//! Floor 1: the quantities of timekeeping, each a type of its own.
//!
//! Nothing here reads a clock or touches the system. All conversions between
//! integers and floating point live here, so that no other room needs a cast.

mod bound;
mod civil;
mod instant;
mod leap;
pub mod nanos;
pub mod nanos_or_unknown;
mod offset;
mod packet_words;
mod ppm;
mod reference_id;
mod timescale;
mod timestamp;
mod vsock;

pub use bound::Bound;
pub use civil::Civil;
pub use instant::Instant;
pub use leap::Leap;
pub use offset::Offset;
pub use packet_words::{Poll, Reach, Stratum};
pub use ppm::Ppm;
pub use reference_id::ReferenceId;
pub use timescale::Timescale;
pub use timestamp::{NtpTimestamp, Timestamp};
pub use vsock::{Vsock, shown};

/// Seconds (floating point) to a `Duration`; negative and NaN become zero, huge values saturate.
#[inline]
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range that was asked for")]
pub fn duration(seconds: f64) -> std::time::Duration {
    if seconds < 1e9 {
        // Half a nanosecond more and cut: rounded. What is negative is cut to zero.
        std::time::Duration::from_nanos((seconds * 1e9 + 0.5) as u64)
    } else {
        long_duration(seconds)
    }
}

/// Thirty years and more, or no number.
#[cold]
fn long_duration(seconds: f64) -> std::time::Duration {
    if seconds.is_nan() {
        std::time::Duration::ZERO
    } else {
        std::time::Duration::try_from_secs_f64(seconds).unwrap_or(std::time::Duration::MAX)
    }
}

/// The same 64 bits, for shared memory.
#[must_use]
pub const fn word(number: i64) -> u64 {
    u64::from_ne_bytes(number.to_ne_bytes())
}

/// Back from [`word`].
#[must_use]
pub const fn number(word: u64) -> i64 {
    i64::from_ne_bytes(word.to_ne_bytes())
}

/// A count as floating point, for averages and metrics; exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
pub const fn count(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

    #[test]
    fn durations_round_and_saturate() {
        assert_eq!(duration(1.5e-9), Duration::from_nanos(2));
        assert_eq!(duration(0.4e-9), Duration::ZERO);
        assert_eq!(duration(3_600.000_000_001), Duration::from_nanos(3_600_000_000_001));
        assert_eq!(duration(3e9), Duration::from_secs(3_000_000_000));
        for nothing in [-1.0, -1e30, f64::NAN, f64::NEG_INFINITY, -0.0] {
            assert_eq!(duration(nothing), Duration::ZERO);
        }
        for all in [1e30, f64::INFINITY] {
            assert_eq!(duration(all), Duration::MAX);
        }
    }
}
