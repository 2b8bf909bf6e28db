//! Builds worlds from a few words.

use std::path::{Path as FilePath, PathBuf};

use paraclock::config::{Config, Files, parse_directives};
use paraclock::sim::{Action, Guest, Oscillator, Path, Phc, Planned, Scenario, Server, World};
use paraclock::units::{Offset, Ppm};
use paraclock::wire::control::{Report, Source};

/// A configuration in these tests includes no files.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &FilePath) -> Result<String, String> {
        Err(format!("{} is not there", path.display()))
    }
    fn list(&self, _: &FilePath, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

pub(crate) fn config(lines: &[&str]) -> Config {
    let lines: Vec<String> = lines.iter().map(|&l| l.to_owned()).collect();
    parse_directives(&lines, &NoFiles).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// A guest 0.1 s off and 100 ppm fast whose oscillator wanders a little.
pub(crate) fn guest(lines: &[&str]) -> Scenario {
    let oscillator = Oscillator { frequency: 1e-4, wander: 1e-9, ..Oscillator::default() };
    let guest = Guest { clock_error: Offset::from_seconds(0.1), oscillator, ..Guest::new(config(lines)) };
    Scenario::new(vec![guest], Vec::new())
}

pub(crate) fn link_local() -> Path {
    Path::symmetric(1e-4, 2e-5)
}

pub(crate) fn truthful() -> Server {
    Server::new()
}

pub(crate) fn phc() -> Phc {
    Phc::new(1e-8)
}

pub(crate) trait Build {
    fn phc(self, phc: Phc) -> Self;
    fn at(self, seconds: f64, action: Action) -> Self;
    fn drift(self, ppm: f64, skew: f64) -> Self;
}

impl Build for Scenario {
    fn phc(mut self, phc: Phc) -> Self {
        self.guests[0].phcs.push(phc);
        self
    }
    fn at(mut self, seconds: f64, action: Action) -> Self {
        self.actions.push(Planned::new(seconds, action));
        self
    }
    fn drift(mut self, ppm: f64, skew: f64) -> Self {
        self.guests[0].drift = Some((Ppm::new(ppm), Ppm::new(skew)));
        self
    }
}

/// Runs a scenario for every seed; the seed is named when a test fails.
pub(crate) fn for_seeds(scenario: &Scenario, check: impl Fn(&mut World)) {
    for seed in 0..8 {
        let mut world = World::new(scenario, seed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&mut world)));
        if let Err(panic) = result {
            eprintln!("seed {seed}, {} s after the start: {:#?}", world.true_time().unix_seconds() - 1.8e9, report(&world));
            std::panic::resume_unwind(panic);
        }
    }
}

pub(crate) fn report(world: &World) -> Report {
    world.agent().report(world.now(), &paraclock::agent::Surroundings::default())
}

pub(crate) fn source(world: &World, name: &str) -> Source {
    report(world).sources.into_iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no source {name}"))
}

/// The clock is off by less than `limit` seconds, and no bound was ever exceeded.
pub(crate) fn assert_right(world: &World, limit: f64) {
    let error = world.clock_error();
    assert!(error.abs() < limit, "the clock is {error:e} s off, the limit is {limit:e} s");
    assert_honest(world);
}

pub(crate) fn assert_honest(world: &World) {
    let s = world.statistics();
    assert_eq!((s.clock_violations, s.line_violations), (0, 0), "a bound was exceeded");
}
