//! What happened, as data for whoever writes it down (`log` in the configuration).
//!
//! Without a kind in [`Setup::notes`](super::Setup::notes) nothing is looked at and nothing is handed out.
//! Offsets are, as in chrony's logs, against the *corrected* clock: the line as it was believed just before,
//! which the clock is slewed to. Times are that line's, too.

use std::net::IpAddr;
use std::time::Duration;

use super::{Agent, Kind, Output, Source};
use crate::config::{LogKind, SelectOptions};
use crate::core::{Course, Line, Sample, SourceId, SourceState, Status};
use crate::ntp::{Outcome, Rejection};
use crate::trace::Record;
use crate::units::{Instant, Leap, Ppm, Reach, ReferenceId, Stratum, Timestamp};
use crate::wire::ntp::Header;

/// A frequency is not known before this many samples.
const FIRST_STATISTICS: usize = 3;

/// One thing to write down.
#[derive(Clone, PartialEq, Debug)]
pub enum Note {
    /// A server answered.
    Measured(Measured),
    /// A refclock was read.
    Read(Read),
    /// A source's estimate was renewed.
    Estimated(Estimated),
    /// A source was considered in a selection.
    Considered(Considered),
    /// The line was moved, or lost.
    Updated(Updated),
    /// Something went into the core.
    Traced(Box<Record>),
}

/// How a source is named in logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    /// No source.
    Nobody,
    /// A server.
    Address(IpAddr),
    /// A refclock.
    Clock(ReferenceId),
}

/// An answer of a server. Of several faults only the first is known: judging ends there.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Measured {
    /// The middle of the exchange; of a rejected answer, now.
    pub time: Timestamp,
    /// Whose answer.
    pub label: Label,
    /// Why it was thrown away.
    pub fault: Option<Rejection>,
    /// As in the packet.
    pub leap: Leap,
    /// As in the packet.
    pub stratum: u8,
    /// Ours, log2 of seconds.
    pub poll: i8,
    /// As in the packet, log2 of seconds.
    pub server_poll: i8,
    /// How far we are on the way to another interval.
    pub score: f64,
    /// Seconds that the clock is behind; 0 if rejected.
    pub offset: f64,
    /// Round trip; 0 if rejected.
    pub delay: Duration,
    /// What the measurement adds; 0 if rejected.
    pub dispersion: Duration,
    /// As in the packet.
    pub root_delay: Duration,
    /// As in the packet.
    pub root_dispersion: Duration,
    /// As in the packet.
    pub reference_id: ReferenceId,
}

/// A reading of a refclock that became a sample.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Read {
    /// When.
    pub time: Timestamp,
    /// Which clock.
    pub label: Label,
    /// What it says of leap seconds.
    pub leap: Leap,
    /// Seconds that the clock as it runs is behind, without the configured correction.
    pub raw: f64,
    /// Seconds that the corrected clock is behind.
    pub cooked: f64,
    /// What the reading adds.
    pub dispersion: Duration,
}

/// What is believed of one source after a sample.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimated {
    /// The sample's time.
    pub time: Timestamp,
    /// Which source.
    pub label: Label,
    /// Of its samples, seconds.
    pub deviation: f64,
    /// Seconds that the clock is ahead.
    pub offset: f64,
    /// One sigma of it.
    pub offset_sigma: f64,
    /// By how much the corrected clock gains on the source.
    pub frequency: Ppm,
    /// One sigma of it.
    pub skew: Ppm,
    /// How far the frequency moved since the last sample, in units of the doubt there was.
    pub stress: f64,
    /// Samples in the statistics.
    pub samples: usize,
    /// Runs of one sign among them.
    pub runs: usize,
}

/// What became of one source in a selection.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Considered {
    /// When.
    pub time: Timestamp,
    /// Which source.
    pub label: Label,
    /// The verdict.
    pub state: SourceState,
    /// As configured.
    pub options: SelectOptions,
    /// Of the last eight polls.
    pub reach: Reach,
    /// Since its last sample, seconds; 0 if there is none.
    pub age: f64,
    /// The interval it vouches for: seconds that the clock is ahead, at least.
    pub low: f64,
    /// At most.
    pub high: f64,
}

/// A move of the line, or its loss (then `label` is nobody).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Updated {
    /// When.
    pub time: Timestamp,
    /// The best source.
    pub label: Label,
    /// Our stratum; 0 if lost.
    pub stratum: Stratum,
    /// By how much the uncorrected clock runs fast.
    pub frequency: Ppm,
    /// One sigma of it.
    pub skew: Ppm,
    /// Seconds that the corrected clock was ahead of the line as it is now.
    pub offset: f64,
    /// What is announced.
    pub leap: Leap,
    /// Sources combined.
    pub combined: usize,
    /// One sigma of the line's phase, seconds.
    pub offset_sigma: f64,
    /// Seconds that the clock was behind the line as it was: the rest of earlier corrections.
    pub remaining: f64,
    /// Up to the primary clock.
    pub root_delay: Duration,
    /// Up to the primary clock.
    pub root_dispersion: Duration,
    /// The clock's bound just before; `None` if there was none.
    pub max_error: Option<Duration>,
}

