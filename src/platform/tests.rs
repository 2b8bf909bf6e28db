use std::fs;

use super::*;
use crate::units::Timescale;

/// A machine's file tree.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn dmi(self, fields: &[(&str, &str)]) -> Self {
        fields.iter().fold(self, |tree, (name, text)| tree.file(&format!("sys/class/dmi/id/{name}"), &format!("{text}\n")))
    }

    fn clock(self, index: u32, name: &str) -> Self {
        self.file(&format!("sys/class/ptp/ptp{index}/clock_name"), &format!("{name}\n"))
    }

    fn clocksource(self, current: &str, available: &str) -> Self {
        self.file("sys/devices/system/clocksource/clocksource0/current_clocksource", &format!("{current}\n"))
            .file("sys/devices/system/clocksource/clocksource0/available_clocksource", &format!("{available} \n"))
    }

    fn detect(&self) -> Detection {
        detect(self.0.path())
    }

    fn detect_with(&self, signature: &Signature) -> Detection {
        detect_with(self.0.path(), &[*signature], None)
    }
}

const KVM: Signature = *b"KVMKVMKVM\0\0\0";

#[test]
fn every_cloud_is_told_by_its_dmi() {
    let cases: [(&[(&str, &str)], Cloud); 13] = [
        (&[("sys_vendor", "Amazon EC2"), ("product_name", "m6i.large")], Cloud::Aws),
        (&[("sys_vendor", "Xen"), ("product_name", "HVM domU"), ("bios_version", "4.11.amazon")], Cloud::Aws),
        (&[("sys_vendor", "Google"), ("product_name", "Google Compute Engine")], Cloud::Google),
        (
            &[
                ("sys_vendor", "Microsoft Corporation"),
                ("product_name", "Virtual Machine"),
                ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77"),
            ],
            Cloud::Azure,
        ),
        (&[("sys_vendor", "QEMU"), ("chassis_asset_tag", "OracleCloud.com")], Cloud::Oracle),
        (&[("sys_vendor", "Alibaba Cloud"), ("product_name", "Alibaba Cloud ECS")], Cloud::Alibaba),
        (&[("sys_vendor", "NAVER Cloud"), ("product_name", "Server")], Cloud::Naver),
        (&[("sys_vendor", "Hetzner"), ("product_name", "vServer")], Cloud::Hetzner),
        (&[("sys_vendor", "DigitalOcean"), ("product_name", "Droplet")], Cloud::DigitalOcean),
        (&[("sys_vendor", "QEMU"), ("chassis_vendor", "IBM:Cloud Compute Server 1.0:bx2-2x8")], Cloud::Ibm),
        (&[("sys_vendor", "OpenStack Foundation"), ("product_name", "OpenStack Nova")], Cloud::OpenStack),
        (&[("sys_vendor", "Microsoft Corporation"), ("product_name", "Virtual Machine")], Cloud::Unknown),
        (&[("sys_vendor", "QEMU"), ("product_name", "Standard PC (Q35 + ICH9, 2009)")], Cloud::Unknown),
    ];
    for (fields, cloud) in cases {
        let detection = Tree::new().dmi(fields).detect();
        assert_eq!(detection.cloud, cloud, "{fields:?}");
        assert!(!detection.ntp.is_empty());
    }
}

#[test]
fn hypervisors_are_told_by_cpuid_first() {
    let qemu: &[(&str, &str)] = &[("sys_vendor", "QEMU"), ("product_name", "Standard PC (i440FX + PIIX, 1996)")];
    let of = |signature: &[u8; 12]| Tree::new().dmi(qemu).detect_with(signature).hypervisor;
    assert_eq!(of(&KVM), Hypervisor::Kvm);
    assert_eq!(of(b"TCGTCGTCGTCG"), Hypervisor::QemuTcg);
    assert_eq!(of(b"Microsoft Hv"), Hypervisor::HyperV);
    assert_eq!(of(b"VMwareVMware"), Hypervisor::Vmware);
    assert_eq!(of(b"XenVMMXenVMM"), Hypervisor::Xen);
    assert_eq!(Tree::new().detect_with(b"bhyve bhyve ").hypervisor, Hypervisor::Unknown);
    // KVM that also poses as Hyper-V.
    let both = detect_with(Tree::new().0.path(), &[*b"Microsoft Hv", KVM], None);
    assert_eq!(both.hypervisor, Hypervisor::Kvm);
}

#[test]
fn without_cpuid_other_evidence_serves() {
    let tree = Tree::new().clocksource("tsc", "tsc kvm-clock");
    assert_eq!(tree.detect().hypervisor, Hypervisor::Kvm);
    let hyperv = Tree::new().dmi(&[("sys_vendor", "Microsoft Corporation"), ("product_name", "Virtual Machine")]);
    assert_eq!(hyperv.detect().hypervisor, Hypervisor::HyperV);
    let graviton = Tree::new().dmi(&[("sys_vendor", "Amazon EC2"), ("product_name", "m7g.large")]);
    assert_eq!(graviton.detect().hypervisor, Hypervisor::Kvm);
    let metal = Tree::new().dmi(&[("sys_vendor", "Amazon EC2"), ("product_name", "m7g.metal")]);
    assert_eq!(metal.detect().hypervisor, Hypervisor::None);
    assert_eq!(Tree::new().dmi(&[("sys_vendor", "QEMU")]).detect().hypervisor, Hypervisor::Qemu);
    assert_eq!(Tree::new().file("sys/hypervisor/type", "xen\n").detect().hypervisor, Hypervisor::Xen);
    assert_eq!(Tree::new().file("proc/cpuinfo", "flags\t\t: fpu hypervisor sse2\n").detect().hypervisor, Hypervisor::Unknown);
    assert_eq!(Tree::new().dmi(&[("sys_vendor", "Dell Inc.")]).detect().hypervisor, Hypervisor::None);
}

