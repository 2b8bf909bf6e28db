//! The control protocol: one JSON document a line over a Unix stream socket.
//!
//! A client writes a [`Request`] and reads a [`Response`]. All times are in seconds,
//! all frequencies in ppm. Signs follow chrony: `frequency_ppm` is positive when the
//! uncorrected clock runs fast, an `offset` is positive when the local clock is ahead
//! of the source, `system_offset` is positive when the clock is ahead of (fast of) the line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Everything that is published.
    Report,
    /// Who asks us for time.
    Clients,
}

/// An answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Report`].
    Report(Box<Report>),
    /// To [`Request::Clients`].
    Clients(Vec<ClientReport>),
    /// The question could not be answered.
    Error {
        /// What was wrong and what to do.
        message: String,
    },
}

/// An error bound in the form that grows by itself: the error is `error + growth_ppm * 1e-6 * age`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct BoundReport {
    /// Seconds, at the time of the report; `None` while nothing is known.
    pub error: Option<f64>,
    /// How fast it grows.
    pub growth_ppm: f64,
}

/// Everything the agent publishes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The program's version.
    pub version: String,
    /// Seconds since 1970 on the line (the best knowledge of the time) when the report was made.
    pub time: f64,
    /// Seconds since the agent started.
    pub uptime: f64,
    /// The state of time.
    pub tracking: Tracking,
    /// Every source.
    pub sources: Vec<Source>,
    /// What happened so far.
    pub counters: Counters,
    /// The last disruption, if there was one.
    #[serde(default)]
    pub disruption: Option<Disruption>,
    /// The machine.
    pub platform: Platform,
    /// What is served to others; `None` if nobody is allowed.
    #[serde(default)]
    pub server: Option<Server>,
    /// How far the served time is from the line on purpose; `None` without `smoothtime`.
    #[serde(default)]
    pub smoothing: Option<SmoothingReport>,
    /// Another program that steers the system clock.
    #[serde(default)]
    pub conflict: Option<Conflict>,
    /// The programs that are run when time breaks and when it is right again.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// Network cards that stamp packets; `None` without `hwtimestamp`.
    #[serde(default)]
    pub hardware: Option<Hardware>,
    /// What is wrong, one sentence each; empty when all is well.
    pub problems: Vec<String>,
}

/// What `smoothing` prints.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct SmoothingReport {
    /// Changes of the line are smoothed for those who are served.
    pub active: bool,
    /// Leap seconds alone are.
    pub leap_only: bool,
    /// Seconds that the served time is ahead of the line.
    pub offset: f64,
    /// How fast that grows.
    pub frequency_ppm: f64,
    /// How fast the frequency grows in a second.
    pub wander_ppm: f64,
    /// Seconds since the last change that is being smoothed; `None` if nothing is.
    pub last_update_age: Option<f64>,
    /// Seconds until the served time is the line again.
    pub remaining: f64,
}

/// Network cards that stamp packets, and what became of the stamps of our own requests and their answers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Hardware {
    /// The cards; empty if none can, or none may.
    pub cards: Vec<Card>,
    /// Requests stamped so.
    pub sent: u64,
    /// Answers stamped so.
    pub received: u64,
    /// Stamps that could not be placed: too little was known of the card's clock.
    pub unplaced: u64,
    /// Stamps that contradicted the kernel's.
    pub impossible: u64,
}

/// A network card that stamps packets.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Card {
    /// Its interface.
    pub interface: String,
    /// Its clock's device.
    pub clock: String,
    /// Whether it stamps what is sent.
    pub stamps_sent: bool,
    /// Which received packets it stamps: `none`, `all`, `ntp` or `some`.
    pub filter: String,
    /// How wrong a stamp of it can be, in seconds; `None` while too little is known of its clock.
    pub error: Option<f64>,
    /// How often its clock was set by somebody.
    pub jumps: u64,
}

/// What `tracking` prints.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tracking {
    /// `unsynchronised`, `synchronised`, `holdover` or `disrupted`.
    pub status: String,
    /// Line time since which this status holds.
    pub status_since: f64,
    /// Four bytes in hexadecimal.
    pub reference_id: String,
    /// The selected source's name; empty if none.
    pub reference_name: String,
    /// 1..=16.
    pub stratum: u8,
    /// Line time of the last update; 0 if never.
    pub reference_time: f64,
    /// How far the system clock is ahead of the line.
    pub system_offset: f64,
    /// The last update's offset (positive: the clock was ahead).
    pub last_offset: f64,
    /// Long-term root mean square of the offsets.
    pub rms_offset: f64,
    /// By how much the uncorrected clock runs fast.
    pub frequency_ppm: f64,
    /// Difference between the last measured frequency and the one in use.
    pub residual_frequency_ppm: f64,
    /// Uncertainty of the frequency.
    pub skew_ppm: f64,
    /// To the primary clock.
    pub root_delay: f64,
    /// To the primary clock, at the time of the report.
    pub root_dispersion: f64,
    /// Between the last two updates.
    pub update_interval: f64,
    /// `Normal`, `Insert second`, `Delete second` or `Not synchronised`.
    pub leap: String,
    /// How wrong the line can be.
    pub line: BoundReport,
    /// How wrong the system clock can be.
    pub clock: BoundReport,
    /// `kernel`, `shadow` or `simulated`.
    pub clock_kind: String,
    /// The rate of the slew in progress; 0 if there is none.
    pub slewing_ppm: f64,
}

