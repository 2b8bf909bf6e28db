//! Who told a guest the truth, and what it cannot know yet: the measure that its bounds are held against.
//!
//! *Truthful* is a sample whose claim holds the truth, and whose source was right within its own: the source is off by no
//! more than it vouches for (root delay/2 + root dispersion; a device its stated error and precision), and the sample
//! by no more than that, the dispersion and half the true delay; a reading's noise counts seven sigma, and a leap second
//! announced must be one. A source is *sound* while all samples since its estimate began were truthful and it neither
//! jumped nor changed its rate; one that did otherwise becomes sound again when a truthful sample leaves the truth within the
//! agent's estimate of it. That the sample of a source which itself is right within its claims is truthful is checked too.
//!
//! *Judged* is a guest from an update of its line on at which more than half of those that voted were sound, until an
//! update at which they were not. Candidates vote (those that are reachable, synchronised, near and calm enough, and not
//! `noselect`); where one of them has `trust`, only those vote.
//!
//! What happens to the timebase without a signal is a *surprise*: a pause that nobody tells of, and every change of the
//! frequency within a second that is no part of the oscillator's own wander, temperature or ageing. The bounds may be exceeded
//! by what the surprise made of the phase since (pause + change times age) and no more, until more than half of the voters
//! each had a truthful sample, begun after the surprise, that could show it: in which that effect exceeded
//! the sample's whole claim and what was left open by those before; a source that had none counts as sound only as long as
//! the truth is within its old claim. Where the user asks for more (`minsources`, `require`), those
//! must agree as well. A signal from a device ends it at once.

use std::fmt::Write as _;

use crate::agent::DisruptionKind;
use crate::core::{Sample, SourceId, SourceState};
use crate::sim::World;
use crate::sim::action::Action;
use crate::sim::machine::Machine;
use crate::sim::outside::Place;
use crate::sim::scenario::Guest;
use crate::units::{Instant, Leap, Offset, Timescale};

/// Rounding of timestamps, and what the counter's own changes make of the time since a sample.
const ROUNDING: f64 = 5e-9;
const CHANGES: f64 = 1e-7;
/// A reading's noise is no lie within so many sigma.
const SIGMAS: f64 = 7.0;
/// After something changed, what is still under way is not checked, seconds.
const UNDER_WAY: f64 = 10.0;
/// So long before a leap second labels cease to be clear, seconds.
const AMBIGUOUS: f64 = 2.0;
/// TAI minus UTC.
const TAI: f64 = 37.0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Device(usize),
    Asked(Place),
}

#[derive(Clone, Debug)]
struct Source {
    id: SourceId,
    who: Option<Who>,
    heard: Option<Instant>,
    /// Where its last truthful sample began.
    fresh: Instant,
    /// When its first sample since the agent forgot its phase was taken, seconds of true time.
    since: f64,
    sound: bool,
    /// Half the width of the agent's estimate at the last look, seconds.
    open: f64,
}

#[derive(Clone, Debug)]
struct Surprise {
    /// Seconds of true time: when it happened at the earliest, and at the latest.
    at: f64,
    latest: f64,
    /// The counter then.
    raw: Instant,
    phase: f64,
    slope: f64,
    clocksource: bool,
    /// The majority of those that voted last has not shown it yet.
    pending: bool,
    shown_by: Vec<SourceId>,
}

impl Surprise {
    /// What it made of the phase since, seconds.
    fn effect(&self, now: f64) -> f64 {
        self.phase.abs() + self.slope.abs() * (now - self.at).max(0.0)
    }
}

impl Surprise {
    /// What a source shows of it that has been followed since a time.
    fn seen(&self, since: f64, now: f64) -> f64 {
        self.phase.abs() + self.slope.abs() * (now - self.latest.max(since)).max(0.0)
    }
}

