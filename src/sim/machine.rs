//! A guest as it runs: the executor of the agent in virtual time.
//!
//! It sees only its counter, its clock, its packets and its devices, and does with the agent's outputs what
//! `run/executor.rs` does on a real machine.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::Chance;
use super::calendar::Calendar;
use super::decisions::Decisions;
use super::network::{Path, Road};
use super::oscillator::Counter;
use super::outside::{Flight, FlightPlan, Happening, NEVER, Outside, Place};
use super::phc::{Begun, Device};
use super::scenario::{Guest, Steal};
use super::statistics::{Look, Reach, Statistics};
use super::usefulness::Journeys;
use crate::agent::{Agent, Input, NameId, Output, Setup};
use crate::clock::{Clock, Simulated, Timebase};
use crate::config::RefclockKind;
use crate::core::{ReadError, Signal, SourceId};
use crate::ntp::{Reply, Request, Responder, Token, Verdict};
use crate::units::{Bound, Instant, Offset, Ppm};
use crate::wire::ntp::{HEADER_LEN, Header};

/// An event loop that comes later than this has been stalled.
const STALL: Duration = Duration::from_secs(1);
/// How often the kernel's clocksource is looked up.
const CLOCKSOURCE_CHECK: Duration = Duration::from_secs(10);
/// A wake-up that was due, and still is, comes again after this.
const SPIN_GUARD: Duration = Duration::from_millis(10);

/// Whether the guest can know what happened to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awareness {
    /// Nothing happened, or it had its chance.
    Aware,
    /// When it wakes up next.
    Wakes,
    /// When it has read a clock, or heard a server, after this true time.
    Measures(Instant),
}

/// A promise as published, in plain numbers.
#[derive(Clone, Copy, Debug)]
struct Promise {
    as_of: Instant,
    error: f64,
    growth: f64,
}

impl Promise {
    fn of(bound: &Bound) -> Self {
        let error = if bound.is_known() { bound.error.as_secs_f64() } else { f64::INFINITY };
        Self { as_of: bound.as_of, error, growth: bound.growth.ratio().max(0.0) }
    }

    fn at(&self, now: Instant) -> f64 {
        self.error + now.since(self.as_of).seconds().max(0.0) * self.growth
    }
}

/// The truth outside of a bound.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Violation {
    /// Seconds of true time since the start.
    pub at: f64,
    /// The clock's error and its bound, seconds.
    pub clock: (f64, f64),
    /// The line's.
    pub line: (f64, f64),
    /// What the agent decided last, oldest first.
    pub decisions: Vec<String>,
}

/// A guest as it runs.
#[derive(Debug)]
pub struct Machine {
    number: usize,
    calendar: Calendar,
    /// True time of the last look at the counter.
    truth: Instant,
    pub(super) counter: Counter,
    timebase: Timebase,
    clock: Simulated,
    agent: Agent,
    pub(super) devices: Vec<Device>,
    paths: Vec<(Road, Road)>,
    lan: (Road, Road),
    names: Vec<(String, Vec<std::net::IpAddr>)>,
    responder: Responder,
    chance: Chance,
    pub(super) steal: Steal,
    /// Requests whose sockets are open.
    open: Vec<Token>,
    due: Option<Instant>,
    late: Offset,
    pub(super) wake_at: Instant,
    resume_at: Instant,
    /// It has not woken up since it stood still: nobody is promised anything.
    asleep: bool,
    slept: Duration,
    clocksource: (Instant, bool),
    awareness: Awareness,
    promises: (Promise, Promise),
    statistics: Statistics,
    reach: Reach,
    journeys: Journeys,
    decisions: Decisions,
    requests: u64,
    readings: u64,
    spins: u64,
    saved: Option<(Ppm, Ppm)>,
    violation: Option<Box<Violation>>,
}

