//! Floor 4: what packets mean. Pure protocol: no sockets, no clocks.
//!
//! [`Association`] is the client's side of one server, [`Responder`] the server's side.

mod access;
mod association;
mod clients;
mod keys;
mod pace;
mod rate;
mod responder;
mod served;
mod smoothing;
mod snapshot;
mod stamped;

pub use access::{Access, Rule};
pub use association::{Association, AssociationOptions, MAX_REQUEST, Outcome, Packet, Question, Rejection, Token};
pub use clients::Client;
pub use keys::{Key, Keys};
pub use responder::{Admitted, MAX_REPLY, Reply, Request, Responder, ServerOptions, Verdict};
pub use served::{Refusal, Served};
pub use smoothing::{Curve, Moment, SmoothingLimits};
pub use snapshot::{Face, LOCAL_REFERENCE, LocalReference, Prepared, SMOOTHED_REFERENCE, SNAPSHOT_WORDS, Snapshot};
pub use stamped::StampedBy;

use md5::{Digest, Md5};
use std::net::IpAddr;

use crate::units::ReferenceId;

/// The reference id of a server: its IPv4 address, or the first four bytes of the MD5
/// digest of its IPv6 address (RFC 5905 section 7.3).
#[must_use]
pub fn reference_id_of(address: IpAddr) -> ReferenceId {
    match address {
        IpAddr::V4(v4) => ReferenceId::from_ipv4(v4),
        IpAddr::V6(v6) => {
            let digest = Md5::digest(v6.octets());
            ReferenceId([digest[0], digest[1], digest[2], digest[3]])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_ids_follow_the_rfc() {
        assert_eq!(reference_id_of("10.0.2.2".parse().unwrap()), ReferenceId([10, 0, 2, 2]));
        // First four bytes of md5 over the sixteen bytes of ::1.
        assert_eq!(reference_id_of("::1".parse().unwrap()), ReferenceId([0xcf, 0x40, 0x4d, 0xc8]));
    }
}