/// The truth about one guest.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    sources: Vec<Source>,
    surprises: Vec<Surprise>,
    /// Which of the devices keep TAI.
    tai: Vec<bool>,
    frequency: f64,
    /// The most that the frequency changes in a second by itself.
    tame: f64,
    updated: Option<Instant>,
    judged: bool,
    /// Since when it is judged and nothing surprised it.
    sure: f64,
    /// Somebody moved its clock, and it has not woken up since.
    meddled: bool,
    /// When something last happened to its timebase, and the counter when it last stood still.
    disturbed: f64,
    paused: Option<Instant>,
    declared: u64,
    clocksources: u64,
    leaped: bool,
    looked: Instant,
    pub(super) samples: u64,
    pub(super) lies: u64,
}

/// One that took or could have taken part in the vote.
struct Voter {
    id: SourceId,
    trust: bool,
}

impl Witness {
    pub(super) fn new(guest: &Guest) -> Self {
        let o = &guest.oscillator;
        let sines: f64 = o.sines.iter().map(|s| s.amplitude * std::f64::consts::TAU / s.period).sum();
        let ramps: f64 = o.ramps.iter().map(|r| (r.by / (r.until - r.from)).abs()).sum();
        Self {
            sources: Vec::new(),
            surprises: Vec::new(),
            tai: guest.config.refclocks.iter().map(|r| r.timescale == Some(Timescale::Tai)).collect(),
            frequency: f64::NAN,
            tame: 8.0 * o.wander + (sines + ramps + o.aging.abs()) * 1.01 + 1e-13,
            updated: None,
            judged: false,
            sure: f64::INFINITY,
            meddled: false,
            disturbed: f64::NEG_INFINITY,
            paused: None,
            declared: 0,
            clocksources: 0,
            leaped: false,
            looked: Instant::ZERO,
            samples: 0,
            lies: 0,
        }
    }

    /// Whether its bounds are held against the truth.
    pub(super) const fn is_judged(&self) -> bool {
        self.judged
    }

    /// Whether it can know where its clock is.
    pub(super) const fn knows_its_clock(&self) -> bool {
        !self.meddled
    }

    /// Whether all that it serves must be true.
    pub(super) fn is_sure(&self, now: f64) -> bool {
        now - self.sure > UNDER_WAY
    }

    /// By how much its bounds may be exceeded, seconds.
    pub(super) fn allowance(&self, now: f64) -> f64 {
        self.surprises.iter().filter(|s| s.pending).map(|s| s.effect(now)).sum()
    }

    fn is_surprised(&self) -> bool {
        self.surprises.iter().any(|s| s.pending)
    }

    pub(super) const fn wake(&mut self) {
        self.meddled = false;
    }

    /// Something happened between two times, and nobody said so.
    fn surprise(&mut self, machine: &Machine, (at, latest): (f64, f64), phase: f64, slope: f64, clocksource: bool) {
        // That the phase jumped shows at once, that the rate did only with time.
        for (phase, slope) in [(phase, 0.0), (0.0, slope)] {
            if phase.abs() > 0.0 || slope.abs() > 0.0 {
                self.surprises.push(Surprise {
                    at,
                    latest,
                    raw: machine.now(),
                    phase,
                    slope,
                    clocksource,
                    pending: true,
                    shown_by: Vec::new(),
                });
            }
        }
        self.disturbed = self.disturbed.max(latest);
    }