/// What is noted, and how things were before the input at hand.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    kinds: Vec<LogKind>,
    before: Option<Before>,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    line: Line,
    course: Course,
    /// Seconds that the clock was behind the line.
    remaining: f64,
    max_error: Option<Duration>,
    updated: Option<Instant>,
    status: Status,
}

impl Before {
    /// Seconds that the corrected clock was behind the sample.
    fn offset(&self, sample: &Sample) -> f64 {
        -self.line.ahead_of(sample.reference, sample.at)
    }
}

impl Notes {
    /// `None` if there is nothing to note.
    pub(super) fn new(kinds: Vec<LogKind>) -> Option<Box<Self>> {
        (!kinds.is_empty()).then(|| Box::new(Self { kinds, before: None }))
    }

    /// Whether what goes into the core is recorded.
    pub(super) fn traces(&self) -> bool {
        self.kinds.contains(&LogKind::Trace)
    }
}

impl Agent {
    /// Remembers how things are before an input.
    pub(super) fn look_before(&mut self, now: Instant) {
        let Some(notes) = &mut self.notes else { return };
        let (line, course) = (*self.core.line(), *self.core.course());
        let bound = self.core.bounds(now).1;
        notes.before = Some(Before {
            line,
            course,
            remaining: line.ahead_of(course.at(now), now),
            max_error: bound.is_known().then(|| bound.at(now)),
            updated: self.core.reference().map(|r| r.at),
            status: self.core.status().0,
        });
    }

    /// How things were, if one of `kinds` is noted.
    fn noting(&self, kinds: &[LogKind]) -> Option<Before> {
        let notes = self.notes.as_ref()?;
        if kinds.iter().any(|kind| notes.kinds.contains(kind)) { notes.before } else { None }
    }

    /// A server answered, and the core has heard of it.
    pub(super) fn note_answer(&mut self, now: Instant, id: SourceId, outcome: &Outcome, bytes: &[u8]) {
        if self.notes.is_none() {
            return;
        }
        let kinds = if matches!(outcome, Outcome::Sample(_)) {
            &[LogKind::Measurements, LogKind::RawMeasurements][..]
        } else {
            &[LogKind::RawMeasurements][..]
        };
        if let Some(before) = self.noting(kinds) {
            let source = self.sources.iter().find(|s| s.id == id);
            let measured = source.and_then(|source| measured(now, &before, source, outcome, bytes));
            self.outputs.extend(measured.map(|m| Output::Note(Note::Measured(m))));
        }
        match outcome {
            Outcome::Sample(sample) => {
                self.note_estimate(now, id, sample);
                self.note_selection(now);
            }
            Outcome::Denied | Outcome::Unsynchronised => self.note_selection(now),
            Outcome::Repeated | Outcome::Rejected(_) => {}
        }
    }

    /// A refclock was read, and the core has heard of it.
    pub(super) fn note_reading(&mut self, now: Instant, id: SourceId, sample: &Sample) {
        if self.notes.is_none() {
            return;
        }
        if let Some(before) = self.noting(&[LogKind::Refclocks]) {
            if let Some(source) = self.sources.iter().find(|s| s.id == id) {
                let correction = if let Kind::Local(clock) = &source.kind { clock.offset().seconds() } else { 0.0 };
                self.outputs.push_back(Output::Note(Note::Read(Read {
                    time: before.line.at(sample.at),
                    label: label(source),
                    leap: sample.leap,
                    raw: sample.reference.since(before.course.at(sample.at)).seconds() - correction,
                    cooked: before.offset(sample),
                    dispersion: sample.dispersion,
                })));
            }
        }
        self.note_estimate(now, id, sample);
        self.note_selection(now);
    }

    fn note_estimate(&mut self, now: Instant, id: SourceId, sample: &Sample) {
        let Some(before) = self.noting(&[LogKind::Statistics, LogKind::RawStatistics]) else { return };
        let all = self.noting(&[LogKind::RawStatistics]).is_some();
        let (Some(view), Some(source)) = (self.core.source(id, now), self.sources.iter_mut().find(|s| s.id == id)) else { return };
        let (frequency, skew) = view.frequency;
        let stress = source.noted.map_or(0.0, |(was, doubt)| (frequency.ppm() - was.ppm()).abs() / doubt.ppm().max(1e-9));
        source.noted = Some((frequency, skew));
        let (samples, runs, _) = view.statistics;
        if samples < FIRST_STATISTICS && !all {
            return;
        }
        self.outputs.push_back(Output::Note(Note::Estimated(Estimated {
            time: before.line.at(sample.at),
            label: label(source),
            deviation: view.jitter,
            offset: before.remaining - view.offset,
            offset_sigma: view.sigma,
            frequency: Ppm::new(before.line.frequency().ppm() - frequency.ppm()),
            skew,
            stress,
            samples,
            runs,
        })));
    }

