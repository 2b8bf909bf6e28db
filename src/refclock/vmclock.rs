//! The vmclock device as a reference clock, and as the surest witness of disruptions.
//!
//! The page is opened at the first reading and again after it went away. A page without time
//! still reports its disruption counters, and so does a page whose time cannot be used at the
//! moment when the counters change.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::core::{Generation, ReadError, Reading};
use crate::refclock::{Label, Refclock};
use crate::sys::vmclock::{Device, Page};
use crate::units::{Leap, Timescale};

/// Which device to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// `/dev/vmclock0`.
    pub path: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self { path: PathBuf::from("/dev/vmclock0") }
    }
}

/// A vmclock device.
#[derive(Debug)]
pub struct Vmclock {
    options: Options,
    device: Option<Device>,
    page: Option<Page>,
}

impl Vmclock {
    /// Touches nothing yet.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self { options, device: None, page: None }
    }

    /// The page as last read.
    #[must_use]
    pub const fn page(&self) -> Option<&Page> {
        self.page.as_ref()
    }

    /// The timescale of the readings; unknown before the first.
    #[must_use]
    pub fn timescale(&self) -> Timescale {
        self.page.as_ref().and_then(Page::timescale).unwrap_or_default()
    }

    /// The leap second that the page announces.
    #[must_use]
    pub fn leap(&self) -> Leap {
        self.page.as_ref().map_or(Leap::Normal, Page::leap)
    }

    /// The disruption counters as last read.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.page.as_ref().map(|page| page.generation)
    }
}

impl Refclock for Vmclock {
    fn read(&mut self) -> Result<Reading, ReadError> {
        let device = match &mut self.device {
            Some(device) => device,
            vacant => vacant.insert(Device::open(&self.options.path)?),
        };
        let observation = match device.observe() {
            Ok(observation) => observation,
            Err(error) => {
                if matches!(error, ReadError::Absent { .. }) {
                    self.device = None;
                }
                return Err(error);
            }
        };
        let generation = observation.page.generation;
        let known = self.page.replace(observation.page).map(|page| page.generation);
        match device.reading(&observation) {
            Err(ReadError::Invalid { device, .. }) if known.is_some_and(|known| known != generation) => {
                Err(ReadError::SignalOnly { device, generation })
            }
            result => result,
        }
    }

    fn notifier(&self) -> Option<BorrowedFd<'_>> {
        let notifies = self.page.as_ref().is_some_and(Page::notifies);
        self.device.as_ref().filter(|_| notifies).map(AsFd::as_fd)
    }

    fn label(&self) -> Option<Label> {
        let page = self.device.as_ref().and(self.page.as_ref())?;
        Some(Label { path: self.options.path.clone(), name: "vmclock".to_owned(), smearing_hint: page.smearing_hint.as_str() })
    }

    fn disruption_within(&self) -> Option<Duration> {
        self.device.as_ref().and(self.page.as_ref()).and_then(Page::disruption_within)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    /// A page about an unreliable clock on the TSC or the virtual counter.
    fn unreliable() -> [u8; 112] {
        let mut bytes = [0; 112];
        bytes[0..4].copy_from_slice(&0x4b4c_4356_u32.to_le_bytes());
        bytes[4] = 112;
        bytes[8] = 1;
        bytes[10] = if cfg!(target_arch = "aarch64") { 0 } else { 1 };
        bytes[16] = 1;
        bytes[34] = 4;
        bytes
    }

    #[test]
    fn a_disruption_is_told_even_when_the_time_cannot_be_used() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&unreliable(), 0).unwrap();
        let mut clock = Vmclock::new(Options { path: file.path().to_owned() });
        assert_eq!(clock.timescale(), Timescale::Unknown);
        assert!(matches!(clock.read(), Err(ReadError::Invalid { .. })));
        assert_eq!(clock.timescale(), Timescale::Utc);
        assert!(clock.notifier().is_none());
        file.as_file().write_all_at(&[2], 16).unwrap();
        assert!(matches!(clock.read(), Err(ReadError::SignalOnly { generation, .. }) if generation.disruption_marker == 2));
        assert!(matches!(clock.read(), Err(ReadError::Invalid { .. })));
        // Flag 9: the device notifies.
        file.as_file().write_all_at(&[2], 25).unwrap();
        assert!(clock.read().is_err());
        assert!(clock.notifier().is_some());
        // Flags 1 and 2: a disruption within a day, within an hour.
        assert_eq!(clock.disruption_within(), None);
        for (flags, within) in [(2, 86_400), (6, 3_600)] {
            file.as_file().write_all_at(&[flags], 24).unwrap();
            assert!(clock.read().is_err());
            assert_eq!(clock.disruption_within(), Some(Duration::from_secs(within)));
        }
        file.as_file().write_all_at(&[1], 35).unwrap();
        assert!(clock.read().is_err());
        let label = clock.label().unwrap();
        assert_eq!((label.name.as_str(), label.path.as_path(), label.smearing_hint), ("vmclock", file.path(), "noon-linear"));
    }

    #[test]
    fn an_absent_device_is_looked_for_at_each_reading() {
        let mut clock = Vmclock::new(Options { path: "/nonexistent/vmclock0".into() });
        for _ in 0..2 {
            assert!(matches!(clock.read(), Err(ReadError::Absent { .. })));
        }
        assert_eq!(clock.generation(), None);
    }
}
