//! What clock a KVM host gives to its guests: a judgement over what KVM answered.

use serde::Serialize;

use super::finding::Finding;
use crate::sys::kvm::{Answers, KVM_CLOCK_HOST_TSC, KVM_CLOCK_REALTIME, KVM_CLOCK_TSC_STABLE, Refusal};

const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// All that is looked at on a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// What `/dev/kvm` answered.
    pub kvm: Result<Answers, Refusal>,
    /// The kernel's clocksource.
    pub clocksource: String,
    /// Those that it could use.
    pub available_clocksources: Vec<String>,
    /// The CPU's flags.
    pub cpu_flags: Vec<String>,
    /// The kernel's release.
    pub kernel: String,
    /// Whether the CPU is an ARM.
    pub arm: bool,
    /// The hypervisor below, if this host is a guest itself.
    pub below: Option<&'static str>,
}

/// What guests will get.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verdict {
    /// Facts with their headings.
    pub facts: Vec<(&'static str, String)>,
    /// Whether guests get a kvm-clock that is marked stable; `None` if there is no way to tell, or no kvm-clock (aarch64).
    pub stable_kvm_clock: Option<bool>,
    /// Whether PTP_KVM works in guests; `None` if there is no way to tell.
    pub ptp_kvm: Option<bool>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// What the answers mean.
#[must_use]
pub fn judge(host: &Host) -> Verdict {
    let mut verdict = Verdict { facts: facts(host), stable_kvm_clock: None, ptp_kvm: None, findings: Vec::new() };
    let answers = match &host.kvm {
        Ok(answers) => answers,
        Err(refusal) => {
            verdict.findings.push(refused(host, *refusal));
            return verdict;
        }
    };
    if let Some(clock) = answers.clock {
        let stable = clock.flags & KVM_CLOCK_TSC_STABLE != 0;
        // Kernels before 5.16 do not return the host's time, but pair clocks under the same condition.
        let knows_realtime = answers.adjust_clock & KVM_CLOCK_REALTIME != 0;
        let pairs = if knows_realtime { clock.flags & KVM_CLOCK_REALTIME != 0 } else { stable };
        verdict.stable_kvm_clock = Some(stable);
        verdict.ptp_kvm = Some(pairs);
        if !stable {
            verdict.findings.push(unstable(host));
        }
    } else {
        verdict.ptp_kvm = Some(answers.ptp_kvm);
        if !answers.ptp_kvm {
            let finding = Finding::harm("host_no_ptp_kvm", "this host's KVM has no PTP_KVM (KVM_CAP_PTP_KVM is 0)");
            verdict.findings.push(finding.because("guests cannot read this host's clock").mend("# run Linux 5.14 or later on this host"));
        }
    }
    if !host.arm {
        verdict.findings.extend(invariance(host));
    }
    verdict
}

fn facts(host: &Host) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    match &host.kvm {
        Ok(answers) => {
            let capability = match answers.adjust_clock {
                0 => "KVM_CAP_ADJUST_CLOCK is missing".to_owned(),
                1 => "KVM_CAP_ADJUST_CLOCK without flags".to_owned(),
                flags => format!("KVM_CAP_ADJUST_CLOCK {flags:#x} ({})", names(flags)),
            };
            facts.push(("/dev/kvm", format!("API version {}, {capability}", answers.api_version)));
            if let Some(clock) = answers.clock {
                facts.push(("Fresh guest", format!("KVM_GET_CLOCK returns flags {:#x} ({})", clock.flags, names(clock.flags))));
                if let Some(khz) = clock.tsc_khz {
                    facts.push(("Guest's TSC", format!("{}.{:03} MHz", khz / 1000, khz % 1000)));
                }
            } else {
                facts.push(("KVM_CAP_PTP_KVM", if answers.ptp_kvm { "yes" } else { "no" }.to_owned()));
            }
        }
        Err(refusal) => facts.push(("/dev/kvm", format!("{}: {}", refusal.call, refusal.errno.desc()))),
    }
    let others = host.available_clocksources.iter().filter(|name| **name != host.clocksource).map(String::as_str);
    let others = others.collect::<Vec<_>>().join(" ");
    let also = if others.is_empty() { String::new() } else { format!(" (also: {others})") };
    facts.push(("Clocksource", format!("{}{also}", if host.clocksource.is_empty() { "unknown" } else { &host.clocksource })));
    if !host.arm {
        facts.push(("Own TSC", invariant_words(host).to_owned()));
    }
    facts.push((
        "Below it",
        host.below.map_or_else(|| "nothing: bare metal".to_owned(), |name| format!("{name}: this host is a guest itself")),
    ));
    facts
}

