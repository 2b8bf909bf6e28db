//! What one line of a trace says. A line is one JSON object; times are nanoseconds, frequencies ppm.

use serde::{Deserialize, Serialize};

use crate::config::SelectOptions;
use crate::core::{Adjustment, Core, CoreOptions, Course, Decision, Event, Signal, SourceId, Status};
use crate::units::{Bound, Instant, Ppm, Timestamp};

/// The version of the lines' form.
pub const FORMAT: u32 = 1;
/// No rate is farther from another than this: a clock that stands still, or runs twice as fast.
const WILDEST_RATE: f64 = 1e6;

/// One line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A run of the program begins, or goes on in this file.
    Heading(Box<Heading>),
    /// [`Core::start`](crate::core::Core::start).
    Start {
        /// When.
        at: Instant,
        /// What was decided.
        decision: Decided,
    },
    /// A source was added.
    Add {
        /// When.
        at: Instant,
        /// Which.
        source: TracedSource,
    },
    /// A source was removed.
    Remove {
        /// When.
        at: Instant,
        /// Which.
        id: SourceId,
    },
    /// A source turned out to carry no time.
    Ignore {
        /// When.
        at: Instant,
        /// Which.
        id: SourceId,
    },
    /// The core was told something.
    Event {
        /// When.
        at: Instant,
        /// What.
        what: Event,
        /// What was decided.
        decision: Decided,
    },
}

/// What the core decided, and where that left it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// The order to the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjustment: Option<Adjustment>,
    /// When the core wants to be called again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Instant>,
    /// The state of time.
    pub status: Status,
    /// How wrong the line can be.
    pub line: Bound,
}

impl Decided {
    /// For a decision that `core` has just made.
    #[must_use]
    pub const fn new(decision: Decision, core: &Core) -> Self {
        Self { adjustment: decision.adjustment, next: decision.next, status: core.status().0, line: core.line_bound() }
    }
}

/// Names one run of the program: where its timebase and its clock stood at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunId {
    /// The timebase.
    pub at: Instant,
    /// The clock.
    pub time: Timestamp,
}

/// The first line of a run, or of its part in another file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heading {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of the program that wrote it.
    pub program: String,
    /// Which run.
    pub run: RunId,
    /// Records of this run, headings apart, that stand before this one: 0 at its beginning.
    pub before: u64,
    /// How the core begins here.
    pub core: Beginning,
    /// The sources that it already has.
    pub sources: Vec<TracedSource>,
}

/// What a core begins with.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beginning {
    /// What the user configured.
    pub options: CoreOptions,
    /// When.
    pub at: Instant,
    /// The clock's course.
    pub course: Course,
    /// Frequency of the line and its uncertainty, from a drift file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<(Ppm, Ppm)>,
    /// The clock was moved to a floor: the first measurement may step it.
    pub clock_is_a_guess: bool,
    /// TAI minus UTC in seconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tai_offset: Option<i16>,
}

impl Beginning {
    /// The core that begins so. It has no sources yet, and has not started.
    #[must_use]
    pub fn core(&self) -> Core {
        let mut core = Core::new(self.options.clone(), self.at, self.course, self.drift);
        if self.clock_is_a_guess {
            core.clock_is_a_guess();
        }
        core.set_tai_offset(self.tai_offset);
        core
    }
}

/// A source as a trace knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracedSource {
    /// Its number.
    pub id: SourceId,
    /// As people know it; the core does not.
    pub name: String,
    /// How it takes part in selection.
    pub options: SelectOptions,
    /// A device of the machine itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local: bool,
}

/// Why a line is no record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// It is not a line of a trace.
    #[error("column {column}: {what}; the line is damaged or no trace: take the file as the program wrote it")]
    Form {
        /// Where in the line, from one.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// It is written in another form.
    #[error(
        "the trace has format {found}, written by paraclock {program}; this program reads format {FORMAT}: replay it with that version"
    )]
    Format {
        /// Its format.
        found: u32,
        /// Who wrote it.
        program: String,
    },
    /// A value that the program never writes.
    #[error("{what}; the program never writes that: take the line as it was written")]
    Value {
        /// What is wrong.
        what: String,
    },
}

/// As much of a heading as every format has.
#[derive(Deserialize)]
struct Any {
    heading: AnyHeading,
}

#[derive(Deserialize)]
struct AnyHeading {
    format: u32,
    #[serde(default)]
    program: String,
}

impl Record {
    /// Appends the record and a line feed.
    pub fn emit(&self, out: &mut String) {
        // Maps with keys of text and finite numbers: nothing here can fail.
        let text = serde_json::to_string(self).unwrap_or_default();
        out.push_str(&text);
        out.push('\n');
    }

    /// What a line says.
    pub fn parse(line: &str) -> Result<Self, Fault> {
        let record = serde_json::from_str::<Self>(line).map_err(|error| fault(line, &error))?;
        record.check()?;
        Ok(record)
    }

    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Instant {
        match self {
            Self::Heading(heading) => heading.core.at,
            Self::Start { at, .. } | Self::Add { at, .. } | Self::Remove { at, .. } | Self::Ignore { at, .. } | Self::Event { at, .. } => {
                *at
            }
        }
    }

    /// What no type forbids and no program writes.
    fn check(&self) -> Result<(), Fault> {
        match self {
            Self::Heading(heading) => {
                let Beginning { options, course, drift, .. } = &heading.core;
                if heading.format != FORMAT {
                    return Err(Fault::Format { found: heading.format, program: heading.program.clone() });
                }
                magnitude("maxslewrate", options.max_slew)?;
                magnitude("maxdrift", options.max_drift)?;
                magnitude("maxclockerror", options.max_clock_error)?;
                if let Some((frequency, skew)) = drift {
                    rate("the saved frequency", *frequency)?;
                    magnitude("the saved frequency's uncertainty", *skew)?;
                }
                check_course(course)
            }
            Self::Event { what: Event::Applied(applied), .. } => check_course(&applied.course),
            Self::Event { what: Event::Course(course), .. } => check_course(course),
            Self::Event { what: Event::Signal(Signal::ClockSet { course, .. }), .. } => check_course(course),
            Self::Event { .. } | Self::Start { .. } | Self::Add { .. } | Self::Remove { .. } | Self::Ignore { .. } => Ok(()),
        }
    }
}

fn check_course(course: &Course) -> Result<(), Fault> {
    rate("the course's rate", course.rate)
}

fn rate(name: &str, value: Ppm) -> Result<(), Fault> {
    // Written so that a NaN is refused as well.
    if value.ppm().abs() < WILDEST_RATE { Ok(()) } else { Err(Fault::Value { what: format!("{name} is {} ppm", value.ppm()) }) }
}

fn magnitude(name: &str, value: Ppm) -> Result<(), Fault> {
    if value.ppm() >= 0.0 && value.ppm() <= WILDEST_RATE {
        Ok(())
    } else {
        Err(Fault::Value { what: format!("{name} is {} ppm", value.ppm()) })
    }
}

fn fault(line: &str, error: &serde_json::Error) -> Fault {
    if let Ok(Any { heading: AnyHeading { format, program } }) = serde_json::from_str(line) {
        if format != FORMAT {
            return Fault::Format { found: format, program };
        }
    }
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned();
    Fault::Form { column: error.column().max(1), what }
}