impl Machine {
    pub(super) fn new(number: usize, guest: &Guest, calendar: Calendar, servers: usize, chance: &mut Chance) -> Self {
        let timebase = Timebase::new(Instant::ZERO);
        let clock = Simulated::new(timebase.clone(), calendar.truth(Instant::ZERO) + guest.clock_error);
        let counter = Counter::new(guest.oscillator.clone(), chance.fork());
        let setup = Setup { watch: true, drift: guest.drift, seed: chance.seed(), ..Setup::from_config(&guest.config, clock.course()) };
        let agent = Agent::new(setup, Instant::ZERO);
        let mut roads = |path: Path| (Road::new(path.up, chance.fork()), Road::new(path.down, chance.fork()));
        let lan = roads(guest.lan);
        let paths = guest.paths.iter().map(|&path| roads(path)).collect();
        let kinds = guest.config.refclocks.iter().map(|r| Some(&r.kind)).chain(std::iter::repeat(None));
        let devices =
            guest.phcs.iter().zip(kinds).map(|(&phc, kind)| Device::new(phc, kind != Some(&RefclockKind::Kvm), chance.fork())).collect();
        let promises = (Promise::of(&agent.published().line), Promise::of(&agent.published().clock));
        Self {
            number,
            calendar,
            truth: Instant::ZERO,
            counter,
            timebase,
            clock,
            agent,
            devices,
            paths,
            lan,
            names: guest.names.clone(),
            responder: Responder::new(),
            chance: chance.fork(),
            steal: guest.steal,
            open: Vec::with_capacity(8),
            due: None,
            late: Offset::ZERO,
            wake_at: NEVER,
            resume_at: Instant::ZERO,
            asleep: false,
            slept: Duration::ZERO,
            clocksource: (Instant::ZERO, false),
            awareness: Awareness::Aware,
            promises,
            statistics: Statistics::default(),
            reach: Reach::new(0.0),
            journeys: Journeys::new(servers),
            decisions: Decisions::new(),
            requests: 0,
            readings: 0,
            spins: 0,
            saved: None,
            violation: None,
        }
    }

    /// Lets true time pass until `now`.
    pub(super) fn advance(&mut self, now: Instant) {
        self.truth = now;
        self.timebase.set(self.counter.advance(now));
    }

    fn tell(&mut self, input: Input<'_>) {
        self.agent.handle(self.timebase.now(), input);
    }

    /// Its wake-up has come.
    pub(super) fn wake(&mut self, outside: &mut Outside) {
        self.advance(outside.now);
        let now = self.timebase.now();
        let due = self.due.unwrap_or(now);
        if now < due {
            // The counter slowed down meanwhile.
            self.plan_wake(outside);
            return;
        }
        self.look_around();
        if now.elapsed_since(self.clocksource.0) >= CLOCKSOURCE_CHECK {
            if std::mem::take(&mut self.clocksource.1) {
                self.tell(Input::Signal(Signal::ClocksourceChanged));
            }
            self.clocksource.0 = now;
        }
        let late = now.elapsed_since(due);
        if late > STALL {
            self.tell(Input::Signal(Signal::Stalled { late }));
        }
        self.tell(Input::Timer);
        self.execute(outside);
    }

    /// What the executor looks at before it tells the agent anything; true if the machine has slept.
    fn look_around(&mut self) -> bool {
        self.asleep = false;
        if self.awareness == Awareness::Wakes {
            self.awareness = Awareness::Aware;
        }
        let slept = std::mem::take(&mut self.slept);
        if slept > Duration::ZERO {
            self.tell(Input::Signal(Signal::Suspended { slept }));
        }
        if let Some(signal) = self.clock.watch() {
            self.tell(Input::Signal(signal));
        }
        slept > Duration::ZERO
    }

    /// Carries out what the agent wants, and plans its next wake-up.
    pub(super) fn execute(&mut self, outside: &mut Outside) {
        let now = self.timebase.now();
        while let Some(output) = self.agent.poll() {
            self.decisions.add(now, &output);
            match output {
                Output::Send { token, to, bytes } => self.send(outside, token, to, &bytes),
                Output::Apply(adjustment) => {
                    let result = self.clock.apply(&adjustment);
                    self.tell(Input::Applied(result));
                }
                Output::Read(source) => self.read(outside, source),
                Output::Close(token) => self.open.retain(|&open| open != token),
                Output::Save { frequency, skew } => self.saved = Some((frequency, skew)),
                Output::Resolve(name) => self.resolve(name),
                Output::Publish => {
                    let published = self.agent.published();
                    self.promises = (Promise::of(&published.line), Promise::of(&published.clock));
                }
                Output::Note(_) => {}
            }
        }
        self.plan_wake(outside);
    }

