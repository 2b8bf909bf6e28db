//! The core itself: (state, now, event) -> decision.
//!
//! Below the waterline: no IO, no clock reads. Samples come in, the line and both bounds come
//! out, and an order to the clock when there is one.

mod bounds;
mod disruption;
mod leap;
mod selection;
mod views;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::discipline::{Discipline, Doubt, Occasion};
use super::event::{Adjustment, Applied, Correction, Course, Decision, Event, Sample, Signal, SourceId, SourceState, Status};
use super::filter::{Filter, Update};
use super::line::Line;
use super::select::Claim;
use leap::LeapSecond;
pub use views::SourceView;

use crate::config::{ForeignStep, Makestep, SelectOptions};
use crate::units::{Bound, Instant, Leap, Offset, Ppm, Stratum, Timescale, duration, nanos};

/// How long to wait for other sources once the first has answered.
const GRACE: Duration = Duration::from_secs(2);
/// Sources up to this many times the best one's distance are combined with it.
const COMBINE_LIMIT: f64 = 3.0;
/// A source that varies by more than this many seconds is not followed (chrony's default `maxjitter`).
const MAX_JITTER: f64 = 1.0;
/// A saved frequency is not believed closer than this: another start, or another host, calibrates anew.
const SAVED_SKEW: Ppm = Ppm::new(5.0);
/// What a change of clocksource or host may do to the timebase's rate.
const NEW_RATE_SIGMA: Ppm = Ppm::new(50.0);
/// The kernel may have changed its clocksource so long before we hear of it: it is looked up every 10 s, when there is time.
const CLOCKSOURCE_UNSEEN: Duration = Duration::from_secs(12);
/// The kernel lets maxerror grow by itself at this rate.
const KERNEL_GROWTH: f64 = 500e-6;
/// For so long after an announcement a slew may run on unattended within the error announced.
const UNATTENDED: f64 = 10.0;
/// A sample belongs to a time between these before now: stamps may be placed a little late, and a device may answer after hours. Nothing else can have been
/// measured.
const OLDEST: Offset = Offset::from_nanos(86_400_000_000_000);
const NEWEST: Offset = Offset::from_nanos(-1_000_000_000);
/// A source that is not followed is heeded where the bound should grow faster by so much.
const DOUBT: f64 = 2.0;
/// The smallest time for which a new growth rate of the bound is stated while nothing is measured.
const RESTATE: Duration = Duration::from_secs(32);

/// What the user configured for the core.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CoreOptions {
    /// `makestep`.
    pub makestep: Option<Makestep>,
    /// `maxdistance`.
    #[serde(with = "nanos")]
    pub max_distance: Duration,
    /// `minsources`.
    pub min_sources: usize,
    /// `maxslewrate`.
    pub max_slew: Ppm,
    /// `maxdrift`.
    pub max_drift: Ppm,
    /// `maxclockerror`: what the timebase may wander beyond what was learned.
    pub max_clock_error: Ppm,
    /// `foreignstep`.
    pub foreign_step: ForeignStep,
    /// The clock makes leap seconds by itself when told of them (the kernel's does, with `leapsecmode system`).
    pub clock_leaps: bool,
    /// Otherwise it is stepped (`leapsecmode system` and `step`) rather than corrected like any error.
    pub leap_steps: bool,
    /// It is slewed from the leap second on (`leapsecmode slew`); if neither, it is corrected with the next update.
    #[serde(default)]
    pub leap_slews: bool,
}

impl Default for CoreOptions {
    fn default() -> Self {
        Self {
            makestep: None,
            max_distance: Duration::from_secs(3),
            min_sources: 1,
            max_slew: Ppm::new(83_333.333),
            max_drift: Ppm::new(500_000.0),
            max_clock_error: Ppm::new(1.0),
            foreign_step: ForeignStep::Undo,
            clock_leaps: false,
            leap_steps: true,
            leap_slews: false,
        }
    }
}

#[derive(Clone, Debug)]
struct Tracked {
    id: SourceId,
    options: SelectOptions,
    filter: Filter,
    last: Option<Sample>,
    last_residual: f64,
    surprise: f64,
    reachable: bool,
    synchronised: bool,
    state: SourceState,
    /// A device of this machine, which may stand still with it.
    local: bool,
    /// It did, when the machine was restored: it has no vote until it agrees with the others.
    stopped: bool,
    /// When it last jumped by more than an error.
    jumped: Option<Instant>,
    /// What a source of unknown timescale agreed with: the timescale that it counts as, and whose that is.
    counts_as: Option<(Timescale, SourceId)>,
}

