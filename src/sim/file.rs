//! Scenario files: TOML text to an [`Experiment`], or what is wrong with it, where, and how to mend it.

use std::net::IpAddr;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::action::Planned;
use super::experiment::{Chronyd, Experiment};
use super::network::Path;
use super::oscillator::Oscillator;
use super::phc::Phc;
use super::scenario::{Fault, Guest, LeapSecond, Part, Scenario, Steal};
use super::server::{Kiss, Server};
use super::values;
use crate::config::{self, Config, Diagnostic, Files, Origin, Severity};
use crate::units::{Leap, Offset, Ppm, ReferenceId, Stratum, Timestamp};

/// More than this is no scenario.
const MOST_BYTES: usize = 1 << 20;

/// What a file says.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Words {
    #[serde(default)]
    about: String,
    #[serde(deserialize_with = "values::positive")]
    duration: f64,
    reset: Option<Spanned<f64>>,
    reach_from: Option<Spanned<f64>>,
    #[serde(default = "usual_epoch", deserialize_with = "values::epoch")]
    epoch: Timestamp,
    leap: Option<Spanned<LeapSecond>>,
    #[serde(default)]
    guest: Vec<Spanned<GuestWords>>,
    #[serde(default)]
    server: Vec<Spanned<ServerWords>>,
    #[serde(default)]
    action: Vec<Spanned<Planned>>,
    chronyd: Option<Chronyd>,
}

const fn usual_epoch() -> Timestamp {
    Scenario::USUAL_EPOCH
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct GuestWords {
    config: Spanned<String>,
    #[serde(default, deserialize_with = "values::offset")]
    clock_error: Offset,
    #[serde(default)]
    oscillator: Oscillator,
    drift: Option<DriftWords>,
    /// Instead of those that stand at the servers.
    paths: Option<Vec<Path>>,
    lan: Option<Path>,
    #[serde(default)]
    phc: Vec<Phc>,
    #[serde(default)]
    steal: Steal,
    #[serde(default)]
    name: Vec<NameWords>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct DriftWords {
    #[serde(deserialize_with = "values::ppm")]
    frequency: Ppm,
    #[serde(deserialize_with = "values::ppm")]
    skew: Ppm,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct NameWords {
    host: String,
    addresses: Vec<IpAddr>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ServerWords {
    /// From every guest that does not say its own.
    #[serde(default)]
    path: Path,
    #[serde(default, deserialize_with = "values::offset")]
    error: Offset,
    #[serde(default, deserialize_with = "values::ratio")]
    drift: f64,
    #[serde(default = "first_stratum", deserialize_with = "values::stratum")]
    stratum: Stratum,
    #[serde(default, deserialize_with = "values::duration")]
    root_delay: Duration,
    #[serde(default = "usual_dispersion", deserialize_with = "values::duration")]
    root_dispersion: Duration,
    #[serde(default)]
    leap: Leap,
    #[serde(default)]
    smear: bool,
    #[serde(default = "yes")]
    alive: bool,
    kiss: Option<Kiss>,
    #[serde(default = "usual_id", deserialize_with = "values::reference_id")]
    reference_id: ReferenceId,
}

const fn yes() -> bool {
    true
}

const fn first_stratum() -> Stratum {
    Server::new().stratum
}

const fn usual_dispersion() -> Duration {
    Server::new().root_dispersion
}

const fn usual_id() -> ReferenceId {
    Server::new().reference_id
}

impl From<&ServerWords> for Server {
    fn from(words: &ServerWords) -> Self {
        Self {
            error: words.error,
            drift: words.drift,
            stratum: words.stratum,
            root_delay: words.root_delay,
            root_dispersion: words.root_dispersion,
            leap: words.leap,
            smear: words.smear,
            alive: words.alive,
            kiss: words.kiss,
            reference_id: words.reference_id,
        }
    }
}

/// A file's text with its name, to say where things stand.
struct Text<'a> {
    name: &'a str,
    text: &'a str,
}

impl Text<'_> {
    fn line_of(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|&&b| b == b'\n').count() + 1
    }

    fn error(&self, at: usize, message: impl Into<String>) -> Diagnostic {
        let begin = self.text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
        let column = self.text.get(begin..at).map_or(0, |t| t.chars().count() + 1);
        let origin = Origin { file: Arc::from(self.name), line: self.line_of(at), column };
        Diagnostic { origin, severity: Severity::Error, message: message.into() }
    }
}

/// A configuration that stands in a scenario: its lines are those of the scenario's file.
struct Inset<'a>(&'a str);

