//! Runs many experiments with many seeds on many threads; gathers what came of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;

use serde::Serialize;
use serde_json::{Value, json};

use super::progress::{self, Progress, REFRESH};
use crate::sim::{Chronyd, Experiment, Figures, LIMITS, Violation};
use crate::units::{count, duration};

/// What is to be run.
pub(super) struct Batch {
    experiments: Vec<Experiment>,
    seeds: Vec<u64>,
}

/// What came of it.
pub(super) struct Results {
    pub(super) rows: Vec<Row>,
    pub(super) seeds: Vec<u64>,
    /// Seconds simulated, and seconds that it took.
    pub(super) pace: (f64, f64),
    pub(super) jobs: usize,
}

/// One guest of one scenario over all seeds.
pub(super) struct Row {
    pub(super) scenario: String,
    pub(super) about: String,
    /// Counted from zero; `None` where there is but one.
    pub(super) guest: Option<usize>,
    pub(super) chronyd: Option<Chronyd>,
    pub(super) runs: Vec<Figures>,
    pub(super) median: Summary,
}

/// Medians over seeds; violations are sums.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    pub(super) rms: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
    pub(super) frequency_rms: f64,
    pub(super) reached: [Option<f64>; LIMITS.len()],
    pub(super) requests: f64,
    pub(super) poll: Option<f64>,
    pub(super) readings: f64,
    pub(super) steps: f64,
    pub(super) bound: f64,
    pub(super) bound_ratio: f64,
    pub(super) clock_violations: u64,
    pub(super) line_violations: u64,
    pub(super) unaware: u64,
}

/// Ours over chronyd's.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ratios {
    pub(super) rms: f64,
    pub(super) frequency: f64,
    pub(super) poll: Option<f64>,
    pub(super) reached: [Option<f64>; 3],
}

impl Batch {
    pub(super) const fn new(experiments: Vec<Experiment>, seeds: Vec<u64>) -> Self {
        Self { experiments, seeds }
    }

    /// Seconds to be simulated in all.
    pub(super) fn seconds(&self) -> f64 {
        self.experiments.iter().map(|e| e.duration).sum::<f64>() * count(self.seeds.len() as u64)
    }

    /// Runs everything on at most so many threads. What comes out does not depend on how many.
    pub(super) fn run(self, jobs: usize, mut progress: Progress) -> Results {
        let tasks = self.experiments.len() * self.seeds.len();
        let jobs = jobs.clamp(1, tasks.max(1));
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        let mut found: Vec<Option<Vec<Figures>>> = (0..tasks).map(|_| None).collect();
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..jobs {
                let (batch, next, done, sender) = (&self, &next, &done, sender.clone());
                scope.spawn(move || {
                    loop {
                        let task = next.fetch_add(1, Ordering::Relaxed);
                        if task >= tasks {
                            return;
                        }
                        let experiment = &batch.experiments[task / batch.seeds.len()];
                        let mut told = 0;
                        let figures = experiment.run(batch.seeds[task % batch.seeds.len()], |seconds| {
                            let whole = duration(seconds).as_secs();
                            done.fetch_add(whole - told, Ordering::Relaxed);
                            told = whole;
                            true
                        });
                        // The receiver goes last.
                        let _ = sender.send((task, figures));
                    }
                });
            }
            drop(sender);
            loop {
                match receiver.recv_timeout(REFRESH) {
                    Ok((task, figures)) => found[task] = figures,
                    Err(mpsc::RecvTimeoutError::Timeout) => progress.tell(progress::seconds(done.load(Ordering::Relaxed))),
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
        });
        let pace = (self.seconds(), progress.end());
        let mut found = found.into_iter().map(Option::unwrap_or_default);
        let rows = self.experiments.iter().flat_map(|e| rows(e, found.by_ref().take(self.seeds.len()).collect())).collect();
        Results { rows, seeds: self.seeds, pace, jobs }
    }
}

/// The runs of one experiment, guest by guest.
fn rows(experiment: &Experiment, runs: Vec<Vec<Figures>>) -> Vec<Row> {
    let guests = experiment.scenario.guests.len();
    let row = |guest: usize| {
        let runs: Vec<Figures> = runs.iter().filter_map(|run| run.get(guest).cloned()).collect();
        // It ran on the first guest's machine.
        let chronyd = experiment.chronyd.filter(|_| guest == 0);
        Row::new(&experiment.name, &experiment.about, (guests > 1).then_some(guest), chronyd, runs)
    };
    (0..guests).map(row).collect()
}

