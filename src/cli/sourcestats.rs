//! `paraclock sourcestats`: what is known of each source's drift, in chronyc's columns.

use clap::Args;

use super::sources::Style;
use super::{Viewing, format};
use crate::wire::control::Report;

/// Options of `sourcestats`.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Explain the columns
    #[arg(short, long)]
    verbose: bool,
    /// Print addresses instead of names
    #[arg(short, long)]
    numeric: bool,
    #[command(flatten)]
    pub(super) viewing: Viewing,
}

impl Options {
    pub(super) const fn style(&self) -> Style {
        Style { verbose: self.verbose, numeric: self.numeric }
    }
}

const LEGEND: &str = "
NP, NR:     samples in use, and runs of residuals of one sign among them
Span:       seconds that the samples cover (m, h, d: minutes, hours, days)
Frequency:  by how many ppm this clock, as corrected, gains on the source
Freq Skew:  uncertainty of that frequency in ppm
Offset:     by how much this clock is estimated to be ahead of the source
Std Dev:    standard deviation of the samples

";

const HEADER: &str = "Name/IP Address            NP  NR  Span  Frequency  Freq Skew  Offset  Std Dev";

/// The table; `style.verbose` puts a legend above it.
pub(super) fn render(report: &Report, style: Style) -> String {
    let mut text = if style.verbose { LEGEND.to_owned() } else { String::new() };
    text += &format!("{HEADER}\n{}\n", "=".repeat(HEADER.len()));
    for s in &report.sources {
        text += &format!(
            "{:<25} {:3} {:3}  {} {:+10.3} {:10.3}  {}  {}\n",
            style.name(s),
            s.samples,
            s.runs,
            format::age(Some(s.span)),
            s.frequency_ppm,
            s.skew_ppm,
            format::signed_seconds(s.offset),
            format::seconds(s.jitter),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;

    const GOLDEN: &str = "\
Name/IP Address            NP  NR  Span  Frequency  Freq Skew  Offset  Std Dev
==============================================================================
PHC0                       24  13   184     -0.000      0.002    -50ns    55ns
ntp1.example.com           31  12   70m     +0.045      0.145   +737us   238us
a-rather-long-name.of-a->  30  19   11h     +0.014      0.080  -3143ms   117us
2001:db8:1234:5678:9abc:def0:1234:5678   0   0     0     +0.000   2000.000     +0ns  4000ms
";

    #[test]
    fn the_columns_are_chronycs() {
        assert_eq!(render(&sample::report(), Style::default()), GOLDEN);
        let verbose = render(&sample::report(), Style { verbose: true, numeric: false });
        assert!(verbose.ends_with(GOLDEN) && verbose.starts_with("\nNP, NR:"));
    }
}
