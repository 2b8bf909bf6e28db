//! The vmclock page as bytes: decoding and the arithmetic of its line. Pure functions.
//!
//! Inputs: a copy of the page and a counter value. It looks at no field that the page's own
//! `size` does not cover and passes no judgement beyond what the page says of itself.

use std::time::Duration;

use crate::core::Generation;
use crate::units::{Leap, Timescale, Timestamp};

/// Bytes of the page that this program knows.
pub const SIZE: usize = 112;
/// Everything up to and including `flags`: less is no vmclock page.
const SMALLEST: usize = 32;
const MAGIC: u32 = 0x4b4c_4356;
/// A counter this far behind the page is another counter, not a CPU that lags a little.
const BACKWARDS: Duration = Duration::from_secs(1);
/// A largest error that is not stated is taken as this many estimated ones.
const SIGMAS: u64 = 4;
/// A period whose error is not stated is wrong by up to this part of it, 50 ppm: what the counters of computers may be off.
const UNSTATED_PERIOD_ERROR: u64 = 20_000;

/// Why a page tells nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PageError {
    /// Fewer bytes than the smallest page.
    #[error("the page is cut off after {0} bytes (needs 32)")]
    Short(usize),
    /// No vmclock page.
    #[error("the page begins with {0:#010x} instead of \"VCLK\"; is this a vmclock device?")]
    Magic(u32),
    /// A later version than we know.
    #[error("the page has version {0}, this program knows version 1")]
    Version(u16),
    /// The hypervisor was writing it each time we looked.
    #[error("the hypervisor is updating the page; try again")]
    Updating,
    /// The page has a time that cannot be used.
    #[error("{0}")]
    Unusable(String),
}

/// What the hypervisor says of its clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockStatus {
    /// It says nothing.
    Unknown,
    /// It is starting.
    Initializing,
    /// Following its reference.
    Synchronized,
    /// It lost its reference; the error bound grows.
    Freerunning,
    /// Not to be used.
    Unreliable,
    /// A value from a later version.
    Other(u8),
}

/// Which counter the page is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CounterId {
    /// The aarch64 virtual counter.
    ArmVirtual,
    /// The x86 TSC.
    Tsc,
    /// None: the page carries signals only.
    None,
    /// A value from a later version.
    Other(u8),
}

/// The page's content. Fields beyond the page's own `size` are `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// Bytes that the hypervisor filled in.
    pub size: u32,
    /// Which counter.
    pub counter_id: CounterId,
    /// The raw `time_type`; see [`Page::timescale`].
    pub time_type: u8,
    /// Even; changes with each update.
    pub sequence: u32,
    /// Disruption counters.
    pub generation: Generation,
    /// The raw flag bits.
    pub flags: u64,
    /// State of the hypervisor's clock.
    pub status: ClockStatus,
    /// TAI minus UTC in seconds, if valid.
    pub tai_offset: Option<i16>,
    /// How the hypervisor would smear leap seconds; the page's own time is never smeared.
    pub smearing_hint: SmearingHint,
    /// The raw leap indicator; see [`Page::leap`].
    pub leap_indicator: u8,
    /// The relation of the counter to time; `None` in pages that end before it.
    pub line: Option<Line>,
}

/// The relation of the counter to time. Fractions are in units of 2^-64 s (periods: 2^-(64 + shift) s).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// The counter at the reference point.
    pub counter: u64,
    /// Seconds a tick.
    pub period_frac: u64,
    /// Shift of the period and its error.
    pub period_shift: u8,
    /// Estimated error of the period, if valid.
    pub period_esterror: Option<u64>,
    /// Largest error of the period, if valid.
    pub period_maxerror: Option<u64>,
    /// Whole seconds at the reference point.
    pub seconds: u64,
    /// Fraction of a second at the reference point.
    pub fraction: u64,
    /// Estimated error of the time at the reference point in nanoseconds, if valid.
    pub esterror_ns: Option<u64>,
    /// Largest error of the time at the reference point in nanoseconds, if valid.
    pub maxerror_ns: Option<u64>,
}

/// How users of the hypervisor's other machines see leap seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmearingHint {
    /// As they come.
    Strict,
    /// Spread linearly from noon to noon.
    NoonLinear,
    /// Spread over the last 1000 seconds.
    UtcSls,
    /// A value from a later version.
    Other(u8),
}

impl SmearingHint {
    /// A word for reports; empty if there is nothing to say.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "",
            Self::NoonLinear => "noon-linear",
            Self::UtcSls => "utc-sls",
            Self::Other(_) => "another way",
        }
    }
}

/// The time that a page gives to a counter value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// In the page's timescale.
    pub time: Timestamp,
    /// How wrong it can be, if the page says.
    pub max_error: Option<Duration>,
}

