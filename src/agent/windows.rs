//! The windows of one clock's readings: those that a preempted vCPU tore open are recognised.
//!
//! Input: the width of every reading, and the machine's steal time where somebody looked. No reading is judged here
//! by what it says, and only so many in a row are taken for preempted: a clock that has become slow for good is heard.

use std::time::Duration;

use arrayvec::ArrayVec;

/// So many widths are remembered: a clock that becomes slow for good is the measure after that.
const RECENT: usize = 16;
/// Fewer tell nothing of what is usual.
const FEWEST: usize = 4;
/// A window this many times as wide as the narrowest ...
const TIMES: u32 = 5;
/// ... and this much more was not open for the device alone: caches and interrupts take up to some microseconds.
const MORE: Duration = Duration::from_micros(5);
/// So many in a row are taken for preempted ...
const PATIENCE: u8 = 3;
/// ... or so many while the hypervisor admits that it took CPU time from this machine.
const PATIENCE_WITH_STEAL: u8 = 12;

/// The last windows of a clock.
#[derive(Debug, Default)]
pub(super) struct Windows {
    recent: ArrayVec<Duration, RECENT>,
    next: usize,
    in_a_row: u8,
    /// Seconds of steal time at the last look, and whether they had grown since the one before.
    steal: Option<f64>,
    stealing: bool,
    preempted: u64,
}

impl Windows {
    /// Whether a window of this width was torn open.
    pub(super) fn is_outlier(&self, width: Duration) -> bool {
        let narrowest = self.recent.iter().min();
        self.recent.len() >= FEWEST && narrowest.is_some_and(|&narrowest| width > narrowest.saturating_mul(TIMES).saturating_add(MORE))
    }

    /// The machine's steal time in seconds, looked up because of an outlier.
    pub(super) fn look_at_steal(&mut self, seconds: f64) {
        self.stealing = self.steal.is_some_and(|before| seconds > before);
        self.steal = Some(seconds);
    }

    /// Takes a width in; true if the reading should be set aside as preempted.
    pub(super) fn take_in(&mut self, width: Duration) -> bool {
        let outlier = self.is_outlier(width);
        if self.recent.is_full() {
            self.recent[self.next] = width;
            self.next = (self.next + 1) % RECENT;
        } else {
            self.recent.push(width);
        }
        if !outlier {
            self.in_a_row = 0;
            return false;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.in_a_row <= if self.stealing { PATIENCE_WITH_STEAL } else { PATIENCE }
    }

    /// A reading was set aside.
    pub(super) const fn count(&mut self) {
        self.preempted += 1;
    }

    /// How many were.
    pub(super) const fn preempted(&self) -> u64 {
        self.preempted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Duration = Duration::from_nanos(200);
    const WIDE: Duration = Duration::from_millis(3);

    fn used() -> Windows {
        let mut windows = Windows::default();
        for i in 0..20_u64 {
            assert!(!windows.take_in(NARROW + Duration::from_nanos(i)), "{i}");
        }
        windows
    }

    #[test]
    fn a_torn_window_is_seen_and_narrow_ones_go_on() {
        let mut windows = used();
        for _ in 0..100 {
            assert!(windows.is_outlier(WIDE) && windows.take_in(WIDE));
            assert!(!windows.take_in(NARROW));
        }
        // Five times the narrowest and five microseconds: not yet.
        assert!(!windows.is_outlier(Duration::from_micros(6)));
    }

    #[test]
    fn nothing_is_an_outlier_before_the_usual_is_known() {
        let mut windows = Windows::default();
        assert!(!windows.take_in(NARROW));
        for _ in 0..3 {
            assert!(!windows.take_in(WIDE));
        }
        assert!(windows.take_in(WIDE));
    }

    #[test]
    fn a_clock_that_becomes_slow_is_heard_after_three_readings_and_is_the_measure_after_sixteen() {
        let mut windows = used();
        let aside: Vec<bool> = (0..20).map(|_| windows.take_in(WIDE)).collect();
        assert_eq!(aside.iter().filter(|aside| **aside).count(), 3);
        assert!(aside[..3].iter().all(|aside| *aside));
        assert!(!windows.is_outlier(WIDE));
    }

    #[test]
    fn while_the_hypervisor_steals_more_are_set_aside() {
        let mut windows = used();
        let mut aside = 0;
        for second in 0..16_u32 {
            windows.look_at_steal(f64::from(second));
            aside += u8::from(windows.take_in(WIDE));
        }
        assert_eq!(aside, PATIENCE_WITH_STEAL);
        let mut windows = used();
        aside = 0;
        for _ in 0..16 {
            windows.look_at_steal(7.0);
            aside += u8::from(windows.take_in(WIDE));
        }
        assert_eq!(aside, PATIENCE, "it stole long ago");
    }
}
