//! What must hold for every guest, after all that it is told and at every second.

use super::Summary;
use super::witness::Witness;
use crate::agent::{Agent, Output, Surroundings, Totals};
use crate::clock::Clock;
use crate::core::{Adjustment, Core, Correction, SourceState, Status};
use crate::sim::World;
use crate::sim::machine::{Machine, Promise};
use crate::sim::scenario::Guest;
use crate::units::{Bound, Instant, Leap, Offset, Stratum, count};

/// The kernel lets its own bound grow at this rate.
const KERNEL_GROWTH: f64 = 500e-6;
/// Errors are known to so much.
const ROUNDING: f64 = 2e-9;
/// A rounded duration may make a slew as much faster.
const SLEW_ROUNDING: f64 = 1e-6;
/// The whole report is read once in so many seconds.
const REPORT: u64 = 16;
/// Wake-ups in a second that nobody has to explain.
const WAKEUPS: f64 = 20.0;

/// What was seen of one guest.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    makestep: Option<(f64, Option<u32>)>,
    max_slew: f64,
    max_drift: f64,
    /// Wake-ups that its sources can ask for in a second.
    wakeups: f64,
    decided: u64,
    totals: Totals,
    /// The last disruption that explained a step.
    explained: u64,
    /// Updates of the line so far.
    updates: u32,
    updated: Option<Instant>,
    /// When the kernel was told something.
    announced: Instant,
    looks: u64,
}

impl Watch {
    pub(super) fn new(guest: &Guest) -> Self {
        let config = &guest.config;
        let readings: f64 = config.refclocks.iter().map(|r| 1.0 / r.dpoll.interval().as_secs_f64()).sum();
        let requests: f64 = config
            .servers
            .iter()
            .map(|s| 3.0 * f64::from(if s.is_pool() { s.max_sources } else { 1 }) / s.min_poll.interval().as_secs_f64().min(2.0))
            .sum();
        Self {
            makestep: config.makestep.map(|m| (m.threshold.as_secs_f64(), m.limit)),
            max_slew: config.max_slew_rate.ratio(),
            max_drift: config.max_drift.ratio(),
            wakeups: WAKEUPS + readings + requests,
            decided: 0,
            totals: Totals::default(),
            explained: 0,
            updates: 0,
            updated: None,
            announced: Instant::ZERO,
            looks: 0,
        }
    }

    /// The agent was told something: what it decided must be allowed.
    pub(super) fn decided(&mut self, world: &World, guest: usize) -> Result<(), String> {
        let machine = world.guest(guest);
        let agent = machine.agent();
        let updated = agent.core().reference().map(|r| r.at);
        if updated != self.updated {
            self.updated = updated;
            self.updates += 1;
        }
        let fresh = usize::try_from(machine.decided() - self.decided).unwrap_or(usize::MAX);
        self.decided = machine.decided();
        for (at, output) in machine.decisions().rev().take(fresh) {
            if let Output::Apply(adjustment) = output {
                self.announced = self.announced.max(*at);
                self.allowed(machine, adjustment)?;
            }
        }
        if machine.spins() > 0 {
            return Err(format!("what was due at {:?} stays due at {:?}", agent.next_wake(), machine.now()));
        }
        Ok(())
    }

    fn allowed(&mut self, machine: &Machine, adjustment: &Adjustment) -> Result<(), String> {
        let numbers = adjustment.announcement.max_error.as_secs_f64() + adjustment.announcement.est_error.as_secs_f64();
        if !numbers.is_finite() {
            return Err(format!("no number in {adjustment:?}"));
        }
        match adjustment.correction {
            Correction::Hold => Ok(()),
            Correction::Slew { offset, over, frequency } => {
                let rate = if offset == Offset::ZERO { 0.0 } else { offset.seconds().abs() / over.as_secs_f64() };
                // Offsets and durations are whole nanoseconds.
                let most = self.max_slew * (1.0 + SLEW_ROUNDING) + 1e-9 / over.as_secs_f64();
                if rate.is_nan() || rate > most {
                    return Err(format!("a slew of {rate:e} a second, faster than maxslewrate {:e}: {adjustment:?}", self.max_slew));
                }
                self.believable(frequency.ratio())
            }
            Correction::Step { offset, frequency } => {
                self.may_step(machine, offset)?;
                self.believable(frequency.ratio())
            }
        }
    }

