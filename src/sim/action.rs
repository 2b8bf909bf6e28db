//! What can happen to a world.

use std::time::Duration;

use serde::Deserialize;

use super::network::Path;
use super::phc::Device;
use super::scenario::Steal;
use super::server::Kiss;
use super::values;
use super::world::World;
use crate::units::{Leap, Offset, Ppm, duration};

/// An action and its time.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Seconds of true time since the start.
    #[serde(deserialize_with = "values::seconds")]
    pub at: f64,
    /// What happens.
    #[serde(rename = "do")]
    pub action: Action,
}

/// Something that happens to a world. Guests, servers and paravirtual clocks are counted from zero.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Action {
    /// Somebody else sets a guest's clock.
    StepClock {
        /// Whose.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// By how much.
        #[serde(deserialize_with = "values::offset")]
        by: Offset,
    },
    /// Somebody else changes the rate of a guest's clock.
    TuneClock {
        /// Whose.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// By how much.
        #[serde(deserialize_with = "values::ppm")]
        by: Ppm,
    },
    /// A guest's counter changes its rate, and nobody says so.
    Retune {
        /// Whose.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// The new frequency error, as a ratio.
        #[serde(deserialize_with = "values::ratio")]
        frequency: f64,
    },
    /// A guest's kernel changes its clocksource, and tells.
    Clocksource {
        /// Whose.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// The new frequency error, as a ratio.
        #[serde(deserialize_with = "values::ratio")]
        frequency: f64,
    },
    /// A guest is suspended and told so by its kernel, which adds the time to the clock.
    Suspend {
        /// Which.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// For how long.
        #[serde(deserialize_with = "values::duration")]
        away: Duration,
    },
    /// A guest is restored from a snapshot, on a host whose counter runs at another rate. Devices with
    /// disruption counters tell.
    Restore {
        /// Which.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// True time that passed meanwhile.
        #[serde(deserialize_with = "values::duration")]
        away: Duration,
        /// The new counter's frequency error, as a ratio.
        #[serde(deserialize_with = "values::ratio")]
        frequency: f64,
    },
    /// A guest is migrated to a host whose counter runs at another rate.
    Migrate {
        /// Which.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// True time that passed meanwhile.
        #[serde(deserialize_with = "values::duration")]
        away: Duration,
        /// The new counter's frequency error, as a ratio.
        #[serde(deserialize_with = "values::ratio")]
        frequency: f64,
        /// Whether devices with disruption counters tell.
        signalled: bool,
    },
    /// A host begins, or ceases, to keep a guest waiting.
    Steal {
        /// Whom.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// How much.
        steal: Steal,
    },
    /// A paravirtual clock goes wrong.
    MisleadPhc {
        /// Whose.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// Which.
        #[serde(default, deserialize_with = "values::nth")]
        phc: usize,
        /// By how much.
        #[serde(deserialize_with = "values::offset")]
        error: Offset,
    },
    /// A paravirtual clock drifts off.
    DriftPhc {
        /// Whose.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// Which.
        #[serde(default, deserialize_with = "values::nth")]
        phc: usize,
        /// How fast its error grows, as a ratio.
        #[serde(deserialize_with = "values::ratio")]
        drift: f64,
    },
    /// A paravirtual clock disappears or comes back.
    ShowPhc {
        /// Whose.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// Which.
        #[serde(default, deserialize_with = "values::nth")]
        phc: usize,
        /// Whether it can be read.
        present: bool,
    },
    /// A server falls silent or comes back.
    Serve {
        /// Which.
        #[serde(deserialize_with = "values::nth")]
        server: usize,
        /// Whether it answers.
        alive: bool,
    },
    /// A server restarts.
    Restart {
        /// Which.
        #[serde(deserialize_with = "values::nth")]
        server: usize,
        /// It answers after so long,
        #[serde(deserialize_with = "values::duration")]
        away: Duration,
        /// and is synchronised after so long.
        #[serde(deserialize_with = "values::duration")]
        unsynchronised: Duration,
    },
    /// A server's clock goes wrong.
    Mislead {
        /// Which.
        #[serde(deserialize_with = "values::nth")]
        server: usize,
        /// By how much.
        #[serde(deserialize_with = "values::offset")]
        error: Offset,
    },
    /// A server's clock drifts off.
    Drift {
        /// Which.
        #[serde(deserialize_with = "values::nth")]
        server: usize,
        /// How fast its error grows, as a ratio.
        #[serde(deserialize_with = "values::ratio")]
        drift: f64,
    },
    /// A server says from now on so about the day's end, or that it is not synchronised.
    Announce {
        /// Which.
        #[serde(deserialize_with = "values::nth")]
        server: usize,
        /// What.
        leap: Leap,
    },
    /// A server answers with kisses.
    Kiss {
        /// Which.
        #[serde(deserialize_with = "values::nth")]
        server: usize,
        /// With what.
        kiss: Option<Kiss>,
    },
    /// Packets take another way.
    Route {
        /// Whose.
        #[serde(default, deserialize_with = "values::nth")]
        guest: usize,
        /// To which server.
        #[serde(deserialize_with = "values::nth")]
        server: usize,
        /// The new path.
        path: Path,
    },
}

