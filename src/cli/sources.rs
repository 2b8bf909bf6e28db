//! `paraclock sources`: one row per source, in chronyc's columns.

use clap::Args;

use super::{Viewing, format};
use crate::wire::control::{Report, Source};

/// Options of `sources`.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Explain the columns and say why each source is in its state
    #[arg(short, long)]
    verbose: bool,
    /// Print addresses instead of names
    #[arg(short, long)]
    numeric: bool,
    #[command(flatten)]
    pub(super) viewing: Viewing,
}

/// How a table of sources is printed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    /// With a legend.
    pub(super) verbose: bool,
    /// Addresses instead of names.
    pub(super) numeric: bool,
}

impl Options {
    pub(super) const fn style(&self) -> Style {
        Style { verbose: self.verbose, numeric: self.numeric }
    }
}

impl Style {
    /// What the name column shows.
    pub(super) fn name(self, source: &Source) -> String {
        format::name(if self.numeric && !source.address.is_empty() { &source.address } else { &source.name })
    }
}

const LEGEND: &str = "
M, mode:    ^ an NTP server   # a clock of this machine
S, state:   * followed   + followed together with *   - good, but not needed
            x disagrees with the majority   ~ varies too much   ? cannot be used
Poll:       log2 of the seconds between two polls
Reach:      the last eight polls in octal, 377 when all were answered
LastRx:     age of the last good sample in seconds (m, h, d: minutes, hours, days)
Last sample: offset as corrected since [ as measured ] +/- margin of error;
            positive when this clock is ahead of the source

";

const HEADER: &str = "MS Name/IP address         Stratum Poll Reach LastRx Last sample               ";

/// The table; `style.verbose` puts a legend above it and the reasons of states below.
pub(super) fn render(report: &Report, style: Style) -> String {
    let mut text = String::new();
    if style.verbose {
        text.push_str(LEGEND);
    }
    text += HEADER;
    text.push('\n');
    text += &"=".repeat(HEADER.len());
    text.push('\n');
    for source in &report.sources {
        text += &row(source, style);
    }
    if style.verbose && !report.sources.is_empty() {
        text.push('\n');
        for source in &report.sources {
            text += &format!("{}{} {}: {}\n", mode(source), source.mark, style.name(source), reason(source));
            if let Some(nature) = nature(source) {
                text += &format!("   {nature}\n");
            }
        }
    }
    text
}

/// The mark of the first column.
pub(super) fn mode(source: &Source) -> char {
    if source.mode == "refclock" { '#' } else { '^' }
}

/// Why a source is in its state, and its last error.
pub(super) fn reason(source: &Source) -> String {
    let mut text = if source.reason.is_empty() { source.state.clone() } else { source.reason.clone() };
    if !source.error.is_empty() {
        text += &format!(" ({})", source.error);
    }
    text
}

/// The device behind a clock of this machine, the timescale and where it is known from, and what befell its readings.
/// Of a server there is something to say only if it does not keep UTC.
fn nature(source: &Source) -> Option<String> {
    let local = mode(source) == '#';
    let mut parts = Vec::new();
    if !source.transmit_stamp.is_empty() {
        parts.push(format!("stamped by {} (request) and {} (answer)", source.transmit_stamp, source.receive_stamp));
    }
    if !local && source.timescale == "utc" {
        return (!parts.is_empty()).then(|| parts.join(", "));
    }
    if !source.device.is_empty() {
        parts.push(format!("{} \"{}\"", source.device, source.clock_name));
    }
    if !source.timescale_from.is_empty() {
        parts.push(format!("timescale {} ({})", source.timescale, source.timescale_from));
    }
    if !source.smearing_hint.is_empty() {
        parts.push(format!("its host smears {}", source.smearing_hint));
    }
    if source.own_thread {
        parts.push("slow, on a thread of its own".to_owned());
    }
    if source.preempted > 0 {
        parts.push(format!("{} readings preempted", source.preempted));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn row(s: &Source, style: Style) -> String {
    format!(
        "{}{} {:<27}  {:2}  {:2}   {:3o}  {}  {}[{}] +/- {}\n",
        mode(s),
        s.mark,
        style.name(s),
        s.stratum,
        s.poll,
        s.reach,
        format::age(s.last_sample_age),
        format::signed_seconds(s.last_offset),
        format::signed_seconds(s.measured_offset),
        format::seconds(s.last_error),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;

    const GOLDEN: &str = "\
MS Name/IP address         Stratum Poll Reach LastRx Last sample               
===============================================================================
#* PHC0                          0   3   377     4    -63ns[ +758ns] +/- 1711ns
^+ ntp1.example.com              1   6   357   21m   +236us[ +236us] +/-   11ms
^x a-rather-long-name.of-a->     2  10   377    37  -3299ms[-3299ms] +/-   14ms
^? 2001:db8:1234:5678:9abc:def0:1234:5678   0   7     0     -     +0ns[   +0ns] +/-    0ns
";

    #[test]
    fn the_columns_are_chronycs() {
        assert_eq!(render(&sample::report(), Style::default()), GOLDEN);
    }

    #[test]
    fn numeric_shows_addresses() {
        let text = render(&sample::report(), Style { numeric: true, verbose: false });
        assert!(text.contains("^+ 192.0.2.1                     1   6") && text.contains("#* PHC0 "), "{text}");
    }

    #[test]
    fn verbose_explains_columns_and_states() {
        let text = render(&sample::report(), Style { numeric: false, verbose: true });
        assert!(text.starts_with("\nM, mode:") && text.contains(GOLDEN), "{text}");
        assert!(text.contains("^x a-rather-long-name.of-a->: its time disagrees with the majority\n"), "{text}");
        let nature = "   /dev/ptp0 \"KVM virtual PTP\", timescale utc (it agrees with ntp1.example.com), 3 readings preempted\n";
        assert!(text.contains(&format!("#* PHC0: the best source\n{nature}^+ ntp1")), "{text}");
        assert!(text.contains("with the best source\n   stamped by hardware (request) and kernel (answer)\n"), "{text}");
        assert!(text.ends_with("5678: no answer in the last eight polls (sending failed: network is unreachable)\n"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 120));
    }
}
