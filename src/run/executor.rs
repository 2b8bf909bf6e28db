//! The event loop: carries out what the agent wants, and tells it what happened.
//!
//! One thread, one epoll. Every request has a socket of its own, registered once.

mod dispute;
mod flights;
mod stamps;

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::cards::Cards;
use super::conflict::Conflict;
use super::devices::{Change, Devices, Done};
use super::ears::{Ears, News};
use super::hooks::{Board, Hooks};
use super::logs::Logs;
use super::narrator::Narrator;
use super::serve::{Service, Slate, Viewer};
use super::state::DriftFile;
use super::vsock::Calls;
use super::watchdog::Watchdog;
use crate::agent::{Agent, DeviceFacts, Input, NameId, Output, Published};
use crate::clock::Clock;
use crate::core::{Applied, Signal, SourceId};
use crate::platform;
use crate::sys::{time, timex};
use crate::units::{Instant, Vsock};
use crate::wire::control::{Conflict as ConflictReport, Hardware};

use flights::{Flight, poll_flights};

pub use dispute::rivals_at_start;

/// An NTP answer with authentication and extension fields is not longer.
const MAX_DATAGRAM: usize = 2048;
/// A sleep of the machine shorter than this is not one.
const SHORTEST_SUSPEND: Duration = Duration::from_millis(50);
/// An event loop that comes later than this has been stalled.
const STALL: Duration = Duration::from_secs(1);
/// How often the kernel's clocksource is looked up.
const CLOCKSOURCE_CHECK: Duration = Duration::from_secs(10);
/// A wake-up that was due, and still is, comes again after this.
const SPIN_GUARD: Duration = Duration::from_millis(10);
/// With nothing to do at all, look around this often.
const IDLE: Duration = Duration::from_secs(64);

/// The agent, shared with whoever shows it (on the same thread).
#[derive(Clone, Debug)]
pub struct Shared(Arc<House>);

#[derive(Debug)]
struct House {
    agent: Mutex<Agent>,
    /// How long the machine had been suspended when we looked last.
    suspended: Mutex<Option<Duration>>,
    /// What is known of the devices behind refclocks.
    devices: Mutex<Vec<(SourceId, DeviceFacts)>>,
    /// Somebody else than the loop told the agent something.
    news: Notify,
    /// Network cards that stamp, and what became of their stamps.
    hardware: Mutex<Option<Hardware>>,
    /// Which clock is steered, and who else steers the system clock.
    steering: Mutex<(&'static str, Option<ConflictReport>)>,
}

impl Shared {
    /// Shares an agent.
    #[must_use]
    pub fn new(agent: Agent) -> Self {
        let suspended = Mutex::new(time::suspended());
        Self(Arc::new(House {
            agent: Mutex::new(agent),
            suspended,
            devices: Mutex::default(),
            news: Notify::new(),
            hardware: Mutex::default(),
            steering: Mutex::default(),
        }))
    }