    fn plan_wake(&mut self, outside: &Outside) {
        let before = self.due;
        self.due = self.agent.next_wake();
        let Some(due) = self.due.filter(|_| self.counter.is_running()) else {
            self.wake_at = NEVER;
            return;
        };
        if due <= self.timebase.now() && before == self.due {
            // Nothing that is due should stay due.
            self.spins += 1;
            self.wake_at = outside.now + SPIN_GUARD;
            return;
        }
        if before != self.due {
            self.late = Offset::from_seconds(self.stolen());
        }
        self.wake_at = self.counter.truth_at(due, outside.now) + self.late;
    }

    /// Seconds for which the host keeps it waiting now.
    fn stolen(&mut self) -> f64 {
        if self.chance.happens(self.steal.probability) { self.chance.exponential(self.steal.mean) } else { 0.0 }
    }

    fn resolve(&mut self, name: NameId) {
        let host = self.agent.host(name).unwrap_or_default();
        let addresses = self.names.iter().find(|(known, _)| known == host).map(|(_, addresses)| addresses.clone()).unwrap_or_default();
        self.tell(Input::Resolved { name, addresses: &addresses });
    }

    fn read(&mut self, outside: &mut Outside, source: SourceId) {
        // Refclocks are added first, so that their ids count from zero.
        let index = usize::try_from(source.0).unwrap_or(usize::MAX);
        let stolen = self.stolen();
        let Some(device) = self.devices.get_mut(index) else {
            let absent = ReadError::Absent { device: format!("simulated clock {index}"), reason: "the scenario has none".to_owned() };
            self.tell(Input::Reading { source, result: Err(absent) });
            return;
        };
        self.readings += 1;
        self.statistics.readings += 1;
        let begun = device.begin(self.timebase.now(), outside.now, stolen);
        outside.schedule(begun.after, Happening::Read { guest: self.number, source, begun });
    }

    /// A reading ends.
    pub(super) fn have_read(&mut self, outside: &mut Outside, source: SourceId, mut begun: Begun) {
        if !self.counter.is_running() {
            // It stood still in the midst of it.
            begun.read = self.resume_at;
            outside.schedule(self.resume_at, Happening::Read { guest: self.number, source, begun });
            return;
        }
        self.advance(outside.now);
        let index = usize::try_from(source.0).unwrap_or(usize::MAX);
        let Some(device) = self.devices.get_mut(index) else { return };
        let result = device.end(&self.calendar, begun, self.timebase.now());
        self.measured(begun.read);
        self.tell(Input::Reading { source, result });
        self.execute(outside);
    }

    fn measured(&mut self, at: Instant) {
        if matches!(self.awareness, Awareness::Measures(since) if at > since) {
            self.awareness = Awareness::Aware;
        }
    }

    fn roads(&mut self, asked: Place) -> Option<&mut (Road, Road)> {
        match asked {
            Place::Server(i) => self.paths.get_mut(i),
            Place::Guest(i) => (i != self.number).then_some(&mut self.lan),
        }
    }

    fn send(&mut self, outside: &mut Outside, token: Token, to: SocketAddr, bytes: &[u8; HEADER_LEN]) {
        self.requests += 1;
        self.statistics.requests += 1;
        self.open.push(token);
        self.tell(Input::Sent { token, at: self.timebase.now() });
        let stolen = self.stolen();
        let Some(asked) = Place::of(to.ip()) else { return };
        let Some((up, _)) = self.roads(asked) else { return };
        let (first, second) = up.travel(outside.now);
        let plan = FlightPlan { token, client: self.number, asked, to, left: outside.now, bytes };
        outside.launch((first.map(|d| d + stolen), second), Happening::Arrive, &plan);
    }