/// What the combined reference looks like, for servers and tables.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reference {
    /// The selected source.
    pub source: SourceId,
    /// Our stratum.
    pub stratum: Stratum,
    /// Leap warning of the majority.
    pub leap: Leap,
    /// Root delay up to the primary clock.
    pub root_delay: Duration,
    /// Root dispersion at the update, path included.
    pub root_dispersion: Duration,
    /// When the line was last updated.
    pub at: Instant,
    /// Seconds between the last two updates.
    pub interval: f64,
    /// The last correction, seconds; positive when the clock was behind.
    pub last_offset: f64,
    /// Long-term mean square of corrections.
    pub mean_square: f64,
    /// Difference between the last source's frequency and the line's.
    pub residual: Ppm,
}

/// Per-source filters, selection, combination, discipline.
#[derive(Clone, Debug)]
pub struct Core {
    options: CoreOptions,
    sources: Vec<Tracked>,
    claims: Vec<Claim>,
    scratch: Vec<(f64, i8)>,
    discipline: Discipline,
    line: Line,
    skew: f64,
    sigma: f64,
    /// How the frequency wanders, and how fast the bound grew at the last update.
    wander2: f64,
    learned_growth: Ppm,
    line_bound: Bound,
    /// So much of it rests on sources that ask us too.
    borrowed: Duration,
    course: Course,
    status: Status,
    status_since: Instant,
    reference: Option<Reference>,
    first_sample: Option<Instant>,
    announced: Option<(Instant, Duration)>,
    known_frequency: Option<(Ppm, Ppm)>,
    tai_offset: Option<i16>,
    leap: LeapSecond,
    /// The line as it was when the machine was moved, how wrong it could be, and when that was.
    moved: Option<(Line, Bound, Instant)>,
    /// When a source jumped and the others had not answered yet.
    suspected: Option<Instant>,
    /// When everybody was last asked because a source jumped.
    asked: Option<Instant>,
    /// Everybody shall be asked with the next decision.
    ask: bool,
}

impl Core {
    /// A core whose clock runs on `course` and which knows of the oscillator only what a drift file said
    /// (frequency and its uncertainty).
    #[must_use]
    pub fn new(options: CoreOptions, now: Instant, course: Course, drift: Option<(Ppm, Ppm)>) -> Self {
        let discipline = Discipline::new(options.makestep, options.max_slew);
        let frequency = drift.map_or(course.rate, |d| d.0).clamped(options.max_drift);
        Self {
            options,
            sources: Vec::with_capacity(16),
            claims: Vec::with_capacity(16),
            scratch: Vec::with_capacity(32),
            discipline,
            line: Line::new(now, course.at(now), frequency),
            skew: drift.map_or(1e-4, |d| d.1.ratio()),
            sigma: f64::INFINITY,
            wander2: 0.0,
            learned_growth: Ppm::ZERO,
            line_bound: Bound::UNKNOWN,
            borrowed: Duration::ZERO,
            course,
            status: Status::Unsynchronised,
            status_since: now,
            reference: None,
            first_sample: None,
            announced: None,
            known_frequency: drift,
            tai_offset: None,
            leap: LeapSecond::default(),
            moved: None,
            suspected: None,
            asked: None,
            ask: false,
        }
    }

    /// The clock was moved to a floor (build date, last saved time): the first measurement may step it.
    pub const fn clock_is_a_guess(&mut self) {
        self.discipline.allow_one_step();
    }

    /// Begins to follow a source; `local` if it is a device of this machine.
    pub fn add_source(&mut self, id: SourceId, options: SelectOptions, local: bool) {
        let (frequency, skew) = match self.known_frequency {
            // Saved by this machine or by the one it was copied from: believed to some ppm only.
            Some((frequency, skew)) => (frequency, Some(Ppm::new(skew.ppm().max(SAVED_SKEW.ppm())))),
            None => (self.line.frequency(), None),
        };
        self.sources.push(Tracked {
            id,
            options,
            filter: Filter::new(frequency, skew, self.options.max_clock_error),
            last: None,
            last_residual: 0.0,
            surprise: 0.0,
            reachable: true,
            synchronised: true,
            state: if options.noselect { SourceState::Noselect } else { SourceState::Waiting },
            local,
            stopped: false,
            jumped: None,
            counts_as: None,
        });
    }

