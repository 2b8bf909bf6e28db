//! A world to be simulated, as plain data: written by hand, read from a file, or made by a program.

use std::net::IpAddr;

use serde::Deserialize;

use super::action::Planned;
use super::network::Path;
use super::oscillator::Oscillator;
use super::phc::Phc;
use super::server::Server;
use super::values;
use crate::config::Config;
use crate::units::{Leap, Offset, Ppm, Timestamp};

/// Guests, and servers, at most: what an address can count.
const MOST: usize = 254;

/// A world.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    /// True time at the start.
    pub epoch: Timestamp,
    /// A leap second to come.
    pub leap: Option<LeapSecond>,
    /// The machines that run the agent, at 10.0.1.1, 10.0.1.2, ...; they answer each other.
    pub guests: Vec<Guest>,
    /// The servers, at 10.0.0.1, 10.0.0.2, ...
    pub servers: Vec<Server>,
    /// What happens when.
    pub actions: Vec<Planned>,
}

/// A leap second.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LeapSecond {
    /// When, in seconds since the start.
    #[serde(deserialize_with = "values::seconds")]
    pub at: f64,
    /// Whether one is inserted or deleted.
    pub kind: Leap,
    /// Seconds over which servers that smear spread it, half of them before it.
    #[serde(default = "usual_smear", deserialize_with = "values::positive")]
    pub smear: f64,
    /// What guests are judged by.
    #[serde(default)]
    pub truth: Truth,
}

/// Noon to noon.
const fn usual_smear() -> f64 {
    86_400.0
}

/// What the time is said to be around a leap second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truth {
    /// UTC, which repeats or leaves out a second.
    #[default]
    Utc,
    /// The smeared count.
    Smeared,
}

/// A machine that runs the agent.
#[derive(Clone, PartialEq, Debug)]
pub struct Guest {
    /// Its configuration.
    pub config: Config,
    /// Its clock at the start; positive when ahead of the truth.
    pub clock_error: Offset,
    /// Its counter.
    pub oscillator: Oscillator,
    /// A drift file's content: frequency (positive: fast) and its uncertainty.
    pub drift: Option<(Ppm, Ppm)>,
    /// The ways to the servers, in their order; where there is none, nothing arrives.
    pub paths: Vec<Path>,
    /// The way to every other guest.
    pub lan: Path,
    /// The paravirtual clocks, in the order of the configuration's `refclock` lines.
    pub phcs: Vec<Phc>,
    /// How often the host keeps it waiting.
    pub steal: Steal,
    /// Host names and what they stand for.
    pub names: Vec<(String, Vec<IpAddr>)>,
}

/// Time that the host takes away: wake-ups, packets and readings come late by it.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Steal {
    /// Probability that a wake-up, a packet or a reading meets it.
    #[serde(deserialize_with = "values::probability")]
    pub probability: f64,
    /// Its mean length, seconds; exponential.
    #[serde(deserialize_with = "values::seconds")]
    pub mean: f64,
}

/// A part of a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// All of it.
    Whole,
    /// The leap second.
    Leap,
    /// A guest.
    Guest(usize),
    /// A server.
    Server(usize),
    /// An action.
    Action(usize),
}

/// Why a scenario cannot be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Where.
    pub part: Part,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub mend: String,
}

impl Scenario {
    /// 2027-01-15T08:00:00.
    pub const USUAL_EPOCH: Timestamp = Timestamp::from_parts(1_800_000_000, 0);

    /// A world without leap seconds and actions that begins on 2027-01-15.
    #[must_use]
    pub const fn new(guests: Vec<Guest>, servers: Vec<Server>) -> Self {
        Self { epoch: Self::USUAL_EPOCH, leap: None, guests, servers, actions: Vec::new() }
    }

    /// Adds a server, and the way to it for every guest.
    #[must_use]
    pub fn server(mut self, server: Server, path: Path) -> Self {
        self.servers.push(server);
        for guest in &mut self.guests {
            guest.paths.resize(self.servers.len(), path);
        }
        self
    }
}

impl Scenario {
    /// What keeps it from being run: things that do not fit together.
    #[must_use]
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut wrong = |part, what: String, mend: &str| faults.push(Fault { part, what, mend: mend.to_owned() });
        if self.guests.is_empty() {
            wrong(Part::Whole, "there is no guest".to_owned(), "add a [[guest]] with its `config`");
        }
        if self.guests.len() > MOST || self.servers.len() > MOST {
            wrong(Part::Whole, format!("more than {MOST} guests or servers have no addresses"), "leave some out");
        }
        if self.leap.is_some_and(|l| !matches!(l.kind, Leap::Insert | Leap::Delete)) {
            wrong(Part::Leap, "this is no leap second".to_owned(), "write kind = \"insert\" or kind = \"delete\"");
        }
        for (i, guest) in self.guests.iter().enumerate() {
            if guest.paths.len() > self.servers.len() {
                wrong(Part::Guest(i), "it has more paths than there are servers".to_owned(), "write one path for each [[server]]");
            }
            if guest.config.refclocks.len() > guest.phcs.len() {
                let what =
                    format!("its configuration has {} refclocks, and it has {} clocks", guest.config.refclocks.len(), guest.phcs.len());
                wrong(Part::Guest(i), what, "add a [[guest.phc]] for each refclock line, in their order");
            }
        }
        for (i, server) in self.servers.iter().enumerate() {
            if server.smear && self.leap.is_none() {
                wrong(Part::Server(i), "it smears a leap second that never comes".to_owned(), "add `leap`, or leave `smear` out");
            }
        }
        for (i, planned) in self.actions.iter().enumerate() {
            let action = &planned.action;
            let guest = action.guest().map(|g| self.guests.get(g));
            if guest.is_some_and(|g| g.is_none()) {
                wrong(Part::Action(i), "there is no such guest".to_owned(), "guests are counted from 1 in the order of [[guest]]");
            }
            if action.server().is_some_and(|s| s >= self.servers.len()) {
                wrong(Part::Action(i), "there is no such server".to_owned(), "servers are counted from 1 in the order of [[server]]");
            } else if let (Some(Some(guest)), Some(server)) = (guest, action.server()) {
                if server >= guest.paths.len() {
                    wrong(Part::Action(i), "the guest has no path to that server".to_owned(), "add one to its `paths`");
                }
            }
            if let (Some(Some(guest)), Some(phc)) = (guest, action.phc()) {
                if phc >= guest.phcs.len() {
                    wrong(
                        Part::Action(i),
                        "the guest has no such clock".to_owned(),
                        "clocks are counted from 1 in the order of [[guest.phc]]",
                    );
                }
            }
        }
        faults
    }
}

impl Guest {
    /// A guest whose clock is right at the start and whose counter is perfect.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            clock_error: Offset::ZERO,
            oscillator: Oscillator::default(),
            drift: None,
            paths: Vec::new(),
            lan: Path::symmetric(1e-4, 2e-5),
            phcs: Vec::new(),
            steal: Steal::default(),
            names: Vec::new(),
        }
    }
}
