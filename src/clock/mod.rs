//! Floor 7: clocks that can be steered.
//!
//! [`Kernel`] is `CLOCK_REALTIME`; [`Shadow`] keeps the same line without touching the kernel;
//! [`Simulated`] is a clock in the simulator's world. One contract test holds for all three.

mod history;
mod kernel;
mod phc;
mod shadow;
mod simulated;

pub use history::{Foreign, History};
pub use kernel::{Kernel, read_pair};
pub use phc::{PIECE_WORDS, PhcLine, PhcPiece};
pub use shadow::Shadow;
pub use simulated::{Simulated, Timebase};

use crate::core::{Adjustment, Applied, ClockError, Correction, Course, Signal};
use crate::units::{Instant, Offset, Ppm, Timestamp};

/// A clock's reading, bracketed on the timebase. Never read a clock alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair {
    /// The timebase just before.
    pub before: Instant,
    /// The clock.
    pub time: Timestamp,
    /// The timebase just after.
    pub after: Instant,
}

impl Pair {
    /// The instant the reading most likely belongs to.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.before.midpoint(self.after)
    }

    /// Half the width of the bracket.
    #[must_use]
    pub const fn half_width(&self) -> Offset {
        Offset::from_nanos(self.after.since(self.before).nanos() / 2)
    }
}

/// A clock that follows the line.
pub trait Clock {
    /// `kernel`, `shadow` or `simulated`.
    fn kind(&self) -> &'static str;

    /// A bracketed reading.
    fn pair(&self) -> Pair;

    /// Its course as it knows it.
    fn course(&self) -> Course;

    /// Carries out one order and says what was really done.
    fn apply(&mut self, adjustment: &Adjustment) -> Result<Applied, ClockError>;

    /// Looks whether the clock is where its course says; reports a foreign change once.
    fn watch(&mut self) -> Option<Signal>;

    /// Whether somebody else changed the clock's rate, or took it under the kernel's own discipline, since the last question.
    fn was_seized(&mut self) -> bool {
        false
    }

    /// Leaves the clock as it is: nothing more is done to it, not even at the end.
    fn let_go(&mut self) {}

    /// The timebase instant of a kernel packet stamp (`CLOCK_REALTIME`), through the piece of
    /// history it falls into; `None` if it straddles an unknown change.
    fn instant_of(&mut self, stamp: Timestamp) -> Option<Instant>;
}

/// The fastest that any of our clocks slews, beside what its frequency already uses.
pub const MAX_SLEW: Ppm = crate::sys::timex::MAX_RATE;

/// The rate that an order asks for (`None`: leave it) and the step, if any.
fn rate_and_step(correction: &Correction) -> (Option<Ppm>, Option<Offset>) {
    match *correction {
        Correction::Hold => (None, None),
        Correction::Slew { offset, over, frequency } => {
            let seconds = over.as_secs_f64();
            let slew = if seconds > 0.0 { Ppm::from_ratio(offset.seconds() / seconds) } else { Ppm::ZERO };
            (Some(Ppm::new(frequency.ppm() + slew.ppm()).clamped(MAX_SLEW)), None)
        }
        Correction::Step { offset, frequency } => (Some(frequency.clamped(MAX_SLEW)), Some(offset)),
    }
}

/// The course after an order carried out at `at` on a clock that ran on `old`, now at `rate`.
fn course_after(old: &Course, at: Instant, rate: Ppm, correction: &Correction) -> Course {
    match *correction {
        Correction::Hold => *old,
        Correction::Slew { offset, over, .. } => {
            Course { at, time: old.at(at), rate, until: (offset != Offset::ZERO).then_some(at + over), error: old.error }
        }
        Correction::Step { offset, .. } => Course { at, time: old.at(at) + offset, rate, until: None, error: old.error },
    }
}

#[cfg(test)]
mod tests;
