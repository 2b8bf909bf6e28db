//! Which hypervisor is below. Evidence: CPUID signatures, DMI, sysfs, ACPI table names.

use std::path::Path;

use super::evidence::{Dmi, exists, read};
use super::table::{HYPERVISORS, HypervisorFacts};
use crate::sys::cpuid::Signature;
use crate::sys::ptp;

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
    /// Its row of the table.
    #[must_use]
    pub fn facts(self) -> &'static HypervisorFacts {
        HYPERVISORS.iter().find(|row| row.hypervisor == self).unwrap_or(&HYPERVISORS[HYPERVISORS.len() - 1])
    }

    /// Lower-case word for tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.facts().word
    }

    /// Whether KVM is below, so that PTP_KVM and the kvm-clock page can be expected.
    #[must_use]
    pub const fn is_kvm(self) -> bool {
        matches!(self, Self::Kvm | Self::Firecracker | Self::CloudHypervisor)
    }
}

/// The hypervisor and what gave it away.
pub(super) fn detect(root: &Path, dmi: &Dmi, signatures: &[Signature]) -> (Hypervisor, String) {
    let available = available_clocksources(root);
    let listed = |name: &str| available.iter().any(|word| word == name);
    let signed = HYPERVISORS
        .iter()
        .find(|row| !row.signature.is_empty() && signatures.iter().any(|signature| signature.starts_with(row.signature.as_bytes())));
    if let Some(row) = signed {
        let why = format!("CPUID says {}", row.signature);
        return if row.hypervisor == Hypervisor::Kvm { refine(root, dmi, &why) } else { (row.hypervisor, why) };
    }
    if listed("kvm-clock") {
        return refine(root, dmi, "the kernel offers the clocksource kvm-clock");
    }
    if dmi.mentions("VMware") {
        return (Hypervisor::Vmware, "DMI says VMware".to_owned());
    }
    if read(root, "sys/hypervisor/type").trim() == "xen" {
        return (Hypervisor::Xen, "/sys/hypervisor/type says Xen".to_owned());
    }
    if dmi.is_hyperv() || listed("hyperv_clocksource_tsc_page") {
        return (Hypervisor::HyperV, "DMI or the clocksources say Hyper-V".to_owned());
    }
    if dmi.mentions("Cloud Hypervisor") {
        return (Hypervisor::CloudHypervisor, "DMI says Cloud Hypervisor".to_owned());
    }
    // On aarch64 there is no CPUID: these two vendors run guests on KVM alone.
    let virtual_aws = dmi.is_aws() && !dmi.product_name.contains(".metal");
    if virtual_aws || dmi.sys_vendor == "Google" {
        return (Hypervisor::Kvm, format!("DMI says {}", dmi.sys_vendor));
    }
    // PTP_KVM is KVM's on every CPU.
    if ptp::list(root).iter().any(|clock| clock.name == "KVM virtual PTP") {
        return (Hypervisor::Kvm, "there is a PTP_KVM clock".to_owned());
    }
    if dmi.mentions("QEMU") || exists(root, "sys/firmware/qemu_fw_cfg") {
        return (Hypervisor::Qemu, "DMI or the firmware says QEMU, which does not tell the accelerator".to_owned());
    }
    let flagged = read(root, "proc/cpuinfo")
        .lines()
        .any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor"));
    if let Some(signature) = signatures.first() {
        let name = String::from_utf8_lossy(signature);
        return (Hypervisor::Unknown, format!("CPUID says {}, which we do not know", name.trim_matches(['\0', ' '])));
    }
    if flagged {
        return (Hypervisor::Unknown, "the CPU says that there is a hypervisor, but not which".to_owned());
    }
    (Hypervisor::None, "nothing tells of a hypervisor".to_owned())
}

/// Who drives KVM.
fn refine(root: &Path, dmi: &Dmi, why: &str) -> (Hypervisor, String) {
    if dmi.mentions("Cloud Hypervisor") {
        return (Hypervisor::CloudHypervisor, format!("{why}, DMI says Cloud Hypervisor"));
    }
    match firecracker(root, dmi) {
        Some(evidence) => (Hypervisor::Firecracker, format!("{why}, {evidence}")),
        None => (Hypervisor::Kvm, why.to_owned()),
    }
}

/// The clocksources that the kernel can use.
pub(super) fn available_clocksources(root: &Path) -> Vec<String> {
    let text = read(root, "sys/devices/system/clocksource/clocksource0/available_clocksource");
    text.split_whitespace().map(str::to_owned).collect()
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
