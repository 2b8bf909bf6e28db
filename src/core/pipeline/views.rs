//! The core as others see it: line, bounds, status and sources, to read alone.

use std::time::Duration;

use super::selection::claim;
use super::{Core, Line, Reference};
use crate::config::SelectOptions;
use crate::core::event::{Course, Sample, SourceId, SourceState, Status};
use crate::units::{Bound, Instant, Ppm};

/// What tables and metrics show of one source.
#[derive(Clone, Copy, Debug)]
pub struct SourceView {
    /// Its state.
    pub state: SourceState,
    /// How it may be used: as configured, but `noselect` once it turned out to carry no time.
    pub options: SelectOptions,
    /// Its last valid sample.
    pub last: Option<Sample>,
    /// That sample against the clock as it was then, seconds; positive when the source was ahead.
    pub measured: f64,
    /// The estimate against the clock now; positive when the source is ahead.
    pub offset: f64,
    /// One sigma of it.
    pub sigma: f64,
    /// Half the width of the interval the source vouches for, root distance included.
    pub distance: f64,
    /// That interval against the clock now; positive where the source is ahead.
    pub interval: (f64, f64),
    /// Root mean square of innovations.
    pub jitter: f64,
    /// Samples, runs, span.
    pub statistics: (usize, usize, Duration),
    /// Frequency against the timebase and one sigma.
    pub frequency: (Ppm, Ppm),
}

impl Core {
    /// The line.
    #[must_use]
    pub const fn line(&self) -> &Line {
        &self.line
    }

    /// The clock's course as last reported.
    #[must_use]
    pub const fn course(&self) -> &Course {
        &self.course
    }

    /// The state of time and since when.
    #[must_use]
    pub const fn status(&self) -> (Status, Instant) {
        (self.status, self.status_since)
    }

    /// How wrong the line can be.
    #[must_use]
    pub const fn line_bound(&self) -> Bound {
        self.line_bound
    }

    /// So much of it is the word of sources that ask us too.
    #[must_use]
    pub const fn borrowed(&self) -> Duration {
        self.borrowed
    }

    /// How wrong the line and the clock can be, as of `now`.
    #[must_use]
    pub fn bounds(&self, now: Instant) -> (Bound, Bound) {
        (self.line_bound, self.clock_bound(now))
    }

    /// What is followed; kept through hold-over.
    #[must_use]
    pub const fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// One sigma of the line's frequency.
    #[must_use]
    pub const fn skew(&self) -> Ppm {
        Ppm::from_ratio(self.skew)
    }

    /// One sigma of the line's phase in seconds; infinite before the first update.
    #[must_use]
    pub const fn sigma(&self) -> f64 {
        self.sigma
    }

    /// For the poll interval: how many sigmas the source's last sample was off, and its gain
    /// (how much of what is known a sample brings).
    #[must_use]
    pub fn outlook(&self, id: SourceId) -> (f64, f64) {
        self.sources.iter().find(|s| s.id == id).map_or((0.0, 0.0), |source| (source.surprise, source.filter.gain()))
    }

    /// A source's state; `Waiting` for one that is not known.
    #[must_use]
    pub fn state(&self, id: SourceId) -> SourceState {
        self.sources.iter().find(|s| s.id == id).map_or(SourceState::Waiting, |s| s.state)
    }

    /// The last sample of a source.
    #[must_use]
    pub fn last_sample(&self, id: SourceId) -> Option<&Sample> {
        self.sources.iter().find(|s| s.id == id).and_then(|s| s.last.as_ref())
    }

    /// What is known of one source.
    #[must_use]
    pub fn source(&self, id: SourceId, now: Instant) -> Option<SourceView> {
        let source = self.sources.iter().find(|s| s.id == id)?;
        let clock = self.course.at(now);
        let (offset, interval, sigma) = if source.filter.is_set() {
            let claim = claim(source, clock, now);
            (claim.middle, (claim.low, claim.high), source.filter.sigma(now))
        } else {
            (0.0, (0.0, 0.0), 0.0)
        };
        let (frequency, variance) = source.filter.frequency();
        Some(SourceView {
            state: source.state,
            options: source.options,
            last: source.last,
            measured: source.last_residual,
            offset,
            sigma,
            distance: (interval.1 - interval.0) / 2.0,
            interval,
            jitter: source.filter.jitter(),
            statistics: source.filter.statistics(),
            frequency: (Ppm::from_ratio(frequency), Ppm::from_ratio(variance.sqrt())),
        })
    }
}
