//! Chaos: thousands of random worlds, in which what must never be is never seen.
//!
//! `CHAOS_SEEDS` says how many (100 if nothing is said; `tests/run` says 2,000), `CHAOS_FIRST` the first of them. A violation
//! prints its seed, when it was, what was wrong, and what led to it; the same seed brings it back.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use paraclock::sim::chaos::{Summary, Violation, run};

/// Violations shown with all that led to them.
const SHOWN: usize = 3;

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Runs many seeds on all cores; what they showed together, and their violations in the order of the seeds.
fn run_all(seeds: &[u64]) -> (Summary, Vec<Violation>) {
    let next = AtomicU64::new(0);
    let all = Mutex::new((Summary::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(&seed) = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|i| seeds.get(i)) {
                    let outcome = run(seed);
                    let mut all = all.lock().expect("no world panics");
                    match outcome {
                        Ok(one) => {
                            all.0.seconds += one.seconds;
                            all.0.judged += one.judged;
                            all.0.unknown += one.unknown;
                            all.0.samples += one.samples;
                            all.0.lies += one.lies;
                        }
                        Err(violation) => all.1.push(*violation),
                    }
                }
            });
        }
    });
    let (summary, mut violations) = all.into_inner().expect("no world panics");
    violations.sort_by_key(|v| v.seed);
    (summary, violations)
}

#[test]
fn no_world_shows_what_must_never_be() {
    let first = setting("CHAOS_FIRST", 1);
    let seeds: Vec<u64> = (first..first + setting("CHAOS_SEEDS", 100)).collect();
    let (summary, violations) = run_all(&seeds);
    println!("{} seeds from {first}: {summary:?}", seeds.len());
    for (i, violation) in violations.iter().enumerate() {
        if i < SHOWN {
            println!("{violation}")
        } else {
            println!("seed {}, {:.3} s, guest {}: {}", violation.seed, violation.at, violation.guest, violation.what)
        }
    }
    assert!(
        violations.is_empty(),
        "{} violations, of the seeds {:?}",
        violations.len(),
        violations.iter().map(|v| v.seed).collect::<Vec<_>>()
    );
    // Otherwise nothing would have been shown.
    assert!(summary.judged * 2 > summary.seconds && summary.lies * 3 < summary.samples, "{summary:?}");
}
