//! How wrong the line and the clock can be, and what the kernel is told of it.

use super::{Core, KERNEL_GROWTH, RESTATE, UNATTENDED};
use crate::core::event::{Announcement, Correction, Status};
use crate::core::filter::FREQUENCY_SIGMAS;
use crate::units::{Bound, Instant, Leap, Ppm, duration};

/// A line that has not been updated for so many intervals has lost its sources.
const LOST: f64 = 4.0;

impl Core {
    /// The line's bound, restated when nothing was measured for long: doubt of the frequency grows with time.
    pub(super) fn restate_line_bound(&mut self, now: Instant) {
        if self.line_bound.is_known() && now.elapsed_since(self.line_bound.as_of) >= RESTATE {
            self.state_growth(now);
        }
    }

    /// States anew how fast the line's bound grows, never slower than before: as known at its update, with what the
    /// frequency may have wandered since. What the innovations have shown beyond that, they have shown of times between
    /// samples; where nothing is followed, or much longer, what the user supposes (`maxclockerror`) comes on top.
    pub(super) fn state_growth(&mut self, now: Instant) {
        let Some(reference) = self.reference.filter(|_| self.line_bound.is_known()) else { return };
        let age = now.since(reference.at).seconds().max(0.0);
        let wandered = FREQUENCY_SIGMAS * (self.wander2 * (age + RESTATE.as_secs_f64())).sqrt();
        let lost = self.status != Status::Synchronised || age > LOST * reference.interval.max(RESTATE.as_secs_f64());
        let unmodelled = if lost { self.options.max_clock_error.ratio().abs() } else { 0.0 };
        let growth = self.learned_growth.ratio().hypot(wandered) + unmodelled;
        let growth = Ppm::from_ratio(growth.max(self.line_bound.growth.ratio()));
        self.line_bound = Bound { as_of: now, error: self.line_bound.at(now), growth };
    }

    pub(super) fn clock_bound(&self, now: Instant) -> Bound {
        if !self.line_bound.is_known() {
            return Bound::UNKNOWN;
        }
        let away = duration(self.remaining(now).abs()).saturating_add(self.course.error);
        let growth = Ppm::from_ratio(self.line_bound.growth.ratio() + self.slew_rate());
        Bound { as_of: now, error: self.line_bound.at(now).saturating_add(away), growth }
    }

    pub(super) fn announcement(&self, now: Instant, correction: &Correction) -> Announcement {
        let synchronised = self.status.keeps_time() && self.line_bound.is_known();
        let (away, rate) = match *correction {
            Correction::Step { .. } => (0.0, 0.0),
            Correction::Slew { offset, over, .. } => {
                let over = over.as_secs_f64();
                (offset.abs().as_secs_f64(), if over > 0.0 { offset.abs().as_secs_f64() / over } else { 0.0 })
            }
            Correction::Hold => (self.remaining(now).abs(), self.slew_rate()),
        };
        // Beyond the target a slew runs on until somebody looks: the error is then what it overshot.
        let overshoot = (rate - KERNEL_GROWTH).max(0.0) * UNATTENDED;
        let max_error = self.line_bound.at(now).saturating_add(duration(away.max(overshoot))).saturating_add(self.course.error);
        Announcement {
            synchronised,
            max_error,
            est_error: duration(if self.sigma.is_finite() { self.sigma + away } else { 16.0 }),
            leap: match self.reference {
                _ if !synchronised => Leap::Unsynchronised,
                Some(r) if self.options.clock_leaps => r.leap,
                _ => Leap::Normal,
            },
            tai_offset: self.tai_offset,
        }
    }
}