    /// An action happened to it.
    pub(super) fn suffer(&mut self, world: &World, guest: usize, action: &Action) {
        let machine = world.guest(guest);
        let now = world.seconds();
        let frequency = machine.counter.frequency();
        let slope = frequency - self.frequency;
        match *action {
            Action::StepClock { .. } | Action::TuneClock { .. } => self.meddled = true,
            Action::Retune { .. } => self.surprise(machine, (now, now), 0.0, slope, false),
            Action::Clocksource { .. } => self.surprise(machine, (now, now), 0.0, slope, true),
            // Nobody is suspended who stands still.
            Action::Suspend { .. } if now < self.disturbed => {}
            Action::Suspend { away, .. } => {
                self.meddled = true;
                self.paused = Some(machine.now());
                self.disturbed = now + away.as_secs_f64();
                // It forgets all phases: another rate shows only in what follows.
                self.sources.iter_mut().for_each(|s| s.since = f64::INFINITY);
            }
            Action::Restore { away, .. } | Action::Migrate { away, .. } => {
                let away = away.as_secs_f64();
                self.paused = Some(machine.now());
                self.surprise(machine, (now + away, now + away), away, slope, false);
            }
            Action::MisleadPhc { phc, .. } | Action::DriftPhc { phc, .. } => self.distrust_device(phc),
            _ => {}
        }
        self.frequency = frequency;
    }

    /// A second is over.
    pub(super) fn look(&mut self, world: &World, guest: usize) {
        let machine = world.guest(guest);
        let now = world.seconds();
        let frequency = machine.counter.frequency();
        if (frequency - self.frequency).abs() > self.tame {
            self.surprise(machine, (now - 1.0, now), 0.0, frequency - self.frequency, false);
        }
        self.frequency = frequency;
        let calendar = &world.outside.calendar;
        if !calendar.is_clear(world.outside.now) && !self.leaped {
            // Whether it leaps depends on what it was told; if it does not, it cannot know before it has asked again.
            self.leaped = true;
            self.surprise(machine, (now + AMBIGUOUS, now + AMBIGUOUS), 1.0, 0.0, false);
            if let Some(leap) = self.surprises.last_mut() {
                leap.raw = leap.raw + Offset::from_seconds(AMBIGUOUS);
            }
        }
        if let Some(leap) = world.outside.calendar.bent(self.looked, world.outside.now) {
            let rate = 1.0 / world.outside.calendar.smear();
            self.surprise(machine, (leap.since(Instant::ZERO).seconds(), now), 0.0, rate, false);
        }
        self.looked = world.outside.now;
        if self.leaped && machine.agent().core().leaped().is_some() {
            self.surprises.retain(|s| s.slope.abs() > 0.0 || (s.phase - 1.0).abs() > 0.0);
        }
        if !self.surprises.is_empty() {
            let core = machine.agent().core();
            for source in &mut self.sources {
                source.open = core.source(source.id, machine.now()).map_or(f64::INFINITY, |view| view.distance);
            }
        }
        if !self.judged || self.is_surprised() || !machine.is_awake() {
            self.sure = f64::INFINITY;
        } else if self.sure == f64::INFINITY {
            self.sure = now;
        }
    }

