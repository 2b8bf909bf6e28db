//! `smoothtime`: when the served time leaves the line, and by how much.
//!
//! What was served at a moment goes on from there: when the line moves, the difference is taken into a [`Curve`]. Only a leap second is, with
//! `leaponly`. A disruption ends it: what was served before is worth nothing.

use crate::config::Smoothtime;
use crate::core::{Core, Status};
use crate::ntp::{Curve, SmoothingLimits, Snapshot};
use crate::units::{Instant, Leap, Ppm};
use crate::wire::control::SmoothingReport;

/// The frequency must be known so well before corrections are smoothed.
const SETTLED: Ppm = Ppm::new(1.0);

#[derive(Clone, Copy, Debug)]
pub(super) struct Smoothing {
    directive: Option<Smoothtime>,
    /// Leap seconds are corrected by slewing: they are hidden from those who are served.
    hides_leaps: bool,
    /// Time has been served that can be smoothed.
    active: bool,
    leaped: Option<Instant>,
}

impl Smoothing {
    pub(super) const fn new(directive: Option<Smoothtime>, hides_leaps: bool) -> Self {
        Self { directive, hides_leaps, active: false, leaped: None }
    }

    /// `after` is about to be served, `before` was.
    pub(super) fn follow(&mut self, before: &Snapshot, after: &mut Snapshot, core: &Core, now: Instant) {
        let Some(directive) = self.directive else { return };
        let (status, leaped) = (core.status().0, core.leaped());
        let has_leaped = std::mem::replace(&mut self.leaped, leaped) != leaped;
        // Where it is announced, those who are served make it themselves: the served time passes it with the line.
        let announced_leap = has_leaped && !self.hides_leaps;
        if matches!(status, Status::Unsynchronised | Status::Disrupted) {
            self.active = false;
            return;
        }
        if !self.active {
            // What is learned first moves the line by more than anything later: that is no correction to be smoothed.
            self.active = directive.leap_only || core.skew() < SETTLED;
            return self.hide(after);
        }
        after.curve = if before.curve.is_over(now) { Curve::NONE } else { before.curve };
        if after.line != before.line && (!directive.leap_only || (has_leaped && self.hides_leaps)) {
            let moved = before.line.ahead_of(after.line.at(now), now);
            let jump = if announced_leap { moved - moved.round() } else { moved };
            let served = before.curve.at(now);
            let turn = before.line.frequency().ratio() - after.line.frequency().ratio();
            let limits = SmoothingLimits { max_frequency: directive.max_frequency, max_wander: directive.max_wander };
            let (offset, rate) = if directive.leap_only { (jump.round(), 0.0) } else { (jump, turn) };
            after.curve = Curve::new(now, served.offset + offset, served.rate + rate, &limits);
        }
        self.hide(after);
    }

    fn hide(&self, snapshot: &mut Snapshot) {
        if self.hides_leaps && snapshot.leap != Leap::Unsynchronised {
            snapshot.leap = Leap::Normal;
        }
    }

    /// What people and metrics are told; nothing without `smoothtime`.
    pub(super) fn report(&self, snapshot: &Snapshot, now: Instant) -> Option<SmoothingReport> {
        let directive = self.directive?;
        let moment = snapshot.curve.at(now);
        Some(SmoothingReport {
            active: self.active,
            leap_only: directive.leap_only,
            offset: moment.offset,
            frequency_ppm: moment.rate * 1e6,
            wander_ppm: moment.wander * 1e6,
            last_update_age: (snapshot.curve != Curve::NONE).then(|| now.since(snapshot.curve.from()).seconds()),
            remaining: snapshot.curve.remaining(now).as_secs_f64(),
        })
    }
}
