//! Hears at once when somebody sets `CLOCK_REALTIME`.
//!
//! A timer on that clock which never ends and which the kernel cancels whenever the clock is set. It does not say who
//! did it or by how much: reading the clock tells that.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The year 2255: later than any clock is set, and within what every kernel takes.
const NEVER: i64 = 9_000_000_000;

/// The timer; readable when the clock was set.
#[derive(Debug)]
pub struct ClockSet(TimerFd);

impl ClockSet {
    /// Begins to listen.
    ///
    /// # Errors
    /// What the kernel says, where it knows no such timers.
    pub fn listen() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        let ear = Self(timer);
        ear.arm()?;
        Ok(ear)
    }

    /// Returns if the clock was set since the last call; listens on.
    ///
    /// # Errors
    /// `WouldBlock` if it was not; what the kernel says if it cannot listen any more.
    pub fn take(&self) -> io::Result<()> {
        match self.0.wait() {
            // The call takes the cancellation for an end.
            Ok(()) | Err(Errno::ECANCELED) => self.arm(),
            Err(errno) => Err(errno.into()),
        }
    }

    fn arm(&self) -> io::Result<()> {
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        Ok(self.0.set(Expiration::OneShot(TimeSpec::seconds(NEVER)), flags)?)
    }
}

impl AsRawFd for ClockSet {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nobody_sets_is_quiet() {
        let ear = ClockSet::listen().unwrap();
        assert_eq!(ear.take().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
