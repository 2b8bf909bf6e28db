//! A guest as it runs: the executor of the agent in virtual time.
//!
//! It sees only its counter, its clock, its packets and its devices, and does with the agent's outputs what
//! `run/executor.rs` does on a real machine.

mod view;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Chance;
use super::awareness::{Awareness, bit};
use super::calendar::Calendar;
use super::decisions::Decisions;
use super::network::{Path, Road};
use super::oscillator::Counter;
use super::outside::{Flight, FlightPlan, Happening, NEVER, Outside, Place};
use super::phc::{Begun, Device};
use super::scenario::{Guest, Steal};
use super::statistics::{Reach, Statistics};
use super::usefulness::Journeys;
use crate::agent::{Agent, Input, NameId, Output, Setup};
use crate::clock::{Clock, Simulated, Timebase};
use crate::config::RefclockKind;
use crate::core::{ReadError, Signal, SourceId, SourceState};
use crate::ntp::{Access, Reply, Request, Responder, ServerOptions, Token, Verdict};
use crate::platform::{Cloud, table::timescale_of};
use crate::units::{Instant, Offset, Ppm};
use crate::wire::ntp::Header;
pub(super) use view::Promise;

pub use view::Violation;

/// What a guest remembers of those who ask it.
const CLIENT_MEMORY: usize = 4096;
/// An event loop that comes later than this has been stalled.
const STALL: Duration = Duration::from_secs(1);
/// How often the kernel's clocksource is looked up.
const CLOCKSOURCE_CHECK: Duration = Duration::from_secs(10);
/// A wake-up that was due, and still is, comes again after this.
const SPIN_GUARD: Duration = Duration::from_millis(10);

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
    /// What the kernel knows of the time that the host took: whole ticks of 10 ms.
    stolen_seconds: f64,
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
    looked: Instant,
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
        let mut setup = Setup { watch: true, drift: guest.drift, seed: chance.seed(), ..Setup::from_config(&guest.config, clock.course()) };
        for (server, timescale) in &mut setup.servers {
            // As the set-up of a real machine of no cloud.
            *timescale = timescale_of(&server.name, Cloud::Unknown).unwrap_or(*timescale);
        }
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
            responder: Responder::new(&ServerOptions {
                access: Arc::new(Access::everybody()),
                keys: Arc::default(),
                rate_limit: None,
                client_memory: CLIENT_MEMORY,
                seed: 0,
            }),
            chance: chance.fork(),
            steal: guest.steal,
            stolen_seconds: 0.0,
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
            looked: Instant::ZERO,
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
        self.wake_at = NEVER;
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
        self.awareness.woke();
        let slept = std::mem::take(&mut self.slept);
        if slept > Duration::ZERO {
            self.tell(Input::Signal(Signal::Suspended { slept }));
        }
        let before = self.clock.course();
        if let Some(signal) = self.clock.watch() {
            self.tell(Input::Signal(signal));
        } else if self.clock.course() != before {
            self.tell(Input::Course(self.clock.course()));
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
                // No clock appears that the scenario does not configure.
                Output::Open { .. } => {}
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
            if self.wake_at == NEVER {
                // It has woken up, and nothing that was due should stay due.
                self.spins += 1;
                self.wake_at = outside.now + SPIN_GUARD;
            }
            return;
        }
        if before != self.due {
            self.late = Offset::from_seconds(self.stolen());
        }
        self.wake_at = self.counter.truth_at(due, outside.now) + self.late;
    }

    /// Seconds for which the host keeps it waiting now.
    fn stolen(&mut self) -> f64 {
        let stolen = if self.chance.happens(self.steal.probability) { self.chance.exponential(self.steal.mean) } else { 0.0 };
        self.stolen_seconds += stolen;
        stolen
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
        self.stolen_seconds += begun.after.since(outside.now).seconds() - device.phc.window - stolen;
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
        if result.as_ref().is_ok_and(|reading| self.agent.seems_torn(source, reading)) {
            let seconds = (self.stolen_seconds * 100.0).floor() / 100.0;
            self.tell(Input::Stolen { source, seconds });
        }
        self.awareness.measured(begun.read, bit(63 - index % 16));
        self.tell(Input::Reading { source, result });
        self.execute(outside);
    }

    /// What happened at `since` shows only when most of the sources that answer were measured twice.
    pub(super) fn compare_from(&mut self, since: Instant) {
        let silent = [SourceState::Waiting, SourceState::Unreachable, SourceState::Unsynchronised, SourceState::Noselect];
        let sources = self.agent.states().filter(|(_, _, state)| !silent.contains(state)).count();
        self.awareness = Awareness::comparing(since, sources);
    }

    fn roads(&mut self, asked: Place) -> Option<&mut (Road, Road)> {
        match asked {
            Place::Server(i) => self.paths.get_mut(i),
            Place::Guest(i) => (i != self.number).then_some(&mut self.lan),
        }
    }

    fn send(&mut self, outside: &mut Outside, token: Token, to: SocketAddr, bytes: &[u8]) {
        self.requests += 1;
        self.statistics.requests += 1;
        self.open.push(token);
        self.tell(Input::Sent { token, at: self.timebase.now(), by: crate::ntp::StampedBy::Kernel });
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
        let source = match flight.asked {
            Place::Server(i) => bit(i),
            Place::Guest(i) => bit(32 + i),
        };
        self.awareness.measured(flight.left, source);
        // As the kernel would: a stamp of the clock, placed on the timebase by the clock's history.
        let received = self.clock.instant_of(self.clock.time());
        let to = Place::Guest(self.number).address();
        if self.responder.mark_sibling(flight.to.ip()) {
            self.tell(Input::AskedBy(flight.to.ip()));
        }
        self.tell(Input::Datagram {
            token: flight.token,
            from: flight.to,
            to,
            received,
            by: crate::ntp::StampedBy::Kernel,
            bytes: &flight.bytes,
        });
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
        self.compare_from(now);
    }

    /// Its kernel changed the clocksource, and tells whoever looks.
    pub(super) const fn change_clocksource(&mut self) {
        self.clocksource.1 = true;
    }

    /// It is suspended, and its kernel knows.
    pub(super) fn suspend(&mut self, outside: &mut Outside, away: Duration) {
        if !self.counter.is_running() {
            // It stands still already.
            return;
        }
        // The kernel adds what it slept, by a clock with whole seconds.
        self.clock.interfere(Offset::from_seconds(away.as_secs_f64().round()));
        self.slept += away;
        self.stand_still(outside, away);
    }

    /// It goes to another host, and does not see time pass.
    pub(super) fn leave(&mut self, outside: &mut Outside, away: Duration, frequency: f64, told: bool) {
        self.counter.set_frequency(outside.now, frequency);
        self.stand_still(outside, away);
        let back = outside.now + away;
        // What nobody tells of must be found out, the other rate too.
        if told {
            self.awareness = Awareness::Measures(back);
        } else {
            self.compare_from(back);
        }
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
        self.due = None;
        self.plan_wake(outside);
    }

    /// Packets to a server take another way.
    pub(super) fn reroute(&mut self, server: usize, path: Path) {
        self.paths[server].0.reroute(path.up);
        self.paths[server].1.reroute(path.down);
    }
}
