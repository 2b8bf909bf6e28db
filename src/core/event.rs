//! What goes into the core and what comes out: samples, events, corrections, decisions.
//!
//! Plain data, shared by every floor above.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Instant, Leap, Offset, Ppm, ReferenceId, Stratum, Timescale, Timestamp, nanos, nanos_or_unknown};

/// Names a source for the life of the process; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SourceId(pub u32);

/// The state of a hypervisor's counter of restores or migrations, as a device reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Generation {
    /// Rises on live migration and on restore (vmclock's disruption marker).
    pub disruption_marker: u64,
    /// Rises on restore alone (VM generation counter), where the device has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_generation: Option<u64>,
}

/// One reading of a local reference clock, bracketed on the timebase.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reading {
    /// The timebase just before the device was read.
    pub before: Instant,
    /// The timebase just after.
    pub after: Instant,
    /// What the device said, in the device's timescale.
    pub reference: Timestamp,
    /// The device's own statement of its error; zero if it makes none.
    pub max_error: Duration,
    /// TAI minus UTC in seconds, if the device states it.
    pub tai_offset: Option<i16>,
    /// The timescale of `reference`, if the device states it.
    pub timescale: Option<Timescale>,
    /// The leap second that the device announces.
    pub leap: Leap,
    /// Disruption counters, if the device has them.
    pub generation: Option<Generation>,
}

/// Why a local clock could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// The device is not there or went away.
    #[error("{device} is absent: {reason}")]
    Absent {
        /// Path or name.
        device: String,
        /// What the system said.
        reason: String,
    },
    /// We may not open it.
    #[error("{device}: permission denied; give the service access to the device (DeviceAllow, group or udev rule)")]
    Denied {
        /// Path or name.
        device: String,
    },
    /// The device answers none of the ways we know to read it.
    #[error("{device} cannot be read: {reason}")]
    Unsupported {
        /// Path or name.
        device: String,
        /// What was tried and what the kernel said.
        reason: String,
    },
    /// It was read, but what it said cannot be used.
    #[error("{device} gave no usable time: {reason}")]
    Invalid {
        /// Path or name.
        device: String,
        /// What was wrong.
        reason: String,
    },
    /// Signal-only device: no time, but its disruption counters are alive.
    #[error("{device} carries no time, only disruption counters")]
    SignalOnly {
        /// Path or name.
        device: String,
        /// The counters.
        generation: Generation,
    },
}

/// One measurement of one source: *at raw instant `at` the reference read `reference`*.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Which source.
    pub source: SourceId,
    /// The instant the reading belongs to (the middle of the exchange).
    pub at: Instant,
    /// The source's time at that instant, in line time.
    pub reference: Timestamp,
    /// Round-trip delay, or the width of the reading window.
    #[serde(with = "nanos")]
    pub delay: Duration,
    /// What the measurement itself adds: precision, stamp resolution, the device's stated error.
    #[serde(with = "nanos")]
    pub dispersion: Duration,
    /// Accumulated delay from the source to its primary clock.
    #[serde(with = "nanos")]
    pub root_delay: Duration,
    /// Accumulated dispersion from the source to its primary clock.
    #[serde(with = "nanos")]
    pub root_dispersion: Duration,
    /// The source's stratum (0 for a reference clock).
    pub stratum: Stratum,
    /// The source's leap warning.
    pub leap: Leap,
    /// What the source follows.
    pub reference_id: ReferenceId,
    /// The count of seconds it hands out.
    pub timescale: Timescale,
    /// The source asks us for the time too: its doubt may be ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks_us: bool,
}

/// Something happened to this machine's time.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// A device's disruption counters changed.
    Generation {
        /// Before.
        from: Generation,
        /// Now.
        to: Generation,
    },
    /// The kernel says that the machine was restored from a snapshot: its VM generation id changed.
    Restored,
    /// Somebody else set `CLOCK_REALTIME`: the clock moved by `by` against its expected course.
    ClockSet {
        /// Positive when the clock was moved forward.
        by: Offset,
        /// The clock's course from now on.
        course: Course,
    },
    /// The machine was suspended: the timebase stood still for this long.
    Suspended {
        /// Growth of `CLOCK_BOOTTIME - CLOCK_MONOTONIC`.
        #[serde(with = "nanos")]
        slept: Duration,
    },
    /// The event loop did not run when it should have.
    Stalled {
        /// How late it was.
        #[serde(with = "nanos")]
        late: Duration,
    },
    /// The kernel changed its clocksource: the timebase may now run at another rate.
    ClocksourceChanged,
}

