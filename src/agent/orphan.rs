//! `local ... orphan`: machines that serve their own time for want of a better agree on one of them.
//!
//! All of them claim the same stratum, ask each other, and follow the one whose address makes the smallest reference id; that one follows nobody. Whoever
//! claims a higher stratum follows one of us. An ordinary source always comes first.

use std::net::IpAddr;

use super::{Agent, Kind};
use crate::core::{Sample, SourceId, SourceState};
use crate::ntp::reference_id_of;
use crate::units::{ReferenceId, Stratum};

/// Why a good answer of an orphan, ourselves perhaps, is not followed.
pub(super) const ASIDE: &str = "it serves its own time or that of another orphan, as this machine would: all follow one of them";

impl Agent {
    /// Whether a measurement may be used; `to` is our own address. Without `orphan`, every one.
    pub(super) fn may_be_followed(&mut self, id: SourceId, sample: &Sample, to: IpAddr) -> bool {
        let Some(stratum) = self.local.orphan() else { return true };
        let Some(theirs) = self.ntp_id(id) else { return true };
        let orphan = (sample.stratum >= stratum).then_some(theirs);
        let follow = orphan.is_none() || self.is_the_orphan_to_follow(id, theirs, reference_id_of(to), sample.stratum, stratum);
        if let Some(source) = self.sources.iter_mut().find(|s| s.id == id) {
            source.orphan = orphan;
        }
        follow
    }

    fn is_the_orphan_to_follow(&self, id: SourceId, theirs: ReferenceId, ours: ReferenceId, claimed: Stratum, stratum: Stratum) -> bool {
        let comes_first = |s: &super::Source| match (&s.kind, s.orphan) {
            (Kind::Ntp(association), Some(other)) => association.reach().is_reachable() && other.0 < theirs.0,
            (_, None) => self.is_used(s.id),
            _ => false,
        };
        claimed == stratum && theirs.0 < ours.0 && !self.sources.iter().any(|s| s.id != id && comes_first(s))
    }

    /// Whether the core follows a source, or would.
    fn is_used(&self, id: SourceId) -> bool {
        use SourceState::{Combined, NotPreferred, Outclassed, Selected};
        matches!(self.core.state(id), Selected | Combined | NotPreferred | Outclassed)
    }

    /// What a server is known by to those who follow it.
    fn ntp_id(&self, id: SourceId) -> Option<ReferenceId> {
        self.server(id).map(|server| reference_id_of(server.ip()))
    }
}
