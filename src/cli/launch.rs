//! Starts the programs behind `run`, `check` and `demo`.

use std::process::ExitCode;

use super::{CheckOptions, DemoOptions, RunOptions};

/// Runs the daemon until it is told to stop.
pub(super) fn run(options: &RunOptions) -> ExitCode {
    not_built("run", options)
}

/// Reads the configuration and says what is wrong with it.
pub(super) fn check(options: &CheckOptions) -> ExitCode {
    not_built("check", options)
}

/// Shows the whole machine at work on a simulated clock.
pub(super) fn demo(options: &DemoOptions) -> ExitCode {
    not_built("demo", options)
}

fn not_built(command: &str, options: &dyn std::fmt::Debug) -> ExitCode {
    eprintln!("paraclock {command}: not built yet ({options:?})");
    ExitCode::FAILURE
}
