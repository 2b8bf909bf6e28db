//! An open `/dev/ptpN`: one method an ioctl. Everything else of the PTP room is safe code.
#![allow(unsafe_code, reason = "ioctls fill structures that we lend to the kernel")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use vmm_sys_util::ioctl::ioctl_with_mut_ref;

use super::abi::{self, number};
use crate::core::ReadError;
use crate::sys::time;
use crate::units::{Instant, Timestamp};

/// What the ladder asks of a PTP clock and of the system's clocks.
pub trait Device {
    /// `PTP_SYS_OFFSET_PRECISE`.
    ///
    /// # Errors
    /// The kernel's error number (also below).
    fn precise(&mut self) -> nix::Result<abi::SysOffsetPrecise>;

    /// `PTP_SYS_OFFSET_EXTENDED` (or `EXTENDED2`) with system stamps of `clock`.
    ///
    /// # Errors
    /// The kernel's error number.
    fn extended(&mut self, second: bool, samples: u32, clock: u32) -> nix::Result<abi::SysOffsetExtended>;

    /// `PTP_SYS_OFFSET`.
    ///
    /// # Errors
    /// The kernel's error number.
    fn basic(&mut self, samples: u32) -> nix::Result<abi::SysOffset>;

    /// The timebase.
    fn raw(&mut self) -> Instant;

    /// The steered clock.
    fn realtime(&mut self) -> Timestamp;
}

/// An open PTP clock.
#[derive(Debug)]
pub struct Descriptor(OwnedFd);

impl Descriptor {
    /// Opens the character device.
    ///
    /// # Errors
    /// `Absent` or `Denied`.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let device = path.display().to_string();
        nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map(Self).map_err(|errno| match errno {
            Errno::EACCES | Errno::EPERM => ReadError::Denied { device },
            errno => ReadError::Absent { device, reason: errno.desc().to_owned() },
        })
    }

    /// `PTP_CLOCK_GETCAPS`: also tells that this is a PTP clock at all.
    ///
    /// # Errors
    /// The kernel's error number.
    pub fn capabilities(&self) -> nix::Result<abi::Capabilities> {
        let mut answer = abi::Capabilities::default();
        // SAFETY: the structure has the size that the ioctl number states and outlives the call.
        Errno::result(unsafe { ioctl_with_mut_ref(&self.0.as_raw_fd(), number::PTP_CLOCK_GETCAPS(), &mut answer) })?;
        Ok(answer)
    }
}

impl Device for Descriptor {
    fn precise(&mut self) -> nix::Result<abi::SysOffsetPrecise> {
        let mut answer = abi::SysOffsetPrecise::default();
        // SAFETY: the structure has the size that the ioctl number states and outlives the call.
        Errno::result(unsafe { ioctl_with_mut_ref(&self.0.as_raw_fd(), number::PTP_SYS_OFFSET_PRECISE(), &mut answer) })?;
        Ok(answer)
    }

    fn extended(&mut self, second: bool, samples: u32, clock: u32) -> nix::Result<abi::SysOffsetExtended> {
        let mut answer = abi::SysOffsetExtended::new(samples, clock);
        let number = if second { number::PTP_SYS_OFFSET_EXTENDED2() } else { number::PTP_SYS_OFFSET_EXTENDED() };
        // SAFETY: the structure has the size that both ioctl numbers state and outlives the call.
        Errno::result(unsafe { ioctl_with_mut_ref(&self.0.as_raw_fd(), number, &mut answer) })?;
        Ok(answer)
    }

    fn basic(&mut self, samples: u32) -> nix::Result<abi::SysOffset> {
        let mut answer = abi::SysOffset::new(samples);
        // SAFETY: the structure has the size that the ioctl number states and outlives the call
        // (the number says "write", but the kernel fills the structure as with the others).
        Errno::result(unsafe { ioctl_with_mut_ref(&self.0.as_raw_fd(), number::PTP_SYS_OFFSET(), &mut answer) })?;
        Ok(answer)
    }

    fn raw(&mut self) -> Instant {
        time::raw()
    }

    fn realtime(&mut self) -> Timestamp {
        time::realtime()
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
