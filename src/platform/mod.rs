//! Floor 7: which hypervisor and cloud is this, and which sources does that imply.
//!
//! Detection is data: [`detect`] reads files under a root (tests bring their own tree) and says
//! what it found and why. It opens no clock and resolves no name.

mod clocks;
mod cloud;
pub mod daemons;
mod evidence;
mod hypervisor;
#[cfg(test)]
pub(crate) mod recorded;
pub mod table;

use std::path::{Path, PathBuf};

pub use clocks::{ClockKind, FoundClock, clock_meant, find as find_clocks, kind_of};
pub use cloud::{Cloud, Mark, NtpSource};
pub use hypervisor::Hypervisor;

use crate::sys::cpuid::{self, Signature};
use crate::sys::pvclock;
use crate::units::count;
use crate::wire::control::{Platform, Pvclock};
use evidence::{Dmi, exists, read};

/// The kernel counts CPU time in this unit towards user space, on every architecture.
const TICKS_A_SECOND: f64 = 100.0;

/// What this machine is and which sources it offers.
#[derive(Clone, PartialEq, Debug)]
pub struct Detection {
    /// What runs it.
    pub hypervisor: Hypervisor,
    /// Why we think so.
    pub hypervisor_reason: String,
    /// Whose it is.
    pub cloud: Cloud,
    /// Why we think so.
    pub cloud_reason: String,
    /// The container that this process is in, if it shows.
    pub container: Option<String>,
    /// PTP clocks.
    pub clocks: Vec<FoundClock>,
    /// The vmclock device, if there is one.
    pub vmclock: Option<PathBuf>,
    /// The kvm-clock page (on the running system only).
    pub pvclock: Option<Pvclock>,
    /// The kernel's clocksource; empty if it does not say.
    pub clocksource: String,
    /// The clocksources that the kernel can use.
    pub available_clocksources: Vec<String>,
    /// NTP servers of this place.
    pub ntp: Vec<NtpSource>,
}

/// Looks at the machine whose file tree begins at `root`. The CPU and the kvm-clock page are
/// looked at only if that is this machine's own (`/`).
#[must_use]
pub fn detect(root: &Path) -> Detection {
    if root == Path::new("/") {
        let pvclock = pvclock::Reader::find().and_then(|reader| reader.read()).ok();
        detect_with(root, &cpuid::signatures(), pvclock.as_ref().map(Pvclock::from))
    } else {
        detect_with(root, &[], None)
    }
}

/// [`detect`] with the CPU's signatures and the kvm-clock page given.
#[must_use]
pub fn detect_with(root: &Path, signatures: &[Signature], pvclock: Option<Pvclock>) -> Detection {
    let dmi = Dmi::read(root);
    let (hypervisor, hypervisor_reason) = hypervisor::detect(root, &dmi, signatures);
    let (cloud, cloud_reason) = Cloud::detect(&dmi);
    Detection {
        hypervisor,
        hypervisor_reason,
        cloud,
        cloud_reason: cloud_reason.to_owned(),
        container: hypervisor::container(root),
        clocks: clocks::find(root),
        vmclock: find_vmclock(root),
        pvclock,
        clocksource: clocksource(root),
        available_clocksources: hypervisor::available_clocksources(root),
        ntp: cloud.ntp(has_ipv6(root)),
    }
}