    /// Forgets a source.
    pub fn remove_source(&mut self, id: SourceId) {
        self.sources.retain(|s| s.id != id);
    }

    /// A source turns out to carry no time: it is watched, never waited for.
    pub fn ignore(&mut self, id: SourceId) {
        if let Some(source) = self.sources.iter_mut().find(|s| s.id == id) {
            source.options.noselect = true;
            source.state = SourceState::Noselect;
        }
    }

    /// TAI minus UTC, as a device or table said.
    pub const fn set_tai_offset(&mut self, seconds: Option<i16>) {
        self.tai_offset = seconds;
    }

    /// The order that begins the work: the plain frequency, and nothing claimed yet.
    #[must_use]
    pub fn start(&mut self, now: Instant) -> Decision {
        self.decide_plainly(now)
    }

    fn decide_plainly(&mut self, now: Instant) -> Decision {
        let plain = self.plain();
        self.decide(now, Some(plain))
    }

    /// End any slew: run at the line's frequency.
    const fn plain(&self) -> Correction {
        Correction::Slew { offset: Offset::ZERO, over: Duration::ZERO, frequency: self.line.frequency() }
    }

    /// Takes in one event.
    #[must_use]
    pub fn handle(&mut self, now: Instant, event: Event) -> Decision {
        self.pass_leap(now);
        match event {
            Event::Sample(sample) => self.on_sample(now, &sample),
            Event::Unreachable(id) => {
                if let Some(source) = self.sources.iter_mut().find(|s| s.id == id) {
                    source.reachable = false;
                }
                let correction = self.evaluate(now, None);
                self.decide(now, correction)
            }
            Event::Unsynchronised(id) => {
                if let Some(source) = self.sources.iter_mut().find(|s| s.id == id) {
                    source.synchronised = false;
                }
                let correction = self.evaluate(now, None);
                self.decide(now, correction)
            }
            Event::Course(course) => {
                self.course = course;
                self.decide(now, None)
            }
            Event::Signal(signal) => self.on_signal(now, signal),
            Event::Applied(Applied { course, .. }) => {
                self.course = course;
                self.decide(now, None)
            }
            Event::Tick => self.on_tick(now),
        }
    }

    fn on_sample(&mut self, now: Instant, sample: &Sample) -> Decision {
        let age = now.since(sample.at);
        if age > OLDEST || age < NEWEST || self.is_confused_by_leap(now) {
            return self.on_tick(now);
        }
        let course = self.course.at(sample.at);
        let Some(source) = self.sources.iter_mut().find(|s| s.id == sample.source) else {
            return self.decide(now, None);
        };
        source.reachable = true;
        source.synchronised = true;
        source.last_residual = sample.reference.since(course).seconds();
        source.last = Some(*sample);
        let update = source.filter.update(sample);
        source.surprise = match update {
            Update::First => 0.0,
            Update::Accepted { sigmas, .. } => sigmas,
            Update::Jumped(_) => f64::INFINITY,
        };
        let settled = self.status == Status::Synchronised;
        if update == Update::First && !settled && self.first_sample.is_none() && !source.options.noselect {
            self.first_sample = Some(now);
        }
        if let Update::Jumped(by) = update {
            if self.on_jump(now, sample.source, by) {
                return self.decide_plainly(now);
            }
        }
        let correction = self.evaluate(now, Some(sample.source));
        self.decide(now, correction)
    }

