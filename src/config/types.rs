//! The typed configuration: every directive as plain values, with chrony's defaults.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Diagnostic, Hook, HwTimestamp, Origin};
use crate::units::{Offset, Poll, Ppm, ReferenceId, Stratum, Timescale, Vsock, nanos};

/// Everything the configuration says. `Default` holds chrony's defaults and no sources.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// `server` and `pool` lines in order, those of source directories included.
    pub servers: Vec<ServerDirective>,
    /// `refclock` lines of the kinds that are served, in order.
    pub refclocks: Vec<RefclockDirective>,
    /// `autodetect`: look for sources of the platform. `None`: not said (off as soon as a file is given).
    pub autodetect: Option<bool>,

    /// `driftfile`: where the frequency is kept between runs.
    pub driftfile: Option<Driftfile>,
    /// `makestep`: when the clock may be stepped; `None`: never.
    pub makestep: Option<Makestep>,
    /// `maxdistance`: the largest root distance of a source that is followed.
    pub max_distance: Duration,
    /// `minsources`: how many sources must agree before the clock is touched.
    pub min_sources: u16,
    /// `maxslewrate`: the fastest slew.
    pub max_slew_rate: Ppm,
    /// `maxdrift`: the largest frequency error believed.
    pub max_drift: Ppm,
    /// `maxclockerror`: how fast the local clock's own error may grow.
    pub max_clock_error: Ppm,
    /// `leapsecmode`: how a leap second reaches the system clock.
    pub leap_second_mode: LeapSecondMode,
    /// `rtcsync`: let the kernel copy the time to the hardware clock every 11 minutes.
    pub rtc_sync: bool,
    /// `foreignstep`: what to do when somebody else sets the clock.
    pub foreign_step: ForeignStep,
    /// `conflict`: what to do when another program steers the clock.
    pub conflict: Conflict,

    /// `keyfile`: symmetric keys.
    pub key_file: Option<(Origin, PathBuf)>,
    /// `authselectmode`: what authentication means for the selection.
    pub auth_select_mode: AuthSelectMode,

    /// `local`: serve time without any source; `None`: do not.
    pub local: Option<Local>,
    /// `smoothtime`.
    pub smoothtime: Option<Smoothtime>,
    /// `allow` and `deny` in order; nobody is served while this is empty.
    pub access: Vec<AccessRule>,
    /// `port`: where clients ask for time; 0 serves nobody.
    pub port: u16,
    /// Where `port` stands, if it does.
    pub port_origin: Option<Origin>,
    /// `bindaddress`: where time is served; a family without an address is served on all.
    pub bind_addresses: Vec<BindAddress>,
    /// `binddevice`: the one network interface where time is served.
    pub bind_device: Option<(Origin, String)>,
    /// `ratelimit`: how often one address is answered; `None`: always.
    pub rate_limit: Option<RateLimit>,
    /// `clientloglimit`: bytes for what is remembered of clients.
    pub client_log_limit: u64,
    /// False after `noclientlog`.
    pub client_log: bool,
    /// `serverthreads`: threads that serve time; 0: the main loop does; `None`: one for each core.
    pub server_threads: Option<u16>,
    /// `bindacqaddress`: the local addresses that questions to servers leave from.
    pub acquisition_addresses: BindAddresses,
    /// `acquisitionport`: the local port of questions to servers; `None` or 0: any.
    pub acquisition_port: Option<u16>,
    /// `hwtimestamp` lines in order: the first that names an interface counts for it, then `*`.
    pub hw_timestamps: Vec<HwTimestamp>,
    /// `hwtstimeout`: how long a network card's stamp of an answered request is waited for.
    pub hw_timeout: Duration,
    /// `cmdport` and `bindcmdaddress`: where chronyc may connect.
    pub chrony_control: ChronyControl,

    /// `metrics`: the Prometheus page; `None`: off.
    pub metrics: Option<Metrics>,
    /// `control`: the socket of our own commands; `None`: off.
    pub control: Option<PathBuf>,

    /// `logdir`: where the logs of [`Config::logs`] are written.
    pub log_dir: Option<PathBuf>,
    /// `log`: which logs, each once, in the order they were named.
    pub logs: Vec<LogKind>,
    /// `pidfile`.
    pub pid_file: Option<PathBuf>,
    /// `dumpdir`: where measurements would be kept between runs; not served yet.
    pub dump_dir: Option<PathBuf>,
    /// `dumponexit`; not served yet.
    pub dump_on_exit: bool,
    /// `user`: whom to become after start.
    pub user: Option<String>,
    /// `ondisruption` and `onsync` lines, in order.
    pub hooks: Vec<Hook>,
    /// `sourcedir`: directories whose `*.sources` files were read, one list for each line.
    pub source_dirs: Vec<Vec<PathBuf>>,

    /// What is accepted but not done as written.
    pub warnings: Vec<Diagnostic>,
    /// Every directive line that was read, and what it means.
    pub lines: Vec<ExplainedLine>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            refclocks: Vec::new(),
            autodetect: None,
            driftfile: None,
            makestep: None,
            max_distance: Duration::from_secs(3),
            min_sources: 1,
            max_slew_rate: Ppm::new(83_333.333),
            max_drift: Ppm::new(500_000.0),
            max_clock_error: Ppm::new(1.0),
            leap_second_mode: LeapSecondMode::default(),
            rtc_sync: false,
            foreign_step: ForeignStep::default(),
            key_file: None,
            auth_select_mode: AuthSelectMode::default(),
            conflict: Conflict::default(),
            local: None,
            smoothtime: None,
            access: Vec::new(),
            port: 123,
            port_origin: None,
            bind_addresses: Vec::new(),
            bind_device: None,
            rate_limit: None,
            client_log_limit: 512 << 10,
            client_log: true,
            server_threads: None,
            acquisition_addresses: BindAddresses::default(),
            acquisition_port: None,
            hw_timestamps: Vec::new(),
            hw_timeout: Duration::from_millis(1),
            chrony_control: ChronyControl::default(),
            metrics: Some(Metrics { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 10_123)), chrony_names: false }),
            control: Some(PathBuf::from("/run/paraclock/paraclock.sock")),
            log_dir: None,
            logs: Vec::new(),
            pid_file: None,
            dump_dir: None,
            dump_on_exit: false,
            user: None,
            hooks: Vec::new(),
            source_dirs: Vec::new(),
            warnings: Vec::new(),
            lines: Vec::new(),
        }
    }
}

