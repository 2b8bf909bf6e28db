//! A clock that needs no privilege: the line over the timebase, kept in this process.

use std::time::Duration;

use super::kernel::read_pair;
use super::{Clock, Pair, course_after, rate_and_step};
use crate::core::{Adjustment, Applied, ClockError, Course, Signal};
use crate::sys::time;
use crate::units::{Instant, Offset, Timestamp};

/// What `CLOCK_REALTIME` may deviate from the timebase, whoever steers it, before we call it a step.
const FOREIGN_RATE: f64 = 0.11;
/// The same for the reading itself.
const READING: Offset = Offset::from_nanos(1_000_000);
/// A packet stamp older than this is not believed.
const OLDEST_STAMP: Offset = Offset::from_nanos(10_000_000_000);

/// The shadow clock.
#[derive(Clone, Debug)]
pub struct Shadow {
    course: Course,
    realtime: Pair,
}

impl Shadow {
    /// A shadow that begins where `CLOCK_REALTIME` is now.
    #[must_use]
    pub fn new() -> Self {
        let pair = read_pair();
        Self::starting(Course { at: pair.at(), time: pair.time, rate: crate::units::Ppm::ZERO, until: None, error: Duration::ZERO })
    }

    /// A shadow that begins on a given course.
    #[must_use]
    pub fn starting(course: Course) -> Self {
        Self { course, realtime: read_pair() }
    }
}

impl Default for Shadow {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Shadow {
    fn kind(&self) -> &'static str {
        "shadow"
    }

    fn pair(&self) -> Pair {
        let now = time::raw();
        Pair { before: now, time: self.course.at(now), after: now }
    }

    fn course(&self) -> Course {
        self.course
    }

    fn apply(&mut self, adjustment: &Adjustment) -> Result<Applied, ClockError> {
        let (rate, stepped) = rate_and_step(&adjustment.correction);
        let rate = rate.unwrap_or(self.course.rate);
        self.course = course_after(&self.course, time::raw(), rate, &adjustment.correction);
        Ok(Applied { course: self.course, stepped })
    }

    /// Nobody else can reach it.
    fn watch(&mut self) -> Option<Signal> {
        None
    }

    /// Packet stamps are `CLOCK_REALTIME`, which others may steer: the way back from a reading just taken is
    /// short enough for any rate to be harmless, and a step since the last reading is seen.
    fn instant_of(&mut self, stamp: Timestamp) -> Option<Instant> {
        let last = std::mem::replace(&mut self.realtime, read_pair());
        let now = self.realtime;
        let raw = now.at().since(last.at()).seconds();
        let real = now.time.since(last.time).seconds();
        if (real - raw).abs() > raw * FOREIGN_RATE + READING.seconds() {
            return None;
        }
        let age = now.time.since(stamp);
        (age > -READING && age < OLDEST_STAMP).then(|| now.at() + -age)
    }
}
