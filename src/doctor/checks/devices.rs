//! Paravirtual clocks: which are missing, and why; which cannot be read.

use crate::doctor::evidence::{Daemon, Evidence};
use crate::doctor::finding::Finding;
use crate::doctor::system::Module;
use crate::platform::ClockKind;
use crate::platform::table::ClockFacts;

/// The kvm-clock page says that the counter is stable on all CPUs: only then does the host's clock follow its TSC.
const TSC_STABLE: u8 = 1;

/// Clocks that are there, but that the daemon may not read.
pub(super) fn unreadable(evidence: &Evidence) -> Vec<Finding> {
    let nodes = evidence.system.nodes.iter().filter(|node| used(evidence, &node.path));
    let mut findings = Vec::new();
    for node in nodes {
        let path = node.path.display();
        if node.access.is_none() {
            let finding = Finding::harm("no_device", format!("the kernel has this clock, but {path} is not there"))
                .because("in a container devices have to be passed in; a unit with PrivateDevices hides them")
                .mend(match evidence.container() {
                    "docker" | "podman" => format!("# start the container with: --device {path}"),
                    "kubernetes" => format!("# in the pod: a hostPath volume for {path} of type CharDevice, and privileged: true"),
                    "systemd-nspawn" => format!("# start the container with: --bind={path} --property=DeviceAllow='{path} r'"),
                    _ => "sudo udevadm trigger --subsystem-match=ptp --subsystem-match=misc --action=add".to_owned(),
                });
            findings.push(finding);
        } else if let Some(user) = evidence.system.unit_user.as_ref().filter(|user| !node.readable_by(user)) {
            let mode = node.access.map_or(0, |access| access.0);
            let what = format!("user {} may not read {path} (mode {mode:04o})", user.name);
            let finding = Finding::harm("device_permissions", what)
                .because("the daemon runs as that user: the clock is there and is not used")
                .mend("echo 'SUBSYSTEM==\"ptp\", GROUP=\"paraclock\", MODE=\"0660\"' | sudo tee /etc/udev/rules.d/60-paraclock.rules")
                .mend("echo 'KERNEL==\"vmclock[0-9]*\", GROUP=\"paraclock\", MODE=\"0640\"' | sudo tee -a /etc/udev/rules.d/60-paraclock.rules")
                .mend("sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=ptp --subsystem-match=misc --action=add");
            findings.push(finding);
        }
    }
    findings
}

/// Whether the daemon would read this device.
fn used(evidence: &Evidence, path: &std::path::Path) -> bool {
    let planned = evidence.plan.as_ref().is_ok_and(|plan| plan.clocks.iter().any(|clock| clock.device.as_deref() == Some(path)));
    let automatic = evidence.machine.clocks.iter().any(|clock| clock.path == path && clock.is_automatic());
    planned || automatic || evidence.machine.vmclock.as_deref() == Some(path)
}

/// Clocks that guests of this place have and this one lacks.
pub(super) fn missing(evidence: &Evidence) -> Vec<Finding> {
    evidence.machine.missing_clocks().map(|kind| lack(evidence, kind)).collect()
}

fn lack(evidence: &Evidence, kind: ClockKind) -> Finding {
    let facts = kind.facts();
    if kind == ClockKind::Ena {
        return ena(evidence, facts);
    }
    let name = facts.word;
    let why = "the clock is kept over the network alone: slower to right itself after a restore, and off by the network's asymmetry";
    let advice = |check, what: String| Finding::advice(check, what).because(why);
    let since = facts.since[usize::from(evidence.system.arm)];
    let version = evidence.system.kernel_version();
    let kernel = &evidence.system.kernel;
    if version != (0, 0) && version < since {
        let what = format!("{name} is missing: this kernel ({kernel}) is too old for it");
        return advice("clock_kernel_too_old", what).mend(format!("# run Linux {}.{} or later", since.0, since.1));
    }
    match evidence.system.module(facts.module) {
        Module::Loaded | Module::BuiltIn => refused(evidence, facts, why),
        Module::Available if in_container(evidence) => {
            let commands = facts.enable.iter().map(|command| format!("{command}   # on the machine, outside of the container"));
            advice("clock_not_loaded", format!("{name} is missing: its module is not loaded on the machine that runs this container"))
                .mend_all(commands)
        }
        Module::Available => {
            let finding =
                advice("clock_not_loaded", format!("{name} is missing: its module is not loaded")).mend_all(facts.enable.iter().copied());
            host_hint(evidence, kind, finding)
        }
        Module::Absent => {
            let what = format!("{name} is missing: this kernel ({kernel}) was built without it ({})", facts.option);
            advice("clock_no_module", what).mend_all(other_kernel(&evidence.system.distribution, facts))
        }
        Module::NoModules => {
            let what = format!("{name} is missing: this kernel ({kernel}) loads no modules and was built without it");
            let finding = advice("clock_not_built_in", what).mend(format!("# build the guest's kernel with {}=y", facts.option));
            host_hint(evidence, kind, finding)
        }
        Module::Unknown => {
            let what = format!("{name} is missing, and the modules of this kernel ({kernel}) are not here to be seen");
            advice("clock_missing", what).mend_all(facts.enable.iter().copied())
        }
    }
}

