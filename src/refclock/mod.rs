//! Floor 7: local reference clocks, one file a kind.

pub mod kvm_clock;
pub mod ptp;
pub mod vmclock;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::{ReadError, Reading};

/// What tells a device from others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Label {
    /// Its file.
    pub path: PathBuf,
    /// The name that its driver gives it: unlike the number in `/dev/ptpN` it stays.
    pub name: String,
    /// How its host would smear leap seconds, in a word; empty if it does not say.
    pub smearing_hint: &'static str,
}

/// A clock that this machine can read without a network.
pub trait Refclock: Send {
    /// Reads it once, bracketed on the timebase.
    fn read(&mut self) -> Result<Reading, ReadError>;

    /// A descriptor that becomes readable when the device has something to say.
    fn notifier(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Which device it is, while it is open.
    fn label(&self) -> Option<Label> {
        None
    }

    /// A rationed device must not be read again within this.
    fn least_interval(&self) -> Option<Duration> {
        None
    }

    /// Its host announces that time will be disrupted within this.
    fn disruption_within(&self) -> Option<Duration> {
        None
    }

    /// The kernel's clocksource changed: ways of reading that failed may work now.
    fn on_clocksource_change(&mut self) {}
}
