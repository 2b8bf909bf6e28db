//! The table: every hypervisor, cloud and paravirtual clock that is known, one row each.
//!
//! Data alone. How a row is recognised stands in the row; `hypervisor` and `cloud` go through the rows in order, and the
//! first that fits wins.

use super::clocks::ClockKind;
use super::cloud::{Cloud, Mark, NtpSource};
use super::hypervisor::Hypervisor;
use crate::units::Timescale;

/// What is known of a hypervisor.
#[derive(Clone, Copy, Debug)]
pub struct HypervisorFacts {
    /// Which.
    pub hypervisor: Hypervisor,
    /// The word for it in tables and JSON.
    pub word: &'static str,
    /// What CPUID says under it, zero padding left out; empty where another row's signature is refined.
    pub signature: &'static str,
    /// Clocks that tell the time of day and that a well-made guest has.
    pub clocks: &'static [ClockKind],
    /// Clocks that the guest's makers can add.
    pub optional: &'static [ClockKind],
    /// Clocksources that keep time well under it, the best first.
    pub clocksources: &'static [&'static str],
    /// What else to know.
    pub quirks: &'static [&'static str],
}

/// What is known of a cloud.
#[derive(Clone, Copy, Debug)]
pub struct CloudFacts {
    /// Which.
    pub cloud: Cloud,
    /// The word for it in tables and JSON.
    pub word: &'static str,
    /// Any of these in DMI gives it away.
    pub marks: &'static [Mark],
    /// What they say, in words.
    pub reason: &'static str,
    /// The clocks that its guests have; `None`: those of the hypervisor.
    pub clocks: Option<&'static [ClockKind]>,
    /// The servers to use there.
    pub servers: &'static [NtpSource],
    /// What else to know.
    pub quirks: &'static [&'static str],
}

/// What is known of a kind of paravirtual clock.
#[derive(Clone, Copy, Debug)]
pub struct ClockFacts {
    /// Which.
    pub kind: ClockKind,
    /// The word for it in tables and JSON.
    pub word: &'static str,
    /// The kernel module that drives it; empty if nobody can say.
    pub module: &'static str,
    /// The kernel's build option.
    pub option: &'static str,
    /// The first Linux that has it: on x86-64 and on aarch64.
    pub since: [(u32, u32); 2],
    /// How to get it into the guest, a command a line.
    pub enable: &'static [&'static str],
    /// What the host must do for it.
    pub host: &'static str,
}