    fn believable(&self, frequency: f64) -> Result<(), String> {
        if frequency.abs() <= self.max_drift * (1.0 + 1e-9) {
            Ok(())
        } else {
            Err(format!("the frequency {frequency:e} exceeds maxdrift {:e}", self.max_drift))
        }
    }

    /// A step must have its reason.
    fn may_step(&mut self, machine: &Machine, offset: Offset) -> Result<(), String> {
        let totals = *machine.agent().totals();
        let size = offset.seconds().abs();
        let disruptions = machine.agent().disruption().map_or(0, |event| event.number);
        let foreign = totals.foreign_steps > self.totals.foreign_steps;
        let disrupted = disruptions > self.explained;
        let leaped = machine.agent().core().leaped().is_some_and(|at| machine.now().since(at).seconds().abs() < 3.0);
        // Each disruption makes one update that does not count.
        let updates = f64::from(self.updates) - count(disruptions);
        let makestep =
            self.makestep.is_some_and(|(threshold, limit)| size > threshold && limit.is_none_or(|limit| updates <= f64::from(limit)));
        if makestep || foreign || leaped {
            return Ok(());
        }
        if disrupted {
            self.explained = disruptions;
            return Ok(());
        }
        Err(format!("a step of {} s that nothing allows, after {} updates", offset.seconds(), self.updates))
    }

    /// A second is over.
    pub(super) fn look(&mut self, world: &World, guest: usize, witness: &Witness, summary: &mut Summary) -> Result<(), String> {
        let machine = world.guest(guest);
        summary.seconds += 1;
        self.looks += 1;
        let totals = *machine.agent().totals();
        let woken = totals.wakeups - self.totals.wakeups;
        self.totals = totals;
        if count(woken) > self.wakeups {
            return Err(format!("{woken} wake-ups in a second, where {} are plenty", self.wakeups));
        }
        if !machine.is_awake() {
            return Ok(());
        }
        self.numbers(machine)?;
        self.state(machine)?;
        if self.looks % REPORT == 0 {
            report(machine)?;
        }
        self.bounds(world, machine, witness, summary)
    }

    fn bounds(&self, world: &World, machine: &Machine, witness: &Witness, summary: &mut Summary) -> Result<(), String> {
        if !world.outside.calendar.is_clear(world.outside.now) {
            return Ok(());
        }
        let now = machine.now();
        let core = machine.agent().core();
        let (line, clock) = core.bounds(now);
        if !line.is_known() {
            summary.unknown += 1;
            return Ok(());
        }
        if !witness.is_judged() {
            return Ok(());
        }
        summary.judged += 1;
        let more = witness.allowance(world.seconds()) + ROUNDING;
        let (line, clock) =
            (Promise::of(&line).at(now).min(machine.promises().0.at(now)), Promise::of(&clock).at(now).min(machine.promises().1.at(now)));
        within("the line", machine.line_error(), line, more)?;
        if !witness.knows_its_clock() {
            return Ok(());
        }
        within("the clock", machine.clock_error(), clock, more)?;
        if let Some(told) = machine.clock().announced().filter(|told| told.synchronised) {
            let kernel = told.max_error.as_secs_f64() + KERNEL_GROWTH * now.since(self.announced).seconds();
            within("the kernel's clock", machine.clock_error(), kernel, more)?;
        }
        Ok(())
    }

    /// Nothing published is infinite or no number, and no frequency beyond what is believed.
    fn numbers(&self, machine: &Machine) -> Result<(), String> {
        let core = machine.agent().core();
        let (line, clock) = core.bounds(machine.now());
        let published = machine.agent().published();
        let growths = [line.growth, clock.growth, published.line.growth, published.clock.growth, published.snapshot.bound.growth];
        let ahead = core.line().ahead_of(machine.clock().course().at(machine.now()), machine.now());
        let numbers = growths.iter().map(|g| g.ratio()).chain([core.line().frequency().ratio(), ahead, core.skew().ratio()]);
        if let Some(wrong) = numbers.into_iter().find(|n| !n.is_finite()) {
            return Err(format!("{wrong} is published: {published:?}"));
        }
        if core.status().0 == Status::Synchronised && !(core.sigma().is_finite() && core.sigma() >= 0.0) {
            return Err(format!("sigma is {} while synchronised", core.sigma()));
        }
        self.believable(core.line().frequency().ratio())
    }