    /// An answer to its request sets out.
    pub(super) fn answered(&mut self, outside: &mut Outside, flight: &Flight, reply: &Reply) {
        let stolen = self.stolen();
        let Some((_, down)) = self.roads(flight.asked) else { return };
        let (first, second) = down.travel(outside.now);
        let Flight { token, client, asked, to, left, .. } = *flight;
        let plan = FlightPlan { token, client, asked, to, left, bytes: reply };
        outside.launch((first.map(|d| d + stolen), second), Happening::Return, &plan);
    }

    /// Its answer in `out` to another guest's request; false if there is none.
    pub(super) fn answer(&mut self, outside: &Outside, from: SocketAddr, request: &[u8], out: &mut Reply) -> bool {
        if self.asleep || !self.counter.is_running() {
            return false;
        }
        self.advance(outside.now);
        let now = self.timebase.now();
        let asked = Request { from, received: now, bytes: request };
        self.responder.reply(&self.agent.published().snapshot, &asked, now, out) == Verdict::Reply
    }

    /// An answer arrives.
    pub(super) fn receive(&mut self, outside: &mut Outside, flight: &Flight) {
        if !self.counter.is_running() || !self.open.contains(&flight.token) {
            return;
        }
        self.advance(outside.now);
        if self.look_around() {
            // The answer slept too: what its stamps say is not to be believed.
            self.execute(outside);
            return;
        }
        if let Ok((header, _)) = Header::parse(&flight.bytes) {
            self.journeys.add(flight.asked, outside.now.since(flight.left).seconds(), &header);
        }
        self.measured(flight.left);
        // As the kernel would: a stamp of the clock, placed on the timebase by the clock's history.
        let received = self.clock.instant_of(self.clock.time());
        let to = Place::Guest(self.number).address();
        self.tell(Input::Datagram { token: flight.token, from: flight.to, to, received, bytes: &flight.bytes });
        self.execute(outside);
    }

    /// Somebody else moves its clock.
    pub(super) fn interfere(&mut self, by: Offset, rate: Ppm) {
        self.clock.interfere(by);
        self.clock.interfere_rate(rate);
        if self.awareness == Awareness::Aware {
            self.awareness = Awareness::Wakes;
        }
    }

    /// Its counter runs at another rate.
    pub(super) fn retune(&mut self, now: Instant, frequency: f64) {
        self.counter.set_frequency(now, frequency);
        self.awareness = Awareness::Measures(now);
    }

    /// Its kernel changed the clocksource, and tells whoever looks.
    pub(super) const fn change_clocksource(&mut self) {
        self.clocksource.1 = true;
    }

    /// It is suspended, and its kernel knows.
    pub(super) fn suspend(&mut self, outside: &mut Outside, away: Duration) {
        // The kernel adds what it slept, by a clock with whole seconds.
        self.clock.interfere(Offset::from_seconds(away.as_secs_f64().round()));
        self.slept += away;
        self.stand_still(outside, away);
    }

    /// It goes to another host, and does not see time pass.
    pub(super) fn leave(&mut self, outside: &mut Outside, away: Duration, frequency: f64) {
        self.counter.set_frequency(outside.now, frequency);
        self.stand_still(outside, away);
        self.awareness = Awareness::Measures(outside.now + away);
    }

    fn stand_still(&mut self, outside: &mut Outside, away: Duration) {
        self.counter.pause(outside.now);
        self.asleep = true;
        self.wake_at = NEVER;
        self.resume_at = self.resume_at.max(outside.now + away);
        outside.schedule(self.resume_at, Happening::Resume(self.number));
    }

    /// It runs again.
    pub(super) fn resume(&mut self, outside: &Outside) {
        if outside.now < self.resume_at {
            return;
        }
        self.counter.resume(outside.now);
        self.advance(outside.now);
        self.plan_wake(outside);
    }

    /// Packets to a server take another way.
    pub(super) fn reroute(&mut self, server: usize, path: Path) {
        self.paths[server].0.reroute(path.up);
        self.paths[server].1.reroute(path.down);
    }