impl Detection {
    /// The clocks that tell the time of day and that guests of this place have.
    #[must_use]
    pub fn expected_clocks(&self) -> &'static [ClockKind] {
        self.cloud.facts().clocks.unwrap_or(self.hypervisor.facts().clocks)
    }

    /// Those of them that are not there.
    pub fn missing_clocks(&self) -> impl Iterator<Item = ClockKind> + '_ {
        self.expected_clocks().iter().copied().filter(|&kind| self.clocks.iter().all(|clock| clock.kind != kind))
    }

    /// What to know of this hypervisor and cloud.
    pub fn quirks(&self) -> impl Iterator<Item = &'static str> {
        self.hypervisor.facts().quirks.iter().chain(self.cloud.facts().quirks).copied()
    }

    /// Three lines for the log: the machine, its clocks, its servers.
    #[must_use]
    pub fn lines(&self) -> [String; 3] {
        let container = self.container.as_ref().map_or(String::new(), |name| format!("; in a container ({name})"));
        let machine = format!(
            "hypervisor {} ({}); cloud {} ({}){container}",
            self.hypervisor.as_str(),
            self.hypervisor_reason,
            self.cloud.as_str(),
            self.cloud_reason
        );
        [machine, self.clock_line(), self.ntp_line()]
    }

    fn clock_line(&self) -> String {
        let mut parts: Vec<String> = self
            .clocks
            .iter()
            .map(|clock| match clock.timescale {
                _ if clock.kind == ClockKind::Other => {
                    format!("{} \"{}\" (used only if configured: it may hold any time)", clock.path.display(), clock.name)
                }
                Some(timescale) => format!("{} \"{}\" (timescale {})", clock.path.display(), clock.name, timescale.as_str()),
                None => format!("{} \"{}\" (not used: it tells no time of day)", clock.path.display(), clock.name),
            })
            .collect();
        if let Some(path) = &self.vmclock {
            parts.push(format!("{} (vmclock)", path.display()));
        }
        if let Some(page) = &self.pvclock {
            parts.push(format!("the kvm-clock page ({:.3} MHz)", page.frequency_hz / 1e6));
        }
        let mut line = if parts.is_empty() { "local clocks: none".to_owned() } else { format!("local clocks: {}", parts.join(", ")) };
        if self.missing_clocks().any(|kind| kind == ClockKind::Kvm) {
            line.push_str("; PTP_KVM is missing (modprobe ptp_kvm; it needs a host on clocksource tsc)");
        }
        let source = if self.clocksource.is_empty() { "unknown" } else { &self.clocksource };
        line + "; clocksource " + source
    }

    fn ntp_line(&self) -> String {
        let sources: Vec<String> = self
            .ntp
            .iter()
            .map(|source| {
                let note = if source.note.is_empty() { String::new() } else { format!(" ({})", source.note) };
                format!("{source}{note}")
            })
            .collect();
        format!("NTP for {}: {}", self.cloud.as_str(), sources.join(", "))
    }

    /// What the control protocol says of the machine.
    #[must_use]
    pub fn report(&self, steal_seconds: Option<f64>) -> Platform {
        Platform {
            hypervisor: self.hypervisor.as_str().to_owned(),
            cloud: self.cloud.as_str().to_owned(),
            clocksource: self.clocksource.clone(),
            pvclock: self.pvclock,
            steal_seconds,
            announced_disruption: None,
        }
    }
}

/// The vmclock device, if there is one.
#[must_use]
pub fn find_vmclock(root: &Path) -> Option<PathBuf> {
    exists(root, "dev/vmclock0").then(|| root.join("dev/vmclock0"))
}

/// The kernel's current clocksource; empty if it does not say.
#[must_use]
pub fn clocksource(root: &Path) -> String {
    read(root, "sys/devices/system/clocksource/clocksource0/current_clocksource").trim().to_owned()
}

/// Seconds of CPU time, over all CPUs, in which the hypervisor ran somebody else.
#[must_use]
pub fn steal_seconds(root: &Path) -> Option<f64> {
    let text = read(root, "proc/stat");
    // cpu user nice system idle iowait irq softirq steal ...
    let ticks: u64 = text.lines().find_map(|line| line.strip_prefix("cpu "))?.split_whitespace().nth(7)?.parse().ok()?;
    Some(count(ticks) / TICKS_A_SECOND)
}

/// Whether any interface has an IPv6 address of more than link scope.
fn has_ipv6(root: &Path) -> bool {
    // address index prefix scope flags name; scope 00 is global.
    read(root, "proc/net/if_inet6").lines().any(|line| line.split_whitespace().nth(3) == Some("00"))
}

#[cfg(test)]
mod tests;
