//! Reads the kernel's clocks. Inputs: none. It does not relate them: that is `clock`'s work.

use nix::time::{ClockId, clock_gettime};

use crate::units::{Instant, Timestamp};

/// The timebase: `CLOCK_MONOTONIC_RAW`.
#[must_use]
pub fn raw() -> Instant {
    Instant::from_nanos(nanos(ClockId::CLOCK_MONOTONIC_RAW))
}

/// The steered clock: `CLOCK_REALTIME`.
#[must_use]
pub fn realtime() -> Timestamp {
    Timestamp::from_nanos(nanos(ClockId::CLOCK_REALTIME))
}

/// A clock that every kernel since 2.6.28 has, in nanoseconds; zero if the kernel refuses.
fn nanos(id: ClockId) -> i64 {
    clock_gettime(id).map_or(0, |t| t.tv_sec().saturating_mul(1_000_000_000).saturating_add(t.tv_nsec()))
}
