//! What a picture shows: one run, looked at all the time, gathered into columns.

use crate::agent::Output;
use crate::core::{Correction, Status};
use crate::sim::{Experiment, Machine, World};
use crate::units::{Instant, count, duration};

/// Looks at most so far apart, seconds: a slew may be short.
const SPACING: f64 = 1.0;
/// Looks in each column, at least.
const LOOKS: f64 = 2.0;

/// The range of something in one column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Range {
    const NONE: Self = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };

    const fn add(&mut self, value: f64) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }

    pub(super) fn is_some(&self) -> bool {
        self.low <= self.high
    }
}

/// A short while of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// The clock's error, seconds.
    pub(super) offset: Range,
    /// The clock's bound; infinite where there was none.
    pub(super) bound: Range,
    /// By how much the clock ran faster than the line, as a ratio: what a correction does.
    pub(super) slew: Range,
    /// The frequency error of the line, as a ratio.
    pub(super) frequency: Range,
    /// The clock's error exceeded its bound.
    pub(super) violated: bool,
    /// The worst state in it; `None` while the guest stood still.
    pub(super) status: Option<Status>,
}

/// A run as a picture shows it.
pub(super) struct Record {
    pub(super) from: f64,
    pub(super) until: f64,
    pub(super) columns: Vec<Column>,
    /// Steps of the clock: when, and by how many seconds.
    pub(super) steps: Vec<(f64, f64)>,
    /// Magnitudes of the offset, for scales and words.
    pub(super) typical: f64,
    pub(super) worst: f64,
    pub(super) quiet: f64,
    pub(super) bound: f64,
}

const fn badness(status: Status) -> u8 {
    match status {
        Status::Synchronised => 0,
        Status::Holdover => 1,
        Status::Unsynchronised => 2,
        Status::Disrupted => 3,
    }
}

/// Runs the experiment's first guest and records so many columns between two seconds.
pub(super) fn record(experiment: &Experiment, seed: u64, from: f64, until: f64, columns: u32) -> Record {
    let mut world = World::new(&experiment.scenario, seed);
    world.run_until(from);
    let width = (until - from) / f64::from(columns);
    let looks = (width / SPACING).max(LOOKS).ceil();
    let spacing = width / looks;
    let looks = duration(looks).as_secs();
    let mut steps = Steps { seen: world.guest(0).now(), found: Vec::new() };
    let mut offsets = Vec::new();
    let mut bounds = Vec::new();
    let mut drawn = Vec::new();
    for column in 0..columns {
        let begin = from + width * f64::from(column);
        let none = Range::NONE;
        let mut seen = Column { offset: none, bound: none, slew: none, frequency: none, violated: false, status: None };
        for look in 1..=looks {
            world.run_until(begin + spacing * count(look));
            let guest = world.guest(0);
            steps.look(guest, world.seconds());
            if guest.is_awake() {
                see(guest, &mut seen, &mut offsets, &mut bounds);
            }
        }
        drawn.push(seen);
    }
    offsets.sort_by(f64::total_cmp);
    bounds.sort_by(f64::total_cmp);
    let share = |values: &[f64], parts: usize, of: usize| values.get(values.len() * parts / of).copied().unwrap_or(0.0);
    Record {
        from,
        until,
        columns: drawn,
        steps: steps.found,
        typical: share(&offsets, 1, 2),
        worst: offsets.last().copied().unwrap_or(0.0),
        quiet: share(&offsets, 1, 3),
        bound: share(&bounds, 1, 2),
    }
}

fn see(guest: &Machine, seen: &mut Column, offsets: &mut Vec<f64>, bounds: &mut Vec<f64>) {
    let now = guest.now();
    let core = guest.agent().core();
    let offset = guest.clock_error();
    seen.offset.add(offset);
    offsets.push(offset.abs());
    let bound = core.bounds(now).1;
    let bound = if bound.is_known() { bound.at(now).as_secs_f64() } else { f64::INFINITY };
    seen.bound.add(bound);
    seen.violated |= offset.abs() > bound;
    if bound.is_finite() {
        bounds.push(bound);
    }
    let line = core.line().frequency().ratio();
    seen.slew.add(guest.clock().rate().ratio() - line);
    seen.frequency.add((1.0 + line) * (1.0 + guest.frequency()) - 1.0);
    let status = core.status().0;
    if seen.status.is_none_or(|worst| badness(status) > badness(worst)) {
        seen.status = Some(status);
    }
}

/// Finds the steps among the decisions.
struct Steps {
    seen: Instant,
    found: Vec<(f64, f64)>,
}

impl Steps {
    fn look(&mut self, guest: &Machine, seconds: f64) {
        let last = self.seen;
        for (at, output) in guest.decisions().filter(|(at, _)| *at > last) {
            if let Output::Apply(adjustment) = output {
                if let Correction::Step { offset, .. } = adjustment.correction {
                    self.found.push((seconds, offset.seconds()));
                }
            }
            self.seen = self.seen.max(*at);
        }
    }
}
