//! The vmclock device (`/dev/vmclock0`, Linux 6.13 and later): one shared page in which the
//! hypervisor relates the CPU counter to real time and counts disruptions.
//!
//! [`Page::decode`] and [`Page::time_at`] are pure; [`Device`] opens, maps and reads the page.
//! It is absent on most machines, which is an ordinary answer.
#![allow(unsafe_code, reason = "maps the device's page and unmaps it again")]

mod page;

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::mman::{MapFlags, ProtFlags};
use nix::sys::stat::Mode;

pub use page::{ClockStatus, CounterId, Line, Moment, Page, PageError, SIZE, SmearingHint};

use super::counter;
use super::peek::Peek;
use crate::core::{ReadError, Reading};

/// How often a page in the middle of an update is read again.
const ATTEMPTS: usize = 32;

/// The page together with the counter, on the timebase.
pub type Observation = counter::Observation<Page>;

/// The opened and mapped device.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    descriptor: OwnedFd,
    peek: Peek,
    address: usize,
}

impl Device {
    /// Opens the device and maps its page read-only.
    ///
    /// # Errors
    /// `Absent`, `Denied`, or `Unsupported` if it cannot be mapped.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let device = path.display().to_string();
        let descriptor = nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| match errno {
            Errno::EACCES | Errno::EPERM => ReadError::Denied { device: device.clone() },
            errno => ReadError::Absent { device: device.clone(), reason: errno.desc().to_owned() },
        })?;
        let unsupported =
            |what: &str, errno: Errno| ReadError::Unsupported { device: device.clone(), reason: format!("{what}: {}", errno.desc()) };
        let peek = Peek::new().map_err(|errno| unsupported("no pipe to copy the page through", errno))?;
        // SAFETY: a new read-only mapping at an address that the kernel chooses; only `Peek`
        // copies from it, so that no reference to memory which others write is ever made.
        let mapping = unsafe { nix::sys::mman::mmap(None, page_size(), ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &descriptor, 0) }
            .map_err(|errno| unsupported("the page cannot be mapped", errno))?;
        Ok(Self { path: path.to_owned(), descriptor, peek, address: mapping.as_ptr().expose_provenance() })
    }

    /// A consistent copy of the page, taken while the counter was read.
    ///
    /// # Errors
    /// What is wrong with the page, `Updating` if it never stood still.
    pub fn observe(&self) -> Result<Observation, ReadError> {
        for _ in 0..ATTEMPTS {
            let first = self.copy()?;
            let page = match Page::decode(&first) {
                Err(PageError::Updating) => {
                    std::thread::yield_now();
                    continue;
                }
                result => result.map_err(|error| self.invalid(&error))?,
            };
            let (before, counter, after) = counter::bracketed();
            if self.copy()? == first {
                if page.notifies() {
                    self.acknowledge();
                }
                return Ok(Observation { before, counter, after, page });
            }
        }
        Err(self.invalid(&PageError::Updating))
    }

    /// Reads the time.
    ///
    /// # Errors
    /// `SignalOnly` (with the counters) if the page has no time, `Invalid` if it cannot be used.
    pub fn read(&self) -> Result<Reading, ReadError> {
        self.reading(&self.observe()?)
    }

    /// The time that an observation stands for.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub fn reading(&self, observation: &Observation) -> Result<Reading, ReadError> {
        let page = &observation.page;
        if page.is_signal_only() {
            return Err(ReadError::SignalOnly { device: self.path.display().to_string(), generation: page.generation });
        }
        let moment = page.time_at(observation.counter).map_err(|error| self.invalid(&error))?;
        Ok(Reading {
            before: observation.before,
            after: observation.after,
            reference: moment.time,
            max_error: moment.max_error.unwrap_or(Duration::ZERO),
            tai_offset: page.tai_offset,
            timescale: page.timescale(),
            leap: page.leap(),
            generation: Some(page.generation),
        })
    }

    /// Tells a notifying driver that the page was seen; others answer with an error that means nothing.
    fn acknowledge(&self) {
        let mut bytes = [0_u8; SIZE];
        // SAFETY: the kernel writes at most `SIZE` bytes into `bytes`, which lives until it returns.
        let _ = unsafe { libc::pread(self.descriptor.as_raw_fd(), bytes.as_mut_ptr().cast(), SIZE, 0) };
    }

    fn copy(&self) -> Result<[u8; SIZE], ReadError> {
        self.peek.copy(self.address).map_err(|errno| ReadError::Absent {
            device: self.path.display().to_string(),
            reason: format!("its page cannot be read any more ({})", errno.desc()),
        })
    }

    fn invalid(&self, error: &PageError) -> ReadError {
        ReadError::Invalid { device: self.path.display().to_string(), reason: error.to_string() }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(address) = std::ptr::NonNull::new(std::ptr::with_exposed_provenance_mut(self.address)) {
            // SAFETY: the mapping of exactly this length was made in `open` and nothing borrows it.
            let _ = unsafe { nix::sys::mman::munmap(address, page_size().get()) };
        }
    }
}

/// The driver maps exactly one page, whatever its size is here.
fn page_size() -> NonZeroUsize {
    // SAFETY: reads a constant of the running kernel.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().and_then(NonZeroUsize::new).unwrap_or(SMALLEST_PAGE)
}

const SMALLEST_PAGE: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

#[cfg(test)]
mod tests;