    /// What is known of the devices behind refclocks.
    #[must_use]
    pub fn devices(&self) -> Vec<(SourceId, DeviceFacts)> {
        self.0.devices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at it or drives it. Never held across an await.
    pub fn agent(&self) -> MutexGuard<'_, Agent> {
        self.0.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kind of clock that is steered, and who else steers the system clock.
    #[must_use]
    pub fn steering(&self) -> (&'static str, Option<ConflictReport>) {
        self.0.steering.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Network cards that stamp, and what became of their stamps.
    #[must_use]
    pub fn hardware(&self) -> Option<Hardware> {
        self.0.hardware.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_hardware(&self, hardware: Hardware) {
        *self.0.hardware.lock().unwrap_or_else(PoisonError::into_inner) = Some(hardware);
    }

    fn set_steering(&self, clock_kind: &'static str, conflict: Option<ConflictReport>) {
        *self.0.steering.lock().unwrap_or_else(PoisonError::into_inner) = (clock_kind, conflict);
    }

    /// Tells the agent if the machine has slept since the last look; true if it has. Whoever is about to
    /// publish something looks first: nobody must read what was true before the sleep.
    pub fn look_for_suspend(&self) -> bool {
        let mut last = self.0.suspended.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(before), Some(now)) = (*last, time::suspended()) else { return false };
        let slept = now.saturating_sub(before);
        if slept < SHORTEST_SUSPEND {
            return false;
        }
        *last = Some(now);
        self.agent().handle(time::raw(), Input::Signal(Signal::Suspended { slept }));
        self.0.news.notify_one();
        true
    }
}

/// Where requests leave from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Departure {
    /// `bindacqaddress` for IPv4.
    pub v4: Option<IpAddr>,
    /// `bindacqaddress` for IPv6.
    pub v6: Option<IpAddr>,
    /// `acquisitionport`.
    pub port: Option<u16>,
}

type Resolution = (NameId, Vec<IpAddr>);

/// The event loop's state.
pub struct Executor {
    shared: Shared,
    clock: Box<dyn Clock>,
    devices: Devices,
    cards: Cards,
    departure: Departure,
    flights: Vec<Flight>,
    calls: Calls,
    resolved: (mpsc::Sender<Resolution>, mpsc::Receiver<Resolution>),
    drift: Option<DriftFile>,
    narrator: Narrator,
    logs: Option<Logs>,
    /// What serving threads read.
    slate: Option<(Arc<Slate>, Published)>,
    /// Tells who asks us.
    viewer: Option<Viewer>,
    hooks: Option<Hooks>,
    conflict: Conflict,
    /// The kernel's clock as it was at the last look while it is left to another.
    touched: Option<timex::State>,
    watchdog: Watchdog,
    ears: Ears,
    clocksource: (Instant, String),
    buffer: Box<[u8; MAX_DATAGRAM]>,
}

impl Executor {
    /// An executor for an agent whose first sources are these refclocks, in order.
    #[must_use]
    pub fn new(shared: Shared, clock: Box<dyn Clock>, devices: Devices, departure: Departure, drift: Option<DriftFile>) -> Self {
        shared.set_steering(clock.kind(), None);
        Self {
            shared,
            clock,
            devices,
            cards: Cards::default(),
            departure,
            flights: Vec::new(),
            calls: Calls::default(),
            resolved: mpsc::channel(64),
            drift,
            narrator: Narrator::default(),
            logs: None,
            slate: None,
            viewer: None,
            hooks: None,
            conflict: Conflict::default(),
            touched: None,
            watchdog: Watchdog::new(),
            ears: Ears::default(),
            clocksource: (time::raw(), platform::clocksource("/".as_ref())),
            buffer: Box::new([0; MAX_DATAGRAM]),
        }
    }

    /// Writes the agent's notes into these logs.
    pub fn keep(&mut self, logs: Logs) {
        self.logs = Some(logs);
    }

    /// Uses the stamps of these network cards.
    pub fn use_cards(&mut self, cards: Cards) {
        self.cards = cards;
        self.publish_cards();
    }

    /// Tells those who serve time of every change, before anything else is done about it.
    pub fn show(&mut self, service: &Service) {
        let (slate, published) = (service.slate(), *self.shared.agent().published());
        slate.publish(&published);
        self.slate = Some((slate, published));
        self.viewer = Some(service.viewer());
    }

    fn publish(&mut self) {
        if let Some((slate, shown)) = &mut self.slate {
            let published = *self.shared.agent().published();
            if published.snapshot != shown.snapshot || published.course.rate != shown.course.rate {
                slate.publish(&published);
                *shown = published;
            }
        }
    }

    /// Runs the programs on this board.
    pub fn set_off(&mut self, board: Board) {
        self.hooks = Some(Hooks::new(board));
    }