const FLAG_TAI_OFFSET: u64 = 1 << 0;
const FLAG_DISRUPTION_SOON: u64 = 1 << 1;
const FLAG_DISRUPTION_IMMINENT: u64 = 1 << 2;
const FLAG_PERIOD_ESTERROR: u64 = 1 << 3;
const FLAG_PERIOD_MAXERROR: u64 = 1 << 4;
const FLAG_TIME_ESTERROR: u64 = 1 << 5;
const FLAG_TIME_MAXERROR: u64 = 1 << 6;
const FLAG_VM_GENERATION: u64 = 1 << 8;
const FLAG_NOTIFICATION: u64 = 1 << 9;

impl Page {
    /// Takes a page apart; looks at no field that `size` or the bytes do not cover.
    ///
    /// # Errors
    /// `Short`, `Magic`, `Version`, or `Updating` (odd sequence).
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        if bytes.len() < SMALLEST {
            return Err(PageError::Short(bytes.len()));
        }
        let fields = Fields { bytes, size: bytes.len() };
        let magic = fields.u32(0).unwrap_or(0);
        if magic != MAGIC {
            return Err(PageError::Magic(magic));
        }
        let size = fields.u32(4).unwrap_or(0);
        let stated = usize::try_from(size).unwrap_or(usize::MAX);
        if stated < SMALLEST {
            return Err(PageError::Short(stated));
        }
        let fields = Fields { bytes, size: stated.min(bytes.len()) };
        let version = fields.u16(8).unwrap_or(0);
        if version != 1 {
            return Err(PageError::Version(version));
        }
        let sequence = fields.u32(12).unwrap_or(1);
        if sequence % 2 == 1 {
            return Err(PageError::Updating);
        }
        let flags = fields.u64(24).unwrap_or(0);
        let valid = |flag: u64| flags & flag != 0;
        Ok(Self {
            size,
            counter_id: match fields.u8(10) {
                Some(0) => CounterId::ArmVirtual,
                Some(1) => CounterId::Tsc,
                Some(255) | None => CounterId::None,
                Some(other) => CounterId::Other(other),
            },
            time_type: fields.u8(11).unwrap_or(u8::MAX),
            sequence,
            generation: Generation {
                disruption_marker: fields.u64(16).unwrap_or(0),
                vm_generation: fields.u64(104).filter(|_| valid(FLAG_VM_GENERATION)),
            },
            flags,
            status: match fields.u8(34).unwrap_or(0) {
                0 => ClockStatus::Unknown,
                1 => ClockStatus::Initializing,
                2 => ClockStatus::Synchronized,
                3 => ClockStatus::Freerunning,
                4 => ClockStatus::Unreliable,
                other => ClockStatus::Other(other),
            },
            tai_offset: fields.u16(36).filter(|_| valid(FLAG_TAI_OFFSET)).map(|bits| i16::from_ne_bytes(bits.to_ne_bytes())),
            smearing_hint: match fields.u8(35).unwrap_or(0) {
                0 => SmearingHint::Strict,
                1 => SmearingHint::NoonLinear,
                2 => SmearingHint::UtcSls,
                other => SmearingHint::Other(other),
            },
            leap_indicator: fields.u8(38).unwrap_or(0),
            line: Line::decode(&fields, flags),
        })
    }

    /// The count of seconds that the page hands out; `None` for monotonic time and unknown types.
    #[must_use]
    pub const fn timescale(&self) -> Option<Timescale> {
        match self.time_type {
            0 => Some(Timescale::Utc),
            1 => Some(Timescale::Tai),
            // The kernel's header calls these two invalid; 4 is "UTC, maybe smeared".
            3 => Some(Timescale::Smeared),
            4 => Some(Timescale::Unknown),
            _ => None,
        }
    }

    /// The leap second to come. After one has passed the day is ordinary again.
    #[must_use]
    pub const fn leap(&self) -> Leap {
        match self.leap_indicator {
            1 | 3 => Leap::Insert,
            2 => Leap::Delete,
            _ => Leap::Normal,
        }
    }

    /// The hypervisor announces that time will be disrupted within about this.
    #[must_use]
    pub const fn disruption_within(&self) -> Option<Duration> {
        if self.flags & FLAG_DISRUPTION_IMMINENT != 0 {
            Some(Duration::from_secs(3_600))
        } else if self.flags & FLAG_DISRUPTION_SOON != 0 {
            Some(Duration::from_secs(86_400))
        } else {
            None
        }
    }

    /// Whether the device wakes its readers at a disruption.
    #[must_use]
    pub const fn notifies(&self) -> bool {
        self.flags & FLAG_NOTIFICATION != 0
    }

    /// True for a page without time: disruption counters alone.
    #[must_use]
    pub const fn is_signal_only(&self) -> bool {
        matches!(self.counter_id, CounterId::None) || self.line.is_none()
    }

    /// The time when the counter stood at `counter`.
    ///
    /// # Errors
    /// `Unusable` with the reason if the page's clock, counter or timescale is not one to follow.
    pub fn time_at(&self, counter: u64) -> Result<Moment, PageError> {
        let unusable = |reason: String| Err(PageError::Unusable(reason));
        let ours = if cfg!(target_arch = "aarch64") { CounterId::ArmVirtual } else { CounterId::Tsc };
        if self.counter_id != ours {
            return unusable(format!("the page is about another counter ({:?}) than this CPU's ({ours:?})", self.counter_id));
        }
        let Some(line) = self.line else { return unusable("the page ends before its time".to_owned()) };
        if self.timescale().is_none() {
            return unusable(format!("time type {} is neither UTC nor TAI", self.time_type));
        }
        let moment = line.time_at(counter)?;
        match self.status {
            ClockStatus::Synchronized => Ok(moment),
            ClockStatus::Freerunning if moment.max_error.is_some() => Ok(moment),
            ClockStatus::Freerunning => unusable("the hypervisor's clock is free running and states no largest error".to_owned()),
            status => unusable(format!("the hypervisor calls its clock {status:?}")),
        }
    }
}

