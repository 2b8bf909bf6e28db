//! What a server needs to know of the time to reply, and the part of a reply that follows from it.
//!
//! A [`Snapshot`] is published by the agent and read by serving threads; a [`Face`] is how it looks at one moment, once a batch.

use std::time::Duration;

use super::smoothing::Curve;
use crate::core::Line;
use crate::units::{Bound, Instant, Leap, NtpTimestamp, Ppm, ReferenceId, Stratum, Timestamp, duration, number, word};
use crate::wire::ntp::{HEADER_LEN, Header, Mode, NtpShort};

/// `local`'s reference id: 127.127.1.1, as chrony's.
pub const LOCAL_REFERENCE: ReferenceId = ReferenceId([127, 127, 1, 1]);
/// What is served is not the line: 127.127.1.255, as chrony's.
pub const SMOOTHED_REFERENCE: ReferenceId = ReferenceId([127, 127, 1, 255]);
/// `local` claims to have been updated at the last multiple of this many seconds.
const LOCAL_UPDATE: i64 = 64;

/// What a serving thread needs to know of the time; valid until the next is published.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Snapshot {
    /// Time as a function of the timebase.
    pub line: Line,
    /// How wrong it can be, growing by itself.
    pub bound: Bound,
    /// So much of the bound is the word of sources that ask us too. They are told the rest: what we know without them.
    pub borrowed: Duration,
    /// Our leap indicator; `Unsynchronised` before the first update and while disrupted.
    pub leap: Leap,
    /// Our stratum.
    pub stratum: Stratum,
    /// Whom we follow.
    pub reference_id: ReferenceId,
    /// When the line was last updated.
    pub reference: Timestamp,
    /// To the primary clock.
    pub root_delay: Duration,
    /// log2 of the time it takes to read the clock.
    pub precision: i8,
    /// Our own time is served when there is no better.
    pub local: Option<LocalReference>,
    /// How far what is served is ahead of the line, on purpose. No bound contains it: it is what was asked for.
    pub curve: Curve,
}

/// How `local` stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalReference {
    /// The stratum it claims.
    pub stratum: Stratum,
    /// Not before.
    pub from: Instant,
    /// Only while the root distance is larger, if we are synchronised.
    pub distance: Duration,
}

/// The time's state as a reply tells it at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Face {
    /// Leap indicator.
    pub leap: Leap,
    /// As on the wire.
    pub stratum: Stratum,
    /// Whom we follow.
    pub reference_id: ReferenceId,
    /// When the clock was last set.
    pub reference: Timestamp,
    /// To the primary clock.
    pub root_delay: Duration,
    /// To the primary clock, grown to that moment.
    pub root_dispersion: Duration,
}

impl Snapshot {
    /// Nothing is known.
    #[must_use]
    pub const fn unsynchronised() -> Self {
        Self {
            line: Line::new(Instant::ZERO, Timestamp::UNIX_EPOCH, Ppm::ZERO),
            bound: Bound::UNKNOWN,
            borrowed: Duration::ZERO,
            leap: Leap::Unsynchronised,
            stratum: Stratum::UNSYNCHRONISED,
            reference_id: ReferenceId::NONE,
            reference: Timestamp::UNIX_EPOCH,
            root_delay: Duration::ZERO,
            precision: -20,
            local: None,
            curve: Curve::NONE,
        }
    }

    /// The same while nobody may rely on it: not even `local` stands in.
    #[must_use]
    pub const fn distrusted(self) -> Self {
        Self { leap: Leap::Unsynchronised, local: None, curve: Curve::NONE, ..self }
    }

    /// The line that is served around `now`: of a curve, its tangent, which it leaves by less than a nanosecond in the fraction of a second that it is used for.
    #[must_use]
    pub fn served_line(&self, now: Instant) -> Line {
        if self.curve == Curve::NONE || self.curve.is_over(now) {
            return self.line;
        }
        let moment = self.curve.at(now);
        let time = self.line.at(now);
        Line::through(now, time, self.line.ahead_of(time, now) + moment.offset, self.line.frequency().ratio() + moment.rate)
    }

