//! Leap seconds: when one is believed, and how the line passes it.
//!
//! The line carries UTC's labels. At the end of a leap day it, and every source's estimate, is relabelled
//! by a second; the kernel relabels its clock by itself where it was told to.

use std::time::Duration;

use super::Core;
use crate::core::discipline::Occasion;
use crate::core::event::Correction;
use crate::units::{Instant, Leap, Offset, Timestamp};

/// Around a leap second servers disagree about the label: their answers are left out for so long.
const CONFUSION: Duration = Duration::from_secs(2);
/// No other leap second comes so soon: who announces one has not been heard since the last.
const APART: Duration = Duration::from_secs(43_200);
/// Sources within so many seconds of the line carry its label.
const LABEL: f64 = 0.5;

/// The leap second to come, and the last one passed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LeapSecond {
    due: Option<(Timestamp, Leap)>,
    passed: Option<Instant>,
    unapplied: bool,
}

impl Core {
    /// What the majority announces, on the days on which it can happen.
    pub(super) fn expect_leap(&mut self, now: Instant, announced: Leap) -> Leap {
        let day_end = self.line.at(now).end_of_leap_day().filter(|_| self.leap.passed.is_none_or(|at| now > at + APART));
        self.leap.due = match (announced, day_end) {
            (Leap::Insert | Leap::Delete, Some(end)) => Some((end, announced)),
            _ => None,
        };
        self.leap.due.map_or(Leap::Normal, |due| due.1)
    }

    /// Somebody set the clock, and that is to count: whether a leap second lies between was decided with it.
    pub(super) const fn expect_no_leap(&mut self) {
        self.leap.due = None;
    }

    /// Relabels everything when the leap second has come: to be called before anything else is judged.
    pub fn pass_leap(&mut self, now: Instant) {
        let Some((end, leap)) = self.leap.due else { return };
        // An inserted second begins at the day's end; a deleted one a second before.
        let (begin, by) = match leap {
            Leap::Insert => (end, -1),
            _ => (end - Offset::from_nanos(1_000_000_000), 1),
        };
        if self.line.at(now) < begin {
            return;
        }
        let by = Offset::from_nanos(by * 1_000_000_000);
        for source in &mut self.sources {
            // One that is elsewhere passes it at another time, or has passed it.
            if source.filter.line().ahead_of(self.line.at(now), now).abs() < LABEL {
                source.filter.shift(by);
            }
        }
        self.line = self.line.shifted(by);
        if let Some(reference) = &mut self.reference {
            reference.leap = Leap::Normal;
        }
        self.tai_offset = self.tai_offset.map(|tai| if by < Offset::ZERO { tai + 1 } else { tai - 1 });
        self.leap = LeapSecond { due: None, passed: Some(now), unapplied: !self.options.clock_leaps };
    }

    /// True while answers may carry either label.
    pub(super) fn is_confused_by_leap(&self, now: Instant) -> bool {
        self.leap.passed.is_some_and(|at| now < at + CONFUSION)
    }

    /// The order for a clock that does not leap by itself, once.
    pub(super) fn leap_correction(&mut self, now: Instant) -> Option<Correction> {
        if !std::mem::take(&mut self.leap.unapplied) {
            return None;
        }
        let remaining = self.remaining(now);
        Some(if self.options.leap_steps {
            Correction::Step { offset: Offset::from_seconds(remaining), frequency: self.line.frequency() }
        } else if self.options.leap_slews {
            self.correct(Occasion::SlewEnd, remaining)
        } else {
            // The kernel must hear how far the clock is off now.
            Correction::Hold
        })
    }

    /// When a leap second was passed last.
    #[must_use]
    pub const fn leaped(&self) -> Option<Instant> {
        self.leap.passed
    }
}
