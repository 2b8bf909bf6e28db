//! What the delays of a source say of its path: the floor, and how far a delay lies above it.

use arrayvec::ArrayVec;

use crate::units::count;

/// The smallest delays kept: their spread tells how well the floor is known.
const LOWEST: usize = 8;
/// The latest delays kept: if all of them lie clear of the floor, the path has changed.
const RECENT: usize = 16;
/// The path has become longer if the smallest recent delay exceeds the floor by this many times the distance from it
/// to the fifth: queueing alike on both ways does that less than once in a million times.
const CLEAR: f64 = 4.0;
/// What the root of a Rayleigh distribution's mean is to its scale: sqrt(pi/2)/sqrt(2).
const MEAN_LEAST: f64 = 0.886;

/// The delays of one path.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    /// In rising order, since the path last changed.
    lowest: ArrayVec<f64, LOWEST>,
    recent: ArrayVec<f64, RECENT>,
    oldest: usize,
    seen: u64,
}

/// What one delay says.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Queueing {
    /// Seconds above the floor.
    pub(super) excess: f64,
    /// How far the floor may be below what has been seen, if both ways queue alike.
    pub(super) doubt: f64,
    /// The same if only one way queues: its delays come closer to the floor.
    pub(super) one_sided_doubt: f64,
}

impl Path {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes in a delay (seconds).
    pub(super) fn observe(&mut self, delay: f64) -> Queueing {
        self.seen += 1;
        self.keep_low(delay);
        if self.recent.is_full() {
            self.recent[self.oldest] = delay;
            self.oldest = (self.oldest + 1) % RECENT;
            self.follow_longer_path();
        } else {
            self.recent.push(delay);
        }
        let floor = self.lowest[0];
        let excess = (delay - floor).max(0.0);
        let kept = count(self.lowest.len() as u64);
        if self.lowest.len() < 2 {
            return Queueing { excess, doubt: floor, one_sided_doubt: floor };
        }
        // The sum of two exponential delays has a density that rises from zero: the k-th smallest of n lies
        // at about theta sqrt(2k/n), the smallest on average at 0.886 theta sqrt(2/n). Its spread tells the rest.
        let spread = self.lowest[self.lowest.len() - 1] - floor;
        // But no path takes less than no time.
        let doubt = (spread * MEAN_LEAST / (kept.sqrt() - MEAN_LEAST)).min(floor);
        // A few delays may all have been held up alike.
        let few = floor / (2.0 * count(self.seen));
        // One exponential delay alone: the k-th smallest lies at theta k/n.
        Queueing { excess, doubt: doubt.max(few), one_sided_doubt: (spread / (kept - 1.0)).min(floor) }
    }

    fn keep_low(&mut self, delay: f64) {
        let place = self.lowest.partition_point(|&kept| kept < delay);
        if place < LOWEST {
            if self.lowest.is_full() {
                self.lowest.pop();
            }
            self.lowest.insert(place, delay);
        }
    }

    /// A shorter path shows at once; a longer one when no recent delay comes near the floor.
    fn follow_longer_path(&mut self) {
        let mut sorted = self.recent.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let clear = sorted[0] - self.lowest[0] > CLEAR * (sorted[4] - sorted[0]);
        if clear && sorted[0] > self.lowest[self.lowest.len() - 1] {
            self.lowest = sorted.iter().copied().take(LOWEST).collect();
            self.seen = RECENT as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_floor_better_with_every_delay() {
        let mut path = Path::default();
        assert_eq!(path.observe(1e-3), Queueing { excess: 0.0, doubt: 1e-3, one_sided_doubt: 1e-3 });
        let mut last = 1.0;
        for i in 1..400_u32 {
            // A spread-out set of delays above 1 ms.
            let queued = f64::from(i * 7919 % 1000) * 1e-6;
            last = path.observe(1e-3 + queued).doubt;
        }
        assert!(last < 2e-5, "{last:e}");
        assert!((path.observe(1.5e-3).excess - 5e-4).abs() < 1e-5);
    }

    #[test]
    fn the_floor_is_never_below_nothing() {
        let mut path = Path::default();
        for delay in [7e-3, 2.6e-3, 11.6e-3] {
            path.observe(delay);
        }
        let quick = path.observe(3.8e-4);
        assert!(quick.doubt <= 3.8e-4 && quick.one_sided_doubt <= 3.8e-4, "{quick:?}");
    }

    #[test]
    fn follows_a_route_both_ways() {
        let mut path = Path::default();
        let wobble = |i: u32| f64::from(i * 7919 % 100) * 1e-6;
        for i in 0..50 {
            path.observe(1e-3 + wobble(i));
        }
        // Longer: at first all of it counts as queueing, after sixteen delays it is the path's own.
        assert!(path.observe(3e-3).excess > 1.9e-3);
        for i in 0..16 {
            path.observe(3e-3 + wobble(i));
        }
        assert!(path.observe(3e-3 + 1e-4).excess < 2e-4);
        // Shorter: at once.
        assert!(path.observe(1e-3).excess.abs() < 1e-12);
    }

    #[test]
    fn a_burst_of_queueing_is_no_longer_path() {
        let mut path = Path::default();
        for i in 0..50_u32 {
            path.observe(1e-3 + f64::from(i % 10) * 1e-6);
        }
        for i in 0..40_u32 {
            path.observe(1e-3 + 1e-4 + f64::from(i * 7919 % 1000) * 5e-6);
        }
        assert!(path.observe(2e-3).excess > 9e-4);
    }
}
