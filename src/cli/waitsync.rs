//! `paraclock waitsync`: polls until the clock is synchronised within the limits given.
//!
//! Arguments, lines and exit codes are chronyc's; `--timeout` limits the whole wait.

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
    /// Seconds between tries
    #[arg(value_name = "INTERVAL", default_value_t = 10.0, value_parser = limit)]
    interval: f64,
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
    result.recv_timeout(duration(limit)).unwrap_or_else(|_| complain(&format!("not synchronised within {limit} s")))
}

fn poll(options: &Options) -> ExitCode {
    let pause = duration(options.interval).max(MIN_PAUSE);
    let mut n = 0_u64;
    loop {
        n = n.saturating_add(1);
        match client::report(&options.viewing.socket) {
            Ok(report) => {
                let _ = print(&if options.viewing.json { to_json(&report.tracking) } else { line(n, &report) });
                if holds(&report, options.correction, options.skew) {
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
        Options { tries, correction: 0.0, skew: 0.0, interval: 0.0, timeout, viewing }
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
