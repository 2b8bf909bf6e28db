//! Floor 2: the chrony.conf dialect. Text in, one typed [`Config`] out, or every
//! error of it with file, line and column.
//!
//! No file is opened here: [`load`] reads through the [`Files`] that it is given.

mod diagnostic;
mod types;

pub use diagnostic::{Diagnostic, Origin, Severity};
pub use types::{
    AccessRule, AccessSubject, BindAddresses, ChronyControl, Config, Driftfile, ExplainedLine, ForeignStep, LeapSecondMode, Local, LogKind,
    Makestep, Metrics, PhcDevice, RefclockDirective, RefclockKind, SelectOptions, ServerDirective, ServerKind,
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
pub fn load(_path: &Path, _files: &dyn Files) -> Result<Config, Vec<Diagnostic>> {
    Ok(Config::default())
}

/// Reads directives given on the command line, one an argument; no file is read but by `include` and its kin.
pub fn parse_directives(_directives: &[String], _files: &dyn Files) -> Result<Config, Vec<Diagnostic>> {
    Ok(Config::default())
}

/// What every line of a configuration means: `file:line: meaning`.
#[must_use]
pub fn explain(config: &Config) -> Vec<String> {
    config.lines.iter().map(|line| format!("{}:{}: {}", line.origin.file, line.origin.line, line.meaning)).collect()
}
