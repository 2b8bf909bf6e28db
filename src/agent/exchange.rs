//! What goes into the agent and what comes out: plain data.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::SAVE_INTERVAL;
use super::disruption::Disruption;
use super::notes::Note;
use crate::config::{AuthSelectMode, Config, LeapSecondMode, Local, LogKind, RefclockDirective, ServerDirective, Smoothtime};
use crate::core::{Adjustment, Applied, ClockError, CoreOptions, Course, ReadError, Reading, Signal, SourceId, Status};
use crate::ntp::{Keys, Packet, Snapshot, StampedBy, Token};
use crate::units::{Bound, Instant, Ppm, Timescale};

/// Names a host name to be resolved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NameId(pub u32);

/// How an agent begins.
#[derive(Clone, Debug)]
pub struct Setup {
    /// For the core.
    pub core: CoreOptions,
    /// `server` and `pool` lines, with the timescale each is known to hand out.
    pub servers: Vec<(ServerDirective, Timescale)>,
    /// `refclock` lines; the executor opens the devices in this order.
    pub refclocks: Vec<RefclockDirective>,
    /// Devices that nobody configured and that are read for what they tell of disruptions; the executor opens them after those.
    pub witnesses: Vec<RefclockDirective>,
    /// Frequency (positive: the counter is fast) and its uncertainty from the drift file.
    pub drift: Option<(Ppm, Ppm)>,
    /// Least time between two saves once the frequency is known well.
    pub save_interval: Duration,
    /// The clock's course at the start.
    pub course: Course,
    /// The clock was moved to a floor at start: the first measurement may step it.
    pub clock_is_a_guess: bool,
    /// True if somebody else could set the clock: look after it each second.
    pub watch: bool,
    /// TAI minus UTC as the kernel knows it.
    pub tai_offset: Option<i16>,
    /// log2 of the clock's precision, for replies.
    pub precision: i8,
    /// What to hand out as [`Output::Note`]; usually nothing, which costs nothing.
    pub notes: Vec<LogKind>,
    /// Symmetric keys, for the `key` of servers.
    pub keys: Keys,
    /// `authselectmode`.
    pub auth_select_mode: AuthSelectMode,
    /// `local`: our own time may be served.
    pub local: Option<Local>,
    /// `smoothtime`: what is served comes back to the line smoothly.
    pub smoothtime: Option<Smoothtime>,
    /// For nonces and poll times.
    pub seed: [u8; 32],
}

impl Setup {
    /// What a configuration says, for a clock on `course`; the rest as for a clock without history.
    #[must_use]
    pub fn from_config(config: &Config, course: Course) -> Self {
        let core = CoreOptions {
            makestep: config.makestep,
            max_distance: config.max_distance,
            min_sources: usize::from(config.min_sources),
            max_slew: config.max_slew_rate,
            max_drift: config.max_drift,
            max_clock_error: config.max_clock_error,
            foreign_step: config.foreign_step,
            clock_leaps: false,
            leap_steps: matches!(config.leap_second_mode, LeapSecondMode::System | LeapSecondMode::Step),
            leap_slews: config.leap_second_mode == LeapSecondMode::Slew,
        };
        Self {
            core,
            servers: config.servers.iter().map(|s| (s.clone(), Timescale::Utc)).collect(),
            refclocks: config.refclocks.clone(),
            witnesses: Vec::new(),
            drift: None,
            save_interval: config.driftfile.as_ref().map_or(SAVE_INTERVAL, |d| d.interval),
            course,
            clock_is_a_guess: false,
            watch: false,
            tai_offset: None,
            precision: -25,
            notes: Vec::new(),
            keys: Keys::default(),
            auth_select_mode: config.auth_select_mode,
            local: config.local,
            smoothtime: config.smoothtime,
            seed: [0; 32],
        }
    }
}

