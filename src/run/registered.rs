//! Registering descriptors with the event loop: the one place that does it (decision 9).

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The one registration of `what`, for as long as it lives: it owns its descriptor and never changes it.
#[expect(deprecated, reason = "the successor is unsafe; what is registered owns its descriptor and never changes it")]
pub(super) fn register<T: AsRawFd>(what: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(what, interest)
}
