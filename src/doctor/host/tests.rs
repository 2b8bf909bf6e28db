use nix::errno::Errno;

use super::*;
use crate::sys::kvm::GuestClock;

const ALL_FLAGS: u32 = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// What a good host answers.
fn good() -> Host {
    let clock = GuestClock { flags: ALL_FLAGS, realtime: 1_795_257_000_156_904_917, tsc_khz: Some(2_599_998) };
    Host {
        kvm: Ok(Answers { api_version: 12, adjust_clock: ALL_FLAGS, ptp_kvm: false, clock: Some(clock) }),
        clocksource: "tsc".into(),
        available_clocksources: words("tsc hpet acpi_pm"),
        cpu_flags: words("fpu tsc constant_tsc nonstop_tsc vmx"),
        kernel: "6.12.0".into(),
        arm: false,
        below: None,
    }
}

fn with_flags(adjust_clock: u32, flags: u32) -> Host {
    let clock = GuestClock { flags, realtime: 0, tsc_khz: Some(2_000_000) };
    Host { kvm: Ok(Answers { api_version: 12, adjust_clock, ptp_kvm: false, clock: Some(clock) }), ..good() }
}

fn checks(verdict: &Verdict) -> Vec<&'static str> {
    verdict.findings.iter().map(|finding| finding.check).collect()
}

#[test]
fn a_good_host_gives_both() {
    let verdict = judge(&good());
    assert_eq!((verdict.stable_kvm_clock, verdict.ptp_kvm), (Some(true), Some(true)));
    assert_eq!(verdict.findings, []);
    let fact = |name| verdict.facts.iter().find(|fact| fact.0 == name).unwrap().1.clone();
    assert_eq!(fact("/dev/kvm"), "API version 12, KVM_CAP_ADJUST_CLOCK 0xe (TSC_STABLE REALTIME HOST_TSC)");
    assert_eq!(fact("Fresh guest"), "KVM_GET_CLOCK returns flags 0xe (TSC_STABLE REALTIME HOST_TSC)");
    assert_eq!(fact("Guest's TSC"), "2599.998 MHz");
}

#[test]
fn a_host_on_hpet_gives_neither() {
    let host = Host { clocksource: "hpet".into(), ..with_flags(ALL_FLAGS, 0) };
    let verdict = judge(&host);
    assert_eq!((verdict.stable_kvm_clock, verdict.ptp_kvm), (Some(false), Some(false)));
    assert_eq!(checks(&verdict), ["host_unstable_clock"]);
    assert!(verdict.findings[0].why.ends_with("here it is hpet"), "{verdict:?}");
    assert!(verdict.findings[0].mend[0].starts_with("echo tsc |"), "{verdict:?}");
}

#[test]
fn a_nested_host_on_kvm_clock_gives_neither() {
    let host = Host {
        clocksource: "kvm-clock".into(),
        available_clocksources: words("kvm-clock acpi_pm"),
        cpu_flags: words("fpu tsc constant_tsc vmx hypervisor"),
        below: Some("kvm"),
        ..with_flags(ALL_FLAGS, 0)
    };
    let verdict = judge(&host);
    assert_eq!(verdict.ptp_kvm, Some(false));
    assert_eq!(checks(&verdict), ["host_unstable_clock", "host_tsc_not_invariant"]);
    assert!(verdict.findings.iter().all(|finding| finding.mend[0].contains("on the kvm host below")), "{verdict:?}");
}

#[test]
fn an_old_kernel_is_judged_by_stability() {
    let verdict = judge(&with_flags(KVM_CLOCK_TSC_STABLE, KVM_CLOCK_TSC_STABLE));
    assert_eq!((verdict.stable_kvm_clock, verdict.ptp_kvm), (Some(true), Some(true)));
    // A recent one that does not return the host's time has no pairs of clocks to give.
    let verdict = judge(&with_flags(ALL_FLAGS, KVM_CLOCK_TSC_STABLE));
    assert_eq!((verdict.stable_kvm_clock, verdict.ptp_kvm), (Some(true), Some(false)));
}

#[test]
fn a_tsc_that_kvm_does_not_trust_is_told_apart() {
    let verdict = judge(&with_flags(ALL_FLAGS, 0));
    assert_eq!(checks(&verdict), ["host_unstable_clock"]);
    assert!(verdict.findings[0].why.contains("KVM does not trust it"), "{verdict:?}");
}

#[test]
fn without_kvm_it_says_how_to_get_it() {
    let refuse = |call, errno, flags: &str, below| {
        let verdict = judge(&Host { kvm: Err(Refusal { call, errno }), cpu_flags: words(flags), below, ..good() });
        assert_eq!((verdict.stable_kvm_clock, verdict.ptp_kvm), (None, None));
        let [finding] = verdict.findings.as_slice() else { panic!("{verdict:?}") };
        (finding.check, finding.mend[0].clone())
    };
    assert_eq!(refuse("open", Errno::ENOENT, "vmx", None), ("no_kvm", "sudo modprobe kvm_intel".into()));
    assert_eq!(refuse("open", Errno::ENOENT, "svm", None), ("no_kvm", "sudo modprobe kvm_amd".into()));
    assert!(refuse("open", Errno::ENOENT, "", None).1.contains("firmware"));
    assert!(refuse("open", Errno::ENOENT, "", Some("kvm")).1.contains("nested"));
    assert_eq!(refuse("open", Errno::EACCES, "vmx", None), ("kvm_denied", "sudo paraclock doctor --host".into()));
    assert_eq!(refuse("KVM_CREATE_VM", Errno::EBUSY, "vmx", None).0, "kvm_odd");
}

#[test]
fn arm_hosts_say_it_by_a_capability() {
    let arm = |ptp_kvm| Host {
        kvm: Ok(Answers { api_version: 12, adjust_clock: 0, ptp_kvm, clock: None }),
        clocksource: "arch_sys_counter".into(),
        cpu_flags: Vec::new(),
        arm: true,
        ..good()
    };
    assert_eq!(judge(&arm(true)).ptp_kvm, Some(true));
    assert_eq!(judge(&arm(true)).findings, []);
    assert_eq!(checks(&judge(&arm(false))), ["host_no_ptp_kvm"]);
}