    /// The clock that it steers.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Runs until `stop` is ready.
    pub async fn run(&mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
        let mut last_due = Instant::ZERO;
        self.ears = Ears::open(self.clock.kind() == "kernel");
        self.execute();
        loop {
            let due = self.due();
            if due <= time::raw() && std::mem::replace(&mut last_due, due) == due {
                // Nothing that is due stays due: a mistake here must not cost a whole CPU.
                tokio::time::sleep(SPIN_GUARD).await;
            }
            sleep.as_mut().reset(tokio::time::Instant::now() + due.elapsed_since(time::raw()));
            // Borrowed apart, so that each branch can wait on its own part.
            let (flights, resolved, buffer, shared) = (&mut self.flights, &mut self.resolved.1, &mut self.buffer, &self.shared);
            let ears = &mut self.ears;
            let (devices, calls) = (&mut self.devices, &mut self.calls);
            tokio::select! {
                biased;
                () = &mut stop => break,
                news = poll_fn(|context| ears.poll(context)) => {
                    self.hear(news);
                    if due <= time::raw() {
                        self.wake(due);
                    }
                }
                (index, received) = poll_fn(|context| poll_flights(flights, buffer, context)) => {
                    self.receive(index, received);
                    // However many packets come, what is due is done.
                    if due <= time::raw() {
                        self.wake(due);
                    }
                }
                Some(answer) = calls.answered() => self.answered(answer),
                () = shared.0.news.notified() => self.look_at_clock(),
                Some((name, addresses)) = resolved.recv() => self.resolved(name, &addresses),
                Some(done) = devices.returned() => {
                    self.shared.look_for_suspend();
                    self.have_read(done);
                }
                () = &mut sleep => self.wake(due),
            }
            self.execute();
        }
        self.tell(Input::Farewell);
        self.execute();
    }

    fn hear(&mut self, news: News) {
        self.shared.look_for_suspend();
        match news {
            News::ClockSet => self.look_at_clock(),
            News::Restored => self.tell(Input::Signal(Signal::Restored)),
            News::Devices => self.look_at_devices(),
            News::Refclock(source) => self.tell(Input::Notified { source }),
        }
    }

    fn due(&self) -> Instant {
        let idle = time::raw() + IDLE;
        let agent = self.shared.agent().next_wake().unwrap_or(idle).min(idle);
        [self.watchdog.next(), self.cards.next()].into_iter().flatten().fold(agent, Instant::min)
    }

    fn tell(&self, input: Input<'_>) {
        self.shared.agent().handle(time::raw(), input);
    }

    fn wake(&mut self, due: Instant) {
        let now = time::raw();
        self.watchdog.pat(now);
        self.shared.look_for_suspend();
        self.look_at_clock();
        self.look_at_dispute(now);
        self.look_at_clocksource(now);
        if self.devices.is_look_due(now) {
            self.look_at_devices();
        }
        if self.cards.read_due(now) {
            self.publish_cards();
        }
        let late = now.elapsed_since(due);
        if late > STALL {
            self.tell(Input::Signal(Signal::Stalled { late }));
        }
        self.tell(Input::Timer);
    }

    fn look_at_clock(&mut self) {
        let before = self.clock.course();
        if let Some(signal) = self.clock.watch() {
            if !self.is_left_to_another(&signal, &before) {
                self.tell(Input::Signal(signal));
            }
        } else if self.clock.course() != before {
            self.tell(Input::Course(self.clock.course()));
        }
    }

    fn look_at_clocksource(&mut self, now: Instant) {
        if now < self.clocksource.0 + CLOCKSOURCE_CHECK {
            return;
        }
        let found = platform::clocksource("/".as_ref());
        let changed = found != self.clocksource.1 && !found.is_empty() && !self.clocksource.1.is_empty();
        if changed {
            tracing::warn!("the kernel's clocksource changed from {} to {found}", self.clocksource.1);
            self.devices.on_clocksource_change();
            self.tell(Input::Signal(Signal::ClocksourceChanged));
            self.look_at_devices();
        }
        self.clocksource = (now, found);
    }

