use std::net::UdpSocket;

use super::*;
use crate::units::{Leap, NtpTimestamp, ReferenceId};
use crate::wire::ntp::{Mode, NtpShort};

/// An answer to `request` by a good server whose clock is `ahead` seconds ahead.
fn answer(request: &[u8], ahead: f64) -> Header {
    let (request, _) = Header::parse(request).unwrap();
    let now = time::realtime() + crate::units::Offset::from_seconds(ahead);
    Header {
        leap: Leap::Normal,
        version: request.version,
        mode: Mode::Server,
        stratum: 2,
        poll: 0,
        precision: -20,
        root_delay: NtpShort::from_duration(Duration::from_millis(4)),
        root_dispersion: NtpShort::from_duration(Duration::from_millis(1)),
        reference_id: ReferenceId([192, 0, 2, 1]),
        reference: NtpTimestamp::from_utc(now),
        origin: request.transmit,
        receive: NtpTimestamp::from_utc(now),
        transmit: NtpTimestamp::from_utc(now),
    }
}

/// What becomes of asking a server that sends `replies` to the first request.
fn ask_one(replies: impl FnOnce(&[u8]) -> Vec<Header> + Send) -> Answer {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = [0; 64];
            let (len, from) = server.recv_from(&mut buffer).unwrap();
            for reply in replies(&buffer[..len]) {
                server.send_to(&reply.emit(), from).unwrap();
            }
        });
        // Long enough for a busy machine: nothing waits for it.
        ask_address(address, Duration::from_secs(20))
    })
}

#[test]
fn a_good_server_gives_the_time() {
    let Answer::Time(measured) = ask_one(|request| vec![answer(request, 2.5)]) else { panic!() };
    assert!((measured.offset + 2.5).abs() <= measured.error, "{measured:?}");
    assert!(measured.error > 0.003 && measured.stratum == 2, "{measured:?}");
}

#[test]
fn forgeries_are_not_listened_to() {
    let forged_first = |request: &[u8]| {
        let good = answer(request, 0.0);
        vec![Header { origin: NtpTimestamp(1), ..answer(request, 100.0) }, good]
    };
    let Answer::Time(measured) = ask_one(forged_first) else { panic!() };
    assert!(measured.offset.abs() <= measured.error, "{measured:?}");
}

#[test]
fn servers_say_that_they_cannot_or_will_not() {
    let unsynchronised = ask_one(|request| vec![Header { leap: Leap::Unsynchronised, ..answer(request, 0.0) }]);
    assert_eq!(unsynchronised, Answer::Unsynchronised);
    for code in ["RATE", "DENY", "RSTR"] {
        let kissed = ask_one(|request| {
            let reference_id = ReferenceId::from_name(code).unwrap();
            vec![Header { stratum: 0, reference_id, ..answer(request, 0.0) }]
        });
        assert_eq!(kissed, Answer::Kiss(code.to_owned()));
    }
    let distant =
        ask_one(|request| vec![Header { root_dispersion: NtpShort::from_duration(Duration::from_secs(20)), ..answer(request, 0.0) }]);
    assert_eq!(distant, Answer::Useless("its answer is thrown away: root distance".to_owned()));
}

#[test]
fn silence_is_asked_twice_and_a_closed_port_says_so() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let address = server.local_addr().unwrap();
    assert_eq!(ask_address(address, Duration::from_millis(20)), Answer::Silence);
    let mut buffer = [0; 64];
    let requests = std::iter::from_fn(|| server.recv_from(&mut buffer).ok()).count();
    assert_eq!(requests, 2);
    drop(server);
    let closed = ask_address(address, Duration::from_secs(20));
    assert!(matches!(&closed, Answer::Unreachable(reason) if reason.contains("refused")), "{closed:?}");
}

#[test]
fn every_server_has_its_answers_in_order() {
    let good = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = |name: &str, port| PlannedServer {
        name: name.to_owned(),
        port,
        addresses: 1,
        timescale: Timescale::Utc,
        written: true,
        selectable: true,
    };
    let port = good.local_addr().unwrap().port();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let probes = thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = [0; 64];
            let (len, from) = good.recv_from(&mut buffer).unwrap();
            good.send_to(&answer(&buffer[..len], 0.0).emit(), from).unwrap();
        });
        ask(&[server("no\0name", 123), server("127.0.0.1", port), server("127.0.0.1", closed)])
    });
    assert_eq!(probes.len(), 3);
    assert_eq!((probes[0].address.as_str(), probes[1].address.clone()), ("", format!("127.0.0.1:{port}")));
    assert_eq!(place_of("192.0.2.1:123".parse().unwrap()), "192.0.2.1");
    assert!(matches!(probes[0].answer, Answer::NoName(_)), "{probes:?}");
    assert!(matches!(probes[1].answer, Answer::Time(_)), "{probes:?}");
    assert!(matches!(probes[2].answer, Answer::Unreachable(_)), "{probes:?}");
}