/// One row of `sources`, `sourcestats` and `selectdata`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// As configured: a host name, an address or a refclock's reference id.
    pub name: String,
    /// The resolved address; empty for a refclock.
    pub address: String,
    /// `server` or `refclock`.
    pub mode: String,
    /// `PHC`, `KVM`, `VMCLOCK`, or `NTP`.
    pub kind: String,
    /// The word for the state, e.g. `selected`, `falseticker`.
    pub state: String,
    /// The mark in the second column of `chronyc sources`.
    pub mark: char,
    /// The letter in the first column of `chronyc selectdata`.
    pub letter: char,
    /// Why the source is in this state.
    pub reason: String,
    /// Four bytes in hexadecimal: what the source itself follows.
    pub reference_id: String,
    /// Its stratum.
    pub stratum: u8,
    /// log2 of the interval in seconds.
    pub poll: i8,
    /// The reachability register.
    pub reach: u8,
    /// Seconds since the last valid sample; `None` if there was none.
    pub last_sample_age: Option<f64>,
    /// The last sample's offset against the clock as it is now (positive: the clock is ahead).
    pub last_offset: f64,
    /// The same as measured then.
    pub measured_offset: f64,
    /// Margin of error of that sample.
    pub last_error: f64,
    /// Half the root delay plus root dispersion, with the path to us.
    pub root_distance: f64,
    /// The ends of the interval that holds its offset if it tells the truth (positive: the clock is ahead);
    /// `None` if nothing is known of it.
    pub interval: Option<(f64, f64)>,
    /// The best source's root distance in units of this one's, for sources that agree with it; 1 for others.
    pub score: f64,
    /// Estimated offset (positive: the clock is ahead).
    pub offset: f64,
    /// Its uncertainty (one sigma).
    pub offset_sigma: f64,
    /// Round-trip delay of the last sample.
    pub delay: f64,
    /// Standard deviation of the samples.
    pub jitter: f64,
    /// Samples used in the estimate.
    pub samples: u32,
    /// Runs of residuals of one sign.
    pub runs: u32,
    /// Seconds covered by the samples.
    pub span: f64,
    /// Residual frequency of the clock against the source (positive: the clock runs fast).
    pub frequency_ppm: f64,
    /// Its uncertainty.
    pub skew_ppm: f64,
    /// `utc`, `tai`, `smeared` or `unknown`; what it counts as, if it agreed with a source whose timescale is known.
    pub timescale: String,
    /// Where that is known from, in a few words.
    #[serde(default)]
    pub timescale_from: String,
    /// The file of a refclock's device; empty for a server, or before it was opened.
    #[serde(default)]
    pub device: String,
    /// The name that the driver gives to it.
    #[serde(default)]
    pub clock_name: String,
    /// How long the last reading of it took.
    #[serde(default)]
    pub reading_seconds: Option<f64>,
    /// It is slow, and read on a thread of its own.
    #[serde(default)]
    pub own_thread: bool,
    /// How the host would smear leap seconds: `noon-linear`, `utc-sls`; empty if it does not say.
    #[serde(default)]
    pub smearing_hint: String,
    /// Readings of it set aside because they were taken across a preemption of the CPU.
    #[serde(default)]
    pub preempted: u64,
    /// `Normal`, `Insert second`, `Delete second` or `Not synchronised`.
    pub leap: String,
    /// Whether its answers are authenticated.
    pub authenticated: bool,
    /// Whose stamp of the request the last sample was measured with: `daemon`, `kernel` or `hardware`; empty if there was none.
    #[serde(default)]
    pub transmit_stamp: String,
    /// The same of the answer.
    #[serde(default)]
    pub receive_stamp: String,
    /// Requests or readings made.
    pub sent: u64,
    /// Valid answers or readings.
    pub received: u64,
    /// Answers and readings thrown away, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Options such as `prefer`, as configured.
    pub options: Vec<String>,
    /// The same as they are used.
    pub effective_options: Vec<String>,
    /// The last error of a source that cannot be read or resolved; empty if none.
    pub error: String,
}

/// Totals since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Steps we made.
    pub steps: u64,
    /// Slews we began.
    pub slews: u64,
    /// Steps of the clock by somebody else.
    pub foreign_steps: u64,
    /// Disruptions by kind.
    pub disruptions: BTreeMap<String, u64>,
    /// Adjustments the kernel refused.
    pub clock_errors: u64,
    /// Packets that matched no source.
    pub stray_packets: u64,
    /// Wake-ups of the event loop.
    pub wakeups: u64,
}

