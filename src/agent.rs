//! Floor 5: the one machine. Core and associations; [`Input`] in, [`Output`]s out.
//!
//! `run/daemon.rs` and `sim/world.rs` are two executors of this same machine, so everything it
//! decides (polls, reach, kisses, disruption, hold-over) is simulated as well as run. Nothing here
//! reads a clock, opens a socket or logs: time arrives as `now`, randomness from a seed.

mod authentication;
mod clocks;
mod disruption;
mod exchange;
mod local_clock;
mod local_mode;
mod names;
mod notes;
mod orphan;
mod recording;
mod report;
mod smoothing;
mod windows;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::config::{SelectOptions, ServerDirective};
use crate::core::{Adjustment, Applied, ClockError, Core, Correction, Decision, Event, SourceId, SourceState, Status};
use crate::ntp::{Association, AssociationOptions, Curve, Outcome, Snapshot, StampedBy, Token, reference_id_of};
use crate::trace::Beginning;
use crate::units::{Bound, Instant, Leap, Offset, Ppm, ReferenceId, Stratum, Timescale, Vsock, shown};

use authentication::Authentication;
pub use disruption::{Disruption, DisruptionKind, Witness};
pub use exchange::{Input, NameId, Output, Published, Setup, Totals};
use local_clock::LocalClock;
use local_mode::LocalMode;
use names::Name;
use notes::Notes;
pub use notes::{Considered, Estimated, Label, Measured, Note, Read, Updated};
pub use report::{DeviceFacts, Surroundings};
use smoothing::Smoothing;

/// More sources than this are not followed.
const MAX_SOURCES: usize = 64;
/// How often a steered clock is looked after.
const WATCH: Duration = Duration::from_secs(1);
/// The first save of the frequency comes this long after the start.
const FIRST_SAVE: Duration = Duration::from_secs(20);
/// The state is saved at least this often (the drift file's age tells the next start the time).
const SAVE_INTERVAL: Duration = Duration::from_secs(3600);

#[derive(Debug)]
enum Kind {
    Ntp(Box<Association>),
    Local(Box<LocalClock>),
}

#[derive(Debug)]
struct Source {
    id: SourceId,
    name: String,
    from: Option<NameId>,
    select: SelectOptions,
    timescale: Timescale,
    kind: Kind,
    denied: bool,
    was_reachable: bool,
    sequence: u32,
    /// Nobody configured it: it is read for what it tells of disruptions, and shown to nobody.
    hidden: bool,
    /// It asks us for the time too.
    asks_us: bool,
    /// Its last answer was an orphan's; by this id the server is known.
    orphan: Option<ReferenceId>,
    /// The frequency and its uncertainty that were noted last.
    noted: Option<(Ppm, Ppm)>,
}

/// The one machine.
#[derive(Debug)]
pub struct Agent {
    core: Core,
    sources: Vec<Source>,
    names: Vec<Name>,
    next_id: u32,
    outputs: VecDeque<Output>,
    rng: ChaCha12Rng,
    totals: Totals,
    published: Published,
    core_next: Option<Instant>,
    watch: bool,
    next_watch: Instant,
    started: Instant,
    saved: Option<(Instant, Ppm)>,
    save_interval: Duration,
    precision: i8,
    tai_offset: Option<i16>,
    clock_error: Option<ClockError>,
    woke: Option<Instant>,
    disruption: Option<Disruption>,
    notes: Option<Box<Notes>>,
    /// The source followed last, if it is gone.
    departed: Option<(SourceId, String)>,
    local: LocalMode,
    smoothing: Smoothing,
    authentication: Authentication,
}

