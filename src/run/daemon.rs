//! `paraclock run`: sets the house up, hands it to the executor, and leaves it in order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_core::{OsRng, TryRngCore};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::cards::Cards;
use super::conflict::Conflict;
use super::devices::Devices;
use super::executor::{Departure, Executor, Shared, rivals_at_start};
use super::hooks::Board;
use super::logs::Logs;
use super::serve::{self, Viewer};
use super::setup::{self, Chosen};
use super::state::{self, DriftFile};
use super::{conflict, control_socket, keys, metrics, privileges, watchdog};
use crate::agent::{Agent, Setup, Surroundings};
use crate::clock::{Clock, Kernel, Shadow};
use crate::config::{Config, Conflict as Policy, Diagnostic, LeapSecondMode, RefclockDirective};
use crate::core::{Adjustment, Announcement, ClockError, Correction};
use crate::ntp::Keys;
use crate::platform::daemons::TimeDaemon;
use crate::platform::{self, Detection};
use crate::sys::{time, timex};
use crate::units::{Ppm, Timescale};
use crate::wire::control::{Platform, Report};

/// What the command line asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `-f`.
    pub file: Option<PathBuf>,
    /// `-x`: never touch the system clock.
    pub shadow: bool,
    /// `-u`.
    pub user: Option<String>,
    /// Directives instead of a file.
    pub directives: Vec<String>,
}

/// Why the daemon did not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong.
    #[error("{}", list(.0))]
    Config(Vec<Diagnostic>),
    /// The system refused something that we cannot do without.
    #[error("cannot {action}: {reason}")]
    System {
        /// What we tried.
        action: String,
        /// What it said.
        reason: io::Error,
    },
    /// Another program steers the clock, and `conflict` says to refuse.
    #[error(
        "{} steers the system clock already, and two would undo each other's work: stop it ({}), or write `conflict takeover` or `conflict yield`, or run with -x",
        .0.describe(),
        .0.unit.as_ref().map_or_else(|| format!("kill {}, and see what starts it", .0.pid), |unit| format!("systemctl disable --now {unit}"))
    )]
    Conflict(TimeDaemon),
    /// The user cannot be assumed.
    #[error(transparent)]
    Privileges(#[from] privileges::PrivilegeError),
}

fn list(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Runs until SIGTERM or SIGINT.
pub fn run(options: &Options) -> Result<(), Failure> {
    let machine = platform::detect(Path::new("/"));
    let chosen = setup::choose(options.file.as_deref(), &options.directives, &machine).map_err(Failure::Config)?;
    narrate_start(&chosen, &machine);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|reason| Failure::System { action: "start the event loop".to_owned(), reason })?;
    let outcome = runtime.block_on(live(options, &chosen, &machine));
    // A look-up that hangs must not keep us from ending.
    runtime.shutdown_background();
    outcome
}

fn narrate_start(chosen: &Chosen, machine: &Detection) {
    tracing::info!("paraclock {} starts with {}", env!("CARGO_PKG_VERSION"), chosen.origin);
    for warning in &chosen.config.warnings {
        tracing::warn!("{warning}");
    }
    if chosen.detected {
        for line in machine.lines() {
            tracing::info!("{line}");
        }
    }
    if chosen.config.servers.is_empty() && chosen.config.refclocks.is_empty() {
        tracing::warn!("no source is configured: add a server, pool or refclock line, or `autodetect on`");
    }
}