    fn note_selection(&mut self, now: Instant) {
        let Some(before) = self.noting(&[LogKind::Selection]) else { return };
        let time = before.line.at(now);
        for source in &self.sources {
            let Some(view) = self.core.source(source.id, now) else { continue };
            let reach = match &source.kind {
                Kind::Ntp(association) => association.reach(),
                Kind::Local(clock) => clock.reach(),
            };
            let heard = view.last.is_some();
            self.outputs.push_back(Output::Note(Note::Considered(Considered {
                time,
                label: label(source),
                state: if source.denied { SourceState::Unreachable } else { view.state },
                options: source.select,
                reach,
                age: view.last.map_or(0.0, |s| now.since(s.at).seconds()),
                low: if heard { before.remaining - view.interval.1 } else { 0.0 },
                high: if heard { before.remaining - view.interval.0 } else { 0.0 },
            })));
        }
    }

    /// The input was dealt with: was the line moved, or lost?
    pub(super) fn note_update(&mut self, now: Instant) {
        let Some(before) = self.noting(&[LogKind::Tracking]) else { return };
        let lost = self.core.status().0 == Status::Disrupted && before.status != Status::Disrupted;
        let moved = self.core.reference().filter(|r| before.updated != Some(r.at)).copied();
        let frequency = Ppm::new(-self.core.line().frequency().ppm());
        let skew = self.core.skew();
        let time = before.line.at(now);
        let nobody = Updated {
            time,
            label: Label::Nobody,
            stratum: Stratum::new(0),
            frequency,
            skew,
            offset: 0.0,
            leap: Leap::Unsynchronised,
            combined: 0,
            offset_sigma: 0.0,
            remaining: before.remaining,
            root_delay: Duration::ZERO,
            root_dispersion: Duration::ZERO,
            max_error: None,
        };
        let updated = match moved {
            Some(r) => Updated {
                label: self.sources.iter().find(|s| s.id == r.source).map_or(Label::Nobody, label),
                stratum: r.stratum,
                offset: before.remaining - r.last_offset,
                leap: r.leap,
                combined: self.states().filter(|(_, _, state)| matches!(state, SourceState::Selected | SourceState::Combined)).count(),
                offset_sigma: self.core.sigma(),
                root_delay: r.root_delay,
                root_dispersion: r.root_dispersion,
                max_error: before.max_error,
                ..nobody
            },
            None if lost => nobody,
            None => return,
        };
        self.outputs.push_back(Output::Note(Note::Updated(updated)));
    }
}

fn label(source: &Source) -> Label {
    match &source.kind {
        Kind::Ntp(association) => Label::Address(association.address().ip()),
        Kind::Local(clock) => Label::Clock(clock.reference_id()),
    }
}

/// `None` for what is no answer of a server at all.
fn measured(now: Instant, before: &Before, source: &Source, outcome: &Outcome, bytes: &[u8]) -> Option<Measured> {
    let Kind::Ntp(association) = &source.kind else { return None };
    let fault = match outcome {
        Outcome::Sample(_) => None,
        Outcome::Unsynchronised => Some(Rejection::Unsynchronised),
        Outcome::Denied => Some(Rejection::Kiss),
        Outcome::Repeated | Outcome::Rejected(Rejection::Malformed | Rejection::Mode | Rejection::Version) => return None,
        Outcome::Rejected(reason) => Some(*reason),
    };
    let (header, _) = Header::parse(bytes).ok()?;
    let sample = if let Outcome::Sample(sample) = outcome { Some(sample) } else { None };
    Some(Measured {
        time: before.line.at(sample.map_or(now, |s| s.at)),
        label: label(source),
        fault,
        leap: header.leap,
        stratum: header.stratum,
        poll: association.poll().log2(),
        server_poll: header.poll,
        score: association.score(),
        offset: sample.map_or(0.0, |s| before.offset(s)),
        delay: sample.map_or(Duration::ZERO, |s| s.delay),
        dispersion: sample.map_or(Duration::ZERO, |s| s.dispersion),
        root_delay: header.root_delay.duration(),
        root_dispersion: header.root_dispersion.duration(),
        reference_id: header.reference_id,
    })
}
