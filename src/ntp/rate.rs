//! How often one client is answered: a bucket that holds a burst and fills by one answer an interval, as chrony's `ratelimit` means it.

use std::time::Duration;

use rand_core::RngCore;

use crate::config::RateLimit;
use crate::units::Instant;

/// What a limited client gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// An answer.
    Pass,
    /// Nothing.
    Drop,
    /// A kiss-o'-death.
    Kiss,
}

/// The limits as they are applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    cost: Duration,
    depth: Duration,
}

impl Bucket {
    pub(super) fn new(limit: RateLimit) -> Self {
        let cost = limit.cost();
        Self { limit, cost, depth: cost * u32::from(limit.burst.max(1)) }
    }

    /// Takes one answer out of the bucket that will be full at `full`. `impatient`: the client asks more often while it gets no answers,
    /// so that most are answered to keep the traffic down.
    pub(super) fn take(&self, full: &mut Instant, now: Instant, impatient: bool, rng: &mut impl RngCore) -> Turn {
        let begun = (*full).max(now);
        if begun + self.cost <= now + self.depth {
            *full = begun + self.cost;
            return Turn::Pass;
        }
        if one_in(self.limit.leak.clamp(1, 4), rng) != impatient {
            *full = now + self.depth;
            return Turn::Pass;
        }
        if self.limit.kod > 0 && one_in(self.limit.kod.min(4), rng) { Turn::Kiss } else { Turn::Drop }
    }
}

/// True on average once in `2^power` times.
fn one_in(power: u8, rng: &mut impl RngCore) -> bool {
    rng.next_u32() >> (32 - u32::from(power)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    fn at(seconds: f64) -> Instant {
        Instant::ZERO + Duration::from_secs_f64(seconds)
    }

    fn turns(limit: RateLimit, times: impl Iterator<Item = f64>, impatient: bool) -> Vec<Turn> {
        let bucket = Bucket::new(limit);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut full = Instant::ZERO;
        times.map(|t| bucket.take(&mut full, at(t), impatient, &mut rng)).collect()
    }

    fn passed(turns: &[Turn]) -> usize {
        turns.iter().filter(|t| **t == Turn::Pass).count()
    }

    #[test]
    fn a_burst_passes_and_the_interval_is_kept() {
        let limit = RateLimit { interval: 1, burst: 8, leak: 4, kod: 0 };
        assert_eq!(passed(&turns(limit, (0..8).map(|i| 1000.0 + 0.001 * f64::from(i)), false)), 8);
        // One in two seconds for ever; a burst of eight each 16 s too.
        assert_eq!(passed(&turns(limit, (0..1000).map(|i| 1000.0 + 2.0 * f64::from(i)), false)), 1000);
        assert_eq!(passed(&turns(limit, (0..800).map(|i| 1000.0 + 16.0 * f64::from(i / 8)), false)), 800);
    }

    #[test]
    fn what_is_beyond_leaks_once_in_two_to_the_leak() {
        for leak in 1..=4 {
            let turns = turns(RateLimit { leak, kod: 2, ..RateLimit::default() }, (0..80_000).map(|_| 50.0), false);
            let expected = 80_000 >> leak;
            assert!(passed(&turns).abs_diff(expected) < expected / 10, "{} of {expected}", passed(&turns));
            let kisses = turns.iter().filter(|t| **t == Turn::Kiss).count();
            let of_dropped = (80_000 - expected) / 4;
            assert!(kisses.abs_diff(of_dropped) < of_dropped / 10, "{kisses} of {of_dropped}");
        }
        let none = turns(RateLimit::default(), (0..10_000).map(|_| 50.0), false);
        assert!(none.iter().all(|t| *t != Turn::Kiss), "no kiss unless asked for");
    }

    #[test]
    fn the_impatient_are_mostly_answered() {
        let turns = turns(RateLimit::default(), (0..40_000).map(|_| 50.0), true);
        assert!(passed(&turns).abs_diff(30_000) < 1_000, "{}", passed(&turns));
    }
}
