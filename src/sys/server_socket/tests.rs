use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use super::*;
use crate::sys::time;

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn one(address: &str) -> (ServerSocket, SocketAddr) {
    let socket = ServerSocket::open(address.parse().unwrap(), None, 1).unwrap().remove(0);
    let bound = socket.local_address().unwrap();
    (socket, bound)
}

/// Sends every request back, its first byte changed.
fn echo(batch: &mut Batch, socket: &mut ServerSocket, stamp: bool) -> usize {
    let count = batch.receive(socket).unwrap();
    for i in 0..count {
        let bytes = batch.datagram(i).unwrap().bytes.to_vec();
        let mut reply = bytes;
        reply[0] = b'R';
        batch.queue(i, &reply, socket, stamp);
    }
    assert_eq!(batch.send(socket), 0);
    count
}

#[test]
fn replies_come_from_the_address_that_was_asked() {
    let (mut socket, bound) = one("0.0.0.0:0");
    let mut batch = Batch::new();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut buffer = [0; 64];
    for host in [1, 7, 99] {
        let asked = SocketAddr::from(([127, 0, 0, host], bound.port()));
        client.send_to(b"request", asked).unwrap();
        assert_eq!(echo(&mut batch, &mut socket, false), 1);
        assert_eq!(client.recv_from(&mut buffer).unwrap(), (7, asked));
        assert_eq!(&buffer[..7], b"Request");
    }
}

#[test]
fn a_batch_keeps_requests_and_senders_apart_and_stamped() {
    let (mut socket, bound) = one("127.0.0.1:0");
    let mut batch = Batch::new();
    let clients: Vec<UdpSocket> = (0..5).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let ask = |n: usize| {
        for i in 0..n {
            clients[i % 5].send_to(format!("request {i}").as_bytes(), bound).unwrap();
        }
    };
    // Kernels turn receive stamps on a moment after the first socket asked for them.
    let before = time::realtime();
    let until = time::raw() + Duration::from_secs(20);
    let stamped = std::iter::repeat_with(|| {
        ask(1);
        assert_eq!(batch.receive(&mut socket).unwrap(), 1);
        batch.datagram(0).unwrap().stamp
    })
    .take_while(|_| time::raw() < until)
    .find_map(|stamp| stamp);
    assert!(stamped.is_some_and(|stamp| before <= stamp && stamp <= time::realtime()), "loopback has receive stamps");
    ask(20);
    assert_eq!(batch.receive(&mut socket).unwrap(), 20);
    for i in 0..20 {
        let datagram = batch.datagram(i).unwrap();
        assert_eq!((datagram.from, datagram.bytes), (clients[i % 5].local_addr().unwrap(), format!("request {i}").as_bytes()));
        assert!(datagram.stamp.is_some());
    }
    assert!(batch.datagram(20).is_none());
}

#[test]
fn a_request_that_was_cut_shows_nothing() {
    let (mut socket, bound) = one("127.0.0.1:0");
    let mut batch = Batch::new();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[7; 3000], bound).unwrap();
    batch.receive(&mut socket).unwrap();
    assert_eq!(batch.datagram(0).unwrap().bytes, b"");
}

#[test]
fn the_kernel_says_when_a_reply_left() {
    let (mut socket, bound) = one("127.0.0.1:0");
    let mut batch = Batch::new();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut buffer = [0; 256];
    client.send_to(b"request", bound).unwrap();
    echo(&mut batch, &mut socket, false);
    assert_eq!(socket.sent(&mut buffer), None, "only when asked");
    let before = time::realtime();
    client.send_to(b"request", bound).unwrap();
    echo(&mut batch, &mut socket, true);
    let sent = socket.sent(&mut buffer).expect("loopback stamps at once");
    assert!(buffer[..sent.length].ends_with(b"Request") && sent.card.is_none());
    assert!(sent.stamp.is_some_and(|stamp| before <= stamp && stamp <= time::realtime()));
}

#[test]
fn a_socket_that_asks_for_cards_stamps_has_the_kernels() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let (mut socket, bound) = one(address);
        assert!(socket.stamp_by_cards());
        let mut batch = Batch::new();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut buffer = [0; 256];
        client.send_to(b"request", (Ipv4Addr::LOCALHOST, bound.port())).unwrap();
        let before = time::realtime();
        echo(&mut batch, &mut socket, true);
        let sent = socket.sent(&mut buffer).expect("loopback stamps at once");
        assert!(buffer[..sent.length].ends_with(b"Request") && sent.card.is_none());
        assert!(sent.stamp.is_some_and(|stamp| before <= stamp && stamp <= time::realtime()));
        assert_eq!(client.recv_from(&mut buffer).unwrap().0, 7);
    }
}

#[test]
fn clients_are_steered_by_address_alone() {
    let mut sockets = ServerSocket::open(loopback(0), None, 4).unwrap();
    assert_eq!(sockets.len(), 4, "this kernel shares ports");
    let bound = sockets[0].local_address().unwrap();
    let mut batch = Batch::new();
    sockets.iter_mut().for_each(ServerSocket::set_nonblocking);
    let mut taken = [0; 4];
    for host in 1..=40 {
        for _ in 0..3 {
            // Each time from another port.
            UdpSocket::bind((Ipv4Addr::new(127, 0, 1, host), 0)).unwrap().send_to(b"request", bound).unwrap();
        }
        let found: Vec<usize> = sockets.iter_mut().map(|s| batch.receive(s).unwrap_or(0)).collect();
        let place = found.iter().position(|n| *n == 3).unwrap_or_else(|| panic!("127.0.1.{host}: {found:?}"));
        taken[place] += 1;
    }
    assert!(taken.iter().all(|n| (3..=20).contains(n)), "{taken:?}");
}

#[test]
fn clients_of_ipv6_too() {
    let Ok(mut sockets) = ServerSocket::open("[::1]:0".parse().unwrap(), None, 2) else { return };
    let bound = sockets[0].local_address().unwrap();
    let mut batch = Batch::new();
    sockets.iter_mut().for_each(ServerSocket::set_nonblocking);
    for _ in 0..20 {
        UdpSocket::bind("[::1]:0").unwrap().send_to(b"request", bound).unwrap();
    }
    let found: Vec<usize> = sockets.iter_mut().map(|s| batch.receive(s).unwrap_or(0)).collect();
    assert!(found == [20, 0] || found == [0, 20], "{found:?}");
}

#[test]
fn a_port_in_use_is_refused_even_by_our_own_like() {
    let sockets = ServerSocket::open(loopback(0), None, 2).unwrap();
    let bound = sockets[0].local_address().unwrap();
    for count in [1, 2] {
        assert_eq!(ServerSocket::open(bound, None, count).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

#[test]
fn hanging_up_wakes_who_waits() {
    let (mut socket, _) = one("127.0.0.1:0");
    let bell = socket.bell();
    let waiting = std::thread::spawn(move || Batch::new().receive(&mut socket).map(|_| ()));
    // However early or late this comes, the read ends.
    bell.ring();
    let until = time::raw() + Duration::from_secs(10);
    while !waiting.is_finished() {
        assert!(time::raw() < until, "still waiting");
        std::thread::yield_now();
    }
}

#[test]
fn an_address_that_is_not_ours_is_refused() {
    let error = ServerSocket::open("192.0.2.1:0".parse().unwrap(), None, 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    assert!(ServerSocket::open(loopback(0), Some("no-such-device"), 1).is_err());
}
