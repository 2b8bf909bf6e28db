//! What of a replay a person wants to see: what changed and when, each source's part in it, and how it ended.

use serde::Serialize;

use super::curve::Curve;
use super::reader::Located;
use super::record::{Decided, Record};
use super::replay::{Moment, Replay, Start};
use crate::core::{Applied, Event, Signal, SourceId, SourceState, Status};
use crate::units::{Bound, Instant, Offset, Ppm, Timestamp, count};

/// So many moments are kept; what happens more often is counted.
const MOST_NOTABLE: usize = 10_000;
/// So many samples are kept as the most surprising.
const MOST_SURPRISING: usize = 10;

/// What happened in a trace.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Story {
    /// Records read, headings apart.
    pub records: u64,
    /// Decisions compared with those recorded.
    pub compared: u64,
    /// How many were not the same.
    pub different: u64,
    /// The first of them.
    pub first_difference: Option<Difference>,
    /// The line's time at the first record and at the last.
    pub span: Option<(Timestamp, Timestamp)>,
    /// What changed, in order.
    pub notable: Vec<Notable>,
    /// Changes beyond those.
    pub unlisted: u64,
    /// The samples farthest from the line while it was believed, the farthest first.
    pub surprises: Vec<Innovation>,
    /// Each source, by name.
    pub sources: Vec<SourceStory>,
    /// How it ended.
    pub end: Option<End>,
    /// Offsets and bounds over time.
    #[serde(skip)]
    pub curve: Curve,
    #[serde(skip)]
    last: Last,
}

/// Two decisions where one was expected.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Difference {
    /// Which of the files, from zero.
    pub file: usize,
    /// The line in it, from one.
    pub line: u64,
    /// When, on the timebase.
    pub at: Instant,
    /// Then.
    pub recorded: Decided,
    /// Now.
    pub replayed: Decided,
}

/// Something changed.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Notable {
    /// Which of the files, from zero.
    pub file: usize,
    /// The line in it, from one.
    pub line: u64,
    /// When, on the timebase.
    pub at: Instant,
    /// When, by the line.
    pub time: Timestamp,
    /// Seconds since the trace began.
    pub elapsed: f64,
    /// What.
    pub what: Happening,
}

/// What can change.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// A run of the program began.
    Run {
        /// Its version.
        program: String,
    },
    /// Records are missing: the core began cold.
    Gap {
        /// How many.
        missing: u64,
    },
    /// The state of time.
    Status {
        /// Before.
        from: Status,
        /// Now.
        to: Status,
    },
    /// Another source, or none, is the best.
    Selected {
        /// Before.
        from: Option<String>,
        /// Now.
        to: Option<String>,
    },
    /// A source became a falseticker or unreachable, or ceased to be.
    Source {
        /// Which.
        name: String,
        /// Before.
        from: SourceState,
        /// Now.
        to: SourceState,
    },
    /// A source was added.
    Added {
        /// Which.
        name: String,
    },
    /// A source was removed.
    Removed {
        /// Which.
        name: String,
    },
    /// We stepped the clock.
    Stepped {
        /// What was added to it.
        by: Offset,
    },
    /// Something happened to this machine's time.
    Signal(Signal),
}

/// A sample that was not expected where it was.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Innovation {
    /// Which of the files, from zero.
    pub file: usize,
    /// The line in it, from one.
    pub line: u64,
    /// When, by the line.
    pub time: Timestamp,
    /// Of which source.
    pub name: String,
    /// Seconds that it lay ahead of the line.
    pub offset: f64,
    /// Seconds of round trip, or width of the reading.
    pub delay: f64,
}

/// One source's part.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SourceStory {
    /// As people know it.
    pub name: String,
    /// Its samples.
    pub samples: u64,
    /// Root mean square of what they lay off the line while it was believed, seconds.
    pub rms_innovation: f64,
    /// The largest of them, seconds.
    pub worst_innovation: f64,
    /// The shortest round trip or reading, seconds.
    pub least_delay: f64,
    /// Seconds for which it was followed.
    pub followed: f64,
    /// Seconds for which it was a falseticker.
    pub falseticker: f64,
    /// Seconds for which it could not be used for any other reason.
    pub unusable: f64,
    /// Its state at the end.
    pub state: SourceState,
    #[serde(skip)]
    square: f64,
    #[serde(skip)]
    believed: u64,
}

