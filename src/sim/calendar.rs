//! What the time truly is: the world's count of seconds and its label, leap seconds included.

use super::scenario::{LeapSecond, Truth};
use crate::units::{Instant, Leap, Offset, Timestamp, duration};

/// Around a leap second a label means two instants, or none: nobody is judged by it for so long on either side.
const AMBIGUOUS: Offset = Offset::from_nanos(2_000_000_000);
/// Servers announce a leap second so long before.
const ANNOUNCED: Offset = Offset::from_nanos(86_400_000_000_000);

/// True time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    epoch: Timestamp,
    leap: Option<Due>,
}

/// The leap second to come.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    kind: Leap,
    smear: f64,
    truth: Truth,
}

impl Due {
    /// What it does to labels in the end.
    const fn shift(&self) -> Offset {
        Offset::from_nanos(if matches!(self.kind, Leap::Insert) { -1_000_000_000 } else { 1_000_000_000 })
    }
}

impl Calendar {
    pub(super) fn new(epoch: Timestamp, leap: Option<LeapSecond>) -> Self {
        let due = |l: LeapSecond| Due { at: Instant::ZERO + duration(l.at), kind: l.kind, smear: l.smear, truth: l.truth };
        Self { epoch, leap: leap.map(due) }
    }

    /// What guests are judged by.
    pub(super) fn truth(&self, now: Instant) -> Timestamp {
        if self.is_smeared() { self.smeared(now) } else { self.utc(now) }
    }

    fn is_smeared(&self) -> bool {
        self.leap.is_some_and(|due| due.truth == Truth::Smeared)
    }

    /// The label of UTC at `now`.
    pub(super) fn utc(&self, now: Instant) -> Timestamp {
        let shift = self.leap.filter(|due| now >= due.at).map_or(Offset::ZERO, |due| due.shift());
        self.uniform(now) + shift
    }

    /// The count that knows of no leap second.
    fn uniform(&self, now: Instant) -> Timestamp {
        self.epoch + now.since(Instant::ZERO)
    }

    /// UTC with the leap second spread evenly.
    pub(super) fn smeared(&self, now: Instant) -> Timestamp {
        let shift = self.leap.map_or(Offset::ZERO, |due| {
            let passed = (now.since(due.at).seconds() / due.smear + 0.5).clamp(0.0, 1.0);
            Offset::from_seconds(due.shift().seconds() * passed)
        });
        self.uniform(now) + shift
    }

    /// When true time changed its rate between two instants, the later included: a smear begins or ends.
    pub(super) fn bent(&self, after: Instant, until: Instant) -> Option<Instant> {
        let due = self.leap.filter(|due| due.truth == Truth::Smeared)?;
        let half = Offset::from_seconds(due.smear / 2.0);
        [due.at + -half, due.at + half].into_iter().find(|&bend| after < bend && bend <= until)
    }

    /// Seconds over which the leap second is smeared.
    pub(super) fn smear(&self) -> f64 {
        self.leap.map_or(f64::INFINITY, |due| due.smear)
    }

    /// What a server that knows announces at `now`.
    pub(super) fn announced(&self, now: Instant) -> Leap {
        match self.leap {
            Some(Due { at, kind, .. }) if now < at && at.since(now) <= ANNOUNCED => kind,
            _ => Leap::Normal,
        }
    }

    /// The leap second that true time is about to make: none where it is smeared.
    pub(super) fn makes(&self, now: Instant) -> Leap {
        if self.is_smeared() { Leap::Normal } else { self.announced(now) }
    }

    /// Whether a label says clearly when `now` is.
    pub(super) fn is_clear(&self, now: Instant) -> bool {
        self.is_smeared() || self.leap.is_none_or(|due| now.since(due.at) > AMBIGUOUS || due.at.since(now) > AMBIGUOUS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inserted_second_repeats_a_label() {
        let end = Timestamp::from_parts(1_483_228_800, 0);
        let leap = LeapSecond { at: 600.0, kind: Leap::Insert, smear: 100.0, truth: Truth::Utc };
        let calendar = Calendar::new(end - Offset::from_seconds(600.0), Some(leap));
        let at = |s: f64| Instant::ZERO + duration(s);
        assert_eq!(calendar.truth(at(599.0)), end - Offset::from_seconds(1.0));
        assert_eq!(calendar.truth(at(600.0)), end - Offset::from_seconds(1.0));
        assert_eq!(calendar.truth(at(601.0)), end);
        assert_eq!((calendar.announced(at(1.0)), calendar.announced(at(600.0))), (Leap::Insert, Leap::Normal));
        assert!(calendar.is_clear(at(597.9)) && !calendar.is_clear(at(600.5)) && calendar.is_clear(at(602.1)));
    }

    #[test]
    fn a_smeared_second_is_spread_evenly() {
        let leap = LeapSecond { at: 600.0, kind: Leap::Insert, smear: 100.0, truth: Truth::Smeared };
        let calendar = Calendar::new(Timestamp::UNIX_EPOCH, Some(leap));
        for (seconds, shift) in [(500_i64, 0), (550, 0), (600, -500_000_000), (650, -1_000_000_000), (700, -1_000_000_000)] {
            let now = Instant::from_nanos(seconds * 1_000_000_000);
            assert_eq!(calendar.truth(now).nanos() - now.nanos(), shift, "{seconds} s");
        }
        let at = |s: f64| Instant::ZERO + duration(s);
        assert!(calendar.is_clear(at(600.0)));
        assert_eq!((calendar.bent(at(549.0), at(550.0)), calendar.bent(at(550.0), at(649.0))), (Some(at(550.0)), None));
        assert_eq!(calendar.bent(at(600.0), at(650.5)), Some(at(650.0)));
    }
}