/// The course of the steered clock on the timebase: a straight piece.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Course {
    /// Where the piece begins.
    pub at: Instant,
    /// The clock's reading there, in line time.
    pub time: Timestamp,
    /// Its rate against the timebase, slew included.
    pub rate: Ppm,
    /// When the slew in it should end; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
    /// How far the clock may be from this course: a clock and the timebase are never read at the same instant.
    #[serde(with = "nanos")]
    pub error: Duration,
}

impl Course {
    /// The clock's reading at `now`, supposing nobody touches it.
    #[must_use]
    pub fn at(&self, now: Instant) -> Timestamp {
        let elapsed = now.since(self.at);
        self.time + elapsed + Offset::from_seconds(elapsed.seconds() * self.rate.ratio())
    }
}

/// What the clock did when told to.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// Its course from now on.
    pub course: Course,
    /// The step made, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stepped: Option<Offset>,
}

/// Why the clock could not be adjusted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClockError {
    /// No `CAP_SYS_TIME`.
    #[error("adjusting the clock is not permitted: grant CAP_SYS_TIME, or run with -x to keep a shadow clock")]
    Denied,
    /// The kernel refused the value.
    #[error("the kernel refused to {action}: {reason}")]
    Refused {
        /// What we asked for.
        action: &'static str,
        /// What it said.
        reason: String,
    },
}

/// An event for the core.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A source was measured.
    Sample(Sample),
    /// A source stopped answering.
    Unreachable(SourceId),
    /// A source said that it is not synchronised.
    Unsynchronised(SourceId),
    /// Something happened to time.
    Signal(Signal),
    /// The clock carried out a correction.
    Applied(Applied),
    /// A reading of the clock told more exactly where it is.
    Course(Course),
    /// Time passed.
    Tick,
}

/// How the clock should be moved.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// Leave its rate alone (status and error are still written).
    Hold,
    /// Run at `frequency` against the timebase, and shift by `offset` in the next `over`.
    Slew {
        /// To be added to the clock.
        offset: Offset,
        /// In this much time.
        #[serde(with = "nanos")]
        over: Duration,
        /// The rate to keep afterwards.
        frequency: Ppm,
    },
    /// Add `offset` at once and run at `frequency`.
    Step {
        /// To be added to the clock.
        offset: Offset,
        /// The rate to keep afterwards.
        frequency: Ppm,
    },
}

/// What to tell the kernel about the clock beside its correction.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Announcement {
    /// False sets `STA_UNSYNC`.
    pub synchronised: bool,
    /// The bound of `CLOCK_REALTIME` until the next announcement, slew and growth included.
    #[serde(with = "nanos_or_unknown")]
    pub max_error: Duration,
    /// The estimated error.
    #[serde(with = "nanos_or_unknown")]
    pub est_error: Duration,
    /// The leap second to come.
    pub leap: Leap,
    /// TAI minus UTC in seconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tai_offset: Option<i16>,
}

impl Announcement {
    /// Nothing is known of the time yet: the kernel's own values for that.
    pub const NOTHING_KNOWN: Self = Self {
        synchronised: false,
        max_error: Duration::from_secs(16),
        est_error: Duration::from_secs(16),
        leap: Leap::Unsynchronised,
        tai_offset: None,
    };
}

/// One order to the clock.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Adjustment {
    /// The movement.
    pub correction: Correction,
    /// What the kernel is told.
    pub announcement: Announcement,
}

/// What Paraclock knows of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Never synchronised yet.
    #[default]
    Unsynchronised,
    /// Following selected sources.
    Synchronised,
    /// Nothing to follow just now: running on the learned frequency with a growing bound.
    Holdover,
    /// Something broke time; waiting for the first agreement of sources.
    Disrupted,
}

impl Status {
    /// True while the time is known within a bound: sources are followed, or were until lately.
    #[must_use]
    pub const fn keeps_time(self) -> bool {
        matches!(self, Self::Synchronised | Self::Holdover)
    }

