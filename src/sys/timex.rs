//! The kernel's clock discipline: `adjtimex(2)` behind a safe API.
//!
//! Rates are against the timebase: the sum of `tick` (100 ppm a unit) and `freq` (2^-16 ppm a unit).

use std::io;
use std::time::Duration;

use libc::timex;

use crate::units::{Leap, Offset, Ppm};

/// The kernel runs `CLOCK_REALTIME` at most this much faster or slower than its counter.
pub const MAX_RATE: Ppm = Ppm::new(100_000.0 - 500.0);
/// One unit of `tick` at 100 ticks a second.
const PPM_PER_TICK: f64 = 100.0;
/// `freq` reaches this far on its own.
const MAX_FREQ: f64 = 500.0;
/// One ppm in units of `freq`.
const FREQ_SCALE: f64 = 65_536.0;
/// Rates that differ by less, in ppm, are the same, written twice.
const SAME_RATE: f64 = 1e-3;
/// What only somebody who uses the kernel's own discipline sets.
const DISCIPLINE: i32 = libc::STA_PLL | libc::STA_FLL | libc::STA_FREQHOLD;
/// Microseconds a tick.
const NOMINAL_TICK: libc::c_long = 10_000;

/// What the kernel says of its clock.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct State {
    /// Tick and frequency together.
    pub rate: Ppm,
    /// The `STA_*` flags.
    pub status: i32,
    /// As `timedatectl` judges by it.
    pub max_error: Duration,
    /// The estimated error.
    pub est_error: Duration,
    /// TAI minus UTC, zero if unknown.
    pub tai_offset: i32,
}

impl State {
    /// True if `STA_UNSYNC` is clear.
    #[must_use]
    pub const fn synchronised(&self) -> bool {
        self.status & libc::STA_UNSYNC == 0
    }
}

impl State {
    /// True if the kernel's own clock discipline is in use, as ntpd and systemd-timesyncd use it and we never do.
    #[must_use]
    pub const fn is_disciplined(&self) -> bool {
        self.status & DISCIPLINE != 0
    }

    /// True if the clock runs at this rate.
    #[must_use]
    pub fn runs_at(&self, rate: Ppm) -> bool {
        (self.rate.ppm() - rate.ppm()).abs() <= SAME_RATE
    }

    /// True if somebody wrote to the clock since `before`: the kernel by itself changes neither rate nor flags, and lets the
    /// error grow.
    #[must_use]
    pub fn was_touched_since(&self, before: &Self) -> bool {
        let flags = |state: &Self| state.status & (DISCIPLINE | libc::STA_UNSYNC);
        !self.runs_at(before.rate) || flags(self) != flags(before) || self.max_error < before.max_error
    }

    /// True if nothing shows that anybody has steered the clock since the kernel started.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.runs_at(Ppm::ZERO) && !self.is_disciplined() && !self.synchronised()
    }
}

/// What to write.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// The rate to run at.
    pub rate: Ppm,
    /// Clears `STA_UNSYNC`.
    pub synchronised: bool,
    /// `STA_INS` or `STA_DEL`.
    pub leap: Leap,
    /// Written as is, rounded up to microseconds.
    pub max_error: Duration,
    /// Likewise.
    pub est_error: Duration,
    /// TAI minus UTC, if known.
    pub tai_offset: Option<i16>,
}

/// Reads the state; needs no privilege.
pub fn read() -> io::Result<State> {
    let mut buffer = blank();
    call(&mut buffer)?;
    Ok(state(&buffer))
}

/// Writes rate, status and errors; returns the rate really set.
pub fn set(settings: &Settings) -> io::Result<Ppm> {
    let (tick, freq) = split(settings.rate);
    let mut buffer = blank();
    buffer.modes = libc::ADJ_TICK | libc::ADJ_FREQUENCY | libc::ADJ_STATUS | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR | libc::ADJ_NANO;
    buffer.tick = tick;
    buffer.freq = freq;
    buffer.status = match settings.leap {
        Leap::Insert => libc::STA_INS,
        Leap::Delete => libc::STA_DEL,
        Leap::Normal | Leap::Unsynchronised => 0,
    };
    if !settings.synchronised {
        buffer.status |= libc::STA_UNSYNC;
    }
    buffer.maxerror = micros(settings.max_error);
    buffer.esterror = micros(settings.est_error);
    call(&mut buffer)?;
    if let Some(seconds) = settings.tai_offset.filter(|&s| i32::from(s) != buffer.tai) {
        let mut tai = blank();
        tai.modes = libc::ADJ_TAI;
        tai.constant = libc::c_long::from(seconds);
        call(&mut tai)?;
    }
    Ok(join(buffer.tick, buffer.freq))
}

