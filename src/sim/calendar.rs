//! What the time truly is: the world's count of seconds and its label, leap seconds included.

use super::scenario::LeapSecond;
use crate::units::{Instant, Leap, Offset, Timestamp, duration};

/// Around a leap second a label means two instants, or none: nobody is judged by it for so long on either side.
const AMBIGUOUS: Offset = Offset::from_nanos(2_000_000_000);
/// Servers announce a leap second so long before.
const ANNOUNCED: Offset = Offset::from_nanos(86_400_000_000_000);

/// True time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    epoch: Timestamp,
    leap: Option<(Instant, Leap)>,
}

impl Calendar {
    pub(super) fn new(epoch: Timestamp, leap: Option<LeapSecond>) -> Self {
        Self { epoch, leap: leap.map(|l| (Instant::ZERO + duration(l.at), l.kind)) }
    }

    /// The label of true time at `now`.
    pub(super) fn utc(&self, now: Instant) -> Timestamp {
        self.uniform(now) + self.shift(now)
    }

    /// The count that knows of no leap second.
    pub(super) fn uniform(&self, now: Instant) -> Timestamp {
        self.epoch + now.since(Instant::ZERO)
    }

    /// What leap seconds did to labels until `now`.
    fn shift(&self, now: Instant) -> Offset {
        match self.leap {
            Some((at, Leap::Insert)) if now >= at => Offset::from_nanos(-1_000_000_000),
            Some((at, Leap::Delete)) if now >= at => Offset::from_nanos(1_000_000_000),
            _ => Offset::ZERO,
        }
    }

    /// The same spread evenly over `span`, with the leap second in its middle.
    pub(super) fn smeared(&self, now: Instant, span: Offset) -> Offset {
        let Some((at, kind)) = self.leap else { return Offset::ZERO };
        let whole = if kind == Leap::Insert { -1.0 } else { 1.0 };
        Offset::from_seconds(whole * (now.since(at).seconds() / span.seconds() + 0.5).clamp(0.0, 1.0))
    }

    /// What a server that knows announces at `now`.
    pub(super) fn announced(&self, now: Instant) -> Leap {
        match self.leap {
            Some((at, kind)) if now < at && at.since(now) <= ANNOUNCED => kind,
            _ => Leap::Normal,
        }
    }

    /// Whether a label says clearly when `now` is.
    pub(super) fn is_clear(&self, now: Instant) -> bool {
        self.leap.is_none_or(|(at, _)| now.since(at) > AMBIGUOUS || at.since(now) > AMBIGUOUS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inserted_second_repeats_a_label() {
        let end = Timestamp::from_parts(1_483_228_800, 0);
        let calendar = Calendar::new(end - Offset::from_seconds(600.0), Some(LeapSecond { at: 600.0, kind: Leap::Insert }));
        let at = |s: f64| Instant::ZERO + duration(s);
        assert_eq!(calendar.utc(at(599.0)), end - Offset::from_seconds(1.0));
        assert_eq!(calendar.utc(at(600.0)), end - Offset::from_seconds(1.0));
        assert_eq!(calendar.utc(at(601.0)), end);
        assert_eq!((calendar.announced(at(1.0)), calendar.announced(at(600.0))), (Leap::Insert, Leap::Normal));
        assert!(calendar.is_clear(at(597.9)) && !calendar.is_clear(at(600.5)) && calendar.is_clear(at(602.1)));
        let span = Offset::from_seconds(100.0);
        let smear: Vec<f64> = [500.0, 550.0, 600.0, 650.0, 700.0].iter().map(|&s| calendar.smeared(at(s), span).seconds()).collect();
        assert_eq!(smear, [0.0, -0.0, -0.5, -1.0, -1.0]);
    }
}