/// Order matters: KVM can pose as Hyper-V too, and says both.
pub const HYPERVISORS: [HypervisorFacts; 10] = [
    HypervisorFacts {
        hypervisor: Hypervisor::Firecracker,
        word: "firecracker",
        signature: "",
        clocks: &[ClockKind::Kvm],
        optional: &[ClockKind::Vmclock],
        clocksources: &["tsc", "kvm-clock", "arch_sys_counter"],
        quirks: &["guest kernels are often built without modules: PTP_KVM must be built in (CONFIG_PTP_1588_CLOCK_KVM=y)"],
    },
    HypervisorFacts {
        hypervisor: Hypervisor::CloudHypervisor,
        word: "cloud-hypervisor",
        signature: "",
        clocks: &[ClockKind::Kvm],
        optional: &[],
        clocksources: &["tsc", "kvm-clock", "arch_sys_counter"],
        quirks: &[],
    },
    HypervisorFacts {
        hypervisor: Hypervisor::Kvm,
        word: "kvm",
        signature: "KVMKVMKVM",
        clocks: &[ClockKind::Kvm],
        optional: &[ClockKind::Vmclock, ClockKind::VirtioRtc],
        clocksources: &["tsc", "kvm-clock", "arch_sys_counter"],
        quirks: &[],
    },
    HypervisorFacts {
        hypervisor: Hypervisor::QemuTcg,
        word: "qemu-tcg",
        signature: "TCGTCGTCGTCG",
        clocks: &[],
        optional: &[ClockKind::Vmclock, ClockKind::VirtioRtc],
        clocksources: &["tsc", "hpet", "arch_sys_counter"],
        quirks: &["instructions are emulated: readings of clocks take microseconds, and there is no PTP_KVM"],
    },
    HypervisorFacts {
        hypervisor: Hypervisor::Vmware,
        word: "vmware",
        signature: "VMwareVMware",
        clocks: &[ClockKind::Vmware],
        optional: &[],
        clocksources: &["tsc", "arch_sys_counter"],
        quirks: &["VMware Tools can set the clock too (after resume and snapshots even when periodic sync is off)"],
    },
    HypervisorFacts {
        hypervisor: Hypervisor::Xen,
        word: "xen",
        signature: "XenVMMXenVMM",
        clocks: &[],
        optional: &[],
        clocksources: &["xen", "tsc", "arch_sys_counter"],
        quirks: &["there is no clock of the host to read: NTP is all there is"],
    },
    HypervisorFacts {
        hypervisor: Hypervisor::HyperV,
        word: "hyperv",
        signature: "Microsoft Hv",
        clocks: &[ClockKind::HyperV],
        optional: &[],
        clocksources: &["hyperv_clocksource_tsc_page", "tsc", "arch_sys_counter"],
        quirks: &["the host sets the guest's clock after a pause or migration, through hv_utils"],
    },
    HypervisorFacts {
        hypervisor: Hypervisor::Qemu,
        word: "qemu",
        signature: "",
        clocks: &[],
        optional: &[ClockKind::Kvm, ClockKind::Vmclock, ClockKind::VirtioRtc],
        clocksources: &["tsc", "kvm-clock", "arch_sys_counter"],
        quirks: &[],
    },
    HypervisorFacts {
        hypervisor: Hypervisor::Unknown,
        word: "unknown",
        signature: "",
        clocks: &[],
        optional: &[],
        clocksources: &["tsc", "arch_sys_counter"],
        quirks: &[],
    },
    HypervisorFacts {
        hypervisor: Hypervisor::None,
        word: "none",
        signature: "",
        clocks: &[],
        optional: &[],
        clocksources: &["tsc", "arch_sys_counter"],
        quirks: &[],
    },
];

