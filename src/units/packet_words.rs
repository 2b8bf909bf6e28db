//! Small words of the NTP packet and of source tables: stratum, poll, reach.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Distance from a primary clock: 1..=15; 0 and 16 mean unsynchronised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Stratum(u8);

impl Stratum {
    /// A reference clock: the program that reads it becomes stratum 1.
    pub const REFCLOCK: Self = Self(0);
    /// Not synchronised.
    pub const UNSYNCHRONISED: Self = Self(16);

    /// Values above 16 become 16.
    #[must_use]
    pub const fn new(value: u8) -> Self {
        Self(if value > 16 { 16 } else { value })
    }

    /// The number, 0..=16.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The stratum of a clock that follows this one.
    #[must_use]
    pub const fn below(self) -> Self {
        Self::new(self.0.saturating_add(1))
    }
}

/// A poll interval as a power of two seconds, -7..=24.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Poll(i8);

impl Poll {
    /// The shortest interval, 1/128 s.
    pub const MIN: Self = Self(-7);
    /// The longest interval, about half a year.
    pub const MAX: Self = Self(24);

    /// Held within [`Poll::MIN`] and [`Poll::MAX`].
    #[must_use]
    pub const fn new(log2_seconds: i8) -> Self {
        Self(match log2_seconds {
            i8::MIN..-7 => Self::MIN.0,
            -7..=24 => log2_seconds,
            25.. => Self::MAX.0,
        })
    }

    /// The exponent.
    #[must_use]
    pub const fn log2(self) -> i8 {
        self.0
    }

    /// The interval.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_secs_f64(f64::from(self.0).exp2())
    }

    /// One step longer, not above `limit`.
    #[must_use]
    pub fn longer(self, limit: Self) -> Self {
        Self::new(self.0.saturating_add(1)).min(limit)
    }

    /// One step shorter, not below `limit`.
    #[must_use]
    pub fn shorter(self, limit: Self) -> Self {
        Self::new(self.0.saturating_sub(1)).max(limit)
    }
}

/// The reachability register: one bit for each of the last eight polls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reach(u8);

impl Reach {
    /// A poll is sent: shift in "no answer yet".
    pub const fn poll(&mut self) {
        self.0 <<= 1;
    }

    /// The answer arrived.
    pub const fn answered(&mut self) {
        self.0 |= 1;
    }

    /// Back to "never answered".
    pub const fn reset(&mut self) {
        self.0 = 0;
    }

    /// The register's eight bits; tables print them in octal.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// True when any of the last eight polls was answered.
    #[must_use]
    pub const fn is_reachable(self) -> bool {
        self.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reach_remembers_eight_polls() {
        let mut reach = Reach::default();
        reach.poll();
        reach.answered();
        for _ in 0..7 {
            assert!(reach.is_reachable());
            reach.poll();
        }
        assert_eq!(reach.bits(), 0o200);
        reach.poll();
        assert!(!reach.is_reachable());
    }

    #[test]
    fn poll_intervals() {
        assert_eq!(Poll::new(6).interval(), Duration::from_secs(64));
        assert_eq!(Poll::new(-2).interval(), Duration::from_millis(250));
        assert_eq!(Poll::new(100), Poll::MAX);
        assert_eq!(Poll::new(6).longer(Poll::new(6)), Poll::new(6));
        assert_eq!(Stratum::new(15).below().below(), Stratum::UNSYNCHRONISED);
    }
}