    /// How it looks at `now`.
    #[must_use]
    pub fn face(&self, now: Instant) -> Face {
        let grown = self.bound.at(now);
        let synchronised = self.leap != Leap::Unsynchronised;
        if let Some(local) = self.local.filter(|l| now >= l.from && (!synchronised || grown > l.distance)) {
            let second = self.line.at(now).parts().0 - 1;
            return Face {
                leap: Leap::Normal,
                stratum: local.stratum,
                reference_id: LOCAL_REFERENCE,
                reference: Timestamp::from_parts(second - second.rem_euclid(LOCAL_UPDATE), 0),
                root_delay: Duration::ZERO,
                root_dispersion: Duration::ZERO,
            };
        }
        let age = now.elapsed_since(self.bound.as_of);
        Face {
            leap: self.leap,
            stratum: if synchronised { self.stratum } else { Stratum::UNSYNCHRONISED },
            reference_id: if synchronised && !self.curve.is_over(now) { SMOOTHED_REFERENCE } else { self.reference_id },
            reference: self.reference,
            root_delay: self.root_delay,
            root_dispersion: if synchronised { grown.saturating_sub(self.root_delay / 2) } else { duration(16.0).max(age) },
        }
    }
}

/// A [`Face`] ready for the wire, with the line that the reply's timestamps lie on.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    line: Line,
    /// A reply to nobody: what is the same in all of them stands in it.
    pub(super) template: [u8; HEADER_LEN],
    /// The root dispersion for a client that we ask too.
    pub(super) testimony: [u8; 4],
}

impl Prepared {
    /// For the replies of the next fraction of a second.
    #[must_use]
    pub fn new(snapshot: &Snapshot, now: Instant) -> Self {
        let face = snapshot.face(now);
        let header = Header {
            leap: face.leap,
            version: 0,
            mode: Mode::Other(0),
            stratum: face.stratum.get(),
            poll: 0,
            precision: snapshot.precision,
            root_delay: NtpShort::from_duration(face.root_delay),
            root_dispersion: NtpShort::from_duration(face.root_dispersion),
            reference_id: face.reference_id,
            reference: NtpTimestamp::from_utc(face.reference),
            origin: NtpTimestamp::ZERO,
            receive: NtpTimestamp::ZERO,
            transmit: NtpTimestamp::ZERO,
        };
        let borrowed = if face.leap == Leap::Unsynchronised { Duration::ZERO } else { snapshot.borrowed };
        let testimony = face.root_dispersion.saturating_sub(borrowed);
        Self { line: snapshot.served_line(now), template: header.emit(), testimony: NtpShort::from_duration(testimony).0.to_be_bytes() }
    }

    /// The receive timestamp of a request that came at `at`. Its last bit is set and that of a transmit timestamp is not, so that
    /// an origin tells which of the two it was.
    #[must_use]
    pub fn receive(&self, at: Instant) -> NtpTimestamp {
        NtpTimestamp(NtpTimestamp::from_utc(self.line.at(at)).0 | 1)
    }

    /// The transmit timestamp of a reply that leaves at `at`.
    #[must_use]
    pub fn transmit(&self, at: Instant) -> NtpTimestamp {
        NtpTimestamp(NtpTimestamp::from_utc(self.line.at(at)).0 & !1)
    }
}

/// Of them, those before the curve's.
const PLAIN_WORDS: usize = 14;

/// How many words [`Snapshot::to_words`] makes.
pub const SNAPSHOT_WORDS: usize = 22;

