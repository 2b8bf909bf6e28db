//! Which PTP clocks tell the time of day, and in which timescale.

use std::path::{Path, PathBuf};

use super::table::{CLOCKS, ClockFacts};
use crate::config::{PhcDevice, RefclockKind};
use crate::sys::ptp;
use crate::units::Timescale;

/// What kind of PTP clock it is, by the driver's name for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockKind {
    /// PTP_KVM: the host's `CLOCK_REALTIME`.
    Kvm,
    /// Hyper-V's host time.
    HyperV,
    /// The hardware clock of an AWS network card.
    Ena,
    /// The PTP face of a vmclock device.
    Vmclock,
    /// VMware's precision clock.
    Vmware,
    /// A clock of a virtio-rtc device.
    VirtioRtc,
    /// A network card's clock, which may hold any time: used only when asked for.
    Other,
}

impl ClockKind {
    /// Its row of the table.
    #[must_use]
    pub fn facts(self) -> &'static ClockFacts {
        CLOCKS.iter().find(|row| row.kind == self).unwrap_or(&CLOCKS[CLOCKS.len() - 1])
    }

    /// Lower-case word for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.facts().word
    }

    /// How many readings to take in one go: rationed devices give one.
    #[must_use]
    pub const fn samples(self) -> u32 {
        match self {
            Self::Ena => 1,
            _ => 5,
        }
    }

    /// How many readings a second it gives, if it is rationed.
    #[must_use]
    pub const fn budget(self) -> Option<u32> {
        match self {
            Self::Ena => Some(125),
            _ => None,
        }
    }
}

/// A PTP clock of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundClock {
    /// The character device.
    pub path: PathBuf,
    /// The driver's name for it.
    pub name: String,
    /// What that means.
    pub kind: ClockKind,
    /// The count of seconds it hands out; `None` for a clock that tells no time of day.
    pub timescale: Option<Timescale>,
}

impl FoundClock {
    /// Whether to use it without being asked.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        self.kind != ClockKind::Other && self.timescale.is_some()
    }
}

/// The one of `clocks` that a `refclock PHC` line means, through links such as `/dev/ptp_kvm`.
#[must_use]
pub fn clock_meant<'a>(kind: &RefclockKind, clocks: &'a [FoundClock]) -> Option<&'a FoundClock> {
    let RefclockKind::Phc { device, .. } = kind else { return None };
    match device {
        PhcDevice::Path(path) => {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            clocks.iter().find(|clock| clock.path == path)
        }
        // The configuration's words hold no blanks.
        PhcDevice::Name(name) => clocks.iter().find(|clock| clock.name.replace(' ', "_") == name.replace(' ', "_")),
    }
}

/// What a clock's name tells of it.
#[must_use]
pub fn kind_of(name: &str) -> (ClockKind, Option<Timescale>) {
    let (kind, timescale) = classify(name);
    (kind, timescale.filter(|&timescale| timescale != Timescale::Unknown))
}

/// All PTP clocks by index.
#[must_use]
pub fn find(root: &Path) -> Vec<FoundClock> {
    ptp::list(root)
        .into_iter()
        .map(|entry| {
            let (kind, timescale) = classify(&entry.name);
            FoundClock { path: entry.path, name: entry.name, kind, timescale }
        })
        .collect()
}

/// A host's own clock is smeared if the host's servers smear: unknown, not UTC. The PTP face of
/// vmclock has been UTC in some kernels and TAI in others: the page itself is read instead.
fn classify(name: &str) -> (ClockKind, Option<Timescale>) {
    let unknown = Some(Timescale::Unknown);
    if name == "KVM virtual PTP" {
        return (ClockKind::Kvm, unknown);
    }
    if name == "hyperv" {
        return (ClockKind::HyperV, unknown);
    }
    if name == "ptp_vmw" {
        return (ClockKind::Vmware, unknown);
    }
    if name.starts_with("ena-ptp") {
        return (ClockKind::Ena, Some(Timescale::Utc));
    }
    if name.starts_with("vmclock") {
        return (ClockKind::Vmclock, unknown);
    }
    if let Some(rest) = name.strip_prefix("Virtio PTP type ") {
        let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or("");
        let timescale = match digits {
            "0" => Some(Timescale::Utc),
            "1" => Some(Timescale::Tai),
            "3" => Some(Timescale::Smeared),
            // "UTC, maybe smeared".
            "4" => unknown,
            // Monotonic, or a type from a later version.
            _ => None,
        };
        return (ClockKind::VirtioRtc, timescale);
    }
    (ClockKind::Other, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kind_and_timescale() {
        assert_eq!(classify("KVM virtual PTP"), (ClockKind::Kvm, Some(Timescale::Unknown)));
        assert_eq!(classify("ena-ptp-06"), (ClockKind::Ena, Some(Timescale::Utc)));
        assert_eq!(classify("Virtio PTP type 0/variant 0"), (ClockKind::VirtioRtc, Some(Timescale::Utc)));
        assert_eq!(classify("Virtio PTP type 1, variant 0"), (ClockKind::VirtioRtc, Some(Timescale::Tai)));
        assert_eq!(classify("Virtio PTP type 2/variant 0"), (ClockKind::VirtioRtc, None));
        assert_eq!(classify("Virtio PTP type 3/variant 1"), (ClockKind::VirtioRtc, Some(Timescale::Smeared)));
        assert_eq!(classify("Virtio PTP type 10/variant 1"), (ClockKind::VirtioRtc, None));
        assert_eq!(classify("igb_ptp0").0, ClockKind::Other);
    }
}
