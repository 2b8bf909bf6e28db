//! Files whose content makes time wrong later, or keeps clients away.

use crate::doctor::evidence::Evidence;
use crate::doctor::finding::Finding;

/// A hardware clock in local time is wrong twice a year, and at every start until a source answers.
pub(super) fn rtc_in_local_time(evidence: &Evidence) -> Vec<Finding> {
    if !evidence.system.rtc_in_local_time {
        return Vec::new();
    }
    let finding = Finding::advice("rtc_local", "the hardware clock is taken to hold local time (/etc/adjtime says LOCAL)")
        .because("hypervisors give it UTC: at every start the clock is hours off until a source answers")
        .mend("sudo timedatectl set-local-rtc 0");
    vec![finding]
}

/// We serve time, and the firewall keeps clients out.
pub(super) fn firewall(evidence: &Evidence) -> Vec<Finding> {
    let Some(port) = evidence.plan.as_ref().ok().and_then(|plan| plan.serves) else { return Vec::new() };
    let Some(governor) = evidence.system.closed_firewall else { return Vec::new() };
    let finding = Finding::advice("firewall", format!("`allow` invites clients, but {governor} lets no NTP in (UDP port {port})"))
        .because("clients get no answer");
    let finding = match governor {
        "ufw" => finding.mend(format!("sudo ufw allow {port}/udp")),
        "firewalld" => finding.mend("sudo firewall-cmd --permanent --add-service=ntp && sudo firewall-cmd --reload"),
        _ => finding
            .mend(format!("sudo nft insert rule inet filter input udp dport {port} accept"))
            .mend("# and the same line in /etc/nftables.conf"),
    };
    vec![finding]
}
