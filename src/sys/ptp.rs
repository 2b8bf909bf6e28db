//! PTP clocks (`/dev/ptpN`): PTP_KVM and its cousins, and network cards' clocks.
//!
//! [`Clock`] opens one and reads it in the best way that works (see [`Ladder`]); every answer is
//! a window on the timebase. It does not choose among clocks and knows no timescale.

pub mod abi;
mod bracket;
mod device;
mod ladder;
mod list;

use std::path::{Path, PathBuf};

pub use device::{Descriptor, Device};
pub use ladder::{Ladder, Measurement, Rung, Window};
pub use list::{Entry, error_bound_file, find, find_named, list, name_of};

use crate::core::ReadError;

/// An open PTP clock and the way to read it.
#[derive(Debug)]
pub struct Clock {
    path: PathBuf,
    descriptor: Descriptor,
    ladder: Ladder,
}

impl Clock {
    /// Opens the character device.
    ///
    /// # Errors
    /// `Absent` or `Denied`.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Ok(Self { path: path.to_owned(), descriptor: Descriptor::open(path)?, ladder: Ladder::default() })
    }

    /// Uses no cross time stamps, even if the device has them.
    #[must_use]
    pub fn without_cross_stamps(mut self) -> Self {
        self.ladder = Ladder::without_cross_stamps();
        self
    }

    /// Reads the clock `samples` times in one go.
    ///
    /// # Errors
    /// See [`Ladder::read`].
    pub fn read(&mut self, samples: u32) -> Result<Measurement, ReadError> {
        self.ladder.read(&mut self.descriptor, samples, &self.path.display().to_string())
    }

    /// Tries all ways again: call it after a change of the kernel's clocksource.
    pub fn reset_ladder(&mut self) {
        self.ladder.reset();
    }

    /// The way in use.
    #[must_use]
    pub const fn rung(&self) -> Rung {
        self.ladder.rung()
    }

    /// What the clock can do.
    ///
    /// # Errors
    /// `Unsupported` if this is no PTP clock.
    pub fn capabilities(&self) -> Result<abi::Capabilities, ReadError> {
        self.descriptor.capabilities().map_err(|errno| ReadError::Unsupported {
            device: self.path.display().to_string(),
            reason: format!("PTP_CLOCK_GETCAPS: {} (is it a PTP clock?)", errno.desc()),
        })
    }
}
