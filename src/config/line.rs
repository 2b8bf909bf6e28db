//! One directive line: its words, taken one by one, and what was found wrong with them.
//!
//! Knows nothing about directives. A parser takes words off the front and returns a
//! [`Problem`] at the first thing that stops it, or notes it and goes on.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::{Diagnostic, Origin, Severity};
use crate::units::duration;

/// A word and the column it begins in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) column: usize,
}

impl Word<'_> {
    /// Keywords are compared without case.
    pub(super) fn keyword(self) -> String {
        self.text.to_ascii_lowercase()
    }

    /// A problem with this word.
    pub(super) fn problem(self, message: impl Into<String>) -> Problem {
        Problem { column: self.column, message: message.into() }
    }
}

/// What is wrong, and in which column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    pub(super) column: usize,
    pub(super) message: String,
}

/// The result of parsing a part of a line.
pub(super) type Parsed<T> = Result<T, Problem>;

/// A line split into words, with the problems noted so far.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    file: Arc<str>,
    number: usize,
    text: &'a str,
    words: Vec<Word<'a>>,
    taken: usize,
    problems: Vec<Problem>,
    unserved: Vec<String>,
}

impl<'a> Line<'a> {
    /// `None` for blank lines and comments.
    pub(super) fn split(file: &Arc<str>, number: usize, text: &'a str) -> Option<Self> {
        let words = words(text);
        let first = words.first()?;
        if first.text.starts_with(['#', '%', ';', '!']) {
            return None;
        }
        Some(Self { file: Arc::clone(file), number, text: text.trim(), words, taken: 0, problems: Vec::new(), unserved: Vec::new() })
    }

