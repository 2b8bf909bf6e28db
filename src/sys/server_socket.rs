//! UDP sockets for serving: several may share a port, each takes the clients that the kernel steers to it by their address.
//!
//! Datagrams come and go in batches ([`Batch`]), with the kernel's receive stamps and with the address that was asked, which the reply leaves from. Every option may be
//! refused by a kernel, a sandbox or a test rig: serving goes on without it.
#![allow(unsafe_code, reason = "recvmmsg, sendmmsg and the steering program have no safe interface")]

mod batch;
pub(super) mod control;
mod steer;
#[cfg(test)]
mod tests;

pub use batch::{BATCH, Batch, Datagram};

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, SockaddrStorage, TimestampingFlag, bind, getsockname, getsockopt, recvmsg,
    setsockopt, shutdown, socket, sockopt,
};

use crate::units::Timestamp;

/// A network card's stamp, by its own clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CardStamp {
    /// The stamp.
    pub stamp: Timestamp,
    /// The interface, if the kernel named it.
    pub interface: Option<u32>,
}

impl CardStamp {
    pub(super) fn from_told(told: &control::Told) -> Option<Self> {
        told.card.map(|stamp| Self { stamp, interface: told.interface })
    }
}

/// What the kernel says of a datagram that left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Bytes in the buffer: the datagram with its headers.
    pub length: usize,
    /// When, by the kernel.
    pub stamp: Option<Timestamp>,
    /// When, by the network card. It comes after the kernel's, in a message of its own.
    pub card: Option<CardStamp>,
}

/// Both stamps of everything that comes, and the card's interface with them. Without the payload the kernel would not name that of what left.
pub(super) fn card_flags() -> TimestampingFlag {
    TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RAW_HARDWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_HARDWARE
        | TimestampingFlag::from_bits_retain(
            libc::SOF_TIMESTAMPING_OPT_CMSG | libc::SOF_TIMESTAMPING_OPT_PKTINFO | libc::SOF_TIMESTAMPING_OPT_TX_SWHW,
        )
}

/// A socket that answers.
#[derive(Debug)]
pub struct ServerSocket {
    fd: Arc<OwnedFd>,
    /// Bound to all addresses: replies must be told where to leave from.
    wildcard: bool,
    /// The kernel stamps what leaves, if it is asked for each datagram; `None`: never asked yet.
    stamps_sent: Option<bool>,
    /// Network cards stamp too.
    cards: bool,
    /// The batch calls are not there.
    single: bool,
    /// A read waits for a datagram.
    waits: bool,
}

impl ServerSocket {
    /// So many sockets on one address, steered by the clients' addresses if there are several. Fewer than asked for if the kernel
    /// cannot share a port: at least one. A port that somebody else uses is refused even if that one would share it.
    pub fn open(address: SocketAddr, device: Option<&str>, count: usize) -> io::Result<Vec<Self>> {
        let first = Self::unbound(address, device)?;
        first.bind(address)?;
        let bound = first.local_address().unwrap_or(address);
        let mut sockets = vec![first];
        if count < 2 || !sockets[0].share() {
            return Ok(sockets);
        }
        for _ in 1..count {
            let next = Self::unbound(address, device)?;
            if !next.share() || next.bind(bound).is_err() {
                break;
            }
            sockets.push(next);
        }
        if sockets.len() > 1 && steer::by_source(&sockets[0].fd, bound.is_ipv4(), sockets.len()).is_err() {
            // Without steering a client that changes its port would be a new client: better one socket for all.
            sockets.truncate(1);
        }
        Ok(sockets)
    }

