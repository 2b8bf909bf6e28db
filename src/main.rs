//! Parses arguments, calls `cli`, maps errors to exit codes.

fn main() -> std::process::ExitCode {
    paraclock::cli::main()
}
