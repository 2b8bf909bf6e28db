use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::parse_keys;
use crate::core::Line;
use crate::ntp::{Curve, Key, Rule};
use crate::units::{Bound, Leap, Ppm, ReferenceId, Stratum, Timestamp};

const RATE: ReferenceId = ReferenceId(*b"RATE");
const TIME: Timestamp = Timestamp::from_parts(1_800_000_000, 0);

fn snapshot(leap: Leap) -> Snapshot {
    Snapshot {
        line: Line::new(Instant::ZERO, TIME, Ppm::ZERO),
        bound: Bound { as_of: Instant::ZERO, error: Duration::from_millis(1), growth: Ppm::new(10.0) },
        borrowed: Duration::ZERO,
        leap,
        stratum: Stratum::new(2),
        reference_id: ReferenceId([127, 0, 0, 1]),
        reference: TIME,
        root_delay: Duration::from_micros(200),
        precision: -25,
        local: None,
        curve: Curve::NONE,
    }
}

fn at(millis: i64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn asked(bytes: &[u8], millis: i64) -> Request<'_> {
    Request { from: "192.0.2.1:40000".parse().unwrap(), received: at(millis), bytes }
}

/// A request whose transmit timestamp is seven times its first byte.
fn request(first: u8) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[0] = first;
    bytes[40..48].copy_from_slice(&[first; 8]);
    bytes
}

fn header(reply: &Reply) -> Header {
    Header::parse(reply).unwrap().0
}

/// What comes back for a request from that port.
fn answered(responder: &mut Responder, bytes: &[u8], port: u16) -> Result<Header, Refusal> {
    let mut out = Reply::new();
    let request = Request { from: SocketAddr::from(([192, 0, 2, 1], port)), ..asked(bytes, 5) };
    match responder.reply(&snapshot(Leap::Normal), &request, at(6), &mut out) {
        Verdict::Reply => Ok(header(&out)),
        Verdict::Refused(refusal) => Err(refusal),
    }
}

#[test]
fn whom_we_ask_too_is_told_what_we_know_without_it() {
    let (access, keys) = (Arc::new(Access::everybody()), Arc::default());
    let mut responder = Responder::new(&ServerOptions { access, keys, rate_limit: None, client_memory: 4096, seed: 1 });
    let known = Snapshot { borrowed: Duration::from_micros(600), ..snapshot(Leap::Normal) };
    let mut dispersion = |snapshot: &Snapshot| {
        let mut out = Reply::new();
        let verdict = responder.reply(snapshot, &asked(&request(0x23), 5), at(6), &mut out);
        assert_eq!(verdict, Verdict::Reply);
        let before = header(&out).root_dispersion.duration();
        let marked = [1, 2].map(|last| responder.mark_sibling([192, 0, 2, last].into()));
        assert_eq!(marked, [true, false], "only who asks us is remembered");
        responder.reply(snapshot, &asked(&request(0x23), 7), at(8), &mut out);
        (before, header(&out).root_dispersion.duration())
    };
    let (before, after) = dispersion(&known);
    let less = before.as_secs_f64() - after.as_secs_f64();
    assert!((less - 600e-6).abs() < 40e-6, "{before:?} {after:?}");
    let (before, after) = dispersion(&Snapshot { leap: Leap::Unsynchronised, ..known });
    assert!(before >= Duration::from_secs(16) && after >= before, "{before:?} {after:?}");
}

fn limited(rate_limit: RateLimit) -> Responder {
    Responder::new(&ServerOptions {
        access: Arc::new(Access::everybody()),
        keys: Arc::default(),
        rate_limit: Some(rate_limit),
        client_memory: 1 << 16,
        seed: 3,
    })
}

