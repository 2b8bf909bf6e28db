//! The ways to read a PTP clock, best first, and which of them works here.
//!
//! Inputs: a [`Device`] and the number of windows wanted. A way that the kernel or driver does
//! not know is left for good (until [`Ladder::reset`]); one that fails for a passing reason is
//! left after three failures in a row. It picks no clock and knows no timescale.

use std::time::Duration;

use arrayvec::ArrayVec;
use nix::errno::Errno;

use super::abi::{ClockTime, MAX_SAMPLES};
use super::bracket::{Bracket, Pair};
use super::device::Device;
use crate::core::ReadError;
use crate::units::{Instant, Timestamp};

/// Failures in a row after which a rung is left.
const PATIENCE: u8 = 3;
/// Calls interrupted by a signal are repeated this often.
const INTERRUPTIONS: usize = 4;
const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC_RAW: u32 = 4;

/// One way to read a PTP clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rung {
    /// `PTP_SYS_OFFSET_PRECISE`: device and system clocks at one moment.
    Precise,
    /// `PTP_SYS_OFFSET_EXTENDED` with stamps of the timebase (Linux 6.12 and later).
    ExtendedRaw,
    /// `PTP_SYS_OFFSET_EXTENDED2`.
    Extended2,
    /// `PTP_SYS_OFFSET_EXTENDED`.
    Extended,
    /// `PTP_SYS_OFFSET`.
    Basic,
}

impl Rung {
    /// The ioctl's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Precise => "PTP_SYS_OFFSET_PRECISE",
            Self::ExtendedRaw => "PTP_SYS_OFFSET_EXTENDED (monotonic raw)",
            Self::Extended2 => "PTP_SYS_OFFSET_EXTENDED2",
            Self::Extended => "PTP_SYS_OFFSET_EXTENDED",
            Self::Basic => "PTP_SYS_OFFSET",
        }
    }

    const fn below(self) -> Option<Self> {
        match self {
            Self::Precise => Some(Self::ExtendedRaw),
            Self::ExtendedRaw => Some(Self::Extended2),
            Self::Extended2 => Some(Self::Extended),
            Self::Extended => Some(Self::Basic),
            Self::Basic => None,
        }
    }
}

/// A reading of the device between two points of the timebase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The device was read no earlier.
    pub before: Instant,
    /// The device was read no later.
    pub after: Instant,
    /// What it said.
    pub device: Timestamp,
}

impl Window {
    /// After minus before; zero for cross time stamps.
    #[must_use]
    pub fn width(&self) -> Duration {
        self.after.elapsed_since(self.before)
    }
}

/// All usable windows of one reading, narrowest first; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measurement {
    /// How it was measured.
    pub rung: Rung,
    /// Narrowest first.
    pub windows: ArrayVec<Window, MAX_SAMPLES>,
}

/// What one rung answered.
enum Failure {
    /// Never going to work here: go down.
    Unknown(Errno),
    /// The clock that we asked for was not used.
    Ignored,
    /// Failed this time.
    Passing(Errno),
    /// The answer cannot be used.
    Invalid(String),
}

/// Remembers which way works.
#[derive(Clone, Debug)]
pub struct Ladder {
    rung: Rung,
    failures: u8,
    left: ArrayVec<(Rung, Option<Errno>), 5>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self { rung: Rung::Precise, failures: 0, left: ArrayVec::new() }
    }
}

impl Ladder {
    /// Begins below cross time stamps.
    #[must_use]
    pub fn without_cross_stamps() -> Self {
        Self { rung: Rung::ExtendedRaw, ..Self::default() }
    }

    /// Begins at the top again: after a change of clocksource other ways may work.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The way in use.
    #[must_use]
    pub const fn rung(&self) -> Rung {
        self.rung
    }

    /// Reads the device `samples` times (1..=25) in the best way that works.
    ///
    /// # Errors
    /// `Unsupported` with all that was tried, `Absent` if the device went away, `Denied`, or
    /// `Invalid` if this reading failed or makes no sense.
    pub fn read(&mut self, device: &mut impl Device, samples: u32, name: &str) -> Result<Measurement, ReadError> {
        let samples = samples.clamp(1, 25);
        let name = name.to_owned();
        loop {
            let why = match attempt(self.rung, device, samples) {
                Ok(windows) => {
                    self.failures = 0;
                    return Ok(Measurement { rung: self.rung, windows });
                }
                Err(Failure::Unknown(errno)) => Some(errno),
                Err(Failure::Ignored) => None,
                Err(Failure::Passing(Errno::EACCES | Errno::EPERM)) => return Err(ReadError::Denied { device: name }),
                Err(Failure::Passing(errno)) if self.patient() => {
                    return Err(ReadError::Invalid { device: name, reason: format!("{}: {}", self.rung.as_str(), errno.desc()) });
                }
                Err(Failure::Invalid(reason)) if self.patient() => {
                    return Err(ReadError::Invalid { device: name, reason: format!("{}: {reason}", self.rung.as_str()) });
                }
                Err(Failure::Passing(errno)) => Some(errno),
                Err(Failure::Invalid(_)) => None,
            };
            self.left.push((self.rung, why));
            self.failures = 0;
            match self.rung.below() {
                Some(below) => self.rung = below,
                None => return Err(self.exhausted(name)),
            }
        }
    }

    /// Counts a failure; true while the rung deserves another try.
    fn patient(&mut self) -> bool {
        self.failures += 1;
        self.failures < PATIENCE
    }

