//! One guest in a world: the executor of the agent in virtual time.
//!
//! A discrete-event loop. True time is an [`Instant`] of the world's own clock; the guest sees only its
//! counter, its clock, its packets and its devices.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{Chance, Oscillator, Server};
use crate::agent::{Agent, Input, Output, Setup};
use crate::clock::{Clock, Simulated, Timebase};
use crate::config::Config;
use crate::core::{Generation, ReadError, Reading, Signal, SourceId};
use crate::ntp::Token;
use crate::units::{Instant, Leap, Offset, Timestamp, count, duration};

/// The guest's own address.
const GUEST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));

/// The way to a server: each direction has a base delay and exponential queueing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Path {
    /// Seconds, each way.
    pub base: f64,
    /// Mean of the queueing on the way there, seconds.
    pub up: f64,
    /// Mean of the queueing on the way back, seconds.
    pub down: f64,
    /// Probability that a packet is lost, each way.
    pub loss: f64,
}

impl Path {
    /// The same both ways, without loss.
    #[must_use]
    pub const fn symmetric(base: f64, jitter: f64) -> Self {
        Self { base, up: jitter, down: jitter, loss: 0.0 }
    }
}

/// A PTP hardware clock.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Phc {
    /// Its error; positive when it is ahead of the truth.
    pub error: Offset,
    /// Normal noise of one reading, seconds.
    pub noise: f64,
    /// Width of the reading window, seconds.
    pub window: f64,
    /// Its disruption counters, if it has any.
    pub generation: Option<Generation>,
    /// False: it cannot be read.
    pub present: bool,
}

/// Something that happens to the world at a given time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Action {
    /// Somebody else moves the guest's clock.
    StepClock(Offset),
    /// A server falls silent or comes back.
    Serve {
        /// Which.
        server: usize,
        /// Whether it answers.
        alive: bool,
    },
    /// A server's clock goes wrong.
    Mislead {
        /// Which.
        server: usize,
        /// By how much.
        error: Offset,
    },
    /// A server says from now on so about the day's end, or that it is not synchronised.
    Announce {
        /// Which.
        server: usize,
        /// What.
        leap: Leap,
    },
    /// A server answers with kisses.
    Kiss {
        /// Which.
        server: usize,
        /// With what.
        kiss: Option<super::Kiss>,
    },
    /// The guest is suspended for so long and told so by its kernel.
    Suspend(Duration),
    /// The guest is restored from a snapshot this old, on a host whose counter runs at another rate (ratio).
    Restore {
        /// True time that passed meanwhile.
        away: Duration,
        /// The new counter's frequency error.
        frequency: f64,
    },
}

/// A world to be simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The guest's configuration; servers are addressed as 10.0.0.1, 10.0.0.2, ...
    pub config: Config,
    /// The guest's clock at the start; positive when ahead of the truth.
    pub clock_error: Offset,
    /// The guest's counter at the start, as a ratio.
    pub frequency: f64,
    /// Random walk of that frequency, a second.
    pub wander: f64,
    /// The servers and the ways to them.
    pub servers: Vec<(Server, Path)>,
    /// The local clocks, in the order of the configuration's `refclock` lines.
    pub phcs: Vec<Phc>,
    /// What happens when (seconds of true time), in order.
    pub actions: Vec<(f64, Action)>,
    /// True time at the start.
    pub epoch: Timestamp,
    /// A drift file's content.
    pub drift: Option<(crate::units::Ppm, crate::units::Ppm)>,
}

/// What was seen, sampled each second of true time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Statistics {
    /// Seconds sampled.
    pub samples: u64,
    /// Sum of squared errors of the clock, s^2.
    pub square: f64,
    /// Largest error of the clock, seconds.
    pub worst: f64,
    /// Sum of squared frequency errors of the clock.
    pub frequency_square: f64,
    /// Seconds at which the clock's error exceeded its published bound.
    pub clock_violations: u64,
    /// Seconds at which the line's error exceeded its published bound.
    pub line_violations: u64,
    /// Sum of the clock's bounds, where known.
    pub bound_sum: f64,
}

