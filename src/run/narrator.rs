//! The log: what changed, in plain words, once. Never a line for a packet.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::state::DriftFile;
use super::watchdog;
use crate::agent::{Agent, Disruption};
use crate::core::{Adjustment, Applied, ClockError, ReadError, SourceId, SourceState, Status};
use crate::sys::time;
use crate::sys::vsock::LACKING;
use crate::units::{Timescale, Vsock};

/// What was said last, so that only news is said.
#[derive(Debug, Default)]
pub(super) struct Narrator {
    status: Option<Status>,
    selected: Option<SourceId>,
    states: HashMap<SourceId, SourceState>,
    counted: HashMap<SourceId, Timescale>,
    /// The last disruption by its number, and whether its end was told.
    disruptions: (u64, bool),
    foreign: u64,
    /// Another program steers the clock, and that has been said: each of its acts is no news.
    disputed: bool,
    clock_error: bool,
    drift_error: bool,
    stamps_missing: bool,
    unreachable: HashMap<SocketAddr, i32>,
    unread: HashSet<SourceId>,
    unresolved: HashSet<String>,
}

impl Narrator {
    /// The agent published something.
    pub(super) fn published(&mut self, agent: &Agent) {
        let now = time::raw();
        let published = agent.published();
        let totals = agent.totals();
        if let Some(event) = &published.disruption {
            self.disruption(event);
        }
        if totals.foreign_steps > self.foreign && !self.disputed {
            tracing::warn!("somebody else set the clock ({} times so far)", totals.foreign_steps);
        }
        self.foreign = totals.foreign_steps;
        if self.status != Some(published.status) {
            self.status = Some(published.status);
            let bound = published.clock.at(now);
            match published.status {
                Status::Unsynchronised => tracing::info!("not synchronised yet"),
                Status::Synchronised => tracing::info!(
                    "synchronised: the time is known within {:.6} s, the clock is within {:.6} s",
                    published.line.at(now).as_secs_f64(),
                    bound.as_secs_f64()
                ),
                Status::Holdover => {
                    tracing::warn!("hold-over: no source can be followed, the bound grows from {:.6} s", bound.as_secs_f64())
                }
                Status::Disrupted => {}
            }
            watchdog::status(published.status.as_str());
        }
        if self.selected != published.selected {
            self.selected = published.selected;
            if let Some(name) = published.selected.and_then(|id| agent.source_name(id)) {
                tracing::info!("following {name} (stratum {})", published.snapshot.stratum.get());
            }
        }
        for (id, name, state) in agent.states() {
            if self.states.insert(id, state) != Some(state) && is_news(state) && !self.unread.contains(&id) {
                tracing::warn!("{name} is not followed: {}", state.reason());
            }
            match agent.counts_as(id) {
                Some((timescale, other)) if self.counted.insert(id, timescale) != Some(timescale) => {
                    tracing::info!("{name} agrees with {other}: its timescale counts as {}", timescale.as_str());
                }
                Some(_) => {}
                None => {
                    self.counted.remove(&id);
                }
            }
        }
    }

    fn disruption(&mut self, event: &Disruption) {
        if event.number != self.disruptions.0 {
            self.disruptions = (event.number, false);
            let who = event.witnesses().map(|(witness, _)| witness.as_str()).collect::<Vec<_>>().join(", ");
            tracing::warn!("time was disrupted: {} (told by {who}); asking all sources now", event.kind.sentence());
        }
        let Some(recovered) = event.recovered.filter(|_| !std::mem::replace(&mut self.disruptions.1, event.recovered.is_some())) else {
            return;
        };
        let took = recovered.since(event.since).seconds();
        match event.stepped {
            Some(step) => {
                tracing::warn!("time is right again {took:.3} s after the disruption was noticed: stepped by {:+.9} s", step.seconds())
            }
            None => tracing::warn!("verified {took:.3} s after the disruption was noticed: the clock was right, no step was needed"),
        }
    }

    /// Another program steers the clock too, or does no longer.
    pub(super) fn disputed(&mut self, yes: bool) {
        self.disputed = yes;
    }

    /// The clock was told something.
    pub(super) fn applied(&mut self, adjustment: &Adjustment, result: Result<&Applied, &ClockError>) {
        match result {
            Ok(Applied { stepped: Some(offset), .. }) => {
                if !self.disputed {
                    tracing::warn!("stepped the clock by {:+.9} s", offset.seconds());
                }
                self.clock_error = false;
            }
            Ok(_) => self.clock_error = false,
            Err(error) => {
                if !self.clock_error {
                    tracing::error!("{error} (while applying {:?})", adjustment.correction);
                }
                self.clock_error = true;
            }
        }
    }

    /// The drift file was written, or not.
    pub(super) fn saved(&mut self, drift: &DriftFile, result: io::Result<()>) {
        match result {
            Ok(()) => self.drift_error = false,
            Err(error) => {
                if !self.drift_error {
                    tracing::warn!("{}: {error}; the frequency is not kept, going on without", drift.path().display());
                }
                self.drift_error = true;
            }
        }
    }

    /// A local clock was read, or not: says so when that changes.
    pub(super) fn read(&mut self, source: SourceId, error: Option<&ReadError>) {
        let failing = error.filter(|e| !matches!(e, ReadError::SignalOnly { .. }));
        match (self.unread.contains(&source), failing) {
            (false, Some(error)) => {
                self.unread.insert(source);
                tracing::warn!("{error}; trying again from time to time");
            }
            (true, None) => {
                self.unread.remove(&source);
                tracing::info!("a local clock that could not be read can be read now");
            }
            _ => {}
        }
    }

    /// A name was looked up.
    pub(super) fn resolved(&mut self, host: &str, addresses: &[IpAddr]) {
        if !addresses.is_empty() {
            self.unresolved.remove(host);
        } else if self.unresolved.len() < 256 && self.unresolved.insert(host.to_owned()) {
            tracing::warn!("{host} cannot be resolved: check the name and the resolver; trying again from time to time");
        }
    }

    /// The kernel gives no packet stamps.
    pub(super) fn no_stamps(&mut self) {
        if !self.stamps_missing {
            tracing::info!("the kernel refuses packet time stamps: using the program's own, with more noise");
        }
        self.stamps_missing = true;
    }

    /// A request could not be sent, or was refused on its way.
    pub(super) fn send_failed(&mut self, server: SocketAddr, error: &io::Error) {
        let code = error.raw_os_error().unwrap_or(0);
        if self.unreachable.len() < 256 && self.unreachable.insert(server, code) != Some(code) {
            match Vsock::of(server.ip()) {
                Some(machine) if code == libc::EAFNOSUPPORT => tracing::warn!("{machine}: {LACKING}"),
                Some(machine) if matches!(code, libc::ENODEV | libc::ECONNRESET | libc::ECONNREFUSED) => {
                    tracing::warn!(
                        "{machine} port {}: {error}; does it serve (`allow vsock`), and has this machine a vsock device?",
                        server.port()
                    );
                }
                Some(machine) => tracing::warn!("{machine} port {}: {error}", server.port()),
                None => tracing::warn!("{server}: {error}"),
            }
        }
    }
}

fn is_news(state: SourceState) -> bool {
    matches!(
        state,
        SourceState::Falseticker
            | SourceState::Stopped
            | SourceState::Unreachable
            | SourceState::NoMajority
            | SourceState::Unsynchronised
            | SourceState::Distant
            | SourceState::Timescale
            | SourceState::TooFew
            | SourceState::Untrusted
    )
}
