//! Where a word of the configuration stands, and what is wrong with it.

use std::fmt;
use std::sync::Arc;

/// A place in the configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Origin {
    /// The file's path as it was opened, or `command line`.
    pub file: Arc<str>,
    /// Counted from 1; on the command line, the number of the argument. 0 means the whole file.
    pub line: usize,
    /// In characters, counted from 1; 0 means the whole line.
    pub column: usize,
}

impl fmt::Display for Origin {
    /// `file:line:column`, without the parts that are 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The line is accepted, but does not do all that it says.
    Warning,
    /// An explanation that goes with errors.
    Note,
}

impl Severity {
    /// Lower-case word for printing.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One finding: what is wrong, where, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Where.
    pub origin: Origin,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: severity: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.severity.as_str(), self.message)
    }
}

impl std::error::Error for Diagnostic {}
