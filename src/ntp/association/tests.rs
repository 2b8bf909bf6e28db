//! The association against hand-made servers.

use super::*;
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

const SERVER: &str = "192.0.2.1:123";
const US: &str = "192.0.2.9";

fn at(millis: i64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn time() -> Timestamp {
    Timestamp::from_parts(1_800_000_000, 0)
}

fn association(options: AssociationOptions) -> (Association, ChaCha12Rng) {
    (Association::new(SourceId(1), SERVER.parse().unwrap(), options, at(0)), ChaCha12Rng::seed_from_u64(7))
}

fn answer(request: &Question) -> Header {
    let asked = Header::parse(&request.bytes).unwrap().0;
    Header {
        leap: Leap::Normal,
        version: asked.version,
        mode: Mode::Server,
        stratum: 2,
        poll: 6,
        precision: -23,
        root_delay: NtpShort::from_duration(Duration::from_millis(4)),
        root_dispersion: NtpShort::from_duration(Duration::from_millis(1)),
        reference_id: ReferenceId([198, 51, 100, 7]),
        reference: NtpTimestamp::from_utc(time()),
        origin: asked.transmit,
        receive: NtpTimestamp::from_utc(time() + Duration::from_millis(105)),
        transmit: NtpTimestamp::from_utc(time() + Duration::from_millis(106)),
    }
}

fn ask(a: &mut Association, rng: &mut ChaCha12Rng, now: Instant, token: u64) -> Question {
    a.on_timer(now, Token(token), rng).expect("a request is due").0
}

fn judge(a: &mut Association, header: &Header, received: Instant) -> Outcome {
    a.on_datagram(Some(received), US.parse().unwrap(), time(), &header.emit())
}

#[test]
fn a_request_tells_nothing() {
    let (mut a, mut rng) = association(AssociationOptions::default());
    let first = ask(&mut a, &mut rng, at(0), 1);
    let header = Header::parse(&first.bytes).unwrap().0;
    assert!(first.bytes[1..40].iter().enumerate().all(|(i, &b)| b == 0 || i == 2), "{:?}", first.bytes);
    assert_ne!(header.transmit, NtpTimestamp::ZERO);
    let second = ask(&mut a, &mut rng, at(64_000), 2);
    assert_ne!(first.bytes[40..], second.bytes[40..]);
}

#[test]
fn offset_and_delay_are_those_of_the_rfc() {
    let (mut a, mut rng) = association(AssociationOptions::default());
    let request = ask(&mut a, &mut rng, at(0), 1);
    a.on_sent(Token(1), at(1), StampedBy::Kernel);
    let Outcome::Sample(sample) = judge(&mut a, &answer(&request), at(12)) else { panic!() };
    assert_eq!(sample.at, Instant::from_nanos(6_500_000));
    assert!(sample.reference.since(time() + Duration::from_micros(105_500)).nanos().abs() <= 1);
    assert!((sample.delay.as_secs_f64() - 0.010).abs() < 1e-8);
    assert!(a.reach().is_reachable());
    // The same answer again is a duplicate.
    assert_eq!(judge(&mut a, &answer(&request), at(13)), Outcome::Rejected(Rejection::Origin));
}

#[test]
fn bad_answers_are_counted_by_reason() {
    let (mut a, mut rng) = association(AssociationOptions::default());
    let request = ask(&mut a, &mut rng, at(0), 1);
    let good = answer(&request);
    assert_eq!(a.on_datagram(Some(at(1)), US.parse().unwrap(), time(), &[0; 10]), Outcome::Rejected(Rejection::Malformed));
    let wrong = Header { origin: NtpTimestamp(5), ..good };
    assert_eq!(judge(&mut a, &wrong, at(1)), Outcome::Rejected(Rejection::Origin));
    assert_eq!(judge(&mut a, &Header { mode: Mode::Broadcast, ..good }, at(1)), Outcome::Rejected(Rejection::Mode));
    assert_eq!(judge(&mut a, &Header { version: 3, ..good }, at(1)), Outcome::Rejected(Rejection::Version));
    // None of these used up the request.
    assert!(matches!(judge(&mut a, &good, at(12)), Outcome::Sample(_)));
    let counted: Vec<_> = a.rejected().collect();
    assert_eq!(counted, [(Rejection::Malformed, 1), (Rejection::Mode, 1), (Rejection::Version, 1), (Rejection::Origin, 1)]);
}

#[test]
fn each_sanity_check_rejects() {
    type Spoil = fn(&mut Header);
    let cases: [(Spoil, Rejection); 5] = [
        (|h| h.receive = NtpTimestamp::ZERO, Rejection::Timestamp),
        (|h| h.transmit = NtpTimestamp(h.receive.0 - (1 << 32)), Rejection::Timestamp),
        (|h| h.root_delay = NtpShort(u32::MAX), Rejection::RootDistance),
        (|h| h.reference_id = ReferenceId([192, 0, 2, 9]), Rejection::Loop),
        (|h| h.transmit = NtpTimestamp(h.receive.0 + (1 << 32)), Rejection::Timestamp),
    ];
    for (spoil, reason) in cases {
        let (mut a, mut rng) = association(AssociationOptions::default());
        let request = ask(&mut a, &mut rng, at(0), 1);
        let mut header = answer(&request);
        spoil(&mut header);
        assert_eq!(judge(&mut a, &header, at(12)), Outcome::Rejected(reason));
    }
}

#[test]
fn a_long_round_trip_and_a_lost_stamp_are_rejected() {
    let (mut a, mut rng) = association(AssociationOptions { max_delay: Duration::from_millis(5), ..AssociationOptions::default() });
    let request = ask(&mut a, &mut rng, at(0), 1);
    assert_eq!(judge(&mut a, &answer(&request), at(12)), Outcome::Rejected(Rejection::Delay));
    let request = ask(&mut a, &mut rng, at(64_000), 2);
    let outcome = a.on_datagram(None, US.parse().unwrap(), time(), &answer(&request).emit());
    assert_eq!(outcome, Outcome::Rejected(Rejection::Stamp));
}

#[test]
fn unsynchronised_servers_are_reachable_but_give_no_sample() {
    let (mut a, mut rng) = association(AssociationOptions::default());
    let request = ask(&mut a, &mut rng, at(0), 1);
    assert_eq!(judge(&mut a, &Header { stratum: 16, ..answer(&request) }, at(12)), Outcome::Unsynchronised);
    assert!(a.reach().is_reachable());
}

#[test]
fn kisses_are_obeyed_but_only_in_answer_to_us() {
    let (mut a, mut rng) = association(AssociationOptions { min_poll: Poll::new(4), ..AssociationOptions::default() });
    let request = ask(&mut a, &mut rng, at(0), 1);
    let kiss = |code: &[u8; 4]| Header { stratum: 0, reference_id: ReferenceId(*code), poll: 4, ..answer(&request) };
    let spoofed = Header { origin: NtpTimestamp(9), ..kiss(b"DENY") };
    assert_eq!(judge(&mut a, &spoofed, at(1)), Outcome::Rejected(Rejection::Origin));
    assert_eq!(judge(&mut a, &kiss(b"RATE"), at(1)), Outcome::Rejected(Rejection::Kiss));
    assert_eq!(a.poll(), Poll::new(5));
    // Waits for the interval that was due and the new one.
    assert_eq!(a.next(), Some(at(34_000)));
    let request = ask(&mut a, &mut rng, at(34_000), 2);
    let deny = Header { stratum: 0, reference_id: ReferenceId(*b"DENY"), ..answer(&request) };
    assert_eq!(judge(&mut a, &deny, at(34_001)), Outcome::Denied);
    assert_eq!(a.next(), None);
    assert_eq!(a.hurry(at(50_000)), None);
    assert_eq!(a.next(), None, "even a disruption does not revive a denied association");
}

#[test]
fn iburst_asks_four_times_two_seconds_apart_and_then_warms_up() {
    let (mut a, mut rng) = association(AssociationOptions { iburst: true, ..AssociationOptions::default() });
    let mut times = Vec::new();
    let mut now = at(0);
    for token in 0..5 {
        times.push(now.nanos() / 1_000_000);
        let request = ask(&mut a, &mut rng, now, token);
        judge(&mut a, &answer(&request), now + Duration::from_millis(12));
        now = a.next().unwrap();
    }
    assert_eq!(times, [0, 2_000, 4_000, 6_000, 9_000]);
}

#[test]
fn the_first_answer_after_a_long_silence_begins_anew() {
    let (mut a, mut rng) = association(AssociationOptions { iburst: true, ..AssociationOptions::default() });
    let mut now = at(0);
    let mut request = ask(&mut a, &mut rng, now, 0);
    for token in 1..20 {
        while a.give_up(a.next().unwrap()).is_some() {}
        now = a.next().unwrap();
        request = ask(&mut a, &mut rng, now, token);
    }
    assert_eq!(a.poll(), Poll::new(10));
    assert!(matches!(judge(&mut a, &answer(&request), now + Duration::from_millis(12)), Outcome::Sample(_)));
    assert_eq!(a.poll(), Poll::new(6));
    assert_eq!(a.next(), Some(now + Duration::from_millis(2012)), "and quickly, with iburst");
}

#[test]
fn a_request_that_could_not_leave_is_repeated_soon() {
    let (mut a, mut rng) = association(AssociationOptions { iburst: true, ..AssociationOptions::default() });
    for attempt in 0..20_i64 {
        ask(&mut a, &mut rng, at(attempt * 4_000), 1);
        a.on_send_failed(Token(1), at(attempt * 4_000));
        assert_eq!(a.next(), Some(at((attempt + 1) * 4_000)), "attempt {attempt}");
    }
    assert_eq!(a.unanswered(), 0);
}

#[test]
fn the_next_request_counts_from_the_last_one_not_from_its_answer() {
    let (mut a, mut rng) =
        association(AssociationOptions { min_poll: Poll::new(4), max_poll: Poll::new(4), ..AssociationOptions::default() });
    for i in 0..5 {
        let now = at(i * 16_000);
        let request = ask(&mut a, &mut rng, now, 0);
        judge(&mut a, &answer(&request), now + Duration::from_millis(12));
        a.adapt(0.0, 0.0);
        assert_eq!(a.next(), Some(at((i + 1) * 16_000)));
    }
}

#[test]
fn an_unreachable_server_is_asked_less_often() {
    let (mut a, mut rng) = association(AssociationOptions::default());
    let mut now = at(0);
    for token in 0..16 {
        ask(&mut a, &mut rng, now, token);
        while a.give_up(a.next().unwrap()).is_some() {}
        now = a.next().unwrap();
    }
    assert_eq!(a.poll(), Poll::new(10));
    assert!(!a.reach().is_reachable());
    assert_eq!(a.unanswered(), 16);
}

/// A server in the interleaved mode, 105 ms ahead of us: replies leave later than they say by what varies.
fn serve(server: &mut crate::ntp::Responder, request: &Question, arrives: Instant, leaves: Instant) -> crate::ntp::Reply {
    use crate::core::Line;
    use crate::ntp::{Prepared, Reply, Request, Snapshot};
    use crate::units::{Bound, Ppm};
    let snapshot = Snapshot {
        line: Line::new(at(0), time() + Duration::from_millis(105), Ppm::ZERO),
        bound: Bound { as_of: at(0), error: Duration::from_millis(1), growth: Ppm::ZERO },
        borrowed: Duration::ZERO,
        leap: Leap::Normal,
        stratum: Stratum::new(2),
        ..Snapshot::unsynchronised()
    };
    let prepared = Prepared::new(&snapshot, arrives);
    let client: SocketAddr = "192.0.2.9:40000".parse().unwrap();
    let admitted = server.judge(&Request { from: client, received: arrives, bytes: &request.bytes }).unwrap();
    let mut reply = Reply::new();
    server.answer(&prepared, &admitted, arrives, &mut reply);
    if admitted.wants_stamp() {
        server.on_sent(&prepared, client, &reply, leaves);
    }
    reply
}

#[test]
fn the_interleaved_mode_measures_what_really_happened() {
    use crate::ntp::{Access, Responder, ServerOptions};
    use std::sync::Arc;
    let options = AssociationOptions { xleave: true, min_poll: Poll::new(2), max_poll: Poll::new(2), ..AssociationOptions::default() };
    let (mut a, mut rng) = association(options);
    let access = Arc::new(Access::everybody());
    let mut server = Responder::new(&ServerOptions { access, keys: Arc::default(), rate_limit: None, client_memory: 4096, seed: 1 });
    let mut outcomes = Vec::new();
    for i in 0..20_i64 {
        let now = at(i * 4_000);
        let request = ask(&mut a, &mut rng, now, 1);
        // A millisecond each way, and 0 to 9 ms in the server's queue that the reply does not know of.
        let (arrives, leaves) = (at(i * 4_000 + 1), at(i * 4_000 + 1 + i % 10));
        let reply = serve(&mut server, &request, arrives, leaves);
        if i == 12 {
            // Lost: the next answer is of the basic mode again.
            continue;
        }
        outcomes.push(a.on_datagram(Some(leaves + Duration::from_millis(1)), US.parse().unwrap(), time(), &reply));
    }
    let samples: Vec<&Sample> = outcomes.iter().filter_map(|o| if let Outcome::Sample(s) = o { Some(s) } else { None }).collect();
    let exact = |s: &Sample| {
        let off = s.reference.since(time() + Duration::from_millis(105)) - s.at.since(at(0));
        off.abs() < Duration::from_micros(1) && s.delay.abs_diff(Duration::from_millis(2)) < Duration::from_micros(1)
    };
    // Basic twice at the start, then one repeated; two basic ones and one repeated after the loss.
    assert_eq!(outcomes.iter().filter(|o| **o == Outcome::Repeated).count(), 2, "{outcomes:?}");
    assert!(samples.len() >= 16 && samples.iter().filter(|s| !exact(s)).count() <= 3, "{samples:#?}");
    assert!(samples.windows(2).all(|w| w[0].at < w[1].at), "no exchange is measured twice");
    a.hurry(at(90_000));
    let fresh = ask(&mut a, &mut rng, at(90_000), 1);
    assert!(Header::parse(&fresh.bytes).unwrap().0.origin.is_zero(), "after a disruption nothing old is asked for");
}

#[test]
fn the_interleaved_mode_is_not_asked_for_at_long_intervals() {
    let options = AssociationOptions { xleave: true, min_poll: Poll::new(7), max_poll: Poll::new(7), ..AssociationOptions::default() };
    let (mut a, mut rng) = association(options);
    for i in 0..3 {
        let request = ask(&mut a, &mut rng, at(i * 128_000), 1);
        assert!(Header::parse(&request.bytes).unwrap().0.origin.is_zero());
        assert!(matches!(judge(&mut a, &answer(&request), at(i * 128_000 + 12)), Outcome::Sample(_)));
    }
}

proptest! {
    #[test]
    fn no_datagram_panics_or_counts_without_a_request(bytes in proptest::collection::vec(any::<u8>(), 0..100), nanos in any::<i64>()) {
        let (mut a, mut rng) = association(AssociationOptions::default());
        ask(&mut a, &mut rng, at(0), 1);
        let outcome = a.on_datagram(Some(Instant::from_nanos(nanos)), US.parse().unwrap(), time(), &bytes);
        prop_assert!(matches!(outcome, Outcome::Rejected(_)));
    }

    #[test]
    fn any_answer_to_our_nonce_is_judged_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 48..60), nanos in any::<i64>(), stamp in any::<i64>()) {
        let (mut a, mut rng) = association(AssociationOptions::default());
        let request = ask(&mut a, &mut rng, at(0), 1);
        bytes[0] = bytes[0] & 0xc0 | 0x24;
        bytes[24..32].copy_from_slice(&request.bytes[40..48]);
        let outcome = a.on_datagram(Some(Instant::from_nanos(nanos)), US.parse().unwrap(), Timestamp::from_nanos(stamp), &bytes);
        if let Outcome::Sample(sample) = outcome {
            prop_assert!(sample.delay <= Duration::from_secs(3));
        }
    }
}
