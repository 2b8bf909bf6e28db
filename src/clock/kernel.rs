//! `CLOCK_REALTIME`, steered through adjtimex.

use super::{Clock, History, Pair, course_after, rate_and_step};
use crate::core::{Adjustment, Announcement, Applied, ClockError, Course, Signal};
use crate::sys::{time, timex};
use crate::units::{Instant, Offset, Ppm, Timestamp, duration};

/// Readings of which the narrowest is taken.
const READINGS: usize = 3;
/// The same when nothing is known of the clock yet.
const FIRST_READINGS: usize = 30;
/// Steps are verified by a reading and repeated at most this often.
const STEP_TRIES: usize = 3;
/// A step that landed this close is good: the rest is slewed.
const STEP_PRECISION: Offset = Offset::from_nanos(100_000);

/// The kernel's clock. Dropping it leaves the clock running at its plain frequency.
#[derive(Debug)]
pub struct Kernel {
    history: History,
    plain: Ppm,
    /// What the kernel says of its rate is what it was told: asked after each order.
    tells_rate: bool,
    seized: bool,
    /// Somebody set the clock while an order was carried out, by so much.
    unsaid: Option<Offset>,
    let_go: bool,
}

impl Kernel {
    /// Takes over the clock as it runs now. Fails with [`ClockError::Denied`] without `CAP_SYS_TIME`.
    ///
    /// A rate that only a slew can have left behind (its program died in it) is taken back to `plain`, the
    /// frequency from the drift file, or to the kernel's own `freq` if there is none.
    pub fn new(plain: Option<Ppm>) -> Result<Self, ClockError> {
        let state = timex::read().map_err(|e| refused("read the clock's state", &e))?;
        let found = if state.rate.ppm().abs() <= 500.0 { state.rate } else { Ppm::ZERO };
        let plain = plain.unwrap_or(found);
        let rate = Self::announce(&Announcement::NOTHING_KNOWN, plain)?;
        let pair = narrowest(FIRST_READINGS);
        let course = Course { at: pair.at(), time: pair.time, rate, until: None, error: pair.half_width().abs() };
        Ok(Self { history: History::new(course), plain, tells_rate: tells(rate), seized: false, unsaid: None, let_go: false })
    }

    fn announce(announcement: &Announcement, rate: Ppm) -> Result<Ppm, ClockError> {
        let settings = timex::Settings {
            rate,
            synchronised: announcement.synchronised,
            leap: announcement.leap,
            max_error: announcement.max_error,
            est_error: announcement.est_error,
            tai_offset: announcement.tai_offset,
        };
        timex::set(&settings).map_err(|e| refused("set the clock's frequency", &e))
    }

    /// Notices a rate that we did not set. The clock then runs on another course, from about now.
    fn look_at_rate(&mut self) -> Option<Signal> {
        if !self.tells_rate {
            return None;
        }
        let state = timex::read().ok()?;
        let old = *self.history.course();
        if state.runs_at(old.rate) && !state.is_disciplined() {
            return None;
        }
        self.seized = true;
        let pair = read_pair();
        let by = pair.time.since(old.at(pair.at()));
        let course = Course { at: pair.at(), time: pair.time, rate: state.rate, until: None, error: pair.half_width().abs() };
        self.history.begin(course);
        Some(Signal::ClockSet { by, course })
    }

    /// Steps to where the course plus `offset` would be; a preemption between reading and stepping is
    /// seen by reading again.
    fn step(&mut self, offset: Offset) -> Result<(), ClockError> {
        timex::step(offset).map_err(|e| refused("step the clock", &e))?;
        let mut target = *self.history.course();
        target.time = target.time + offset;
        let mut pair = narrowest(FIRST_READINGS);
        for _ in 0..STEP_TRIES {
            let missed = target.at(pair.at()).since(pair.time);
            if missed.abs() <= (STEP_PRECISION + pair.half_width()).abs() {
                break;
            }
            timex::step(missed).map_err(|e| refused("step the clock", &e))?;
            pair = narrowest(FIRST_READINGS);
        }
        // Where the clock really is now: the rest is slewed.
        self.history.begin(Course { at: pair.at(), time: pair.time, error: pair.half_width().abs(), ..target });
        Ok(())
    }
}

