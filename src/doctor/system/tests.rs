use super::*;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn read(files: &[(&str, &str)]) -> System {
    System::read(tree(files).path(), None)
}

#[test]
fn modules_are_loaded_built_in_available_or_absent() {
    let system = read(&[
        ("proc/sys/kernel/osrelease", "6.1.0-18-cloud-amd64\n"),
        ("proc/modules", "ptp 36864 1 ptp_kvm, Live 0x0\n"),
        ("sys/module/ptp/refcnt", "1\n"),
        ("usr/lib/modules/6.1.0-18-cloud-amd64/modules.builtin", "kernel/drivers/rtc/rtc-cmos.ko\n"),
        ("usr/lib/modules/6.1.0-18-cloud-amd64/modules.dep", "kernel/drivers/ptp/ptp_kvm.ko.xz: kernel/drivers/ptp/ptp.ko.xz\n"),
    ]);
    assert_eq!(system.kernel_version(), (6, 1));
    assert_eq!(system.module("ptp"), Module::Loaded);
    assert_eq!(system.module("rtc-cmos"), Module::BuiltIn);
    assert_eq!(system.module("ptp_kvm"), Module::Available);
    assert_eq!(system.module("ptp_vmclock"), Module::Absent);
    assert_eq!(read(&[("proc/modules", "")]).module("ptp_kvm"), Module::Unknown);
    assert_eq!(read(&[]).module("ptp_kvm"), Module::NoModules);
}

#[test]
fn daemons_are_named_with_unit_and_pid() {
    let system = read(&[
        ("proc/412/comm", "chronyd\n"),
        ("proc/412/cgroup", "0::/system.slice/chrony.service\n"),
        ("proc/413/comm", "chronyd\n"),
        ("proc/413/cgroup", "0::/system.slice/chrony.service\n"),
        ("proc/77/comm", "systemd-timesyn\n"),
        ("proc/77/cgroup", "12:pids:/system.slice/systemd-timesyncd.service\n0::/\n"),
        ("proc/900/comm", "paraclock\n"),
        ("proc/900/cmdline", "/usr/bin/paraclock\0run\0-f\0/etc/paraclock/paraclock.conf\0"),
        ("proc/901/comm", "paraclock\n"),
        ("proc/901/cmdline", "paraclock\0doctor\0"),
        ("proc/950/comm", "ntpd\n"),
        ("proc/950/cgroup", "0::/user.slice/user-0.slice/session-1.scope\n"),
    ]);
    let daemons: Vec<_> = system.daemons.iter().map(|d| (d.pid, d.name.as_str(), d.unit.as_deref())).collect();
    let expected = [
        (77, "systemd-timesyncd", Some("systemd-timesyncd.service")),
        (412, "chronyd", Some("chrony.service")),
        (900, "paraclock", None),
        (950, "ntpd", None),
    ];
    assert_eq!(daemons, expected);
    assert_eq!(system.rivals().count(), 3);
}

#[test]
fn rights_are_read_from_the_status() {
    let of = |effective: &str, bounding: &str| {
        read(&[("proc/self/status", &format!("Name:\tx\nCapEff:\t{effective}\nCapBnd:\t{bounding}\n"))]).may_set_clock
    };
    assert_eq!(of("000001ffffffffff", "000001ffffffffff"), Some((true, true)));
    assert_eq!(of("0000000000000000", "000001ffffffffff"), Some((false, true)));
    assert_eq!(of("00000000a80425fb", "00000000a80425fb"), Some((false, false)));
    assert_eq!(read(&[]).may_set_clock, None);
}

#[test]
fn the_kernels_log_is_read_in_either_form() {
    let system = read(&[(
        "dev/kmsg",
        "6,100,1,-;clocksource: Switched to clocksource tsc\n SUBSYSTEM=x\n4,900,2,-;clocksource: Marking clocksource 'tsc' as unstable\n3,1,2,-;usb 1-1\n",
    )]);
    assert_eq!(system.kernel_log, ["clocksource: Switched to clocksource tsc", "clocksource: Marking clocksource 'tsc' as unstable"]);
}

#[test]
fn modes_owners_and_groups_decide_who_reads() {
    let user = User { name: "paraclock".into(), uid: 991, gids: vec![991, 44] };
    let node = |mode, uid, gid| Node { path: "/dev/ptp0".into(), access: Some((mode, uid, gid)) };
    assert!(!node(0o600, 0, 0).readable_by(&user));
    assert!(node(0o660, 0, 44).readable_by(&user));
    assert!(node(0o604, 0, 0).readable_by(&user));
    assert!(!node(0o044, 991, 44).readable_by(&user), "the owner's bits hold for the owner");
    assert!(!Node { path: "/dev/ptp0".into(), access: None }.readable_by(&user));
}

#[test]
fn users_have_their_groups() {
    let root = tree(&[
        ("usr/lib/systemd/system/paraclock.service", "[Service]\nUser=paraclock\n"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nparaclock:x:991:991::/:/sbin/nologin\n"),
        ("etc/group", "video:x:44:anna,paraclock\nparaclock:x:991:\n"),
    ]);
    let user = System::read(root.path(), None).unit_user.unwrap();
    assert_eq!((user.uid, user.gids), (991, vec![991, 44]));
    assert_eq!(System::read(root.path(), Some("root")).unit_user.unwrap().uid, 0);
}

#[test]
fn firewalls_are_open_or_closed() {
    let ufw = ("etc/ufw/ufw.conf", "# x\nENABLED=yes\n");
    assert_eq!(read(&[ufw]).closed_firewall, Some("ufw"));
    assert_eq!(read(&[ufw, ("etc/ufw/user.rules", "-A ufw-user-input -p udp --dport 123 -j ACCEPT\n")]).closed_firewall, None);
    let firewalld = ("proc/300/comm", "firewalld\n");
    let zone = ("etc/firewalld/zones/public.xml", "<zone><service name=\"ntp\"/></zone>");
    assert_eq!(read(&[firewalld]).closed_firewall, Some("firewalld"));
    assert_eq!(read(&[firewalld, zone]).closed_firewall, None);
    let closed = "table inet filter { chain input { type filter hook input priority 0; policy drop; tcp dport 22 accept } }";
    assert_eq!(read(&[("etc/nftables.conf", closed)]).closed_firewall, Some("nftables"));
    assert_eq!(read(&[("etc/nftables.conf", &closed.replace("tcp dport 22", "udp dport 123"))]).closed_firewall, None);
    assert_eq!(read(&[]).closed_firewall, None);
}

#[test]
fn devices_offered_by_the_hypervisor_are_seen() {
    let system = read(&[
        ("sys/bus/acpi/devices/AMZNC10C:00/hid", "AMZNC10C\n"),
        ("sys/bus/virtio/devices/virtio3/device", "0x0011\n"),
        ("sys/bus/pci/drivers/ena/0000:00:05.0/vendor", "0x1d0f\n"),
        ("sys/bus/pci/drivers/ena/bind", ""),
        ("sys/module/ena/parameters/phc_enable", "0\n"),
        ("etc/adjtime", "0.0 1700000000 0.0\n1700000000\nLOCAL\n"),
    ]);
    assert!(system.vmclock_offered && system.rtc_in_local_time);
    assert_eq!(system.virtio_rtc_offered, Some(false));
    assert_eq!((system.ena, system.ena_phc), (vec!["0000:00:05.0".to_owned()], Some(false)));
}