impl Snapshot {
    /// As plain words, for shared memory.
    #[must_use]
    pub fn to_words(&self) -> [u64; SNAPSHOT_WORDS] {
        let (at, time, fraction, frequency) = self.line.parts();
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let [a, b, c, d] = self.reference_id.0;
        let small = [self.leap.bits(), self.stratum.get(), self.precision.to_be_bytes()[0], u8::from(self.local.is_some()), a, b, c, d];
        let local = self.local.unwrap_or(LocalReference { stratum: Stratum::new(0), from: Instant::ZERO, distance: Duration::ZERO });
        let plain = [
            word(at.nanos()),
            word(time.nanos()),
            fraction.to_bits(),
            frequency.to_bits(),
            word(self.bound.as_of.nanos()),
            nanos(self.bound.error),
            self.bound.growth.ppm().to_bits(),
            u64::from_be_bytes(small),
            word(self.reference.nanos()),
            nanos(self.root_delay),
            u64::from(local.stratum.get()),
            word(local.from.nanos()),
            nanos(local.distance),
            nanos(self.borrowed),
        ];
        let mut words = [0; SNAPSHOT_WORDS];
        let (front, back) = words.split_at_mut(PLAIN_WORDS);
        front.copy_from_slice(&plain);
        back.copy_from_slice(&self.curve.to_words());
        words
    }

