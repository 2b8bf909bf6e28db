//! Smeared and unsmeared sources together.

use crate::doctor::evidence::Evidence;
use crate::doctor::finding::Finding;
use crate::units::Timescale;

/// Around a leap second they are up to a second apart: the daemon follows one side and leaves the other out.
pub(super) fn mixed(evidence: &Evidence) -> Vec<Finding> {
    let Ok(plan) = &evidence.plan else { return Vec::new() };
    let servers = plan.servers.iter().filter(|s| s.selectable).map(|s| (s.name.as_str(), s.timescale, s.written));
    let clocks = plan.clocks.iter().filter(|c| c.selectable).map(|c| (c.name.as_str(), c.timescale, c.written));
    let all: Vec<(&str, Timescale, bool)> = servers.chain(clocks).collect();
    let of = |wanted: fn(Timescale) -> bool| {
        let mut names: Vec<&str> = all.iter().filter(|(_, scale, _)| wanted(*scale)).map(|(name, _, _)| *name).collect();
        names.dedup();
        names
    };
    let smears = |scale| scale == Timescale::Smeared;
    let keeps_utc = |scale| matches!(scale, Timescale::Utc | Timescale::Tai);
    let (smeared, uniform) = (of(smears), of(keeps_utc));
    // What the machine offers by itself is kept as a reserve; what somebody wrote down was meant to be followed.
    let meant = all.iter().any(|(_, scale, written)| *written && (smears(*scale) || keeps_utc(*scale)));
    if !meant || smeared.is_empty() || uniform.is_empty() {
        return Vec::new();
    }
    let what = format!("{} smears leap seconds, {} does not", list(&smeared), list(&uniform));
    let finding = Finding::harm("mixed_timescales", what)
        .because("around a leap second they are up to a second apart, so they are never combined: one side is of no use");
    // Give up where the smaller loss is.
    let keep_smeared = smeared.len() >= uniform.len();
    let give_up = if keep_smeared { &uniform } else { &smeared };
    let finding =
        finding.mend_all(give_up.iter().map(|name| format!("# add `noselect` to the line of {name}, or remove it ({})", plan.origin)));
    vec![finding.mend("paraclock check   # afterwards")]
}

fn list(names: &[&str]) -> String {
    names.join(" and ")
}
