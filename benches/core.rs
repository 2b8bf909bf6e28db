//! What the mind costs: nanoseconds of one event and one selection, and memory asked for in steady state.
//!
//! `cargo bench --bench core`, with a word behind `--` to pick: `event`, `select`, `agent`.

#[path = "../tests/allocations/counting.rs"]
mod counting;
#[path = "../tests/allocations/steady.rs"]
mod steady;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};

use counting::allocations;
use paraclock::core::{Claim, intersect};
use steady::{SteadyAgent, SteadyCore};

/// How many sources a selection is tried with.
const CROWDS: [u32; 3] = [4, 16, 64];

fn main() {
    tell_allocations();
    let mut criterion = Criterion::default().configure_from_args();
    events(&mut criterion);
    selections(&mut criterion);
    agent(&mut criterion);
    criterion.final_summary();
}

/// `tests/allocations` fails unless these are zero.
fn tell_allocations() {
    let mut core = SteadyCore::new(4);
    let ((), asked) = allocations(|| {
        for _ in 0..1000 {
            let (now, sample) = core.next_sample();
            black_box(core.handle(now, sample));
        }
    });
    println!("core: {asked} allocations in 1000 samples");
    let mut agent = SteadyAgent::new();
    let (done, asked) = allocations(|| agent.live(Duration::from_secs(1600)));
    println!("agent: {asked} allocations in {} readings and {} answers", done.readings, done.answers);
}

/// One event of each kind that comes all the time, with one source.
fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    let mut core = SteadyCore::new(1);
    group.bench_function("sample", |bencher| {
        bencher.iter(|| {
            let (now, sample) = core.next_sample();
            core.handle(now, sample)
        });
    });
    group.bench_function("tick", |bencher| {
        bencher.iter(|| {
            let (now, tick) = core.next_tick();
            core.handle(now, tick)
        });
    });
    group.bench_function("applied", |bencher| bencher.iter(|| core.apply()));
    group.finish();
}

/// A sample of one of many sources, which goes through filter, selection, combination and discipline; and
/// the intersection in it alone.
fn selections(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select");
    for sources in CROWDS {
        let mut core = SteadyCore::new(sources);
        group.bench_function(BenchmarkId::new("sample", sources), |bencher| {
            bencher.iter(|| {
                let (now, sample) = core.next_sample();
                core.handle(now, sample)
            });
        });
        // A quarter of them lies.
        let claims: Vec<Claim> = (0..sources)
            .map(|i| {
                let middle = 1e-4 * f64::from(i * 7919 % 101) + if i % 4 == 0 { 1.0 } else { 0.0 };
                Claim { low: middle - 0.02, middle, high: middle + 0.02 }
            })
            .collect();
        let mut scratch = Vec::with_capacity(2 * claims.len());
        group.bench_function(BenchmarkId::new("intersect", sources), |bencher| {
            bencher.iter(|| intersect(black_box(&claims), &mut scratch).expect("three quarters agree"));
        });
    }
    group.finish();
}

/// A quarter of a minute in the life of an agent: sixteen readings and one answer, with all timers.
fn agent(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("agent");
    let mut agent = SteadyAgent::new();
    group.bench_function("16 s", |bencher| {
        bencher.iter(|| agent.live(Duration::from_secs(16)));
    });
    group.finish();
}
