//! One run as a picture that a person can read: offset, bound and corrections over time, as SVG.
//!
//! Self-contained: no script, no font, no other file.

mod axis;
mod record;

use std::fmt::Write as _;

use axis::{Magnitudes, Times};
use record::{Column, Record, record};

use crate::core::Status;
use crate::sim::Experiment;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 780.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 1176.0;
/// The upper panel: offset and bound.
const UPPER: (f64, f64) = (148.0, 490.0);
/// The strip that shows the state.
const STRIP: (f64, f64) = (502.0, 512.0);
/// The lower panel: corrections and frequency.
const LOWER: (f64, f64) = (540.0, 720.0);
/// One column for each point of width.
const COLUMNS: u32 = 1084;

// Colours that people who see few of them can tell apart (Okabe and Ito).
const BLUE: &str = "#0072b2";
const SKY: &str = "#56b4e9";
const ORANGE: &str = "#e69f00";
const VERMILION: &str = "#d55e00";
const GREEN: &str = "#009e73";
const INK: &str = "#333333";
const PALE: &str = "#e3e3e3";
const UNKNOWN: &str = "#bbbbbb";
const RED: &str = "#cc0033";

/// Runs the experiment's first guest and draws what happens between two seconds.
pub(super) fn draw(experiment: &Experiment, seed: u64, from: f64, until: f64) -> String {
    let seen = record(experiment, seed, from, until, COLUMNS);
    let times = Times { from, until, left: LEFT, right: RIGHT };
    let mut svg = Svg::new();
    header(&mut svg, experiment, seed, &seen);
    let most = seen.columns.iter().filter(|c| c.bound.is_some() && c.bound.high.is_finite()).map(|c| c.bound.high);
    let most = most.fold(seen.worst, f64::max) * 1.3;
    let offsets = Magnitudes::new(seen.quiet, most, UPPER.0, UPPER.1);
    let rates = seen.columns.iter().filter(|c| c.slew.is_some());
    let rates = rates.flat_map(|c| [c.slew.low, c.slew.high, c.frequency.low, c.frequency.high]).map(f64::abs);
    let mut rates: Vec<f64> = rates.filter(|r| *r > 0.0).collect();
    rates.sort_by(f64::total_cmp);
    let (quiet, most) = (rates.get(rates.len() / 3).copied().unwrap_or(1e-9), rates.last().copied().unwrap_or(1e-9) * 1.3);
    let frequencies = Magnitudes::new(quiet, most, LOWER.0, LOWER.1);
    grid(&mut svg, &times, &offsets, UPPER, axis::seconds);
    grid(&mut svg, &times, &frequencies, LOWER, axis::frequency);
    bound(&mut svg, &times, &seen, &offsets);
    svg.area(&times, &seen, ORANGE, 0.9, |c| {
        c.slew.is_some().then(|| (frequencies.height(c.slew.high.max(0.0)), frequencies.height(c.slew.low.min(0.0))))
    });
    svg.line(&times, &seen, GREEN, |c| {
        c.frequency.is_some().then(|| (frequencies.height(c.frequency.high), frequencies.height(c.frequency.low)))
    });
    svg.line(&times, &seen, BLUE, |c| c.offset.is_some().then(|| (offsets.height(c.offset.high), offsets.height(c.offset.low))));
    violations(&mut svg, &times, &seen);
    strip(&mut svg, &times, &seen);
    events(&mut svg, &times, experiment, &seen);
    frame(&mut svg, UPPER, "clock − truth");
    frame(&mut svg, LOWER, "rates");
    time_axis(&mut svg, &times);
    svg.end()
}

/// The picture in the making.
struct Svg(String);

