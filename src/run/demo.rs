//! `paraclock demo`: the whole machine at work, on any computer, without touching its clock.
//!
//! In one process and over real loopback UDP: two truthful NTP servers and a liar, a paravirtual
//! clock, and the production agent with a shadow clock that starts wrong. The truth is this
//! computer's raw counter, so that the true error is known exactly.

mod upstream;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use tokio::net::{TcpListener, UdpSocket};

use super::config_files::ConfigFiles;
use super::devices::Devices;
use super::executor::{Departure, Executor, Shared};
use super::metrics;
use crate::agent::{Agent, Setup, Surroundings};
use crate::clock::{Clock, Shadow};
use crate::config::parse_directives;
use crate::core::{Course, Line, ReadError, Reading, Status};
use crate::platform;
use crate::refclock::Refclock;
use crate::sys::time;
use crate::units::{Offset, Ppm};
use crate::wire::control::{Platform, Report};
use upstream::Upstream;

/// How long it runs unless told otherwise.
pub const DEFAULT_SECONDS: u64 = 20;
/// The clock starts this far from the truth.
const START_ERROR: Offset = Offset::from_nanos(250_000_000);
/// And runs this much too fast.
const START_RATE: Ppm = Ppm::new(40.0);
/// The liar's clock.
const LIE: Offset = Offset::from_nanos(200_000_000);
/// What counts as having reached the truth.
const REACHED: f64 = 100e-6;
/// How often the truth is compared with the clock.
const LOOK: Duration = Duration::from_millis(100);

/// What the command line asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long to run.
    pub seconds: Duration,
}

/// One look at clock and truth.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Seconds since the beginning.
    pub elapsed: f64,
    /// How far the clock is ahead of the truth.
    pub error: f64,
    /// How far it may be, by the published bound.
    pub bound: Option<f64>,
    /// The state of time.
    pub status: Status,
}

/// Whoever watches the demonstration.
pub trait Audience {
    /// It begins; the metrics are served at this address, if a port was free.
    fn begin(&mut self, metrics: Option<&str>);
    /// Ten times a second.
    fn look(&mut self, moment: &Moment, report: &dyn Fn() -> Report);
    /// It ends.
    fn end(&mut self, verdict: &Verdict, report: &Report);
}

/// Why the demonstration could not be given.
#[derive(Debug, thiserror::Error)]
#[error("demo: cannot {action}: {reason}")]
pub struct DemoError {
    action: &'static str,
    reason: std::io::Error,
}

/// Runs it; true if the truth was reached and the bound held throughout.
pub fn run(options: &Options, audience: &mut dyn Audience) -> Result<bool, DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|reason| DemoError { action: "start the event loop", reason })?;
    runtime.block_on(show(options, audience))
}

/// The hypervisor's clock: the truth with a little noise.
#[derive(Debug)]
struct Paravirtual {
    truth: Line,
    rng: ChaCha12Rng,
}

impl Refclock for Paravirtual {
    fn read(&mut self) -> Result<Reading, ReadError> {
        let before = time::raw();
        let noise = Offset::from_nanos(i64::from(self.rng.next_u32() % 201) - 100);
        let after = time::raw();
        let reference = self.truth.at(before.midpoint(after)) + noise;
        Ok(Reading {
            before,
            after,
            reference,
            max_error: Duration::from_nanos(300),
            tai_offset: None,
            timescale: None,
            leap: crate::units::Leap::Normal,
            generation: None,
        })
    }
}