impl Statistics {
    /// Root mean square of the clock's error, seconds.
    #[must_use]
    pub fn rms(&self) -> f64 {
        (self.square / count(self.samples.max(1))).sqrt()
    }

    /// Root mean square of the clock's frequency error, as a ratio.
    #[must_use]
    pub fn frequency_rms(&self) -> f64 {
        (self.frequency_square / count(self.samples.max(1))).sqrt()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Happening {
    Act(usize),
    Arrive { server: usize, flight: usize },
    Return { flight: usize },
    Wake,
    Look,
}

#[derive(Clone, Debug)]
struct Flight {
    token: Token,
    server: usize,
    bytes: Vec<u8>,
}

/// The running world.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    epoch: Timestamp,
    chance: Chance,
    oscillator: Oscillator,
    timebase: Timebase,
    clock: Simulated,
    agent: Agent,
    queue: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    order: u64,
    flights: HashMap<usize, Flight>,
    next_flight: usize,
    statistics: Statistics,
    saved: Option<(crate::units::Ppm, crate::units::Ppm)>,
    slept: Duration,
    /// The guest does not run; promises count from its first wake-up.
    asleep: bool,
}

impl World {
    /// A world at its beginning.
    #[must_use]
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let epoch = scenario.epoch;
        let oscillator = Oscillator::new(scenario.frequency, scenario.wander);
        let timebase = Timebase::new(Instant::ZERO);
        let clock = Simulated::new(timebase.clone(), epoch + scenario.clock_error);
        let setup =
            Setup { watch: true, drift: scenario.drift, seed: chance.seed(), ..Setup::from_config(&scenario.config, clock.course()) };
        let agent = Agent::new(setup, Instant::ZERO);
        let mut world = Self {
            epoch,
            chance,
            oscillator,
            timebase,
            clock,
            agent,
            queue: BinaryHeap::new(),
            order: 0,
            flights: HashMap::new(),
            next_flight: 0,
            statistics: Statistics::default(),
            saved: None,
            slept: Duration::ZERO,
            asleep: false,
            scenario,
        };
        for i in 0..world.scenario.actions.len() {
            let at = Instant::ZERO + duration(world.scenario.actions[i].0);
            world.schedule(at, Happening::Act(i));
        }
        world.schedule(Instant::from_nanos(1_000_000_000), Happening::Look);
        world.execute();
        world
    }

    /// Runs until so many seconds of true time have passed since the beginning.
    pub fn run_until(&mut self, seconds: f64) {
        let end = Instant::ZERO + duration(seconds);
        while let Some(&Reverse((at, _, happening))) = self.queue.peek() {
            if at > end {
                break;
            }
            self.queue.pop();
            if at > self.oscillator.truth() {
                self.oscillator.advance(at, &mut self.chance);
                self.timebase.set(self.oscillator.raw());
            }
            self.happen(happening);
        }
    }

    /// Forgets what was seen so far.
    pub fn reset_statistics(&mut self) {
        self.statistics = Statistics::default();
    }

    /// What was seen since the last reset.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The guest's instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.timebase.now()
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &Simulated {
        &self.clock
    }

    /// What the agent last wanted in its drift file.
    #[must_use]
    pub const fn saved(&self) -> Option<(crate::units::Ppm, crate::units::Ppm)> {
        self.saved
    }

    /// A server, to see what it was asked.
    #[must_use]
    pub fn server(&self, i: usize) -> &Server {
        &self.scenario.servers[i].0
    }

    /// How far the clock is ahead of the truth, seconds.
    #[must_use]
    pub fn clock_error(&self) -> f64 {
        self.clock.time().since(self.true_time()).seconds()
    }

    /// How far the line is ahead of the truth, seconds.
    #[must_use]
    pub fn line_error(&self) -> f64 {
        self.agent.core().line().ahead_of(self.true_time(), self.timebase.now())
    }