    /// All rungs failed: says how, and begins at the top next time.
    fn exhausted(&mut self, device: String) -> ReadError {
        let left = std::mem::take(&mut self.left);
        self.reset();
        // Every PTP clock that is there knows the last rung.
        if left.last().is_some_and(|(_, why)| *why == Some(Errno::ENODEV)) {
            return ReadError::Absent { device, reason: "the kernel says that the clock is gone".to_owned() };
        }
        let reasons: Vec<String> =
            left.iter().map(|(rung, why)| format!("{}: {}", rung.as_str(), why.map_or("no usable stamps", Errno::desc))).collect();
        ReadError::Unsupported { device, reason: reasons.join("; ") }
    }
}

/// Brackets one ioctl with readings of the system's clocks.
fn bracketed<D: Device, T>(device: &mut D, mut call: impl FnMut(&mut D) -> nix::Result<T>) -> Result<(Bracket, T), Failure> {
    for _ in 0..INTERRUPTIONS {
        let before = Pair::read(device);
        let answer = call(device);
        let after = Pair::read(device);
        match answer {
            Ok(answer) => return Ok((Bracket { before, after }, answer)),
            Err(Errno::EINTR) => {}
            Err(errno @ (Errno::ENODEV | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOTTY | Errno::ENOSYS)) => {
                return Err(Failure::Unknown(errno));
            }
            Err(errno) => return Err(Failure::Passing(errno)),
        }
    }
    Err(Failure::Passing(Errno::EINTR))
}

fn attempt(rung: Rung, device: &mut impl Device, samples: u32) -> Result<ArrayVec<Window, MAX_SAMPLES>, Failure> {
    let wanted = usize::try_from(samples).unwrap_or(1).min(MAX_SAMPLES);
    let mut found: Vec<Result<Window, String>> = Vec::with_capacity(wanted);
    match rung {
        Rung::Precise => {
            let (bracket, answer) = bracketed(device, Device::precise)?;
            found.push(precise(&bracket, &answer.device, &answer.realtime, &answer.raw));
        }
        Rung::ExtendedRaw => {
            let (bracket, answer) = bracketed(device, |device| device.extended(false, samples, CLOCK_MONOTONIC_RAW))?;
            for [before, reading, after] in answer.stamps.iter().take(wanted) {
                let (before, after) = (instant(before), instant(after));
                if !bracket.contains(before) || !bracket.contains(after) {
                    return Err(Failure::Ignored);
                }
                found.push(timestamp(reading).and_then(|device| ordered(Window { before, after, device })));
            }
        }
        Rung::Extended2 | Rung::Extended => {
            let (bracket, answer) = bracketed(device, |device| device.extended(rung == Rung::Extended2, samples, CLOCK_REALTIME))?;
            found.extend(answer.stamps.iter().take(wanted).map(|[before, reading, after]| carried(&bracket, before, reading, after)));
        }
        Rung::Basic => {
            let (bracket, answer) = bracketed(device, |device| device.basic(samples))?;
            let triples = answer.stamps.windows(3).step_by(2).take(wanted);
            found.extend(triples.filter_map(|triple| match triple {
                [before, reading, after] => Some(carried(&bracket, before, reading, after)),
                _ => None,
            }));
        }
    }
    let mut windows = ArrayVec::new();
    let mut reason = None;
    for window in found {
        match window {
            Ok(window) => windows.push(window),
            Err(text) => reason = reason.or(Some(text)),
        }
    }
    if windows.is_empty() {
        return Err(Failure::Invalid(reason.unwrap_or_else(|| "no stamps".to_owned())));
    }
    windows.sort_by_key(Window::width);
    Ok(windows)
}

/// A cross time stamp. Some rigs leave the raw stamp empty: then the realtime one is carried over.
fn precise(bracket: &Bracket, device: &ClockTime, realtime: &ClockTime, raw: &ClockTime) -> Result<Window, String> {
    let device = timestamp(device)?;
    let at = instant(raw);
    if bracket.contains(at) {
        return Ok(Window { before: at, after: at, device });
    }
    let (before, after) = bracket.carry(timestamp(realtime)?)?;
    ordered(Window { before, after, device })
}

/// A window between two `CLOCK_REALTIME` stamps.
fn carried(bracket: &Bracket, before: &ClockTime, device: &ClockTime, after: &ClockTime) -> Result<Window, String> {
    let device = timestamp(device)?;
    let (before, _) = bracket.carry(timestamp(before)?)?;
    let (_, after) = bracket.carry(timestamp(after)?)?;
    ordered(Window { before, after, device })
}

fn ordered(window: Window) -> Result<Window, String> {
    if window.after < window.before {
        return Err(format!("its system stamps run backwards ({:?}, {:?})", window.before, window.after));
    }
    Ok(window)
}

fn instant(stamp: &ClockTime) -> Instant {
    Instant::from_nanos(Timestamp::from_parts(stamp.seconds, i64::from(stamp.nanos)).nanos())
}

/// A stamp as a time; saturates, but refuses what no clock says.
fn timestamp(stamp: &ClockTime) -> Result<Timestamp, String> {
    if stamp.seconds < 0 || stamp.nanos >= 1_000_000_000 {
        return Err(format!("a stamp of {} s and {} ns is no time", stamp.seconds, stamp.nanos));
    }
    Ok(Timestamp::from_parts(stamp.seconds, i64::from(stamp.nanos)))
}

#[cfg(test)]
mod tests;
