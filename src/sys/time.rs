//! Reads the kernel's clocks. Inputs: none. It does not relate them: that is `clock`'s work.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::units::{Instant, Offset, Timestamp};

/// The timebase: `CLOCK_MONOTONIC_RAW`.
#[must_use]
pub fn raw() -> Instant {
    Instant::from_nanos(nanos(ClockId::CLOCK_MONOTONIC_RAW).unwrap_or(0))
}

/// The steered clock: `CLOCK_REALTIME`.
#[must_use]
pub fn realtime() -> Timestamp {
    Timestamp::from_nanos(nanos(ClockId::CLOCK_REALTIME).unwrap_or(0))
}

/// How long the machine has been suspended since it booted; `None` where the kernel cannot tell.
#[must_use]
pub fn suspended() -> Option<Duration> {
    // Boottime last: what passes between the two reads makes the result larger, never negative.
    let monotonic = nanos(ClockId::CLOCK_MONOTONIC)?;
    let boottime = nanos(ClockId::CLOCK_BOOTTIME)?;
    u64::try_from(boottime.saturating_sub(monotonic)).ok().map(Duration::from_nanos)
}

/// How long ago the machine was started, sleep included; `None` where the kernel cannot tell.
#[must_use]
pub fn up() -> Option<Offset> {
    nanos(ClockId::CLOCK_BOOTTIME).map(Offset::from_nanos)
}

fn nanos(id: ClockId) -> Option<i64> {
    clock_gettime(id).ok().map(|t| t.tv_sec().saturating_mul(1_000_000_000).saturating_add(t.tv_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_advance() {
        let (a, b) = (raw(), raw());
        assert!(b >= a && a > Instant::ZERO);
        assert!(realtime() > Timestamp::from_parts(1_700_000_000, 0));
    }
}