#[test]
fn small_hypervisors_on_kvm_have_their_names() {
    let cloud_hypervisor = Tree::new().dmi(&[("sys_vendor", "Cloud Hypervisor"), ("product_name", "cloud-hypervisor")]);
    assert_eq!(cloud_hypervisor.detect_with(&KVM).hypervisor, Hypervisor::CloudHypervisor);
    let acpi = Tree::new().file("sys/firmware/acpi/tables/FACP", "FACP\0\0\0\0\u{6}\0FIRECKFCVMFADT");
    assert_eq!(acpi.detect_with(&KVM).hypervisor, Hypervisor::Firecracker);
    let old = Tree::new().file("proc/cmdline", "reboot=k panic=1 virtio_mmio.device=4K@0xd0000000:5\n");
    assert_eq!(old.detect_with(&KVM).hypervisor, Hypervisor::Firecracker);
}

#[test]
fn containers_show() {
    assert_eq!(Tree::new().detect().container, None);
    assert_eq!(Tree::new().file(".dockerenv", "").detect().container.as_deref(), Some("docker"));
    assert_eq!(Tree::new().file("proc/1/environ", "A=b\0container=lxc\0").detect().container.as_deref(), Some("lxc"));
    assert_eq!(Tree::new().file("run/systemd/container", "podman\n").detect().container.as_deref(), Some("podman"));
}

#[test]
fn aws_gets_its_smeared_server_and_an_unsmeared_clock() {
    let tree = Tree::new()
        .dmi(&[("sys_vendor", "Amazon EC2"), ("product_name", "m7i.large")])
        .clock(0, "ena-ptp-06")
        .clock(1, "KVM virtual PTP")
        .clocksource("kvm-clock", "kvm-clock tsc");
    let detection = tree.detect();
    assert_eq!(detection.ntp.len(), 1);
    assert_eq!(detection.ntp[0].to_string(), "server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4");
    assert_eq!(detection.ntp[0].timescale, Timescale::Smeared);
    assert_eq!(detection.clocks[0].timescale, Some(Timescale::Utc));
    assert_eq!(detection.clocks[0].kind.samples(), 1);
    assert_eq!(detection.clocks[1].timescale, Some(Timescale::Unknown));
    let [machine, clocks, ntp] = detection.lines();
    assert!(machine.contains("hypervisor kvm") && machine.contains("cloud aws (DMI says Amazon EC2)"), "{machine}");
    assert!(clocks.contains("ptp0 \"ena-ptp-06\" (timescale utc)") && clocks.ends_with("clocksource kvm-clock"), "{clocks}");
    assert!(!clocks.contains("missing"), "{clocks}");
    assert!(ntp.contains("smears leap seconds"), "{ntp}");
    // With IPv6 its second address is used too; link-local ones do not count.
    let lo = "fe800000000000000000000000000001 02 40 20 80 eth0\n";
    assert_eq!(tree.file("proc/net/if_inet6", lo).detect().ntp.len(), 1);
    let six = Tree::new().dmi(&[("sys_vendor", "Amazon EC2")]);
    let six = six.file("proc/net/if_inet6", "fd000000000000000000000000000002 04 40 00 82 eth0\n");
    assert_eq!(six.detect().ntp[1].address, "fd00:ec2::123");
}

#[test]
fn an_unknown_place_gets_the_public_pool() {
    let detection = Tree::new().detect();
    assert_eq!(detection.ntp.len(), 1);
    assert_eq!(detection.ntp[0].to_string(), "pool pool.ntp.org iburst maxsources 4");
    assert!(detection.lines()[1].contains("local clocks: none; clocksource unknown"));
}

#[test]
fn clocks_without_time_of_day_are_not_used() {
    let tree = Tree::new().clock(0, "Virtio PTP type 2/variant 0").clock(1, "igb_ptp").clock(2, "Virtio PTP type 0/variant 0");
    let detection = tree.file("dev/vmclock0", "").detect_with(&KVM);
    let automatic: Vec<bool> = detection.clocks.iter().map(FoundClock::is_automatic).collect();
    assert_eq!(automatic, [false, false, true]);
    let line = &detection.lines()[1];
    assert!(line.contains("tells no time of day") && line.contains("only if configured"), "{line}");
    assert!(line.contains("vmclock0 (vmclock)") && line.contains("modprobe ptp_kvm"), "{line}");
}

#[test]
fn steal_is_in_seconds() {
    let tree = Tree::new().file("proc/stat", "cpu  10784 0 5495 301314 613 0 75 1450 0 0\ncpu0 1 2 3\n");
    assert!((steal_seconds(tree.0.path()).unwrap() - 14.5).abs() < 1e-9);
    assert_eq!(steal_seconds(Tree::new().0.path()), None);
    assert_eq!(steal_seconds(Tree::new().file("proc/stat", "cpu  1 2 3\n").0.path()), None);
}

#[test]
fn this_machine_is_described() {
    let detection = detect(Path::new("/"));
    for line in detection.lines() {
        eprintln!("{line}");
    }
    assert_eq!(detection.report(None).hypervisor, detection.hypervisor.as_str());
}