    fn on_signal(&mut self, now: Instant, signal: Signal) -> Decision {
        match signal {
            Signal::ClockSet { course, .. } => {
                self.course = course;
                let correction = match self.status {
                    Status::Unsynchronised => {
                        self.line = Line::new(now, course.at(now), self.line.frequency());
                        None
                    }
                    Status::Disrupted => None,
                    Status::Synchronised | Status::Holdover => Some(self.answer_foreign_step(now)),
                };
                self.decide(now, correction)
            }
            Signal::Suspended { slept } => {
                self.sleep(now, slept);
                self.decide_plainly(now)
            }
            Signal::Generation { .. } | Signal::Restored => {
                self.move_house(now);
                self.decide_plainly(now)
            }
            Signal::ClocksourceChanged => {
                for source in &mut self.sources {
                    source.filter.doubt_frequency(now, NEW_RATE_SIGMA, CLOCKSOURCE_UNSEEN);
                }
                let strayed = Ppm::new(6.0 * NEW_RATE_SIGMA.ppm());
                let unseen = duration(strayed.ratio() * CLOCKSOURCE_UNSEEN.as_secs_f64());
                let growth = Ppm::new(self.line_bound.growth.ppm() + strayed.ppm());
                self.line_bound = Bound { as_of: now, error: self.line_bound.at(now).saturating_add(unseen), growth };
                self.decide(now, Some(Correction::Hold))
            }
            Signal::Stalled { .. } => {
                // The machine may have stood still: whoever knows shall say so.
                self.ask_everybody(now);
                self.on_tick(now)
            }
        }
    }

    fn answer_foreign_step(&mut self, now: Instant) -> Correction {
        let remaining = self.remaining(now);
        match self.options.foreign_step {
            ForeignStep::Undo => self.correct(Occasion::Restore, remaining),
            ForeignStep::Slew => self.correct(Occasion::SlewEnd, remaining),
            ForeignStep::Accept => {
                self.line = self.line.shifted(Offset::from_seconds(-remaining));
                self.line_bound = self.line_bound.widened(Offset::from_seconds(remaining).abs());
                self.expect_no_leap();
                // Where the clock is counts, not how fast it was made to run.
                self.plain()
            }
        }
    }

    fn on_tick(&mut self, now: Instant) -> Decision {
        if self.on_silence(now) {
            return self.decide_plainly(now);
        }
        let waited = self.status != Status::Synchronised && self.first_sample.is_some_and(|first| now >= first + GRACE);
        let lost = matches!(self.status, Status::Unsynchronised | Status::Disrupted);
        let evaluated = if waited { self.evaluate(now, None) } else { None };
        let correction = if let Some(leap) = self.leap_correction(now) {
            Some(leap)
        } else if evaluated.is_some() {
            evaluated
        } else if self.course.until.is_some_and(|until| now >= until) {
            let remaining = self.remaining(now);
            Some(if lost { self.plain() } else { self.correct(Occasion::SlewEnd, remaining) })
        } else if lost {
            None
        } else {
            let stale = self.announced.is_none_or(|(at, error)| {
                let kernel = error.as_secs_f64() + KERNEL_GROWTH * now.since(at).seconds();
                kernel > 2.0 * self.announcement(now, &Correction::Hold).max_error.as_secs_f64() + 10e-6
            });
            stale.then_some(Correction::Hold)
        };
        self.decide(now, correction)
    }

    /// Selects, combines and moves the line. `measured` is the source that has just been heard.
    fn evaluate(&mut self, now: Instant, measured: Option<SourceId>) -> Option<Correction> {
        let selection = self.select(now);
        let Some((low, high)) = selection else {
            if self.status == Status::Synchronised {
                self.set_status(now, Status::Holdover);
                self.state_growth(now);
                return Some(Correction::Hold);
            }
            return None;
        };
        let origin = self.line.at(now);
        let best = self.sources.iter().find(|s| s.state == SourceState::Selected)?;
        let (best_id, best_frequency) = (best.id, best.filter.frequency());
        let heard = measured
            .is_none_or(|id| self.sources.iter().any(|s| s.id == id && matches!(s.state, SourceState::Selected | SourceState::Combined)));
        if !heard && self.status == Status::Synchronised && self.reference.is_some_and(|r| r.source == best_id) {
            return self.heed_doubt(now, (low, high));
        }
        let combined = self.combine(now, origin);
        let frequency = combined.frequency.clamp(-self.options.max_drift.ratio(), self.options.max_drift.ratio());
        // What is not believed of the frequency is missing from the line.
        let unbelieved = Ppm::from_ratio((combined.frequency - frequency).abs());
        let centre = combined.phase;
        self.line = Line::through(now, origin, centre, frequency);
        self.sigma = combined.sigma;
        self.skew = combined.skew;
        let farthest = |(low, high): (f64, f64)| (high - centre).max(centre - low).max(0.0);
        let error = farthest((low, high));
        self.borrowed = self.vouched_for(now).map_or(Duration::ZERO, |vouched| duration(error - farthest(vouched)));
        let growth = Ppm::new(combined.growth.ppm() + unbelieved.ppm());
        // A nanosecond for the rounding of timestamps.
        self.line_bound = Bound { as_of: now, error: duration(error + 1e-9), growth };
        (self.learned_growth, self.wander2) = (growth, combined.wander2);
        let remaining = self.remaining(now);
        let recovered = self.status == Status::Disrupted;
        let interval = self.reference.map_or(16.0, |r| now.since(r.at).seconds().clamp(0.25, 1024.0));
        self.refresh_reference(now, best_id, remaining, Ppm::from_ratio(best_frequency.0 - frequency), interval);
        self.first_sample = None;
        self.set_status(now, Status::Synchronised);
        let occasion = if recovered { Occasion::Restore } else { Occasion::Update };
        Some(self.correct(occasion, remaining))
    }

