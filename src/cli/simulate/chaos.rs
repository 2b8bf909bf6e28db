//! `paraclock simulate chaos`: random worlds, one for each seed, and what must never be in them.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::{print, to_json};
use crate::sim::chaos;

/// What is said in the place of a scenario.
pub(super) const NAME: &str = "chaos";

/// What one seed showed.
#[derive(Serialize)]
struct Told {
    seed: u64,
    /// Seconds that all guests lived, and those at which their bounds were held against the truth.
    seconds: u64,
    judged: u64,
    samples: u64,
    lies: u64,
    digest: u64,
    violation: Option<String>,
}

/// Runs a world for every seed. Fails if one showed what must never be.
pub(super) fn run(seeds: &[u64], json: bool) -> ExitCode {
    let told: Vec<Told> = seeds.iter().map(|&seed| tell(seed)).collect();
    let violated = told.iter().any(|one| one.violation.is_some());
    let said = print(&if json { to_json(&told) } else { told.iter().map(line).collect() });
    if violated { ExitCode::FAILURE } else { said }
}

fn tell(seed: u64) -> Told {
    let (summary, violation) = match chaos::run(seed) {
        Ok(summary) => (summary, None),
        Err(violation) => (chaos::Summary::default(), Some(violation.to_string())),
    };
    let chaos::Summary { seconds, judged, samples, lies, digest, .. } = summary;
    Told { seed, seconds, judged, samples, lies, digest, violation }
}

fn line(told: &Told) -> String {
    let Told { seed, seconds, judged, samples, lies, digest, violation } = told;
    match violation {
        Some(violation) => format!("{violation}\n"),
        None => format!(
            "seed {seed}: nothing that must not be in {seconds} s; bounds held in {judged} of them; {lies} of {samples} samples were lies; \
             decisions {digest:016x}\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_tells_the_same() {
        let (one, other) = (tell(3), tell(3));
        assert_eq!(line(&one), line(&other));
        assert_eq!(one.violation, None);
        assert!(line(&one).starts_with("seed 3: nothing that must not be in "));
    }
}
