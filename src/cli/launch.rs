//! Starts the programs behind `run`, `check` and `demo`.

use std::path::Path;
use std::process::ExitCode;

use tracing::level_filters::LevelFilter;

use super::demo::Screen;
use super::{CheckOptions, DemoOptions, RunOptions};
use crate::config::explain;
use crate::platform;
use crate::run::setup::{self, Chosen};
use crate::run::{daemon, demo};
use crate::units;

/// Exit code of a daemon that refuses to start beside another.
const REFUSED: u8 = 3;

/// Runs the daemon until it is told to stop.
pub(super) fn run(options: &RunOptions) -> ExitCode {
    log_to_stderr(if options.foreground > 1 { LevelFilter::DEBUG } else { LevelFilter::INFO });
    let outcome = daemon::run(&daemon::Options {
        file: options.file.clone(),
        shadow: options.shadow,
        user: options.user.clone(),
        directives: options.directives.clone(),
    });
    match outcome {
        // A service that would be refused again must not be started again at once.
        Err(error @ daemon::Failure::Conflict(_)) => {
            complain(&error);
            ExitCode::from(REFUSED)
        }
        outcome => conclude(outcome),
    }
}

/// Reads the configuration and says what it means, or what is wrong with it.
pub(super) fn check(options: &CheckOptions) -> ExitCode {
    let machine = platform::detect(Path::new("/"));
    match setup::choose(options.file.as_deref(), &options.directives, &machine) {
        Ok(chosen) => super::print(&describe(&chosen)),
        Err(errors) => {
            for error in &errors {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn describe(chosen: &Chosen) -> String {
    let mut text = String::new();
    for line in explain(&chosen.config) {
        text += &line;
        text.push('\n');
    }
    for warning in &chosen.config.warnings {
        text += &format!("{warning}\n");
    }
    let sources = chosen.config.servers.len() + chosen.config.refclocks.len();
    let warnings = chosen.config.warnings.len();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    text + &format!("{}: good, {}, {}\n", chosen.origin, plural(sources, "source line"), plural(warnings, "warning"))
}

/// Shows the whole machine at work without touching this machine's clock.
pub(super) fn demo(options: &DemoOptions) -> ExitCode {
    log_to_stderr(LevelFilter::OFF);
    let seconds = options.seconds.unwrap_or(demo::DEFAULT_SECONDS);
    match demo::run(&demo::Options { seconds: units::duration(units::count(seconds)) }, &mut Screen::new(options.json)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => complain(&error),
    }
}

fn conclude<E: std::fmt::Display>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn complain(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// Plain lines on standard error; without a time of their own where the journal adds one.
fn log_to_stderr(level: LevelFilter) {
    let builder = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(std::io::stderr);
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let started = if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().with_ansi(false).try_init()
    } else {
        builder.with_ansi(terminal).try_init()
    };
    // A second start in one process (tests) keeps the first's log.
    drop(started);
}
