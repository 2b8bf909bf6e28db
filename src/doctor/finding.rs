//! One thing that is wrong.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Time is kept, but could be kept better or more safely.
    Advice,
    /// Time is wrong, or nothing prevents it from becoming wrong.
    Harm,
}

impl Severity {
    /// Lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Advice => "advice",
            Self::Harm => "harm",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// A word for programs, the same in every version.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// What to type to mend it, a command a line; a line that begins with `#` is to be read.
    pub mend: Vec<String>,
}

impl Finding {
    pub(super) fn harm(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Severity::Harm, what.into())
    }

    pub(super) fn advice(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Severity::Advice, what.into())
    }

    fn new(check: &'static str, severity: Severity, what: String) -> Self {
        Self { check, severity, what, why: String::new(), mend: Vec::new() }
    }

    pub(super) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend.push(command.into());
        self
    }

    pub(super) fn mend_all<T: Into<String>>(mut self, commands: impl IntoIterator<Item = T>) -> Self {
        self.mend.extend(commands.into_iter().map(Into::into));
        self
    }
}