/// How a trace ends.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct End {
    /// The state of time.
    pub status: Status,
    /// How wrong the line can be.
    pub line: Bound,
    /// How wrong the clock can be.
    pub clock: Bound,
    /// Seconds that the clock is behind the line.
    pub remaining: f64,
    /// Frequency of the line against the timebase.
    pub frequency: Ppm,
    /// One sigma of it.
    pub skew: Ppm,
}

/// How things stood after the last record.
#[derive(Clone, PartialEq, Debug, Default)]
struct Last {
    at: Instant,
    status: Status,
    selected: Option<String>,
    sources: Vec<(SourceId, String, SourceState)>,
}

impl Last {
    fn name(&self, id: SourceId) -> Option<&str> {
        self.sources.iter().find(|s| s.0 == id).map(|s| s.1.as_str())
    }

    fn state(&self, id: SourceId) -> SourceState {
        self.sources.iter().find(|s| s.0 == id).map_or(SourceState::Waiting, |s| s.2)
    }
}

impl Story {
    /// Takes in what became of a record; `replay` is as that left it.
    pub fn see(&mut self, located: &Located, moment: &Moment, replay: &Replay) {
        let Some(core) = replay.core() else { return };
        let time = core.line().at(moment.at);
        self.span = Some((self.span.map_or(time, |span| span.0), time));
        let place = Place { file: located.file, line: located.line, at: moment.at, time };
        match &located.record {
            Record::Heading(heading) => {
                match moment.start {
                    Some(Start::Run) => self.note(place, Happening::Run { program: heading.program.clone() }),
                    Some(Start::Cold { missing }) => self.note(place, Happening::Gap { missing }),
                    Some(Start::Seamless) | None => return,
                }
                self.curve.pause(time);
                // A core that has just begun has no past.
                self.last = Last { at: moment.at, ..Last::default() };
            }
            record => {
                self.records += 1;
                self.compare(place, moment);
                self.note_record(place, record, replay);
                self.measure(place, record, moment.innovation);
            }
        }
        self.account(moment.at);
        self.note_changes(place, replay);
        let (line, clock) = core.bounds(moment.at);
        let remaining = core.line().ahead_of(core.course().at(moment.at), moment.at);
        self.curve.look(moment.at, time, core.status().0, -remaining, line.is_known().then(|| line.at(moment.at).as_secs_f64()));
        self.end = Some(End { status: core.status().0, line, clock, remaining, frequency: core.line().frequency(), skew: core.skew() });
    }

    fn note(&mut self, place: Place, what: Happening) {
        if self.notable.len() < MOST_NOTABLE {
            self.notable.push(Notable {
                file: place.file,
                line: place.line,
                at: place.at,
                time: place.time,
                elapsed: self.curve.elapsed(),
                what,
            });
        } else {
            self.unlisted += 1;
        }
    }

    fn compare(&mut self, place: Place, moment: &Moment) {
        let (Some(recorded), Some(replayed)) = (moment.recorded, moment.decision) else { return };
        self.compared += 1;
        if moment.differs() {
            self.different += 1;
            self.first_difference.get_or_insert(Difference { file: place.file, line: place.line, at: place.at, recorded, replayed });
        }
    }

    /// What a record says by itself.
    fn note_record(&mut self, place: Place, record: &Record, replay: &Replay) {
        match record {
            Record::Add { source, .. } => self.note(place, Happening::Added { name: source.name.clone() }),
            Record::Remove { id, .. } => {
                if let Some(name) = self.last.name(*id).map(str::to_owned) {
                    self.note(place, Happening::Removed { name });
                }
            }
            Record::Event { what: Event::Signal(signal), .. } => self.note(place, Happening::Signal(*signal)),
            Record::Event { what: Event::Applied(Applied { stepped: Some(by), .. }), .. } => {
                self.note(place, Happening::Stepped { by: *by })
            }
            _ => {}
        }
        for source in replay.sources() {
            if !self.sources.iter().any(|s| s.name == source.name) {
                self.sources.push(SourceStory::new(&source.name));
            }
        }
    }

