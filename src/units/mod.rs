//! Floor 1: the quantities of timekeeping, each a type of its own.
//!
//! Nothing here reads a clock or touches the system. All conversions between
//! integers and floating point live here, so that no other room needs a cast.

mod bound;
mod civil;
mod instant;
mod leap;
mod offset;
mod packet_words;
mod ppm;
mod reference_id;
mod timescale;
mod timestamp;

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

/// Seconds (floating point) to a `Duration`; negative and NaN become zero, huge values saturate.
#[must_use]
pub fn duration(seconds: f64) -> std::time::Duration {
    if seconds > 0.0 {
        std::time::Duration::try_from_secs_f64(seconds).unwrap_or(std::time::Duration::MAX)
    } else {
        std::time::Duration::ZERO
    }
}

/// A count as floating point, for averages and metrics; exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
pub const fn count(n: u64) -> f64 {
    n as f64
}
