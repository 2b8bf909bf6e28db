//! Tells systemd that we are alive, where it asked for that.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::sys::time;
use crate::units::Instant;

/// The service manager's watchdog, and readiness.
#[derive(Clone, Debug)]
pub(super) struct Watchdog {
    interval: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    /// Pings at half of the interval asked for in the environment.
    #[must_use]
    pub(super) fn new() -> Self {
        let mut micros = 0;
        let asked = sd_notify::watchdog_enabled(false, &mut micros) && micros > 0;
        Self { interval: asked.then(|| Duration::from_micros(micros / 2)), next: time::raw() }
    }

    /// When the next ping is due.
    #[must_use]
    pub(super) fn next(&self) -> Option<Instant> {
        self.interval.map(|_| self.next)
    }

    /// Pings if it is time.
    pub(super) fn pat(&mut self, now: Instant) {
        if let Some(interval) = self.interval.filter(|_| now >= self.next) {
            self.next = now + interval;
            notify(&[NotifyState::Watchdog]);
        }
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}

/// The sockets are open and the first requests are on their way.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// We are ending on purpose.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub(super) fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

fn notify(states: &[NotifyState<'_>]) {
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(false, states);
}
