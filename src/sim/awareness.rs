//! Whether a guest can know what happened to it: before that, nobody holds it to its promises.

use crate::units::Instant;

/// Whether the guest can know what happened to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Awareness {
    /// Nothing happened, or it had its chance.
    Aware,
    /// When it wakes up next.
    Wakes,
    /// Its time jumped: when it has read a clock, or heard a server, after this true time.
    Measures(Instant),
    /// Its rate changed, or nobody tells: when it has measured most sources twice after a true time.
    Compares(Comparison),
}

/// Which sources were measured after a true time, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Comparison {
    since: Instant,
    once: u64,
    twice: u64,
    /// So many must have been measured twice.
    needed: u32,
}

/// The bit of a source among those measured; many sources share one, which does no harm.
pub(super) const fn bit(source: usize) -> u64 {
    1 << (source % 64)
}

impl Awareness {
    /// Of something that shows only when most of so many sources were measured twice after `since`.
    pub(super) fn comparing(since: Instant, sources: usize) -> Self {
        let needed = u32::try_from(sources / 2 + 1).unwrap_or(u32::MAX);
        Self::Compares(Comparison { since, once: 0, twice: 0, needed })
    }

    /// It woke up.
    pub(super) fn woke(&mut self) {
        if *self == Self::Wakes {
            *self = Self::Aware;
        }
    }

    /// It measured the source with this bit, beginning at `at`.
    pub(super) fn measured(&mut self, at: Instant, source: u64) {
        match self {
            Self::Measures(since) if at > *since => *self = Self::Aware,
            Self::Compares(comparison) if at > comparison.since => {
                comparison.twice |= comparison.once & source;
                comparison.once |= source;
                if comparison.twice.count_ones() >= comparison.needed {
                    *self = Self::Aware;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_rate_shows_when_most_sources_were_measured_twice() {
        let at = Instant::from_nanos;
        let mut awareness = Awareness::comparing(at(10), 3);
        for (when, source) in [(5, 0), (20, 0), (21, 1), (22, 2), (30, 0)] {
            awareness.measured(at(when), bit(source));
            assert_ne!(awareness, Awareness::Aware, "{when}");
        }
        awareness.measured(at(31), bit(2));
        assert_eq!(awareness, Awareness::Aware);
    }

    #[test]
    fn a_jump_shows_with_the_first_measurement_and_a_step_with_the_first_wake_up() {
        let mut awareness = Awareness::Measures(Instant::from_nanos(10));
        awareness.woke();
        awareness.measured(Instant::from_nanos(10), bit(0));
        assert_ne!(awareness, Awareness::Aware, "begun before");
        awareness.measured(Instant::from_nanos(11), bit(0));
        assert_eq!(awareness, Awareness::Aware);
        let mut awareness = Awareness::Wakes;
        awareness.woke();
        assert_eq!(awareness, Awareness::Aware);
    }
}
