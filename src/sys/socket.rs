//! UDP sockets for asking: one fresh, connected socket a request, with the kernel's stamps.
//!
//! Stamps are `CLOCK_REALTIME`; `clock` turns them into instants of the timebase.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, TimestampingFlag, bind, connect, getsockname, getsockopt, recvmsg, send,
    setsockopt, socket, sockopt,
};

use super::server_socket::{CardStamp, card_flags, control, name_interfaces};
use super::time;
use crate::units::Timestamp;

/// A datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Bytes in the buffer.
    pub len: usize,
    /// The kernel's stamp, if it gave one.
    pub stamp: Option<Timestamp>,
    /// The network card's stamp, if it gave one.
    pub card: Option<CardStamp>,
}

/// When a datagram left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SentStamps {
    /// By the kernel.
    pub stamp: Option<Timestamp>,
    /// By the network card.
    pub card: Option<CardStamp>,
}

/// A socket for one request.
#[derive(Debug)]
pub struct ClientSocket {
    fd: OwnedFd,
    control: Vec<u8>,
    stamping: bool,
    cards: bool,
    sent: SentStamps,
    /// Stamps of the datagram sent that may still come.
    awaited: u8,
}

impl ClientSocket {
    /// Opens a socket to `server`, from `local` and `port` if they are given, else from a port of the kernel's choice.
    pub fn open(server: SocketAddr, local: Option<IpAddr>, port: Option<u16>) -> io::Result<Self> {
        let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd = datagram_socket(family)?;
        if local.is_some() || port.is_some() {
            let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
            if port.is_some() {
                // Several sources share a fixed port; each socket is connected to its own server.
                setsockopt(&fd, sockopt::ReuseAddr, &true)?;
            }
            bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(local.unwrap_or(any), port.unwrap_or(0))))?;
        }
        connect(fd.as_raw_fd(), &SockaddrStorage::from(server))?;
        let flags = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
        let stamping = setsockopt(&fd, sockopt::Timestamping, &flags).is_ok();
        Ok(Self { fd, control: vec![0; 512], stamping, cards: false, sent: SentStamps::default(), awaited: 0 })
    }

    /// Asks for the stamps of network cards too; false if the kernel has none.
    pub fn stamp_by_cards(&mut self) -> bool {
        let flags = card_flags() | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_TX_HARDWARE;
        self.cards = self.stamping && setsockopt(&self.fd, sockopt::Timestamping, &flags).is_ok();
        if self.cards {
            name_interfaces(&self.fd);
        }
        self.cards
    }

    /// Sends one datagram.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        send(self.fd.as_raw_fd(), bytes, MsgFlags::empty())?;
        self.sent = SentStamps::default();
        self.awaited = u8::from(self.stamping) + u8::from(self.cards);
        Ok(())
    }

    /// The stamps of the datagram sent, as far as there are any yet. Asks only while some are outstanding.
    pub fn sent_stamps(&mut self) -> SentStamps {
        let mut looped = [0; 128];
        while self.awaited > 0 {
            let Ok(told) = self.receive(&mut looped, MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT) else { break };
            let Received { stamp, card, .. } = told;
            if stamp.is_none() && card.is_none() {
                break;
            }
            self.awaited -= 1;
            self.sent.stamp = stamp.or(self.sent.stamp);
            self.sent.card = card.or(self.sent.card);
        }
        self.sent
    }

    /// The same, after waiting a little for the network card's.
    pub fn await_sent_stamps(&mut self, at_most: Duration) -> SentStamps {
        let until = time::raw() + at_most;
        while self.awaited > 0 && self.sent_stamps().card.is_none() {
            let left = until.elapsed_since(time::raw());
            if left.is_zero() {
                break;
            }
            // Nothing but the error queue, which is always listened to.
            let mut poll = [PollFd::new(self.fd.as_fd(), PollFlags::empty())];
            if ppoll(&mut poll, Some(left.into()), None).unwrap_or(0) == 0 {
                break;
            }
        }
        self.sent
    }

    /// One datagram, if there is one (`WouldBlock` otherwise).
    pub fn receive_into(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        self.receive(buffer, MsgFlags::MSG_DONTWAIT)
    }

    fn receive(&mut self, buffer: &mut [u8], flags: MsgFlags) -> io::Result<Received> {
        let mut parts = [IoSliceMut::new(buffer)];
        // What the kernel does not write is zero, which ends the messages.
        self.control.fill(0);
        let len = recvmsg::<SockaddrStorage>(self.fd.as_raw_fd(), &mut parts, Some(&mut self.control), flags)?.bytes;
        let told = control::read(&self.control);
        Ok(Received { len, stamp: told.stamp, card: CardStamp::from_told(&told) })
    }

    /// Our own address on the way to the server.
    pub fn local_address(&self) -> Option<IpAddr> {
        let address: SockaddrStorage = getsockname(self.fd.as_raw_fd()).ok()?;
        address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip())).or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    }

    /// What the network said of what was sent (refused, unreachable), if anything.
    #[must_use]
    pub fn pending_error(&self) -> Option<io::Error> {
        let code = getsockopt(&self.fd, sockopt::SocketError).ok()?;
        (code != 0).then(|| io::Error::from_raw_os_error(code))
    }

    /// False if the kernel refused `SO_TIMESTAMPING`.
    #[must_use]
    pub const fn has_stamps(&self) -> bool {
        self.stamping
    }
}

