//! How wrong the line and the clock can be, and what the kernel is told of it.

use super::{Core, KERNEL_GROWTH, RESTATE, UNATTENDED};
use crate::core::event::{Announcement, Correction, Status};
use crate::units::{Bound, Instant, Leap, Ppm, duration};

impl Core {
    /// The line's bound, restated when nothing was measured for long: doubt of the frequency grows with time.
    pub(super) fn restate_line_bound(&mut self, now: Instant) {
        if !self.line_bound.is_known() || now.elapsed_since(self.line_bound.as_of) < RESTATE {
            return;
        }
        let learned = self.sources.iter().filter(|s| s.filter.is_set()).map(|s| s.filter.growth(now).ppm()).fold(f64::INFINITY, f64::min);
        let growth = if learned.is_finite() { learned } else { 0.0 };
        self.line_bound = Bound { as_of: now, error: self.line_bound.at(now), growth: Ppm::new(growth.max(self.line_bound.growth.ppm())) };
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
        let synchronised = matches!(self.status, Status::Synchronised | Status::Holdover) && self.line_bound.is_known();
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
                Some(r) if self.options.kernel_leap => r.leap,
                _ => Leap::Normal,
            },
            tai_offset: self.tai_offset,
        }
    }
}
