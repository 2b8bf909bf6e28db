//! The reference identifier of RFC 5905 section 7.3.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Four bytes: a name for a reference clock, an IPv4 address, or a hash of an IPv6 address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ReferenceId(pub [u8; 4]);

impl ReferenceId {
    /// No reference.
    pub const NONE: Self = Self([0; 4]);

    /// Up to four ASCII characters, padded with zeros; `None` if longer or not ASCII.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name.len() > 4 || !name.is_ascii() {
            return None;
        }
        let mut bytes = [0; 4];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self(bytes))
    }

    /// The identifier of a server: its IPv4 address. For IPv6 the RFC wants the first
    /// four bytes of an MD5 digest; `ntp` computes that and passes them here.
    #[must_use]
    pub const fn from_ipv4(address: std::net::Ipv4Addr) -> Self {
        Self(address.octets())
    }

    /// The characters, if this reads as a name.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(4);
        let (text, rest) = self.0.split_at(end);
        let printable = !text.is_empty() && text.iter().all(u8::is_ascii_graphic) && rest.iter().all(|&b| b == 0);
        printable.then(|| text.iter().map(|&b| char::from(b)).collect())
    }

    /// As an address, for comparison with our own.
    #[must_use]
    pub fn matches(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(v4) if v4.octets() == self.0)
    }
}

impl fmt::Display for ReferenceId {
    /// Eight hexadecimal digits, as `chronyc tracking` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a:02X}{b:02X}{c:02X}{d:02X}")
    }
}

impl fmt::Debug for ReferenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "{self}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_hex() {
        let id = ReferenceId::from_name("PHC0").unwrap();
        assert_eq!(id.name().as_deref(), Some("PHC0"));
        assert_eq!(id.to_string(), "50484330");
        assert_eq!(ReferenceId::from_name("KVM").unwrap().name().as_deref(), Some("KVM"));
        assert!(ReferenceId::from_name("TOOLONG").is_none());
        assert!(ReferenceId([10, 0, 2, 2]).name().is_none());
        assert!(ReferenceId([10, 0, 2, 2]).matches("10.0.2.2".parse().unwrap()));
    }
}
