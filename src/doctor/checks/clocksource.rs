//! The counter from which the kernel makes time.

use crate::doctor::evidence::Evidence;
use crate::doctor::finding::Finding;

const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// Slow counters make every reading slow and rough, and hide the kvm-clock and cross timestamps.
pub(super) fn poor(evidence: &Evidence) -> Vec<Finding> {
    let current = &evidence.machine.clocksource;
    let good = evidence.machine.hypervisor.facts().clocksources;
    let good: Vec<&str> = good.iter().copied().filter(|name| (*name == "arch_sys_counter") == evidence.system.arm).collect();
    if current.is_empty() || good.contains(&current.as_str()) {
        return Vec::new();
    }
    let finding = Finding::harm("clocksource", format!("the kernel's clocksource is {current}; here it should be {}", good.join(" or ")))
        .because("each look at the clock leaves the guest and takes microseconds; time is rough, and PTP_KVM cannot give cross timestamps");
    let available = good.iter().find(|name| evidence.machine.available_clocksources.iter().any(|there| there == *name));
    let finding = match available {
        Some(name) => finding
            .mend(format!("echo {name} | sudo tee {CURRENT}"))
            .mend("# and take `clocksource=`, `notsc` and `no-kvmclock` out of the kernel's command line"),
        None => finding
            .mend("grep -oE '(clocksource|tsc)=[^ ]*|notsc|no-kvmclock' /proc/cmdline   # what the command line forbids")
            .mend("sudo dmesg | grep -iE 'tsc|clocksource|kvm-clock'   # why the kernel does not offer them")
            .mend("# on the host: give the guest an invariant TSC (libvirt: <feature policy='require' name='invtsc'/>)"),
    };
    vec![finding]
}

/// The kernel found the TSC wanting.
pub(super) fn unstable(evidence: &Evidence) -> Vec<Finding> {
    let marked = evidence.system.kernel_log.iter().rfind(|line| {
        let line = line.to_lowercase();
        line.contains("tsc") && line.contains("unstable")
    });
    let Some(line) = marked else { return Vec::new() };
    let finding = Finding::harm("tsc_unstable", format!("the kernel does not trust the TSC: \"{}\"", line.trim()))
        .because("the counter jumped, runs at another rate on another CPU, or the watchdog was starved; the frequency that was learned is void")
        .mend("# on the host: pin the clocksource to tsc, and give the guest an invariant TSC (libvirt: <feature policy='require' name='invtsc'/>)")
        .mend("sudo paraclock doctor --host   # on the host, to see what it gives to guests");
    vec![finding]
}
