//! What the demonstration shows: a live line in a terminal, plain lines when piped, JSON if asked.

use std::io::{IsTerminal, Write};

use serde_json::json;

use super::sources;
use crate::run::demo::{Audience, Moment, Verdict};
use crate::wire::control::Report;

/// Width of the plot, in characters to either side of the truth.
const HALF: i32 = 24;

/// The screen, or whatever standard output is.
pub(super) struct Screen {
    live: bool,
    json: bool,
    next: f64,
}

impl Screen {
    /// JSON if asked for; live lines only in a terminal.
    pub(super) fn new(json: bool) -> Self {
        Self { live: std::io::stdout().is_terminal() && !json, json, next: 0.0 }
    }

    fn conclude(verdict: &Verdict, report: &Report) {
        say("");
        say(&sources::render(report, sources::Style::default()));
        if let Some(moment) = verdict.last {
            say(&format!("true error     {}", amount(moment.error)));
            say(&format!("error bound    {}", moment.bound.map_or_else(|| "unknown".to_owned(), size)));
        }
        match verdict.reached {
            Some(at) => say(&format!("truth reached  {at:.1} s after the start (within 100 us, and it stayed there)")),
            None => say("truth reached  no"),
        }
        say(&format!("bound held     at {} of {} looks", verdict.looks - verdict.violations, verdict.looks));
        for source in rejected(report) {
            say(&format!("rejected       {}: {}; it is {} off", source.name, source.reason, amount(-source.offset)));
        }
        say(if verdict.good() { "\nThe clock is right, and it says truly how wrong it can be." } else { "\nThe clock is NOT right." });
    }
}

impl Audience for Screen {
    fn begin(&mut self, metrics: Option<&str>) {
        if self.json {
            return;
        }
        say("Two truthful NTP servers, one that is 200 ms off, a paravirtual clock, and a clock that");
        say("starts 250 ms off and 40 ppm fast. Nothing touches this computer's own clock.");
        say(&format!("Metrics: {}\n", metrics.unwrap_or("no port is free")));
        let heading = "-1 s ............ 0 ............ +1 s (logarithmic)";
        say(&format!("{:>6}  {:>13}  {:>12}  {:<15} {heading}", "time", "true error", "bound", "status"));
    }

    /// Often at first, then once a second.
    fn look(&mut self, moment: &Moment, report: &dyn Fn() -> Report) {
        if moment.elapsed < self.next {
            if self.live {
                print!("\r{}\x1b[K", line(moment));
                let _ = std::io::stdout().flush();
            }
            return;
        }
        self.next = moment.elapsed + if moment.elapsed < 2.0 { 0.2 } else { 1.0 };
        if self.json {
            let tracking = report().tracking;
            say(&json!({
                "elapsed": moment.elapsed, "true_error": moment.error, "bound": moment.bound,
                "status": moment.status.as_str(), "tracking": tracking,
            })
            .to_string());
        } else if self.live {
            println!("\r{}\x1b[K", line(moment));
        } else {
            say(&line(moment));
        }
    }

    fn end(&mut self, verdict: &Verdict, report: &Report) {
        if !self.json {
            Self::conclude(verdict, report);
            return;
        }
        let rejected: Vec<_> = rejected(report).map(|s| json!({"name": s.name, "reason": s.reason, "offset": s.offset})).collect();
        say(&json!({
            "good": verdict.good(),
            "true_error": verdict.last.map(|m| m.error),
            "bound": verdict.last.and_then(|m| m.bound),
            "reached_seconds": verdict.reached,
            "looks": verdict.looks,
            "bound_violations": verdict.violations,
            "rejected": rejected,
            "report": report,
        })
        .to_string());
    }
}

fn rejected(report: &Report) -> impl Iterator<Item = &crate::wire::control::Source> {
    report.sources.iter().filter(|s| s.state == "falseticker")
}

fn line(moment: &Moment) -> String {
    let bound = moment.bound.map_or_else(|| "unknown".to_owned(), size);
    format!("{:>5.1}s  {:>13}  {:>12}  {:<15} {}", moment.elapsed, amount(moment.error), bound, moment.status.as_str(), plot(moment))
}

/// Truth in the middle, the clock as `*`, the bound as brackets; a decade is an eighth of the width.
fn plot(moment: &Moment) -> String {
    let column = |seconds: f64| {
        let decades = (seconds.abs().max(1e-9) / 1e-9).log10().min(9.0);
        let cells = decades / 9.0 * f64::from(HALF);
        let whole = (0..=HALF).rev().find(|&c| f64::from(c) <= cells).unwrap_or(0);
        HALF + if seconds < 0.0 { -whole } else { whole }
    };
    let clock = column(moment.error);
    let (left, right) = moment.bound.map_or((-1, -1), |b| (column(-b), column(b)));
    (0..=2 * HALF)
        .map(|c| match c {
            c if c == clock => '*',
            c if c == left => '[',
            c if c == right => ']',
            c if c == HALF => '|',
            _ => ' ',
        })
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// An amount that has no sign.
fn size(seconds: f64) -> String {
    amount(seconds).trim_start_matches('+').to_owned()
}

/// Seconds in a unit that people read.
fn amount(seconds: f64) -> String {
    let size = seconds.abs();
    if size >= 1.0 {
        format!("{seconds:+.3} s")
    } else if size >= 1e-3 {
        format!("{:+.3} ms", seconds * 1e3)
    } else if size >= 1e-6 {
        format!("{:+.3} us", seconds * 1e6)
    } else {
        format!("{:+.0} ns", seconds * 1e9)
    }
}

fn say(text: &str) {
    // A reader that went away is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{text}");
}