/// The chassis asset tag of every Azure guest.
const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// Names come before OpenStack, on which some are built.
pub const CLOUDS: [CloudFacts; 11] = [
    CloudFacts {
        cloud: Cloud::Aws,
        word: "aws",
        marks: &[Mark::Anywhere("Amazon EC2"), Mark::BiosVersion("amazon")],
        reason: "DMI says Amazon EC2",
        clocks: Some(&[ClockKind::Ena]),
        servers: &[NtpSource { address: "169.254.169.123", ..AMAZON }, NtpSource { address: "fd00:ec2::123", ipv6: true, ..AMAZON }],
        quirks: &[
            "link-local services share 1024 packets a second for each network interface, DNS included",
            "the NTP servers smear leap seconds, the clock of the network card does not",
            "the network card's clock gives at most 125 readings a second, and not on every instance type",
        ],
    },
    CloudFacts {
        cloud: Cloud::Google,
        word: "google",
        marks: &[Mark::Product("Google Compute Engine"), Mark::Vendor("Google")],
        reason: "DMI says Google Compute Engine",
        clocks: None,
        servers: &[NtpSource {
            prefer: true,
            timescale: Timescale::Smeared,
            note: "smears leap seconds over 24 hours; mix with nothing that does not",
            ..NtpSource::server("metadata.google.internal")
        }],
        quirks: &["the host's clock, and so PTP_KVM, follows the same smeared time"],
    },
    CloudFacts {
        cloud: Cloud::Azure,
        word: "azure",
        marks: &[Mark::Tag(AZURE_TAG)],
        reason: "the chassis asset tag is Azure's",
        clocks: None,
        servers: &[NtpSource::POOL],
        quirks: &[],
    },
    CloudFacts {
        cloud: Cloud::Oracle,
        word: "oracle",
        marks: &[Mark::Tag("OracleCloud.com")],
        reason: "the chassis asset tag is OracleCloud.com",
        clocks: None,
        servers: &[NtpSource::server("169.254.169.254")],
        quirks: &["the NTP server has the address that is Google's metadata server elsewhere: it does not smear here"],
    },
    CloudFacts {
        cloud: Cloud::Alibaba,
        word: "alibaba",
        marks: &[Mark::Anywhere("Alibaba Cloud")],
        reason: "DMI says Alibaba Cloud",
        clocks: None,
        servers: &[NtpSource { timescale: Timescale::Unknown, ..NtpSource::server("100.100.61.88") }],
        quirks: &[],
    },
    CloudFacts {
        cloud: Cloud::Naver,
        word: "naver",
        marks: &[Mark::Anywhere("naver"), Mark::Anywhere("ncloud")],
        reason: "DMI says NAVER Cloud",
        clocks: None,
        servers: &[
            NtpSource { timescale: Timescale::Unknown, ..NtpSource::server("169.254.169.123") },
            NtpSource { timescale: Timescale::Unknown, ..NtpSource::server("169.254.169.124") },
        ],
        quirks: &["the first NTP server has the address that is Amazon's elsewhere"],
    },
    CloudFacts {
        cloud: Cloud::Hetzner,
        word: "hetzner",
        marks: &[Mark::Vendor("Hetzner")],
        reason: "DMI says Hetzner",
        clocks: None,
        servers: &[
            NtpSource { note: BLOCKED, ..NtpSource::server("ntp1.hetzner.de") },
            NtpSource { note: BLOCKED, ..NtpSource::server("ntp2.hetzner.com") },
            NtpSource { note: BLOCKED, ..NtpSource::server("ntp3.hetzner.net") },
        ],
        quirks: &["public NTP servers cannot be reached from here"],
    },
    CloudFacts {
        cloud: Cloud::DigitalOcean,
        word: "digitalocean",
        marks: &[Mark::Vendor("DigitalOcean")],
        reason: "DMI says DigitalOcean",
        clocks: None,
        servers: &[NtpSource::POOL],
        quirks: &[],
    },
    CloudFacts {
        cloud: Cloud::Ibm,
        word: "ibm",
        marks: &[Mark::Anywhere("IBM:Cloud"), Mark::Tag("ibmcloud")],
        reason: "DMI says IBM Cloud",
        clocks: None,
        servers: &[NtpSource { timescale: Timescale::Unknown, ..NtpSource::server("time.adn.networklayer.com") }],
        quirks: &[],
    },
    CloudFacts {
        cloud: Cloud::OpenStack,
        word: "openstack",
        marks: &[Mark::Anywhere("OpenStack")],
        reason: "DMI says OpenStack",
        clocks: None,
        servers: &[NtpSource::POOL],
        quirks: &[],
    },
    CloudFacts {
        cloud: Cloud::Unknown,
        word: "unknown",
        marks: &[],
        reason: "DMI names no cloud that we know",
        clocks: None,
        servers: &[NtpSource::POOL],
        quirks: &[],
    },
];

const BLOCKED: &str = "public pools are blocked here";

const AMAZON: NtpSource = NtpSource {
    prefer: true,
    minpoll: Some(4),
    maxpoll: Some(4),
    timescale: Timescale::Smeared,
    note: "smears leap seconds; shares 1024 packets a second with DNS",
    ..NtpSource::server("")
};

