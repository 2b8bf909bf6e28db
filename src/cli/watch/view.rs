//! Draws a [`View`] into any rectangle, sensibly from 80 columns by 24 lines up.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph, Row, Table};

use super::View;
use crate::cli::{format, sources};
use crate::wire::control::{Report, Source};

/// Least seconds shown on the plot, so that a fresh view does not stretch two points.
const MIN_WINDOW: f64 = 60.0;

/// The whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let rows = view.report.as_ref().map_or(0, |report| report.sources.len());
    let rows = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(1).min(frame.area().height / 2);
    let [head, plot, table, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(6), Constraint::Length(rows.max(3)), Constraint::Length(1)])
            .areas(frame.area());
    draw_head(frame, head, view);
    draw_plot(frame, plot, view);
    draw_sources(frame, table, view);
    draw_foot(frame, foot, view);
}

/// A colour for the state of time.
fn colour(status: &str) -> Color {
    match status {
        "synchronised" => Color::Green,
        "holdover" => Color::Yellow,
        _ => Color::Red,
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let Some(report) = &view.report else {
        frame.render_widget(Paragraph::new("waiting for paraclock"), area);
        return;
    };
    let t = &report.tracking;
    let follows = if t.reference_name.is_empty() { "no source".into() } else { format!("{} (stratum {})", t.reference_name, t.stratum) };
    let bound = |error: Option<f64>| error.map_or_else(|| "unknown".into(), format::magnitude);
    let first = Line::from(vec![
        Span::styled(t.status.clone(), Style::new().fg(colour(&t.status)).add_modifier(Modifier::BOLD)),
        Span::raw(format!(" for {}, following {follows}", format::span(report.time - t.status_since))),
    ]);
    let second = Line::from(format!(
        "error at most {} (line {})   offset {}   {:+.3} ppm, skew {:.3} ppm",
        bound(t.clock.error),
        bound(t.line.error),
        format::signed_seconds(t.system_offset).trim(),
        t.frequency_ppm,
        t.skew_ppm,
    ));
    frame.render_widget(Paragraph::new(vec![first, second]), area);
}

/// The plot's data: seconds before now, and offsets.
struct Curves {
    system: Vec<(f64, f64)>,
    measured: Vec<(f64, f64)>,
    above: Vec<(f64, f64)>,
    below: Vec<(f64, f64)>,
    window: f64,
    height: f64,
}

fn curves(view: &View) -> Curves {
    let now = view.history.back().map_or(0.0, |point| point.uptime);
    let start = view.history.front().map_or(0.0, |point| point.uptime);
    let points = view.history.iter();
    let system: Vec<_> = points.clone().map(|p| (p.uptime - now, p.system_offset)).collect();
    let measured: Vec<_> = points.clone().map(|p| (p.uptime - now, p.last_offset)).collect();
    let above: Vec<_> = points.filter_map(|p| p.bound.map(|bound| (p.uptime - now, bound))).filter(|_| view.show_bound).collect();
    let below = above.iter().map(|&(x, y)| (x, -y)).collect();
    let height = [&system, &measured, &above].into_iter().flatten().map(|&(_, y)| y.abs()).fold(1e-9, f64::max);
    Curves { system, measured, above, below, window: (now - start).max(MIN_WINDOW), height: height * 1.1 }
}

fn draw_plot(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let curves = curves(view);
    let line = |name, data, colour| {
        Dataset::default().name(name).marker(Marker::Braille).graph_type(GraphType::Line).style(Style::new().fg(colour)).data(data)
    };
    let mut sets = vec![
        line("offset", &curves.system, Color::Cyan),
        Dataset::default().name("last update").marker(Marker::Dot).style(Style::new().fg(Color::Magenta)).data(&curves.measured),
    ];
    if view.show_bound {
        sets.push(line("bound", &curves.above, Color::DarkGray));
        sets.push(line("", &curves.below, Color::DarkGray));
    }
    let height = curves.height;
    let labels = [-height, 0.0, height].map(|y| if y == 0.0 { "0".to_owned() } else { format::signed_seconds(y).trim().to_owned() });
    let x = Axis::default()
        .bounds([-curves.window, 0.0])
        .labels([format!("{} ago", format::span(curves.window)), "now".to_owned()])
        .style(Style::new().fg(Color::Gray));
    let y = Axis::default().bounds([-height, height]).labels(labels).style(Style::new().fg(Color::Gray));
    let chart = Chart::new(sets).block(Block::bordered().title("offset of the system clock (above 0: ahead)")).x_axis(x).y_axis(y);
    frame.render_widget(chart, area);
}

fn draw_sources(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let header = Row::new(["", "source", "St", "Poll", "Reach", "LastRx", "offset", "+/-", "why"]);
    let rows = view.report.iter().flat_map(|report| report.sources.iter().map(row));
    let widths = [
        Constraint::Length(2),
        Constraint::Length(18),
        Constraint::Length(2),
        Constraint::Length(4),
        Constraint::Length(5),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Min(10),
    ];
    let table = Table::new(rows, widths).header(header.style(Style::new().add_modifier(Modifier::REVERSED)));
    frame.render_widget(table, area);
}

fn row(source: &Source) -> Row<'static> {
    let colour = match source.mark {
        '*' => Color::Green,
        '+' | '-' => Color::Reset,
        'x' | '~' => Color::Red,
        _ => Color::Yellow,
    };
    let name: String = source.name.chars().take(18).collect();
    Row::new([
        format!("{}{}", sources::mode(source), source.mark),
        name,
        source.stratum.to_string(),
        format!("{:4}", source.poll),
        format!("{:5o}", source.reach),
        format!("{:>6}", format::age(source.last_sample_age)),
        format::signed_seconds(source.offset),
        format::seconds(source.root_distance),
        sources::reason(source),
    ])
    .style(Style::new().fg(colour))
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let problem = |report: &Report| report.problems.first().cloned();
    let trouble = view.error.clone().or_else(|| view.report.as_ref().and_then(problem));
    let line = match trouble {
        Some(text) => Line::styled(text, Style::new().fg(Color::Red)),
        None => Line::styled("q quit   b bound", Style::new().fg(Color::DarkGray)),
    };
    frame.render_widget(Paragraph::new(line), area);
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::{ClientError, sample};

    fn screen(view: &View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells: Vec<&str> = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        cells.chunks(usize::from(width)).map(|row| row.concat().trim_end().to_owned()).collect()
    }

    fn lived() -> View {
        let mut view = View::new();
        for second in 0..700_u32 {
            let mut report = sample::report();
            report.uptime = f64::from(second);
            report.tracking.system_offset = (f64::from(second) / 30.0).sin() * 1e-6;
            view.accept(Ok(report));
        }
        view
    }

    #[test]
    fn eighty_by_twenty_four_holds_everything() {
        let lines = screen(&lived(), 80, 24);
        assert_eq!(lines[0], "synchronised for 60 min, following PHC0 (stratum 1)");
        assert!(lines[1].starts_with("error at most 5.4 us (line 4.1 us)   offset "), "{}", lines[1]);
        assert!(lines[1].ends_with("-12.345 ppm, skew 0.087 ppm"), "{}", lines[1]);
        let text = lines.join("\n");
        assert!(text.contains("offset of the system clock") && text.contains("9 min ago") && text.contains("+5940ns"), "{text}");
        assert_eq!(lines[18], "   source             St Poll Reach LastRx offset  +/-    why");
        assert_eq!(lines[19], "#* PHC0               0     3   377      4   -50ns 2100ns the best source");
        assert!(lines[22].starts_with("^? 2001:db8:1234:5678 0     7     0      -    +0ns    0ns no answer in the"), "{}", lines[22]);
        assert_eq!(lines[23], "q quit   b bound");
        assert!(text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "no curve:\n{text}");
    }

    #[test]
    fn without_the_bound_the_plot_is_closer() {
        let mut view = lived();
        view.show_bound = false;
        let text = screen(&view, 80, 24).join("\n");
        assert!(text.contains("+1100ns"), "{text}");
    }

    #[test]
    fn history_is_bounded_and_begins_anew_with_the_daemon() {
        let mut view = lived();
        assert_eq!(view.history.len(), super::super::HISTORY);
        let mut report = sample::report();
        report.uptime = 1.0;
        view.accept(Ok(report));
        assert_eq!(view.history.len(), 1);
    }

    #[test]
    fn a_silent_daemon_is_named_in_the_last_line() {
        let mut view = View::new();
        assert_eq!(screen(&view, 80, 24)[0], "waiting for paraclock");
        view.accept(Err(ClientError::Absent { path: PathBuf::from("/run/paraclock/paraclock.sock") }));
        assert!(screen(&view, 80, 24)[23].starts_with("/run/paraclock/paraclock.sock: no such socket"));
    }

    #[test]
    fn odd_sizes_and_unknown_bounds_do_not_panic() {
        let mut view = lived();
        view.accept(Ok(sample::unsynchronised()));
        for (width, height) in [(1, 1), (10, 3), (40, 12), (200, 60)] {
            let _ = screen(&view, width, height);
        }
        assert!(screen(&view, 80, 24)[1].contains("error at most unknown"));
        assert_eq!(screen(&view, 80, 24)[23], "no source answers: check that UDP port 123 is open");
    }
}