    /// Back from words.
    #[must_use]
    pub fn from_words(words: &[u64; SNAPSHOT_WORDS]) -> Self {
        let instant = |word: u64| Instant::from_nanos(number(word));
        let timestamp = |word: u64| Timestamp::from_nanos(number(word));
        // What saturated was "no bound at all".
        let nanos = |word: u64| if word == u64::MAX { Duration::MAX } else { Duration::from_nanos(word) };
        let [leap, stratum, precision, local, a, b, c, d] = words[7].to_be_bytes();
        let local_stratum = Stratum::new(u8::try_from(words[10]).unwrap_or(u8::MAX));
        Self {
            line: Line::of_parts(instant(words[0]), timestamp(words[1]), f64::from_bits(words[2]), f64::from_bits(words[3])),
            bound: Bound { as_of: instant(words[4]), error: nanos(words[5]), growth: Ppm::new(f64::from_bits(words[6])) },
            borrowed: nanos(words[13]),
            leap: Leap::from_bits(leap),
            stratum: Stratum::new(stratum),
            reference_id: ReferenceId([a, b, c, d]),
            reference: timestamp(words[8]),
            root_delay: nanos(words[9]),
            precision: i8::from_be_bytes([precision]),
            local: (local != 0).then(|| LocalReference { stratum: local_stratum, from: instant(words[11]), distance: nanos(words[12]) }),
            curve: Curve::from_words(*words.last_chunk().unwrap_or(&[0; 8])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn snapshot(leap: Leap) -> Snapshot {
        Snapshot {
            line: Line::new(Instant::ZERO, Timestamp::from_parts(1_800_000_000, 0), Ppm::ZERO),
            bound: Bound { as_of: Instant::ZERO, error: Duration::from_millis(1), growth: Ppm::new(10.0) },
            borrowed: Duration::ZERO,
            leap,
            stratum: Stratum::new(2),
            reference_id: ReferenceId([127, 0, 0, 1]),
            reference: Timestamp::from_parts(1_800_000_000, 0),
            root_delay: Duration::from_micros(200),
            precision: -25,
            local: None,
            curve: Curve::NONE,
        }
    }

    fn at(seconds: i64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn dispersion_grows_to_the_moment() {
        let s = snapshot(Leap::Normal);
        let grown = s.face(at(1000)).root_dispersion - s.face(at(0)).root_dispersion;
        assert_eq!(grown, Duration::from_millis(10));
    }

    #[test]
    fn what_is_not_synchronised_is_never_served_as_such() {
        for s in [snapshot(Leap::Unsynchronised), Snapshot::unsynchronised(), snapshot(Leap::Normal).distrusted()] {
            let face = s.face(at(1));
            assert_eq!((face.leap, face.stratum), (Leap::Unsynchronised, Stratum::UNSYNCHRONISED));
            assert!(face.root_dispersion >= Duration::from_secs(16));
        }
    }

    #[test]
    fn our_own_time_stands_in_when_its_hour_has_come() {
        let local = LocalReference { stratum: Stratum::new(10), from: at(100), distance: Duration::from_millis(5) };
        let lost = Snapshot { local: Some(local), ..snapshot(Leap::Unsynchronised) };
        assert_eq!(lost.face(at(99)).leap, Leap::Unsynchronised);
        let face = lost.face(at(200));
        assert_eq!((face.leap, face.stratum, face.reference_id), (Leap::Normal, Stratum::new(10), LOCAL_REFERENCE));
        assert_eq!((face.root_delay, face.root_dispersion), (Duration::ZERO, Duration::ZERO));
        let age = lost.line.at(at(200)).since(face.reference).seconds();
        assert!((1.0..66.0).contains(&age), "{age}");
        // Synchronised: only once the distance has grown beyond the limit, here after 400 s.
        let kept = Snapshot { local: Some(local), ..snapshot(Leap::Normal) };
        assert_eq!(kept.face(at(399)).stratum, Stratum::new(2));
        assert_eq!(kept.face(at(401)).stratum, Stratum::new(10));
        assert_eq!(kept.distrusted().face(at(500)).leap, Leap::Unsynchronised);
    }

    #[test]
    fn what_is_smoothed_shows_and_goes_on_where_it_was() {
        let limits = super::super::SmoothingLimits { max_frequency: Ppm::new(400.0), max_wander: Ppm::new(1.0) };
        let smooth = Snapshot { curve: Curve::new(at(10), 1.0, 0.0, &limits), ..snapshot(Leap::Normal) };
        assert_eq!(smooth.face(at(20)).reference_id, SMOOTHED_REFERENCE);
        assert_eq!(smooth.face(at(4000)).reference_id, snapshot(Leap::Normal).reference_id);
        let ahead = |now: Instant| smooth.served_line(now).ahead_of(smooth.line.at(now), now);
        assert!((ahead(at(10)) - 1.0).abs() < 1e-9 && (ahead(at(410)) - 0.92).abs() < 1e-9, "{} {}", ahead(at(10)), ahead(at(410)));
        assert_eq!(smooth.served_line(at(4000)), smooth.line);
        assert_eq!(smooth.distrusted().served_line(at(20)), smooth.line);
    }

    #[test]
    fn nothing_known_survives_the_words() {
        let nothing = Snapshot::unsynchronised();
        assert_eq!(Snapshot::from_words(&nothing.to_words()), nothing);
    }

    prop_compose! {
        fn any_snapshot()(
            a in any::<(i32, i64, i32, u32)>(), b in any::<(u32, u16)>(), bytes in any::<[u8; 6]>(), local in any::<Option<(u8, u32, u32)>>(),
        ) -> Snapshot {
            Snapshot {
                line: Line::through(Instant::from_nanos(a.1 >> 1), Timestamp::from_parts(i64::from(a.3), 0), f64::from(a.0) * 1e-11, f64::from(a.2) * 1e-14),
                bound: Bound { as_of: Instant::from_nanos(a.1), error: Duration::from_nanos(u64::from(b.0)), growth: Ppm::new(f64::from(b.1)) },
                borrowed: Duration::from_nanos(u64::from(b.1)),
                leap: Leap::from_bits(bytes[0] & 3),
                stratum: Stratum::new(bytes[1] % 17),
                reference_id: ReferenceId([bytes[2], bytes[3], bytes[4], bytes[5]]),
                reference: Timestamp::from_parts(i64::from(b.0), 5),
                root_delay: Duration::from_nanos(u64::from(b.0) * 7),
                precision: i8::from_be_bytes([bytes[5]]),
                local: local.map(|(stratum, from, distance)| LocalReference {
                    stratum: Stratum::new(stratum % 16),
                    from: Instant::from_nanos(i64::from(from)),
                    distance: Duration::from_nanos(u64::from(distance)),
                }),
                curve: Curve::new(Instant::from_nanos(a.1), f64::from(a.0) * 1e-9, f64::from(a.2) * 1e-14, &super::super::SmoothingLimits { max_frequency: Ppm::new(400.0), max_wander: Ppm::new(1.0) }),
            }
        }
    }

    proptest! {
        #[test]
        fn words_lose_nothing(snapshot in any_snapshot()) {
            prop_assert_eq!(Snapshot::from_words(&snapshot.to_words()), snapshot);
        }
    }
}
