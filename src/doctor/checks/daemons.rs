//! Who steers the clock: nobody, one, or several; and may we?

use crate::doctor::evidence::{Daemon, Evidence, Looks};
use crate::doctor::finding::Finding;
use crate::platform::daemons::TimeDaemon;
use crate::wire::control::Conflict;

/// Two daemons fight over the clock.
pub(super) fn fighting(evidence: &Evidence) -> Vec<Finding> {
    if let Some(conflict) = yielding(evidence) {
        return vec![left_to(evidence, conflict)];
    }
    let rivals: Vec<&TimeDaemon> = evidence.system.rivals().collect();
    let ours = steers(evidence);
    let names = rivals.iter().map(|daemon| daemon.describe()).collect::<Vec<_>>().join(", ");
    match (rivals.len(), ours) {
        (0, _) => Vec::new(),
        (1, false) => {
            let finding = Finding::advice("other_daemon", format!("{names} keeps this clock, not Paraclock"))
                .because("Paraclock refuses to steer a clock beside another daemon; starting its unit stops the others")
                .mend_all(rivals.iter().map(|daemon| daemon.stop()))
                .mend("sudo systemctl enable --now paraclock");
            vec![finding]
        }
        (count, _) => {
            let all = if ours { format!("Paraclock and {names}") } else { names };
            let steering = count + usize::from(ours);
            let finding = Finding::harm("two_daemons", format!("{steering} programs steer this clock: {all}"))
                .because("each undoes what the other does; neither knows how wrong the clock is");
            // Ours stays; else the first that was started.
            let leave = usize::from(!ours);
            vec![finding.mend_all(rivals.iter().skip(leave).map(|daemon| daemon.stop()))]
        }
    }
}

/// The other program to which our daemon leaves the clock.
fn yielding(evidence: &Evidence) -> Option<&Conflict> {
    evidence.report()?.conflict.as_ref().filter(|conflict| conflict.yielding)
}

fn left_to(evidence: &Evidence, conflict: &Conflict) -> Finding {
    let what = format!("Paraclock leaves this clock to {}, which steers it", conflict.name());
    let why = "each would undo what the other does; what Paraclock says of its own time still holds, but that is not the system clock";
    let rivals: Vec<&TimeDaemon> = evidence.system.rivals().collect();
    if rivals.is_empty() {
        Finding::harm("conflict", what).because(why).mend(HIDDEN)
    } else {
        let finding = Finding::advice("conflict", what).because(why).mend_all(rivals.iter().map(|daemon| daemon.stop()));
        finding.mend("# or remove Paraclock: sudo systemctl disable --now paraclock")
    }
}

/// Where a program that does not show here is looked for.
const HIDDEN: &str =
    "ps -eo pid,comm,cgroup | grep -E 'ntp|chrony|timesync|phc2sys|clockbound|vmtools|VBox'   # on the host, outside of containers";

/// Somebody writes to the kernel's clock whom the process list does not show.
pub(super) fn unseen_hand(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(report) = evidence.report().filter(|report| report.counters.foreign_steps > 0) {
        let times = report.counters.foreign_steps;
        let what = format!("somebody else has set the clock {times} time{} since Paraclock started", if times == 1 { "" } else { "s" });
        let finding = Finding::advice("foreign_steps", what)
            .because("Paraclock puts the clock right again each time, but programs see it jump")
            .mend("sudo journalctl -u paraclock   # when it happened")
            .mend("sudo ausearch -sc clock_settime,settimeofday,adjtimex   # who it was, if auditd watches these calls");
        findings.push(finding);
    }
    let seen = evidence.system.rivals().next().is_some() || yielding(evidence).is_some();
    let Some(looks) = evidence.looks.filter(|_| !seen) else { return findings };
    if let Some(what) = foreign_hand(evidence, &looks) {
        let finding = Finding::harm("unseen_hand", what)
            .because("a clock with two masters follows neither: a daemon of the host or in another container shares this kernel's clock")
            .mend("ps -eo pid,comm,cgroup | grep -E 'ntp|chrony|timesync|phc2sys|clockbound'   # on the host, outside of containers");
        findings.push(finding);
    } else if evidence.system.daemons.is_empty() && evidence.daemon == Daemon::Absent && is_kept(evidence, &looks) {
        let finding = Finding::advice("kept_elsewhere", "somebody steers this clock, but no time daemon shows here");
        findings.push(if evidence.machine.container.is_some() {
            finding
                .because("this container shares the clock of the machine it runs on; Paraclock belongs there")
                .mend("# run Paraclock on the machine itself, or as the only time daemon of all its containers")
        } else {
            finding
                .because("it runs in a container, under a name that we do not know, or hidden from this user")
                .mend("sudo ps -eo pid,comm,cgroup | grep -E 'ntp|chrony|timesync|phc2sys|clockbound'")
                .mend("sudo ausearch -sc clock_adjtime,adjtimex   # who it is, if auditd watches these calls")
        });
    }
    findings
}