    /// Carries out everything the agent wants now.
    fn execute(&mut self) {
        loop {
            self.publish();
            let output = self.shared.agent().poll();
            match output {
                None => break,
                Some(Output::Read(source)) => {
                    if let Some(done) = self.devices.read(source) {
                        self.have_read(done);
                    }
                }
                Some(Output::Open { source, directive }) => self.devices.open(source, &directive),
                Some(Output::Send { token, to, bytes }) => match Vsock::of(to.ip()) {
                    Some(machine) => self.calls.begin(token, machine, to.port(), bytes),
                    None => self.send(token, to, &bytes),
                },
                Some(Output::Close(token)) => self.land(token),
                Some(Output::Apply(adjustment)) => {
                    let result = self.clock.apply(&adjustment);
                    self.narrator.applied(&adjustment, result.as_ref());
                    if let (Some(hooks), Ok(Applied { stepped: Some(by), .. })) = (&mut self.hooks, &result) {
                        hooks.stepped(*by);
                    }
                    self.tell(Input::Applied(result));
                }
                Some(Output::Resolve(name)) => self.resolve(name),
                Some(Output::Save { frequency, skew }) => {
                    if let Some(drift) = &self.drift {
                        self.narrator.saved(drift, drift.save(frequency, skew));
                    }
                }
                Some(Output::Publish) => {
                    let agent = self.shared.agent();
                    self.narrator.published(&agent);
                    if let Some(hooks) = &mut self.hooks {
                        hooks.published(&agent);
                    }
                }
                Some(Output::Note(note)) => {
                    if let Some(logs) = &mut self.logs {
                        logs.write(&note);
                    }
                }
            }
        }
        if let Some(hooks) = &mut self.hooks {
            hooks.settle(&self.shared.agent());
        }
    }

    fn have_read(&mut self, done: Done) {
        let Done { source, result, rations, vanished } = done;
        if let Some(device) = self.devices.device(source) {
            self.ears.attend(source, device);
        }
        self.narrator.read(source, result.as_ref().err());
        if result.as_ref().is_ok_and(|reading| self.shared.agent().seems_torn(source, reading)) {
            if let Some(seconds) = platform::steal_seconds("/".as_ref()) {
                self.tell(Input::Stolen { source, seconds });
            }
        }
        self.tell(Input::Reading { source, result });
        for (source, interval) in rations {
            self.tell(Input::Rationed { source, interval });
        }
        if vanished {
            self.look_at_devices();
        }
        self.share_devices();
    }

    /// Looks which clocks the machine has now: when one is said to have come or gone, and now and then.
    pub(super) fn look_at_devices(&mut self) {
        for change in self.devices.look(time::raw()) {
            match change {
                Change::Found(directive) => self.tell(Input::Found(Box::new(directive))),
                Change::Back(source) => self.tell(Input::Back(source)),
                Change::Gone(source) => {
                    self.ears.forget(source);
                    self.devices.close(source);
                    self.tell(Input::Gone(source));
                }
            }
        }
        self.share_devices();
    }

    fn share_devices(&self) {
        let mut shown = self.shared.0.devices.lock().unwrap_or_else(PoisonError::into_inner);
        self.devices.show(&mut shown);
    }

    fn resolved(&mut self, name: NameId, addresses: &[IpAddr]) {
        if let Some(host) = self.shared.agent().host(name) {
            self.narrator.resolved(host, addresses);
        }
        self.tell(Input::Resolved { name, addresses });
    }

    /// Looks a name up on a thread of tokio's, which exists only from then on.
    fn resolve(&self, name: NameId) {
        let Some(host) = self.shared.agent().host(name).map(str::to_owned) else { return };
        let answers = self.resolved.0.clone();
        tokio::spawn(async move {
            let addresses = match tokio::net::lookup_host((host.as_str(), 123)).await {
                Ok(found) => found.map(|a| a.ip()).collect(),
                Err(error) => {
                    tracing::debug!("{host}: {error}");
                    Vec::new()
                }
            };
            // The loop may have ended meanwhile.
            let _ = answers.send((name, addresses)).await;
        });
    }
}