/// A line and its meaning, for `paraclock check`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExplainedLine {
    /// Where it stands.
    pub origin: Origin,
    /// The line as written, blanks trimmed.
    pub text: String,
    /// What it means, in plain English with units.
    pub meaning: String,
}

/// Whether one address or many stand behind a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerKind {
    /// `server`: one address of the name is used.
    Server,
    /// `pool`: up to [`ServerDirective::max_sources`] addresses of the name are used.
    Pool,
}

/// How a source takes part in the selection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SelectOptions {
    /// `prefer`: follow it before sources without this option.
    pub prefer: bool,
    /// `trust`: assume that it is right; others that disagree with it are wrong.
    pub trust: bool,
    /// `require`: at least one source with this option must agree before the clock is touched.
    pub require: bool,
    /// `noselect`: measure it, never follow it.
    pub noselect: bool,
}

/// One `server` or `pool` line.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerDirective {
    /// Where it stands.
    pub origin: Origin,
    /// `server` or `pool`.
    pub kind: ServerKind,
    /// Host name or address, as written.
    pub name: String,
    /// UDP port.
    pub port: u16,
    /// The shortest poll interval.
    pub min_poll: Poll,
    /// The longest poll interval; never shorter than `min_poll`.
    pub max_poll: Poll,
    /// Begin with a few quick requests.
    pub iburst: bool,
    /// Make every poll a few quick requests.
    pub burst: bool,
    /// How it takes part in the selection.
    pub select: SelectOptions,
    /// How many addresses of a pool to use, 1..=16.
    pub max_sources: u8,
    /// The source is treated as if its stratum were at least this.
    pub min_stratum: Stratum,
    /// NTP version of requests, 1..=4; `None`: the program's choice.
    pub version: Option<u8>,
    /// Use the interleaved mode if the server can.
    pub xleave: bool,
    /// Added to what is measured, as a correction of a known error.
    pub offset: Offset,
    /// Samples with a longer round trip are dropped.
    pub max_delay: Duration,
    /// The symmetric key asked for.
    pub key: Option<u32>,
    /// NTS was asked for.
    pub nts: bool,
}