    /// It was told something. `sure` are the guests whose service must be true, `changed` is when an action happened to
    /// each server.
    pub(super) fn hear(&mut self, world: &World, guest: usize, sure: &[bool], changed: &[f64]) -> Result<(), String> {
        let machine = world.guest(guest);
        let agent = machine.agent();
        let totals = agent.totals();
        // A machine that slept is the same machine: what nobody told of it is still unknown.
        let moved = agent.disruption().filter(|event| event.kind != DisruptionKind::Suspend);
        let declared = moved.map_or(self.declared, |event| event.number);
        if declared != self.declared {
            self.declared = declared;
            self.surprises.clear();
            self.sources.iter_mut().for_each(|s| s.since = f64::INFINITY);
        }
        if totals.clocksource_changes != self.clocksources {
            self.clocksources = totals.clocksource_changes;
            self.surprises.retain(|s| !s.clocksource);
        }
        let known: Vec<SourceId> = agent.states().map(|(id, ..)| id).collect();
        self.sources.retain(|s| known.contains(&s.id));
        for id in known {
            if self.sources.iter().any(|s| s.id == id) {
                continue;
            }
            let who = agent.server(id).map_or_else(
                || usize::try_from(id.0).ok().filter(|&i| i < machine.devices.len()).map(Who::Device),
                |address| Place::of(address.ip()).map(Who::Asked),
            );
            self.sources.push(Source {
                id,
                who,
                heard: None,
                fresh: Instant::ZERO,
                since: f64::INFINITY,
                sound: false,
                open: f64::INFINITY,
            });
        }
        for i in 0..self.sources.len() {
            let last = agent.core().last_sample(self.sources[i].id);
            let Some(sample) = last.filter(|last| Some(last.at) != self.sources[i].heard) else { continue };
            self.sources[i].heard = Some(sample.at);
            self.samples += 1;
            self.weigh(world, machine, i, sample, sure, changed)?;
        }
        let voters = voters(machine);
        // Fewer than the user asks for are no majority.
        let enough = !agent.states().any(|(.., state)| matches!(state, SourceState::TooFew | SourceState::Untrusted));
        let honest: Vec<SourceId> = self.sources.iter().filter(|s| self.is_honest(world, machine, s)).map(|s| s.id).collect();
        for surprise in &mut self.surprises {
            let shown = voters.iter().filter(|v| surprise.shown_by.contains(&v.id) && honest.contains(&v.id)).count();
            surprise.pending = !enough || 2 * shown <= voters.len();
        }
        // What everybody has shown is no surprise any more.
        let ids: Vec<SourceId> = self.sources.iter().map(|s| s.id).collect();
        self.surprises.retain(|s| s.pending || !ids.iter().all(|id| s.shown_by.contains(id)));
        let updated = agent.core().reference().map(|r| r.at);
        if updated != self.updated {
            self.updated = updated;
            self.judged = 2 * voters.iter().filter(|v| honest.contains(&v.id)).count() > voters.len();
        }
        if !self.judged || self.is_surprised() {
            self.sure = f64::INFINITY;
        }
        Ok(())
    }

    /// Whether its claim is honest now: one from before a surprise is only as long as the truth is in it.
    fn is_honest(&self, world: &World, machine: &Machine, source: &Source) -> bool {
        let stale = self.surprises.iter().any(|s| source.fresh < s.raw);
        source.sound && (!stale || holds_truth(world, machine, source.id))
    }

    fn weigh(&mut self, world: &World, machine: &Machine, i: usize, sample: &Sample, sure: &[bool], changed: &[f64]) -> Result<(), String> {
        let now = world.outside.now;
        let source = &self.sources[i];
        let rate = 1.0 + machine.counter.frequency();
        let age = machine.now().since(sample.at).seconds() / rate;
        let taken = now + Offset::from_seconds(-age);
        let delay = sample.delay.as_secs_f64() / rate;
        let error = sample.reference.since(world.outside.calendar.truth(taken)).seconds();
        let noise = match source.who {
            Some(Who::Device(d)) => SIGMAS * machine.devices[d].phc.noise,
            _ => 0.0,
        };
        let root = sample.root_delay.as_secs_f64() / 2.0 + sample.root_dispersion.as_secs_f64();
        let half = delay / 2.0 + sample.dispersion.as_secs_f64() + root + noise + ROUNDING + CHANGES * age.abs();
        let began = sample.at - sample.delay / 2;
        let straddles = self.paused.is_some_and(|raw| began <= raw);
        let false_leap = matches!(sample.leap, Leap::Insert | Leap::Delete) && world.outside.calendar.makes(taken) != sample.leap;
        // Who keeps UTC announces what a smeared truth does not make: that is right of it, and no help.
        let of_utc = false_leap && world.outside.calendar.announced(taken) == sample.leap;
        let own = self.own_error(world, machine, source.who, sample, taken);
        let truthful = error.abs() <= half && own && !straddles && !false_leap;
        let steady = is_steady(world, source.who);
        self.lies += u64::from(!truthful);
        let undisturbed = world.seconds() - self.disturbed > UNDER_WAY && world.outside.calendar.is_clear(now);
        // To whom it asks too a machine says what it knows without it: on fewer witnesses.
        if !truthful && !of_utc && undisturbed && !sample.asks_us && must_be_true(world, machine, source.who, &self.tai, sure, changed) {
            return Err(format!(
                "a source that is right gave a sample off by {error:+.9e} s, which claims {half:.9e} s: {sample:?} (itself right: {own}, across a pause: {straddles}, false leap: {false_leap})"
            ));
        }
        let view = machine.agent().core().source(source.id, machine.now());
        let Some(view) = view else { return Ok(()) };
        let holds = holds_truth(world, machine, self.sources[i].id);
        let source = &mut self.sources[i];
        source.sound = truthful && steady && (source.sound || holds);
        let (id, open) = (source.id, source.open);
        source.open = view.distance;
        if truthful {
            source.fresh = began;
            let at = taken.since(Instant::ZERO).seconds();
            source.since = source.since.min(at);
            let since = source.since;
            for surprise in self.surprises.iter_mut().filter(|s| began >= s.raw && !s.shown_by.contains(&id)) {
                if surprise.seen(since, at) > 2.0 * half + open {
                    surprise.shown_by.push(id);
                }
            }
        }
        Ok(())
    }

