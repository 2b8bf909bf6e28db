//! Floor 7: local reference clocks, one file a kind.

pub mod kvm_clock;
pub mod ptp;
pub mod vmclock;

use std::os::fd::BorrowedFd;

use crate::core::{ReadError, Reading};

/// A clock that this machine can read without a network.
pub trait Refclock: Send {
    /// Reads it once, bracketed on the timebase.
    fn read(&mut self) -> Result<Reading, ReadError>;

    /// A descriptor that becomes readable when the device has something to say.
    fn notifier(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The kernel's clocksource changed: ways of reading that failed may work now.
    fn on_clocksource_change(&mut self) {}
}
