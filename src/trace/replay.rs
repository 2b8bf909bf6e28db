//! Records through a core: the decisions of then, made again.

use super::reader::{Located, Wrong};
use super::record::{Decided, Heading, Record, RunId, TracedSource};
use crate::core::{Core, Event, SourceId};
use crate::units::Instant;

/// More sources than the agent follows are not in any trace of it.
const MAX_SOURCES: usize = 64;

/// How a core came to be where a heading stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// The run of the program began.
    Run,
    /// The run goes on where the record before left it.
    Seamless,
    /// What came before is not there: the core begins cold, and its decisions cannot be those recorded.
    Cold {
        /// Records of this run that are missing.
        missing: u64,
    },
}

/// What became of one record.
#[derive(Clone, PartialEq, Debug)]
pub struct Moment {
    /// When, on the timebase.
    pub at: Instant,
    /// A core began here.
    pub start: Option<Start>,
    /// What the core decided now.
    pub decision: Option<Decided>,
    /// What it decided then, if that can be compared.
    pub recorded: Option<Decided>,
    /// Of a sample: seconds that it lies ahead of the line as it was believed until then.
    pub innovation: Option<f64>,
}

impl Moment {
    /// The decision is not the one of then.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.recorded.is_some() && self.recorded != self.decision
    }
}

#[derive(Debug)]
struct Running {
    core: Core,
    id: RunId,
    /// Records since the run began.
    records: u64,
    at: Instant,
    /// The core knows all that it knew then.
    exact: bool,
    sources: Vec<TracedSource>,
}

/// A replay, one record after the other.
#[derive(Debug, Default)]
pub struct Replay {
    running: Option<Running>,
}

impl Replay {
    /// The core as it is now.
    #[must_use]
    pub fn core(&self) -> Option<&Core> {
        self.running.as_ref().map(|r| &r.core)
    }

    /// The sources that the core has now.
    #[must_use]
    pub fn sources(&self) -> &[TracedSource] {
        self.running.as_ref().map_or(&[], |r| &r.sources)
    }

    /// What a source is called.
    #[must_use]
    pub fn name(&self, id: SourceId) -> Option<&str> {
        self.sources().iter().find(|s| s.id == id).map(|s| s.name.as_str())
    }

    /// Feeds one record to the core.
    pub fn take(&mut self, located: &Located) -> Result<Moment, Wrong> {
        let wrong = |what: &str| Wrong { line: located.line, what: what.to_owned() };
        let at = located.record.at();
        if let Record::Heading(heading) = &located.record {
            let start = self.begin(heading, at).map_err(wrong)?;
            return Ok(Moment { at, start: Some(start), decision: None, recorded: None, innovation: None });
        }
        let Some(running) = &mut self.running else {
            return Err(wrong("a trace begins with a heading: give the files of one run whole and in order, the oldest first"));
        };
        if at < running.at {
            return Err(wrong("time runs backwards: lines are out of order; take the file as the program wrote it"));
        }
        running.at = at;
        running.records = running.records.saturating_add(1);
        let innovation = match &located.record {
            Record::Event { what: Event::Sample(sample), .. } => Some(-running.core.line().ahead_of(sample.reference, sample.at)),
            _ => None,
        };
        let (decision, then) = match &located.record {
            Record::Start { decision, .. } => (Some(running.core.start(at)), Some(decision)),
            Record::Event { what, decision, .. } => (Some(running.core.handle(at, *what)), Some(decision)),
            Record::Add { source, .. } => {
                running.add(source).map_err(wrong)?;
                (None, None)
            }
            Record::Remove { id, .. } => {
                running.core.remove_source(*id);
                running.sources.retain(|s| s.id != *id);
                (None, None)
            }
            Record::Ignore { id, .. } => {
                running.core.ignore(*id);
                (None, None)
            }
            Record::Heading(_) => (None, None),
        };
        let decision = decision.map(|decision| Decided::new(decision, &running.core));
        let recorded = then.copied().filter(|_| running.exact);
        Ok(Moment { at, start: None, decision, recorded, innovation })
    }

    fn begin(&mut self, heading: &Heading, at: Instant) -> Result<Start, &'static str> {
        let seamless = self.running.as_ref().is_some_and(|r| r.id == heading.run && r.records == heading.before);
        if seamless && heading.before > 0 {
            return Ok(Start::Seamless);
        }
        let same_run = self.running.as_ref().filter(|r| r.id == heading.run);
        if same_run.is_some_and(|r| at < r.at || heading.before < r.records) {
            return Err("this part of the run comes before what was read already: give the files in order, the oldest first");
        }
        let missing = heading.before - same_run.map_or(0, |r| r.records);
        let mut running = Running {
            core: heading.core.core(),
            id: heading.run,
            records: heading.before,
            at,
            exact: heading.before == 0,
            sources: Vec::new(),
        };
        for source in &heading.sources {
            running.add(source)?;
        }
        self.running = Some(running);
        Ok(if heading.before == 0 { Start::Run } else { Start::Cold { missing } })
    }
}

impl Running {
    fn add(&mut self, source: &TracedSource) -> Result<(), &'static str> {
        if self.sources.iter().any(|s| s.id == source.id) {
            return Err("this source is there already: the line stands twice, remove one");
        }
        if self.sources.len() >= MAX_SOURCES {
            return Err("more than 64 sources at once: the program never follows so many; take the file as it was written");
        }
        self.core.add_source(source.id, source.options, source.local);
        self.sources.push(source.clone());
        Ok(())
    }
}
