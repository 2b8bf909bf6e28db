//! The NTP packet header of RFC 5905 section 7.3: 48 bytes to a struct and back.
//!
//! Says nothing about what a packet means; that is `ntp`.

use std::time::Duration;

use crate::units::{Leap, NtpTimestamp, ReferenceId, count, duration};

/// Length of the header, and of every request we send without authentication.
pub const HEADER_LEN: usize = 48;

/// The association mode of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// 1: a peer's question.
    SymmetricActive,
    /// 2: a peer's answer.
    SymmetricPassive,
    /// 3: a client's request.
    Client,
    /// 4: a server's answer.
    Server,
    /// 5.
    Broadcast,
    /// 0, 6 and 7: reserved, control, private.
    Other(u8),
}

impl Mode {
    const fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            1 => Self::SymmetricActive,
            2 => Self::SymmetricPassive,
            3 => Self::Client,
            4 => Self::Server,
            5 => Self::Broadcast,
            other => Self::Other(other),
        }
    }

    /// The three bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::SymmetricActive => 1,
            Self::SymmetricPassive => 2,
            Self::Client => 3,
            Self::Server => 4,
            Self::Broadcast => 5,
            Self::Other(bits) => bits & 7,
        }
    }
}

/// The 32-bit NTP short format: 16 bits of seconds, 16 of fraction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NtpShort(pub u32);

impl NtpShort {
    /// Rounded up, so that a root distance never shrinks on its way; saturates at 65536 s.
    #[must_use]
    pub fn from_duration(value: Duration) -> Self {
        let units = (value.as_nanos() << 16).div_ceil(1_000_000_000);
        Self(u32::try_from(units).unwrap_or(u32::MAX))
    }

    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        duration(count(u64::from(self.0)) / 65_536.0)
    }
}

/// The header's fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Leap indicator.
    pub leap: Leap,
    /// 1..=7.
    pub version: u8,
    /// Association mode.
    pub mode: Mode,
    /// As on the wire: 0 is a kiss code, 16 and above unsynchronised.
    pub stratum: u8,
    /// log2 of seconds.
    pub poll: i8,
    /// log2 of seconds.
    pub precision: i8,
    /// To the primary clock.
    pub root_delay: NtpShort,
    /// To the primary clock.
    pub root_dispersion: NtpShort,
    /// What the sender follows, or a kiss code.
    pub reference_id: ReferenceId,
    /// When the sender's clock was last set.
    pub reference: NtpTimestamp,
    /// T1 as the server saw it.
    pub origin: NtpTimestamp,
    /// T2.
    pub receive: NtpTimestamp,
    /// T3.
    pub transmit: NtpTimestamp,
}

/// Why bytes are no NTP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// Fewer than 48 bytes.
    #[error("an NTP packet has at least 48 bytes, this one has {0}")]
    Short(usize),
    /// Version 0.
    #[error("NTP version 0 does not exist")]
    Version,
}

impl Header {
    /// The header and whatever follows it.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), ParseError> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(ParseError::Short(bytes.len()));
        };
        let version = (head[0] >> 3) & 7;
        if version == 0 {
            return Err(ParseError::Version);
        }
        let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let stamp = |at: usize| {
            let high = u32::from_be_bytes(word(at));
            let low = u32::from_be_bytes(word(at + 4));
            NtpTimestamp(u64::from(high) << 32 | u64::from(low))
        };
        let header = Self {
            leap: Leap::from_bits(head[0] >> 6),
            version,
            mode: Mode::from_bits(head[0]),
            stratum: head[1],
            poll: i8::from_be_bytes([head[2]]),
            precision: i8::from_be_bytes([head[3]]),
            root_delay: NtpShort(u32::from_be_bytes(word(4))),
            root_dispersion: NtpShort(u32::from_be_bytes(word(8))),
            reference_id: ReferenceId(word(12)),
            reference: stamp(16),
            origin: stamp(24),
            receive: stamp(32),
            transmit: stamp(40),
        };
        Ok((header, rest))
    }

    /// The 48 bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = self.leap.bits() << 6 | (self.version & 7) << 3 | self.mode.bits();
        bytes[1] = self.stratum;
        bytes[2] = self.poll.to_be_bytes()[0];
        bytes[3] = self.precision.to_be_bytes()[0];
        bytes[4..8].copy_from_slice(&self.root_delay.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.root_dispersion.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.reference_id.0);
        bytes[16..24].copy_from_slice(&self.reference.0.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.origin.0.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.receive.0.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.transmit.0.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_and_versionless_packets_are_refused() {
        assert_eq!(Header::parse(&[0x23; 47]), Err(ParseError::Short(47)));
        assert_eq!(Header::parse(&[0x03; 48]), Err(ParseError::Version));
    }

    #[test]
    fn short_format_rounds_up() {
        assert_eq!(NtpShort::from_duration(Duration::from_nanos(1)).0, 1);
        assert_eq!(NtpShort::from_duration(Duration::from_secs(1)).0, 65_536);
        assert_eq!(NtpShort::from_duration(Duration::MAX).0, u32::MAX);
        assert_eq!(NtpShort(32_768).duration(), Duration::from_millis(500));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail_and_emit_gives_them_back(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok((header, rest)) = Header::parse(&bytes) {
                let mut again = header.emit().to_vec();
                again.extend_from_slice(rest);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