#[test]
fn versions_one_to_four_are_answered_in_kind() {
    for version in 1..=4_u8 {
        let reply = answered(&mut Responder::open(), &request(version << 3 | 3), 5000).unwrap();
        assert_eq!((reply.version, reply.mode, reply.stratum), (version, Mode::Server, 2));
        assert_eq!(reply.origin.0, u64::from_be_bytes([version << 3 | 3; 8]));
        let peer = answered(&mut Responder::open(), &request(version << 3 | 1), 123).unwrap();
        assert_eq!((peer.version, peer.mode), (version, Mode::SymmetricPassive));
    }
    for first in [0x03, 0x2b, 0x33, 0x3b] {
        assert_eq!(answered(&mut Responder::open(), &request(first), 5000), Err(Refusal::Version));
    }
}

#[test]
fn a_client_of_version_one_has_no_mode() {
    assert_eq!(answered(&mut Responder::open(), &request(0x08), 5000).map(|h| (h.version, h.mode)), Ok((1, Mode::Server)));
    assert_eq!(answered(&mut Responder::open(), &request(0x08), 123), Err(Refusal::Mode));
    assert_eq!(answered(&mut Responder::open(), &request(0x20), 5000), Err(Refusal::Mode));
}

#[test]
fn what_is_no_request_is_counted_by_kind() {
    let mut responder = Responder::open();
    for (bytes, refusal) in [
        (&request(0x22)[..], Refusal::Mode),
        (&request(0x24), Refusal::Mode),
        (&request(0x25), Refusal::Mode),
        (&request(0x16), Refusal::Control),
        (&request(0x27), Refusal::Control),
        (&request(0x23)[..47], Refusal::Malformed),
        (&[], Refusal::Malformed),
        (&[0x23; 50], Refusal::Malformed),
    ] {
        assert_eq!(answered(&mut responder, bytes, 5000), Err(refusal));
    }
    let served = responder.served();
    assert_eq!((served.received, served.replied), (8, 0));
    let count = |refusal| served.refused(refusal);
    assert_eq!((count(Refusal::Mode), count(Refusal::Control), count(Refusal::Malformed)), (3, 2, 3));
}

#[test]
fn the_access_rules_are_asked() {
    let net = "192.0.2.0/24".parse().unwrap();
    for (allow, expected) in [(true, Ok(())), (false, Err(Refusal::Denied))] {
        let access = Arc::new(Access::new([Rule { allow, all: false, net }]));
        let mut responder = Responder::new(&ServerOptions { access, keys: Arc::default(), rate_limit: None, client_memory: 4096, seed: 1 });
        assert_eq!(answered(&mut responder, &request(0x23), 5000).map(|_| ()), expected);
        assert_eq!(responder.clients().count(), usize::from(allow), "who may not ask takes no room");
    }
}

#[test]
fn timestamps_are_those_of_the_line() {
    let reply = answered(&mut Responder::open(), &request(0x23), 5000).unwrap();
    let off = |stamp: NtpTimestamp, millis: i64| stamp.to_utc(TIME).since(TIME).nanos() - millis * 1_000_000;
    assert!(off(reply.receive, 5).abs() <= 1 && off(reply.transmit, 6).abs() <= 1);
    assert_eq!((reply.receive.0 & 1, reply.transmit.0 & 1), (1, 0));
    assert_eq!(reply.poll, 0);
}

#[test]
fn a_limited_client_is_told_so_if_that_is_wished() {
    let mut responder = limited(RateLimit { interval: 6, burst: 2, leak: 4, kod: 1 });
    let replies: Vec<_> = (0..200).map(|_| answered(&mut responder, &request(0x23), 5000)).collect();
    assert!(replies[..2].iter().all(|r| r.is_ok_and(|h| h.stratum == 2 && h.poll == 6)));
    let kisses: Vec<Header> = replies.iter().flatten().filter(|h| h.stratum == 0).copied().collect();
    assert!((60..140).contains(&kisses.len()), "{}", kisses.len());
    for kiss in kisses {
        assert_eq!((kiss.leap, kiss.reference_id, kiss.origin), (Leap::Unsynchronised, RATE, kiss.transmit));
    }
    let served = responder.served();
    assert_eq!(served.received, served.replied + served.refused(Refusal::Limited));
    assert!(served.kissed > 0 && served.refused(Refusal::Limited) > 50);
    let client = responder.clients().next().unwrap();
    assert_eq!((client.asked, u64::from(client.dropped)), (200, served.kissed + served.refused(Refusal::Limited)));
}