    /// The true time.
    #[must_use]
    pub fn true_time(&self) -> Timestamp {
        self.epoch + self.oscillator.truth().since(Instant::ZERO)
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order, happening)));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Act(i) => self.act(self.scenario.actions[i].1),
            Happening::Arrive { server, flight } => self.arrive(server, flight),
            Happening::Return { flight } => self.come_back(flight),
            Happening::Wake => {
                let now = self.timebase.now();
                if self.asleep || self.agent.next_wake().is_some_and(|next| next <= now) {
                    self.wake();
                } else {
                    self.schedule_wake();
                }
            }
            Happening::Look => {
                self.look();
                let next = self.oscillator.truth() + Duration::from_secs(1);
                self.schedule(next, Happening::Look);
            }
        }
    }

    fn wake(&mut self) {
        let now = self.timebase.now();
        self.asleep = false;
        if self.slept > Duration::ZERO {
            let slept = std::mem::take(&mut self.slept);
            self.agent.handle(now, Input::Signal(Signal::Suspended { slept }));
        }
        if let Some(signal) = self.clock.watch() {
            self.agent.handle(now, Input::Signal(signal));
        }
        self.agent.handle(now, Input::Timer);
        self.execute();
    }

    /// Carries out what the agent wants, and plans its next wake-up.
    fn execute(&mut self) {
        let now = self.timebase.now();
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Send { token, to, bytes } => self.send(token, to, bytes.to_vec()),
                Output::Apply(adjustment) => {
                    let result = self.clock.apply(&adjustment);
                    self.agent.handle(now, Input::Applied(result));
                }
                Output::Read(source) => {
                    let result = self.read(source);
                    self.agent.handle(now, Input::Reading { source, result });
                }
                Output::Save { frequency, skew } => self.saved = Some((frequency, skew)),
                Output::Close(_) | Output::Resolve(_) | Output::Publish | Output::Note(_) => {}
            }
        }
        self.schedule_wake();
    }

    fn schedule_wake(&mut self) {
        if let Some(next) = self.agent.next_wake() {
            // One pending wake-up too many is harmless: it looks, and plans again.
            let at = self.oscillator.truth_at(next);
            self.schedule(at, Happening::Wake);
        }
    }

    fn read(&mut self, source: SourceId) -> Result<Reading, ReadError> {
        // Refclocks are added first, so that their ids count from zero.
        let index = usize::try_from(source.0).unwrap_or(usize::MAX);
        let Some(phc) = self.scenario.phcs.get(index).copied().filter(|phc| phc.present) else {
            return Err(ReadError::Absent { device: format!("phc{index}"), reason: "not there".to_owned() });
        };
        let now = self.timebase.now();
        let half = duration(phc.window / 2.0);
        let noise = Offset::from_seconds(phc.noise * self.chance.normal());
        Ok(Reading {
            before: now - half,
            after: now + half,
            reference: self.true_time() + phc.error + noise,
            max_error: Duration::ZERO,
            tai_offset: None,
            timescale: None,
            leap: Leap::Normal,
            generation: phc.generation,
        })
    }

    fn send(&mut self, token: Token, to: SocketAddr, bytes: Vec<u8>) {
        let server = match to.ip() {
            IpAddr::V4(v4) => usize::from(v4.octets()[3]).wrapping_sub(1),
            IpAddr::V6(_) => usize::MAX,
        };
        self.agent.handle(self.timebase.now(), Input::Sent { token, at: self.timebase.now() });
        let Some(&(_, path)) = self.scenario.servers.get(server) else { return };
        if self.chance.happens(path.loss) {
            return;
        }
        let delay = path.base + self.chance.exponential(path.up);
        let flight = self.next_flight;
        self.next_flight += 1;
        self.flights.insert(flight, Flight { token, server, bytes });
        let at = self.oscillator.truth() + duration(delay);
        self.schedule(at, Happening::Arrive { server, flight });
    }

    fn arrive(&mut self, server: usize, flight: usize) {
        let now = self.oscillator.truth();
        let Some(mut packet) = self.flights.remove(&flight) else { return };
        let (server, path) = &mut self.scenario.servers[server];
        let Some(answer) = server.answer(self.epoch, now, SocketAddr::new(GUEST, 123), &packet.bytes) else { return };
        let path = *path;
        if self.chance.happens(path.loss) {
            return;
        }
        packet.bytes = answer.to_vec();
        self.flights.insert(flight, packet);
        let delay = path.base + self.chance.exponential(path.down);
        self.schedule(now + duration(delay), Happening::Return { flight });
    }

    fn come_back(&mut self, flight: usize) {
        let Some(packet) = self.flights.remove(&flight) else { return };
        let from = SocketAddr::new(address_of(packet.server), 123);
        let now = self.timebase.now();
        if let Some(signal) = self.clock.watch() {
            self.agent.handle(now, Input::Signal(signal));
        }
        // As the kernel would: a stamp of the clock, placed on the timebase by the clock's history.
        let received = self.clock.instant_of(self.clock.time());
        let input = Input::Datagram { token: packet.token, from, to: GUEST, received, bytes: &packet.bytes };
        self.agent.handle(now, input);
        self.execute();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::StepClock(by) => self.clock.interfere(by),
            Action::Serve { server, alive } => self.scenario.servers[server].0.alive = alive,
            Action::Mislead { server, error } => self.scenario.servers[server].0.error = error,
            Action::Announce { server, leap } => self.scenario.servers[server].0.leap = leap,
            Action::Kiss { server, kiss } => self.scenario.servers[server].0.kiss = kiss,
            Action::Suspend(slept) => {
                let to = self.oscillator.truth() + slept;
                self.oscillator.pause(to);
                // The kernel adds what it slept, by a clock with whole seconds.
                self.clock.interfere(Offset::from_seconds(slept.as_secs_f64().round()));
                self.slept += slept;
                self.asleep = true;
                self.flights.clear();
                let at = to + Duration::from_millis(1);
                self.schedule(at, Happening::Wake);
            }
            Action::Restore { away, frequency } => {
                let to = self.oscillator.truth() + away;
                self.oscillator.pause(to);
                self.oscillator.set_frequency(frequency);
                self.asleep = true;
                self.flights.clear();
                for phc in &mut self.scenario.phcs {
                    if let Some(generation) = &mut phc.generation {
                        generation.disruption_marker += 1;
                        generation.vm_generation = generation.vm_generation.map(|n| n + 1);
                    }
                }
                self.schedule(to, Happening::Wake);
            }
        }
    }

    fn look(&mut self) {
        if self.asleep {
            return;
        }
        let now = self.timebase.now();
        let error = self.clock_error();
        let published = self.agent.published();
        let frequency = (1.0 + self.clock.course().rate.ratio()) * (1.0 + self.oscillator.frequency()) - 1.0;
        let s = &mut self.statistics;
        s.samples += 1;
        s.square += error * error;
        s.worst = s.worst.max(error.abs());
        s.frequency_square += frequency * frequency;
        let (line, clock) = self.agent.core().bounds(now);
        // What is published may be older; it must hold all the same.
        let exceeds = |bound: &crate::units::Bound, error: f64| bound.is_known() && error.abs() > bound.at(now).as_secs_f64();
        let line_error = self.agent.core().line().ahead_of(self.epoch + self.oscillator.truth().since(Instant::ZERO), now);
        s.clock_violations += u64::from(exceeds(&clock, error) || exceeds(&published.clock, error));
        s.line_violations += u64::from(exceeds(&line, line_error) || exceeds(&published.line, line_error));
        if clock.is_known() {
            s.bound_sum += clock.at(now).as_secs_f64();
        }
    }
}

fn address_of(server: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(server + 1).unwrap_or(255)))
}
