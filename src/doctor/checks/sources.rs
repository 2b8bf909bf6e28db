//! The configuration, and why each of its sources is not used.

use super::network;
use crate::doctor::evidence::{Daemon, Evidence};
use crate::doctor::finding::Finding;
use crate::wire::control::Source;

/// A daemon that runs for less than so many seconds may still be looking.
const STARTING: f64 = 60.0;

/// The daemon would not start.
pub(super) fn configuration(evidence: &Evidence) -> Vec<Finding> {
    match &evidence.plan {
        Ok(_) => Vec::new(),
        Err(errors) => {
            let finding = Finding::harm("configuration", format!("the configuration is wrong: {}", errors.join("; ")))
                .because("the daemon does not start with it")
                .mend("paraclock check   # until it says \"good\"");
            vec![finding]
        }
    }
}

/// There is no source at all, or none that may be followed; or the daemon cannot be asked.
pub(super) fn nothing_to_follow(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok(plan) = evidence.plan.as_ref() {
        if !plan.tells_time() {
            let what = format!("no source may be followed ({})", plan.origin);
            let finding = Finding::harm("no_source", what)
                .because("nothing ever corrects the clock")
                .mend("echo 'autodetect on' | sudo tee -a /etc/paraclock/paraclock.conf   # use what this place offers")
                .mend(evidence.start());
            findings.push(finding);
        }
    }
    if let Daemon::Mute(reason) = &evidence.daemon {
        let finding = Finding::advice("mute", reason.clone()).because("what the daemon knows cannot be shown here");
        findings.push(finding.mend("sudo paraclock doctor").mend("systemctl status paraclock"));
    }
    findings
}

/// The daemon runs and does not know the time.
pub(super) fn not_synchronised(evidence: &Evidence) -> Vec<Finding> {
    let Some(report) = evidence.report().filter(|report| report.uptime > STARTING) else { return Vec::new() };
    let what = match report.tracking.status.as_str() {
        "unsynchronised" => "Paraclock runs, but has not found the time yet",
        "disrupted" => "time was disrupted (a restore, a migration, a suspend), and no source has confirmed it since",
        "holdover" => "Paraclock runs on what it learned: no source can be followed any more",
        _ => return Vec::new(),
    };
    let why =
        if report.problems.is_empty() { "the error grows until a source can be followed".to_owned() } else { report.problems.join("; ") };
    let finding = Finding::harm("not_synchronised", what).because(why);
    vec![finding.mend("paraclock selectdata -v   # why each source is used or not").mend("sudo journalctl -u paraclock   # since when")]
}

/// Sources of the running daemon that it cannot use; those of the network are told elsewhere if none of them answers.
pub(super) fn not_used(evidence: &Evidence) -> Vec<Finding> {
    let Some(report) = evidence.report() else { return Vec::new() };
    let told = network::is_dead(evidence);
    let unused = report.sources.iter().filter(|s| matches!(s.mark, 'x' | '~' | '?') && s.state != "noselect");
    let mut findings: Vec<Finding> = unused.filter(|source| !(told && source.mode == "server" && source.reach == 0)).map(explain).collect();
    // Names without an address are no sources yet: the daemon tells of them in words.
    let unnamed = report.problems.iter().filter(|problem| problem.contains("cannot be resolved"));
    findings.extend(unnamed.map(|problem| {
        let finding = Finding::advice("no_name", problem.clone()).because("it is no source until it can");
        finding.mend("resolvectl status   # or: cat /etc/resolv.conf")
    }));
    findings
}

fn explain(source: &Source) -> Finding {
    let name = if source.address.is_empty() || source.address == source.name {
        source.name.clone()
    } else {
        format!("{} ({})", source.name, source.address)
    };
    // The error often says the reason again, with more words.
    let reason = if source.error.contains(&source.reason) { &source.error } else { &source.reason };
    let what = format!("{name} is not used: {reason}");
    let finding = Finding::advice("source_not_used", what);
    let count = |reason: &str| source.rejected.get(reason).copied().unwrap_or(0);
    match source.mark {
        'x' => finding
            .because("either it is wrong, or the majority is")
            .mend("paraclock selectdata -v   # where each source says that the clock's offset lies")
            .mend(format!("# remove the line of {} if it alone disagrees", source.name)),
        '~' => finding
            .because("its answers vary too much to learn anything from them")
            .mend(format!("paraclock sourcestats   # the jitter of {}", source.name)),
        _ if count("kiss_of_death") > 0 => finding
            .because("the server refuses to serve us (kiss-o'-death)")
            .mend(format!("# take another server in the place of {}, or ask it less often (minpoll)", source.name)),
        _ if count("unsynchronised") > 0 => finding
            .because("the server answers, and says that it is not synchronised itself")
            .mend(format!("# mend time on {}, or take another server", source.name)),
        _ if source.mode == "refclock" => finding.because("the clock cannot be read").mend("paraclock platform   # what clocks there are"),
        _ => finding
            .because("requests go out, and no answer that can be used comes back")
            .mend("paraclock selectdata -v   # what becomes of its answers"),
    }
}