impl Agent {
    /// An agent that begins at `now`. Its first outputs are ready.
    #[must_use]
    pub fn new(setup: Setup, now: Instant) -> Self {
        // A drift file says how fast the counter is; the line, how much faster time runs than the counter.
        let drift = setup.drift.map(|(fast, skew)| (Ppm::new(-fast.ppm()), skew));
        let smoothing = Smoothing::new(setup.smoothtime, setup.core.leap_slews);
        let beginning = Beginning {
            options: setup.core,
            at: now,
            course: setup.course,
            drift,
            clock_is_a_guess: setup.clock_is_a_guess,
            tai_offset: setup.tai_offset,
        };
        let core = beginning.core();
        let published = Published { clock: core.bounds(now).1, ..publish(&core, now, setup.precision, ReferenceId::NONE) };
        let mut agent = Self {
            core,
            sources: Vec::with_capacity(16),
            names: Vec::new(),
            next_id: 0,
            outputs: VecDeque::with_capacity(32),
            rng: ChaCha12Rng::from_seed(setup.seed),
            totals: Totals::default(),
            published,
            core_next: None,
            watch: setup.watch,
            next_watch: now + WATCH,
            started: now,
            saved: None,
            save_interval: setup.save_interval,
            precision: setup.precision,
            tai_offset: setup.tai_offset,
            clock_error: None,
            woke: None,
            disruption: None,
            notes: Notes::new(setup.notes),
            departed: None,
            local: LocalMode::new(setup.local, now),
            smoothing,
            authentication: Authentication::new(setup.keys, setup.auth_select_mode, &setup.servers),
        };
        agent.published.snapshot.local = agent.local.reference(&agent.core, now);
        agent.begin(beginning);
        for directive in &setup.refclocks {
            let _ = agent.add_refclock(directive, false, now);
        }
        for directive in &setup.witnesses {
            let _ = agent.add_refclock(directive, true, now);
        }
        for (directive, timescale) in setup.servers {
            agent.add_server(directive, timescale, now);
        }
        agent.outputs.push_back(Output::Publish);
        agent
    }

