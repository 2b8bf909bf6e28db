//! All that the checks look at, as plain data: tests bring their own.

use std::path::PathBuf;
use std::time::Duration;

use super::probe::Probe;
use super::system::System;
use crate::config::{Config, PhcDevice, RefclockKind};
use crate::platform::{Detection, clock_meant};
use crate::sys::timex;
use crate::units::{Timescale, Timestamp};
use crate::wire::control::Report;

/// A machine as it was found.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What it is.
    pub machine: Detection,
    /// Its files.
    pub system: System,
    /// The kernel's clock, looked at twice; `None` if the kernel does not show it.
    pub looks: Option<Looks>,
    /// What its clock says.
    pub now: Timestamp,
    /// The day on which this program was built.
    pub built: Timestamp,
    /// What it should do, or what is wrong with the configuration, a line each.
    pub plan: Result<Plan, Vec<String>>,
    /// The daemon.
    pub daemon: Daemon,
    /// What the servers of the plan answered; empty where the daemon was asked instead.
    pub probes: Vec<Probe>,
}

impl Evidence {
    /// The daemon's report, if there is one.
    #[must_use]
    pub const fn report(&self) -> Option<&Report> {
        match &self.daemon {
            Daemon::Runs(report) => Some(report),
            _ => None,
        }
    }

    /// The command that starts the daemon, or starts it anew.
    #[must_use]
    pub fn start(&self) -> &'static str {
        match (&self.daemon, self.system.systemd) {
            (Daemon::Absent, true) => "sudo systemctl enable --now paraclock",
            (_, true) => "sudo systemctl restart paraclock",
            (Daemon::Absent, false) => "sudo paraclock run",
            (_, false) => "sudo kill $(pidof -s paraclock); sudo paraclock run",
        }
    }

    /// The kind of container that this is; the empty string if it is none.
    #[must_use]
    pub fn container(&self) -> &str {
        self.machine.container.as_deref().unwrap_or_default()
    }
}

/// Two looks at the kernel's clock.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Looks {
    /// Before.
    pub first: timex::State,
    /// After.
    pub second: timex::State,
    /// What lay between.
    pub apart: Duration,
}

/// Our daemon.
#[derive(Clone, PartialEq, Debug)]
pub enum Daemon {
    /// It runs, and reports this.
    Runs(Box<Report>),
    /// It does not run.
    Absent,
    /// It may run, but cannot be asked; why, and what to do.
    Mute(String),
}

/// What the configuration wants.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// Where it comes from.
    pub origin: String,
    /// Servers and pools.
    pub servers: Vec<PlannedServer>,
    /// Local clocks.
    pub clocks: Vec<PlannedClock>,
    /// Whom the daemon becomes.
    pub user: Option<String>,
    /// The port on which time is served; `None`: nobody is.
    pub serves: Option<u16>,
}

/// A server of the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedServer {
    /// As written.
    pub name: String,
    /// UDP port.
    pub port: u16,
    /// How many of its addresses to use.
    pub addresses: usize,
    /// What it hands out, as far as that is known.
    pub timescale: Timescale,
    /// Whether somebody wrote it down; else it was detected.
    pub written: bool,
    /// Whether it may be followed.
    pub selectable: bool,
}

/// A local clock of the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedClock {
    /// Device or name.
    pub name: String,
    /// Its device, if it has one and it is known.
    pub device: Option<PathBuf>,
    /// What it hands out.
    pub timescale: Timescale,
    /// Whether somebody wrote it down; else it was detected.
    pub written: bool,
    /// Whether it may be followed.
    pub selectable: bool,
}

impl Plan {
    /// From a configuration, with the timescales known for its servers, in order; the first `written` refclocks and
    /// servers were written down, the others detected.
    #[must_use]
    pub fn of(config: &Config, origin: &str, timescales: &[Timescale], written: (usize, usize), machine: &Detection) -> Self {
        let servers = config.servers.iter().enumerate().map(|(i, line)| PlannedServer {
            name: line.name.clone(),
            port: line.port,
            addresses: if line.is_pool() { usize::from(line.max_sources) } else { 1 },
            timescale: timescales.get(i).copied().unwrap_or(Timescale::Utc),
            written: i < written.1,
            selectable: !line.select.noselect,
        });
        let clocks = config.refclocks.iter().enumerate().map(|(i, line)| {
            let found = clock_meant(&line.kind, &machine.clocks);
            let (name, device) = match &line.kind {
                RefclockKind::Phc { device: PhcDevice::Path(path), .. } => (path.display().to_string(), Some(path.clone())),
                RefclockKind::Phc { device: PhcDevice::Name(name), .. } => (name.clone(), found.map(|clock| clock.path.clone())),
                RefclockKind::Vmclock { device } => (device.display().to_string(), Some(device.clone())),
                RefclockKind::Kvm => ("kvm-clock page".to_owned(), None),
            };
            let timescale = line.timescale.or_else(|| found.and_then(|clock| clock.timescale)).unwrap_or_default();
            // The page tells no time of day.
            let selectable = !line.select.noselect && line.kind != RefclockKind::Kvm;
            PlannedClock { name, device, timescale, written: i < written.0, selectable }
        });
        Self {
            origin: origin.to_owned(),
            servers: servers.collect(),
            clocks: clocks.collect(),
            user: config.user.clone(),
            serves: (config.port != 0 && config.access.iter().any(|rule| rule.allow)).then_some(config.port),
        }
    }

    /// Whether anything in it can tell the time.
    #[must_use]
    pub fn tells_time(&self) -> bool {
        self.servers.iter().any(|s| s.selectable) || self.clocks.iter().any(|c| c.selectable)
    }
}
