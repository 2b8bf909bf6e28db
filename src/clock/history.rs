//! What the clock did lately: straight pieces of clock time over the timebase.
//!
//! Turns the kernel's packet stamps into instants, and notices when somebody else moved the clock.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::Pair;
use crate::core::Course;
use crate::units::{Instant, Offset, Ppm, Timestamp};

/// Pieces kept: more changes than this within a packet's flight do not happen.
const PIECES: usize = 16;
/// A deviation from the course below this (and [`TOLERANCE_PPM`]) is the kernel's rounding, not a foreign hand.
const TOLERANCE: Offset = Offset::from_nanos(5_000);
/// The same for each second since the last look.
const TOLERANCE_PPM: Ppm = Ppm::new(2.0);
/// How fast the kernel's rounding may carry the clock off its course, as a ratio.
const ROUNDING: f64 = 20e-9;
/// A stamp may lie so far ahead of the last reading.
const AHEAD: Offset = Offset::from_nanos(1_000_000);

/// A change that we did not make.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Foreign {
    /// How far the clock was moved; positive: forward.
    pub by: Offset,
    /// Its course from now on.
    pub course: Course,
}

/// The pieces, oldest first. The last is the present course.
#[derive(Clone, Debug)]
pub struct History {
    pieces: ArrayVec<Course, PIECES>,
    looked: Instant,
}

impl History {
    /// A history that begins with `course`.
    #[must_use]
    pub fn new(course: Course) -> Self {
        let mut pieces = ArrayVec::new();
        pieces.push(course);
        Self { pieces, looked: course.at }
    }

    /// The present course.
    #[must_use]
    pub fn course(&self) -> &Course {
        // There is always at least one piece.
        &self.pieces[self.pieces.len() - 1]
    }

    /// We changed the clock: it is on a new piece now.
    pub fn begin(&mut self, course: Course) {
        if *self.course() == course {
            return;
        }
        if self.pieces.is_full() {
            self.pieces.remove(0);
        }
        self.looked = course.at;
        self.pieces.push(course);
    }

    /// Compares a reading with the course. What a reading can prove within its bracket corrects the
    /// course silently; what exceeds the tolerance is a foreign change.
    pub fn compare(&mut self, pair: &Pair) -> Option<Foreign> {
        let at = pair.at();
        let course = *self.course();
        let deviation = pair.time.since(course.at(at));
        let half = pair.half_width() + Offset::from_nanos(1);
        let elapsed = at.since(self.looked).seconds().max(0.0);
        self.looked = at;
        // What we knew, and what the reading says, of how far the clock is ahead of its course.
        let known = Offset::from(course.error) + Offset::from_seconds(elapsed * ROUNDING);
        let low = (deviation - half).max(-known);
        let high = (deviation + half).min(known);
        let last = self.pieces.len() - 1;
        if low <= high {
            let width = high - low;
            self.pieces[last].time = self.pieces[last].time + low + Offset::from_nanos(width.nanos() / 2);
            self.pieces[last].error = Duration::from_nanos(width.abs().as_nanos().div_ceil(2).try_into().unwrap_or(u64::MAX));
            return None;
        }
        let proven = low - high;
        let tolerance = TOLERANCE + Offset::from_seconds(elapsed * TOLERANCE_PPM.ratio());
        if proven <= tolerance {
            self.pieces[last].time = self.pieces[last].time + deviation;
            self.pieces[last].error = half.abs();
            return None;
        }
        let course = Course { at, time: pair.time, error: half.abs(), ..course };
        self.begin(course);
        Some(Foreign { by: deviation, course })
    }

    /// The instant at which the clock showed `stamp`, which lies at or before `now`.
    #[must_use]
    pub fn instant_of(&self, stamp: Timestamp, now: Instant) -> Option<Instant> {
        let mut end = now + AHEAD;
        for piece in self.pieces.iter().rev() {
            let instant = instant_on(piece, stamp);
            if instant >= piece.at && instant <= end {
                return Some(instant);
            }
            end = piece.at;
        }
        None
    }
}