    /// Who is not followed may still have seen that the truth leaves the line faster than was said.
    fn heed_doubt(&mut self, now: Instant, (low, high): (f64, f64)) -> Option<Correction> {
        let growth = self.growth_of(self.line.frequency().ratio(), now);
        if growth.ppm() < DOUBT * self.line_bound.growth.ppm() {
            return None;
        }
        let error = self.line_bound.at(now).max(duration(high.max(-low).max(0.0) + 1e-9));
        self.line_bound = Bound { as_of: now, error, growth };
        self.learned_growth = growth;
        Some(Correction::Hold)
    }

    fn correct(&mut self, occasion: Occasion, remaining: f64) -> Correction {
        let interval = self.reference.map_or(16.0, |r| r.interval);
        self.discipline.correct(occasion, remaining, Doubt { phase: self.sigma, frequency: self.skew }, interval, self.line.frequency())
    }

    fn refresh_reference(&mut self, now: Instant, best: SourceId, remaining: f64, residual: Ppm, interval: f64) {
        let leap = self.expect_leap(now, self.majority_leap());
        let Some(source) = self.sources.iter().find(|s| s.id == best) else { return };
        let Some(sample) = source.last else { return };
        let mean_square = self.reference.map_or(remaining * remaining, |r| {
            let weight = if r.mean_square < remaining * remaining { 0.1 } else { 0.2 };
            r.mean_square + weight * (remaining * remaining - r.mean_square)
        });
        self.reference = Some(Reference {
            source: best,
            stratum: sample.stratum.below(),
            leap,
            root_delay: sample.root_delay + sample.delay,
            root_dispersion: sample.root_dispersion + sample.dispersion + duration(self.sigma),
            at: now,
            interval,
            last_offset: remaining,
            mean_square,
            residual,
        });
    }

    fn set_status(&mut self, now: Instant, status: Status) {
        if self.status != status {
            self.status = status;
            self.status_since = now;
        }
    }

    /// Seconds to add to the clock to bring it onto the line.
    fn remaining(&self, now: Instant) -> f64 {
        self.line.ahead_of(self.course.at(now), now)
    }

    fn slew_rate(&self) -> f64 {
        (self.course.rate.ratio() - self.line.frequency().ratio()).abs()
    }

    fn decide(&mut self, now: Instant, correction: Option<Correction>) -> Decision {
        if self.status == Status::Unsynchronised && !self.line_bound.is_known() {
            // Nothing better is known than the clock itself.
            self.line = Line::new(now, self.course.at(now), self.line.frequency());
        }
        self.restate_line_bound(now);
        let adjustment = correction.map(|correction| Adjustment { correction, announcement: self.announcement(now, &correction) });
        if let Some(adjustment) = &adjustment {
            self.announced = Some((now, adjustment.announcement.max_error));
        }
        let grace = self.first_sample.map(|first| first + GRACE).filter(|&end| end > now);
        let silence = self.suspected.map(|since| since + GRACE);
        let next = [self.course.until, grace, silence].into_iter().flatten().min();
        Decision { adjustment, ask: std::mem::take(&mut self.ask), next }
    }
}
