//! Parses arguments, calls `cli`, maps errors to exit codes.

fn main() {}
