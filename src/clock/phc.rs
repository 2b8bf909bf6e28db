//! A network card's clock as a line over the timebase, learned from readings of it.
//!
//! [`PhcLine`] fits a straight line through the last readings; [`PhcPiece`] is that line as everybody who has stamps of the card uses it. Nothing
//! is read here, and it does not matter what time the card believes it is.

use std::collections::VecDeque;
use std::time::Duration;

use super::history;
use crate::core::Course;
use crate::sys::ptp::Window;
use crate::units::{Instant, Offset, Ppm, Timestamp, number, word};

/// A reading whose window is wider than this says too little.
const WIDEST: Duration = Duration::from_micros(100);
/// A reading so far off the line, beside what windows and precision explain, means that the card's clock was set.
const JUMP: Offset = Offset::from_nanos(2_000);
/// The same for each second since the last reading: somebody steers it.
const BEND: Ppm = Ppm::new(10.0);
/// Old readings that lie farther off the line than this are forgotten: the rate has changed.
const CROOKED: Offset = Offset::from_nanos(100);
/// A line that does not tell the instant of a stamp better than this is of no use.
const COARSEST: Duration = Duration::from_micros(100);
/// How fast a line that is not renewed becomes uncertain, as a ratio.
const WANDER: f64 = 1e-7;

/// What is remembered of a card's clock.
#[derive(Clone, Debug)]
pub struct PhcLine {
    /// Oldest first: the middle of the window, what the card said, and how wrong the pair can be.
    readings: VecDeque<(Instant, Timestamp, Offset)>,
    least: usize,
    most: usize,
    precision: Offset,
    lasts: Duration,
    piece: Option<PhcPiece>,
    jumps: u64,
}

/// A straight piece of a card's clock over the timebase.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PhcPiece {
    /// Where the card's clock is; its `error` says how wrong that can be.
    pub course: Course,
    /// It says nothing about stamps later than this.
    pub until: Instant,
}

/// The number of words of a [`PhcPiece`].
pub const PIECE_WORDS: usize = 5;

impl PhcLine {
    /// Nothing is known yet. A piece needs `least` readings, remembers `most`, and holds for `lasts` after the last of them.
    #[must_use]
    pub fn new(least: usize, most: usize, precision: Duration, lasts: Duration) -> Self {
        let most = most.max(least).max(2);
        let precision = Offset::from(precision);
        Self { readings: VecDeque::with_capacity(most), least: least.max(2), most, precision, lasts, piece: None, jumps: 0 }
    }

    /// The line; `None` while too little is known.
    #[must_use]
    pub const fn piece(&self) -> Option<&PhcPiece> {
        self.piece.as_ref()
    }

