//! Host names of `server` and `pool` lines: when to look them up, and which addresses to use.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arrayvec::ArrayVec;

use super::{Agent, Kind, MAX_SOURCES, NameId, Output, Source};
use crate::config::ServerDirective;
use crate::core::SourceId;
use crate::units::{Instant, Timescale, Vsock};

/// After a failed look-up, wait this long, then twice as long, up to the limit.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// The longest wait between look-ups of a name that does not resolve.
const LONGEST_RETRY: Duration = Duration::from_secs(512);
/// Requests without an answer after which another address is tried.
const PATIENCE: u32 = 8;
/// Addresses remembered for one name.
const MAX_ADDRESSES: usize = 16;

#[derive(Debug)]
pub(super) struct Name {
    pub(super) id: NameId,
    pub(super) directive: ServerDirective,
    timescale: Timescale,
    /// Addresses not in use, best first.
    spare: Vec<IpAddr>,
    next: Option<Instant>,
    retry: Duration,
    resolving: bool,
    failed: bool,
}

impl Name {
    pub(super) const fn new(id: NameId, directive: ServerDirective, timescale: Timescale, now: Instant) -> Self {
        Self { id, directive, timescale, spare: Vec::new(), next: Some(now), retry: FIRST_RETRY, resolving: false, failed: false }
    }

    /// When to look it up; `None` while that is under way or not needed.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.resolving { None } else { self.next }
    }

    /// The name to look up now.
    pub(super) fn on_timer(&mut self, now: Instant) -> Option<NameId> {
        if self.resolving || self.next.is_none_or(|next| now < next) {
            return None;
        }
        self.resolving = true;
        self.next = None;
        Some(self.id)
    }

    /// True while the last look-up gave nothing.
    pub(super) const fn failed(&self) -> bool {
        self.failed
    }

    fn look_up_later(&mut self, now: Instant) {
        if self.next.is_none() && !self.resolving {
            self.next = Some(now + self.retry);
            self.retry = (self.retry * 2).min(LONGEST_RETRY);
        }
    }

    fn wanted(&self) -> usize {
        if self.directive.is_pool() { usize::from(self.directive.max_sources) } else { 1 }
    }
}

impl Agent {
    pub(super) fn on_resolved(&mut self, now: Instant, id: NameId, addresses: &[IpAddr]) {
        let used: Vec<SocketAddr> = self
            .sources
            .iter()
            .filter_map(|s| match &s.kind {
                Kind::Ntp(association) => Some(association.address()),
                Kind::Local(_) => None,
            })
            .collect();
        let Some(name) = self.names.iter_mut().find(|n| n.id == id) else { return };
        name.resolving = false;
        name.failed = addresses.is_empty();
        if addresses.is_empty() {
            name.look_up_later(now);
            return;
        }
        name.spare.clear();
        let port = name.directive.port;
        // No name stands for a machine of this host.
        let addresses = addresses.iter().filter(|a| Vsock::of(**a).is_none());
        for address in addresses.filter(|a| !used.contains(&SocketAddr::new(**a, port))).take(MAX_ADDRESSES) {
            if !name.spare.contains(address) {
                name.spare.push(*address);
            }
        }
        if !name.spare.is_empty() {
            name.retry = FIRST_RETRY;
        }
        self.fill(now, id);
    }

    /// Brings a name's associations up to the number wanted, from its spare addresses.
    fn fill(&mut self, now: Instant, id: NameId) {
        loop {
            let active = self.sources.iter().filter(|s| s.from == Some(id)).count();
            let Some(name) = self.names.iter_mut().find(|n| n.id == id) else { return };
            if active >= name.wanted() {
                return;
            }
            if name.spare.is_empty() {
                name.look_up_later(now);
                return;
            }
            let address = name.spare.remove(0);
            let (directive, timescale) = (name.directive.clone(), name.timescale);
            self.add_association(&directive, address, timescale, Some(id), now);
            if self.sources.iter().filter(|s| s.from == Some(id)).count() == active {
                return; // No room for more sources.
            }
        }
    }

    /// Gives up addresses that do not answer, or refuse us, where the name may have others.
    pub(super) fn replace_the_silent(&mut self, now: Instant) {
        let silent = |s: &Source| match &s.kind {
            Kind::Ntp(association) => {
                s.from.is_some() && (s.denied || (association.unanswered() >= PATIENCE && !association.reach().is_reachable()))
            }
            Kind::Local(_) => false,
        };
        let found: ArrayVec<(SourceId, NameId), MAX_SOURCES> =
            self.sources.iter().filter(|s| silent(s)).filter_map(|s| s.from.map(|from| (s.id, from))).take(MAX_SOURCES).collect();
        for (id, from) in found {
            let Some(name) = self.names.iter_mut().find(|n| n.id == from) else { continue };
            if name.spare.is_empty() {
                // The address stays until the name gives another.
                name.look_up_later(now);
            } else {
                self.replace(now, id, from);
            }
        }
    }

    fn replace(&mut self, now: Instant, id: SourceId, from: NameId) {
        self.remove_source(now, id);
        self.fill(now, from);
        self.outputs.push_back(Output::Publish);
    }
}