async fn show(options: &Options, audience: &mut dyn Audience) -> Result<bool, DemoError> {
    let began = time::raw();
    let truth = Line::new(began, time::realtime(), Ppm::ZERO);
    let mut rng = ChaCha12Rng::seed_from_u64(began.nanos().unsigned_abs());
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    let mut directives = vec!["refclock PHC demo poll 0 refid KVM".to_owned(), "makestep 1 3".to_owned(), "metrics off".to_owned()];
    for (host, error) in [(1, Offset::ZERO), (2, Offset::ZERO), (3, LIE)] {
        let address = Ipv4Addr::new(127, 0, 0, host);
        let failed = |reason| DemoError { action: "open a server's socket", reason };
        let socket = UdpSocket::bind((address, 0)).await.map_err(failed)?;
        let port = socket.local_addr().map_err(failed)?.port();
        directives.push(format!("server {address} port {port} iburst minpoll 1 maxpoll 2"));
        tokio::spawn(Upstream::new(socket, truth, error).serve());
    }
    let config = parse_directives(&directives, &ConfigFiles)
        .map_err(|errors| DemoError { action: "configure itself", reason: std::io::Error::other(format!("{errors:?}")) })?;
    let course = Course { at: began, time: truth.at(began) + START_ERROR, rate: START_RATE, until: None, error: Duration::ZERO };
    let clock = Shadow::starting(course);
    let setup = Setup { seed, ..Setup::from_config(&config, clock.course()) };
    let shared = Shared::new(Agent::new(setup, time::raw()));
    let reports = reporter(&shared);
    let address = serve_metrics(reports.clone()).await;
    audience.begin(address.as_deref());
    let devices = Devices::new(vec![Box::new(Paravirtual { truth, rng })]);
    let mut executor = Executor::new(shared.clone(), Box::new(clock), devices, Departure::default(), None);
    let mut verdict = Verdict::default();
    let watching = async {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            ticks.tick().await;
            let now = time::raw();
            let published = *shared.agent().published();
            let error = published.course.at(now).since(truth.at(now)).seconds();
            let known = published.clock.is_known();
            let moment = Moment {
                elapsed: now.since(began).seconds(),
                error,
                bound: known.then(|| published.clock.at(now).as_secs_f64()),
                status: published.status,
            };
            verdict.see(&moment);
            audience.look(&moment, &reports);
            if moment.elapsed >= options.seconds.as_secs_f64() {
                return;
            }
        }
    };
    executor.run(watching).await;
    audience.end(&verdict, &reports());
    Ok(verdict.good())
}

/// What was seen over the whole run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    /// Comparisons of clock and truth.
    pub looks: u64,
    /// Those at which the error exceeded the published bound.
    pub violations: u64,
    /// When the truth was reached for good, seconds after the beginning.
    pub reached: Option<f64>,
    /// The last comparison.
    pub last: Option<Moment>,
}

impl Verdict {
    fn see(&mut self, moment: &Moment) {
        self.looks += 1;
        self.last = Some(*moment);
        if moment.bound.is_some_and(|bound| moment.error.abs() > bound) {
            self.violations += 1;
        }
        if moment.error.abs() > REACHED {
            self.reached = None;
        } else if self.reached.is_none() {
            self.reached = Some(moment.elapsed);
        }
    }

    /// The truth was reached, the bound is useful, and it held throughout.
    #[must_use]
    pub fn good(&self) -> bool {
        let right = self.last.is_some_and(|m| m.error.abs() <= REACHED && m.bound.is_some_and(|b| b <= 1e-2));
        right && self.violations == 0
    }
}

fn reporter(shared: &Shared) -> impl Fn() -> Report + Clone + Send + Sync + 'static {
    let shared = shared.clone();
    move || {
        let platform = Platform {
            hypervisor: "demo".to_owned(),
            cloud: "none".to_owned(),
            clocksource: platform::clocksource(Path::new("/")),
            pvclock: None,
            steal_seconds: None,
            announced_disruption: None,
        };
        let devices = shared.devices();
        shared.agent().report(time::raw(), &Surroundings { clock_kind: "shadow", platform, devices, ..Surroundings::default() })
    }
}

/// Serves the metrics at the usual address if it is free, else at any.
async fn serve_metrics(reports: impl Fn() -> Report + Clone + Send + Sync + 'static) -> Option<String> {
    for port in [10_123, 0] {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            let address = listener.local_addr().ok()?;
            tokio::spawn(metrics::serve(listener, reports, false));
            return Some(format!("http://{address}/metrics"));
        }
    }
    None
}
