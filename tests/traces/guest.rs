//! A guest in a small world of its own, in which much goes wrong, with the trace of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use paraclock::agent::{Agent, Input, Note, Output, Setup};
use paraclock::clock::{Clock, Simulated, Timebase};
use paraclock::config::{Files, LogKind, parse_directives};
use paraclock::core::{Generation, ReadError, Reading, Signal, SourceId};
use paraclock::ntp::Token;
use paraclock::trace::{Record, Recorder};
use paraclock::units::{Instant, Leap, NtpTimestamp, Offset, ReferenceId, Timestamp};
use paraclock::wire::ntp::{Header, Mode};

const CONFIG: [&str; 7] = [
    "refclock PHC /dev/ptp0 poll 2",
    "refclock KVM poll 4",
    "refclock VMCLOCK /dev/vmclock0 poll 4",
    "server 192.0.2.1 iburst minpoll 4 maxpoll 6",
    "server 192.0.2.2 iburst minpoll 4 maxpoll 6",
    "server 192.0.2.3 iburst minpoll 4 maxpoll 6",
    "pool pool.example iburst minpoll 4 maxpoll 6 maxsources 2",
];
/// `makestep 0.1 3`, so that the first error is stepped away.
const MAKESTEP: &str = "makestep 0.1 3";
/// The clock's error at the start.
const FIRST_ERROR: f64 = 0.3;