impl Line {
    fn decode(fields: &Fields<'_>, flags: u64) -> Option<Self> {
        let valid = |flag: u64| flags & flag != 0;
        Some(Self {
            counter: fields.u64(40)?,
            period_frac: fields.u64(48)?,
            period_shift: fields.u8(39)?,
            period_esterror: fields.u64(56).filter(|_| valid(FLAG_PERIOD_ESTERROR)),
            period_maxerror: fields.u64(64).filter(|_| valid(FLAG_PERIOD_MAXERROR)),
            seconds: fields.u64(72)?,
            fraction: fields.u64(80)?,
            esterror_ns: fields.u64(88).filter(|_| valid(FLAG_TIME_ESTERROR)),
            maxerror_ns: fields.u64(96).filter(|_| valid(FLAG_TIME_MAXERROR)),
        })
    }

    /// seconds + (fraction + ((delta x period) >> shift)) / 2^64, in fixed point with 64 fraction bits.
    fn time_at(&self, counter: u64) -> Result<Moment, PageError> {
        let delta = i64::from_ne_bytes(counter.wrapping_sub(self.counter).to_ne_bytes());
        let elapsed = self.scaled(delta.unsigned_abs(), self.period_frac);
        if delta < 0 && fixed_nanos(elapsed) > BACKWARDS.as_nanos() {
            return Err(PageError::Unusable(format!("the page lies {} ns ahead of the counter", fixed_nanos(elapsed))));
        }
        let start = (u128::from(self.seconds) << 64) | u128::from(self.fraction);
        let time = if delta < 0 { start.saturating_sub(elapsed) } else { start.saturating_add(elapsed) };
        let max_error = self.maxerror_ns.or(self.esterror_ns.map(|sigma| sigma.saturating_mul(SIGMAS))).map(|at_start| {
            let growth = fixed_nanos(self.scaled(delta.unsigned_abs(), self.period_error())).saturating_add(1);
            Duration::from_nanos(at_start.saturating_add(u64::try_from(growth).unwrap_or(u64::MAX)))
        });
        Ok(Moment { time: Timestamp::from_nanos(i64::try_from(fixed_nanos(time)).unwrap_or(i64::MAX)), max_error })
    }

    /// How wrong a period can be, in its own units.
    fn period_error(&self) -> u64 {
        let estimated = self.period_esterror.map(|sigma| sigma.saturating_mul(SIGMAS));
        self.period_maxerror.or(estimated).unwrap_or(self.period_frac / UNSTATED_PERIOD_ERROR)
    }

    /// `ticks` of `period` each in units of 2^-64 s.
    fn scaled(&self, ticks: u64, period: u64) -> u128 {
        (u128::from(ticks) * u128::from(period)).checked_shr(u32::from(self.period_shift)).unwrap_or(0)
    }
}

/// Nanoseconds (rounded down) of a fixed-point number of seconds with 64 fraction bits.
const fn fixed_nanos(seconds: u128) -> u128 {
    (seconds >> 64) * 1_000_000_000 + (((seconds & (u64::MAX as u128)) * 1_000_000_000) >> 64)
}

/// Little-endian fields within the page's stated size.
struct Fields<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl Fields<'_> {
    fn get<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        if at + N > self.size {
            return None;
        }
        self.bytes.get(at..)?.first_chunk::<N>().copied()
    }

    fn u8(&self, at: usize) -> Option<u8> {
        self.get::<1>(at).map(|[byte]| byte)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.get(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.get(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.get(at).map(u64::from_le_bytes)
    }
}