/// What Paraclock never does to the kernel's clock, seen while it steers it.
fn foreign_hand(evidence: &Evidence, looks: &Looks) -> Option<String> {
    let report = evidence.report().filter(|report| report.tracking.clock_kind == "kernel")?;
    let now = looks.second;
    let pll = [(libc::STA_PLL, "STA_PLL"), (libc::STA_FLL, "STA_FLL"), (libc::STA_FREQHOLD, "STA_FREQHOLD")];
    if let Some((_, name)) = pll.iter().find(|(bit, _)| now.status & bit != 0) {
        return Some(format!("somebody else uses the kernel's own clock discipline ({name} is set), as ntpd and systemd-timesyncd do"));
    }
    // Told that it is, and let do so.
    let announced = report.tracking.status == "synchronised" && report.counters.clock_errors == 0;
    (announced && !looks.first.synchronised() && !now.synchronised())
        .then(|| "the kernel was told that the clock is not synchronised (STA_UNSYNC), but not by Paraclock".to_owned())
}

/// Somebody steers the clock whom we do not see. In a container that nobody steers it just now says little: the kernel calls it
/// synchronised for hours after the last update.
fn is_kept(evidence: &Evidence, looks: &Looks) -> bool {
    looks.second.was_touched_since(&looks.first) || evidence.machine.container.is_some() && looks.second.synchronised()
}

/// Nobody keeps the clock.
pub(super) fn nobody(evidence: &Evidence) -> Vec<Finding> {
    let running = !evidence.system.daemons.is_empty() || evidence.daemon != Daemon::Absent;
    if running || evidence.looks.is_some_and(|looks| is_kept(evidence, &looks)) {
        return Vec::new();
    }
    let finding = Finding::harm("nobody", "no time daemon runs: nobody keeps this clock")
        .because("it drifts by seconds a day, and stays wrong after a restore or a migration")
        .mend(evidence.start());
    vec![finding]
}

/// Without the right to set the clock nothing can be mended.
pub(super) fn rights(evidence: &Evidence) -> Vec<Finding> {
    let shadow = evidence.report().is_some_and(|report| report.tracking.clock_kind == "shadow" && report.conflict.is_none());
    let why = "every correction is refused (adjtimex: Operation not permitted): Paraclock can only keep a shadow clock";
    match evidence.system.may_set_clock {
        Some((_, false)) => {
            let finding =
                Finding::harm("no_cap_sys_time", "nothing that runs here may set the clock: CAP_SYS_TIME is missing").because(why);
            vec![finding.mend_all(grant(evidence.container()))]
        }
        _ if shadow => {
            let finding = Finding::harm("shadow", "Paraclock runs with a shadow clock and leaves the system clock alone")
                .because("it was started with -x, or without CAP_SYS_TIME")
                .mend(format!("{}   # without -x; the systemd unit grants the right", evidence.start()));
            vec![finding]
        }
        _ => Vec::new(),
    }
}

/// How a container gets the right.
fn grant(container: &str) -> Vec<&'static str> {
    match container {
        "docker" | "podman" => vec!["# start the container with: --cap-add SYS_TIME"],
        "kubernetes" => vec!["# in the pod's container: securityContext: { capabilities: { add: [\"SYS_TIME\"] } }"],
        "lxc" | "lxc-libvirt" => vec!["# in the container's configuration: take sys_time out of lxc.cap.drop, then restart it"],
        "systemd-nspawn" => vec!["# start the container with: --capability=CAP_SYS_TIME --system-call-filter=@clock"],
        _ => vec!["# give CAP_SYS_TIME to the service, or run Paraclock outside of the container"],
    }
}

/// Corrections that the kernel did not take.
pub(super) fn refused(evidence: &Evidence) -> Vec<Finding> {
    let Some(report) = evidence.report().filter(|report| report.counters.clock_errors > 0) else { return Vec::new() };
    let count = report.counters.clock_errors;
    let finding =
        Finding::harm("refused_corrections", format!("the kernel refused {count} correction{}", if count == 1 { "" } else { "s" }))
            .because(
                "the clock does not follow what is known: a unit with ProtectClock or PrivateUsers, or a seccomp filter, forbids adjtimex",
            )
            .mend("systemctl show paraclock -p ProtectClock -p PrivateUsers -p SystemCallFilter -p AmbientCapabilities")
            .mend("sudo journalctl -u paraclock | grep -i adjtimex");
    vec![finding]
}

fn steers(evidence: &Evidence) -> bool {
    match &evidence.daemon {
        Daemon::Runs(report) => report.tracking.clock_kind == "kernel",
        _ => evidence.system.daemons.iter().any(|daemon| daemon.name == "paraclock"),
    }
}
