//! Addresses of machines that talk over vsock, and the IP addresses by which the other rooms know them.
//!
//! A context id (CID) names a machine of one host: 1 is this machine, 2 the host. Everything that keeps, compares or limits addresses does so with IP addresses; a
//! CID is one of the discard-only block 100::/64 (RFC 6666), which no network carries. Nothing that came over a network is taken for one: who
//! receives from the network [looks](Vsock::of).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A machine by its context id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vsock(pub u32);

/// What a host or a server's name begins with.
const WORD: &str = "vsock";
/// Of the addresses that stand for machines: all but the context id.
const PREFIX: u128 = 0x0100 << 112;

impl Vsock {
    /// This machine (`VMADDR_CID_LOCAL`).
    pub const LOCAL: Self = Self(1);
    /// The host (`VMADDR_CID_HOST`).
    pub const HOST: Self = Self(2);
    /// So many leading bits tell an address that stands for a machine.
    pub const PREFIX_BITS: u8 = 96;

    /// The address that stands for it.
    #[must_use]
    pub fn address(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(PREFIX | u128::from(self.0)))
    }

    /// The machine that an address stands for.
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        let IpAddr::V6(v6) = address else { return None };
        u32::try_from(u128::from(v6) ^ PREFIX).ok().map(Self)
    }

    /// `CID`, `host` or `local`.
    #[must_use]
    pub fn from_word(text: &str) -> Option<Self> {
        match text {
            "host" => Some(Self::HOST),
            "local" => Some(Self::LOCAL),
            // All ones means "any", which is nobody.
            _ => text.parse().ok().filter(|cid| *cid != u32::MAX && text.bytes().all(|b| b.is_ascii_digit())).map(Self),
        }
    }

    /// What follows `vsock:` in a server's name; `None` if it names no machine of a host.
    #[must_use]
    pub fn place(name: &str) -> Option<&str> {
        let (word, place) = name.split_once(':')?;
        word.eq_ignore_ascii_case(WORD).then_some(place)
    }

    /// The address that a server's name says: an IP address, or a machine as [`Vsock`] is displayed.
    #[must_use]
    pub fn or_ip(name: &str) -> Option<IpAddr> {
        name.parse().ok().or_else(|| Self::place(name).and_then(Self::from_word).map(Self::address))
    }
}

impl fmt::Display for Vsock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{WORD}:{}", self.0)
    }
}

/// An address as people know it.
#[must_use]
pub fn shown(address: IpAddr) -> String {
    Vsock::of(address).map_or_else(|| address.to_string(), |machine| machine.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_an_address_of_its_own() {
        for cid in [0, 1, 2, 3, 0x1_0000, u32::MAX - 1] {
            let machine = Vsock(cid);
            assert_eq!(Vsock::of(machine.address()), Some(machine));
            assert_eq!(Vsock::or_ip(&machine.to_string()), Some(machine.address()));
            assert_eq!(shown(machine.address()), machine.to_string());
        }
        assert_eq!(Vsock(3).address().to_string(), "100::3");
        for other in ["::", "::1", "100:0:0:1::3", "100::1:0:0", "fe80::1", "1.0.0.0", "::ffff:1.2.3.4"] {
            assert_eq!(Vsock::of(other.parse().unwrap()), None, "{other}");
        }
    }

    #[test]
    fn words() {
        assert_eq!(Vsock::from_word("host"), Some(Vsock::HOST));
        assert_eq!(Vsock::from_word("local"), Some(Vsock::LOCAL));
        assert_eq!(Vsock::from_word("77"), Some(Vsock(77)));
        for wrong in ["", "+3", "-1", "4294967295", "4294967296", "any", "3:123"] {
            assert_eq!(Vsock::from_word(wrong), None, "{wrong}");
        }
        assert_eq!(Vsock::place("VSOCK:2:99"), Some("2:99"));
        assert_eq!(Vsock::place("vsock.example.net"), None);
        assert_eq!(Vsock::or_ip("192.0.2.1"), "192.0.2.1".parse().ok());
        assert_eq!(Vsock::or_ip("time.example.net"), None);
    }
}
