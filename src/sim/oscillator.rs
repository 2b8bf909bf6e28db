//! A counter that is never quite right: the guest's timebase against true time.

use super::Chance;
use crate::units::{Instant, Offset};

/// How often the frequency takes a step of its walk.
const STEP: Offset = Offset::from_nanos(1_000_000_000);

/// An oscillator: a constant error and a random walk of the frequency.
#[derive(Clone, Debug)]
pub struct Oscillator {
    /// True time, as an instant of the world's own clock.
    truth: Instant,
    raw: Instant,
    /// Below a nanosecond.
    fraction: f64,
    frequency: f64,
    wander: f64,
    next_step: Instant,
}

impl Oscillator {
    /// Starts at zero, `frequency` (a ratio) fast, walking by `wander` a second.
    #[must_use]
    pub fn new(frequency: f64, wander: f64) -> Self {
        Self { truth: Instant::ZERO, raw: Instant::ZERO, fraction: 0.0, frequency, wander, next_step: Instant::ZERO + STEP }
    }

    /// Lets true time pass until `to`.
    pub fn advance(&mut self, to: Instant, chance: &mut Chance) {
        while self.next_step <= to {
            self.run(self.next_step);
            self.frequency += self.wander * chance.normal();
            self.next_step = self.next_step + STEP;
        }
        self.run(to);
    }

    fn run(&mut self, to: Instant) {
        let elapsed = to.since(self.truth);
        let extra = elapsed.seconds() * self.frequency + self.fraction;
        let whole = Offset::from_seconds(extra);
        self.fraction = extra - whole.seconds();
        self.raw = self.raw + elapsed + whole;
        self.truth = to;
    }

    /// The guest is suspended: true time passes, the counter stands still.
    pub fn pause(&mut self, to: Instant) {
        self.truth = to;
        self.next_step = to + STEP;
    }

    /// The counter.
    #[must_use]
    pub const fn raw(&self) -> Instant {
        self.raw
    }

    /// True time.
    #[must_use]
    pub const fn truth(&self) -> Instant {
        self.truth
    }

    /// How fast it runs now, as a ratio.
    #[must_use]
    pub const fn frequency(&self) -> f64 {
        self.frequency
    }

    /// Another rate from now on (another host).
    pub const fn set_frequency(&mut self, frequency: f64) {
        self.frequency = frequency;
    }

    /// The true instant at which the counter will show `raw`, if the frequency stays; never before now.
    #[must_use]
    pub fn truth_at(&self, raw: Instant) -> Instant {
        let ahead = raw.since(self.raw).seconds().max(0.0);
        // A nanosecond late rather than early, so that a wake-up finds its time come.
        self.truth + Offset::from_seconds(ahead / (1.0 + self.frequency)) + Offset::from_nanos(i64::from(ahead > 0.0))
    }
}