impl Svg {
    fn new() -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"13\" fill=\"{INK}\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
        ))
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(element);
        self.0.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, attributes: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.add(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{text}</text>"));
    }

    /// A band through all columns that have one, from its upper to its lower edge, at least a line wide.
    fn area(&mut self, times: &Times, seen: &Record, colour: &str, opacity: f64, edges: impl Fn(&Column) -> Option<(f64, f64)>) {
        for run in runs(seen, edges) {
            let mut upper = String::new();
            let mut lower = Vec::new();
            for (column, (top, bottom)) in run {
                let x = times.at(seen.time_of(column));
                let missing = (1.2 - (bottom - top)).max(0.0) / 2.0;
                let _ = write!(upper, "{x:.1},{:.1} ", top - missing);
                lower.push(format!("{x:.1},{:.1}", bottom + missing));
            }
            lower.reverse();
            self.add(format_args!("<polygon points=\"{upper}{}\" fill=\"{colour}\" fill-opacity=\"{opacity}\"/>", lower.join(" ")));
        }
    }

    /// A line through the ranges of all columns that have one.
    fn line(&mut self, times: &Times, seen: &Record, colour: &str, edges: impl Fn(&Column) -> Option<(f64, f64)>) {
        for run in runs(seen, edges) {
            let mut points = String::new();
            let mut at = f64::NEG_INFINITY;
            for (column, (top, bottom)) in run {
                let x = times.at(seen.time_of(column));
                // The nearer end first: there the line enters the column.
                let (first, last) = if (at - top).abs() <= (at - bottom).abs() { (top, bottom) } else { (bottom, top) };
                let _ = write!(points, "{x:.1},{first:.1} ");
                if (last - first).abs() > 0.5 {
                    let _ = write!(points, "{x:.1},{last:.1} ");
                }
                at = last;
            }
            self.add(format_args!(
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\" stroke-linejoin=\"round\"/>"
            ));
        }
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

impl Record {
    /// The middle of a column.
    fn time_of(&self, column: u32) -> f64 {
        self.from + (self.until - self.from) * (f64::from(column) + 0.5) / f64::from(COLUMNS)
    }
}

/// Columns without a gap.
fn runs(seen: &Record, edges: impl Fn(&Column) -> Option<(f64, f64)>) -> Vec<Vec<(u32, (f64, f64))>> {
    let mut runs = Vec::new();
    let mut run = Vec::new();
    for (column, edge) in (0..).zip(seen.columns.iter().map(edges)) {
        match edge {
            Some(edge) => run.push((column, edge)),
            None if run.is_empty() => {}
            None => runs.push(std::mem::take(&mut run)),
        }
    }
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}

fn header(svg: &mut Svg, experiment: &Experiment, seed: u64, seen: &Record) {
    svg.text(LEFT, 34.0, "font-size=\"21\" font-weight=\"600\"", &experiment.name);
    svg.text(LEFT, 56.0, "font-size=\"14\" fill=\"#666666\"", &experiment.about);
    let unsigned = |value: f64| axis::seconds(value).trim_start_matches('+').to_owned();
    let (typical, worst, bound) = (unsigned(seen.typical), unsigned(seen.worst), unsigned(seen.bound));
    let what = format!("seed {seed} \u{b7} off by {typical} (median), {worst} (most) \u{b7} bound {bound} (median)");
    svg.text(RIGHT, 34.0, "text-anchor=\"end\" fill=\"#666666\"", &what);
    let mut legend = vec![
        (BLUE, 1.0, "clock \u{2212} truth"),
        (SKY, 0.35, "error bound"),
        (ORANGE, 0.9, "correction (slew)"),
        (GREEN, 1.0, "frequency error of the line"),
    ];
    if seen.columns.iter().any(|c| c.bound.is_some() && c.bound.high.is_infinite()) {
        legend.push((UNKNOWN, 0.45, "no bound known"));
    }
    if seen.columns.iter().any(|c| c.violated) {
        legend.push((RED, 1.0, "the truth is outside of the bound"));
    }
    let mut x = LEFT;
    for (colour, opacity, words) in legend {
        svg.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"72\" width=\"14\" height=\"11\" rx=\"2\" fill=\"{colour}\" fill-opacity=\"{opacity}\"/>"
        ));
        svg.text(x + 20.0, 82.0, "", words);
        // A letter is about seven points wide.
        x += crate::units::count(words.chars().count() as u64) * 7.0 + 44.0;
    }
}

fn grid(svg: &mut Svg, times: &Times, scale: &Magnitudes, panel: (f64, f64), words: fn(f64) -> String) {
    for value in scale.ticks() {
        let y = scale.height(value);
        let colour = if value.abs() > 0.0 { PALE } else { "#9a9a9a" };
        svg.add(format_args!("<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\"/>"));
        svg.text(LEFT - 8.0, y + 4.5, "text-anchor=\"end\"", &words(value));
    }
    for (at, _) in times.ticks() {
        let x = times.at(at);
        svg.add(format_args!("<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"{PALE}\"/>", panel.0, panel.1));
    }
}

/// The bound on both sides of the truth; where there is none, everything is possible.
fn bound(svg: &mut Svg, times: &Times, seen: &Record, scale: &Magnitudes) {
    svg.area(times, seen, SKY, 0.35, |c| {
        (c.bound.is_some() && c.bound.high.is_finite()).then(|| (scale.height(c.bound.high), scale.height(-c.bound.high)))
    });
    svg.area(times, seen, UNKNOWN, 0.45, |c| (c.bound.is_some() && c.bound.high.is_infinite()).then_some(UPPER));
}

/// Marks at both edges where the truth lies outside of the bound, wide enough to be seen.
fn violations(svg: &mut Svg, times: &Times, seen: &Record) {
    for (column, _) in (0_u32..).zip(&seen.columns).filter(|(_, column)| column.violated) {
        let x = times.at(seen.time_of(column)) - 1.5;
        for y in [UPPER.0, UPPER.1 - 10.0] {
            svg.add(format_args!("<rect x=\"{x:.1}\" y=\"{y}\" width=\"3\" height=\"10\" fill=\"{RED}\"/>"));
        }
    }
}

