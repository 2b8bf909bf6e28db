//! A replay as a picture: samples, clock and bound against the line over time, and what happened. Self-contained SVG.

use std::fmt::Write as _;

use crate::core::{Signal, Status};
use crate::trace::{Column, Happening, Range, Story};
use crate::units::count;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 600.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 1176.0;
/// The panel of offsets.
const PANEL: (f64, f64) = (140.0, 520.0);
/// The strip that shows the state of time.
const STRIP: (f64, f64) = (528.0, 540.0);
/// More events than this would cover the picture.
const MOST_EVENTS: usize = 60;

// Colours that people who see few of them can tell apart (Okabe and Ito).
const COLOURS: [&str; 7] = ["#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#b3a500", "#56b4e9"];
const CLOCK: &str = "#000000";
const BOUND: &str = "#56b4e9";
const GREY: &str = "#666666";
const PALE: &str = "#e3e3e3";

/// Draws the whole of it under a title.
pub(super) fn draw(title: &str, story: &Story) -> String {
    let picture = Picture::new(story);
    let mut svg = Svg(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    ));
    svg.text(LEFT, 34.0, "font-size=\"20\" font-weight=\"600\"", title);
    picture.legend(&mut svg);
    picture.grid(&mut svg);
    picture.band(&mut svg);
    picture.samples(&mut svg);
    picture.clock(&mut svg);
    picture.strip(&mut svg);
    picture.events(&mut svg);
    svg.0 + "</svg>\n"
}

/// The picture in the making.
struct Svg(String);

