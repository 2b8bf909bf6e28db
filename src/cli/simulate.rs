//! `paraclock simulate`: the same machine that the daemon runs, in worlds where the truth is known.

mod adapt;
mod chaos;
mod picture;
mod progress;
mod runs;
mod table;

use std::io::IsTerminal;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{complain, print};
use crate::sim::{self, Experiment};
use progress::Progress;
use runs::Batch;

/// Options of `simulate`.
#[derive(Args, Clone, PartialEq, Debug)]
pub(super) struct Options {
    /// Scenarios: names from --list, or files; or `chaos`: a random world for each seed
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Run every scenario that chronyd's figures are known for, S1 to S10
    #[arg(long)]
    all: bool,
    /// How many seeds; the table shows medians over them
    #[arg(long, value_name = "N", default_value = "9")]
    seeds: NonZeroU64,
    /// The first of them
    #[arg(long, value_name = "K", default_value_t = 1)]
    first_seed: u64,
    /// One seed alone
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "first_seed"])]
    seed: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draw one scenario's first seed as a picture (SVG)
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// The picture begins at this second
    #[arg(long, value_name = "SECOND", requires = "plot")]
    plot_from: Option<f64>,
    /// The picture ends at this second
    #[arg(long, value_name = "SECOND", requires = "plot")]
    plot_until: Option<f64>,
    /// Run your own configuration: its servers stand for the scenario's, in order
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replay a trace that the daemon recorded (`log trace`): its files, the oldest first, or - for standard input
    #[arg(
        long,
        value_name = "TRACE",
        num_args = 1..,
        conflicts_with_all = ["scenarios", "all", "list", "show", "seeds", "first_seed", "seed", "config", "plot_from", "plot_until"]
    )]
    replay: Vec<PathBuf>,
    /// How many threads (as many as there are processors)
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Name the scenarios that come along
    #[arg(long, conflicts_with_all = ["scenarios", "all", "plot", "config"])]
    list: bool,
    /// Print the file of a scenario that comes along, to make another of it
    #[arg(long, value_name = "SCENARIO", conflicts_with_all = ["scenarios", "all", "list", "plot", "config"])]
    show: Option<String>,
}

impl Options {
    fn seeds(&self) -> Vec<u64> {
        match self.seed {
            Some(seed) => vec![seed],
            None => (0..self.seeds.get()).map(|i| self.first_seed.wrapping_add(i)).collect(),
        }
    }
}

/// Does what the options say. Fails when something is wrong with them, and when the truth left a bound.
pub(super) fn simulate(options: &Options) -> ExitCode {
    if options.list {
        return print(&table::list());
    }
    if let Some(name) = &options.show {
        return match sim::text_of(name) {
            Some(text) => print(text),
            None => complain(&unknown(name)),
        };
    }
    if !options.replay.is_empty() {
        return super::replay::run(&options.replay, options.json, options.plot.as_deref());
    }
    if options.scenarios == [chaos::NAME] {
        return chaos::run(&options.seeds(), options.json);
    }
    let experiments = match chosen(options) {
        Ok(experiments) => experiments,
        Err(errors) => {
            for error in errors {
                eprintln!("{error}");
            }
            return ExitCode::FAILURE;
        }
    };
    let seeds = options.seeds();
    if let Some(path) = &options.plot {
        if let Err(error) = draw(options, path, &experiments, seeds[0]) {
            return complain(&error);
        }
    }
    let jobs = options.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let batch = Batch::new(experiments, seeds);
    let progress = Progress::new(std::io::stderr().is_terminal(), batch.seconds());
    let results = batch.run(jobs, progress);
    for (name, seed, guest, violation) in results.violations() {
        eprintln!("{}", table::violation(name, seed, guest, violation));
    }
    if !options.json {
        eprintln!("{}", table::pace(&results));
    }
    let told = print(&if options.json { super::to_json(&results.json()) } else { table::render(&results) });
    if results.violations().next().is_some() { ExitCode::FAILURE } else { told }
}

/// The experiments that are asked for, with the user's configuration in them.
fn chosen(options: &Options) -> Result<Vec<Experiment>, Vec<String>> {
    let mut experiments = Vec::new();
    let mut errors = Vec::new();
    if options.all {
        experiments.extend(sim::names().filter_map(sim::built_in).filter(|e| e.chronyd.is_some()));
    }
    for name in &options.scenarios {
        match load(name) {
            Ok(experiment) => experiments.push(experiment),
            Err(found) => errors.extend(found),
        }
    }
    if experiments.is_empty() && errors.is_empty() {
        errors.push("paraclock: say which scenario: a name (paraclock simulate --list shows them), a file, or --all".to_owned());
    }
    if let Some(path) = &options.config {
        match adapt::read(path) {
            Ok(config) => {
                for experiment in &mut experiments {
                    for note in adapt::adapt(&config, experiment) {
                        eprintln!("{}: {note}", experiment.name);
                    }
                }
            }
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(experiments) } else { Err(errors) }
}

/// A scenario that comes along, or a file.
fn load(name: &str) -> Result<Experiment, Vec<String>> {
    if let Some(experiment) = sim::built_in(name) {
        return Ok(experiment);
    }
    let path = std::path::Path::new(name);
    if path.extension().is_none() && !path.exists() {
        return Err(vec![format!("paraclock: {}", unknown(name))]);
    }
    let text = std::fs::read_to_string(path).map_err(|error| vec![format!("paraclock: {name} cannot be read: {error}")])?;
    let stem = path.file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
    Experiment::parse(&stem, name, &text).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn unknown(name: &str) -> String {
    format!("there is no scenario {name}: paraclock simulate --list names those that come along; a file's name ends in .toml")
}

/// Runs one seed once more, looking at it all the time.
fn draw(options: &Options, path: &std::path::Path, experiments: &[Experiment], seed: u64) -> Result<(), String> {
    let [experiment] = experiments else {
        return Err(format!("--plot draws one scenario, and {} are given: name one", experiments.len()));
    };
    let from = options.plot_from.unwrap_or(0.0);
    let until = options.plot_until.unwrap_or(experiment.duration).min(experiment.duration);
    // Also when one of them is no number.
    if !(from >= 0.0 && until - from >= 1.0) {
        return Err(format!("from second {from} until {until} there is nothing to draw: the run takes {} s", experiment.duration));
    }
    let svg = picture::draw(experiment, seed, from, until);
    std::fs::write(path, svg).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests;