    /// Takes in one input. Outputs are then ready in [`Agent::poll`].
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.look_before(now);
        match input {
            Input::Timer => self.on_timer(now),
            Input::Reading { source, result } => self.on_reading(now, source, result),
            Input::Notified { source } => self.on_notice(now, source),
            Input::Stolen { source, seconds } => {
                if let Some(clock) = self.local(source) {
                    clock.windows().look_at_steal(seconds);
                }
            }
            Input::Found(directive) => {
                if let Some(source) = self.add_refclock(&directive, false, now) {
                    self.outputs.push_back(Output::Open { source, directive });
                }
            }
            Input::Rationed { source, interval } => {
                if let Some(clock) = self.local(source) {
                    clock.ration(interval);
                }
            }
            Input::Back(source) => {
                if let Some(clock) = self.local(source) {
                    clock.hurry(now);
                }
            }
            Input::Gone(source) => self.remove_source(now, source),
            Input::Signal(signal) => self.on_signal(now, signal, false),
            Input::Course(course) => self.consult(now, Event::Course(course)),
            Input::Applied(result) => self.on_applied(now, result),
            Input::Datagram { token, from, to, received, by, bytes } => self.on_datagram(now, token, from, to, (received, by), bytes),
            Input::Sent { token, at, by } => {
                if let Some(Source { kind: Kind::Ntp(association), .. }) = self.source_of(token) {
                    association.on_sent(token, at, by);
                }
            }
            Input::SendFailed { token } => {
                if let Some(Source { kind: Kind::Ntp(association), .. }) = self.source_of(token) {
                    association.on_send_failed(token, now);
                }
                self.outputs.push_back(Output::Close(token));
            }
            Input::AskedBy(address) => {
                let is_it = |s: &&mut Source| matches!(&s.kind, Kind::Ntp(association) if association.address().ip() == address);
                self.sources.iter_mut().filter(is_it).for_each(|s| s.asks_us = true);
            }
            Input::Resolved { name, addresses } => self.on_resolved(now, name, addresses),
            Input::Farewell => self.save(now, true),
        }
        self.note_update(now);
        self.count_disruption(now, false);
        self.publish(now);
    }

    /// Tells the world, if there is news.
    fn publish(&mut self, now: Instant) {
        let follows = self.followed_reference_id();
        let mut published = Published { disruption: self.disruption, ..publish(&self.core, now, self.precision, follows) };
        published.snapshot.local = self.local.reference(&self.core, now);
        self.smoothing.follow(&self.published.snapshot, &mut published.snapshot, &self.core, now);
        if published.differs_from(&self.published) {
            // How wrong the clock can be costs more to say than everything else, and is no news by itself.
            self.published = Published { clock: self.core.bounds(now).1, ..published };
            if published.status != Status::Disrupted {
                // What is told late is told once, after what was done about it.
                self.outputs.retain(|output| *output != Output::Publish);
            }
            self.outputs.push_back(Output::Publish);
        }
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timer`] should come at the latest.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let sources = self.sources.iter().filter_map(|s| match &s.kind {
            Kind::Ntp(association) => association.next(),
            Kind::Local(clock) => Some(clock.next()),
        });
        let names = self.names.iter().filter_map(Name::next);
        let watch = self.watch.then_some(self.next_watch);
        sources.chain(names).chain(watch).chain(self.core_next).min()
    }

    /// What everybody may know.
    #[must_use]
    pub const fn published(&self) -> &Published {
        &self.published
    }

    /// Totals since the start.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The core, for the curious (reports, simulator).
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// The host name behind a [`NameId`].
    #[must_use]
    pub fn host(&self, name: NameId) -> Option<&str> {
        self.names.iter().find(|n| n.id == name).map(|n| n.directive.name.as_str())
    }

    /// The name of a source as people know it.
    #[must_use]
    pub fn source_name(&self, id: SourceId) -> Option<&str> {
        let departed = || self.departed.as_ref().filter(|departed| departed.0 == id).map(|departed| departed.1.as_str());
        self.sources.iter().find(|s| s.id == id).map(|s| s.name.as_str()).or_else(departed)
    }

    /// The server that a source asks; `None` for a refclock.
    #[must_use]
    pub fn server(&self, id: SourceId) -> Option<SocketAddr> {
        self.sources.iter().find(|s| s.id == id).and_then(|s| match &s.kind {
            Kind::Ntp(association) => Some(association.address()),
            Kind::Local(_) => None,
        })
    }

    /// Every source with its name and state.
    pub fn states(&self) -> impl Iterator<Item = (SourceId, &str, SourceState)> {
        self.sources.iter().filter(|s| !s.hidden).map(move |s| (s.id, s.name.as_str(), self.core.state(s.id)))
    }

    fn new_id(&mut self) -> SourceId {
        let id = SourceId(self.next_id);
        self.next_id += 1;
        id
    }

    fn add_server(&mut self, directive: ServerDirective, timescale: Timescale, now: Instant) {
        if let Some(address) = Vsock::or_ip(&directive.name) {
            self.add_association(&directive, address, timescale, None, now);
            return;
        }
        let id = NameId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(Name::new(id, directive, timescale, now));
    }

    fn add_association(&mut self, directive: &ServerDirective, address: IpAddr, timescale: Timescale, from: Option<NameId>, now: Instant) {
        if self.sources.len() >= MAX_SOURCES {
            return;
        }
        let id = self.new_id();
        let options = AssociationOptions {
            min_poll: directive.min_poll,
            max_poll: directive.max_poll,
            iburst: directive.iburst,
            burst: directive.burst,
            min_stratum: directive.min_stratum,
            version: directive.version.unwrap_or(4),
            offset: directive.offset,
            max_delay: directive.max_delay,
            xleave: directive.xleave,
            timescale,
        };
        // Not all at once: up to 20 ms apart for what is added together.
        let first = now + Duration::from_micros(u64::from(self.rng.next_u32() % 20_000));
        let name = if directive.is_pool() || from.is_none() { shown(address) } else { directive.name.clone() };
        let effective = self.authentication.of_server(directive);
        let mut association = Association::new(id, SocketAddr::new(address, directive.port), options, first);
        if directive.key.is_some() {
            association = association.authenticated_by(self.authentication.key(directive));
        }
        self.take_up(now, id, &name, effective, false);
        self.sources.push(Source {
            id,
            name,
            from,
            select: directive.select,
            timescale,
            kind: Kind::Ntp(Box::new(association)),
            denied: false,
            was_reachable: true,
            sequence: 0,
            hidden: false,
            asks_us: false,
            orphan: None,
            noted: None,
        });
    }

    fn remove_source(&mut self, now: Instant, id: SourceId) {
        let Some(place) = self.sources.iter().position(|s| s.id == id) else { return };
        let gone = self.sources.remove(place);
        if let Kind::Ntp(association) = gone.kind {
            self.outputs.extend(association.awaited().map(Output::Close));
        }
        if self.core.reference().is_some_and(|reference| reference.source == id) {
            self.departed = Some((id, gone.name));
        }
        self.let_go(now, id);
    }

    fn source_of(&mut self, token: Token) -> Option<&mut Source> {
        let id = u32::try_from(token.0 >> 32).ok()?;
        self.sources.iter_mut().find(|s| s.id.0 == id)
    }

    fn on_timer(&mut self, now: Instant) {
        self.totals.wakeups += 1;
        for i in 0..self.sources.len() {
            self.poll_source(now, i);
        }
        self.replace_the_silent(now);
        for name in &mut self.names {
            if let Some(id) = name.on_timer(now) {
                self.outputs.push_back(Output::Resolve(id));
            }
        }
        let watched = self.watch && now >= self.next_watch;
        if watched {
            // Whole seconds of the timebase, so that this wake-up and those of refclocks fall together.
            self.next_watch = next_multiple(now, WATCH);
        }
        if watched || self.core_next.is_some_and(|next| now >= next) {
            self.consult(now, Event::Tick);
        }
        self.save(now, false);
    }

    fn poll_source(&mut self, now: Instant, i: usize) {
        let source = &mut self.sources[i];
        match &mut source.kind {
            Kind::Local(clock) => {
                if clock.on_timer(now) {
                    self.outputs.push_back(Output::Read(source.id));
                }
            }
            Kind::Ntp(association) => {
                if let Some(token) = association.give_up(now) {
                    self.outputs.push_back(Output::Close(token));
                }
                let token = Token(u64::from(source.id.0) << 32 | u64::from(source.sequence));
                if let Some((request, replaced)) = association.on_timer(now, token, &mut self.rng) {
                    source.sequence = source.sequence.wrapping_add(1);
                    if let Some(token) = replaced {
                        self.outputs.push_back(Output::Close(token));
                    }
                    self.outputs.push_back(Output::Send { token: request.token, to: request.to, bytes: request.bytes });
                }
            }
        }
        let reachable = match &source.kind {
            Kind::Ntp(association) => association.reach().is_reachable() || association.unanswered() < 8,
            Kind::Local(clock) => !clock.is_absent() && (clock.reach().is_reachable() || clock.unanswered() < 8),
        };
        let lost = source.was_reachable && !reachable;
        source.was_reachable = reachable;
        let id = source.id;
        if lost {
            self.consult(now, Event::Unreachable(id));
        }
    }

    fn on_notice(&mut self, now: Instant, id: SourceId) {
        let Some(i) = self.sources.iter().position(|s| s.id == id) else { return };
        if let Kind::Local(clock) = &mut self.sources[i].kind {
            clock.hurry(now);
            self.poll_source(now, i);
        }
    }

    fn on_applied(&mut self, now: Instant, result: Result<Applied, ClockError>) {
        match result {
            Ok(applied) => {
                self.clock_error = None;
                if applied.stepped.is_some() {
                    self.totals.steps += 1;
                    if let Some(event) = self.disruption.as_mut().filter(|e| e.recovered.is_some_and(|at| now < at + WATCH)) {
                        event.stepped = event.stepped.or(applied.stepped);
                    }
                }
                self.consult(now, Event::Applied(applied));
            }
            Err(error) => {
                self.totals.clock_errors += 1;
                self.clock_error = Some(error);
                // Trying again at once would not help.
                self.core_next = Some(now + WATCH);
            }
        }
    }

    fn on_datagram(&mut self, now: Instant, token: Token, from: SocketAddr, to: IpAddr, stamp: (Option<Instant>, StampedBy), bytes: &[u8]) {
        let time = self.core.line().at(now);
        let Some(source) = self.source_of(token) else {
            self.totals.stray_packets += 1;
            return;
        };
        let id = source.id;
        let Kind::Ntp(association) = &mut source.kind else { return };
        if association.address() != from {
            self.totals.stray_packets += 1;
            return;
        }
        let awaited = association.awaited() == Some(token);
        association.on_stamp(stamp.1);
        let outcome = association.on_datagram(stamp.0, to, time, bytes);
        let answered = awaited && association.awaited().is_none();
        source.denied |= outcome == Outcome::Denied;
        let asks_us = source.asks_us;
        source.was_reachable = match outcome {
            Outcome::Sample(_) | Outcome::Repeated | Outcome::Unsynchronised => true,
            Outcome::Rejected(_) => source.was_reachable,
            Outcome::Denied => false,
        };
        if answered {
            self.outputs.push_back(Output::Close(token));
        }
        match outcome {
            Outcome::Sample(mut sample) => {
                sample.asks_us = asks_us;
                let event = if self.may_be_followed(id, &sample, to) { Event::Sample(sample) } else { Event::Unsynchronised(id) };
                self.consult(now, event);
            }
            Outcome::Unsynchronised => {
                self.consult(now, Event::Unsynchronised(id));
            }
            Outcome::Repeated | Outcome::Rejected(_) => {}
            Outcome::Denied => {
                self.consult(now, Event::Unreachable(id));
            }
        }
        self.note_answer(now, id, &outcome, bytes);
        if matches!(outcome, Outcome::Sample(_)) {
            self.adapt_poll(id);
        }
    }

    fn adapt_poll(&mut self, id: SourceId) {
        let Some(Source { kind: Kind::Ntp(association), .. }) = self.sources.iter_mut().find(|s| s.id == id) else { return };
        let (sigmas, gain) = self.core.outlook(id);
        association.adapt(sigmas, gain);
    }

    fn obey(&mut self, decision: &Decision) {
        self.core_next = decision.next;
        if let Some(adjustment) = decision.adjustment {
            let moves = match adjustment.correction {
                Correction::Hold => false,
                Correction::Slew { offset, .. } | Correction::Step { offset, .. } => offset != Offset::ZERO,
            };
            let is_step = |output: &Output| matches!(output, Output::Apply(Adjustment { correction: Correction::Step { .. }, .. }));
            if moves && self.outputs.iter().any(is_step) {
                // That was reckoned from where the clock is before the step that is to be made: with it the way would be gone twice.
                return;
            }
            self.totals.slews += u64::from(moves && matches!(adjustment.correction, Correction::Slew { .. }));
            self.outputs.push_back(Output::Apply(adjustment));
        }
    }

    /// Saves the frequency early once, then hourly, and whenever it became known twice as well.
    fn save(&mut self, now: Instant, leaving: bool) {
        if self.core.status().0 != Status::Synchronised {
            return;
        }
        let skew = self.core.skew();
        let due = match self.saved {
            None => now >= self.started + FIRST_SAVE && skew.ppm() < 5.0,
            Some((at, known)) => {
                now >= at + self.save_interval.min(SAVE_INTERVAL) || (skew.ppm() < known.ppm() / 2.0 && now >= at + FIRST_SAVE)
            }
        };
        if due || (leaving && skew.ppm() < 50.0) {
            self.saved = Some((now, skew));
            let frequency = Ppm::new(-self.core.line().frequency().ppm());
            self.outputs.push_back(Output::Save { frequency, skew });
        }
    }

    fn followed_reference_id(&self) -> ReferenceId {
        let Some(reference) = self.core.reference() else { return ReferenceId::NONE };
        // Who is gone and nobody has taken its place stays what was followed last.
        let last = self.published.snapshot.reference_id;
        self.sources.iter().find(|s| s.id == reference.source).map_or(last, |source| match &source.kind {
            Kind::Ntp(association) => reference_id_of(association.address().ip()),
            Kind::Local(clock) => clock.reference_id(),
        })
    }
}

/// All but how wrong the clock can be.
fn publish(core: &Core, now: Instant, precision: i8, reference_id: ReferenceId) -> Published {
    let (status, since) = core.status();
    let line = core.line_bound();
    let trusted = status.keeps_time() && line.is_known();
    let reference = core.reference();
    // Time of the last stratum there is may be followed, but not handed on.
    let served = reference.filter(|r| trusted && r.stratum < Stratum::UNSYNCHRONISED);
    let snapshot = Snapshot {
        line: *core.line(),
        bound: line,
        borrowed: core.borrowed(),
        leap: served.map_or(Leap::Unsynchronised, |r| r.leap),
        stratum: served.map_or(Stratum::UNSYNCHRONISED, |r| r.stratum),
        reference_id,
        reference: reference.map_or(core.line().at(now), |r| core.line().at(r.at)),
        root_delay: reference.map_or(Duration::ZERO, |r| r.root_delay),
        precision,
        local: None,
        curve: Curve::NONE,
    };
    let selected = if trusted { reference.map(|r| r.source) } else { None };
    Published { status, since, snapshot, line, clock: Bound::UNKNOWN, course: *core.course(), selected, disruption: None }
}

/// The first multiple of `step` on the timebase that lies after `now`.
fn next_multiple(now: Instant, step: Duration) -> Instant {
    let step = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX).max(1);
    let nanos = now.nanos();
    Instant::from_nanos(nanos - nanos.rem_euclid(step)) + Duration::from_nanos(step.unsigned_abs())
}

#[cfg(test)]
mod tests;