/// Moves the clock by `offset` at once. The kernel then says "unsynchronised" until [`set`] is called.
pub fn step(offset: Offset) -> io::Result<()> {
    let mut buffer = blank();
    buffer.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    // The fraction must not be negative; with ADJ_NANO `tv_usec` holds nanoseconds.
    buffer.time.tv_sec = offset.nanos().div_euclid(1_000_000_000);
    buffer.time.tv_usec = offset.nanos().rem_euclid(1_000_000_000);
    call(&mut buffer)
}

/// `tick` and `freq` for a rate, and nothing the kernel would refuse.
fn split(rate: Ppm) -> (libc::c_long, libc::c_long) {
    let ppm = rate.clamped(MAX_RATE).ppm();
    let ticks = if ppm.abs() <= MAX_FREQ { 0.0 } else { (ppm / PPM_PER_TICK).round() };
    let freq = (ppm - ticks * PPM_PER_TICK) * FREQ_SCALE;
    (NOMINAL_TICK + whole(ticks), whole(freq))
}

fn join(tick: libc::c_long, freq: libc::c_long) -> Ppm {
    Ppm::new(fraction(tick - NOMINAL_TICK) * PPM_PER_TICK + fraction(freq) / FREQ_SCALE)
}

fn state(buffer: &timex) -> State {
    let error = |micros: libc::c_long| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    State {
        rate: join(buffer.tick, buffer.freq),
        status: buffer.status,
        max_error: error(buffer.maxerror),
        est_error: error(buffer.esterror),
        tai_offset: buffer.tai,
    }
}

fn micros(value: Duration) -> libc::c_long {
    // The kernel's own limit is 16 s (NTP_PHASE_LIMIT); more says nothing more.
    let capped = value.min(Duration::from_secs(16));
    libc::c_long::try_from(capped.as_nanos().div_ceil(1000)).unwrap_or(16_000_000)
}

#[expect(clippy::cast_possible_truncation, reason = "clamped far below 2^31 by the caller")]
fn whole(value: f64) -> libc::c_long {
    value.round() as libc::c_long
}

#[expect(clippy::cast_precision_loss, reason = "ticks and scaled ppm stay below 2^32")]
const fn fraction(value: libc::c_long) -> f64 {
    value as f64
}

#[expect(unsafe_code, reason = "plain C data, all of whose fields may be zero")]
const fn blank() -> timex {
    // SAFETY: `timex` holds integers only; all-zero is a valid value and means "read".
    unsafe { std::mem::zeroed() }
}

#[expect(unsafe_code, reason = "adjtimex is a C function")]
fn call(buffer: &mut timex) -> io::Result<()> {
    // SAFETY: `buffer` is a valid, exclusively borrowed `timex`, which the call reads and writes.
    let result = unsafe { libc::adjtimex(buffer) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reading_needs_no_privilege() {
        let state = read().unwrap();
        assert!(state.rate.ppm().abs() <= 100_000.0, "{state:?}");
    }

    #[test]
    fn small_rates_leave_the_tick_alone() {
        assert_eq!(split(Ppm::new(80.0)), (10_000, 5_242_880));
        assert_eq!(split(Ppm::new(-499.0)).0, 10_000);
        assert_eq!(split(Ppm::new(50_000.0)), (10_500, 0));
    }

    #[test]
    fn errors_round_up_and_are_capped() {
        assert_eq!(micros(Duration::from_nanos(1)), 1);
        assert_eq!(micros(Duration::MAX), 16_000_000);
    }

    proptest! {
        #[test]
        fn what_is_split_joins_again(ppm in -120_000.0_f64..120_000.0) {
            let (tick, freq) = split(Ppm::new(ppm));
            prop_assert!((9_000..=11_000).contains(&tick));
            prop_assert!(freq.abs() <= 500 * 65_536);
            let wanted = ppm.clamp(-MAX_RATE.ppm(), MAX_RATE.ppm());
            prop_assert!((join(tick, freq).ppm() - wanted).abs() < 1e-5);
        }
    }
}