/// The server's side.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Server {
    /// Where time is served.
    pub addresses: Vec<String>,
    /// One for each serving thread, or one for the main loop.
    pub threads: Vec<ServerThread>,
    /// Clients remembered.
    pub clients: u64,
    /// Of them, those with timestamps held for the interleaved mode.
    pub timestamps: u64,
    /// Bytes used to remember clients.
    pub memory: u64,
    /// Requests whose arrival a network card stamped.
    #[serde(default)]
    pub card_received: u64,
    /// Replies whose sending a network card stamped.
    #[serde(default)]
    pub card_sent: u64,
    /// Stamps of network cards that could not be true, or not be understood.
    #[serde(default)]
    pub card_refused: u64,
}

/// Totals of one serving thread.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ServerThread {
    /// Packets that came.
    pub received: u64,
    /// Replies.
    pub replied: u64,
    /// Of them, kiss-o'-death RATE.
    pub kissed: u64,
    /// Of them, in the interleaved mode.
    pub interleaved: u64,
    /// Of them, authenticated.
    pub authenticated: u64,
    /// Replies whose sending the kernel stamped.
    pub stamped: u64,
    /// Replies that could not be sent.
    pub unsent: u64,
    /// Clients forgotten for want of room.
    pub forgotten: u64,
    /// Packets without a reply, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// One row of `clients`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClientReport {
    /// Its address.
    pub address: String,
    /// Requests that passed the access rules.
    pub received: u32,
    /// Of them, those dropped by the rate limit.
    pub dropped: u32,
    /// log2 of the seconds between its requests; `None` after one.
    pub interval: Option<i8>,
    /// The same while it was dropped.
    pub interval_limited: Option<i8>,
    /// Seconds since the last.
    pub last_age: f64,
}

/// Something broke time: a restore, a migration, a suspend, or sources that jumped.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Disruption {
    /// Counted from one since the start.
    pub number: u64,
    /// `restore`, `migration`, `suspend` or `jump`.
    pub kind: String,
    /// Seconds since it was noticed.
    pub age: f64,
    /// Who told, and how many seconds after the first: `vmclock`, `vmgenid`, `kvm-clock`, `suspend`, `sources`.
    pub witnesses: BTreeMap<String, f64>,
    /// Seconds until sources agreed on the time again; `None` while they do not.
    pub recovered_after: Option<f64>,
    /// The step of the clock that was needed; `None` if none was.
    pub stepped: Option<f64>,
}

/// Another program that steers the system clock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Conflict {
    /// `chronyd`, ...; `unknown` if no process shows.
    pub program: String,
    /// Its process.
    pub pid: Option<u32>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// True if the clock is left to it, false if what it does is undone.
    pub yielding: bool,
}

impl Conflict {
    /// `chronyd (chrony.service, pid 812)`.
    #[must_use]
    pub fn name(&self) -> String {
        let unit = self.unit.as_ref().map_or(String::new(), |unit| format!("{unit}, "));
        match self.pid {
            Some(pid) => format!("{} ({unit}pid {pid})", self.program),
            None => "an unknown program".to_owned(),
        }
    }
}

/// One `ondisruption` or `onsync` line, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hook {
    /// `ondisruption` or `onsync`.
    pub hook: String,
    /// Program and arguments.
    pub command: String,
    /// Runs that have ended, by result: `success`, `failure`, `timeout`, `error`.
    pub runs: BTreeMap<String, u64>,
    /// What was wrong with the last run; empty if nothing was.
    pub error: String,
}

/// What the machine is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Platform {
    /// `kvm`, `hyperv`, `vmware`, `xen`, `qemu-tcg`, `none`, ...
    pub hypervisor: String,
    /// `aws`, `google`, `azure`, ... or `unknown`.
    pub cloud: String,
    /// The kernel's clocksource.
    pub clocksource: String,
    /// The kvm-clock page, where it can be read.
    pub pvclock: Option<Pvclock>,
    /// Seconds of CPU time that the hypervisor took, from `/proc/stat`.
    pub steal_seconds: Option<f64>,
    /// The host announces that time will be disrupted within so many seconds.
    #[serde(default)]
    pub announced_disruption: Option<f64>,
}

/// The kvm-clock page.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Pvclock {
    /// Rises by two at each rewrite.
    pub version: u32,
    /// Bit 0: the TSC is stable, bit 1: the guest was stopped.
    pub flags: u8,
    /// The counter's frequency according to the page.
    pub frequency_hz: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_small_json_lines() {
        assert_eq!(serde_json::to_string(&Request::Report).unwrap(), r#"{"command":"report"}"#);
        assert!(serde_json::from_str::<Request>(r#"{"command":"reboot"}"#).is_err());
    }
}
