//! PTP clocks as reference clocks: PTP_KVM, Hyper-V, ENA, VMware, virtio and network cards.
//!
//! Input: a device path or a clock name, since `/dev/ptpN` numbers move between boots. The
//! device is opened at the first reading and again after it went away. Its timescale and how
//! far to believe it are the configuration's and the core's business.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::{ReadError, Reading};
use crate::refclock::Refclock;
use crate::sys::ptp;

/// Which clock to read and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// A path such as `/dev/ptp_hyperv`, or a clock name such as `KVM virtual PTP`.
    pub device: String,
    /// Readings in one go, 1..=25. Costs as many of a rationed device's (ENA: 125 a second).
    pub samples: u32,
    /// How wrong the device can be, if configured; a device that states more has the last word
    /// (ENA does, in a file of sysfs).
    pub max_error: Duration,
    /// Where `sys` and `dev` are: `/`.
    pub root: PathBuf,
}

impl Options {
    /// Five readings in one go, on the running system.
    #[must_use]
    pub fn new(device: impl Into<String>) -> Self {
        Self { device: device.into(), samples: 5, max_error: Duration::ZERO, root: PathBuf::from("/") }
    }
}

/// A PTP clock.
#[derive(Debug)]
pub struct Ptp {
    options: Options,
    clock: Option<ptp::Clock>,
    stated_error: Option<PathBuf>,
}

impl Ptp {
    /// Touches nothing yet.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self { options, clock: None, stated_error: None }
    }

    /// The way in which it is read, once it was.
    #[must_use]
    pub fn rung(&self) -> Option<ptp::Rung> {
        self.clock.as_ref().map(ptp::Clock::rung)
    }

    /// Tries all ways of reading again: call it after a change of the kernel's clocksource.
    pub fn reset_ladder(&mut self) {
        if let Some(clock) = &mut self.clock {
            clock.reset_ladder();
        }
    }

    /// Every window of one reading, narrowest first.
    ///
    /// # Errors
    /// As [`Refclock::read`].
    pub fn measure(&mut self) -> Result<ptp::Measurement, ReadError> {
        let clock = match &mut self.clock {
            Some(clock) => clock,
            vacant => {
                let path = ptp::find(&self.options.root, &self.options.device).ok_or_else(|| ReadError::Absent {
                    device: self.options.device.clone(),
                    reason: "no /sys/class/ptp/ptp*/clock_name says so; is its driver loaded (e.g. modprobe ptp_kvm)?".to_owned(),
                })?;
                self.stated_error = ptp::error_bound_file(&self.options.root, &path);
                vacant.insert(ptp::Clock::open(&path)?)
            }
        };
        let result = clock.read(self.options.samples);
        if matches!(result, Err(ReadError::Absent { .. })) {
            self.clock = None;
        }
        result
    }

    /// What is configured or what the device states, whichever is more.
    fn max_error(&self) -> Result<Duration, ReadError> {
        let stated = self.stated_error.as_deref().map_or(Some(Duration::ZERO), stated_error);
        stated.map(|stated| stated.max(self.options.max_error)).ok_or_else(|| ReadError::Invalid {
            device: self.options.device.clone(),
            reason: "its phc_error_bound says that it is not synchronised".to_owned(),
        })
    }
}

/// Nanoseconds from the device's file; `None` if it says that it does not know.
fn stated_error(file: &Path) -> Option<Duration> {
    let nanos: u64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (nanos < u64::from(u32::MAX)).then(|| Duration::from_nanos(nanos))
}

impl Refclock for Ptp {
    fn read(&mut self) -> Result<Reading, ReadError> {
        let measurement = self.measure()?;
        let narrowest = measurement
            .windows
            .first()
            .ok_or_else(|| ReadError::Invalid { device: self.options.device.clone(), reason: "the reading has no window".to_owned() })?;
        Ok(Reading {
            before: narrowest.before,
            after: narrowest.after,
            reference: narrowest.device,
            max_error: self.max_error()?,
            tai_offset: None,
            timescale: None,
            leap: crate::units::Leap::Normal,
            generation: None,
        })
    }

    fn on_clocksource_change(&mut self) {
        self.reset_ladder();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_clock_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let mut clock = Ptp::new(Options { root: root.path().to_owned(), ..Options::new("KVM virtual PTP") });
        let text = clock.read().unwrap_err().to_string();
        assert!(text.contains("modprobe ptp_kvm"), "{text}");
        let mut clock = Ptp::new(Options::new("/nonexistent/ptp9"));
        assert!(matches!(clock.read(), Err(ReadError::Absent { .. })));
    }

    #[test]
    fn a_stated_error_is_nanoseconds_or_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, error) in [("17000\n", Some(Duration::from_nanos(17_000))), ("4294967295\n", None), ("-1\n", None), ("", None)] {
            fs::write(file.path(), text).unwrap();
            assert_eq!(stated_error(file.path()), error);
        }
    }

    #[test]
    fn a_file_that_is_no_clock_is_unsupported() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut clock = Ptp::new(Options::new(file.path().to_str().unwrap()));
        let error = clock.read().unwrap_err();
        assert!(matches!(&error, ReadError::Unsupported { reason, .. } if reason.contains("PTP_SYS_OFFSET_PRECISE")), "{error}");
        assert_eq!(clock.rung(), Some(ptp::Rung::Precise));
    }
}