impl Svg {
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(element);
        self.0.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, attributes: &str, text: &str) {
        self.add(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{}</text>", escaped(text)));
    }

    fn path(&mut self, colour: &str, width: f64, path: &str) {
        if !path.is_empty() {
            self.add(format_args!(
                "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"{width}\" fill=\"none\" stroke-linecap=\"round\"/>"
            ));
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

struct Picture<'a> {
    story: &'a Story,
    /// Seconds across.
    span: f64,
    /// Below this the scale is linear, above logarithmic.
    quiet: f64,
    most: f64,
}

impl<'a> Picture<'a> {
    fn new(story: &'a Story) -> Self {
        let curve = &story.curve;
        let seen = curve.columns().iter().flat_map(|c| c.samples.iter().copied().chain([c.offset]));
        let mut sizes: Vec<f64> = seen.filter_map(Range::seen).map(|r| r.high.abs().max(r.low.abs())).filter(|v| *v > 0.0).collect();
        sizes.sort_by(f64::total_cmp);
        let quiet = sizes.get(sizes.len() / 3).copied().unwrap_or(1e-6).max(1e-9);
        let bounds = curve.columns().iter().filter_map(|c| c.bound.seen()).map(|r| r.high);
        let most = bounds.fold(sizes.last().copied().unwrap_or(1e-6), f64::max).max(quiet) * 1.3;
        Self { story, span: curve.elapsed().max(1.0), quiet, most }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * seconds / self.span
    }

    fn y(&self, value: f64) -> f64 {
        let middle = f64::midpoint(PANEL.0, PANEL.1);
        let size = (value.abs() / self.quiet).ln_1p() / (self.most / self.quiet).ln_1p();
        middle - (size.min(1.0) * (PANEL.1 - PANEL.0) / 2.0).copysign(value)
    }

    /// Columns with the middle of their time on the picture.
    fn columns(&self) -> impl Iterator<Item = (f64, &Column)> {
        let width = self.story.curve.width();
        (0_u32..).zip(self.story.curve.columns()).map(move |(i, column)| (self.x(((f64::from(i) + 0.5) * width).min(self.span)), column))
    }

    fn legend(&self, svg: &mut Svg) {
        let sources = self.story.curve.names().iter().zip(COLOURS.iter().cycle()).map(|(name, colour)| (name.as_str(), *colour));
        let mut x = LEFT;
        for (words, colour) in [("clock − line", CLOCK), ("bound of the line", BOUND)].into_iter().chain(sources) {
            // A letter is about 6.8 points wide.
            let wide = 38.0 + 6.8 * count(words.chars().count().try_into().unwrap_or(u64::MAX));
            if x + wide > RIGHT {
                svg.text(x, 60.0, "", "…");
                break;
            }
            svg.add(format_args!("<rect x=\"{x:.1}\" y=\"50\" width=\"14\" height=\"11\" rx=\"2\" fill=\"{colour}\"/>"));
            svg.text(x + 20.0, 60.0, "", words);
            x += wide;
        }
    }

    fn grid(&self, svg: &mut Svg) {
        let mut values = vec![0.0];
        let mut decade = 1e-9;
        while decade < self.most {
            // A label needs its room.
            if self.y(0.0) - self.y(decade) > 14.0 {
                values.extend([decade, -decade]);
            }
            decade *= 10.0;
        }
        for value in values {
            let y = self.y(value);
            let (colour, words) = if value.abs() > 0.0 { (PALE, axis_words(value)) } else { ("#9a9a9a", "0".to_owned()) };
            svg.add(format_args!("<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\"/>"));
            svg.text(LEFT - 8.0, y + 4.5, "text-anchor=\"end\"", &words);
        }
        let (step, unit, words) = time_step(self.span);
        let mut tick = 0.0;
        while tick <= self.span {
            let x = self.x(tick);
            svg.add(format_args!("<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"{PALE}\"/>", PANEL.0, PANEL.1));
            svg.text(x, STRIP.1 + 18.0, "text-anchor=\"middle\"", &format!("{:.0} {words}", tick / unit));
            tick += step;
        }
        let middle = f64::midpoint(LEFT, RIGHT);
        svg.text(middle, STRIP.1 + 42.0, &format!("text-anchor=\"middle\" fill=\"{GREY}\""), "since the trace began");
        let height = PANEL.1 - PANEL.0;
        svg.add(format_args!(
            "<rect x=\"{LEFT}\" y=\"{}\" width=\"{}\" height=\"{height}\" fill=\"none\" stroke=\"{GREY}\"/>",
            PANEL.0,
            RIGHT - LEFT
        ));
    }

    /// The bound on both sides of the line.
    fn band(&self, svg: &mut Svg) {
        let width = (RIGHT - LEFT) * self.story.curve.width() / self.span;
        let mut path = String::new();
        for (x, column) in self.columns() {
            if let Some(bound) = column.bound.seen() {
                let (top, bottom) = (self.y(bound.high), self.y(-bound.high));
                let _ = write!(path, "M{:.1} {top:.1}h{width:.2}V{bottom:.1}h-{width:.2}z", x - width / 2.0);
            }
        }
        svg.add(format_args!("<path d=\"{path}\" fill=\"{BOUND}\" fill-opacity=\"0.3\"/>"));
    }

    fn samples(&self, svg: &mut Svg) {
        for (source, colour) in (0..self.story.curve.names().len()).zip(COLOURS.iter().cycle()) {
            svg.path(colour, 2.2, &self.strokes(|column| column.samples.get(source).copied()));
        }
    }

    fn clock(&self, svg: &mut Svg) {
        svg.path(CLOCK, 1.4, &self.strokes(|column| Some(column.offset)));
    }

    /// An upright stroke from the least to the most of each column.
    fn strokes(&self, of: impl Fn(&Column) -> Option<Range>) -> String {
        let mut path = String::new();
        for (x, column) in self.columns() {
            if let Some(range) = of(column).and_then(Range::seen) {
                let _ = write!(path, "M{x:.1} {:.1}V{:.1}", self.y(range.low), self.y(range.high) - 0.1);
            }
        }
        path
    }

    fn strip(&self, svg: &mut Svg) {
        let width = self.story.curve.width();
        let mut stretches: Vec<(f64, Status)> = Vec::new();
        for (i, column) in (0_u32..).zip(self.story.curve.columns()) {
            match column.status {
                Some(status) if stretches.last().is_none_or(|last| last.1 != status) => stretches.push((f64::from(i) * width, status)),
                _ => {}
            }
        }
        let ends = stretches.iter().skip(1).map(|stretch| stretch.0).chain([self.span]);
        for (&(begin, status), end) in stretches.iter().zip(ends) {
            let colour = match status {
                Status::Synchronised => "#009e73",
                Status::Holdover => "#e69f00",
                Status::Disrupted => "#d55e00",
                Status::Unsynchronised => "#999999",
            };
            let (x, words) = (self.x(begin), status.as_str());
            let (wide, high) = (self.x(end) - x, STRIP.1 - STRIP.0);
            svg.add(format_args!(
                "<rect x=\"{x:.1}\" y=\"{}\" width=\"{wide:.1}\" height=\"{high}\" fill=\"{colour}\"><title>{words}</title></rect>",
                STRIP.0
            ));
            if wide > 110.0 {
                svg.text(x + wide / 2.0, STRIP.1 - 2.0, "text-anchor=\"middle\" font-size=\"10\" fill=\"#ffffff\"", words);
            }
        }
    }

    /// Lines through the panel, with words above in three rows where there is room.
    fn events(&self, svg: &mut Svg) {
        let shown = self.story.notable.iter().filter(|n| {
            matches!(n.what, Happening::Run { .. } | Happening::Gap { .. } | Happening::Stepped { .. })
                || matches!(n.what, Happening::Signal(signal) if !matches!(signal, Signal::Stalled { .. }))
        });
        let mut ends = [0.0_f64; 3];
        for notable in shown.take(MOST_EVENTS) {
            let (x, words) = (self.x(notable.elapsed), super::words(&notable.what));
            svg.add(format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"{GREY}\" stroke-dasharray=\"4 3\"><title>{}</title></line>",
                PANEL.0,
                PANEL.1,
                escaped(&words)
            ));
            let wide = 6.2 * count(words.chars().count().try_into().unwrap_or(u64::MAX));
            let Some((row, y)) = (0..3).zip([134.0, 118.0, 102.0]).find(|&(row, _)| ends[row] + 6.0 < x) else { continue };
            // Near the right edge the words stand to the left of the line.
            let (anchor, shift) = if x + wide > RIGHT { ("end", -3.0) } else { ("start", 3.0) };
            svg.text(x + shift, y, &format!("text-anchor=\"{anchor}\" font-size=\"11.5\" fill=\"{GREY}\""), &words);
            ends[row] = x + wide;
        }
    }
}

/// `+10 us`, for powers of ten.
fn axis_words(value: f64) -> String {
    let size = value.abs() * 1.000_001;
    let (scaled, unit) = match size {
        v if v < 1e-6 => (size * 1e9, "ns"),
        v if v < 1e-3 => (size * 1e6, "us"),
        v if v < 1.0 => (size * 1e3, "ms"),
        _ => (size, "s"),
    };
    format!("{}{scaled:.0} {unit}", if value < 0.0 { '−' } else { '+' })
}

/// The seconds between two ticks, the seconds of a unit, and its name: five to twelve ticks across.
fn time_step(span: f64) -> (f64, f64, &'static str) {
    let steps = [
        (1.0, 1.0, "s"),
        (5.0, 1.0, "s"),
        (15.0, 1.0, "s"),
        (60.0, 60.0, "min"),
        (300.0, 60.0, "min"),
        (900.0, 60.0, "min"),
        (3600.0, 3600.0, "h"),
        (14_400.0, 3600.0, "h"),
        (43_200.0, 3600.0, "h"),
        (86_400.0, 86_400.0, "d"),
        (604_800.0, 86_400.0, "d"),
        (2_592_000.0, 86_400.0, "d"),
    ];
    let fitting = steps.into_iter().find(|(step, ..)| span / step <= 12.0);
    fitting.unwrap_or(((span / 10.0 / 31_557_600.0).ceil() * 31_557_600.0, 31_557_600.0, "y"))
}
