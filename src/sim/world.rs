//! A running world: a discrete-event loop over guests, servers and packets.
//!
//! True time is an [`Instant`] of the world's own clock. Deterministic: the same scenario and seed give the
//! same decisions.

use super::Chance;
use super::action::{Action, Planned};
use super::calendar::Calendar;
use super::machine::Machine;
use super::outside::{Flight, Happening, NEVER, Outside, Place};
use super::scenario::Scenario;
use super::server::Host;
use super::statistics::Statistics;
use crate::agent::Agent;
use crate::ntp::Reply;
use crate::units::{Instant, Offset, Ppm, Timestamp, duration};

/// How often everybody is looked at.
const LOOK: Offset = Offset::from_nanos(1_000_000_000);

/// What a world did next.
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(clippy::large_enum_variant, reason = "one lives at a time, on the stack")]
pub(super) enum Step {
    /// Nothing: there is nothing more to do before the end.
    End,
    /// An action.
    Acted(Action),
    /// Something arrived or ended; the guest that was told, if one was.
    Happened(Option<usize>),
    /// A guest woke up.
    Woke(usize),
    /// A second was over, and everybody was looked at.
    Looked,
}

/// The running world.
#[derive(Debug)]
pub struct World {
    pub(super) outside: Outside,
    pub(super) guests: Vec<Machine>,
    /// In order of time, the next one last.
    actions: Vec<Planned>,
    look_at: Instant,
    reply: Reply,
}

impl World {
    /// A world at its beginning.
    #[must_use]
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let calendar = Calendar::new(scenario.epoch, scenario.leap);
        let hosts: Vec<Host> = scenario.servers.iter().map(|server| Host::new(server.clone())).collect();
        let servers = hosts.len();
        let guests = scenario.guests.iter().enumerate();
        let guests = guests.map(|(i, guest)| Machine::new(i, guest, calendar, servers, &mut chance.fork())).collect();
        let mut actions = scenario.actions.clone();
        actions.sort_by(|a, b| b.at.total_cmp(&a.at));
        let mut world =
            Self { outside: Outside::new(calendar, hosts), guests, actions, look_at: Instant::ZERO + LOOK, reply: Reply::new() };
        for guest in &mut world.guests {
            guest.execute(&mut world.outside);
        }
        world
    }

    /// Runs until so many seconds of true time have passed since the beginning.
    pub fn run_until(&mut self, seconds: f64) {
        let end = Instant::ZERO + duration(seconds);
        while self.step(end) != Step::End {}
        self.outside.now = end.max(self.outside.now);
        for guest in &mut self.guests {
            guest.advance(self.outside.now);
        }
    }

    /// Does the next thing that there is to do up to `end`.
    pub(super) fn step(&mut self, end: Instant) -> Step {
        let action_at = self.actions.last().map_or(NEVER, Planned::instant);
        let event_at = self.outside.next();
        let (waker, wake_at) = self.first_to_wake();
        let at = action_at.min(event_at).min(wake_at).min(self.look_at);
        if at > end {
            return Step::End;
        }
        self.outside.now = at.max(self.outside.now);
        // What happens at the same instant as a look is seen by it.
        if at == action_at {
            let Some(planned) = self.actions.pop() else { return Step::End };
            self.act(planned.action);
            Step::Acted(planned.action)
        } else if at == event_at {
            Step::Happened(self.outside.pop().and_then(|happening| self.happen(happening)))
        } else if at == wake_at {
            self.guests[waker].wake(&mut self.outside);
            Step::Woke(waker)
        } else {
            for guest in &mut self.guests {
                guest.look(at);
            }
            self.look_at = at + LOOK;
            Step::Looked
        }
    }

    fn first_to_wake(&self) -> (usize, Instant) {
        let mut first = (0, NEVER);
        for (i, guest) in self.guests.iter().enumerate() {
            if guest.wake_at < first.1 {
                first = (i, guest.wake_at);
            }
        }
        first
    }

    /// Returns the guest that was told something.
    fn happen(&mut self, happening: Happening) -> Option<usize> {
        match happening {
            Happening::Arrive(flight) => {
                let flight = self.outside.land(flight)?;
                self.arrive(&flight);
                self.outside.landed(flight);
                None
            }
            Happening::Return(flight) => {
                let flight = self.outside.land(flight)?;
                let guest = flight.client;
                self.guests[guest].receive(&mut self.outside, &flight);
                self.outside.landed(flight);
                Some(guest)
            }
            Happening::Read { guest, source, begun } => {
                self.guests[guest].have_read(&mut self.outside, source, begun);
                Some(guest)
            }
            Happening::Resume(guest) => {
                self.guests[guest].resume(&self.outside);
                Some(guest)
            }
        }
    }

    /// A request arrives.
    fn arrive(&mut self, flight: &Flight) {
        let Outside { now, calendar, .. } = self.outside;
        let from = (Place::Guest(flight.client).address(), 123).into();
        let answered = match flight.asked {
            Place::Server(i) => {
                self.outside.hosts.get_mut(i).is_some_and(|host| host.answer(&calendar, now, from, &flight.bytes, &mut self.reply))
            }
            Place::Guest(i) => {
                self.guests.get_mut(i).is_some_and(|guest| guest.answer(&self.outside, from, &flight.bytes, &mut self.reply))
            }
        };
        if answered {
            self.guests[flight.client].answered(&mut self.outside, flight, &self.reply);
        }
    }

    /// Forgets what was seen so far of every guest.
    pub fn reset_statistics(&mut self) {
        self.guests.iter_mut().for_each(Machine::reset_statistics);
    }

    /// Times the reaching of limits from now on.
    pub fn restart_reach(&mut self) {
        let from = self.seconds();
        self.guests.iter_mut().for_each(|guest| guest.restart_reach(from));
    }

    /// Seconds of true time since the beginning.
    #[must_use]
    pub const fn seconds(&self) -> f64 {
        self.outside.now.since(Instant::ZERO).seconds()
    }

    /// The true time.
    #[must_use]
    pub fn true_time(&self) -> Timestamp {
        self.outside.calendar.truth(self.outside.now)
    }

    /// A guest, counted from zero.
    #[must_use]
    pub fn guest(&self, i: usize) -> &Machine {
        &self.guests[i]
    }

    /// All guests.
    #[must_use]
    pub fn guests(&self) -> &[Machine] {
        &self.guests
    }

    /// How often a server, counted from zero, was asked.
    #[must_use]
    pub fn asked(&self, server: usize) -> u64 {
        self.outside.hosts[server].asked
    }

    /// A digest of all decisions of all guests since the beginning.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.guests.iter().fold(0, |all, guest| all.rotate_left(1) ^ guest.digest())
    }

    /// What was seen of the first guest since the last reset.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        self.guests[0].statistics()
    }

    /// The first guest's agent.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        self.guests[0].agent()
    }

    /// The first guest's instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.guests[0].now()
    }

    /// What the first guest's agent last wanted in its drift file.
    #[must_use]
    pub fn saved(&self) -> Option<(Ppm, Ppm)> {
        self.guests[0].saved()
    }

    /// How far the first guest's clock is ahead of the truth, seconds.
    #[must_use]
    pub fn clock_error(&self) -> f64 {
        self.guests[0].clock_error()
    }

    /// How far the first guest's line is ahead of the truth, seconds.
    #[must_use]
    pub fn line_error(&self) -> f64 {
        self.guests[0].line_error()
    }
}