impl AsFd for ClientSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for ClientSocket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

fn datagram_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    match socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None) {
        Err(Errno::EINVAL) => {
            // Some C libraries and test rigs know no flags here.
            let fd = socket(family, SockType::Datagram, SockFlag::empty(), None)?;
            fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            Ok(fd)
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn exchange(server: &UdpSocket) -> (Option<Timestamp>, Received, Timestamp, Timestamp) {
        let address = server.local_addr().unwrap();
        let mut client = ClientSocket::open(address, None, None).unwrap();
        let before = time::realtime();
        client.send(b"question").unwrap();
        let mut buffer = [0; 64];
        let (_, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(b"answer", from).unwrap();
        let mut poll = [nix::poll::PollFd::new(client.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut poll, 5000_u16).unwrap();
        let sent = client.sent_stamps().stamp;
        let received = client.receive_into(&mut buffer).unwrap();
        assert_eq!(&buffer[..received.len], b"answer");
        assert_eq!(client.local_address(), Some(address.ip()));
        (sent, received, before, time::realtime())
    }

    #[test]
    fn stamps_lie_between_the_clock_readings_around_them() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // The kernel turns receive stamps on in a work queue when the first socket asks for them, and packets before that
        // come without. One socket is kept so that they stay on.
        let _asks = ClientSocket::open(server.local_addr().unwrap(), None, None).unwrap();
        let until = time::raw() + Duration::from_secs(20);
        let mut exchanges = std::iter::repeat_with(|| exchange(&server)).take_while(|_| time::raw() < until);
        let stamped = exchanges.find(|(_, received, ..)| received.stamp.is_some());
        let (sent, received, before, after) = stamped.expect("loopback has RX stamps");
        let (sent, stamp) = (sent.expect("and TX stamps"), received.stamp.unwrap());
        assert!(before <= sent && sent <= stamp && stamp <= after, "{before:?} {sent:?} {stamp:?} {after:?}");
    }

    #[test]
    fn a_socket_that_asks_for_cards_has_the_kernels_stamps() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut client = ClientSocket::open(server.local_addr().unwrap(), None, None).unwrap();
        assert!(client.stamp_by_cards());
        let before = time::realtime();
        client.send(b"question").unwrap();
        let begun = time::raw();
        let sent = client.await_sent_stamps(Duration::from_millis(2));
        assert!(sent.card.is_none() && time::raw().elapsed_since(begun) >= Duration::from_millis(2), "nothing comes from a card");
        assert!(sent.stamp.is_some_and(|stamp| before <= stamp && stamp <= time::realtime()));
        assert_eq!(client.sent_stamps(), sent);
    }

    #[test]
    fn nothing_to_read_would_block() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut client = ClientSocket::open(server.local_addr().unwrap(), None, None).unwrap();
        let error = client.receive_into(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(client.sent_stamps(), SentStamps::default());
    }
}