    /// Whether the source itself was right within what it claims, without the path.
    fn own_error(&self, world: &World, machine: &Machine, who: Option<Who>, sample: &Sample, taken: Instant) -> bool {
        let calendar = &world.outside.calendar;
        let root = sample.root_delay.as_secs_f64() / 2.0 + sample.root_dispersion.as_secs_f64() + ROUNDING;
        match who {
            Some(Who::Device(d)) => {
                let tai = if self.tai.get(d) == Some(&true) { TAI } else { 0.0 };
                (machine.devices[d].error(taken).seconds() - tai).abs() <= sample.dispersion.as_secs_f64() + ROUNDING
            }
            Some(Who::Asked(Place::Server(i))) => world.outside.hosts[i].ahead(calendar, taken).seconds().abs() <= root,
            Some(Who::Asked(Place::Guest(i))) => world.guest(i).line_error().abs() <= root,
            None => false,
        }
    }

    /// A source that it asks, or a clock that it reads, jumped or changed its rate: whatever its samples were, it is
    /// sound again when the agent's estimate has followed it.
    pub(super) fn distrust_server(&mut self, server: usize) {
        self.sources.iter_mut().filter(|s| s.who == Some(Who::Asked(Place::Server(server)))).for_each(|s| s.sound = false);
    }

    /// The same of a device.
    fn distrust_device(&mut self, device: usize) {
        self.sources.iter_mut().filter(|s| s.who == Some(Who::Device(device))).for_each(|s| s.sound = false);
    }

    /// The sources in words.
    pub(super) fn describe(&self, world: &World, guest: usize) -> Vec<String> {
        let machine = world.guest(guest);
        let core = machine.agent().core();
        let now = machine.now();
        let truth = ahead_of_course(world, machine);
        let mut words = vec![format!(
            "line {:+.3e} s off, clock {:+.3e} s, {:?}, line bound {:?}, course {:?}, sigma {:.2e}, skew {:.2e}, counter {:+.3e}",
            machine.line_error(),
            machine.clock_error(),
            core.status().0,
            core.line_bound(),
            core.course(),
            core.sigma(),
            core.skew().ratio(),
            machine.counter.frequency(),
        )];
        for source in &self.sources {
            let mut line = format!("{} {:?}", source.id.0, source.who);
            if let Some(view) = core.source(source.id, now) {
                let (low, high) = view.interval;
                let _ = write!(
                    line,
                    " {:?}: truth within {:+.3e}..{:+.3e}, middle {:+.3e}, sound {}, heard {:.3} s ago, frequency {:+.3e} +- {:.1e}, jitter {:.1e}, n {}",
                    view.state,
                    low - truth,
                    high - truth,
                    view.offset - truth,
                    source.sound,
                    source.heard.map_or(f64::NAN, |at| now.since(at).seconds()),
                    view.frequency.0.ratio() - (1.0 / (1.0 + machine.counter.frequency()) - 1.0),
                    view.frequency.1.ratio(),
                    view.jitter,
                    view.statistics.0,
                );
                if let Some(s) = view.last {
                    let _ =
                        write!(line, ", delay {:?} dispersion {:?} root {:?}/{:?}", s.delay, s.dispersion, s.root_delay, s.root_dispersion);
                }
            }
            words.push(line);
        }
        for s in &self.surprises {
            words.push(format!(
                "surprise at {:.3}: {:+.3e} s, {:+.3e}, pending {}, shown by {:?}",
                s.at, s.phase, s.slope, s.pending, s.shown_by
            ));
        }
        words
    }
}