impl Clock for Kernel {
    fn kind(&self) -> &'static str {
        "kernel"
    }

    fn pair(&self) -> Pair {
        read_pair()
    }

    fn course(&self) -> Course {
        *self.history.course()
    }

    fn apply(&mut self, adjustment: &Adjustment) -> Result<Applied, ClockError> {
        let (rate, step) = rate_and_step(&adjustment.correction);
        let old = *self.history.course();
        if let Some(offset) = step {
            self.step(offset)?;
        }
        let before = time::raw();
        let set = Self::announce(&adjustment.announcement, rate.unwrap_or(old.rate))?;
        let after = time::raw();
        let at = before.midpoint(after);
        let mut course = if step.is_some() {
            let stepped = *self.history.course();
            Course { at, time: stepped.at(at), rate: set, until: None, error: stepped.error }
        } else {
            course_after(&old, at, set, &adjustment.correction)
        };
        // The new rate began at some instant between the two readings.
        let changed = (set.ratio() - old.rate.ratio()).abs();
        course.error += duration(changed * after.since(before).seconds() / 2.0);
        if let crate::core::Correction::Slew { frequency, .. } | crate::core::Correction::Step { frequency, .. } = adjustment.correction {
            self.plain = frequency;
        }
        self.history.begin(course);
        self.tells_rate = tells(set);
        // A reading narrows down what that added; a foreign hand in these microseconds shows in the course, and is told at the next look.
        self.unsaid = self.history.compare(&read_pair()).map(|foreign| foreign.by).or(self.unsaid);
        Ok(Applied { course: *self.history.course(), stepped: step })
    }

    fn watch(&mut self) -> Option<Signal> {
        if let Some(signal) = self.look_at_rate() {
            return Some(signal);
        }
        if let Some(by) = self.unsaid.take() {
            return Some(Signal::ClockSet { by, course: *self.history.course() });
        }
        let foreign = self.history.compare(&read_pair())?;
        Some(Signal::ClockSet { by: foreign.by, course: foreign.course })
    }

    fn was_seized(&mut self) -> bool {
        std::mem::take(&mut self.seized)
    }

    fn let_go(&mut self) {
        self.let_go = true;
    }

    fn instant_of(&mut self, stamp: Timestamp) -> Option<Instant> {
        self.history.instant_of(stamp, time::raw())
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if self.let_go {
            return;
        }
        // A slew must not outlive us: run on at the plain frequency. What can fail here could not be mended.
        if let Ok(state) = timex::read() {
            let settings = timex::Settings {
                rate: self.plain,
                synchronised: state.synchronised(),
                leap: crate::units::Leap::Normal,
                max_error: state.max_error,
                est_error: state.est_error,
                tai_offset: None,
            };
            let _ = timex::set(&settings);
        }
    }
}

/// Whether the kernel says that its rate is this, which it was just told, and that nobody else rules it.
fn tells(rate: Ppm) -> bool {
    timex::read().is_ok_and(|state| state.runs_at(rate) && !state.is_disciplined())
}

/// The narrowest of a few bracketed readings of `CLOCK_REALTIME`.
#[must_use]
pub fn read_pair() -> Pair {
    narrowest(READINGS)
}

fn narrowest(readings: usize) -> Pair {
    let read = || {
        let before = time::raw();
        let time = time::realtime();
        Pair { before, time, after: time::raw() }
    };
    let mut best = read();
    for _ in 1..readings {
        let next = read();
        if next.half_width() < best.half_width() {
            best = next;
        }
    }
    best
}

fn refused(action: &'static str, error: &std::io::Error) -> ClockError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => ClockError::Denied,
        _ => ClockError::Refused { action, reason: error.to_string() },
    }
}