/// The instant at which a straight piece shows `stamp`.
pub(super) fn instant_on(piece: &Course, stamp: Timestamp) -> Instant {
    let along = stamp.since(piece.time);
    let rate = 1.0 + piece.rate.ratio();
    // raw = along / (1 + rate), computed as along - along * rate / (1 + rate) to keep nanoseconds.
    piece.at + along + Offset::from_seconds(-along.seconds() * piece.rate.ratio() / rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: i64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn course(at_nanos: i64, time: i64, ppm: f64) -> Course {
        Course { at: at(at_nanos), time: Timestamp::from_nanos(time), rate: Ppm::new(ppm), until: None, error: Duration::ZERO }
    }

    fn exact(history: &History, raw: i64, off: i64) -> Pair {
        let time = history.course().at(at(raw)) + Offset::from_nanos(off);
        Pair { before: at(raw), time, after: at(raw) }
    }

    #[test]
    fn stamps_are_placed_by_their_piece() {
        let mut history = History::new(course(0, 1_000_000_000, 0.0));
        // At 10 s the clock is stepped an hour back and runs 100 ppm fast.
        history.begin(course(10_000_000_000, 11_000_000_000 - 3_600_000_000_000, 100.0));
        let now = at(20_000_000_000);
        assert_eq!(history.instant_of(Timestamp::from_nanos(6_000_000_000), now), Some(at(5_000_000_000)));
        let stamp = history.course().at(at(15_000_000_000));
        assert_eq!(history.instant_of(stamp, now), Some(at(15_000_000_000)));
        assert_eq!(history.instant_of(Timestamp::from_nanos(500_000_000), now), None, "before all history");
        assert_eq!(history.instant_of(Timestamp::from_nanos(30_000_000_000), now), None, "ahead of now on every piece");
    }

    #[test]
    fn a_foreign_step_is_reported_once_and_breaks_stamps() {
        let mut history = History::new(course(0, 0, 0.0));
        assert_eq!(history.compare(&exact(&history, 1_000_000_000, 3_000)), None, "rounding");
        let pair = exact(&history, 2_000_000_000, 10_000_000_000);
        let foreign = history.compare(&pair).unwrap();
        assert_eq!(foreign.by.nanos(), 10_000_000_000);
        assert_eq!(history.compare(&exact(&history, 3_000_000_000, 0)), None);
        // A stamp taken after the step but before we noticed falls on no piece.
        assert_eq!(history.instant_of(Timestamp::from_nanos(11_900_000_000), at(3_000_000_000)), None);
    }

    #[test]
    fn a_wide_bracket_excuses_its_width() {
        let mut history = History::new(course(0, 0, 0.0));
        let pair = Pair { before: at(1_000_000_000), time: Timestamp::from_nanos(1_000_050_000), after: at(1_000_200_000) };
        assert_eq!(history.compare(&pair), None);
        assert_eq!(history.course().time, Timestamp::from_nanos(0));
        assert_eq!(history.course().error, Duration::from_nanos(20), "a second of rounding, and no more");
    }

    #[test]
    fn readings_narrow_down_where_the_clock_is() {
        let mut history = History::new(Course { error: Duration::from_micros(1), ..course(0, 0, 0.0) });
        // Brackets of +-700 ns around a clock that is 400 ns ahead of its course.
        for (second, lag) in [(1, 600), (2, -600), (3, 0)] {
            let raw = second * 1_000_000_000;
            let time = Timestamp::from_nanos(raw + 400);
            let pair = Pair { before: at(raw + lag - 700), time, after: at(raw + lag + 700) };
            assert_eq!(history.compare(&pair), None);
            let off = history.course().at(at(raw)).since(time);
            assert!(off.abs() <= history.course().error, "{off:?} exceeds {:?}", history.course().error);
        }
        assert!(history.course().error < Duration::from_nanos(250), "{:?}", history.course().error);
    }

    proptest! {
        #[test]
        fn instants_come_back_through_any_piece(ppm in -90_000.0_f64..90_000.0, after in 0_i64..2_000_000_000) {
            let mut history = History::new(course(0, 77, 12.5));
            history.begin(Course { at: at(1_000_000_000), time: history.course().at(at(1_000_000_000)), rate: Ppm::new(ppm), until: None, error: Duration::ZERO });
            let raw = at(1_000_000_000 + after);
            let found = history.instant_of(history.course().at(raw), raw).unwrap();
            prop_assert!(found.since(raw).nanos().abs() <= 2);
        }
    }
}