/// How far the truth is ahead of the clock's course as the agent knows it, seconds.
fn ahead_of_course(world: &World, machine: &Machine) -> f64 {
    world.outside.calendar.truth(world.outside.now).since(machine.agent().core().course().at(machine.now())).seconds()
}

/// Whether a guest that serves runs at the rate that it promises: it may just be learning a new one.
fn is_steady(world: &World, who: Option<Who>) -> bool {
    let Some(Who::Asked(Place::Guest(i))) = who else { return true };
    let other = world.guest(i);
    let core = other.agent().core();
    let rate = (1.0 + core.line().frequency().ratio()) * (1.0 + other.counter.frequency()) - 1.0;
    rate.abs() <= core.line_bound().growth.ratio() + CHANGES
}

/// Whether the agent's estimate of a source leaves room for the truth.
fn holds_truth(world: &World, machine: &Machine, id: SourceId) -> bool {
    let Some(view) = machine.agent().core().source(id, machine.now()) else { return false };
    let truth = ahead_of_course(world, machine);
    view.interval.0 - ROUNDING <= truth && truth <= view.interval.1 + ROUNDING
}

/// Those that vote, even if they come to no majority.
fn voters(machine: &Machine) -> Vec<Voter> {
    use SourceState::{Combined, Falseticker, NoMajority, NotPreferred, Outclassed, Selected, TooFew, Untrusted};
    let core = machine.agent().core();
    let now = machine.now();
    let mut voters = Vec::new();
    for (id, _, state) in machine.agent().states() {
        if matches!(state, Combined | Falseticker | NoMajority | NotPreferred | Outclassed | Selected | TooFew | Untrusted) {
            voters.push(Voter { id, trust: core.source(id, now).is_some_and(|view| view.options.trust) });
        }
    }
    if voters.iter().any(|v| v.trust) {
        voters.retain(|v| v.trust);
    }
    voters
}

/// Whether a source is right within its own claims, and was when it was asked.
fn must_be_true(world: &World, machine: &Machine, who: Option<Who>, tai: &[bool], sure: &[bool], changed: &[f64]) -> bool {
    let now = world.outside.now;
    match who {
        Some(Who::Device(d)) => {
            let device = &machine.devices[d];
            let steady = now.since(device.changed()).seconds() > UNDER_WAY;
            let error = device.error(now).seconds() - if tai.get(d) == Some(&true) { TAI } else { 0.0 };
            steady && error.abs() <= device.phc.max_error.as_secs_f64()
        }
        Some(Who::Asked(Place::Server(i))) => {
            let host = &world.outside.hosts[i];
            let claimed = host.server.root_delay / 2 + host.server.root_dispersion;
            let steady = world.seconds() - changed[i] > UNDER_WAY;
            steady
                && matches!(host.server.leap, Leap::Normal | Leap::Unsynchronised)
                && [now, now + Offset::from_seconds(-UNDER_WAY)]
                    .iter()
                    .all(|&then| host.ahead(&world.outside.calendar, then).abs() <= claimed)
        }
        Some(Who::Asked(Place::Guest(i))) => sure.get(i).is_some_and(|&sure| sure),
        None => false,
    }
}
