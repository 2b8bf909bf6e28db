//! `paraclock waitsync`: polls until the clock is synchronised within the limits given.
//!
//! Arguments, lines and exit codes are chronyc's; `--timeout` limits the whole wait. With `--after-disruption` it waits for a
//! disruption to be over.

use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;

use super::{Viewing, client, complain, print, to_json};
use crate::units::duration;
use crate::wire::control::Report;

/// Options of `waitsync`.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    /// Give up after so many tries (0: never)
    #[arg(value_name = "MAX-TRIES", default_value_t = 0)]
    tries: u64,
    /// Also wait until the remaining correction is at most so many seconds (0: any)
    #[arg(value_name = "MAX-CORRECTION", default_value_t = 0.0, value_parser = limit)]
    correction: f64,
    /// Also wait until the skew is at most so many ppm (0: any)
    #[arg(value_name = "MAX-SKEW", default_value_t = 0.0, value_parser = limit)]
    skew: f64,
    /// Seconds between tries (10 unless given; with --after-disruption 0.1)
    #[arg(value_name = "INTERVAL", value_parser = limit)]
    interval: Option<f64>,
    /// Wait until a disruption (restore, migration, suspend) has been seen and time is right again
    #[arg(long)]
    after_disruption: bool,
    /// With --after-disruption: one that was over up to so many seconds before counts too
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = limit, requires = "after_disruption")]
    within: f64,
    /// Give up after so many seconds, whatever the number of tries
    #[arg(long, value_name = "SECONDS", value_parser = limit)]
    timeout: Option<f64>,
    #[command(flatten)]
    viewing: Viewing,
}

/// The shortest pause between two tries: `INTERVAL` 0 must not spin.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// A number that is finite and not negative.
fn limit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        Ok(_) => Err("must be a number from 0 up".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Polls, printing a line per try; success once the clock is synchronised within limits.
pub(super) fn wait(options: &Options) -> ExitCode {
    let Some(limit) = options.timeout else { return poll(options) };
    // The thread is left behind on timeout: it ends with the process.
    let (done, result) = mpsc::channel();
    let polled = options.clone();
    std::thread::spawn(move || {
        // A receiver that stopped waiting needs no answer.
        let _ = done.send(poll(&polled));
    });
    let what = if options.after_disruption { "no disruption was seen and recovered from" } else { "not synchronised" };
    result.recv_timeout(duration(limit)).unwrap_or_else(|_| complain(&format!("{what} within {limit} s")))
}

fn poll(options: &Options) -> ExitCode {
    let interval = options.interval.unwrap_or(if options.after_disruption { 0.1 } else { 10.0 });
    let pause = duration(interval).max(MIN_PAUSE);
    let mut vigil = options.after_disruption.then(|| Vigil::new(options.within));
    let mut n = 0_u64;
    loop {
        n = n.saturating_add(1);
        match client::report(&options.viewing.socket) {
            Ok(report) => {
                let stage = vigil.as_mut().map(|vigil| vigil.look(&report));
                // So many tries a second are no news by themselves.
                if stage.is_none_or(|(_, news)| news) {
                    let text = stage.map_or_else(|| line(n, &report), |(stage, _)| format!("try: {n}, {}\n", stage.as_str()));
                    let _ = print(&if options.viewing.json { to_json(&report.tracking) } else { text });
                }
                if holds(&report, options.correction, options.skew) && stage.is_none_or(|(stage, _)| stage == Stage::Over) {
                    return ExitCode::SUCCESS;
                }
            }
            Err(error) => eprintln!("try: {n}, {error}"),
        }
        if n == options.tries {
            return ExitCode::FAILURE;
        }
        std::thread::sleep(pause);
    }
}

/// How far a disruption has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// None has been seen.
    Awaited,
    /// Time is not known again yet.
    Open,
    /// Time is right again.
    Over,
}

impl Stage {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Awaited => "no disruption seen yet",
            Self::Open => "time is disrupted",
            Self::Over => "time is right again",
        }
    }
}

/// Waits for a disruption that begins after the first look, is open then, or was over shortly before.
#[derive(Debug)]
struct Vigil {
    /// How long before, in seconds.
    within: f64,
    /// The number of the last disruption that does not count; unknown before the first look.
    past: Option<u64>,
    said: Option<Stage>,
}

impl Vigil {
    const fn new(within: f64) -> Self {
        Self { within, past: None, said: None }
    }

    /// The stage, and whether it is news.
    fn look(&mut self, report: &Report) -> (Stage, bool) {
        let number = report.disruption.as_ref().map_or(0, |event| event.number);
        let counts =
            report.disruption.as_ref().is_some_and(|event| event.recovered_after.is_none_or(|after| event.age - after <= self.within));
        let past = self.past.get_or_insert(if counts { number.saturating_sub(1) } else { number });
        // A daemon that was started anew counts from one.
        *past = number.min(*past);
        let stage = match &report.disruption {
            Some(event) if event.number > *past => {
                let over = event.recovered_after.is_some() && report.tracking.status == "synchronised";
                if over { Stage::Over } else { Stage::Open }
            }
            _ => Stage::Awaited,
        };
        (stage, self.said.replace(stage) != Some(stage))
    }
}

