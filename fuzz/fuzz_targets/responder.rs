//! A server with limits, keys and little memory, asked by anybody in any way: it never panics, never says more than it was asked, and counts all.
#![no_main]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use paraclock::config::{RateLimit, parse_keys};
use paraclock::ntp::{Access, Keys, Packet, Refusal, Reply, Request, Responder, Rule, ServerOptions, Snapshot, Verdict};
use paraclock::units::{Bound, Instant, Leap, Ppm, Stratum};
use paraclock::wire::ntp::Header;

#[derive(Arbitrary, Debug)]
struct Asked {
    address: u8,
    v6: bool,
    port: u16,
    pause: u32,
    /// Sign it with this key, if it is long enough.
    key: Option<u8>,
    /// Take the last reply's receive timestamp as origin.
    interleave: bool,
    bytes: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Scene {
    interval: i8,
    burst: u8,
    leak: u8,
    kod: u8,
    memory: u16,
    synchronised: bool,
    denied: u8,
    asked: Vec<Asked>,
}

fuzz_target!(|scene: Scene| {
    let keys = parse_keys("keys", "1 MD5 ASCII:one\n2 SHA512 ASCII:two\n3 AES128 HEX:000102030405060708090a0b0c0d0e0f").expect("good keys").0;
    let keys = Arc::new(Keys::new(&keys));
    let net = |text: &str| text.parse().expect("a network");
    let denied = IpAddr::from([192, 0, 2, scene.denied]);
    let access = Access::new([
        Rule { allow: true, all: false, net: net("0.0.0.0/0") },
        Rule { allow: true, all: false, net: net("::/0") },
        Rule { allow: false, all: false, net: denied.into() },
    ]);
    let limit = RateLimit { interval: scene.interval, burst: scene.burst, leak: scene.leak, kod: scene.kod };
    let mut responder = Responder::new(&ServerOptions {
        access: Arc::new(access),
        keys: Arc::clone(&keys),
        rate_limit: Some(limit),
        client_memory: usize::from(scene.memory),
        seed: 1,
    });
    let (mut now, mut last) = (Instant::from_nanos(1_000_000_000), [0; 8]);
    let mut snapshot = Snapshot::unsynchronised();
    if scene.synchronised {
        let bound = Bound { as_of: now, error: Duration::from_millis(1), growth: Ppm::new(10.0) };
        snapshot = Snapshot { leap: Leap::Normal, stratum: Stratum::new(5), bound, ..snapshot };
    }
    for asked in &scene.asked {
        now = now + Duration::from_micros(asked.pause.into());
        let v6 = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, asked.address.into()));
        let address = if asked.v6 { v6 } else { IpAddr::from([192, 0, 2, asked.address]) };
        let mut bytes = asked.bytes.clone();
        if asked.interleave && bytes.len() >= 48 {
            bytes[24..32].copy_from_slice(&last);
        }
        let signable = asked.key.and_then(|key| keys.get(key.into())).filter(|_| bytes.len() == 48);
        if let Some(key) = signable {
            let mut packet: Packet = bytes.iter().copied().collect();
            key.sign((bytes[0] >> 3) & 7, &mut packet);
            bytes = packet.to_vec();
        }
        let request = Request { from: SocketAddr::new(address, asked.port), received: now, bytes: &bytes };
        let mut reply = Reply::new();
        match responder.reply(&snapshot, &request, now + Duration::from_micros(3), &mut reply) {
            Verdict::Reply => {
                assert!(reply.len() <= bytes.len(), "a reply longer than its request");
                assert!(address != denied, "an answer to who is denied");
                assert!(!matches!(bytes[0] & 7, 6 | 7), "an answer to mode 6 or 7");
                let (header, _) = Header::parse(&reply).expect("a reply is a packet");
                assert!(scene.synchronised || header.leap == Leap::Unsynchronised, "what is not synchronised says so");
                last.copy_from_slice(&reply[32..40]);
            }
            Verdict::Refused(_) => assert!(reply.is_empty()),
        }
    }
    let served = responder.served();
    let refused: u64 = Refusal::ALL.into_iter().map(|r| served.refused(r)).sum();
    assert_eq!(served.received, served.replied + refused);
    assert!(responder.memory().2 <= usize::from(scene.memory).max(2048), "more memory than allowed");
});