    /// Lower-case word for tables, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsynchronised => "unsynchronised",
            Self::Synchronised => "synchronised",
            Self::Holdover => "holdover",
            Self::Disrupted => "disrupted",
        }
    }
}

/// What the core decided.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Decision {
    /// The order to the clock, if there is anything new to tell it.
    pub adjustment: Option<Adjustment>,
    /// Something about time is in doubt: ask every source now.
    pub ask: bool,
    /// When the core wants to be called again, if nothing happens before.
    pub next: Option<Instant>,
}

/// Why a source is or is not used; the states of `chronyc sources` and `selectdata`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// No sample yet.
    #[default]
    Waiting,
    /// No answer in the last eight polls.
    Unreachable,
    /// Configured with `noselect`.
    Noselect,
    /// It says itself that it is not synchronised.
    Unsynchronised,
    /// Its root distance exceeds `maxdistance`.
    Distant,
    /// Its time disagrees with the majority's.
    Falseticker,
    /// It went on as if nothing had happened when the machine was restored, and the others did not.
    Stopped,
    /// No majority of sources agrees.
    NoMajority,
    /// Fewer than `minsources` agree.
    TooFew,
    /// It hands out another timescale than the sources that are followed.
    Timescale,
    /// Its time varies by more than a second.
    Jittery,
    /// A source with `prefer` is followed instead.
    NotPreferred,
    /// A closer source is followed and this one would add nothing.
    Outclassed,
    /// Waiting for a source that is required by `require` or `trust`.
    Untrusted,
    /// Its time is combined with the best source's.
    Combined,
    /// The best source.
    Selected,
}

impl SourceState {
    /// The mark in the second column of `chronyc sources`.
    #[must_use]
    pub const fn mark(self) -> char {
        match self {
            Self::Selected => '*',
            Self::Combined => '+',
            Self::NotPreferred | Self::Outclassed => '-',
            Self::Falseticker | Self::Stopped => 'x',
            Self::Jittery => '~',
            Self::Waiting
            | Self::Unreachable
            | Self::Noselect
            | Self::Unsynchronised
            | Self::Distant
            | Self::NoMajority
            | Self::TooFew
            | Self::Timescale
            | Self::Untrusted => '?',
        }
    }

    /// The letter in the first column of `chronyc selectdata`; its falsetickers are all that disagree.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Waiting => 'M',
            Self::Unreachable | Self::Unsynchronised => 's',
            Self::Noselect => 'N',
            Self::Distant => 'd',
            Self::Falseticker | Self::Stopped | Self::NoMajority | Self::Timescale => 'x',
            Self::TooFew | Self::Untrusted => 'W',
            Self::Jittery => '~',
            Self::NotPreferred => 'P',
            Self::Outclassed => 'D',
            Self::Combined => '+',
            Self::Selected => '*',
        }
    }

    /// A plain sentence for people.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Waiting => "no sample yet",
            Self::Unreachable => "no answer in the last eight polls",
            Self::Noselect => "configured with noselect",
            Self::Unsynchronised => "it says that it is not synchronised",
            Self::Distant => "its root distance exceeds maxdistance",
            Self::Falseticker => "its time disagrees with the majority",
            Self::Stopped => "its time stood still while the machine did",
            Self::NoMajority => "no majority of sources agrees",
            Self::TooFew => "fewer sources agree than minsources asks for",
            Self::Timescale => "it hands out another timescale than the sources followed",
            Self::Jittery => "its time varies by more than a second",
            Self::NotPreferred => "a preferred source is followed",
            Self::Outclassed => "a much closer source is followed",
            Self::Untrusted => "waiting for a trusted or required source",
            Self::Combined => "combined with the best source",
            Self::Selected => "the best source",
        }
    }

    /// Lower-case word for metrics and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Unreachable => "unreachable",
            Self::Noselect => "noselect",
            Self::Unsynchronised => "unsynchronised",
            Self::Distant => "distant",
            Self::Falseticker => "falseticker",
            Self::Stopped => "stopped",
            Self::NoMajority => "no_majority",
            Self::TooFew => "too_few",
            Self::Timescale => "timescale",
            Self::Jittery => "jittery",
            Self::NotPreferred => "not_preferred",
            Self::Outclassed => "outclassed",
            Self::Untrusted => "untrusted",
            Self::Combined => "combined",
            Self::Selected => "selected",
        }
    }
}