    fn measure(&mut self, place: Place, record: &Record, innovation: Option<f64>) {
        let (Record::Event { what: Event::Sample(sample), .. }, Some(offset)) = (record, innovation) else { return };
        let Some(name) = self.last.name(sample.source).map(str::to_owned) else { return };
        let Some(source) = self.sources.iter_mut().find(|s| s.name == name) else { return };
        self.curve.sample(&name, offset);
        let delay = sample.delay.as_secs_f64();
        source.least_delay = if source.samples == 0 { delay } else { source.least_delay.min(delay) };
        source.samples += 1;
        if !self.last.status.keeps_time() {
            return;
        }
        source.believed += 1;
        source.square += offset * offset;
        source.rms_innovation = (source.square / count(source.believed)).sqrt();
        source.worst_innovation = source.worst_innovation.max(offset.abs());
        // What a known liar says surprises nobody.
        if is_followed(self.last.state(sample.source)) || is_spare(self.last.state(sample.source)) {
            let rank = self.surprises.partition_point(|s| s.offset.abs() >= offset.abs());
            if rank < MOST_SURPRISING {
                self.surprises.truncate(MOST_SURPRISING - 1);
                self.surprises.insert(rank, Innovation { file: place.file, line: place.line, time: place.time, name, offset, delay });
            }
        }
    }

    /// The time since the last record belongs to the states that held until now.
    fn account(&mut self, at: Instant) {
        let seconds = at.since(self.last.at).seconds();
        self.last.at = at;
        for (_, name, state) in &self.last.sources {
            let Some(source) = self.sources.iter_mut().find(|s| s.name == *name) else { continue };
            match state {
                SourceState::Falseticker => source.falseticker += seconds,
                state if is_followed(*state) => source.followed += seconds,
                state if is_spare(*state) => {}
                _ => source.unusable += seconds,
            }
        }
    }

    fn note_changes(&mut self, place: Place, replay: &Replay) {
        let Some(core) = replay.core() else { return };
        let sources: Vec<_> = replay.sources().iter().map(|s| (s.id, s.name.clone(), core.state(s.id))).collect();
        for (id, name, to) in &sources {
            let from = self.last.state(*id);
            let matters = |state| matches!(state, SourceState::Falseticker | SourceState::Unreachable);
            if from != *to && (matters(from) || matters(*to)) {
                self.note(place, Happening::Source { name: name.clone(), from, to: *to });
            }
            if let Some(source) = self.sources.iter_mut().find(|s| s.name == *name) {
                source.state = *to;
            }
        }
        let selected = sources.iter().find(|s| s.2 == SourceState::Selected).map(|s| s.1.clone());
        self.last.sources = sources;
        if selected != self.last.selected {
            let from = std::mem::replace(&mut self.last.selected, selected.clone());
            self.note(place, Happening::Selected { from, to: selected });
        }
        let status = core.status().0;
        if status != self.last.status {
            let from = std::mem::replace(&mut self.last.status, status);
            self.note(place, Happening::Status { from, to: status });
        }
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    line: u64,
    at: Instant,
    time: Timestamp,
}

impl SourceStory {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            samples: 0,
            rms_innovation: 0.0,
            worst_innovation: 0.0,
            least_delay: 0.0,
            followed: 0.0,
            falseticker: 0.0,
            unusable: 0.0,
            state: SourceState::Waiting,
            square: 0.0,
            believed: 0,
        }
    }
}

const fn is_followed(state: SourceState) -> bool {
    matches!(state, SourceState::Selected | SourceState::Combined)
}

/// Good, but not needed.
const fn is_spare(state: SourceState) -> bool {
    matches!(state, SourceState::NotPreferred | SourceState::Outclassed)
}
