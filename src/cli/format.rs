//! Numbers and dates as people know them from chronyc's tables.
//!
//! Each function returns text of a fixed least width, so that columns line up and
//! scripts that cut them go on working. Values outside the columns widen them.

use crate::units::{Civil, duration};

/// Seconds scaled to `ns`, `us`, `ms` or `s`, four digits, six characters wide.
pub(super) fn seconds(value: f64) -> String {
    let value = value.abs();
    match Scale::of(value) {
        Scale::Nano => format!("{:4.0}ns", value * 1e9),
        Scale::Micro => format!("{:4.0}us", value * 1e6),
        Scale::Milli => format!("{:4.0}ms", value * 1e3),
        Scale::Tenths => format!("{value:5.1}s"),
        Scale::Whole => format!("{value:5.0}s"),
        Scale::Days => format!("{:5.0}d", value / 86_400.0),
    }
}

/// The same with a sign, seven characters wide.
pub(super) fn signed_seconds(value: f64) -> String {
    match Scale::of(value.abs()) {
        Scale::Nano => format!("{:+5.0}ns", value * 1e9),
        Scale::Micro => format!("{:+5.0}us", value * 1e6),
        Scale::Milli => format!("{:+5.0}ms", value * 1e3),
        Scale::Tenths => format!("{value:+6.1}s"),
        Scale::Whole => format!("{value:+6.0}s"),
        Scale::Days => format!("{:+6.0}d", value / 86_400.0),
    }
}

/// The unit a number of seconds is shown in.
enum Scale {
    Nano,
    Micro,
    Milli,
    Tenths,
    Whole,
    Days,
}

impl Scale {
    fn of(magnitude: f64) -> Self {
        match magnitude {
            v if v < 9999.5e-9 => Self::Nano,
            v if v < 9999.5e-6 => Self::Micro,
            v if v < 9999.5e-3 => Self::Milli,
            v if v < 999.5 => Self::Tenths,
            v if v < 99_999.5 => Self::Whole,
            _ => Self::Days,
        }
    }
}

/// An age: seconds, then minutes, hours, days, years; four characters wide, `-` if there is none.
pub(super) fn age(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "   -".into() };
    let whole = duration(seconds).as_secs();
    match whole {
        0..1_200 => format!("{whole:4}"),
        1_200..36_000 => format!("{:3}m", whole / 60),
        36_000..345_600 => format!("{:3}h", whole / 3_600),
        345_600..86_400_000 => format!("{:3}d", whole / 86_400),
        _ => format!("{:3}y", whole / 31_557_600),
    }
}

/// A span of time for a sentence: `4 s`, `12 min`, `5 h 20 min`, `3 d 4 h`.
pub(super) fn span(seconds: f64) -> String {
    let whole = duration(seconds).as_secs();
    let (large, small) = match whole {
        0..120 => return format!("{whole} s"),
        120..7_200 => return format!("{} min", whole / 60),
        7_200..172_800 => ((whole / 3_600, "h"), (whole % 3_600 / 60, "min")),
        _ => ((whole / 86_400, "d"), (whole % 86_400 / 3_600, "h")),
    };
    if small.0 == 0 { format!("{} {}", large.0, large.1) } else { format!("{} {} {} {}", large.0, large.1, small.0, small.1) }
}

/// A magnitude for a sentence: `4.1 us`, `512 ms`, `12.5 s`.
pub(super) fn magnitude(seconds: f64) -> String {
    let value = seconds.abs();
    let (scaled, unit) = match value {
        v if v < 9.995e-7 => (v * 1e9, "ns"),
        v if v < 9.995e-4 => (v * 1e6, "us"),
        v if v < 0.9995 => (v * 1e3, "ms"),
        v => (v, "s"),
    };
    if scaled < 99.95 { format!("{scaled:.1} {unit}") } else { format!("{scaled:.0} {unit}") }
}

/// The n-th word of a list of three-letter names.
fn three_letters(names: &str, n: u64) -> String {
    names.split(' ').zip(0_u64..).find(|&(_, index)| index == n).map_or_else(String::new, |(name, _)| name.to_owned())
}

/// `Fri Nov 20 12:03:29 2026`, UTC.
pub(super) fn long_date(unix_seconds: f64) -> String {
    let Civil { year, month, day, weekday, hour, minute, second } = Civil::of(duration(unix_seconds).as_secs());
    let weekday = three_letters("Sun Mon Tue Wed Thu Fri Sat", weekday);
    let month = three_letters("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", month - 1);
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} {year}")
}

/// `2026-11-20 12:03:29 UTC`.
pub(super) fn iso_date(unix_seconds: f64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of(duration(unix_seconds).as_secs());
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// A name in a column: host names longer than 25 characters are cut and end in `>`, addresses are never cut.
pub(super) fn name(text: &str) -> String {
    if text.chars().count() <= 25 || text.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    text.chars().take(24).chain(['>']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_keep_four_digits_and_their_width() {
        let shown: Vec<String> = [0.0, 3837e-9, 9999.4e-9, 9999.6e-9, 0.0112, 9.9994, 9.9996, 999.4, 999.6, 99_999.0, 200_000.0]
            .into_iter()
            .map(seconds)
            .collect();
        assert_eq!(shown, ["   0ns", "3837ns", "9999ns", "  10us", "  11ms", "9999ms", " 10.0s", "999.4s", " 1000s", "99999s", "    2d"]);
        let signed: Vec<String> =
            [0.0, -0.0, 795e-9, -63e-9, 0.000_236_4, -3.299, -12.34, 1234.0, -864_000.0].into_iter().map(signed_seconds).collect();
        assert_eq!(signed, ["   +0ns", "   -0ns", " +795ns", "  -63ns", " +236us", "-3299ms", " -12.3s", " +1234s", "   -10d"]);
        assert!(signed.iter().all(|text| text.len() == 7));
    }

    #[test]
    fn ages_change_unit() {
        let shown: Vec<String> = [0.0, 994.9, 1_260.0, 36_000.0, 400_000.0, 1e8].into_iter().map(|seconds| age(Some(seconds))).collect();
        assert_eq!(shown, ["   0", " 994", " 21m", " 10h", "  4d", "  3y"]);
        assert_eq!(age(None), "   -");
    }

    #[test]
    fn spans_and_magnitudes_read_as_sentences() {
        assert_eq!([span(4.9), span(780.0), span(19_200.0), span(180_000.0)], ["4 s", "13 min", "5 h 20 min", "2 d 2 h"]);
        assert_eq!([magnitude(4.1e-6), magnitude(-0.512), magnitude(2.0), magnitude(63e-9)], ["4.1 us", "512 ms", "2.0 s", "63.0 ns"]);
    }

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(long_date(0.0), "Thu Jan 01 00:00:00 1970");
        assert_eq!(long_date(1_795_176_209.5), "Fri Nov 20 12:03:29 2026");
        assert_eq!(iso_date(951_782_400.0), "2000-02-29 00:00:00 UTC");
        assert_eq!(iso_date(4_107_542_399.0), "2100-02-28 23:59:59 UTC");
        assert_eq!(iso_date(4_107_542_400.0), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn long_host_names_are_cut_but_addresses_are_not() {
        assert_eq!(name("a-rather-long-name.of-a-server.example.net"), "a-rather-long-name.of-a->");
        assert_eq!(name("a-name-of-25-letters.test"), "a-name-of-25-letters.test");
        assert_eq!(name("2001:db8:1234:5678:9abc:def0:1234:5678"), "2001:db8:1234:5678:9abc:def0:1234:5678");
    }
}
