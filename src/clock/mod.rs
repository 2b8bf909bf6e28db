//! Floor 7: clocks that can be steered.

use crate::core::{Adjustment, Applied, ClockError, Signal};
use crate::units::{Instant, Timestamp};

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

/// A clock that follows the line.
pub trait Clock {
    /// `kernel`, `shadow` or `simulated`.
    fn kind(&self) -> &'static str;

    /// A bracketed reading.
    fn pair(&self) -> Pair;

    /// Carries out one order and says what was really done.
    fn apply(&mut self, adjustment: &Adjustment) -> Result<Applied, ClockError>;

    /// Looks whether the clock is where its course says; reports a foreign change once.
    fn watch(&mut self) -> Option<Signal>;

    /// The timebase instant of a kernel packet stamp (`CLOCK_REALTIME`), through the piece of
    /// history it falls into; `None` if it straddles an unknown change.
    fn instant_of(&mut self, stamp: Timestamp) -> Option<Instant>;
}