    /// What is published is so.
    fn state(&self, machine: &Machine) -> Result<(), String> {
        let agent = machine.agent();
        let core = agent.core();
        let (status, _) = core.status();
        let published = agent.published();
        if (published.status, published.line, published.course) != (status, core.line_bound(), *core.course()) {
            return Err(format!("published is {published:?}, but {status:?}, {:?}, {:?} is true", core.line_bound(), core.course()));
        }
        if machine.clock().course() != *core.course() {
            return Err(format!("the agent believes the clock on {:?}, which is on {:?}", core.course(), machine.clock().course()));
        }
        let trusted = status.keeps_time();
        let served = (published.snapshot.leap != Leap::Unsynchronised, published.snapshot.stratum < Stratum::UNSYNCHRONISED);
        let handed_on = is_handed_on(core);
        if served != (handed_on, handed_on) || published.selected.is_some() != trusted {
            return Err(format!("{status:?}, but {:?} of stratum {:?} is served", published.snapshot.leap, published.snapshot.stratum));
        }
        if trusted && published.line == Bound::UNKNOWN {
            return Err(format!("{status:?} without a bound"));
        }
        if machine.clock().announced().is_some_and(|told| told.synchronised) != trusted {
            return Err(format!("{status:?}, but the kernel was told {:?}", machine.clock().announced()));
        }
        let selected: Vec<_> = agent.states().filter(|s| s.2 == SourceState::Selected).map(|s| s.0).collect();
        if selected.len() != usize::from(status == Status::Synchronised) {
            return Err(format!("{status:?} with {selected:?} selected"));
        }
        if status == Status::Synchronised && published.selected != selected.first().copied() {
            return Err(format!("{:?} is published, {selected:?} selected", published.selected));
        }
        Ok(())
    }
}

fn within(what: &str, error: f64, bound: f64, more: f64) -> Result<(), String> {
    if error.abs() <= bound + more {
        return Ok(());
    }
    Err(format!("{what} is off by {error:+.6e} s, its bound is {bound:.6e} s (and {more:.1e} s allowed)"))
}

/// Time of the last stratum is followed, but not handed on.
fn is_handed_on(core: &Core) -> bool {
    core.status().0.keeps_time() && core.reference().is_some_and(|r| r.stratum < Stratum::UNSYNCHRONISED)
}

/// What people are shown is what the agent is.
fn report(machine: &Machine) -> Result<(), String> {
    let agent: &Agent = machine.agent();
    let report = agent.report(machine.now(), &Surroundings { clock_kind: "simulated", ..Surroundings::default() });
    let t = &report.tracking;
    let (status, _) = agent.core().status();
    let mut numbers = vec![
        report.time,
        t.status_since,
        t.reference_time,
        t.system_offset,
        t.last_offset,
        t.rms_offset,
        t.frequency_ppm,
        t.residual_frequency_ppm,
        t.skew_ppm,
        t.root_delay,
        t.root_dispersion,
        t.update_interval,
        t.slewing_ppm,
        t.line.error.unwrap_or(0.0),
        t.line.growth_ppm,
        t.clock.error.unwrap_or(0.0),
        t.clock.growth_ppm,
    ];
    for s in &report.sources {
        let interval = s.interval.unwrap_or_default();
        let age = s.last_sample_age.unwrap_or(0.0);
        numbers.extend([age, s.last_offset, s.measured_offset, s.last_error, s.root_distance, interval.0, interval.1, s.score, s.offset]);
        numbers.extend([s.offset_sigma, s.delay, s.jitter, s.span, s.frequency_ppm, s.skew_ppm]);
        if age < -1e-6 || s.received > s.sent || s.offset_sigma < 0.0 || s.root_distance < 0.0 {
            return Err(format!("a source cannot be so: {s:?}"));
        }
    }
    if let Some(wrong) = numbers.iter().find(|n| !n.is_finite()) {
        return Err(format!("{wrong} is reported: {t:?} {:?}", report.sources));
    }
    let (trusted, served) = (status.keeps_time(), is_handed_on(agent.core()));
    if t.status != status.as_str() || (t.stratum > 0) != served || (t.leap != Leap::Unsynchronised.as_str()) != served {
        return Err(format!("{status:?}, but reported is {t:?}"));
    }
    let marked = report.sources.iter().filter(|s| s.mark == '*').count();
    // In hold-over it says whom it followed last.
    if marked != usize::from(status == Status::Synchronised) || trusted == t.reference_name.is_empty() {
        return Err(format!("{status:?} with {marked} sources marked, following {:?}", t.reference_name));
    }
    Ok(())
}