fn strip(svg: &mut Svg, times: &Times, seen: &Record) {
    let mut begin = 0_u32;
    let mut columns = (0_u32..).zip(&seen.columns).peekable();
    while let Some((column, now)) = columns.next() {
        let next = columns.peek().map(|(_, next)| next.status);
        if next == Some(now.status) {
            continue;
        }
        let (colour, words) = match now.status {
            Some(Status::Synchronised) => (GREEN, "synchronised"),
            Some(Status::Holdover) => (ORANGE, "hold-over"),
            Some(Status::Disrupted) => (VERMILION, "disrupted"),
            Some(Status::Unsynchronised) => ("#999999", "unsynchronised"),
            None => (INK, "stands still"),
        };
        let edge = |column: u32| times.left + (times.right - times.left) * f64::from(column) / f64::from(COLUMNS);
        let (x, end) = (edge(begin), edge(column + 1));
        svg.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"><title>{words}</title></rect>",
            STRIP.0,
            end - x,
            STRIP.1 - STRIP.0
        ));
        if end - x > 110.0 {
            svg.text(f64::midpoint(x, end), STRIP.1 - 1.0, "text-anchor=\"middle\" font-size=\"10\" fill=\"#ffffff\"", words);
        }
        begin = column + 1;
    }
}

/// What happened, and the steps of the clock: lines through both panels with words above.
fn events(svg: &mut Svg, times: &Times, experiment: &Experiment, seen: &Record) {
    let actions = experiment.scenario.actions.iter().map(|planned| (planned.at, planned.action.words().to_owned(), VERMILION));
    let leap = experiment.scenario.leap.map(|leap| (leap.at, "leap second".to_owned(), VERMILION));
    let steps = seen.steps.iter().map(|&(at, by)| (at, format!("step {}", axis::seconds(by)), INK));
    let mut all: Vec<_> = actions.chain(leap).chain(steps).filter(|event| (seen.from..=seen.until).contains(&event.0)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Three rows of words, so that neighbours do not cover each other.
    let mut ends = [0.0_f64; 3];
    for (at, words, colour) in all {
        let x = times.at(at);
        svg.add(format_args!(
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"1.2\" stroke-dasharray=\"4 3\"><title>{words}</title></line>",
            UPPER.0, LOWER.1
        ));
        let wide = crate::units::count(words.chars().count() as u64) * 6.0;
        let Some(row) = (0..ends.len()).find(|&row| ends[row] + 6.0 < x) else { continue };
        let y = UPPER.0 - 6.0 - 15.0 * f64::from(u8::try_from(row).unwrap_or(0));
        // Near the right edge the words stand to the left of the line.
        let (anchor, shift) = if x + wide > RIGHT { ("end", -3.0) } else { ("start", 3.0) };
        svg.text(x + shift, y, &format!("text-anchor=\"{anchor}\" font-size=\"11.5\" fill=\"{colour}\""), &words);
        ends[row] = x + wide;
    }
}

fn frame(svg: &mut Svg, panel: (f64, f64), words: &str) {
    let (width, height) = (RIGHT - LEFT, panel.1 - panel.0);
    svg.add(format_args!("<rect x=\"{LEFT}\" y=\"{}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"{INK}\"/>", panel.0));
    let middle = f64::midpoint(panel.0, panel.1);
    svg.text(16.0, middle, &format!("text-anchor=\"middle\" transform=\"rotate(-90 16 {middle})\" fill=\"#666666\""), words);
}

fn time_axis(svg: &mut Svg, times: &Times) {
    for (at, words) in times.ticks() {
        let x = times.at(at);
        svg.add(format_args!("<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"{INK}\"/>", LOWER.1, LOWER.1 + 5.0));
        svg.text(x, LOWER.1 + 20.0, "text-anchor=\"middle\"", &words);
    }
    svg.text(f64::midpoint(LEFT, RIGHT), LOWER.1 + 42.0, "text-anchor=\"middle\" fill=\"#666666\"", "true time since the start");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim;

    #[test]
    fn a_picture_is_well_formed_and_shows_what_happened() {
        let svg = draw(&sim::built_in("s8a").unwrap(), 1, 4000.0, 6000.0);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        for words in ["foreign step", "step \u{2212}10", "error bound", "synchronised", "true time since the start", "+10 s"] {
            assert!(svg.contains(words), "{words}");
        }
        let open = svg.matches("<text").count() + svg.matches("<title").count();
        assert_eq!(open, svg.matches("</text>").count() + svg.matches("</title>").count());
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "every number is one");
    }

    #[test]
    fn words_of_a_file_do_no_harm_to_the_picture() {
        let mut experiment = sim::built_in("s4").unwrap();
        experiment.about = "a <b> & c".to_owned();
        assert!(draw(&experiment, 1, 0.0, 100.0).contains("a &lt;b&gt; &amp; c"));
    }
}
