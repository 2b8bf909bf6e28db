//! Floor 2: the chrony.conf dialect. Text in, one typed [`Config`] out, or every
//! error of it with file, line and column.
//!
//! No file is opened here: [`load`] reads through the [`Files`] that it is given.

mod access;
mod authentication;
mod diagnostic;
mod directives;
mod discipline;
mod glob;
mod hardware;
mod hook;
mod line;
mod network;
mod process;
mod reader;
mod refclock;
mod say;
mod server;
mod serving;
mod suggest;
mod types;
mod unserved;

pub use authentication::{KeyType, Secret, SymmetricKey, parse_keys};
pub use diagnostic::{Diagnostic, Origin, Severity};
pub use hardware::{HwTimestamp, MAX_SAMPLES, RxFilter};
pub use hook::{Hook, HookEvent};
pub use serving::blame;
pub use types::{
    AccessRule, AccessSubject, AuthSelectMode, BindAddress, BindAddresses, ChronyControl, Config, Conflict, Driftfile, ExplainedLine,
    ForeignStep, LeapSecondMode, Local, LogKind, Makestep, Metrics, PhcDevice, RateLimit, RefclockDirective, RefclockKind, SelectOptions,
    ServerDirective, ServerKind, Smoothtime,
};

use std::path::{Path, PathBuf};

/// How the configuration reads files: the real ones in `run`, a map in tests.
pub trait Files {
    /// The text of a file, or why it cannot be read.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// The regular files directly in `dir` whose names end with `suffix`, in any order;
    /// empty if there is no such directory.
    fn list(&self, dir: &Path, suffix: &str) -> Result<Vec<PathBuf>, String>;
}

/// Reads a configuration file and all that it includes.
///
/// # Errors
/// Everything that is wrong in any of the files, in the order it was read.
pub fn load(path: &Path, files: &dyn Files) -> Result<Config, Vec<Diagnostic>> {
    let mut reader = reader::Reader::new(files);
    reader.main_file(path);
    reader.finish()
}

/// Reads directives given on the command line, one an argument; no file is read but by `include` and its kin.
///
/// # Errors
/// Everything that is wrong with them.
pub fn parse_directives(directives: &[String], files: &dyn Files) -> Result<Config, Vec<Diagnostic>> {
    let mut reader = reader::Reader::new(files);
    reader.arguments(directives);
    reader.finish()
}

/// Reads the `*.sources` files of one entry of [`Config::source_dirs`] again: a configuration
/// that holds their servers and warnings alone.
///
/// # Errors
/// Everything that is wrong in any of the files.
pub fn load_sources(dirs: &[PathBuf], files: &dyn Files) -> Result<Config, Vec<Diagnostic>> {
    let mut reader = reader::Reader::new(files);
    reader.source_dirs(dirs);
    reader.finish()
}

/// What every line of a configuration means: `file:line: meaning`.
#[must_use]
pub fn explain(config: &Config) -> Vec<String> {
    config.lines.iter().map(|line| format!("{}:{}: {}", line.origin.file, line.origin.line, line.meaning)).collect()
}

#[cfg(test)]
mod tests;
