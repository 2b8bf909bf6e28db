//! A core, and an agent, that have settled: sources that answer, a clock that is right.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use paraclock::agent::{Agent, Input, Output, Setup};
use paraclock::config::{Files, SelectOptions, parse_directives};
use paraclock::core::{Applied, Core, CoreOptions, Course, Decision, Event, Reading, Sample, SourceId, Status};
use paraclock::units::{Instant, Leap, NtpTimestamp, Offset, Ppm, ReferenceId, Stratum, Timescale, Timestamp};
use paraclock::wire::ntp::{Header, Mode};

/// True time at instant zero: the clock of these worlds is right, and so is the counter.
const EPOCH: i64 = 1_800_000_000;
/// Samples of each source before anything is measured: more than the core keeps of anything.
const SETTLING: usize = 200;

fn truth(at: Instant) -> Timestamp {
    Timestamp::from_parts(EPOCH, 0) + at.since(Instant::ZERO)
}

fn course(at: Instant) -> Course {
    Course { at, time: truth(at), rate: Ppm::ZERO, until: None, error: Duration::ZERO }
}

/// Delays that look like a network's: 200 us and up to 100 us of queueing.
#[derive(Debug)]
struct Queueing(u64);

impl Queueing {
    fn next(&mut self) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_nanos((self.0 >> 40) % 100_000)
    }
}

/// A core that follows so many servers, each asked once in 16 s.
#[derive(Debug)]
pub(super) struct SteadyCore {
    core: Core,
    sources: u32,
    turn: u32,
    now: Instant,
    queueing: Queueing,
}

impl SteadyCore {
    /// It has settled.
    pub(super) fn new(sources: u32) -> Self {
        let mut core = Core::new(CoreOptions::default(), Instant::ZERO, course(Instant::ZERO), None);
        for id in 0..sources {
            core.add_source(SourceId(id), SelectOptions::default(), false);
        }
        let mut steady = Self { core, sources, turn: 0, now: Instant::ZERO, queueing: Queueing(1) };
        for _ in 0..SETTLING * usize::try_from(sources).expect("a handful") {
            let (now, event) = steady.next_sample();
            let _ = steady.core.handle(now, event);
            steady.apply();
        }
        assert_eq!(steady.core.status().0, Status::Synchronised);
        steady
    }

    /// The next server's next sample.
    pub(super) fn next_sample(&mut self) -> (Instant, Event) {
        self.turn = (self.turn + 1) % self.sources;
        self.now = self.now + Duration::from_secs(16) / self.sources;
        let queueing = self.queueing.next();
        let delay = Duration::from_micros(200) + queueing;
        let sample = Sample {
            source: SourceId(self.turn),
            at: self.now - delay / 2,
            // All of the queueing was on the way back.
            reference: truth(self.now - delay / 2) - Offset::from(queueing / 2),
            delay,
            dispersion: Duration::from_micros(1),
            root_delay: Duration::from_millis(1),
            root_dispersion: Duration::from_millis(1),
            stratum: Stratum::new(2),
            leap: Leap::Normal,
            reference_id: ReferenceId([192, 0, 2, 1]),
            timescale: Timescale::Utc,
            asks_us: false,
        };
        (self.now, Event::Sample(sample))
    }

    /// A second passes.
    pub(super) fn next_tick(&mut self) -> (Instant, Event) {
        self.now = self.now + Duration::from_secs(1);
        (self.now, Event::Tick)
    }

    /// What the core makes of an event.
    pub(super) fn handle(&mut self, now: Instant, event: Event) -> Decision {
        self.core.handle(now, event)
    }

    /// The clock says that it goes right.
    pub(super) fn apply(&mut self) -> Decision {
        let applied = Applied { course: course(self.now), stepped: None };
        self.core.handle(self.now, Event::Applied(applied))
    }
}

