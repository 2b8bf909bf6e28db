//! The server's side: from a request and a snapshot of the clock to a reply, or to silence.
//!
//! Pure. A reply is never longer than its request, and modes 6 and 7 are never answered.

use std::net::SocketAddr;

use arrayvec::ArrayVec;

use crate::core::Line;
use crate::units::{Bound, Instant, Leap, NtpTimestamp, Poll, ReferenceId, Stratum, Timestamp, duration};
use crate::wire::ntp::{Header, Mode, NtpShort};

/// What a serving thread needs to know of the time; valid until the next is published.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Snapshot {
    /// Time as a function of the timebase.
    pub line: Line,
    /// How wrong it can be, growing by itself.
    pub bound: Bound,
    /// Our leap indicator; `Unsynchronised` before the first update and while disrupted.
    pub leap: Leap,
    /// Our stratum.
    pub stratum: Stratum,
    /// Whom we follow.
    pub reference_id: ReferenceId,
    /// When the line was last updated.
    pub reference: Timestamp,
    /// To the primary clock.
    pub root_delay: std::time::Duration,
    /// log2 of the time it takes to read the clock.
    pub precision: i8,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Send what was built.
    Reply,
    /// Not an NTP packet.
    Malformed,
    /// A packet, but not a client's request.
    NotARequest,
}

/// The longest reply: a header, authentication and extension fields.
pub const MAX_REPLY: usize = 1024;

/// Room for one reply.
pub type Reply = ArrayVec<u8, MAX_REPLY>;

/// A request as it came in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks: what rate limits, access rules and interleaving go by.
    pub from: SocketAddr,
    /// When it arrived, on the timebase.
    pub received: Instant,
    /// What it says.
    pub bytes: &'a [u8],
}

/// Answers requests. One for each serving thread; per-client state lives here.
#[derive(Clone, Debug, Default)]
pub struct Responder {
    replies: u64,
}

impl Responder {
    /// A responder that has answered nobody yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { replies: 0 }
    }

    /// Builds the reply in `out`; `now` is the moment just before sending.
    pub fn reply(&mut self, snapshot: &Snapshot, request: &Request<'_>, now: Instant, out: &mut Reply) -> Verdict {
        out.clear();
        let Ok((asked, _)) = Header::parse(request.bytes) else { return Verdict::Malformed };
        if asked.mode != Mode::Client || asked.version > 4 {
            return Verdict::NotARequest;
        }
        let age = now.elapsed_since(snapshot.bound.as_of);
        let grown = snapshot.bound.at(now);
        let synchronised = snapshot.leap != Leap::Unsynchronised;
        let dispersion = if synchronised { grown.saturating_sub(snapshot.root_delay / 2) } else { duration(16.0).max(age) };
        let header = Header {
            leap: snapshot.leap,
            version: asked.version,
            mode: Mode::Server,
            stratum: if synchronised { snapshot.stratum.get() } else { Stratum::UNSYNCHRONISED.get() },
            poll: asked.poll.clamp(Poll::new(3).log2(), Poll::new(17).log2()),
            precision: snapshot.precision,
            root_delay: NtpShort::from_duration(snapshot.root_delay),
            root_dispersion: NtpShort::from_duration(dispersion),
            reference_id: snapshot.reference_id,
            reference: NtpTimestamp::from_utc(snapshot.reference),
            origin: asked.transmit,
            receive: NtpTimestamp::from_utc(snapshot.line.at(request.received)),
            transmit: NtpTimestamp::from_utc(snapshot.line.at(now)),
        };
        out.extend(header.emit());
        self.replies += 1;
        Verdict::Reply
    }

    /// Replies built so far.
    #[must_use]
    pub const fn replies(&self) -> u64 {
        self.replies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ppm;
    use proptest::prelude::*;
    use std::time::Duration;

    fn snapshot(leap: Leap) -> Snapshot {
        Snapshot {
            line: Line::new(Instant::ZERO, Timestamp::from_parts(1_800_000_000, 0), Ppm::ZERO),
            bound: Bound { as_of: Instant::ZERO, error: Duration::from_millis(1), growth: Ppm::new(10.0) },
            leap,
            stratum: Stratum::new(2),
            reference_id: ReferenceId([127, 0, 0, 1]),
            reference: Timestamp::from_parts(1_800_000_000, 0),
            root_delay: Duration::from_micros(200),
            precision: -25,
        }
    }

    fn asked(bytes: &[u8], seconds: i64) -> Request<'_> {
        Request { from: "192.0.2.1:123".parse().unwrap(), received: at(seconds), bytes }
    }

    fn at(seconds: i64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn dispersion_grows_to_the_moment_of_the_reply() {
        let mut request = [0_u8; 48];
        request[0] = 0x23;
        let mut out = Reply::new();
        let mut responder = Responder::new();
        assert_eq!(responder.reply(&snapshot(Leap::Normal), &asked(&request, 0), at(0), &mut out), Verdict::Reply);
        let early = Header::parse(&out).unwrap().0.root_dispersion.duration();
        assert_eq!(responder.reply(&snapshot(Leap::Normal), &asked(&request, 1000), at(1000), &mut out), Verdict::Reply);
        let late = Header::parse(&out).unwrap().0.root_dispersion.duration();
        assert!((late - early).as_secs_f64() > 0.0099, "{early:?} {late:?}");
        assert_eq!(responder.replies(), 2);
    }

    #[test]
    fn what_is_not_synchronised_is_never_served_as_such() {
        let mut request = [0_u8; 48];
        request[0] = 0x23;
        let mut out = Reply::new();
        assert_eq!(Responder::new().reply(&snapshot(Leap::Unsynchronised), &asked(&request, 1), at(1), &mut out), Verdict::Reply);
        let header = Header::parse(&out).unwrap().0;
        assert_eq!((header.leap, header.stratum), (Leap::Unsynchronised, 16));
    }

    proptest! {
        #[test]
        fn only_client_requests_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut out = Reply::new();
            let verdict = Responder::new().reply(&snapshot(Leap::Normal), &asked(&bytes, 1), at(2), &mut out);
            if verdict == Verdict::Reply {
                prop_assert!(bytes.len() >= out.len());
                prop_assert_eq!(bytes[0] & 7, 3);
                let header = Header::parse(&out).unwrap().0;
                prop_assert_eq!(&out[24..32], &bytes[40..48]);
                prop_assert_eq!(header.mode, Mode::Server);
            }
        }
    }
}