impl Action {
    /// The guest that it happens to, if it is one.
    #[must_use]
    pub const fn guest(&self) -> Option<usize> {
        match *self {
            Self::StepClock { guest, .. }
            | Self::TuneClock { guest, .. }
            | Self::Retune { guest, .. }
            | Self::Clocksource { guest, .. }
            | Self::Suspend { guest, .. }
            | Self::Restore { guest, .. }
            | Self::Migrate { guest, .. }
            | Self::Steal { guest, .. }
            | Self::MisleadPhc { guest, .. }
            | Self::DriftPhc { guest, .. }
            | Self::ShowPhc { guest, .. }
            | Self::Route { guest, .. } => Some(guest),
            Self::Serve { .. }
            | Self::Restart { .. }
            | Self::Mislead { .. }
            | Self::Drift { .. }
            | Self::Announce { .. }
            | Self::Kiss { .. } => None,
        }
    }

    /// The server that it happens to, if it is one.
    #[must_use]
    pub const fn server(&self) -> Option<usize> {
        match *self {
            Self::Serve { server, .. }
            | Self::Restart { server, .. }
            | Self::Mislead { server, .. }
            | Self::Drift { server, .. }
            | Self::Announce { server, .. }
            | Self::Kiss { server, .. }
            | Self::Route { server, .. } => Some(server),
            _ => None,
        }
    }

    /// The paravirtual clock that it happens to, if it is one.
    #[must_use]
    pub const fn phc(&self) -> Option<usize> {
        match *self {
            Self::MisleadPhc { phc, .. } | Self::DriftPhc { phc, .. } | Self::ShowPhc { phc, .. } => Some(phc),
            _ => None,
        }
    }

    /// In a few words, for pictures and tables.
    #[must_use]
    pub const fn words(&self) -> &'static str {
        match self {
            Self::StepClock { .. } => "foreign step",
            Self::TuneClock { .. } => "foreign rate",
            Self::Retune { .. } => "frequency jump",
            Self::Clocksource { .. } => "clocksource",
            Self::Suspend { .. } => "suspend",
            Self::Restore { .. } => "restore",
            Self::Migrate { .. } => "migration",
            Self::Steal { .. } => "steal",
            Self::MisleadPhc { .. } => "PHC wrong",
            Self::DriftPhc { .. } => "PHC drifts",
            Self::ShowPhc { present: true, .. } => "PHC back",
            Self::ShowPhc { present: false, .. } => "PHC gone",
            Self::Serve { alive: true, .. } => "server back",
            Self::Serve { alive: false, .. } => "server silent",
            Self::Restart { .. } => "server restart",
            Self::Mislead { .. } => "server wrong",
            Self::Drift { .. } => "server drifts",
            Self::Announce { .. } => "announcement",
            Self::Kiss { kiss: Some(_), .. } => "kiss",
            Self::Kiss { kiss: None, .. } => "no kiss",
            Self::Route { .. } => "route change",
        }
    }
}

impl World {
    /// Does it, now.
    ///
    /// # Panics
    /// If it names a guest, server or paravirtual clock that there is not.
    pub fn act(&mut self, action: Action) {
        let now = self.outside.now;
        if let Some(i) = action.guest() {
            self.guests[i].advance(now);
        }
        match action {
            Action::StepClock { guest, by } => self.guests[guest].interfere(by, Ppm::ZERO),
            Action::TuneClock { guest, by } => self.guests[guest].interfere(Offset::ZERO, by),
            Action::Retune { guest, frequency } => self.guests[guest].retune(now, frequency),
            Action::Clocksource { guest, frequency } => {
                self.guests[guest].retune(now, frequency);
                self.guests[guest].change_clocksource();
            }
            Action::Suspend { guest, away } => self.guests[guest].suspend(&mut self.outside, away),
            Action::Restore { guest, away, frequency } => {
                let told = self.guests[guest].devices.iter_mut().map(|d| tell(d, true)).filter(|&told| told).count() > 0;
                self.guests[guest].leave(&mut self.outside, away, frequency, told);
            }
            Action::Migrate { guest, away, frequency, signalled } => {
                let devices = self.guests[guest].devices.iter_mut().filter(|_| signalled);
                let told = devices.map(|d| tell(d, false)).filter(|&told| told).count() > 0;
                self.guests[guest].leave(&mut self.outside, away, frequency, told);
            }
            Action::Steal { guest, steal } => self.guests[guest].steal = steal,
            Action::MisleadPhc { guest, phc, error } => self.guests[guest].devices[phc].mislead(now, error),
            Action::DriftPhc { guest, phc, drift } => self.guests[guest].devices[phc].drift(now, drift),
            Action::ShowPhc { guest, phc, present } => self.guests[guest].devices[phc].phc.present = present,
            Action::Serve { server, alive } => self.outside.hosts[server].server.alive = alive,
            Action::Restart { server, away, unsynchronised } => {
                self.outside.hosts[server].restart(now + away, now + away + unsynchronised);
            }
            Action::Mislead { server, error } => self.outside.hosts[server].mislead(now, error),
            Action::Drift { server, drift } => self.outside.hosts[server].drift(now, drift),
            Action::Announce { server, leap } => self.outside.hosts[server].server.leap = leap,
            Action::Kiss { server, kiss } => self.outside.hosts[server].server.kiss = kiss,
            Action::Route { guest, server, path } => self.guests[guest].reroute(server, path),
        }
    }
}

/// A device's disruption counters rise; false if it has none.
fn tell(device: &mut Device, restored: bool) -> bool {
    let Some(generation) = &mut device.phc.generation else { return false };
    generation.disruption_marker += 1;
    if restored {
        generation.vm_generation = generation.vm_generation.map(|n| n + 1);
    }
    true
}

impl Planned {
    /// An action at so many seconds.
    #[must_use]
    pub const fn new(at: f64, action: Action) -> Self {
        Self { at, action }
    }

    /// Its time.
    pub(super) fn instant(&self) -> crate::units::Instant {
        crate::units::Instant::ZERO + duration(self.at)
    }
}