/// One row for each kind of clock.
pub const CLOCKS: [ClockFacts; 7] = [
    ClockFacts {
        kind: ClockKind::Kvm,
        word: "ptp_kvm",
        module: "ptp_kvm",
        option: "CONFIG_PTP_1588_CLOCK_KVM",
        since: [(4, 11), (5, 14)],
        enable: &["sudo modprobe ptp_kvm", "echo ptp_kvm | sudo tee /etc/modules-load.d/ptp_kvm.conf"],
        host: "KVM on a host whose own clocksource is tsc",
    },
    ClockFacts {
        kind: ClockKind::HyperV,
        word: "hyperv",
        module: "hv_utils",
        option: "CONFIG_HYPERV_UTILS",
        since: [(4, 11), (6, 1)],
        enable: &["sudo modprobe hv_utils", "echo hv_utils | sudo tee /etc/modules-load.d/hv_utils.conf"],
        host: "the integration service \"Time Synchronization\" switched on for this guest",
    },
    ClockFacts {
        kind: ClockKind::Ena,
        word: "ena",
        module: "ena",
        option: "CONFIG_ENA_ETHERNET",
        since: [(6, 17), (6, 17)],
        enable: &["echo 'options ena phc_enable=1' | sudo tee /etc/modprobe.d/ena.conf", "sudo reboot"],
        host: "an instance type whose network card has a clock",
    },
    ClockFacts {
        kind: ClockKind::Vmclock,
        word: "vmclock",
        module: "ptp_vmclock",
        option: "CONFIG_PTP_1588_CLOCK_VMCLOCK",
        since: [(6, 13), (6, 13)],
        enable: &["sudo modprobe ptp_vmclock", "echo ptp_vmclock | sudo tee /etc/modules-load.d/ptp_vmclock.conf"],
        host: "a vmclock device (QEMU 10 or later: -device vmclock)",
    },
    ClockFacts {
        kind: ClockKind::Vmware,
        word: "ptp_vmw",
        module: "ptp_vmw",
        option: "CONFIG_PTP_1588_CLOCK_VMW",
        since: [(5, 7), (5, 7)],
        enable: &["sudo modprobe ptp_vmw", "echo ptp_vmw | sudo tee /etc/modules-load.d/ptp_vmw.conf"],
        host: "ESXi 7.0 or later and a \"Precision Clock\" among the guest's devices",
    },
    ClockFacts {
        kind: ClockKind::VirtioRtc,
        word: "virtio_rtc",
        module: "virtio_rtc",
        option: "CONFIG_VIRTIO_RTC_PTP",
        since: [(6, 16), (6, 16)],
        enable: &["sudo modprobe virtio_rtc", "echo virtio_rtc | sudo tee /etc/modules-load.d/virtio_rtc.conf"],
        host: "a virtio-rtc device (QEMU: -device virtio-rtc-pci)",
    },
    ClockFacts { kind: ClockKind::Other, word: "other", module: "", option: "", since: [(0, 0); 2], enable: &[], host: "" },
];

/// Public servers that smear leap seconds; those of the clouds stand in their rows.
const SMEARING: [&str; 8] = [
    "time.google.com",
    "time1.google.com",
    "time2.google.com",
    "time3.google.com",
    "time4.google.com",
    "time.android.com",
    "time.aws.com",
    "time.facebook.com",
];

/// The timescale of a server by its name, as seen from a cloud; `None` if the name tells nothing.
#[must_use]
pub fn timescale_of(server: &str, cloud: Cloud) -> Option<Timescale> {
    let server = server.trim_end_matches('.').to_ascii_lowercase();
    let server = server.as_str();
    if SMEARING.contains(&server) {
        return Some(Timescale::Smeared);
    }
    cloud.facts().servers.iter().find(|known| known.address == server && known.maxsources.is_none()).map(|known| known.timescale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_there_once() {
        for (i, row) in HYPERVISORS.iter().enumerate() {
            assert!(HYPERVISORS[..i].iter().all(|other| other.hypervisor != row.hypervisor && other.word != row.word), "{}", row.word);
            assert!(row.signature.len() <= 12 && !row.clocksources.is_empty(), "{}", row.word);
        }
        for (i, row) in CLOUDS.iter().enumerate() {
            assert!(CLOUDS[..i].iter().all(|other| other.cloud != row.cloud && other.word != row.word), "{}", row.word);
            assert!(!row.servers.is_empty(), "{}", row.word);
            assert_eq!(row.marks.is_empty(), row.cloud == Cloud::Unknown, "{}", row.word);
        }
        for (i, row) in CLOCKS.iter().enumerate() {
            assert!(CLOCKS[..i].iter().all(|other| other.kind != row.kind && other.word != row.word), "{}", row.word);
            assert_eq!(row.enable.is_empty(), row.kind == ClockKind::Other, "{}", row.word);
        }
    }

    #[test]
    fn the_same_address_is_another_server_elsewhere() {
        assert_eq!(timescale_of("169.254.169.123", Cloud::Aws), Some(Timescale::Smeared));
        assert_eq!(timescale_of("169.254.169.123", Cloud::Naver), Some(Timescale::Unknown));
        assert_eq!(timescale_of("169.254.169.123", Cloud::Unknown), None);
        assert_eq!(timescale_of("time.google.com", Cloud::Unknown), Some(Timescale::Smeared));
        assert_eq!(timescale_of("pool.ntp.org", Cloud::Unknown), None);
    }
}