    /// How often the card's clock was set, or the timebase jumped against it.
    #[must_use]
    pub const fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        self.readings.clear();
        self.piece = None;
    }

    /// Takes a reading in. True if the card's clock jumped, so that all before is forgotten.
    pub fn push(&mut self, window: &Window) -> bool {
        if window.width() > WIDEST {
            return false;
        }
        let at = window.before.midpoint(window.after);
        if self.readings.back().is_some_and(|(last, ..)| at <= *last) {
            return false;
        }
        let error = Offset::from(window.width() / 2) + self.precision;
        let jumped = self.off_the_line(at, window.device, error);
        if jumped {
            self.forget();
            self.jumps += 1;
        }
        if self.readings.len() == self.most {
            self.readings.pop_front();
        }
        self.readings.push_back((at, window.device, error));
        self.fit();
        jumped
    }

    /// Whether a reading cannot belong to the line so far.
    fn off_the_line(&self, at: Instant, device: Timestamp, error: Offset) -> bool {
        let Some((last, said, before)) = self.readings.back().copied() else { return false };
        let elapsed = at.since(last).seconds();
        // Without a line: no card's clock runs so fast or slow.
        let (expected, known, bend) = match &self.piece {
            Some(piece) => (piece.course.at(at), Offset::from(piece.course.error), BEND.ratio()),
            None => (said + at.since(last), before, 1e-3),
        };
        let off = Offset::from(device.since(expected).abs());
        off > known + error + JUMP + Offset::from_seconds(elapsed * bend)
    }

    /// The line through the readings by least squares, without old ones that lie beside it.
    fn fit(&mut self) {
        loop {
            self.piece = None;
            let count = self.readings.len();
            let Some((last, said, _)) = self.readings.back().copied() else { return };
            if count < self.least {
                return;
            }
            // How far the card ran ahead of the timebase since a reading, by how long ago that was: small numbers, exact to far below a nanosecond.
            let points = || {
                self.readings.iter().map(move |(at, device, error)| {
                    let x = at.since(last);
                    (x.seconds(), (device.since(said) - x).seconds(), error.seconds().max(1e-9).powi(-2), *error)
                })
            };
            let (mut weight, mut mean_x, mut mean_y) = (0.0, 0.0, 0.0);
            for (x, y, w, _) in points() {
                weight += w;
                mean_x += w * x;
                mean_y += w * y;
            }
            (mean_x, mean_y) = (mean_x / weight, mean_y / weight);
            let (mut xx, mut xy) = (0.0, 0.0);
            for (x, y, w, _) in points() {
                xx += w * (x - mean_x).powi(2);
                xy += w * (x - mean_x) * (y - mean_y);
            }
            let rate = if xx > 0.0 { xy / xx } else { 0.0 };
            let now = mean_y - rate * mean_x;
            let off = |x: f64, y: f64| Offset::from_seconds(y - now - rate * x);
            // What the windows do not explain.
            let crooked = points().any(|(x, y, _, error)| Offset::from(off(x, y).abs()) > error + CROOKED);
            if crooked && count > self.least {
                self.readings.pop_front();
                continue;
            }
            let residual = points().map(|(x, y, ..)| off(x, y).abs()).max().unwrap_or_default();
            let error = points().map(|(.., error)| error.abs()).min().unwrap_or_default();
            let course = Course {
                at: last,
                time: said + Offset::from_seconds(now),
                rate: Ppm::from_ratio(rate),
                until: None,
                error: residual.max(error),
            };
            self.piece = (course.error <= COARSEST).then(|| PhcPiece { course, until: last + self.lasts });
            return;
        }
    }
}

impl PhcPiece {
    /// The instant of a stamp; `None` if it lies beyond what the line tells.
    #[must_use]
    pub fn instant_of(&self, stamp: Timestamp) -> Option<Instant> {
        let at = history::instant_on(&self.course, stamp);
        (at <= self.until && at >= self.course.at + -Offset::from(self.until.elapsed_since(self.course.at))).then_some(at)
    }

    /// How wrong that instant can be.
    #[must_use]
    pub fn error_at(&self, at: Instant) -> Offset {
        Offset::from(self.course.error) + Offset::from_seconds(at.since(self.course.at).abs().as_secs_f64() * WANDER)
    }

    /// As words, for a seqlock.
    #[must_use]
    pub fn to_words(&self) -> [u64; PIECE_WORDS] {
        let error = u64::try_from(self.course.error.as_nanos()).unwrap_or(u64::MAX);
        [word(self.course.at.nanos()), word(self.course.time.nanos()), self.course.rate.ratio().to_bits(), error, word(self.until.nanos())]
    }

