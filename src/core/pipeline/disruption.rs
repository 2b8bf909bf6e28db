//! When time is broken: what signals and jumping sources mean for the line.
//!
//! A signal says it outright. A jump of a source may be the source's own: then the others, asked at once, stand by the line. If
//! they do not, it was our own time that broke.

use std::time::Duration;

use super::selection::{claim, heard};
use super::{Core, GRACE, NEW_RATE_SIGMA, Tracked};
use crate::core::event::{SourceId, SourceState, Status};
use crate::units::{Bound, Instant, Offset, Ppm};

/// What a suspend adds to the error: the kernel's sleep time comes from a clock with whole seconds.
const SUSPEND_MARGIN: Duration = Duration::from_secs(2);
/// An oscillator that stood still, and cooled down, comes back with another rate, beside what it wandered meanwhile.
const SLEEP_SIGMA: Ppm = Ppm::new(1.0);
/// A server's jump of less than this is an error like others: slewing it away takes seconds.
const JUMP: Offset = Offset::from_nanos(500_000_000);
/// A device has no path that could hide so much: less than this is slewed away within a tenth of a second.
const DEVICE_JUMP: Offset = Offset::from_nanos(10_000_000);
/// Sources that jump within this time jump together, and for so long after a jump or a stall nobody is asked again for such a
/// reason: an unsteady source must not make us pester the others.
const TOGETHER: Duration = Duration::from_secs(64);

impl Core {
    /// Phase is not known any more: wait for the first agreement.
    fn disrupt(&mut self, now: Instant) {
        for source in &mut self.sources {
            source.filter.reset();
            if !source.options.noselect {
                source.state = SourceState::Waiting;
            }
            source.jumped = None;
        }
        self.suspected = None;
        self.first_sample = None;
        self.discipline.allow_one_step();
        if self.status != Status::Unsynchronised {
            self.set_status(now, Status::Disrupted);
        }
        self.ask = true;
    }

    /// The machine slept: the same counter, and about the time that the kernel says.
    pub(super) fn sleep(&mut self, now: Instant, slept: Duration) {
        self.line = self.line.shifted(slept.into());
        self.line_bound = self.line_bound.widened(SUSPEND_MARGIN);
        self.disrupt(now);
        for source in &mut self.sources {
            let wandered = (source.filter.wander2() * slept.as_secs_f64()).sqrt();
            let sigma = Ppm::from_ratio(SLEEP_SIGMA.ratio().hypot(wandered));
            source.filter.doubt_frequency(now, sigma, Duration::ZERO);
        }
    }

    /// Migrated or restored: another host, another counter, and another time.
    pub(super) fn move_house(&mut self, now: Instant) {
        if self.line_bound.is_known() {
            self.moved = Some((self.line, self.line_bound, now));
        }
        self.give_up(now);
    }

    /// Nothing is known any more, not even on which machine this is.
    fn give_up(&mut self, now: Instant) {
        self.disrupt(now);
        for source in &mut self.sources {
            // Another host may smear where the last one did not.
            source.counts_as = None;
            source.filter.doubt_frequency(now, NEW_RATE_SIGMA, Duration::ZERO);
        }
        self.line_bound = Bound::UNKNOWN;
    }

    /// A source proved itself wrong by `by`. True if that means that time was disrupted.
    pub(super) fn on_jump(&mut self, now: Instant, id: SourceId, by: Offset) -> bool {
        let Some(source) = self.sources.iter_mut().find(|s| s.id == id) else { return false };
        let least = if source.local { DEVICE_JUMP } else { JUMP };
        if by.abs() < least.abs() || !self.status.keeps_time() {
            return false;
        }
        let believed = source.is_survivor();
        source.jumped = Some(now);
        if self.is_refuted(now, None) {
            self.give_up(now);
            return true;
        }
        if believed {
            self.suspected.get_or_insert(now);
            self.ask_everybody(now);
        }
        false
    }

    /// Those that were asked when a source jumped have had their time to answer: who did not has no say. True if that means
    /// that time was disrupted.
    pub(super) fn on_silence(&mut self, now: Instant) -> bool {
        let Some(since) = self.suspected.filter(|&since| now >= since + GRACE) else { return false };
        self.suspected = None;
        let refuted = self.status.keeps_time() && self.is_refuted(now, Some(since));
        if refuted {
            self.give_up(now);
        }
        refuted
    }

    /// Whether those that jumped away from the line refute it. More than half do. So does one
    /// half if nobody but devices stands against it: these may stand still with the machine, servers cannot. With `since`, who
    /// has not been heard since then does not count.
    fn is_refuted(&self, now: Instant, since: Option<Instant>) -> bool {
        let (origin, half) = (self.line.at(now), self.line_bound.at(now).as_secs_f64());
        let voting = |s: &&Tracked| !s.options.noselect && s.reachable && s.synchronised && !s.stopped && s.filter.is_set();
        let (mut jumped, mut steady, mut servers) = (0_usize, 0_usize, 0_usize);
        for voter in heard(self.sources.iter().filter(voting)) {
            let lately = voter.jumped.is_some_and(|at| now <= at + TOGETHER);
            if lately && !claim(voter, origin, now).meets(-half, half) {
                jumped += 1;
            } else if since.is_none_or(|since| voter.last.is_some_and(|sample| sample.at >= since)) {
                steady += 1;
                servers += usize::from(!voter.local);
            }
        }
        jumped > steady || (jumped > 0 && jumped == steady && servers == 0)
    }

    /// Somebody may know that time was disrupted: ask, but not again and again.
    pub(super) fn ask_everybody(&mut self, now: Instant) {
        if self.asked.is_none_or(|at| now >= at + TOGETHER) {
            self.asked = Some(now);
            self.ask = true;
        }
    }

    /// No majority: if the machine has just been moved, devices that went on as if nothing had happened stood still with it, and
    /// have no vote against those that did not. True if there are such.
    pub(super) fn silence_the_stopped(&mut self, now: Instant) -> bool {
        let Some((line, bound, _)) = self.moved.filter(|&(.., at)| now <= at + TOGETHER) else { return false };
        let (origin, half) = (line.at(now), bound.at(now).as_secs_f64());
        let went_on = |s: &Tracked| claim(s, origin, now).meets(-half, half);
        let others = self.sources.iter().any(|s| s.state == SourceState::Selected && !went_on(s));
        let mut silenced = false;
        for source in self.sources.iter_mut().filter(|s| s.local && s.state == SourceState::Selected) {
            if others && went_on(source) {
                source.stopped = true;
                source.state = SourceState::Stopped;
                silenced = true;
            }
        }
        if silenced {
            // Whatever was followed meanwhile, the clock may be as wrong as it was.
            self.discipline.allow_one_step();
        }
        silenced
    }
}