/// The driver is there and found no clock: the host does not give one.
fn refused(evidence: &Evidence, facts: &ClockFacts, why: &str) -> Finding {
    let what = format!("{} is missing though its driver is there: the host refuses it", facts.word);
    let finding = Finding::advice("clock_refused", what).because(why);
    if facts.kind != ClockKind::Kvm {
        return finding.mend(format!("# on the host: {}", facts.host));
    }
    let reason = match evidence.machine.pvclock {
        Some(page) if page.flags & TSC_STABLE == 0 => {
            "# the kvm-clock page is not marked stable: the host's own clocksource is not tsc, or it is a guest itself (nested)"
        }
        Some(_) => {
            "# the kvm-clock page is marked stable: the host's clock is good, but its KVM does not answer the call (a kernel before 4.11)"
        }
        None => "# either the host's own clocksource is not tsc, or it is a guest itself (nested), or its kernel is older than 4.11",
    };
    finding.mend(reason).mend("sudo paraclock doctor --host   # on the host: says which").mend_all(HOST_TSC)
}

const HOST_TSC: [&str; 1] = ["echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource   # on the host"];

/// Warns when loading the module will not do.
fn host_hint(evidence: &Evidence, kind: ClockKind, finding: Finding) -> Finding {
    match evidence.machine.pvclock {
        Some(page) if kind == ClockKind::Kvm && page.flags & TSC_STABLE == 0 => finding
            .mend("# it will be refused as long as the kvm-clock page is not marked stable: see `paraclock doctor --host` on the host"),
        _ => finding,
    }
}

/// Kernels that have it, by distribution.
fn other_kernel(distribution: &str, facts: &ClockFacts) -> Vec<String> {
    match distribution {
        "ubuntu" => vec!["sudo apt-get install linux-modules-extra-$(uname -r)".to_owned(), facts.enable[0].to_owned()],
        "rhel" | "centos" | "rocky" | "almalinux" | "fedora" | "ol" => {
            vec!["sudo dnf install kernel-modules-$(uname -r) kernel-modules-extra-$(uname -r)".to_owned(), facts.enable[0].to_owned()]
        }
        "debian" => vec!["sudo apt-get install linux-image-amd64   # then reboot into it".to_owned(), facts.enable[0].to_owned()],
        _ => vec![format!("# run a kernel that is built with {}=m or =y", facts.option)],
    }
}

/// The clock of an Amazon network card is off by default.
fn ena(evidence: &Evidence, facts: &ClockFacts) -> Finding {
    let why = "it is good to microseconds and does not smear; the NTP server of the place is good to a tenth of a millisecond";
    let Some(slot) = evidence.system.ena.first() else {
        let what = "the network card's clock is missing: this instance has no ENA network card, or it is not visible here";
        return Finding::advice("ena_absent", what).because(why).mend(format!("# take {}", facts.host));
    };
    match evidence.system.ena_phc {
        Some(true) => Finding::advice("ena_phc_refused", format!("the clock of network card {slot} is switched on, but the card has none"))
            .because(why)
            .mend(format!("# take {}", facts.host)),
        Some(false) => {
            let what = format!("the clock of network card {slot} is switched off (phc_enable=0)");
            Finding::advice("ena_phc_off", what).because(why).mend_all(facts.enable.iter().copied())
        }
        None if evidence.system.kernel_version() >= facts.since[0] => {
            Finding::advice("ena_phc_off", format!("the clock of network card {slot} is switched off"))
                .because(why)
                .mend(format!("sudo devlink dev param set pci/{slot} name enable_phc value true cmode driverinit"))
                .mend(format!("sudo devlink dev reload pci/{slot}   # the network is down for a moment"))
        }
        None => {
            let what = format!("the driver of network card {slot} cannot read its clock (kernel {})", evidence.system.kernel);
            Finding::advice("ena_driver_too_old", what)
                .because(why)
                .mend("# run Linux 6.17 or later, or Amazon's own ENA driver 2.10 or later with phc_enable=1")
        }
    }
}

/// Devices that the hypervisor offers and that no driver has taken.
pub(super) fn offered(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut untaken = |kind: ClockKind, why: &str| {
        let facts = kind.facts();
        let finding =
            Finding::advice("clock_untaken", format!("the hypervisor offers {}, and no driver has taken it", facts.word)).because(why);
        let finding = match evidence.system.module(facts.module) {
            Module::Available => finding.mend_all(facts.enable.iter().copied()),
            _ => finding.mend(format!("# run Linux {}.{} or later, built with {}", facts.since[0].0, facts.since[0].1, facts.option)),
        };
        findings.push(finding);
    };
    if evidence.system.vmclock_offered && evidence.machine.vmclock.is_none() {
        untaken(ClockKind::Vmclock, "it tells at once of a restore or a migration; without it they are found at the next poll");
    }
    if evidence.system.virtio_rtc_offered == Some(false) {
        untaken(ClockKind::VirtioRtc, "it tells the host's time, and in which timescale");
    }
    findings
}

fn in_container(evidence: &Evidence) -> bool {
    evidence.machine.container.is_some() && matches!(evidence.daemon, Daemon::Absent | Daemon::Mute(_))
}