/// The middle one; the mean of the middle two. What never came counts as the largest.
fn median(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut values: Vec<f64> = values.map(|v| v.unwrap_or(f64::INFINITY)).collect();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let (low, high) = (values.get(n.saturating_sub(1) / 2)?, values.get(n / 2)?);
    Some(f64::midpoint(*low, *high)).filter(|v| v.is_finite())
}

impl Summary {
    fn of(runs: &[Figures]) -> Self {
        let of = |value: fn(&Figures) -> f64| median(runs.iter().map(|run| Some(value(run)))).unwrap_or_default();
        let sum = |value: fn(&Figures) -> u64| runs.iter().map(value).sum();
        Self {
            rms: of(|f| f.rms),
            p50: of(|f| f.p50),
            p99: of(|f| f.p99),
            max: of(|f| f.max),
            frequency_rms: of(|f| f.frequency_rms),
            reached: std::array::from_fn(|i| median(runs.iter().map(|run| run.reached[i]))),
            requests: of(|f| count(f.requests)),
            poll: median(runs.iter().map(|run| run.poll)),
            readings: of(|f| count(f.readings)),
            steps: of(|f| count(f.steps)),
            bound: of(|f| f.bound),
            bound_ratio: of(|f| f.bound_ratio),
            clock_violations: sum(|f| f.clock_violations),
            line_violations: sum(|f| f.line_violations),
            unaware: sum(|f| f.unaware),
        }
    }
}

impl Row {
    pub(super) fn new(scenario: &str, about: &str, guest: Option<usize>, chronyd: Option<Chronyd>, runs: Vec<Figures>) -> Self {
        let median = Summary::of(&runs);
        Self { scenario: scenario.to_owned(), about: about.to_owned(), guest, chronyd, runs, median }
    }

    /// Against chronyd, where its figures are known.
    pub(super) fn ratios(&self) -> Option<Ratios> {
        let chronyd = self.chronyd?;
        let m = &self.median;
        Some(Ratios {
            rms: m.rms / chronyd.rms,
            frequency: m.frequency_rms / chronyd.frequency,
            poll: m.poll.zip(chronyd.poll).map(|(ours, theirs)| ours / theirs),
            reached: std::array::from_fn(|i| m.reached[i].map(|ours| ours / chronyd.reached[i])),
        })
    }
}

impl Results {
    /// The geometric means of the ratios of RMS offset and RMS frequency, and of how many rows.
    pub(super) fn means(&self) -> Option<(f64, f64, usize)> {
        let ratios: Vec<Ratios> = self.rows.iter().filter_map(Row::ratios).collect();
        let n = count(ratios.len() as u64);
        let mean = |value: fn(&Ratios) -> f64| (ratios.iter().map(|r| value(r).ln()).sum::<f64>() / n).exp();
        (!ratios.is_empty()).then(|| (mean(|r| r.rms), mean(|r| r.frequency), ratios.len()))
    }

    /// The first violation of each run that had any: scenario, seed, guest.
    pub(super) fn violations(&self) -> impl Iterator<Item = (&str, u64, Option<usize>, &Violation)> {
        self.rows.iter().flat_map(move |row| {
            let runs = self.seeds.iter().zip(&row.runs);
            runs.filter_map(move |(&seed, run)| Some((row.scenario.as_str(), seed, row.guest, run.first_violation.as_ref()?)))
        })
    }

    pub(super) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let runs: Vec<Value> = self.seeds.iter().zip(&row.runs).map(|(seed, run)| json!({"seed": seed, "figures": run})).collect();
                json!({
                    "scenario": row.scenario, "about": row.about, "guest": row.guest.map_or(1, |guest| guest + 1),
                    "median": row.median, "chronyd": row.chronyd, "ratios": row.ratios(), "runs": runs,
                })
            })
            .collect();
        let means = self.means().map(|(rms, frequency, rows)| json!({"rms": rms, "frequency": frequency, "rows": rows}));
        json!({"seeds": self.seeds, "rows": rows, "geometric_means": means})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_the_middle_and_what_never_came_is_the_largest() {
        let of = |values: &[Option<f64>]| median(values.iter().copied());
        assert_eq!(of(&[Some(3.0), Some(1.0), Some(2.0)]), Some(2.0));
        assert_eq!(of(&[Some(1.0), Some(2.0)]), Some(1.5));
        assert_eq!(of(&[Some(1.0), None, Some(2.0)]), Some(2.0));
        assert_eq!(of(&[Some(1.0), None]), None);
        assert_eq!(of(&[]), None);
    }
}