/// A request, signed.
fn signed(version: u8, key: &Key) -> Vec<u8> {
    let mut packet: ArrayVec<u8, 128> = request(version << 3 | 3).into_iter().collect();
    key.sign(version, &mut packet);
    packet.to_vec()
}

#[test]
fn a_signed_request_gets_a_signed_reply_of_its_length() {
    let text = "1 MD5 ASCII:secretsecretsecret\n2 SHA512 ASCII:anothersecretkey\n3 AES128 HEX:2b7e151628aed2a6abf7158809cf4f3c";
    let keys = Keys::new(&parse_keys("/k", text).unwrap().0);
    let strangers = Keys::new(&parse_keys("/k", "1 MD5 ASCII:notthesamesecret\n9 MD5 ASCII:secretsecretsecret").unwrap().0);
    let options = ServerOptions {
        access: Arc::new(Access::everybody()),
        keys: Arc::new(keys.clone()),
        rate_limit: None,
        client_memory: 4096,
        seed: 1,
    };
    let mut responder = Responder::new(&options);
    let mut out = Reply::new();
    let mut ask = |bytes: &[u8]| responder.reply(&snapshot(Leap::Normal), &asked(bytes, 5), at(6), &mut out).then_reply(&out);
    for version in 1..=4 {
        for id in 1..=3 {
            let key = keys.get(id).unwrap();
            let packet = signed(version, key);
            let reply = ask(&packet).unwrap();
            assert_eq!(reply.len(), packet.len(), "key {id} in version {version}");
            let keys::Tail::Coded { id: found, message, code } = keys::tail(version, &reply) else { panic!() };
            assert!(found == id && key.verifies(version, message, code));
        }
    }
    for wrong in [signed(4, strangers.get(1).unwrap()), signed(4, strangers.get(9).unwrap()), [&request(0x23)[..], &[0; 4]].concat()] {
        assert_eq!(ask(&wrong), Err(Refusal::Authentication));
    }
    assert_eq!(ask(&[&request(0x23)[..], &[0, 0, 0, 8, 0, 0, 0, 0]].concat()), Err(Refusal::Malformed));
    let field = [&request(0x23)[..], &[1, 4, 0, 32], &[0; 28]].concat();
    assert_eq!(ask(&field).map(|reply| reply.len()), Ok(HEADER_LEN), "an extension field we do not know is passed over");
    assert_eq!(responder.served().authenticated, 12);
}

trait ThenReply {
    fn then_reply(self, out: &Reply) -> Result<Vec<u8>, Refusal>;
}

impl ThenReply for Verdict {
    fn then_reply(self, out: &Reply) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::Reply => Ok(out.to_vec()),
            Self::Refused(refusal) => Err(refusal),
        }
    }
}

/// A client's next request in the interleaved mode, after `reply` was received.
fn interleaved(reply: &Header, mine: u64) -> [u8; HEADER_LEN] {
    let mut bytes = request(0x23);
    bytes[24..32].copy_from_slice(&reply.receive.0.to_be_bytes());
    bytes[32..40].copy_from_slice(&mine.to_be_bytes());
    bytes
}

