//! What the machine tells by itself: the clock was set, the machine was restored, a device has news.
//!
//! All of it is optional. Where the kernel or the sandbox offers no such event, it is found at the next look.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::registered::register;
use crate::core::SourceId;
use crate::refclock::Refclock;
use crate::sys::clock_set::ClockSet;
use crate::sys::uevent::{Uevent, Uevents};

/// News.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// Somebody set the clock, perhaps we.
    ClockSet,
    /// The kernel says that the machine was restored.
    Restored,
    /// PTP clocks came or went.
    Devices,
    /// A refclock asks to be read.
    Refclock(SourceId),
}

/// A descriptor that its refclock owns.
#[derive(Debug)]
struct Borrowed(RawFd);

impl AsRawFd for Borrowed {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Listens to all of it.
#[derive(Debug, Default)]
pub(super) struct Ears {
    clock: Option<AsyncFd<ClockSet>>,
    uevents: Option<AsyncFd<Uevents>>,
    refclocks: Vec<(SourceId, AsyncFd<Borrowed>)>,
    /// Those that epoll refuses are read by the clock alone.
    deaf: Vec<SourceId>,
}

impl Ears {
    /// Listens to what there is; `clock` if somebody else than we could set the clock that we steer.
    pub(super) fn open(clock: bool) -> Self {
        let clock = clock.then(|| said("steps of the clock by others", ClockSet::listen().and_then(readable))).flatten();
        let uevents = said("the kernel's word of restores", Uevents::listen().and_then(readable));
        Self { clock, uevents, ..Self::default() }
    }

    /// A refclock was read: it may have been opened or closed.
    pub(super) fn attend(&mut self, source: SourceId, refclock: &dyn Refclock) {
        let wanted = refclock.notifier().map(|fd| fd.as_raw_fd());
        let known = self.refclocks.iter().position(|(id, _)| *id == source);
        let same = known.is_some_and(|i| Some(self.refclocks[i].1.as_raw_fd()) == wanted);
        if same || (known.is_none() && wanted.is_none()) || self.deaf.contains(&source) {
            return;
        }
        if let Some(i) = known {
            self.refclocks.swap_remove(i);
        }
        match wanted.map(|fd| readable(Borrowed(fd))) {
            Some(Ok(fd)) => self.refclocks.push((source, fd)),
            // Drivers before Linux 6.17 know no poll.
            Some(Err(_)) => self.deaf.push(source),
            None => {}
        }
    }

    /// A refclock is about to go, and its descriptor with it.
    pub(super) fn forget(&mut self, source: SourceId) {
        self.refclocks.retain(|(id, _)| *id != source);
        self.deaf.retain(|id| *id != source);
    }

    /// The next news.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<News> {
        if let Some(clock) = &self.clock {
            while let Poll::Ready(Ok(mut guard)) = clock.poll_read_ready(context) {
                match guard.try_io(|timer| timer.get_ref().take()) {
                    Ok(Ok(())) => return Poll::Ready(News::ClockSet),
                    Err(_) => {}
                    Ok(Err(_)) => {
                        self.clock = None;
                        return Poll::Ready(News::ClockSet);
                    }
                }
            }
        }
        if let Some(uevents) = &mut self.uevents {
            while let Poll::Ready(Ok(mut guard)) = uevents.poll_read_ready_mut(context) {
                match guard.try_io(|socket| socket.get_mut().take()) {
                    Ok(Ok(Some(Uevent::Restored))) => return Poll::Ready(News::Restored),
                    Ok(Ok(Some(Uevent::Devices))) => return Poll::Ready(News::Devices),
                    Ok(Ok(None)) | Err(_) => {}
                    Ok(Err(_)) => {
                        self.uevents = None;
                        break;
                    }
                }
            }
        }
        for i in 0..self.refclocks.len() {
            let (source, fd) = &self.refclocks[i];
            let source = *source;
            if let Poll::Ready(Ok(mut guard)) = fd.poll_read_ready(context) {
                let hung_up = guard.ready().is_read_closed();
                guard.clear_ready();
                drop(guard);
                if hung_up {
                    self.refclocks.swap_remove(i);
                    self.deaf.push(source);
                }
                return Poll::Ready(News::Refclock(source));
            }
        }
        Poll::Pending
    }
}

fn said<T>(what: &str, result: io::Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::info!("cannot hear at once of {what} ({error}): finding out by looking")).ok()
}

fn readable<T: AsRawFd>(what: T) -> io::Result<AsyncFd<T>> {
    register(what, Interest::READABLE)
}
