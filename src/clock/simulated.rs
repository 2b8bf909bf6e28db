//! A clock in a simulated world: exact, steered like the kernel's, and open to foreign hands.

use std::cell::Cell;
use std::rc::Rc;

use super::{Clock, History, Pair, course_after, rate_and_step};
use crate::core::{Adjustment, Applied, ClockError, Course, Signal};
use crate::units::{Instant, Offset, Ppm, Timestamp};

/// The simulated counter that the clock runs on; the world moves it.
#[derive(Clone, Debug, Default)]
pub struct Timebase(Rc<Cell<Instant>>);

impl Timebase {
    /// A counter at `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self(Rc::new(Cell::new(start)))
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.get()
    }

    /// Time passes.
    pub fn set(&self, now: Instant) {
        self.0.set(now);
    }
}

/// The simulated clock.
#[derive(Clone, Debug)]
pub struct Simulated {
    timebase: Timebase,
    /// What the clock really does.
    truth: Course,
    /// What it knows that it does.
    history: History,
    announced: Option<crate::core::Announcement>,
}

impl Simulated {
    /// A clock that shows `time` now and runs at the timebase's rate.
    #[must_use]
    pub fn new(timebase: Timebase, time: Timestamp) -> Self {
        let course = Course { at: timebase.now(), time, rate: Ppm::ZERO, until: None, error: std::time::Duration::ZERO };
        Self { timebase, truth: course, history: History::new(course), announced: None }
    }

    /// Somebody else moves the clock.
    pub fn interfere(&mut self, by: Offset) {
        self.truth.time = self.truth.time + by;
    }

    /// Somebody else changes the clock's rate.
    pub fn interfere_rate(&mut self, by: Ppm) {
        if by != Ppm::ZERO {
            let now = self.timebase.now();
            self.truth = Course { at: now, time: self.truth.at(now), rate: Ppm::new(self.truth.rate.ppm() + by.ppm()), ..self.truth };
        }
    }

    /// Its true rate against the timebase.
    #[must_use]
    pub const fn rate(&self) -> Ppm {
        self.truth.rate
    }

    /// Seconds by which it is ahead of `time` now, without rounding.
    #[must_use]
    pub fn ahead_of(&self, time: Timestamp) -> f64 {
        let elapsed = self.timebase.now().since(self.truth.at);
        (self.truth.time + elapsed).since(time).seconds() + elapsed.seconds() * self.truth.rate.ratio()
    }

    /// What the clock shows now.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.truth.at(self.timebase.now())
    }

    /// What was announced last.
    #[must_use]
    pub const fn announced(&self) -> Option<&crate::core::Announcement> {
        self.announced.as_ref()
    }
}

impl Clock for Simulated {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn pair(&self) -> Pair {
        let now = self.timebase.now();
        Pair { before: now, time: self.truth.at(now), after: now }
    }

    fn course(&self) -> Course {
        *self.history.course()
    }

    fn apply(&mut self, adjustment: &Adjustment) -> Result<Applied, ClockError> {
        let now = self.timebase.now();
        let (rate, stepped) = rate_and_step(&adjustment.correction);
        let rate = rate.unwrap_or(self.truth.rate);
        self.truth = course_after(&self.truth, now, rate, &adjustment.correction);
        let known = course_after(self.history.course(), now, rate, &adjustment.correction);
        self.history.begin(known);
        self.announced = Some(adjustment.announcement);
        Ok(Applied { course: known, stepped })
    }

    fn watch(&mut self) -> Option<Signal> {
        let pair = self.pair();
        let old = *self.history.course();
        // The kernel tells its rate to the last bit.
        if (self.truth.rate.ppm() - old.rate.ppm()).abs() > 0.0 {
            let course = Course { at: pair.at(), time: pair.time, rate: self.truth.rate, until: None, error: pair.half_width().abs() };
            self.history.begin(course);
            return Some(Signal::ClockSet { by: pair.time.since(old.at(pair.at())), course });
        }
        let foreign = self.history.compare(&pair)?;
        Some(Signal::ClockSet { by: foreign.by, course: foreign.course })
    }

    fn instant_of(&mut self, stamp: Timestamp) -> Option<Instant> {
        self.history.instant_of(stamp, self.timebase.now())
    }
}
