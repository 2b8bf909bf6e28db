//! The scenarios that the program brings along.

use super::experiment::Experiment;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// Every scenario that the program brings along: its name and its file's text.
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("scenarios/", $name, ".toml")))),*];
    };
}

// The rows of the comparison with chronyd first, then what happens in life.
files![
    "S1",
    "S2",
    "S3",
    "S4",
    "S4i",
    "S5",
    "S6",
    "S7a",
    "S7b",
    "S7c",
    "S7d",
    "S7e",
    "S7f",
    "S8a",
    "S8c",
    "S9",
    "S10",
    "heavy-tails",
    "bursts",
    "loss",
    "asymmetric",
    "route-change",
    "oscillator-jumps",
    "temperature",
    "liar-among-five",
    "drifting-liar",
    "wrong-host",
    "failing-servers",
    "tiers",
    "ena",
    "noisy-neighbour",
    "preempted",
    "restore",
    "restore-unsignalled",
    "migration",
    "migration-unsignalled",
    "suspend",
    "interference",
    "era-2036",
    "leap-second",
    "leap-smear",
];

/// The names of all scenarios that the program brings along, in the order in which they are shown.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|file| file.0)
}

/// The text of one of them, in whatever case its name is written.
#[must_use]
pub fn text_of(name: &str) -> Option<&'static str> {
    FILES.iter().find(|file| file.0.eq_ignore_ascii_case(name)).map(|file| file.1)
}

/// One of them.
#[must_use]
pub fn built_in(name: &str) -> Option<Experiment> {
    let (name, text) = FILES.iter().find(|file| file.0.eq_ignore_ascii_case(name))?;
    // A test reads them all.
    Experiment::parse(name, name, text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_that_comes_along_is_right() {
        for (name, text) in FILES {
            let experiment = Experiment::parse(name, name, text).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
            assert!(!experiment.about.is_empty() && experiment.reset < experiment.duration, "{name}");
            assert!(built_in(&name.to_uppercase()).is_some());
        }
        assert!(built_in("nothing").is_none());
    }

    #[test]
    fn the_rows_of_the_comparison_know_what_chronyd_did() {
        let rows: Vec<&str> = names().filter(|name| built_in(name).is_some_and(|e| e.chronyd.is_some())).collect();
        assert_eq!(rows.join(" "), "S1 S2 S3 S4 S4i S5 S6 S7a S7b S7c S7d S7e S7f S8a S8c S9 S10");
    }
}
