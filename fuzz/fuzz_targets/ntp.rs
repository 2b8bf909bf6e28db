//! Any bytes as an NTP packet: parse, emit, answer, and judge as an answer.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use paraclock::core::{Line, SourceId};
use paraclock::ntp::{Curve, Association, AssociationOptions, Reply, Request, Responder, Snapshot, Token, Verdict};
use paraclock::units::{Bound, Instant, Leap, Ppm, ReferenceId, Stratum, Timestamp};
use paraclock::wire::ntp::Header;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

fuzz_target!(|data: (i64, Vec<u8>)| {
    let (nanos, mut bytes) = data;
    let now = Instant::from_nanos(nanos);
    if let Ok((header, _)) = Header::parse(&bytes) {
        let emitted = header.emit();
        assert_eq!(emitted[1..], bytes[1..48]);
    }
    let snapshot = Snapshot {
        line: Line::new(now, Timestamp::from_nanos(nanos), Ppm::ZERO),
        bound: Bound::UNKNOWN,
        borrowed: std::time::Duration::ZERO,
        leap: Leap::Normal,
        stratum: Stratum::new(2),
        reference_id: ReferenceId::NONE,
        reference: Timestamp::UNIX_EPOCH,
        root_delay: std::time::Duration::ZERO,
        precision: -20,
        local: None,
        curve: Curve::NONE,
    };
    let mut reply = Reply::new();
    let asked = Request { from: SocketAddr::from(([192, 0, 2, 1], 123)), received: now, bytes: &bytes };
    if Responder::open().reply(&snapshot, &asked, now, &mut reply) == Verdict::Reply {
        assert!(bytes.len() >= reply.len(), "a reply longer than its request");
    }
    let address = "192.0.2.1:123".parse().expect("an address");
    let mut association = Association::new(SourceId(1), address, AssociationOptions::default(), Instant::ZERO);
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    if let Some((request, _)) = association.on_timer(Instant::ZERO, Token(1), &mut rng) {
        if bytes.len() >= 48 && nanos & 1 == 0 {
            bytes[24..32].copy_from_slice(&request.bytes[40..48]);
        }
        let _ = association.on_datagram(Some(now), address.ip(), Timestamp::from_nanos(nanos), &bytes);
    }
});
