//! The accuracy that the core is held to, against chronyd's measured in the same worlds.
//!
//! The scenarios carry chronyd's figures. Medians over seeds; a limit that is broken is named with its row.

use std::sync::atomic::{AtomicUsize, Ordering};

use paraclock::sim::{Experiment, Figures, built_in, names};

const SEEDS: std::ops::Range<u64> = 100..125;

struct Row {
    experiment: Experiment,
    runs: Vec<Figures>,
}

impl Row {
    fn median(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

fn rows() -> Vec<Row> {
    let compared = names().filter_map(built_in).filter(|e| e.chronyd.is_some());
    let experiments: Vec<Experiment> = compared.collect();
    assert_eq!(experiments.len(), 17, "all rows are there");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = |experiment: &Experiment| SEEDS.map(|seed| experiment.run(seed, |_| true).expect("nobody stops it").remove(0)).collect();
    let next = &AtomicUsize::new(0);
    let experiments = &experiments;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    let mut rows = Vec::new();
                    while let Some(experiment) = experiments.get(next.fetch_add(1, Ordering::Relaxed)) {
                        rows.push(Row { experiment: experiment.clone(), runs: run(experiment) });
                    }
                    rows
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no scenario panics")).collect()
    })
}

#[test]
fn the_core_keeps_to_its_targets() {
    let mut broken = Vec::new();
    let mut logarithms = 0.0;
    let rows = rows();
    for row in &rows {
        let name = &row.experiment.name;
        let chronyd = row.experiment.chronyd.expect("chosen for it");
        let mut hold = |what: &str, value: f64, limit: f64| {
            if value > limit {
                broken.push(format!("{name}: {what} is {value:.3}, the limit is {limit:.3}"));
            }
        };
        let offset = row.median(|f| f.rms) / chronyd.rms;
        logarithms += offset.ln();
        hold("RMS offset over chronyd's", offset, 0.7);
        let far = name.eq_ignore_ascii_case("s3");
        hold("RMS frequency error over chronyd's", row.median(|f| f.frequency_rms) / chronyd.frequency, if far { 1.3 } else { 1.0 });
        if let Some(poll) = chronyd.poll {
            // A thousandth for the last request before the end.
            hold("requests over chronyd's", poll / row.median(|f| f.poll.expect("it asks servers")), 1.002);
        }
        let stepped = row.experiment.reach_from > 0.0;
        let below_noise = far || name.eq_ignore_ascii_case("s6");
        for (i, limit) in ["1 ms", "100 us"].iter().enumerate().filter(|&(i, _)| i == 0 || !below_noise) {
            let reached = row.median(|f| f.reached[i].unwrap_or(f64::INFINITY));
            hold(&format!("seconds to {limit}"), reached, if stepped { 3.0 } else { 0.6 * chronyd.reached[i] });
        }
        hold("median bound over a fair one", row.median(|f| f.bound_ratio), 1.5);
        let violations: u64 = row.runs.iter().map(|f| f.clock_violations + f.line_violations).sum();
        hold("seconds outside of the bound", paraclock::units::count(violations), 0.0);
    }
    let mean = (logarithms / paraclock::units::count(rows.len() as u64)).exp();
    if mean > 0.45 {
        broken.push(format!("the geometric mean of offsets over chronyd's is {mean:.3}, the limit is 0.450"));
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