/// No file is ever read.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> Result<String, String> {
        Err("there are no files".to_owned())
    }

    fn list(&self, _: &Path, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

/// An agent with a local clock and a server.
#[derive(Debug)]
pub(super) struct SteadyAgent {
    agent: Agent,
    now: Instant,
    queueing: Queueing,
}

/// What an agent did in a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Done {
    /// Readings of the local clock.
    pub readings: u64,
    /// Answers of the server.
    pub answers: u64,
}

impl SteadyAgent {
    /// It has settled.
    pub(super) fn new() -> Self {
        let lines = ["refclock PHC /dev/ptp0 poll 0", "server 192.0.2.1 minpoll 4 maxpoll 4"].map(str::to_owned);
        let config = parse_directives(&lines, &NoFiles).expect("good directives");
        let setup = Setup { watch: true, ..Setup::from_config(&config, course(Instant::ZERO)) };
        let agent = Agent::new(setup, Instant::ZERO);
        let mut steady = Self { agent, now: Instant::ZERO, queueing: Queueing(1) };
        steady.live(Duration::from_secs(16 * 200));
        assert_eq!(steady.agent.published().status, Status::Synchronised);
        steady
    }

    /// Lives on for so long: everything that it asks for is answered at once.
    pub(super) fn live(&mut self, time: Duration) -> Done {
        let end = self.now + time;
        let mut done = Done::default();
        while let Some(next) = self.agent.next_wake().filter(|&next| next < end) {
            self.now = self.now + next.elapsed_since(self.now);
            self.agent.handle(self.now, Input::Timer);
            while let Some(output) = self.agent.poll() {
                match output {
                    Output::Read(source) => {
                        done.readings += 1;
                        let reading = self.reading();
                        self.agent.handle(self.now, Input::Reading { source, result: Ok(reading) });
                    }
                    Output::Send { token, to, bytes } => {
                        done.answers += 1;
                        self.agent.handle(self.now, Input::Sent { token, at: self.now, by: paraclock::ntp::StampedBy::Kernel });
                        self.now = self.now + Duration::from_micros(200) + self.queueing.next();
                        let answer = self.answer(&bytes);
                        let to_us = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
                        self.datagram(token, to, to_us, &answer);
                    }
                    Output::Apply(_) => {
                        let applied = Applied { course: course(self.now), stepped: None };
                        self.agent.handle(self.now, Input::Applied(Ok(applied)));
                    }
                    Output::Open { .. }
                    | Output::Close(_)
                    | Output::Resolve(_)
                    | Output::Save { .. }
                    | Output::Publish
                    | Output::Note(_) => {}
                }
            }
        }
        done
    }

    fn datagram(&mut self, token: paraclock::ntp::Token, from: SocketAddr, to: IpAddr, bytes: &[u8]) {
        self.agent
            .handle(self.now, Input::Datagram { token, from, to, received: Some(self.now), by: paraclock::ntp::StampedBy::Kernel, bytes });
    }

    fn reading(&mut self) -> Reading {
        let width = Duration::from_nanos(500) + self.queueing.next() / 1000;
        let before = self.now;
        self.now = self.now + width;
        Reading {
            before,
            after: self.now,
            reference: truth(before.midpoint(self.now)),
            max_error: Duration::ZERO,
            tai_offset: None,
            timescale: None,
            leap: Leap::Normal,
            generation: None,
        }
    }

    fn answer(&self, request: &[u8]) -> [u8; 48] {
        let (asked, _) = Header::parse(request).expect("the agent asks well");
        let served = NtpTimestamp::from_utc(truth(self.now - Duration::from_micros(100)));
        let answer = Header {
            leap: Leap::Normal,
            mode: Mode::Server,
            stratum: 1,
            precision: -20,
            reference_id: ReferenceId::from_name("GPS").expect("a name"),
            reference: served,
            origin: asked.transmit,
            receive: served,
            transmit: served,
            ..asked
        };
        answer.emit()
    }
}