    fn unbound(address: SocketAddr, device: Option<&str>) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd = match socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None) {
            // Some C libraries and test rigs know no flags here.
            Err(Errno::EINVAL) => socket(family, SockType::Datagram, SockFlag::empty(), None)?,
            other => other?,
        };
        if address.is_ipv6() {
            let _ = setsockopt(&fd, sockopt::Ipv6V6Only, &true);
        }
        if let Some(device) = device {
            setsockopt(&fd, sockopt::BindToDevice, &device.into())?;
        }
        let wildcard = address.ip().is_unspecified();
        if wildcard {
            let _ = match address.ip() {
                IpAddr::V4(_) => setsockopt(&fd, sockopt::Ipv4PacketInfo, &true),
                IpAddr::V6(_) => setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true),
            };
        }
        let _ = setsockopt(&fd, sockopt::ReceiveTimestampns, &true);
        if address.is_ipv4() {
            // Never in fragments, which could be forged one by one; and the kernel need not number the packets.
            never_fragment(&fd);
        }
        Ok(Self { fd: Arc::new(fd), wildcard, stamps_sent: None, cards: false, single: false, waits: true })
    }

    /// Asks for stamps of what leaves. Receive stamps come in the same, larger form from then on: only who needs them pays for them.
    fn stamp_sent(&mut self) {
        if self.stamps_sent.is_some() {
            return;
        }
        let flags = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE;
        let given = setsockopt(&self.fd, sockopt::Timestamping, &flags).is_ok();
        if given {
            let _ = setsockopt(&self.fd, sockopt::ReceiveTimestampns, &false);
        }
        self.stamps_sent = Some(given);
    }

    /// Asks for the stamps of network cards, of all that comes and of what is sent with a stamp; false if the kernel has none.
    pub fn stamp_by_cards(&mut self) -> bool {
        if setsockopt(&self.fd, sockopt::Timestamping, &card_flags()).is_err() {
            return false;
        }
        let _ = setsockopt(&self.fd, sockopt::ReceiveTimestampns, &false);
        name_interfaces(&self.fd);
        (self.cards, self.stamps_sent) = (true, Some(true));
        true
    }

    /// Whether network cards' stamps were asked for.
    #[must_use]
    pub const fn has_card_stamps(&self) -> bool {
        self.cards
    }

    /// The stamps to ask for with a reply.
    fn sending_stamps(&self) -> u32 {
        match (self.stamps_sent, self.cards) {
            (Some(true), true) => libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_TX_HARDWARE,
            (Some(true), false) => libc::SOF_TIMESTAMPING_TX_SOFTWARE,
            _ => 0,
        }
    }

    fn bind(&self, address: SocketAddr) -> io::Result<()> {
        Ok(bind(self.fd.as_raw_fd(), &SockaddrStorage::from(address))?)
    }

    /// Lets others of ours bind the same port; true if the kernel means it.
    fn share(&self) -> bool {
        let _ = setsockopt(&self.fd, sockopt::ReusePort, &true);
        getsockopt(&self.fd, sockopt::ReusePort).unwrap_or(false)
    }

    /// Whether this kernel knows shared ports at all. A test rig that simulates sockets usually does not, and would not bear threads either.
    #[must_use]
    pub fn bears_threads(&self) -> bool {
        self.share()
    }

    /// From now on nothing waits: for an event loop. Reads say so each time, whatever becomes of the descriptor's flag.
    pub fn set_nonblocking(&mut self) {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        self.waits = false;
        let _ = fcntl(&self.fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    }

    /// Where it is bound.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        let address: SockaddrStorage = getsockname(self.fd.as_raw_fd()).ok()?;
        let v4 = address.as_sockaddr_in().map(|a| SocketAddr::from((a.ip(), a.port())));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| SocketAddr::from((a.ip(), a.port()))))
    }

    /// What another thread ends the waiting with. It shares the descriptor, which lives until both are gone.
    #[must_use]
    pub fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.fd))
    }

    /// The bytes of a datagram that left, headers before them, and when; `None` if the kernel has none to tell.
    pub fn sent(&self, buffer: &mut [u8]) -> Option<Sent> {
        if self.stamps_sent != Some(true) {
            return None;
        }
        let mut space = [0_u8; 256];
        let mut parts = [io::IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let length = recvmsg::<SockaddrStorage>(self.fd.as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?.bytes;
        // What the kernel did not write is zero, which ends the messages.
        let told = control::read(&space);
        Some(Sent { length, stamp: told.stamp, card: CardStamp::from_told(&told) })
    }
}

/// Wakes whoever waits on a socket.
#[derive(Debug)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    /// For good: the socket's reads return nothing from now on.
    pub fn ring(&self) {
        // An unconnected socket answers ENOTCONN and wakes its readers all the same.
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Both);
    }
}

/// Asks which interface each datagram came by; what left is told the same way.
pub(super) fn name_interfaces(fd: &OwnedFd) {
    // A socket takes one of them.
    let _ = setsockopt(fd, sockopt::Ipv4PacketInfo, &true);
    let _ = setsockopt(fd, sockopt::Ipv6RecvPacketInfo, &true);
}

/// Refused by some sandboxes: then packets are as elsewhere.
fn never_fragment(fd: &OwnedFd) {
    let mode: libc::c_int = libc::IP_PMTUDISC_PROBE;
    let size = libc::socklen_t::try_from(size_of_val(&mode)).unwrap_or(0);
    // SAFETY: the pointer is to an integer of ours of the size that is said.
    let _ = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, (&raw const mode).cast(), size) };
}

impl AsFd for ServerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for ServerSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
