//! Quantities in plain English.

use std::time::Duration;

use crate::units::Poll;

/// A time with a unit that suits it: `250 us`, `64 s`, `1024 s (17 min)`.
pub(super) fn seconds(seconds: f64) -> String {
    let size = seconds.abs();
    if size == 0.0 {
        "0 s".to_owned()
    } else if size < 1e-6 {
        format!("{} ns", rounded(seconds * 1e9))
    } else if size < 1e-3 {
        format!("{} us", rounded(seconds * 1e6))
    } else if size < 1.0 {
        format!("{} ms", rounded(seconds * 1e3))
    } else if size < 120.0 {
        format!("{} s", rounded(seconds))
    } else if size < 7200.0 {
        format!("{} s ({:.0} min)", rounded(seconds), seconds / 60.0)
    } else if size < 172_800.0 {
        format!("{} s ({:.0} h)", rounded(seconds), seconds / 3600.0)
    } else {
        format!("{} s ({:.0} days)", rounded(seconds), seconds / 86_400.0)
    }
}

/// The same for a duration.
pub(super) fn span(duration: Duration) -> String {
    seconds(duration.as_secs_f64())
}

/// `every 64 s`.
pub(super) fn every(poll: Poll) -> String {
    format!("every {}", span(poll.interval()))
}

/// Three decimals at most.
pub(super) fn rounded(value: f64) -> String {
    format!("{}", (value * 1e3).round() / 1e3)
}

/// `1 source`, `2 sources`.
pub(super) fn many<T: std::fmt::Display + PartialEq + From<u8>>(count: T, noun: &str) -> String {
    let plural = if count == T::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suitable_units() {
        for (value, text) in [
            (0.0, "0 s"),
            (2e-9, "2 ns"),
            (-1.5e-5, "-15 us"),
            (0.0025, "2.5 ms"),
            (64.0, "64 s"),
            (1024.0, "1024 s (17 min)"),
            (131_072.0, "131072 s (36 h)"),
            (16_777_216.0, "16777216 s (194 days)"),
        ] {
            assert_eq!(seconds(value), text);
        }
        assert_eq!(every(Poll::new(4)), "every 16 s");
        assert_eq!(many(1_u32, "update"), "1 update");
        assert_eq!(many(0_u32, "update"), "0 updates");
    }
}
