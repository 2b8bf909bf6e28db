//! PTP clocks as reference clocks: PTP_KVM, Hyper-V, ENA, VMware, virtio and network cards.
//!
//! Input: a device path or a clock name, since `/dev/ptpN` numbers move between boots. The
//! device is opened at the first reading and again after it went away; by whatever it was named at
//! first, it is then looked for by its clock name. How far to believe it is the core's business.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::{ReadError, Reading};
use crate::refclock::{Label, Refclock};
use crate::sys::ptp;
use crate::units::Timescale;

/// What a clock's name tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traits {
    /// Readings in one go, 1..=25. Costs as many of a rationed device's (ENA: 125 a second).
    pub samples: u32,
    /// Readings a second that the device gives, if it is rationed.
    pub budget: Option<u32>,
    /// The timescale, if the name says so.
    pub timescale: Option<Timescale>,
}

/// Of a clock of which nothing is known: five readings in one go.
const PLAIN: Traits = Traits { samples: 5, budget: None, timescale: None };
/// We take four fifths of a rationed device's readings at most: after a disruption it is read out of turn, and others may read it too.
const SHARE: (u32, u32) = (4, 5);

/// Which clock to read and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// A path such as `/dev/ptp_hyperv`, or a clock name such as `KVM virtual PTP`.
    pub device: String,
    /// What a clock's name tells.
    pub traits: fn(&str) -> Traits,
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
        Self { device: device.into(), traits: |_| PLAIN, max_error: Duration::ZERO, root: PathBuf::from("/") }
    }
}

/// A PTP clock.
#[derive(Debug)]
pub struct Ptp {
    options: Options,
    clock: Option<ptp::Clock>,
    stated_error: Option<PathBuf>,
    /// Which device it is or was: when it comes back, another may have its number.
    label: Option<Label>,
    traits: Traits,
}

impl Ptp {
    /// Touches nothing yet.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self { options, clock: None, stated_error: None, label: None, traits: PLAIN }
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
        if self.clock.is_none() {
            self.open()?;
        }
        let absent = |reason: &str| ReadError::Absent { device: self.options.device.clone(), reason: reason.to_owned() };
        let clock = self.clock.as_mut().ok_or_else(|| absent("it was not opened"))?;
        let result = clock.read(self.traits.samples);
        if matches!(result, Err(ReadError::Absent { .. })) {
            self.clock = None;
        }
        result
    }

    fn open(&mut self) -> Result<(), ReadError> {
        let (root, device) = (&self.options.root, &self.options.device);
        let absent = |reason: String| ReadError::Absent { device: device.clone(), reason };
        // Once known, the clock is looked for by its name wherever sysfs shows names.
        let known = self.label.as_ref().map(|label| label.name.as_str()).filter(|name| !name.is_empty());
        let path = match known {
            Some(name) => ptp::find_named(root, name, Path::new(device))
                .ok_or_else(|| absent(format!("the clock \"{name}\" went away; is its driver still loaded?")))?,
            None => ptp::find(root, device).ok_or_else(|| {
                absent("no /sys/class/ptp/ptp*/clock_name says so; is its driver loaded (e.g. modprobe ptp_kvm)?".to_owned())
            })?,
        };
        let clock = ptp::Clock::open(&path)?;
        let name = ptp::name_of(root, &path).unwrap_or_default();
        self.traits = (self.options.traits)(&name);
        self.stated_error = ptp::error_bound_file(root, &path);
        self.label = Some(Label { path, name, smearing_hint: "" });
        self.clock = Some(clock);
        Ok(())
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
            timescale: self.traits.timescale,
            leap: crate::units::Leap::Normal,
            generation: None,
        })
    }

    fn label(&self) -> Option<Label> {
        self.clock.as_ref().and(self.label.clone())
    }

    fn least_interval(&self) -> Option<Duration> {
        let budget = self.traits.budget.filter(|&budget| budget > 0)?;
        Some(Duration::from_secs(1) * (self.traits.samples * SHARE.1) / (budget * SHARE.0))
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

    /// A tree with one clock of this number and name, whose device is an ordinary file.
    fn plug(root: &Path, number: u32, name: &str) {
        let class = root.join(format!("sys/class/ptp/ptp{number}"));
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join("clock_name"), name).unwrap();
        fs::create_dir_all(root.join("dev")).unwrap();
        fs::write(root.join(format!("dev/ptp{number}")), "").unwrap();
    }

    fn unplug(root: &Path, number: u32) {
        fs::remove_dir_all(root.join(format!("sys/class/ptp/ptp{number}"))).unwrap();
        fs::remove_file(root.join(format!("dev/ptp{number}"))).unwrap();
    }

    #[test]
    fn a_clock_is_followed_by_its_name_when_numbers_move() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        plug(root, 0, "KVM virtual PTP\n");
        let device = root.join("dev/ptp0").display().to_string();
        let traits =
            |name: &str| Traits { samples: 3, budget: Some(125), timescale: (name == "KVM virtual PTP").then_some(Timescale::Utc) };
        let mut clock = Ptp::new(Options { root: root.to_owned(), traits, ..Options::new(device) });
        let path = |clock: &Ptp| clock.label().map(|label| label.path);
        // An ordinary file answers no ioctl, but it was opened.
        assert!(matches!(clock.read(), Err(ReadError::Unsupported { .. })));
        assert_eq!(path(&clock), Some(root.join("dev/ptp0")));
        assert_eq!(clock.traits, traits("KVM virtual PTP"));
        assert_eq!(clock.least_interval(), Some(Duration::from_millis(30)), "three of a hundred a second");
        // Its driver was unloaded, a network card took its number, and it came back.
        clock.clock = None;
        unplug(root, 0);
        plug(root, 0, "igb_ptp0");
        let error = clock.read().unwrap_err();
        assert!(matches!(&error, ReadError::Absent { reason, .. } if reason.contains("\"KVM virtual PTP\" went away")), "{error}");
        assert_eq!(path(&clock), None);
        plug(root, 1, "KVM virtual PTP");
        assert!(matches!(clock.read(), Err(ReadError::Unsupported { .. })));
        assert_eq!(path(&clock), Some(root.join("dev/ptp1")));
    }

    #[test]
    fn a_file_that_is_no_clock_is_unsupported() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut clock = Ptp::new(Options::new(file.path().to_str().unwrap()));
        assert_eq!(clock.label(), None);
        let error = clock.read().unwrap_err();
        assert!(matches!(&error, ReadError::Unsupported { reason, .. } if reason.contains("PTP_SYS_OFFSET_PRECISE")), "{error}");
        assert_eq!(clock.rung(), Some(ptp::Rung::Precise));
    }
}
