//! `paraclock selectdata`: why each source is used or not, in chronyc's columns with the reason behind them.

use clap::Args;

use super::sources::{Style, reason};
use super::{Viewing, format};
use crate::wire::control::{Report, Source};

/// Options of `selectdata`.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Explain the columns and the letters
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
S, state:   cannot be used:
              N has noselect   s silent, or not synchronised   M waits for its first sample
              d too distant (maxdistance)   ~ varies too much   x disagrees with the other sources
            could be used:
              W waits for others (minsources, require, trust)
              P another is preferred   D much more distant than the best source
            is used:
              + combined with the best source   * the best source
Auth:       Y if its answers are authenticated
COpts:      options as configured: N noselect, P prefer, T trust, R require
EOpts:      the same as in effect: a clock that tells no time of day has noselect
Last:       age of the last good sample in seconds (m, h, d: minutes, hours, days)
Score:      root distance of the best source over this one's: above 1 this one is closer,
            but the best source stays until another is clearly closer
Interval:   where this clock's offset lies if the source tells the truth;
            positive when this clock is ahead
Leap:       N none announced   + an inserted second   - a deleted one   ? not known

";

const HEADER: &str = "S Name/IP Address        Auth COpts EOpts Last Score     Interval  Leap  Reason";

/// The table; `style.verbose` puts a legend above it.
pub(super) fn render(report: &Report, style: Style) -> String {
    let mut text = if style.verbose { LEGEND.to_owned() } else { String::new() };
    text += &format!("{HEADER}\n{}\n", "=".repeat(HEADER.len()));
    for source in &report.sources {
        text += &row(source, style);
    }
    text
}

fn row(s: &Source, style: Style) -> String {
    let (low, high) = s.interval.map_or_else(
        || ("      -".to_owned(), "      -".to_owned()),
        |(low, high)| (format::signed_seconds(low), format::signed_seconds(high)),
    );
    format!(
        "{} {:<25} {} {} {} {} {:5.1} {low} {high}  {}     {}\n",
        s.letter,
        style.name(s),
        if s.authenticated { 'Y' } else { 'N' },
        letters(&s.options),
        letters(&s.effective_options),
        format::age(s.last_sample_age),
        s.score,
        leap(&s.leap),
        reason(s),
    )
}

/// Five places, as in chrony's tables, whose last is kept for what may come.
fn letters(options: &[String]) -> String {
    let places = [("noselect", 'N'), ("prefer", 'P'), ("trust", 'T'), ("require", 'R')];
    places.iter().map(|&(word, letter)| if options.iter().any(|o| o == word) { letter } else { '-' }).chain(['-']).collect()
}

fn leap(words: &str) -> char {
    match words {
        "Normal" => 'N',
        "Insert second" => '+',
        "Delete second" => '-',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample;

    const GOLDEN: &str = "\
S Name/IP Address        Auth COpts EOpts Last Score     Interval  Leap  Reason
===============================================================================
* PHC0                      N -PT-- -PT--    4   1.0 -2150ns +2050ns  N     the best source
+ ntp1.example.com          N ----- -----  21m   1.3   -10ms   +12ms  N     combined with the best source
x a-rather-long-name.of-a-> N ----- N----   37   1.0 -3156ms -3130ms  +     its time disagrees with the majority
s 2001:db8:1234:5678:9abc:def0:1234:5678 N N---- N----    -   1.0       -       -  ?     no answer in the last eight polls (sending failed: network is unreachable)
";

    #[test]
    fn the_columns_are_chronycs() {
        assert_eq!(render(&sample::report(), Style::default()), GOLDEN);
        // A row of chronyc 4.5, up to the leap second: scripts that cut columns find them.
        let theirs = "* 10.1.1.150                Y -P--- -PTR-    0   1.0   -83us   +86us  N";
        let mut source = sample::report().sources.remove(0);
        source.name = "10.1.1.150".into();
        source.authenticated = true;
        source.options = vec!["prefer".into()];
        source.effective_options = vec!["prefer".into(), "trust".into(), "require".into()];
        source.last_sample_age = Some(0.4);
        source.interval = Some((-83e-6, 86e-6));
        assert_eq!(row(&source, Style::default()), format!("{theirs}     the best source\n"));
    }

    #[test]
    fn every_letter_is_explained() {
        let text = render(&sample::report(), Style { verbose: true, numeric: true });
        assert!(text.starts_with("\nS, state:") && text.contains("+ 192.0.2.1                 N"), "{text}");
        let states = LEGEND.split("Auth:").next().unwrap();
        for letter in ['N', 's', 'M', 'd', '~', 'x', 'W', 'P', 'D', '+', '*'] {
            assert!(states.contains(&format!(" {letter} ")), "{letter}");
        }
    }
}
