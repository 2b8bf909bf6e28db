//! Servers that do not answer, or not as they should.

use super::wrong::{claim, claims};
use crate::core::intersect;
use crate::doctor::evidence::Evidence;
use crate::doctor::finding::Finding;
use crate::doctor::probe::{Answer, Probe};
use crate::wire::control::{Report, Source};

/// No server answers at all.
pub(super) fn nobody_answers(evidence: &Evidence) -> Vec<Finding> {
    let probes = answers(evidence);
    if !is_dead(evidence) {
        return Vec::new();
    }
    let unnamed: Vec<&Probe> = probes.iter().filter(|probe| matches!(probe.answer, Answer::NoName(_))).collect();
    if unnamed.len() == probes.len() {
        let Some(Answer::NoName(reason)) = unnamed.first().map(|probe| probe.answer.clone()) else { return Vec::new() };
        let finding = Finding::harm("no_names", format!("no server's name can be resolved ({reason})"))
            .because("there is no server to ask")
            .mend("resolvectl status   # or: cat /etc/resolv.conf")
            .mend(format!("getent hosts {}", unnamed[0].server));
        return vec![finding];
    }
    let count = probes.len();
    let message = probes.iter().find_map(|probe| match &probe.answer {
        Answer::Unreachable(reason) | Answer::NotSent(reason) => Some(format!("{}: {reason}", name(probe))),
        _ => None,
    });
    let heard = message.unwrap_or_else(|| "nothing comes back".to_owned());
    let servers = if count == 1 { "the only server does not answer".to_owned() } else { format!("none of {count} servers answers") };
    let what = format!("{servers} ({heard})");
    let way = "UDP port 123 is blocked on the way, or there is no way";
    // A clock of the host that is followed keeps the time; nothing then tells if the host itself is wrong.
    let kept = evidence.report().is_some_and(|report| report.sources.iter().any(|s| s.mode == "refclock" && matches!(s.mark, '*' | '+')));
    let finding = if kept {
        Finding::advice("ntp_blocked", what).because(format!("{way}: if the host's clock is wrong, nobody notices"))
    } else {
        Finding::harm("ntp_blocked", what).because(format!("{way}: nothing corrects this clock"))
    };
    vec![finding.mend_all(open_the_way(evidence))]
}

/// What opens UDP port 123, and whom to ask without it.
fn open_the_way(evidence: &Evidence) -> Vec<String> {
    let mut commands = vec!["sudo nft list ruleset | grep -E 'drop|reject|123'   # a firewall of this machine".to_owned()];
    commands.push("sudo nft insert rule inet filter output udp dport 123 accept   # if it is that one".to_owned());
    let facts = evidence.machine.cloud.facts();
    let own: Vec<&str> = facts.servers.iter().filter(|s| s.maxsources.is_none() && !s.ipv6).map(|s| s.address).collect();
    let configured = |name: &str| evidence.plan.as_ref().is_ok_and(|plan| plan.servers.iter().any(|server| server.name == name));
    let unused: Vec<&&str> = own.iter().filter(|name| !configured(name)).collect();
    if let Some(name) = unused.first() {
        commands.push(format!(
            "echo 'server {name} iburst' | sudo tee -a /etc/paraclock/paraclock.conf   # reachable from every guest of {}",
            facts.word
        ));
    } else {
        commands.push(
            "# in the rules of the network around it (security group, VPC firewall): let UDP port 123 out, and its answers in".to_owned(),
        );
    }
    commands
}

