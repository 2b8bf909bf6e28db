//! Copies memory that may fault, without ever faulting.
//!
//! The kernel is asked to copy: `write` into a pipe answers `EFAULT` where a load would raise
//! SIGBUS or SIGSEGV (the kvm-clock page of a guest that never used it, a device page that went
//! away). Each copy costs about a microsecond, which is nothing at refclock rates. Not for
//! torn-read protection: the callers follow each page's own sequence count.
#![allow(unsafe_code, reason = "passes an address that nothing vouches for to the kernel, which checks it")]

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// A private pipe through which memory is copied.
#[derive(Debug)]
pub(crate) struct Peek {
    from: OwnedFd,
    to: OwnedFd,
}

impl Peek {
    /// Opens the pipe.
    pub(crate) fn new() -> nix::Result<Self> {
        let (from, to) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(Self { from, to })
    }

    /// Copies `N` bytes (at most a page) from `address`, or `EFAULT` if they cannot be read.
    pub(crate) fn copy<const N: usize>(&self, address: usize) -> nix::Result<[u8; N]> {
        const { assert!(N <= 4096) };
        let source = std::ptr::with_exposed_provenance::<libc::c_void>(address);
        // SAFETY: the kernel validates the address range and answers EFAULT for whatever is not
        // readable; no Rust reference to that memory is ever made.
        let written = unsafe { libc::write(self.to.as_raw_fd(), source, N) };
        let written = usize::try_from(Errno::result(written)?).unwrap_or(0);
        let mut bytes = [0_u8; N];
        let read = nix::unistd::read(&self.from, &mut bytes[..written])?;
        if read == N { Ok(bytes) } else { Err(Errno::EFAULT) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_memory_and_survives_what_cannot_be_read() {
        let peek = Peek::new().unwrap();
        let words = *b"sixteen bytes ok";
        let address = words.as_ptr().expose_provenance();
        assert_eq!(peek.copy::<16>(address).unwrap(), words);
        assert_eq!(peek.copy::<16>(16), Err(Errno::EFAULT));
        // Nothing is left in the pipe by a failure.
        assert_eq!(peek.copy::<16>(address).unwrap(), words);
    }
}