impl ServerDirective {
    /// True for `pool`.
    #[must_use]
    pub const fn is_pool(&self) -> bool {
        matches!(self.kind, ServerKind::Pool)
    }
}

/// Which PTP clock device is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PhcDevice {
    /// A device file such as `/dev/ptp0`.
    Path(PathBuf),
    /// The clock's name as the kernel gives it (`clock_name` in sysfs), or the device's (`ptp0`).
    Name(String),
}

/// The kind of a local clock, with what belongs to that kind alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RefclockKind {
    /// A PTP hardware clock device.
    Phc {
        /// Which device.
        device: PhcDevice,
        /// Do not use cross timestamps even if the device has them.
        nocrossts: bool,
    },
    /// The kvm-clock page of the hypervisor.
    Kvm,
    /// A vmclock device.
    Vmclock {
        /// The device file.
        device: PathBuf,
    },
}

/// One `refclock` line.
#[derive(Clone, PartialEq, Debug)]
pub struct RefclockDirective {
    /// Where it stands.
    pub origin: Origin,
    /// Which clock.
    pub kind: RefclockKind,
    /// How often its readings become one sample in chrony; here every reading is a sample.
    pub poll: Poll,
    /// How often it is read; never less often than `poll`.
    pub dpoll: Poll,
    /// Added to what is read, as a correction of a known error.
    pub offset: Offset,
    /// The stratum it claims.
    pub stratum: Stratum,
    /// The reference id to show; `None`: the kind's own.
    pub refid: Option<ReferenceId>,
    /// The root delay it claims.
    pub delay: Duration,
    /// Its precision; `None`: as measured or stated by the device.
    pub precision: Option<Duration>,
    /// The count of seconds it hands out, if the line says so (`timescale`, or `tai`).
    pub timescale: Option<Timescale>,
    /// How it takes part in the selection.
    pub select: SelectOptions,
}

/// `driftfile`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Driftfile {
    /// The file.
    pub path: PathBuf,
    /// The least time between two writes.
    pub interval: Duration,
}

/// `makestep`: step instead of slew an error larger than `threshold`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Makestep {
    /// Smaller errors are slewed.
    #[serde(with = "nanos")]
    pub threshold: Duration,
    /// In how many of the first updates; `None`: at any time.
    pub limit: Option<u32>,
}

/// How a leap second reaches the system clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LeapSecondMode {
    /// The kernel inserts or deletes it.
    #[default]
    System,
    /// Paraclock steps the clock.
    Step,
    /// Paraclock slews the clock from the leap second on.
    Slew,
    /// Nothing is done; the clock is corrected later like any other error.
    Ignore,
}

/// What authentication means for the selection of NTP servers; sources with `noselect` do not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AuthSelectMode {
    /// Servers without authentication get `noselect`.
    Require,
    /// The same, if there is an authenticated one.
    Prefer,
    /// If there are both, authenticated servers and refclocks get `require` and `trust`.
    #[default]
    Mix,
    /// Nothing.
    Ignore,
}

/// What to do when somebody else sets the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignStep {
    /// Step it back at once.
    #[default]
    Undo,
    /// Slew it back.
    Slew,
    /// Take the new time until the sources say otherwise.
    Accept,
}

/// What to do when another program steers the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Conflict {
    /// Do not start beside it; yield to one that begins later.
    #[default]
    Refuse,
    /// Leave the clock to it until it ends.
    Yield,
    /// Undo what it does.
    Takeover,
}