    /// Looks at it, as nobody within could.
    pub(super) fn look(&mut self, now: Instant) {
        self.advance(now);
        if self.asleep || !self.calendar.is_clear(now) {
            return;
        }
        let raw = self.timebase.now();
        let utc = self.calendar.truth(now);
        let fraction = self.counter.at(now).1;
        let offset = self.clock.ahead_of(utc) + fraction;
        let line_offset = self.agent.core().line().ahead_of(utc, raw) + fraction;
        let (line, clock) = self.agent.core().bounds(raw);
        let (line, clock) = (Promise::of(&line).at(raw), Promise::of(&clock).at(raw));
        let look = Look {
            offset,
            frequency: (1.0 + self.clock.rate().ratio()) * (1.0 + self.counter.frequency()) - 1.0,
            bound: clock,
            // What is published may be older; it must hold all the same.
            clock_violated: offset.abs() > clock.min(self.promises.1.at(raw)),
            line_violated: line_offset.abs() > line.min(self.promises.0.at(raw)),
            unaware: self.awareness != Awareness::Aware,
        };
        if (look.clock_violated || look.line_violated) && !look.unaware && self.violation.is_none() {
            self.violation = Some(Box::new(Violation {
                at: now.since(Instant::ZERO).seconds(),
                clock: (offset, clock.min(self.promises.1.at(raw))),
                line: (line_offset, line.min(self.promises.0.at(raw))),
                decisions: self.decisions.last().map(|(at, output)| format!("{at:?} {output:?}")).collect(),
            }));
        }
        self.statistics.add(&look);
        self.reach.add(now.since(Instant::ZERO).seconds(), offset);
    }

    pub(super) fn reset_statistics(&mut self) {
        self.statistics = Statistics::default();
        self.journeys.reset();
    }

    pub(super) const fn restart_reach(&mut self, from: f64) {
        self.reach = Reach::new(from);
    }

    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &Simulated {
        &self.clock
    }

    /// What its counter shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.timebase.now()
    }

    /// How far its clock is ahead of the truth, seconds.
    #[must_use]
    pub fn clock_error(&self) -> f64 {
        self.clock.ahead_of(self.calendar.truth(self.truth)) + self.counter.at(self.truth).1
    }

    /// How fast its counter truly is, as a ratio.
    #[must_use]
    pub const fn frequency(&self) -> f64 {
        self.counter.frequency()
    }

    /// How far its line is ahead of the truth, seconds.
    #[must_use]
    pub fn line_error(&self) -> f64 {
        self.agent.core().line().ahead_of(self.calendar.truth(self.truth), self.now()) + self.counter.at(self.truth).1
    }

    /// False while it stands still, and until it has woken up again.
    #[must_use]
    pub const fn is_awake(&self) -> bool {
        !self.asleep
    }

    /// What was seen since the last reset.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Seconds after which the clock stayed below each of [`LIMITS`](super::LIMITS) for a minute.
    #[must_use]
    pub const fn reached(&self) -> [Option<f64>; 4] {
        self.reach.reached()
    }

    /// Requests sent since the start.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Readings of paravirtual clocks since the start.
    #[must_use]
    pub const fn readings(&self) -> u64 {
        self.readings
    }

    /// Wake-ups that left something due; there should be none.
    #[must_use]
    pub const fn spins(&self) -> u64 {
        self.spins
    }

    /// What the agent last wanted in its drift file.
    #[must_use]
    pub const fn saved(&self) -> Option<(Ppm, Ppm)> {
        self.saved
    }

    /// A digest of all that the agent decided since the start.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.decisions.digest()
    }

    /// The last that the agent decided, oldest first, with the counter's reading.
    pub fn decisions(&self) -> impl Iterator<Item = &(Instant, Output)> {
        self.decisions.last()
    }

    /// The first time that the truth left a bound.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_deref()
    }

    /// The bound that could be asked for: half the round trip and the root distance of the best source, six sigma
    /// of reading noise and 100 ns. A paravirtual clock that is wrong by more is no source. Infinite while nothing was heard since the last reset.
    #[must_use]
    pub fn fair_bound(&self) -> f64 {
        let devices = self.devices.iter().filter(|d| d.readings > 0 && d.tells_time && d.phc.present);
        let reaches = devices.map(|d| (d.error(self.truth).abs().as_secs_f64(), d.reach())).filter(|(error, reach)| error <= reach);
        reaches.map(|(_, reach)| reach).fold(f64::INFINITY, f64::min).min(self.journeys.best()) + 1e-7
    }
}
