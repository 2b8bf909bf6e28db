//! Parses arguments, calls `cli`, maps errors to exit codes.

use std::process::ExitCode;

fn main() -> ExitCode {
    paraclock::cli::main()
}
