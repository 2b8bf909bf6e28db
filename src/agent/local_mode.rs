//! `local`: when our own time may be served for want of a better.
//!
//! The conditions that depend on the moment (the root distance, a waiting time) go out with the snapshot and are judged at each reply.

use std::time::Duration;

use crate::config::Local;
use crate::core::{Core, Status};
use crate::ntp::LocalReference;
use crate::units::{Instant, Stratum};

/// After a disruption the sources have so long to set us right before our own time is served again.
const AFTER_DISRUPTION: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(super) struct LocalMode {
    local: Option<Local>,
    started: Instant,
    /// The root distance was small enough once.
    activated: bool,
}

impl LocalMode {
    pub(super) fn new(local: Option<Local>, started: Instant) -> Self {
        Self { local, started, activated: local.is_some_and(|l| l.activate == Duration::ZERO) }
    }

    /// The stratum of those who agree on one of them to follow.
    pub(super) fn orphan(&self) -> Option<Stratum> {
        self.local.filter(|local| local.orphan).map(|local| local.stratum)
    }

    /// What stands in from when on, as things are now.
    pub(super) fn reference(&mut self, core: &Core, now: Instant) -> Option<LocalReference> {
        let local = self.local?;
        let bound = core.line_bound();
        self.activated |= core.status().0 == Status::Synchronised && bound.is_known() && bound.at(now) <= local.activate;
        if !self.activated {
            return None;
        }
        let mut from = core.reference().map_or(self.started + local.wait_unsynced, |r| r.at + local.wait_synced);
        if let (Status::Disrupted, since) = core.status() {
            from = from.max(since + AFTER_DISRUPTION);
        }
        Some(LocalReference { stratum: local.stratum, from, distance: local.distance })
    }
}