async fn live(options: &Options, chosen: &Chosen, machine: &Detection) -> Result<(), Failure> {
    let config = &chosen.config;
    let conflict = settle_with_rivals(options, config)?;
    // Before the clock is touched and while we may still bind the port.
    let keys = Arc::new(keys::read(config).map_err(Failure::Config)?);
    let mut opened = serve::open(config, &keys).map_err(Failure::Config)?;
    let signals = stop_signals()?;
    let pid_file = config.pid_file.as_deref().and_then(write_pid);
    let drift = config.driftfile.as_ref().map(|d| DriftFile::new(d.path.clone()));
    let known = drift.as_ref().and_then(load_drift);
    let (mut clock, denied) = open_clock(options.shadow, conflict.yields(), known);
    let guessed = raise_to_floor(clock.as_mut(), drift.as_ref());
    let witnesses = setup::witnesses(config, machine);
    let smeared = machine.ntp.iter().any(|source| source.timescale == Timescale::Smeared);
    let lines: Vec<RefclockDirective> = config.refclocks.iter().chain(&witnesses).cloned().collect();
    let found = chosen.written.refclocks..config.refclocks.len();
    let mut devices = Devices::from_lines(&lines, &found, chosen.detected, smeared);
    let metrics_listener = listen_for_metrics(config).await;
    let control = config.control.as_deref().and_then(control_socket::listen);
    let logs = config.log_dir.as_deref().filter(|_| !config.logs.is_empty()).and_then(|dir| Logs::open(dir, &config.logs));
    // Switching a card's stamps on needs rights that are given up below.
    let cards = (!config.hw_timestamps.is_empty()).then(|| Cards::open(config));
    if let (Some(opened), Some(_)) = (&mut opened, cards.as_ref().filter(|cards| !cards.is_empty())) {
        opened.stamp_by_cards();
    }
    if let Some(user) = options.user.as_deref().or(config.user.as_deref()) {
        // Devices that only root may open are opened by the first reading.
        devices.open_all();
        let mut paths: Vec<&Path> = config.control.as_deref().filter(|_| control.is_some()).into_iter().collect();
        paths.extend(drift.as_ref().map(DriftFile::path));
        // The directory too, where it is ours alone: the file is replaced, not rewritten.
        paths.extend(drift.as_ref().and_then(|d| d.path().parent()).filter(|p| p.ends_with("paraclock") || p.ends_with("chrony")));
        privileges::become_user(user, &paths)?;
    }
    let steers = clock.kind() == "kernel" || conflict.yields();
    let mut setup = agent_setup(chosen, clock.as_ref(), steers, known, guessed);
    setup.witnesses = witnesses;
    setup.keys = Keys::clone(&keys);
    if logs.is_some() {
        setup.notes.clone_from(&config.logs);
    }
    let agent = Agent::new(setup, time::raw());
    let shared = Shared::new(agent);
    let service = opened.map(serve::Opened::start);
    let viewer = service.as_ref().map(serve::Service::viewer);
    let hooks = (!config.hooks.is_empty()).then(|| {
        privileges::keep_to_ourselves();
        Board::new(config.hooks.clone())
    });
    let reports = reporter(&shared, machine, denied, hooks.clone(), viewer.clone());
    if let (Some(listener), Some(metrics)) = (metrics_listener, config.metrics) {
        tokio::spawn(metrics::serve(listener, reports.clone(), metrics.chrony_names));
    }
    let socket = control.map(|listener| {
        let clients = move || viewer.as_ref().map_or_else(Vec::new, |viewer| viewer.clients(time::raw()));
        tokio::spawn(control_socket::serve(listener, reports, clients));
        config.control.clone().map(Passing)
    });
    let departure = Departure {
        v4: config.acquisition_addresses.v4.map(Into::into),
        v6: config.acquisition_addresses.v6.map(Into::into),
        port: config.acquisition_port.filter(|&p| p != 0),
    };
    let mut executor = Executor::new(shared, clock, devices, departure, drift);
    executor.settle_disputes(conflict);
    if let Some(logs) = logs {
        executor.keep(logs);
    }
    if let Some(service) = &service {
        executor.show(service);
    }
    if let Some(cards) = cards {
        executor.use_cards(cards);
    }
    if let Some(hooks) = hooks {
        executor.set_off(hooks);
    }
    watchdog::ready();
    executor.run(signals).await;
    watchdog::stopping();
    tracing::info!("paraclock ends");
    drop((service, executor, socket, pid_file));
    Ok(())
}

