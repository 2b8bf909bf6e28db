use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::*;
use crate::agent::{Agent, Published, Setup};
use crate::config::{Config, parse_directives};
use crate::core::Line;
use crate::ntp::Snapshot;
use crate::run::config_files::ConfigFiles;
use crate::units::{Bound, Leap, Ppm, ReferenceId, Stratum, Timestamp};
use crate::wire::ntp::{HEADER_LEN, Header, Mode};

const EPOCH: Timestamp = Timestamp::from_parts(1_800_000_000, 0);

fn config(lines: &[&str]) -> Config {
    parse_directives(&lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>(), &ConfigFiles).unwrap()
}

/// A port that is free now.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Published by an agent that has just begun, with another snapshot.
fn published(snapshot: Snapshot) -> Published {
    let course = crate::core::Course { at: time::raw(), time: time::realtime(), rate: Ppm::ZERO, until: None, error: Duration::ZERO };
    let agent = Agent::new(Setup::from_config(&Config::default(), course), time::raw());
    Published { snapshot, ..*agent.published() }
}

/// The line shows `EPOCH` at `at`.
fn synchronised(at: Instant) -> Snapshot {
    Snapshot {
        line: Line::new(at, EPOCH, Ppm::ZERO),
        bound: Bound { as_of: at, error: Duration::from_millis(1), growth: Ppm::new(1.0) },
        borrowed: Duration::ZERO,
        leap: Leap::Normal,
        stratum: Stratum::new(3),
        reference_id: ReferenceId(*b"TEST"),
        reference: EPOCH,
        ..Snapshot::unsynchronised()
    }
}

fn start(lines: &[&str]) -> (Service, SocketAddr) {
    let port = free_port();
    let port_line = format!("port {port}");
    let mut all = vec!["bindaddress 127.0.0.1", &port_line];
    all.extend(lines);
    let service = open(&config(&all), &Arc::default()).unwrap().expect("somebody is allowed").start();
    (service, SocketAddr::from(([127, 0, 0, 1], port)))
}

fn request() -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[0] = 0x23;
    bytes[40..48].copy_from_slice(&[7; 8]);
    bytes
}

/// A question and its answer, from another thread than the server's.
fn ask(server: SocketAddr) -> Option<Header> {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.send_to(&request(), server).unwrap();
    let mut buffer = [0; 128];
    let (length, from) = client.recv_from(&mut buffer).ok()?;
    assert_eq!((length, from), (HEADER_LEN, server));
    Some(Header::parse(&buffer[..length]).unwrap().0)
}

fn check_service(lines: &[&str], threads: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (service, server) = start(lines);
        assert_eq!((service.threads.len(), service.tasks.len()), (threads, usize::from(threads == 0)));
        let ask = || tokio::task::spawn_blocking(move || ask(server));
        let early = ask().await.unwrap().unwrap();
        assert_eq!((early.leap, early.stratum, early.mode), (Leap::Unsynchronised, 16, Mode::Server));
        let begun = time::raw();
        service.slate().publish(&published(synchronised(begun)));
        for _ in 0..20 {
            let before = time::raw();
            let reply = ask().await.unwrap().unwrap();
            let after = time::raw();
            assert_eq!((reply.leap, reply.stratum, reply.origin.0), (Leap::Normal, 3, 0x0707_0707_0707_0707));
            let at = |stamp: crate::units::NtpTimestamp| begun + stamp.to_utc(EPOCH).since(EPOCH);
            let (received, sent) = (at(reply.receive), at(reply.transmit));
            let slack = Duration::from_micros(5);
            assert!(before <= received + slack && received <= sent && sent <= after, "{before:?} {received:?} {sent:?} {after:?}");
        }
        service.slate().publish(&published(synchronised(begun).distrusted()));
        assert_eq!(ask().await.unwrap().unwrap().leap, Leap::Unsynchronised, "at once");
        let report = service.viewer().report();
        let received: u64 = report.threads.iter().map(|t| t.received).sum();
        let replied: u64 = report.threads.iter().map(|t| t.replied).sum();
        assert_eq!((received, replied, report.clients), (22, 22, 1));
        let clients = service.viewer().clients(time::raw());
        assert_eq!((clients[0].address.as_str(), clients[0].received), ("127.0.0.1", 22));
        drop(service);
    });
}

#[test]
fn threads_serve_what_the_slate_says() {
    check_service(&["allow 127/8", "serverthreads 2"], 2);
}

#[test]
fn the_main_loop_serves_too() {
    check_service(&["allow 127/8", "serverthreads 0"], 0);
}

#[test]
fn who_is_denied_hears_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let (service, server) = start(&["allow 127/8", "deny 127.0.0.77", "serverthreads 1"]);
    let denied = UdpSocket::bind("127.0.0.77:0").unwrap();
    denied.send_to(&request(), server).unwrap();
    assert!(ask(server).is_some(), "the other comes after it");
    denied.set_nonblocking(true).unwrap();
    assert!(denied.recv_from(&mut [0; 64]).is_err());
    let thread = service.viewer().report().threads.remove(0);
    assert_eq!((thread.received, thread.replied, thread.refused["denied"]), (2, 1, 1));
}

#[test]
fn the_end_frees_the_port() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let (service, server) = start(&["allow 127/8", "serverthreads 2"]);
    assert!(ask(server).is_some());
    drop(service);
    drop(UdpSocket::bind(server).expect("nobody is bound there any more"));
}
