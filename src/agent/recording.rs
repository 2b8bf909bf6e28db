//! The agent's way to its core: whatever goes in is noted, if a trace is kept, with what was decided.

use super::{Agent, Note, Notes, Output};
use crate::config::SelectOptions;
use crate::core::{Core, Event, SourceId};
use crate::trace::{Beginning, Decided, FORMAT, Heading, Record, RunId, TracedSource};
use crate::units::Instant;

impl Agent {
    /// The core's first order.
    pub(super) fn begin(&mut self, beginning: Beginning) {
        let now = beginning.at;
        let run = RunId { at: now, time: beginning.course.at(now) };
        self.record(|_| {
            let program = env!("CARGO_PKG_VERSION").to_owned();
            Record::Heading(Box::new(Heading { format: FORMAT, program, run, before: 0, core: beginning, sources: Vec::new() }))
        });
        let decision = self.core.start(now);
        self.record(|core| Record::Start { at: now, decision: Decided::new(decision, core) });
        self.obey(&decision);
    }

    /// Tells the core, and does as it decides.
    pub(super) fn consult(&mut self, now: Instant, what: Event) {
        let decision = self.core.handle(now, what);
        self.record(|core| Record::Event { at: now, what, decision: Decided::new(decision, core) });
        self.follow_disruption(now);
        self.obey(&decision);
        if decision.ask {
            self.ask_everybody(now);
        }
    }

    /// The core shall follow a source.
    pub(super) fn take_up(&mut self, now: Instant, id: SourceId, name: &str, options: SelectOptions, local: bool) {
        self.core.add_source(id, options, local);
        self.record(|_| Record::Add { at: now, source: TracedSource { id, name: name.to_owned(), options, local } });
    }

    /// The core shall forget a source.
    pub(super) fn let_go(&mut self, now: Instant, id: SourceId) {
        self.core.remove_source(id);
        self.record(|_| Record::Remove { at: now, id });
    }

    /// A source turns out to carry no time.
    pub(super) fn ignore(&mut self, now: Instant, id: SourceId) {
        self.core.ignore(id);
        self.record(|_| Record::Ignore { at: now, id });
    }

    fn record(&mut self, record: impl FnOnce(&Core) -> Record) {
        if self.notes.as_deref().is_some_and(Notes::traces) {
            self.outputs.push_back(Output::Note(Note::Traced(Box::new(record(&self.core)))));
        }
    }
}