    /// The next word, if there is one.
    pub(super) fn next(&mut self) -> Option<Word<'a>> {
        let word = self.peek()?;
        self.taken += 1;
        Some(word)
    }

    /// The next word, left in its place.
    pub(super) fn peek(&self) -> Option<Word<'a>> {
        self.words.get(self.taken).copied()
    }

    /// The directive itself, for messages.
    pub(super) fn directive(&self) -> &'a str {
        self.words.first().map_or("", |word| word.text)
    }

    /// The next word, or a problem that says `name` needs `what`.
    pub(super) fn required(&mut self, name: &str, what: &str) -> Parsed<Word<'a>> {
        let column = self.end_column();
        self.next().ok_or_else(|| Problem { column, message: format!("`{name}` needs {what} after it") })
    }

    /// A whole number.
    pub(super) fn integer<T>(&mut self, name: &str, range: RangeInclusive<T>) -> Parsed<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        let word = self.required(name, &what)?;
        let value = word.text.parse::<T>().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| word.problem(format!("`{name}` needs {what}, not {}", quoted(word.text))))
    }

    /// A finite number of `unit`.
    pub(super) fn number(&mut self, name: &str, unit: &str, range: RangeInclusive<f64>) -> Parsed<f64> {
        let limits = match (range.start().is_finite(), range.end().is_finite()) {
            (true, true) => format!(" from {} to {}", range.start(), range.end()),
            (true, false) => format!(" not below {}", range.start()),
            _ => String::new(),
        };
        let what = format!("a number of {unit}{limits}");
        let word = self.required(name, &what)?;
        let value = word.text.parse::<f64>().ok().filter(|value| value.is_finite() && range.contains(value));
        value.ok_or_else(|| word.problem(format!("`{name}` needs {what}, not {}", quoted(word.text))))
    }

    /// A time in seconds, not negative.
    pub(super) fn seconds(&mut self, name: &str) -> Parsed<Duration> {
        self.number(name, "seconds", 0.0..=f64::INFINITY).map(duration)
    }

    /// A path.
    pub(super) fn path(&mut self, name: &str, what: &str) -> Parsed<PathBuf> {
        self.required(name, what).map(|word| PathBuf::from(word.text))
    }

    /// An IPv4 or IPv6 address.
    pub(super) fn address(&mut self, name: &str) -> Parsed<IpAddr> {
        let what = "an IPv4 or IPv6 address of this machine";
        let word = self.required(name, what)?;
        word.text.parse().map_err(|_| word.problem(format!("`{name}` needs {what}, not {}", quoted(word.text))))
    }

    /// One of a few words; the value that goes with it.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Parsed<T> {
        let names: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        let what = format!("one of {}", names.join(", "));
        let word = self.required(name, &what)?;
        let keyword = word.keyword();
        let chosen = choices.iter().find(|(choice, _)| *choice == keyword).map(|(_, value)| *value);
        chosen.ok_or_else(|| word.problem(format!("`{name}` needs {what}, not {}", quoted(word.text))))
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self) -> Parsed<()> {
        match self.next() {
            None => Ok(()),
            Some(word) if word.text.starts_with(['#', '%', ';', '!']) => {
                Err(word.problem("a comment needs a line of its own: move it to the line above"))
            }
            Some(word) => Err(word.problem(format!("remove {}: `{}` takes nothing more", quoted(word.text), self.directive()))),
        }
    }

    /// Takes all words that are left.
    pub(super) fn skip_rest(&mut self) {
        self.taken = self.words.len();
    }

    /// Notes a problem and lets parsing go on.
    pub(super) fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Notes something that is accepted but not served yet.
    pub(super) fn note_unserved(&mut self, what: impl Into<String>) {
        self.unserved.push(what.into());
    }

    /// The problems noted so far.
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The one warning of this line, if anything in it is not served.
    pub(super) fn warning(&self) -> Option<Diagnostic> {
        let message = match self.unserved.as_slice() {
            [] => return None,
            [one] => format!("{one}: accepted but not served yet"),
            many => format!("{}: accepted but not served yet", many.join(", ")),
        };
        Some(Diagnostic { origin: self.origin(), severity: Severity::Warning, message })
    }

    /// The place of the directive.
    pub(super) fn origin(&self) -> Origin {
        self.origin_at(self.words.first().map_or(1, |word| word.column))
    }

    /// The place of a column of this line.
    pub(super) fn origin_at(&self, column: usize) -> Origin {
        Origin { file: Arc::clone(&self.file), line: self.number, column }
    }

    /// The line as written, blanks trimmed.
    pub(super) const fn text(&self) -> &'a str {
        self.text
    }

    /// The column just behind the last word.
    fn end_column(&self) -> usize {
        self.words.last().map_or(1, |word| word.column + word.text.chars().count())
    }
}

/// A word of the configuration as it is shown in messages: without control characters, not too long.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    let dots = if text.chars().count() > 60 { "..." } else { "" };
    format!("`{shown}{dots}`")
}

/// Splits at blanks.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut start = None;
    let ends = text.char_indices().map(|(at, c)| (at, c.is_whitespace())).chain([(text.len(), true)]);
    for (column, (at, blank)) in ends.enumerate() {
        match (start, blank) {
            (None, false) => start = Some((at, column + 1)),
            (Some((from, column)), true) => {
                found.push(Word { text: &text[from..at], column });
                start = None;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_their_columns() {
        let split: Vec<(&str, usize)> = words("  sérver\ta  b\r").iter().map(|word| (word.text, word.column)).collect();
        assert_eq!(split, [("sérver", 3), ("a", 10), ("b", 13)]);
        assert!(words(" \t ").is_empty());
    }

    #[test]
    fn comments_and_blank_lines_are_nothing() {
        let file = Arc::from("f");
        for text in ["", "   ", "# x", "  % x", "; x", "!x"] {
            assert!(Line::split(&file, 1, text).is_none(), "{text}");
        }
    }

    #[test]
    fn messages_show_words_safely() {
        assert_eq!(quoted("a\u{1b}[1mb"), "`a\\u{1b}[1mb`");
        assert_eq!(quoted(&"x".repeat(61)).len(), 60 + 3 + 2);
    }
}
