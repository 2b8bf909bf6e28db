//! Floor 9: what a person types and reads.
//!
//! One file per command. Commands that look at a running daemon ask it for one
//! [`Report`] over the control socket and print a pure function of it.

mod client;
mod clients;
mod demo;
mod doctor;
mod format;
mod launch;
mod platform;
mod replay;
#[cfg(test)]
mod sample;
mod selectdata;
mod serverstats;
mod simulate;
mod smoothing;
mod sources;
mod sourcestats;
mod status;
mod tracking;
mod waitsync;
mod watch;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::wire::control::Report;
use client::ClientError;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/paraclock/paraclock.sock";

/// The command line.
#[derive(Parser, Debug)]
#[command(name = "paraclock", version, about = "Time agent for KVM and cloud guests", arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What can be asked for.
#[derive(Subcommand, Debug)]
enum Command {
    /// Run the daemon
    Run(RunOptions),
    /// Read the configuration and say what is wrong with it
    Check(CheckOptions),
    /// Show the whole machine at work on a simulated clock
    Demo(DemoOptions),
    /// Run the same machine in simulated worlds where the truth is known
    Simulate(simulate::Options),
    /// Say what is wrong with time on this machine and how to mend it (exit code 0: nothing, 1: advice, 2: harm)
    Doctor(doctor::Options),
    /// Print what this machine is and what that implies for time
    Platform(platform::Options),
    /// Print the state of the clock, as `chronyc tracking` does
    Tracking(tracking::Options),
    /// Print the sources, as `chronyc sources` does
    Sources(sources::Options),
    /// Print what is known of each source's drift, as `chronyc sourcestats` does
    Sourcestats(sourcestats::Options),
    /// Print why each source is used or not, as `chronyc selectdata` does
    Selectdata(selectdata::Options),
    /// Print who asks this machine for time, as `chronyc clients` does
    Clients(clients::Options),
    /// Print what was served to others, as `chronyc serverstats` does
    Serverstats(Viewing),
    /// Print how far the served time is from ours on purpose, as `chronyc smoothing` does
    Smoothing(Viewing),
    /// Say in plain words whether the clock is right (exit code 0 if it is)
    Status(Viewing),
    /// Wait until the clock is synchronised, as `chronyc waitsync` does
    Waitsync(waitsync::Options),
    /// Watch offset, error bound and sources live
    Watch(Viewing),
}

/// Options of `run`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct RunOptions {
    /// Configuration file, in chrony's dialect
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Keep a shadow clock: never touch the system clock
    #[arg(short = 'x', long = "shadow")]
    pub shadow: bool,
    /// Become this user after the start
    #[arg(short = 'u', long, value_name = "USER")]
    pub user: Option<String>,
    /// Stay in the foreground and log to the terminal (again: log more)
    #[arg(short = 'd', long = "foreground", action = clap::ArgAction::Count)]
    pub foreground: u8,
    /// Directives to use instead of a configuration file, one per argument
    #[arg(value_name = "DIRECTIVE")]
    pub directives: Vec<String>,
}

/// Options of `check`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct CheckOptions {
    /// Configuration file, in chrony's dialect
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Directives to use instead of a configuration file, one per argument
    #[arg(value_name = "DIRECTIVE")]
    pub directives: Vec<String>,
}

/// Options of `demo`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct DemoOptions {
    /// How many seconds to show (20 unless given)
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of every command that looks at a running daemon.
#[derive(Args, Clone, Debug)]
struct Viewing {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

impl Viewing {
    fn report(&self) -> Result<Report, ClientError> {
        client::report(&self.socket)
    }

    /// Prints `text` of the report, or `json` of it if JSON was asked for.
    fn show<T: serde::Serialize>(&self, text: impl FnOnce(&Report) -> String, json: impl FnOnce(Report) -> T) -> ExitCode {
        match self.report() {
            Ok(report) if self.json => print(&to_json(&json(report))),
            Ok(report) => print(&text(&report)),
            Err(error) => complain(&error),
        }
    }
}

/// Parses the arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    match CommandLine::try_parse() {
        Ok(line) => dispatch(line.command),
        Err(error) => {
            // Help and version are "errors" of code 0.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Run(options) => launch::run(&options),
        Command::Check(options) => launch::check(&options),
        Command::Demo(options) => launch::demo(&options),
        Command::Simulate(options) => simulate::simulate(&options),
        Command::Doctor(options) => doctor::examine(&options),
        Command::Platform(options) => platform::show(&options),
        Command::Tracking(options) => {
            let verbose = options.verbose;
            options.viewing.show(|report| tracking::render(report, verbose), |report| report.tracking)
        }
        Command::Sources(options) => {
            let style = options.style();
            options.viewing.show(|report| sources::render(report, style), |report| report.sources)
        }
        Command::Sourcestats(options) => {
            let style = options.style();
            options.viewing.show(|report| sourcestats::render(report, style), |report| report.sources)
        }
        Command::Selectdata(options) => {
            let style = options.style();
            options.viewing.show(|report| selectdata::render(report, style), |report| report.sources)
        }
        Command::Clients(options) => clients::show(&options),
        Command::Serverstats(viewing) => viewing.show(serverstats::render, |report| report.server),
        Command::Smoothing(viewing) => viewing.show(smoothing::render, |report| report.smoothing),
        Command::Status(viewing) => status::show(&viewing),
        Command::Waitsync(options) => waitsync::wait(&options),
        Command::Watch(viewing) => watch::show(&viewing),
    }
}

/// One line of JSON; numbers that JSON cannot hold become `null`.
fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")) + "\n"
}

/// Writes to standard output; a reader that went away is no failure of ours.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

/// Says what went wrong on standard error.
fn complain(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("paraclock: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &str) -> Command {
        CommandLine::try_parse_from(words.split(' ')).unwrap().command
    }

    #[test]
    fn the_grammar_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn the_daemon_takes_directives_like_chronyd() {
        let line = ["paraclock", "run", "-x", "-d", "-u", "nobody", "-f", "/etc/x.conf", "server 192.0.2.1 iburst", "port 0"];
        let Command::Run(options) = CommandLine::try_parse_from(line).unwrap().command else { panic!() };
        assert_eq!(options.directives, ["server 192.0.2.1 iburst", "port 0"]);
        assert_eq!((options.shadow, options.foreground, options.user.as_deref()), (true, 1, Some("nobody")));
        assert_eq!(options.file, Some("/etc/x.conf".into()));
    }

    #[test]
    fn traces_are_replayed_instead_of_scenarios() {
        assert!(matches!(parse("paraclock simulate --replay trace.log.1 trace.log --json --plot x.svg"), Command::Simulate(_)));
        for words in ["simulate s4 --replay trace.log", "simulate --replay trace.log --seeds 3", "simulate --replay"] {
            assert!(CommandLine::try_parse_from(["paraclock"].into_iter().chain(words.split(' '))).is_err(), "{words}");
        }
    }

    #[test]
    fn viewing_commands_share_their_options() {
        let Command::Sources(options) = parse("paraclock sources -v -n --json --socket /tmp/s") else { panic!() };
        assert!(options.viewing.json && options.style().verbose && options.style().numeric);
        assert_eq!(options.viewing.socket, PathBuf::from("/tmp/s"));
        let Command::Status(viewing) = parse("paraclock status") else { panic!() };
        assert_eq!(viewing.socket, PathBuf::from(DEFAULT_SOCKET));
    }
}