/// One try, as chronyc prints it.
fn line(n: u64, report: &Report) -> String {
    let t = &report.tracking;
    format!("try: {n}, refid: {}, correction: {:.9}, skew: {:.3}\n", t.reference_id, t.system_offset.abs(), t.skew_ppm)
}

/// Synchronised, with a remaining correction and skew within limits (0: no limit).
fn holds(report: &Report, correction: f64, skew: f64) -> bool {
    let t = &report.tracking;
    let within = |value: f64, limit: f64| limit <= 0.0 || value <= limit;
    t.status == "synchronised" && within(t.system_offset.abs(), correction) && within(t.skew_ppm, skew)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cli::sample;
    use crate::wire::control::Disruption;

    #[test]
    fn the_line_is_chronycs() {
        assert_eq!(line(3, &sample::report()), "try: 3, refid: 50484330, correction: 0.000001234, skew: 0.087\n");
    }

    #[test]
    fn limits_must_hold() {
        let report = sample::report();
        assert!(holds(&report, 0.0, 0.0) && holds(&report, 0.000_002, 0.1));
        assert!(!holds(&report, 0.000_001, 0.0) && !holds(&report, 0.0, 0.05));
        assert!(!holds(&sample::unsynchronised(), 0.0, 0.0));
        let mut report = report;
        report.tracking.status = "holdover".into();
        assert!(!holds(&report, 0.0, 0.0));
    }

    fn nowhere(tries: u64, timeout: Option<f64>) -> Options {
        let viewing = Viewing { json: false, socket: PathBuf::from("/nonexistent/paraclock.sock") };
        Options { tries, correction: 0.0, skew: 0.0, interval: Some(0.0), after_disruption: false, within: 10.0, timeout, viewing }
    }

    /// A report of a well clock whose disruption of this number began and ended so many seconds ago (`None`: not yet).
    fn report(number: u64, began: f64, ended: Option<f64>) -> Report {
        let mut report = sample::report();
        report.tracking.status = if ended.is_some() { "synchronised" } else { "disrupted" }.into();
        report.disruption = (number > 0).then(|| Disruption {
            number,
            kind: "restore".into(),
            age: began,
            witnesses: [("vmclock".to_owned(), 0.0)].into(),
            recovered_after: ended.map(|ended| began - ended),
            stepped: None,
        });
        report
    }

    fn stages(within: f64, reports: &[Report]) -> Vec<Stage> {
        let mut vigil = Vigil::new(within);
        reports.iter().map(|report| vigil.look(report).0).collect()
    }

    #[test]
    fn a_disruption_after_the_question_is_waited_for() {
        use Stage::{Awaited, Open, Over};
        let (well, broken, again) = (report(2, 3600.0, Some(3599.0)), report(3, 0.1, None), report(3, 0.3, Some(0.1)));
        assert_eq!(stages(10.0, &[well.clone(), well.clone(), broken, again.clone()]), [Awaited, Awaited, Open, Over]);
        // It may come and go between two looks.
        assert_eq!(stages(10.0, &[well, again]), [Awaited, Over]);
        assert_eq!(stages(10.0, &[report(0, 0.0, Some(0.0)), report(1, 0.1, Some(0.0))]), [Awaited, Over]);
    }

    #[test]
    fn a_disruption_before_the_question_counts_if_it_is_open_or_just_over() {
        use Stage::{Awaited, Open, Over};
        assert_eq!(stages(10.0, &[report(1, 500.0, None), report(1, 501.0, Some(0.5))]), [Open, Over]);
        assert_eq!(stages(10.0, &[report(1, 500.0, Some(9.0))]), [Over]);
        assert_eq!(stages(10.0, &[report(1, 500.0, Some(11.0)), report(1, 501.0, Some(12.0))]), [Awaited, Awaited]);
        assert_eq!(stages(0.0, &[report(1, 0.2, Some(0.1))]), [Awaited]);
        // Sources that were lost again since leave it open.
        let mut lost = report(1, 2.0, Some(1.0));
        lost.tracking.status = "holdover".into();
        assert_eq!(stages(10.0, &[lost]), [Open]);
    }

    #[test]
    fn growing_old_while_waiting_makes_nothing_of_it() {
        let reports = [report(1, 5.0, None), report(1, 30.0, Some(24.0))];
        assert_eq!(stages(10.0, &reports), [Stage::Open, Stage::Over], "it counted when it was asked for");
    }

    #[test]
    fn a_daemon_that_was_started_anew_has_lost_count() {
        use Stage::{Awaited, Over};
        let reports = [report(5, 900.0, Some(899.0)), report(0, 0.0, Some(0.0)), report(1, 0.5, Some(0.1))];
        assert_eq!(stages(10.0, &reports), [Awaited, Awaited, Over]);
    }

    #[test]
    fn tries_and_timeouts_end_the_wait() {
        assert_eq!(wait(&nowhere(2, None)), ExitCode::FAILURE);
        assert_eq!(wait(&nowhere(0, Some(0.05))), ExitCode::FAILURE);
    }

    #[test]
    fn limits_are_numbers_from_zero_up() {
        assert!(limit("0.5").is_ok() && limit("-1").is_err() && limit("nan").is_err() && limit("x").is_err());
    }
}