/// What happens, in seconds of the timebase.
const LIE: f64 = 600.0;
const FOREIGN_STEP: f64 = 900.0;
const SLEEP: f64 = 1500.0;
const RESTORE: f64 = 2000.0;
const SILENCE: (f64, f64) = (2500.0, 4000.0);

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> Result<String, String> {
        Err("there are no files".to_owned())
    }

    fn list(&self, _: &Path, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

/// The guest, and all that was recorded of it.
pub(super) struct Guest {
    pub(super) agent: Agent,
    pub(super) clock: Simulated,
    timebase: Timebase,
    pub(super) records: Vec<Record>,
    /// By how much true time is ahead of what the timebase alone would say.
    skipped: Offset,
    /// True seconds lost for each second of the timebase.
    slow: f64,
    /// When the rate changed last.
    since: Instant,
    truth_then: Timestamp,
    chance: u64,
    marker: u64,
}

impl Guest {
    pub(super) fn new() -> Self {
        let timebase = Timebase::new(Instant::from_nanos(1_234_567_890));
        let epoch = Timestamp::from_parts(1_800_000_000, 0);
        let clock = Simulated::new(timebase.clone(), epoch + Offset::from_seconds(FIRST_ERROR));
        let lines: Vec<String> = CONFIG.iter().chain([&MAKESTEP]).map(|&line| line.to_owned()).collect();
        let config = parse_directives(&lines, &NoFiles).expect("good directives");
        let setup = Setup { watch: true, notes: vec![LogKind::Trace], ..Setup::from_config(&config, clock.course()) };
        let agent = Agent::new(setup, timebase.now());
        let since = timebase.now();
        let mut guest = Self {
            agent,
            clock,
            timebase,
            records: Vec::new(),
            skipped: Offset::ZERO,
            slow: 20e-6,
            since,
            truth_then: epoch,
            chance: 1,
            marker: 0,
        };
        guest.execute();
        guest
    }

    fn truth(&self, at: Instant) -> Timestamp {
        let elapsed = at.since(self.since);
        self.truth_then + elapsed + self.skipped - Offset::from_seconds(elapsed.seconds() * self.slow)
    }

    /// From 0 to `most`.
    fn random(&mut self, most: f64) -> f64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let high = u32::try_from(self.chance >> 32).expect("half of it");
        f64::from(high) / f64::from(u32::MAX) * most
    }

    fn seconds(&self) -> f64 {
        self.timebase.now().since(Instant::ZERO).seconds()
    }

    /// Lives on until the timebase shows so many seconds.
    pub(super) fn live_until(&mut self, end: f64) {
        let events = [FOREIGN_STEP, SLEEP, RESTORE];
        while self.seconds() < end {
            let before = self.seconds();
            let next = self.agent.next_wake().expect("a watched clock is looked after");
            self.timebase.set(next.max(self.timebase.now() + Duration::from_nanos(1)));
            let now = self.seconds();
            for event in events.into_iter().filter(|&e| before < e && e <= now) {
                self.happen(event);
            }
            self.look_at_clock();
            self.agent.handle(self.timebase.now(), Input::Timer);
            self.execute();
        }
    }

    fn happen(&mut self, event: f64) {
        if event < SLEEP {
            self.clock.interfere(Offset::from_seconds(2.0));
        } else if event < RESTORE {
            let slept = Duration::from_secs(30);
            self.skipped = self.skipped + Offset::from(slept);
            self.clock.interfere(Offset::from(slept));
            self.agent.handle(self.timebase.now(), Input::Signal(Signal::Suspended { slept }));
        } else {
            // The clock knows nothing of the minute that passed on the other host, nor of its counter.
            let now = self.timebase.now();
            self.truth_then = self.truth(now) + Offset::from_seconds(60.0);
            (self.since, self.skipped, self.slow) = (now, Offset::ZERO, -35e-6);
            self.marker += 1;
        }
    }

    fn look_at_clock(&mut self) {
        if let Some(signal) = self.clock.watch() {
            self.agent.handle(self.timebase.now(), Input::Signal(signal));
        }
    }

    fn is_silent(&self) -> bool {
        (SILENCE.0..SILENCE.1).contains(&self.seconds())
    }

    fn execute(&mut self) {
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Note(Note::Traced(record)) => self.records.push(*record),
                Output::Apply(adjustment) => {
                    let result = self.clock.apply(&adjustment);
                    self.agent.handle(self.timebase.now(), Input::Applied(result));
                }
                Output::Read(source) => {
                    let result = self.read(source);
                    self.agent.handle(self.timebase.now(), Input::Reading { source, result });
                }
                Output::Send { token, to, bytes } => self.answer(token, to, &bytes),
                Output::Resolve(name) => {
                    let addresses: Vec<IpAddr> = (4..=6).map(|last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))).collect();
                    self.agent.handle(self.timebase.now(), Input::Resolved { name, addresses: &addresses });
                }
                Output::Open { .. } | Output::Close(_) | Output::Save { .. } | Output::Publish | Output::Note(_) => {}
            }
        }
    }

    fn read(&mut self, source: SourceId) -> Result<Reading, ReadError> {
        let device = "a device".to_owned();
        let generation = Generation { disruption_marker: self.marker, vm_generation: Some(self.marker) };
        match source.0 {
            2 => return Err(ReadError::SignalOnly { device, generation }),
            0 if self.is_silent() => return Err(ReadError::Absent { device, reason: "it went away".to_owned() }),
            _ => {}
        }
        let before = self.timebase.now();
        let width = Offset::from_seconds(1e-6 + self.random(1e-6));
        self.timebase.set(before + width);
        let after = self.timebase.now();
        Ok(Reading {
            before,
            after,
            reference: self.truth(before.midpoint(after)),
            max_error: Duration::ZERO,
            tai_offset: None,
            timescale: None,
            leap: Leap::Normal,
            generation: Some(generation),
        })
    }

    fn answer(&mut self, token: Token, to: SocketAddr, request: &[u8]) {
        self.agent.handle(self.timebase.now(), Input::Sent { token, at: self.timebase.now(), by: paraclock::ntp::StampedBy::Kernel });
        let IpAddr::V4(address) = to.ip() else { return };
        let last = address.octets()[3];
        // The pool's first address never answers: another takes its place.
        if self.is_silent() || last == 4 {
            return;
        }
        let up = Offset::from_seconds(1e-3 + self.random(1e-3));
        let lie = if last == 3 && self.seconds() > LIE { 0.05 } else { 0.0 };
        let served = self.truth(self.timebase.now() + up) + Offset::from_seconds(lie);
        let down = Offset::from_seconds(1e-3 + self.random(1e-3));
        self.timebase.set(self.timebase.now() + up + down);
        let (asked, _) = Header::parse(request).expect("the agent asks well");
        let stamp = NtpTimestamp::from_utc(served);
        let answer = Header {
            leap: Leap::Normal,
            mode: Mode::Server,
            stratum: 1,
            precision: -20,
            reference_id: ReferenceId::from_name("GPS").expect("a name"),
            reference: stamp,
            origin: asked.transmit,
            receive: stamp,
            transmit: stamp,
            ..asked
        };
        self.look_at_clock();
        let (from, to) = (to, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100)));
        let received = Some(self.timebase.now());
        self.agent.handle(
            self.timebase.now(),
            Input::Datagram { token, from, to, received, by: paraclock::ntp::StampedBy::Kernel, bytes: &answer.emit() },
        );
    }
}

/// The records as files, each of so many records, as they are written when a file is moved away now and then.
pub(super) fn files(records: &[Record], each: usize) -> Vec<String> {
    let mut recorder = Recorder::default();
    let mut files = Vec::new();
    for part in records.chunks(each) {
        let mut text = String::new();
        if let Some(heading) = recorder.heading() {
            Record::Heading(Box::new(heading.clone())).emit(&mut text);
        }
        for record in part {
            record.emit(&mut text);
            recorder.note(record);
        }
        files.push(text);
    }
    files
}