/// `local`: serve time without any source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Local {
    /// The stratum to claim, 1..=15.
    pub stratum: Stratum,
    /// Agree with other servers of the same stratum on one that leads.
    pub orphan: bool,
    /// Root distance of the source followed last above which local mode begins.
    pub distance: Duration,
    /// Root distance that must have been reached once before local mode may begin; zero: none.
    pub activate: Duration,
    /// Wait this long after the last update when a source was followed before.
    pub wait_synced: Duration,
    /// Wait this long after the start when none was followed yet.
    pub wait_unsynced: Duration,
}

/// Whom an access rule concerns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessSubject {
    /// Everybody, IPv4 and IPv6.
    Everybody,
    /// A network; a single host is one with a full-length prefix.
    Net(IpNet),
    /// A host by name.
    Name(String),
    /// A machine that asks over vsock, or any of them.
    Vsock(Option<Vsock>),
}

/// `smoothtime`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Smoothtime {
    /// How fast the served time may run beside ours.
    pub max_frequency: Ppm,
    /// How fast that may change in a second.
    pub max_wander: Ppm,
    /// Leap seconds alone are smoothed.
    pub leap_only: bool,
}

/// One `allow` or `deny` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessRule {
    /// Where it stands.
    pub origin: Origin,
    /// True for `allow`.
    pub allow: bool,
    /// `all`: also overrides earlier rules for smaller networks within the subject.
    pub all: bool,
    /// Whom it concerns.
    pub subject: AccessSubject,
}

/// One `bindaddress` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindAddress {
    /// Where it stands.
    pub origin: Origin,
    /// The local address.
    pub address: IpAddr,
}

/// The options of `ratelimit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// log2 of the seconds between answers, -19..=12.
    pub interval: i8,
    /// Answers in a burst, 1..=255.
    pub burst: u8,
    /// One in 2^leak of the requests beyond is answered all the same, 1..=4: a liar who asks in a client's name cannot silence it.
    pub leak: u8,
    /// One in 2^kod of those dropped is answered with a kiss-o'-death RATE, 1..=4; 0: none.
    pub kod: u8,
}

impl RateLimit {
    /// The time between answers.
    #[must_use]
    pub fn cost(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.interval.clamp(-19, 12)).exp2())
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { interval: 3, burst: 8, leak: 2, kod: 0 }
    }
}

/// Local addresses to bind, at most one of each family; `None`: any address of the family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BindAddresses {
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl BindAddresses {
    /// Replaces the address of `address`'s family.
    pub const fn set(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.v4 = Some(v4),
            IpAddr::V6(v6) => self.v6 = Some(v6),
        }
    }
}

/// Where chronyc may connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChronyControl {
    /// UDP port; 0 opens no UDP socket.
    pub port: u16,
    /// Addresses of the UDP sockets; `None` means the loopback address of the family.
    pub bind_addresses: BindAddresses,
    /// The Unix datagram socket; `None`: off.
    pub socket: Option<PathBuf>,
}

impl Default for ChronyControl {
    fn default() -> Self {
        Self { port: 323, bind_addresses: BindAddresses::default(), socket: Some(PathBuf::from("/run/chrony/chronyd.sock")) }
    }
}

/// The Prometheus page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metrics {
    /// Where it is served.
    pub address: SocketAddr,
    /// Also give the metrics under the names that dashboards for chrony expect.
    pub chrony_names: bool,
}

/// What `log` can write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LogKind {
    /// NTP measurements that passed the tests.
    Measurements,
    /// All NTP measurements.
    RawMeasurements,
    /// What was estimated from each source.
    Statistics,
    /// The same, for every sample.
    RawStatistics,
    /// What the clock was told.
    Tracking,
    /// The hardware clock.
    Rtc,
    /// Readings of reference clocks.
    Refclocks,
    /// Temperature compensation.
    Tempcomp,
    /// Which sources were selected.
    Selection,
    /// All that goes into the core, to be replayed.
    Trace,
}
