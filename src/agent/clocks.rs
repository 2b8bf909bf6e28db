//! The agent's local clocks: how they come, what their readings tell, and which readings are set aside.

use super::local_clock::LocalClock;
use super::{Agent, Kind, MAX_SOURCES, Source};
use crate::config::{RefclockDirective, SelectOptions};
use crate::core::{Event, ReadError, Reading, Sample, SourceId, Status};
use crate::units::{Instant, Timescale};

impl Agent {
    pub(super) fn add_refclock(&mut self, directive: &RefclockDirective, hidden: bool, now: Instant) -> Option<SourceId> {
        if self.sources.len() >= MAX_SOURCES {
            return None;
        }
        let id = self.new_id();
        // The first place that is free: a clock that comes back gets its name back.
        let taken = |place| self.sources.iter().any(|s| matches!(&s.kind, Kind::Local(clock) if clock.place() == place));
        let place = (0..MAX_SOURCES).find(|&place| !taken(place)).unwrap_or(0);
        let clock = LocalClock::new(id, directive, place, now);
        let noselect = directive.select.noselect || hidden || !clock.tells_time();
        let effective = self.authentication.of_refclock(directive.select);
        self.take_up(now, id, &clock.name(), SelectOptions { noselect, ..effective }, true);
        self.sources.push(Source {
            id,
            name: clock.name(),
            from: None,
            select: directive.select,
            timescale: Timescale::Unknown,
            kind: Kind::Local(Box::new(clock)),
            denied: false,
            was_reachable: true,
            sequence: 0,
            hidden,
            asks_us: false,
            orphan: None,
            noted: None,
        });
        Some(id)
    }

    pub(super) fn local(&mut self, id: SourceId) -> Option<&mut LocalClock> {
        self.sources.iter_mut().find(|s| s.id == id).and_then(|s| match &mut s.kind {
            Kind::Local(clock) => Some(&mut **clock),
            Kind::Ntp(_) => None,
        })
    }

    /// Whether a reading seems to have been taken while the hypervisor ran somebody else: then whoever can should look up
    /// the steal time and tell it as [`Input::Stolen`] before the reading.
    #[must_use]
    pub fn seems_torn(&self, id: SourceId, reading: &Reading) -> bool {
        self.sources.iter().any(|s| s.id == id && matches!(&s.kind, Kind::Local(clock) if clock.looks_torn(reading)))
    }

    /// The timescale that a source of unknown timescale counts as since it agreed with another, and the other's name.
    #[must_use]
    pub fn counts_as(&self, id: SourceId) -> Option<(Timescale, &str)> {
        let (timescale, other) = self.core.counts_as(id)?;
        Some((timescale, self.source_name(other).unwrap_or("a source that is gone")))
    }

    pub(super) fn on_reading(&mut self, now: Instant, id: SourceId, result: Result<Reading, ReadError>) {
        let tai_offset = self.tai_offset;
        let (status, since) = self.core.status();
        let Some(Source { kind: Kind::Local(clock), was_reachable, .. }) = self.sources.iter_mut().find(|s| s.id == id) else { return };
        let gone = matches!(result, Err(ReadError::Absent { .. })) && std::mem::take(was_reachable);
        let unheard = gone || (result.is_err() && clock.counts().1 == 0);
        // Begun before time broke, it may tell of the time before.
        let stale = status == Status::Disrupted && result.as_ref().is_ok_and(|reading| reading.before < since);
        let told_time = clock.tells_time();
        let kvm = clock.kind() == "KVM";
        let heard = clock.on_reading(result, tai_offset);
        if stale {
            clock.hurry(now);
        }
        if told_time && !clock.tells_time() {
            self.ignore(now, id);
            return;
        }
        if unheard && heard.signal.is_none() && clock.tells_time() {
            // The others need not wait for it.
            self.consult(now, Event::Unreachable(id));
            return;
        }
        if let Some(signal) = heard.signal {
            self.on_signal(now, signal, kvm);
        }
        let Some(sample) = heard.sample.filter(|_| !stale) else { return };
        if heard.torn && self.is_no_news(&sample) {
            if let Some(clock) = self.local(id) {
                clock.windows().count();
            }
            return;
        }
        if let Some(source) = self.sources.iter_mut().find(|s| s.id == id) {
            source.was_reachable = true;
        }
        self.consult(now, Event::Sample(sample));
        self.note_reading(now, id, &sample);
    }

    /// Whether a sample, within its own error, says what is known already. One that contradicts is always heard.
    fn is_no_news(&self, sample: &Sample) -> bool {
        let (line, bound) = (self.core.line(), self.core.line_bound());
        let off = sample.reference.since(line.at(sample.at)).abs();
        let explained = (sample.delay / 2).saturating_add(sample.dispersion).saturating_add(bound.at(sample.at));
        self.core.status().0 == Status::Synchronised && bound.is_known() && off <= explained
    }
}