impl Files for Inset<'_> {
    fn read(&self, path: &FilePath) -> Result<String, String> {
        if path == FilePath::new("") { Ok(self.0.to_owned()) } else { Err("a scenario's configuration includes no files".to_owned()) }
    }

    fn list(&self, _: &FilePath, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

impl Experiment {
    /// Reads a scenario file: `file` is what errors call it, `name` what the experiment is called.
    ///
    /// # Errors
    /// What is wrong, with file, line and column, and how to mend it.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let place = Text { name: file, text };
        if text.len() > MOST_BYTES {
            return Err(vec![place.error(0, "this is larger than any scenario: is it the right file?")]);
        }
        let words: Words = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            vec![place.error(at, error.message().trim().replace('\n', " "))]
        })?;
        let mut guests = Vec::new();
        let mut faults = Vec::new();
        for guest in &words.guest {
            match read_config(&place, &guest.get_ref().config) {
                Ok(config) => guests.push(make_guest(guest.get_ref(), config, &words.server)),
                Err(wrong) => faults.extend(wrong),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let experiment = Self {
            name: name.to_owned(),
            about: words.about.clone(),
            duration: words.duration,
            reset: words.reset.as_ref().map_or(0.0, |r| *r.get_ref()),
            reach_from: words.reach_from.as_ref().map_or(0.0, |r| *r.get_ref()),
            scenario: Scenario {
                epoch: words.epoch,
                leap: words.leap.as_ref().map(|leap| *leap.get_ref()),
                guests,
                servers: words.server.iter().map(|s| s.get_ref().into()).collect(),
                actions: words.action.iter().map(|a| a.get_ref().clone()).collect(),
            },
            chronyd: words.chronyd,
        };
        for (what, value) in [("reset", &words.reset), ("reach-from", &words.reach_from)] {
            if let Some(value) = value {
                if !(0.0..words.duration).contains(value.get_ref()) {
                    let message =
                        format!("{what} lies outside of the run: write seconds from 0 to below the duration of {}", words.duration);
                    faults.push(place.error(value.span().start, message));
                }
            }
        }
        for fault in experiment.scenario.check() {
            let at = match fault.part {
                Part::Whole => 0,
                Part::Leap => words.leap.as_ref().map_or(0, |leap| leap.span().start),
                Part::Guest(i) => words.guest[i].span().start,
                Part::Server(i) => words.server[i].span().start,
                Part::Action(i) => words.action[i].span().start,
            };
            faults.push(place.error(at, fault.to_string()));
        }
        if faults.is_empty() { Ok(experiment) } else { Err(faults) }
    }
}

fn read_config(place: &Text<'_>, config: &Spanned<String>) -> Result<Config, Vec<Diagnostic>> {
    // A long string's text begins after its three quotes and the line end behind them.
    let start = config.span().start;
    let quoted = place.text.get(start..).unwrap_or_default();
    let first = place.line_of(start) + usize::from(quoted.starts_with("\"\"\"\n") || quoted.starts_with("'''\n"));
    config::load(FilePath::new(""), &Inset(config.get_ref())).map_err(|mut wrong| {
        for diagnostic in &mut wrong {
            diagnostic.origin.file = Arc::from(place.name);
            diagnostic.origin.line += first - 1;
            diagnostic.origin.column = 0;
        }
        wrong
    })
}

fn make_guest(words: &GuestWords, config: Config, servers: &[Spanned<ServerWords>]) -> Guest {
    let usual = Guest::new(config);
    Guest {
        clock_error: words.clock_error,
        oscillator: words.oscillator.clone(),
        drift: words.drift.as_ref().map(|d| (d.frequency, d.skew)),
        paths: words.paths.clone().unwrap_or_else(|| servers.iter().map(|s| s.get_ref().path).collect()),
        lan: words.lan.unwrap_or(usual.lan),
        phcs: words.phc.clone(),
        steal: words.steal,
        names: words.name.iter().map(|n| (n.host.clone(), n.addresses.clone())).collect(),
        ..usual
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.mend)
    }
}

#[cfg(test)]
mod tests;
