//! What a replay showed over time, in few enough columns for a picture, however long the trace is.

use crate::core::Status;
use crate::units::{Instant, Timestamp};

/// Columns kept. When there are more, two neighbours become one.
const MOST_COLUMNS: u32 = 1024;
/// The narrowest column, seconds.
const NARROWEST: f64 = 1.0;
/// The time between two runs is shown up to this many seconds: a clock at its start may say anything.
const LONGEST_PAUSE: f64 = 86_400.0;

/// The least and the most that was seen, if anything was.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Range {
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
}

impl Range {
    const NOTHING: Self = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };

    fn add(&mut self, value: f64) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }

    fn join(&mut self, other: Self) {
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
    }

    /// The range, if it holds anything.
    #[must_use]
    pub fn seen(self) -> Option<Self> {
        (self.low <= self.high).then_some(self)
    }
}

/// A stretch of time.
#[derive(Clone, PartialEq, Debug)]
pub struct Column {
    /// The last state of time in it; `None` if nothing was recorded.
    pub status: Option<Status>,
    /// Seconds that the clock was ahead of the line.
    pub offset: Range,
    /// Seconds that the line could be wrong.
    pub bound: Range,
    /// For each source in [`Curve::names`]: seconds that its samples lay ahead of the line.
    pub samples: Vec<Range>,
}

impl Column {
    const fn new() -> Self {
        Self { status: None, offset: Range::NOTHING, bound: Range::NOTHING, samples: Vec::new() }
    }

    fn join(&mut self, later: &Self) {
        self.status = later.status.or(self.status);
        self.offset.join(later.offset);
        self.bound.join(later.bound);
        if self.samples.len() < later.samples.len() {
            self.samples.resize(later.samples.len(), Range::NOTHING);
        }
        for (range, other) in self.samples.iter_mut().zip(&later.samples) {
            range.join(*other);
        }
    }
}

/// All columns, of the same width.
#[derive(Clone, PartialEq, Debug)]
pub struct Curve {
    names: Vec<String>,
    columns: Vec<Column>,
    width: f64,
    elapsed: f64,
    last: Option<(Instant, Timestamp)>,
}

impl Default for Curve {
    fn default() -> Self {
        Self { names: Vec::new(), columns: Vec::new(), width: NARROWEST, elapsed: 0.0, last: None }
    }
}

impl Curve {
    /// Sources that gave samples.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What was seen, from the beginning on.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The seconds of one column.
    #[must_use]
    pub const fn width(&self) -> f64 {
        self.width
    }

    /// The seconds from the beginning until now.
    #[must_use]
    pub const fn elapsed(&self) -> f64 {
        self.elapsed
    }

    /// Another core begins, perhaps on another timebase: only the clock tells what passed in between.
    pub(super) fn pause(&mut self, time: Timestamp) {
        if let Some((_, then)) = self.last.take() {
            self.elapsed += time.since(then).seconds().clamp(0.0, LONGEST_PAUSE);
        }
    }

    /// How things stand now.
    pub(super) fn look(&mut self, at: Instant, time: Timestamp, status: Status, offset: f64, bound: Option<f64>) {
        if let Some((then, _)) = self.last {
            self.elapsed += at.since(then).seconds().max(0.0);
        }
        self.last = Some((at, time));
        let column = self.column();
        column.status = Some(status);
        column.offset.add(offset);
        if let Some(bound) = bound {
            column.bound.add(bound);
        }
    }

    /// A source gave a sample since the last look.
    pub(super) fn sample(&mut self, name: &str, offset: f64) {
        let source = self.names.iter().position(|n| n == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        let column = self.column();
        if column.samples.len() <= source {
            column.samples.resize(source + 1, Range::NOTHING);
        }
        column.samples[source].add(offset);
    }

    /// The column of now.
    fn column(&mut self) -> &mut Column {
        while self.elapsed >= self.width * f64::from(MOST_COLUMNS) {
            self.halve();
        }
        while self.end() <= self.elapsed {
            self.columns.push(Column::new());
        }
        let last = self.columns.len() - 1;
        &mut self.columns[last]
    }

    /// The seconds that the columns cover.
    fn end(&self) -> f64 {
        self.width * u32::try_from(self.columns.len()).map_or(f64::INFINITY, f64::from)
    }

    fn halve(&mut self) {
        self.width *= 2.0;
        self.columns = self
            .columns
            .chunks(2)
            .map(|pair| {
                let mut joined = pair[0].clone();
                pair[1..].iter().for_each(|later| joined.join(later));
                joined
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_long_time_fits_and_loses_no_extreme() {
        let mut curve = Curve::default();
        let mut at = Instant::ZERO;
        for second in 0_u32..100_000 {
            let offset = if second == 70_000 { 9.0 } else { f64::from(second % 7) };
            curve.look(at, Timestamp::UNIX_EPOCH, Status::Synchronised, offset, Some(1.0));
            if second == 80_000 {
                curve.sample("a", 1.0);
                curve.sample("b", -5.0);
            }
            at = at + Duration::from_secs(1);
        }
        assert!(curve.columns().len() <= 1024 && (curve.width() - 128.0).abs() < 1e-9, "{} s", curve.width());
        assert!((curve.elapsed() - 99_999.0).abs() < 1e-6);
        // 70 000 s lie in column 546, 80 000 s in column 625.
        let (peak, sampled) = (&curve.columns()[546], &curve.columns()[625]);
        assert_eq!(peak.offset, Range { low: 0.0, high: 9.0 });
        assert_eq!((curve.names(), sampled.samples.len()), (&["a".to_owned(), "b".to_owned()][..], 2));
        assert_eq!(sampled.samples[1].seen(), Some(Range { low: -5.0, high: -5.0 }));
        assert!(curve.columns().iter().all(|c| c.status == Some(Status::Synchronised) && c.bound.seen().is_some()));
    }

    #[test]
    fn another_run_begins_after_the_time_in_between() {
        let mut curve = Curve::default();
        let noon = Timestamp::from_parts(1_800_000_000, 0);
        curve.look(Instant::from_nanos(5_000_000_000_000), noon, Status::Synchronised, 0.0, None);
        curve.pause(noon + crate::units::Offset::from_seconds(50.0));
        curve.look(Instant::ZERO, noon, Status::Unsynchronised, 0.0, None);
        assert!((curve.elapsed() - 50.0).abs() < 1e-9);
        assert_eq!((curve.columns().len(), curve.columns()[20].status, curve.columns()[20].offset.seen()), (51, None, None));
    }
}
