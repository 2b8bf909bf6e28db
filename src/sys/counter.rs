//! The CPU counter: TSC on x86-64, the virtual counter (`CNTVCT_EL0`) on aarch64.
//!
//! This is the only place that reads it. Interfaces that are defined by the counter (vmclock,
//! the kvm-clock page, the v3 segment) need it; the timebase stays `CLOCK_MONOTONIC_RAW`, so a
//! counter value always comes between two raw readings.
#![allow(unsafe_code, reason = "reading the counter is an intrinsic or an instruction")]

use super::time;
use crate::units::Instant;

/// A page that the counter explains, read together with the counter, on the timebase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Observation<P> {
    /// The timebase just before the counter was read.
    pub before: Instant,
    /// The counter.
    pub counter: u64,
    /// The timebase just after.
    pub after: Instant,
    /// The page that was in force.
    pub page: P,
}

/// The counter's value, ordered after all earlier loads and before all later ones.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn now() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: both are baseline x86-64 instructions that touch no memory; the kernel lets user
    // space read the TSC unless a process forbade it to itself.
    unsafe {
        _mm_lfence();
        let value = _rdtsc();
        _mm_lfence();
        value
    }
}

/// The counter's value, ordered after all earlier loads and before all later ones.
#[cfg(target_arch = "aarch64")]
#[must_use]
pub fn now() -> u64 {
    let value: u64;
    // SAFETY: Linux gives EL0 access to CNTVCT_EL0 (its vDSO reads it); the instruction touches
    // neither memory nor flags.
    unsafe {
        std::arch::asm!("isb", "mrs {0}, cntvct_el0", "isb", out(reg) value, options(nostack, preserves_flags));
    }
    value
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("paraclock knows the CPU counters of x86-64 and aarch64; add yours to sys/counter.rs");

/// The counter between two readings of the timebase: (before, counter, after).
#[must_use]
pub fn bracketed() -> (Instant, u64, Instant) {
    let before = time::raw();
    let counter = now();
    let after = time::raw();
    (before, counter, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_runs_forward_between_raw_readings() {
        let (before, first, after) = bracketed();
        assert!(before <= after);
        std::thread::sleep(std::time::Duration::from_millis(1));
        let (_, second, _) = bracketed();
        assert!(second > first);
    }
}