fn names(flags: u32) -> String {
    let known = [(KVM_CLOCK_TSC_STABLE, "TSC_STABLE"), (KVM_CLOCK_REALTIME, "REALTIME"), (KVM_CLOCK_HOST_TSC, "HOST_TSC")];
    let set: Vec<&str> = known.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "none".to_owned() } else { set.join(" ") }
}

fn flag(host: &Host, name: &str) -> bool {
    host.cpu_flags.iter().any(|flag| flag == name)
}

fn invariant_words(host: &Host) -> &'static str {
    match (flag(host, "constant_tsc"), flag(host, "nonstop_tsc")) {
        (true, true) => "invariant (constant_tsc, nonstop_tsc)",
        (true, false) => "constant, but may stop in deep sleep (no nonstop_tsc)",
        (false, _) => "not invariant (no constant_tsc)",
    }
}

/// KVM cannot be asked.
fn refused(host: &Host, refusal: Refusal) -> Finding {
    use nix::errno::Errno;
    let vendor = if flag(host, "vmx") {
        Some("kvm_intel")
    } else if flag(host, "svm") {
        Some("kvm_amd")
    } else {
        None
    };
    let finding = match (refusal.call, refusal.errno) {
        ("open", Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => {
            let finding = Finding::advice("no_kvm", "there is no /dev/kvm: this machine runs no KVM guests");
            match vendor {
                Some(module) => finding.mend(format!("sudo modprobe {module}")),
                None if host.arm => finding.mend("# KVM needs a kernel that was started in EL2, built with CONFIG_KVM=y"),
                None if host.below.is_some() => {
                    finding.mend("# on the machine below: allow nested virtualisation and give the guest its CPU (QEMU: -cpu host)")
                }
                None => finding.mend("# switch virtualisation (VT-x, AMD-V) on in the firmware's setup"),
            }
        }
        ("open", Errno::EACCES | Errno::EPERM) => {
            Finding::advice("kvm_denied", "/dev/kvm may not be opened by this user").mend("sudo paraclock doctor --host")
        }
        (call, errno) => Finding::advice("kvm_odd", format!("/dev/kvm: {call} failed: {}", errno.desc())).mend("sudo dmesg | grep -i kvm"),
    };
    finding.because("what clock guests would get can only be found out by asking KVM")
}

/// The clock of a fresh guest does not follow the counter.
fn unstable(host: &Host) -> Finding {
    let finding = Finding::harm("host_unstable_clock", "guests get no stable kvm-clock and no PTP_KVM");
    if host.clocksource == "tsc" || host.clocksource == "hyperv_clocksource_tsc_page" {
        return finding
            .because("the clocksource is the TSC, but KVM does not trust it: it was set back or differs between CPUs")
            .mend("sudo dmesg | grep -iE 'kvm|tsc'")
            .mend("# start the host anew; an update of its firmware may bring its TSCs together");
    }
    let because = format!("KVM gives them only on a host whose own clocksource is tsc, and here it is {}", host.clocksource);
    let finding = finding.because(because);
    let offered = host.available_clocksources.iter().any(|name| name == "tsc");
    match (offered, host.below) {
        (true, _) => finding
            .mend(format!("echo tsc | sudo tee {CURRENT}"))
            .mend("# and take `clocksource=` out of the kernel's command line, or add clocksource=tsc tsc=reliable if the TSC is known to be good"),
        (false, Some(below)) => {
            finding.mend(format!("# on the {below} host below: give this guest an invariant TSC (libvirt: <feature policy='require' name='invtsc'/>)"))
        }
        (false, None) => finding.mend("sudo dmesg | grep -iE 'tsc|clocksource'   # why the kernel does not offer tsc"),
    }
}

/// A TSC that is not invariant fails sooner or later.
fn invariance(host: &Host) -> Option<Finding> {
    if flag(host, "constant_tsc") && flag(host, "nonstop_tsc") || host.cpu_flags.is_empty() {
        return None;
    }
    let finding = Finding::advice("host_tsc_not_invariant", format!("this host's TSC is {}", invariant_words(host)))
        .because("the kernel may give it up at any moment; guests then lose PTP_KVM, and their kvm-clock its stability");
    Some(match host.below {
        Some(below) => finding.mend(format!(
            "# on the {below} host below: <feature policy='require' name='invtsc'/> in this guest's CPU (QEMU: -cpu host,+invtsc)"
        )),
        None => finding.mend("# it takes another CPU"),
    })
}

#[cfg(test)]
mod tests;
