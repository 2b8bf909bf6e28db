//! How long a device's readings take, and whether that is too long for the event loop.

use std::time::Duration;

use arrayvec::ArrayVec;

/// Longer than this in the median, and requests to servers are sent late and answers stamped late.
const SLOW: Duration = Duration::from_millis(2);
/// One reading that takes this long is enough.
const STUCK: Duration = Duration::from_millis(20);
/// The median is that of so many.
const RECENT: usize = 5;
/// So many quick readings in a row, and the device is read in the loop again: what stole the time was not the device.
const QUICK: u32 = 60;

/// What the last readings took.
#[derive(Debug, Default)]
pub(super) struct Pace {
    recent: ArrayVec<Duration, RECENT>,
    next: usize,
    quick: u32,
    slow: bool,
}

impl Pace {
    /// Takes a reading in; true if the verdict changed.
    pub(super) fn take_in(&mut self, took: Duration) -> bool {
        if self.recent.is_full() {
            self.recent[self.next] = took;
            self.next = (self.next + 1) % RECENT;
        } else {
            self.recent.push(took);
        }
        self.quick = if took <= SLOW { self.quick.saturating_add(1) } else { 0 };
        let before = self.slow;
        self.slow = if before { self.quick < QUICK } else { took > STUCK || self.median() > Some(SLOW) };
        self.slow != before
    }

    pub(super) const fn is_slow(&self) -> bool {
        self.slow
    }

    /// `None` before there are enough.
    fn median(&self) -> Option<Duration> {
        let mut sorted = self.recent.clone();
        sorted.sort_unstable();
        sorted.is_full().then(|| sorted[RECENT / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn three_slow_readings_of_five_or_a_stuck_one_are_too_many() {
        let mut pace = Pace::default();
        for took in [ms(3), ms(3), ms(0), ms(0)] {
            assert!(!pace.take_in(took));
        }
        assert!(pace.take_in(ms(3)) && pace.is_slow());
        let mut pace = Pace::default();
        assert!(!pace.take_in(ms(20)));
        assert!(pace.take_in(ms(21)) && pace.is_slow());
    }

    #[test]
    fn a_minute_of_quick_readings_redeems_it() {
        let mut pace = Pace::default();
        assert!(pace.take_in(ms(500)));
        for _ in 0..30 {
            assert!(!pace.take_in(ms(1)));
        }
        assert!(!pace.take_in(ms(3)));
        let changes = (0..100).filter(|_| pace.take_in(ms(1))).count();
        assert!(changes == 1 && !pace.is_slow());
    }
}