#[test]
fn an_interleaved_reply_tells_when_the_last_one_left() {
    let mut responder = limited(RateLimit { interval: -19, burst: 255, leak: 1, kod: 0 });
    let mut ask = |bytes: &[u8], millis: i64, stamp: Option<i64>| {
        let mut out = Reply::new();
        let admitted = responder.judge(&asked(bytes, millis)).unwrap();
        let prepared = Prepared::new(&snapshot(Leap::Normal), at(millis));
        responder.answer(&prepared, &admitted, at(millis + 1), &mut out);
        if let (true, Some(stamp)) = (admitted.wants_stamp(), stamp) {
            responder.on_sent(&prepared, "192.0.2.1:40000".parse().unwrap(), &out, at(stamp));
        }
        (header(&out), responder.served().interleaved)
    };
    let basic = u64::from_be_bytes([0x23; 8]);
    let (first, count) = ask(&request(0x23), 1000, Some(1002));
    assert_eq!((first.origin.0, count), (basic, 0));
    let (second, count) = ask(&interleaved(&first, 77), 2000, Some(2003));
    assert_eq!((second.origin.0, count), (basic, 0), "nothing was kept for a client that had not asked for it");
    let (third, count) = ask(&interleaved(&second, 79), 3000, None);
    assert_eq!((third.origin.0, count), (79, 1));
    let off = third.transmit.to_utc(TIME).since(TIME).nanos() - 2_003_000_000;
    assert!(off.abs() <= 1, "the kernel's stamp of the reply before: {off}");
    assert!((third.receive.to_utc(TIME).since(TIME).nanos() - 3_000_000_000).abs() <= 1);
    let (replayed, count) = ask(&interleaved(&second, 81), 3500, None);
    assert_eq!((replayed.origin.0, count), (basic, 1), "told once");
    let (fourth, _) = ask(&interleaved(&replayed, 83), 4000, None);
    let off = fourth.transmit.to_utc(TIME).since(TIME).nanos() - 3_501_000_000;
    assert!(off.abs() <= 1, "without a stamp, the moment just before sending: {off}");
}

#[test]
fn who_remembers_nobody_neither_limits_nor_interleaves() {
    let options = ServerOptions {
        access: Arc::new(Access::everybody()),
        keys: Arc::default(),
        rate_limit: Some(RateLimit { interval: 12, burst: 1, leak: 1, kod: 0 }),
        client_memory: 0,
        seed: 1,
    };
    let mut responder = Responder::new(&options);
    for _ in 0..50 {
        assert!(answered(&mut responder, &request(0x23), 5000).is_ok());
    }
    assert_eq!(responder.memory(), (0, 0, 0));
}

proptest! {
    #[test]
    fn no_reply_is_longer_than_its_request_or_to_what_is_none(
        packets in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..140)), 1..20), synchronised in any::<bool>(),
    ) {
        let mut responder = limited(RateLimit { interval: -4, burst: 4, leak: 1, kod: 1 });
        let leap = if synchronised { Leap::Normal } else { Leap::Unsynchronised };
        for (i, (first, mut bytes)) in packets.into_iter().enumerate() {
            if let Some(byte) = bytes.first_mut() {
                // Mostly something like a request.
                *byte = if first < 200 { 0x23 } else { first };
            }
            let now = i64::try_from(i).unwrap() * 10;
            let mut out = Reply::new();
            if responder.reply(&snapshot(leap), &asked(&bytes, now), at(now), &mut out) == Verdict::Reply {
                prop_assert!(bytes.len() >= out.len() && !out.is_empty());
                let (asked, replied) = (bytes[0], header(&out));
                prop_assert!(matches!(asked & 7, 1 | 3) || asked & 0x3f == 8);
                prop_assert_eq!(replied.mode, if asked & 7 == 1 { Mode::SymmetricPassive } else { Mode::Server });
                if !synchronised {
                    prop_assert_eq!(replied.leap, Leap::Unsynchronised);
                    prop_assert!(replied.stratum == 16 || replied.reference_id == RATE);
                }
            }
        }
        let served = responder.served();
        let refused: u64 = Refusal::ALL.into_iter().map(|r| served.refused(r)).sum();
        prop_assert_eq!(served.received, served.replied + refused);
    }
}