/// Something that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// [`Agent::next_wake`](super::Agent::next_wake) has come, or any other time.
    Timer,
    /// An answer to [`Output::Read`].
    Reading {
        /// Which refclock.
        source: SourceId,
        /// What it said.
        result: Result<Reading, ReadError>,
    },
    /// A refclock's device says that it has news.
    Notified {
        /// Which refclock.
        source: SourceId,
    },
    /// The machine's steal time, looked up for a reading that [seems torn](super::Agent::seems_torn).
    Stolen {
        /// Which refclock.
        source: SourceId,
        /// Seconds since the machine started, all CPUs.
        seconds: f64,
    },
    /// A clock of this machine appeared that should be followed: answered by [`Output::Open`].
    Found(Box<RefclockDirective>),
    /// A refclock's device must not be read more often than this.
    Rationed {
        /// Which.
        source: SourceId,
        /// The least time between two readings.
        interval: Duration,
    },
    /// A refclock's device that was away is there again: it is read at once.
    Back(SourceId),
    /// A refclock went away for good.
    Gone(SourceId),
    /// Something happened to this machine's time.
    Signal(Signal),
    /// A reading of the clock told more exactly where it is.
    Course(Course),
    /// An answer to [`Output::Apply`].
    Applied(Result<Applied, ClockError>),
    /// A datagram arrived on a request's socket.
    Datagram {
        /// The request.
        token: Token,
        /// Its sender.
        from: SocketAddr,
        /// Our address.
        to: IpAddr,
        /// When, on the timebase; `None` if the kernel's stamp could not be placed there.
        received: Option<Instant>,
        /// Whose stamp that is.
        by: StampedBy,
        /// What.
        bytes: &'a [u8],
    },
    /// A request left.
    Sent {
        /// The request.
        token: Token,
        /// When, by a stamp or the timebase just before sending. It may be told again, better.
        at: Instant,
        /// Whose stamp that is.
        by: StampedBy,
    },
    /// A request could not be sent.
    SendFailed {
        /// The request.
        token: Token,
    },
    /// An answer to [`Output::Resolve`]; empty if the name could not be resolved.
    Resolved {
        /// The name.
        name: NameId,
        /// What it stands for.
        addresses: &'a [IpAddr],
    },
    /// Who has this address asks us for the time. Heard before its next answer.
    AskedBy(IpAddr),
    /// The program is about to end.
    Farewell,
}

/// What the executor must do.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Read a refclock.
    Read(SourceId),
    /// A refclock that was [found](Input::Found) has this name from now on: open its device.
    Open {
        /// The source.
        source: SourceId,
        /// What was found.
        directive: Box<RefclockDirective>,
    },
    /// Send a request from a fresh port.
    Send {
        /// Its name.
        token: Token,
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Packet,
    },
    /// No answer to this request is awaited any more: close its socket.
    Close(Token),
    /// Order the clock.
    Apply(Adjustment),
    /// Look up a host name.
    Resolve(NameId),
    /// Write the drift file: frequency of the timebase's oscillator (positive: fast) and its uncertainty.
    Save {
        /// By how much the uncorrected clock runs fast.
        frequency: Ppm,
        /// One sigma.
        skew: Ppm,
    },
    /// [`Agent::published`](super::Agent::published) changed.
    Publish,
    /// Write this down: only for the kinds of [`Setup::notes`].
    Note(Note),
}

/// What everybody may know at once, without asking for a whole report.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Published {
    /// The state of time.
    pub status: Status,
    /// When that status began.
    pub since: Instant,
    /// What servers reply with.
    pub snapshot: Snapshot,
    /// How wrong the line can be.
    pub line: Bound,
    /// How wrong the clock can be.
    pub clock: Bound,
    /// The clock's course.
    pub course: Course,
    /// The best source.
    pub selected: Option<SourceId>,
    /// The last disruption.
    pub disruption: Option<Disruption>,
}

impl Published {
    /// Whether readers must be told. Bounds grow by themselves and are no news.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        let news = |p: &Self| (p.status, p.since, p.snapshot, p.line, p.course, p.selected, p.disruption);
        news(self) != news(other)
    }
}

/// Totals of what the agent did and saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Steps made.
    pub steps: u64,
    /// Slews begun.
    pub slews: u64,
    /// Steps by somebody else.
    pub foreign_steps: u64,
    /// Refused adjustments.
    pub clock_errors: u64,
    /// Datagrams that no source wanted.
    pub stray_packets: u64,
    /// Times that [`Input::Timer`] came.
    pub wakeups: u64,
    /// Disruptions that were restores; this and the next three count an event when all is known of it, some seconds later.
    pub restores: u64,
    /// Migrations, or restores whose witnesses could not tell.
    pub migrations: u64,
    /// Suspends.
    pub suspends: u64,
    /// Jumps of the sources that nothing explained.
    pub jumps: u64,
    /// Changes of the clocksource.
    pub clocksource_changes: u64,
    /// Times the event loop came late.
    pub stalls: u64,
}
