//! A guest as it is seen from outside, where the truth is known.

use serde::Serialize;

use super::Machine;
use crate::agent::{Agent, Output};
use crate::clock::Simulated;
use crate::sim::awareness::Awareness;
use crate::sim::statistics::{Look, Reach, Statistics};
use crate::units::{Bound, Instant, Ppm};

/// A promise as published, in plain numbers.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Promise {
    as_of: Instant,
    error: f64,
    growth: f64,
}

impl Promise {
    pub(in crate::sim) fn of(bound: &Bound) -> Self {
        let error = if bound.is_known() { bound.error.as_secs_f64() } else { f64::INFINITY };
        Self { as_of: bound.as_of, error, growth: bound.growth.ratio().max(0.0) }
    }

    pub(in crate::sim) fn at(&self, now: Instant) -> f64 {
        self.error + now.since(self.as_of).seconds().max(0.0) * self.growth
    }
}

/// The truth outside of a bound.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Violation {
    /// Seconds of true time since the start.
    pub at: f64,
    /// The clock's error and its bound, seconds.
    pub clock: (f64, f64),
    /// The line's.
    pub line: (f64, f64),
    /// What the agent decided last, oldest first.
    pub decisions: Vec<String>,
}

impl Machine {
    /// Looks at it, as nobody within could.
    pub(in crate::sim) fn look(&mut self, now: Instant) {
        self.advance(now);
        // A rate that changed by itself can be known from the next measurement on.
        if let Some(at) = self.counter.take_jump().or_else(|| self.calendar.bent(self.looked, now)) {
            self.compare_from(at);
        }
        self.looked = now;
        if self.asleep || !self.calendar.is_clear(now) {
            return;
        }
        let raw = self.timebase.now();
        let utc = self.calendar.truth(now);
        let fraction = self.counter.at(now).1;
        let offset = self.clock.ahead_of(utc) + fraction;
        let line_offset = self.agent.core().line().ahead_of(utc, raw) + fraction;
        let (line, clock) = self.agent.core().bounds(raw);
        // What is published may be older; it must hold all the same.
        let line = Promise::of(&line).at(raw).min(self.promises.0.at(raw));
        let clock = Promise::of(&clock).at(raw).min(self.promises.1.at(raw));
        let look = Look {
            offset,
            frequency: (1.0 + self.clock.rate().ratio()) * (1.0 + self.counter.frequency()) - 1.0,
            bound: clock,
            clock_violated: offset.abs() > clock,
            line_violated: line_offset.abs() > line,
            unaware: self.awareness != Awareness::Aware,
        };
        if (look.clock_violated || look.line_violated) && !look.unaware && self.violation.is_none() {
            self.violation = Some(Box::new(Violation {
                at: now.since(Instant::ZERO).seconds(),
                clock: (offset, clock),
                line: (line_offset, line),
                decisions: self.decisions.last().map(|(at, output)| format!("{at:?} {output:?}")).collect(),
            }));
        }
        self.statistics.add(&look);
        self.reach.add(now.since(Instant::ZERO).seconds(), offset);
    }

    pub(in crate::sim) fn reset_statistics(&mut self) {
        self.statistics = Statistics::default();
        self.journeys.reset();
    }

    pub(in crate::sim) const fn restart_reach(&mut self, from: f64) {
        self.reach = Reach::new(from);
    }

    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &Simulated {
        &self.clock
    }

    /// What its counter shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.timebase.now()
    }

    /// How far its clock is ahead of the truth, seconds.
    #[must_use]
    pub fn clock_error(&self) -> f64 {
        self.clock.ahead_of(self.calendar.truth(self.truth)) + self.counter.at(self.truth).1
    }

    /// How fast its counter truly is, as a ratio.
    #[must_use]
    pub const fn frequency(&self) -> f64 {
        self.counter.frequency()
    }

    /// How far its line is ahead of the truth, seconds.
    #[must_use]
    pub fn line_error(&self) -> f64 {
        self.agent.core().line().ahead_of(self.calendar.truth(self.truth), self.now()) + self.counter.at(self.truth).1
    }

    /// False while it stands still, and until it has woken up again.
    #[must_use]
    pub const fn is_awake(&self) -> bool {
        !self.asleep
    }

    /// What was seen since the last reset.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Seconds after which the clock stayed below each of [`LIMITS`](super::LIMITS) for a minute.
    #[must_use]
    pub const fn reached(&self) -> [Option<f64>; 4] {
        self.reach.reached()
    }

    /// Requests sent since the start.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Readings of paravirtual clocks since the start.
    #[must_use]
    pub const fn readings(&self) -> u64 {
        self.readings
    }

    /// Wake-ups that left something due; there should be none.
    #[must_use]
    pub const fn spins(&self) -> u64 {
        self.spins
    }

    /// What the agent last wanted in its drift file.
    #[must_use]
    pub const fn saved(&self) -> Option<(Ppm, Ppm)> {
        self.saved
    }

    /// A digest of all that the agent decided since the start.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.decisions.digest()
    }

    /// How much the agent has decided.
    pub(in crate::sim) const fn decided(&self) -> u64 {
        self.decisions.made()
    }

    /// The promises published last: of the line, of the clock.
    pub(in crate::sim) const fn promises(&self) -> (Promise, Promise) {
        self.promises
    }

    /// The last that the agent decided, oldest first, with the counter's reading.
    pub fn decisions(&self) -> impl DoubleEndedIterator<Item = &(Instant, Output)> {
        self.decisions.last()
    }

    /// The first time that the truth left a bound.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_deref()
    }

    /// The bound that could be asked for: half the round trip and the root distance of the best source, six sigma
    /// of reading noise and 100 ns. A paravirtual clock that is wrong by more is no source. Infinite while nothing was heard since the last reset.
    #[must_use]
    pub fn fair_bound(&self) -> f64 {
        let devices = self.devices.iter().filter(|d| d.readings > 0 && d.tells_time && d.phc.present);
        let reaches = devices.map(|d| (d.error(self.truth).abs().as_secs_f64(), d.reach())).filter(|(error, reach)| error <= reach);
        reaches.map(|(_, reach)| reach).fold(f64::INFINITY, f64::min).min(self.journeys.best()) + 1e-7
    }
}