/// Some answer, some do not, or not usefully. The running daemon's sources are told by `sources`.
pub(super) fn some_do_not_answer(evidence: &Evidence) -> Vec<Finding> {
    if evidence.report().is_some() || is_dead(evidence) {
        return Vec::new();
    }
    let claims = claims(&evidence.probes);
    let agreement = intersect(&claims, &mut Vec::new());
    let mut findings: Vec<Finding> = evidence.probes.iter().filter_map(trouble).collect();
    if agreement.is_none() && claims.len() > 1 {
        let finding = Finding::harm("no_majority", format!("{} servers answer, and no majority of them agrees", claims.len()))
            .because("nobody can tell which of them is right")
            .mend("# use at least four servers, so that one liar is outvoted");
        findings.push(finding);
    }
    if let Some(agreement) = agreement {
        let liars = evidence.probes.iter().filter(|probe| claim(probe).is_some_and(|claim| !claim.meets(agreement.low, agreement.high)));
        findings.extend(liars.map(|probe| {
            Finding::advice("falseticker", format!("{} would not be used: its time disagrees with the majority", name(probe)))
                .because("it is wrong, or smears leap seconds while the others do not")
                .mend(format!("# remove the line of {}", probe.server))
        }));
    }
    findings
}

/// What is wrong with one answer.
fn trouble(probe: &Probe) -> Option<Finding> {
    let name = name(probe);
    let another = format!("# take another server in the place of {}", probe.server);
    let finding = match &probe.answer {
        Answer::Time(_) => return None,
        Answer::NoName(reason) => Finding::advice("no_name", format!("{name} cannot be resolved ({reason})"))
            .because("it is no source until it can")
            .mend(format!("getent hosts {}", probe.server)),
        Answer::Silence => Finding::advice("no_answer", format!("{name} does not answer"))
            .because("others do, so the way out is open: the server is down, or something on the way to it drops NTP")
            .mend(another),
        Answer::Unreachable(reason) | Answer::NotSent(reason) => {
            Finding::advice("unreachable", format!("{name} cannot be reached: {reason}"))
                .because("others can, so it is the server or the way to it")
                .mend(another)
        }
        Answer::Unsynchronised => Finding::advice("unsynchronised", format!("{name} answers, but is not synchronised itself"))
            .because("its time is worth nothing until it is")
            .mend(format!("# mend time on {}, or take another server", probe.server)),
        Answer::Kiss(code) => Finding::advice("refused", format!("{name} refuses to serve us (kiss-o'-death {code})"))
            .because("it was asked too often (RATE), or serves only others (DENY, RSTR)")
            .mend(another),
        Answer::Useless(reason) => {
            Finding::advice("useless", format!("{name} answers uselessly: {reason}")).because("it cannot be used").mend(another)
        }
    };
    Some(finding)
}

fn name(probe: &Probe) -> String {
    if probe.address.is_empty() || probe.address == probe.server {
        probe.server.clone()
    } else {
        format!("{} ({})", probe.server, probe.address)
    }
}

/// Whether there are servers and none of them has ever answered.
pub(super) fn is_dead(evidence: &Evidence) -> bool {
    let probes = answers(evidence);
    let lost = |answer: &Answer| matches!(answer, Answer::NoName(_) | Answer::NotSent(_) | Answer::Silence | Answer::Unreachable(_));
    !probes.is_empty() && probes.iter().all(|probe| lost(&probe.answer))
}

/// Our own probes, or what the daemon knows of its servers.
fn answers(evidence: &Evidence) -> Vec<Probe> {
    evidence.report().map_or_else(|| evidence.probes.clone(), from_report)
}

fn from_report(report: &Report) -> Vec<Probe> {
    report.sources.iter().filter(|source| source.mode == "server").filter_map(from_source).collect()
}

/// `None` while it has not been asked often enough to tell.
fn from_source(source: &Source) -> Option<Probe> {
    let answer = if source.reach != 0 || !source.rejected.is_empty() {
        // What became of it is told by its state.
        Answer::Useless(String::new())
    } else if !source.error.is_empty() {
        Answer::Unreachable(source.error.clone())
    } else if source.sent >= 3 {
        Answer::Silence
    } else {
        return None;
    };
    Some(Probe { server: source.name.clone(), address: source.address.clone(), answer })
}
