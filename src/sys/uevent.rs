//! The kernel's events about devices: the VM generation id changed, a PTP clock came or went.
//!
//! Any process of the machine's own network namespace may listen. Everything but those two is thrown away here.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket};

/// The kernel's own multicast group; udev's messages come in another.
const KERNEL: u32 = 1;
/// The kernel's messages are not longer.
const LONGEST: usize = 8192;

/// What an event says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Uevent {
    /// The machine was restored from a snapshot: it has a new generation id.
    Restored,
    /// A PTP clock or the vmclock device came or went, or events were lost.
    Devices,
}

/// The socket on which they come.
#[derive(Debug)]
pub struct Uevents {
    socket: OwnedFd,
    buffer: Box<[u8; LONGEST]>,
}

impl Uevents {
    /// Begins to listen.
    ///
    /// # Errors
    /// What the kernel says, where there is no netlink.
    pub fn listen() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL))?;
        Ok(Self { socket, buffer: Box::new([0; LONGEST]) })
    }

    /// The next event; `None` for one that concerns nobody here.
    ///
    /// # Errors
    /// `WouldBlock` if there is none.
    pub fn take(&mut self) -> io::Result<Option<Uevent>> {
        match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), self.buffer.as_mut_slice()) {
            // Other processes can send to this socket too, if they have the right; only the kernel is believed.
            Ok((len, Some(from))) if from.pid() == 0 => Ok(parse(&self.buffer[..len.min(LONGEST)])),
            Ok(_) => Ok(None),
            Err(nix::errno::Errno::ENOBUFS) => Ok(Some(Uevent::Devices)),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsRawFd for Uevents {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// `ACTION@PATH`, then `KEY=VALUE`, each ended by a zero byte.
#[must_use]
pub fn parse(message: &[u8]) -> Option<Uevent> {
    let mut words = message.split(|&byte| byte == 0).skip(1);
    words.find_map(|word| match word {
        b"NEW_VMGENID=1" => Some(Uevent::Restored),
        b"SUBSYSTEM=ptp" | b"DEVNAME=vmclock0" => Some(Uevent::Devices),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart() {
        let restored = b"change@/devices/LNXSYSTM:00/QEMUVGID:00\0ACTION=change\0NEW_VMGENID=1\0SEQNUM=900\0";
        assert_eq!(parse(restored), Some(Uevent::Restored));
        let added = b"add@/devices/virtual/ptp/ptp0\0ACTION=add\0DEVPATH=/devices/virtual/ptp/ptp0\0SUBSYSTEM=ptp\0MAJOR=248\0";
        assert_eq!(parse(added), Some(Uevent::Devices));
        let other = b"add@/devices/pci0000:00/net/eth0\0ACTION=add\0SUBSYSTEM=net\0NOTE=NEW_VMGENID=1\0";
        assert_eq!(parse(other), None);
        assert_eq!(parse(b"NEW_VMGENID=1"), None, "the first word is the path");
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_quiet_machine_has_no_events_for_us() {
        match Uevents::listen() {
            Ok(mut ear) => loop {
                match ear.take() {
                    Ok(event) => assert_ne!(event, Some(Uevent::Restored)),
                    Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            },
            Err(error) => eprintln!("no netlink here: {error}"),
        }
    }
}
