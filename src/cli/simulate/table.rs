//! The table of what came of simulations: a pure function of the results.

use super::runs::{Results, Row, Summary};
use crate::sim::{self, Violation};

/// The columns: heading and width.
const COLUMNS: [(&str, usize); 13] = [
    ("rms", 8),
    ("p99", 8),
    ("max", 8),
    ("frequency", 9),
    ("1 ms", 6),
    ("100 us", 6),
    ("10 us", 6),
    ("1 us", 6),
    ("requests", 8),
    ("poll", 6),
    ("bound", 8),
    ("x fair", 6),
    ("viol", 4),
];

/// Every scenario that comes along, with what it shows.
pub(super) fn list() -> String {
    let experiments: Vec<_> = sim::names().filter_map(sim::built_in).collect();
    let width = experiments.iter().map(|e| e.name.len()).max().unwrap_or(0);
    experiments.iter().map(|e| format!("{:width$}  {}\n", e.name, e.about)).collect()
}

/// Three digits and a unit.
fn seconds(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v < 0.9995e-6 => (v * 1e9, "ns"),
        v if v < 0.9995e-3 => (v * 1e6, "us"),
        v if v < 0.9995 => (v * 1e3, "ms"),
        v => (v, "s"),
    };
    format!("{}{unit}", three(scaled))
}

/// A frequency: ppb or ppm.
fn frequency(ratio: f64) -> String {
    if ratio < 0.9995e-6 { format!("{}ppb", three(ratio * 1e9)) } else { format!("{}ppm", three(ratio * 1e6)) }
}

/// Three digits.
fn three(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// Seconds until something was reached.
fn reached(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.0}"))
}

/// A ratio, of which small ones matter too.
fn ratio(value: f64) -> String {
    if value < 0.0995 { format!("{value:.3}") } else { three(value) }
}

fn some_ratio(value: Option<f64>) -> String {
    value.map_or_else(String::new, ratio)
}

fn cells(m: &Summary) -> [String; COLUMNS.len()] {
    let requests = if m.requests > 0.0 { m.requests } else { m.readings };
    [
        seconds(m.rms),
        seconds(m.p99),
        seconds(m.max),
        frequency(m.frequency_rms),
        reached(m.reached[0]),
        reached(m.reached[1]),
        reached(m.reached[2]),
        reached(m.reached[3]),
        format!("{requests:.0}"),
        m.poll.map_or_else(|| "-".to_owned(), |poll| format!("{poll:.0}s")),
        seconds(m.bound),
        three(m.bound_ratio),
        (m.clock_violations + m.line_violations).to_string(),
    ]
}

fn line(name: &str, width: usize, cells: &[String]) -> String {
    let mut text = format!("{name:width$}");
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        text += &format!("  {cell:>width$}");
    }
    text.trim_end().to_owned() + "\n"
}

fn name(row: &Row) -> String {
    row.guest.map_or_else(|| row.scenario.clone(), |guest| format!("{}/{}", row.scenario, guest + 1))
}

/// The table.
pub(super) fn render(results: &Results) -> String {
    let width = results.rows.iter().map(|row| name(row).len()).max().unwrap_or(0).max("/ chronyd".len());
    let headings: Vec<String> = COLUMNS.iter().map(|column| column.0.to_owned()).collect();
    let mut text = line("scenario", width, &headings);
    for row in &results.rows {
        text += &line(&name(row), width, &cells(&row.median));
        if let Some(r) = row.ratios() {
            let mut under: [String; COLUMNS.len()] = Default::default();
            under[0] = ratio(r.rms);
            under[3] = ratio(r.frequency);
            for (cell, reached) in under[4..7].iter_mut().zip(r.reached) {
                *cell = some_ratio(reached);
            }
            under[9] = some_ratio(r.poll);
            text += &line(" / chronyd", width, &under);
        }
    }
    if let Some((rms, frequency, rows)) = results.means().filter(|means| means.2 > 1) {
        let mut under: [String; COLUMNS.len()] = Default::default();
        under[0] = ratio(rms);
        under[3] = ratio(frequency);
        text += &line("mean", width, &under);
        text += &format!("\nMean: the geometric mean of the ratios to chronyd's figures in {rows} rows.\n");
    } else {
        text.push('\n');
    }
    text + &legend(results)
}

fn legend(results: &Results) -> String {
    let (first, last) = (results.seeds.first().unwrap_or(&0), results.seeds.last().unwrap_or(&0));
    let seeds = if first == last { format!("Seed {first}") } else { format!("Medians over the seeds {first} to {last}") };
    let unaware: u64 = results.rows.iter().map(|row| row.median.unaware).sum();
    let mut text = format!(
        "{seeds}. Offsets of the clock after the reset; its frequency, slews included; seconds until it stayed within a limit;\n\
         requests (of a clock alone: readings) and their mean spacing over the whole run; median of its error bound, and that over what could\n\
         be asked for; seconds of all runs at which the truth lay outside of a bound.\n"
    );
    if unaware > 0 {
        text += &format!("Not counted: {unaware} seconds at which the guest could not know yet what had been done to it.\n");
    }
    text
}

/// How fast it went.
pub(super) fn pace(results: &Results) -> String {
    let (simulated, took) = results.pace;
    let threads = if results.jobs == 1 { "one thread".to_owned() } else { format!("{} threads", results.jobs) };
    format!("{:.0} s simulated in {took:.1} s on {threads}: {:.2} million a second", simulated, simulated / took.max(1e-9) / 1e6)
}

/// Where and when a bound was left, and how to see it again.
pub(super) fn violation(scenario: &str, seed: u64, guest: Option<usize>, v: &Violation) -> String {
    let who = guest.map_or_else(String::new, |guest| format!(", guest {}", guest + 1));
    let mut text = format!(
        "{scenario}, seed {seed}{who}: the truth left a bound first at {:.0} s.\n  clock: {:.3e} s off, bound {:.3e} s; line: {:.3e} s off, bound {:.3e} s\n",
        v.at, v.clock.0, v.clock.1, v.line.0, v.line.1
    );
    for decision in &v.decisions {
        text += &format!("  {decision}\n");
    }
    text + &format!("  See it again: paraclock simulate {scenario} --seed {seed}")
}
