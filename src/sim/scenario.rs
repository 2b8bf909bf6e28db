//! A world to be simulated, as plain data: written by hand, read from a file, or made by a program.

use std::net::IpAddr;
use std::time::Duration;

use super::action::Planned;
use super::network::Path;
use super::oscillator::Oscillator;
use super::phc::Phc;
use super::server::Server;
use crate::config::Config;
use crate::units::{Leap, Offset, Ppm, Timestamp};

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
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LeapSecond {
    /// When, in seconds since the start.
    pub at: f64,
    /// Whether one is inserted or deleted.
    pub kind: Leap,
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
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Steal {
    /// Probability that a wake-up, a packet or a reading meets it.
    pub probability: f64,
    /// Its mean length, seconds; exponential.
    pub mean: f64,
}

impl Scenario {
    /// A world without leap seconds and actions that begins on 2027-01-15.
    #[must_use]
    pub const fn new(guests: Vec<Guest>, servers: Vec<Server>) -> Self {
        Self { epoch: Timestamp::from_parts(1_800_000_000, 0), leap: None, guests, servers, actions: Vec::new() }
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

/// How a server spreads a leap second when it does, where nothing else is said: from noon to noon.
pub const USUAL_SMEAR: Duration = Duration::from_secs(86_400);
