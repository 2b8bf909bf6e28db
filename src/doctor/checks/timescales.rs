//! Smeared and unsmeared sources together.

use crate::doctor::evidence::Evidence;
use crate::doctor::finding::Finding;
use crate::units::Timescale;

/// Around a leap second they are up to a second apart, and each side calls the other a liar.
pub(super) fn mixed(evidence: &Evidence) -> Vec<Finding> {
    let Ok(plan) = &evidence.plan else { return Vec::new() };
    let servers = plan.servers.iter().filter(|s| s.selectable).map(|s| (s.name.as_str(), s.timescale));
    let clocks = plan.clocks.iter().filter(|c| c.selectable).map(|c| (c.name.as_str(), c.timescale));
    let all: Vec<(&str, Timescale)> = servers.chain(clocks).collect();
    let of = |wanted: fn(Timescale) -> bool| {
        let mut names: Vec<&str> = all.iter().filter(|(_, scale)| wanted(*scale)).map(|(name, _)| *name).collect();
        names.dedup();
        names
    };
    let smeared = of(|scale| scale == Timescale::Smeared);
    let uniform = of(|scale| matches!(scale, Timescale::Utc | Timescale::Tai));
    // What the daemon knows to be smeared it keeps apart by itself.
    let unawares = plan.servers.iter().any(|s| s.selectable && s.timescale == Timescale::Smeared && s.assumed != s.timescale);
    if !unawares || uniform.is_empty() {
        return Vec::new();
    }
    let what = format!("{} smears leap seconds, {} does not", list(&smeared), list(&uniform));
    let finding = Finding::harm("mixed_timescales", what)
        .because("for a day around a leap second they are up to a second apart: whichever side is followed, the other looks like a liar");
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