/// Ready when SIGTERM or SIGINT arrives.
fn stop_signals() -> Result<impl Future<Output = ()>, Failure> {
    let open = |kind| signal(kind).map_err(|reason| Failure::System { action: "catch signals".to_owned(), reason });
    let (mut terminate, mut interrupt) = (open(SignalKind::terminate())?, open(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn load_drift(drift: &DriftFile) -> Option<(Ppm, Ppm)> {
    match drift.load() {
        Ok(Some((frequency, skew))) => {
            tracing::info!("{}: the counter runs {:+.3} ppm fast, give or take {:.3}", drift.path().display(), frequency.ppm(), skew.ppm());
            Some((frequency, skew))
        }
        Ok(None) => {
            make_room(drift.path());
            None
        }
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}

/// Makes the directory of a file that will be written later.
fn make_room(path: &Path) {
    if let Some(parent) = path.parent().filter(|p| !p.exists()) {
        if let Err(error) = fs::create_dir_all(parent) {
            tracing::warn!("{}: {error}; nothing will be kept between runs", parent.display());
        }
    }
}

/// Who else steers the clock that we are about to steer, and what follows by `conflict`.
fn settle_with_rivals(options: &Options, config: &Config) -> Result<Conflict, Failure> {
    let mut conflict = Conflict::new(config.conflict);
    if options.shadow || !privileges::may_set_clock() {
        return Ok(conflict);
    }
    let Some(rival) = rivals_at_start().into_iter().next() else { return Ok(conflict) };
    let name = rival.describe();
    // It may run and not steer, in a way that its command line does not tell; then it has left no trace.
    let untouched = timex::read().is_ok_and(|state| state.is_untouched());
    match config.conflict {
        Policy::Takeover => tracing::warn!("{name} steers the system clock too: taking it over (`conflict takeover`)"),
        Policy::Refuse if untouched => {
            tracing::warn!("{name} runs, but has not touched the system clock yet: steering it, until that does");
        }
        Policy::Refuse => return Err(Failure::Conflict(rival)),
        Policy::Yield => {
            tracing::warn!("{name} steers the system clock: leaving it to that until it ends (`conflict yield`)");
            conflict.begin_yielding(time::raw(), rival);
        }
    }
    Ok(conflict)
}

/// The kernel's clock if we may steer it and nobody else has it, else a shadow. Says once which and why.
fn open_clock(shadow: bool, yields: bool, drift: Option<(Ppm, Ppm)>) -> (Box<dyn Clock>, bool) {
    let rate = drift.map(|(fast, _)| Ppm::new(-fast.ppm()));
    if shadow {
        tracing::info!("keeping a shadow clock (-x): the system clock is not touched");
        return (Box::new(Shadow::new()), false);
    }
    if yields {
        return (Box::new(Shadow::new()), false);
    }
    match Kernel::new(rate) {
        Ok(kernel) => (Box::new(kernel), false),
        Err(error) => {
            tracing::warn!("{error}; keeping a shadow clock");
            (Box::new(Shadow::new()), error == ClockError::Denied)
        }
    }
}

/// Time never starts before the build of this program or the last time saved. True if the clock was moved.
fn raise_to_floor(clock: &mut dyn Clock, drift: Option<&DriftFile>) -> bool {
    let floor = state::floor(drift);
    let pair = clock.pair();
    if pair.time >= floor {
        return false;
    }
    tracing::warn!("the clock is before the build of this program or the last time saved: moving it forward");
    let offset = floor.since(pair.time);
    let announcement = Announcement::NOTHING_KNOWN;
    let correction = Correction::Step { offset, frequency: clock.course().rate };
    if let Err(error) = clock.apply(&Adjustment { correction, announcement }) {
        tracing::error!("{error}");
        return false;
    }
    true
}

fn agent_setup(chosen: &Chosen, clock: &dyn Clock, steers: bool, drift: Option<(Ppm, Ppm)>, guessed: bool) -> Setup {
    let mut seed = [0; 32];
    if let Err(error) = OsRng.try_fill_bytes(&mut seed) {
        // Nonces would be predictable to somebody who knows the start to a nanosecond: say so, and go on.
        tracing::error!("the system gives no random numbers ({error}): answers could be forged by a neighbour");
        seed[..8].copy_from_slice(&time::raw().nanos().to_le_bytes());
        seed[8..16].copy_from_slice(&time::realtime().nanos().to_le_bytes());
    }
    let tai = timex::read().ok().map(|s| s.tai_offset).and_then(|s| i16::try_from(s).ok()).filter(|&s| s != 0);
    let mut setup = Setup::from_config(&chosen.config, clock.course());
    for (server, timescale) in setup.servers.iter_mut().zip(&chosen.timescales) {
        server.1 = *timescale;
    }
    setup.core.clock_leaps = steers && chosen.config.leap_second_mode == LeapSecondMode::System;
    Setup { drift, clock_is_a_guess: guessed, watch: steers, tai_offset: tai, seed, ..setup }
}

async fn listen_for_metrics(config: &Config) -> Option<TcpListener> {
    let address = config.metrics?.address;
    match TcpListener::bind(address).await {
        Ok(listener) => {
            tracing::info!("metrics at http://{address}/metrics");
            Some(listener)
        }
        Err(error) => {
            tracing::warn!("metrics {address}: {error}; going on without (choose another address, or `metrics off`)");
            None
        }
    }
}

/// Makes reports for whoever asks.
fn reporter(
    shared: &Shared,
    machine: &Detection,
    denied: bool,
    hooks: Option<Board>,
    viewer: Option<Viewer>,
) -> impl Fn() -> Report + Clone + Send + Sync + 'static {
    let shared = shared.clone();
    let machine = machine.clone();
    move || {
        let root = Path::new("/");
        let platform = Platform { clocksource: platform::clocksource(root), ..machine.report(platform::steal_seconds(root)) };
        let mut problems = Vec::new();
        if denied {
            problems.push("the system clock is not steered: no CAP_SYS_TIME".to_owned());
        }
        let (clock_kind, conflict) = shared.steering();
        problems.extend(conflict.as_ref().map(conflict::problem));
        problems.extend(hooks.iter().flat_map(Board::problems));
        let hooks = hooks.as_ref().map(Board::report).unwrap_or_default();
        shared.look_for_suspend();
        let (devices, hardware) = (shared.devices(), shared.hardware());
        shared.agent().report(
            time::raw(),
            &Surroundings {
                clock_kind,
                platform,
                conflict,
                hooks,
                hardware,
                server: viewer.as_ref().map(Viewer::report),
                problems,
                devices,
            },
        )
    }
}

fn write_pid(path: &Path) -> Option<Passing> {
    make_room(path);
    match fs::write(path, format!("{}\n", std::process::id())) {
        Ok(()) => Some(Passing(path.to_owned())),
        Err(error) => {
            tracing::warn!("{}: {error}; going on without a pid file", path.display());
            None
        }
    }
}

/// A file that goes with the process.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        // Somebody may have removed it before us.
        let _ = fs::remove_file(&self.0);
    }
}
