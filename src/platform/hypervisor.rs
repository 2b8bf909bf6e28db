//! Which hypervisor is below. Evidence: CPUID signatures, DMI, sysfs, ACPI table names.

use std::path::Path;

use super::evidence::{Dmi, exists, read};
use crate::sys::cpuid::Signature;

/// What runs this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hypervisor {
    /// KVM, whoever drives it.
    Kvm,
    /// QEMU without hardware virtualisation.
    QemuTcg,
    /// QEMU, accelerator unknown.
    Qemu,
    /// Firecracker on KVM.
    Firecracker,
    /// Cloud Hypervisor on KVM.
    CloudHypervisor,
    /// Microsoft Hyper-V.
    HyperV,
    /// VMware.
    Vmware,
    /// Xen.
    Xen,
    /// Something virtual that we do not know.
    Unknown,
    /// Bare metal.
    None,
}

impl Hypervisor {
    /// Lower-case word for tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::QemuTcg => "qemu-tcg",
            Self::Qemu => "qemu",
            Self::Firecracker => "firecracker",
            Self::CloudHypervisor => "cloud-hypervisor",
            Self::HyperV => "hyperv",
            Self::Vmware => "vmware",
            Self::Xen => "xen",
            Self::Unknown => "unknown",
            Self::None => "none",
        }
    }

    /// Whether KVM is below, so that PTP_KVM and the kvm-clock page can be expected.
    #[must_use]
    pub const fn is_kvm(self) -> bool {
        matches!(self, Self::Kvm | Self::Firecracker | Self::CloudHypervisor)
    }
}

/// The hypervisor and what gave it away.
pub(super) fn detect(root: &Path, dmi: &Dmi, signatures: &[Signature]) -> (Hypervisor, String) {
    let has = |wanted: &[u8]| signatures.iter().any(|signature| signature.starts_with(wanted));
    let available = read(root, "sys/devices/system/clocksource/clocksource0/available_clocksource");
    let listed = |name: &str| available.split_whitespace().any(|word| word == name);
    let kvm = if has(b"KVMKVMKVM") {
        Some("CPUID says KVM")
    } else if listed("kvm-clock") {
        Some("the kernel offers the clocksource kvm-clock")
    } else {
        None
    };
    if let Some(why) = kvm {
        if dmi.mentions("Cloud Hypervisor") {
            return (Hypervisor::CloudHypervisor, format!("{why}, DMI says Cloud Hypervisor"));
        }
        if let Some(evidence) = firecracker(root, dmi) {
            return (Hypervisor::Firecracker, format!("{why}, {evidence}"));
        }
        return (Hypervisor::Kvm, why.to_owned());
    }
    if has(b"TCGTCGTCGTCG") {
        return (Hypervisor::QemuTcg, "CPUID says TCG".to_owned());
    }
    if has(b"VMwareVMware") || dmi.mentions("VMware") {
        return (Hypervisor::Vmware, "CPUID or DMI says VMware".to_owned());
    }
    if has(b"XenVMMXenVMM") || read(root, "sys/hypervisor/type").trim() == "xen" {
        return (Hypervisor::Xen, "CPUID or /sys/hypervisor/type says Xen".to_owned());
    }
    if has(b"Microsoft Hv") || dmi.is_hyperv() || listed("hyperv_clocksource_tsc_page") {
        return (Hypervisor::HyperV, "CPUID, DMI or the clocksources say Hyper-V".to_owned());
    }
    if dmi.mentions("Cloud Hypervisor") {
        return (Hypervisor::CloudHypervisor, "DMI says Cloud Hypervisor".to_owned());
    }
    // On aarch64 there is no CPUID: these two vendors run guests on KVM alone.
    if dmi.is_aws() && !dmi.product_name.ends_with(".metal") || dmi.sys_vendor == "Google" {
        return (Hypervisor::Kvm, format!("DMI says {}", dmi.sys_vendor));
    }
    if dmi.mentions("QEMU") || exists(root, "sys/firmware/qemu_fw_cfg") {
        return (Hypervisor::Qemu, "DMI or the firmware says QEMU, which does not tell the accelerator".to_owned());
    }
    let flagged = read(root, "proc/cpuinfo")
        .lines()
        .any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor"));
    if flagged || !signatures.is_empty() {
        return (Hypervisor::Unknown, "the CPU says that there is a hypervisor, but not which".to_owned());
    }
    (Hypervisor::None, "nothing tells of a hypervisor".to_owned())
}

/// Firecracker has no DMI; its ACPI tables carry its name, and older ones pass devices on the command line.
fn firecracker(root: &Path, dmi: &Dmi) -> Option<&'static str> {
    if !dmi.is_empty() {
        return None;
    }
    let tables = ["DSDT", "FACP", "APIC"];
    let named = tables.iter().any(|table| {
        std::fs::read(root.join("sys/firmware/acpi/tables").join(table)).is_ok_and(|bytes| bytes.get(10..16) == Some(b"FIRECK"))
    });
    if named {
        return Some("the ACPI tables say Firecracker");
    }
    read(root, "proc/cmdline")
        .split_whitespace()
        .any(|word| word.starts_with("virtio_mmio.device="))
        .then_some("there is no DMI and the command line names virtio-mmio devices, as Firecracker's does")
}

/// What container this process is in, if it shows.
pub(super) fn container(root: &Path) -> Option<String> {
    let stated = read(root, "run/systemd/container");
    if !stated.trim().is_empty() {
        return Some(stated.trim().to_owned());
    }
    let environment = read(root, "proc/1/environ");
    if let Some(name) = environment.split('\0').find_map(|pair| pair.strip_prefix("container=")) {
        return Some(name.to_owned());
    }
    let marks = [("run/.containerenv", "podman"), (".dockerenv", "docker"), ("var/run/secrets/kubernetes.io", "kubernetes")];
    marks.iter().find(|(path, _)| exists(root, path)).map(|(_, name)| (*name).to_owned())
}