    /// The same back.
    #[must_use]
    pub fn from_words(words: &[u64; PIECE_WORDS]) -> Self {
        let course = Course {
            at: Instant::from_nanos(number(words[0])),
            time: Timestamp::from_nanos(number(words[1])),
            rate: Ppm::from_ratio(f64::from_bits(words[2])),
            until: None,
            error: Duration::from_nanos(words[3]),
        };
        Self { course, until: Instant::from_nanos(number(words[4])) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn reading(raw: i64, device: i64, half: i64) -> Window {
        Window { before: Instant::from_nanos(raw - half), after: Instant::from_nanos(raw + half), device: Timestamp::from_nanos(device) }
    }

    fn line() -> PhcLine {
        PhcLine::new(2, 16, Duration::from_nanos(100), Duration::from_secs(16))
    }

    /// A card's clock that began at `epoch` and runs so many parts in 10^9 fast.
    fn device(raw: i64, epoch: i64, ppb: i64) -> i64 {
        let ahead = i128::from(raw) * i128::from(ppb) / i128::from(SECOND);
        epoch + raw + i64::try_from(ahead).unwrap()
    }

    #[test]
    fn one_reading_is_no_line() {
        let mut line = line();
        assert!(!line.push(&reading(SECOND, 5, 10)) && line.piece().is_none());
        assert!(!line.push(&reading(2 * SECOND, 5 + SECOND, 10)) && line.piece().is_some());
        assert!(!line.push(&reading(4 * SECOND, 99, 200_000)), "a wide window says nothing");
        assert_eq!(line.readings.len(), 2);
    }

    #[test]
    fn a_jump_is_noticed_and_forgets_what_was() {
        for by in [-3_600 * SECOND, -20_000, 30_000, 86_400 * SECOND] {
            let mut line = line();
            assert!((0..20).all(|i| !line.push(&reading(i * SECOND, device(i * SECOND, 77, 30_000), 200))));
            assert!(line.push(&reading(20 * SECOND, device(20 * SECOND, 77 + by, 30_000), 200)), "{by}");
            assert!(line.piece().is_none() && line.jumps() == 1, "one reading of the new time is no line");
            assert!(!line.push(&reading(21 * SECOND, device(21 * SECOND, 77 + by, 30_000), 200)));
            let stamp = Timestamp::from_nanos(device(21 * SECOND + 500, 77 + by, 30_000));
            let at = line.piece().unwrap().instant_of(stamp).unwrap();
            assert!((at.nanos() - 21 * SECOND - 500).abs() <= 1);
        }
    }

    #[test]
    fn a_rate_that_changes_is_followed() {
        let mut line = line();
        let mut card = 0;
        for i in 1..60 {
            // Steered by somebody: 2 ppm more from the thirtieth second on.
            card += SECOND + if i < 30 { 1_000 } else { 3_000 };
            assert!(!line.push(&reading(i * SECOND, card, 50)));
        }
        let at = line.piece().unwrap().instant_of(Timestamp::from_nanos(card + SECOND)).unwrap();
        assert!((at.nanos() - 60 * SECOND + 3_000).abs() < 20, "{at:?}");
    }

    #[test]
    fn what_is_too_old_or_too_new_has_no_instant() {
        let mut line = line();
        (0..3).for_each(|i| assert!(!line.push(&reading(i * SECOND, i * SECOND, 50))));
        let piece = line.piece().unwrap();
        for (stamp, known) in [(17, true), (19, false), (-13, true), (-15, false)] {
            assert_eq!(piece.instant_of(Timestamp::from_nanos(stamp * SECOND)).is_some(), known, "{stamp}");
        }
        assert_eq!(PhcPiece::from_words(&piece.to_words()), *piece);
        assert!(piece.error_at(Instant::from_nanos(12 * SECOND)) > piece.error_at(Instant::from_nanos(2 * SECOND)));
    }

    proptest! {
        #[test]
        fn a_straight_clock_is_found_to_a_nanosecond_for_an_hour(
            epoch in 0..4_000_000_000_000_000_000_i64, ppb in -200_000..200_000_i64, half in 1..500_i64, between in 0..2 * SECOND,
        ) {
            let mut line = line();
            for i in 0..1_800 {
                let raw = 2 * SECOND * i;
                prop_assert!(!line.push(&reading(raw, device(raw, epoch, ppb), half)));
                if i >= 8 {
                    let raw = raw + between;
                    let at = line.piece().unwrap().instant_of(Timestamp::from_nanos(device(raw, epoch, ppb))).unwrap();
                    prop_assert!((at.nanos() - raw).abs() <= 1, "{at:?} {raw}");
                }
            }
        }
    }
}
