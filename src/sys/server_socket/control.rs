//! Control messages as bytes: what the kernel says beside a datagram, and what it is told beside a reply.

use crate::units::Timestamp;

/// Room for a stamp and an address.
pub(super) const ROOM: usize = 128;
/// Length, level and type.
const HEAD: usize = size_of::<libc::cmsghdr>();
const WORD: usize = size_of::<usize>();

/// Aligned as the kernel wants it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; ROOM]);

/// What a datagram came with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Told {
    /// The kernel's stamp.
    pub(super) stamp: Option<Timestamp>,
    /// Which of our addresses was asked.
    pub(super) asked: Option<Asked>,
}

/// The address that was asked, as a reply names it: `in_pktinfo` or `in6_pktinfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    V4([u8; 4]),
    V6([u8; 16], u32),
}

fn int(bytes: &[u8]) -> i32 {
    bytes.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b))
}

fn long(bytes: &[u8]) -> i64 {
    bytes.first_chunk().map_or(0, |b| i64::from_ne_bytes(*b))
}

/// Reads all control messages.
pub(super) fn read(mut bytes: &[u8]) -> Told {
    let mut told = Told::default();
    while let Some(head) = bytes.first_chunk::<HEAD>() {
        let length = usize::from_ne_bytes(*head.first_chunk::<WORD>().unwrap_or(&[0; WORD]));
        let Some(data) = bytes.get(HEAD..length) else { break };
        match (int(&head[WORD..]), int(&head[WORD + 4..])) {
            // The first of three stamps is the kernel's own.
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING | libc::SCM_TIMESTAMPNS) if data.len() >= 16 => {
                let (seconds, nanos) = (long(data), long(&data[8..]));
                told.stamp = (seconds != 0).then(|| Timestamp::from_parts(seconds, nanos));
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) if data.len() >= 12 => {
                // Interface, our address for a reply, the address in the packet.
                told.asked = data[4..].first_chunk().map(|a| Asked::V4(*a));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if data.len() >= 20 => {
                let address = data.first_chunk::<16>().filter(|a| a[0] != 0xff);
                // A link-local address means something on its link alone.
                let scope = |a: &[u8; 16]| if a[0] == 0xfe && a[1] & 0xc0 == 0x80 { int(&data[16..]).unsigned_abs() } else { 0 };
                told.asked = address.map(|a| Asked::V6(*a, scope(a)));
            }
            _ => {}
        }
        let next = length.max(HEAD).next_multiple_of(WORD).min(bytes.len());
        bytes = &bytes[next..];
    }
    told
}

/// Writes what a reply is sent with and says how long that is.
pub(super) fn write(control: &mut Control, from: Option<Asked>, stamp: bool) -> usize {
    let mut at = 0;
    match from {
        Some(Asked::V4(address)) => {
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&address);
            at = put(control, at, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        Some(Asked::V6(address, scope)) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&address);
            info[16..].copy_from_slice(&scope.to_ne_bytes());
            at = put(control, at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    if stamp {
        at = put(control, at, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &libc::SOF_TIMESTAMPING_TX_SOFTWARE.to_ne_bytes());
    }
    at
}

fn put(control: &mut Control, at: usize, level: i32, kind: i32, data: &[u8]) -> usize {
    let length = HEAD + data.len();
    let bytes = &mut control.0[at..];
    bytes[..WORD].copy_from_slice(&length.to_ne_bytes());
    bytes[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
    bytes[WORD + 4..HEAD].copy_from_slice(&kind.to_ne_bytes());
    bytes[HEAD..length].copy_from_slice(data);
    at + length.next_multiple_of(WORD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let mut control = Control([0; ROOM]);
        for asked in [Asked::V4([192, 0, 2, 7]), Asked::V6([0x20; 16], 0)] {
            let length = write(&mut control, Some(asked), true);
            assert_eq!(read(&control.0[..length]).asked, Some(asked));
        }
        assert_eq!(write(&mut control, None, false), 0);
        let mut linked = [0; 16];
        (linked[0], linked[1], linked[15]) = (0xfe, 0x80, 9);
        let length = write(&mut control, Some(Asked::V6(linked, 3)), false);
        assert_eq!(read(&control.0[..length]).asked, Some(Asked::V6(linked, 3)));
        linked[0] = 0xff;
        let length = write(&mut control, Some(Asked::V6(linked, 3)), false);
        assert_eq!(read(&control.0[..length]).asked, None, "nothing leaves from a multicast address");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_fear(bytes in proptest::collection::vec(any::<u8>(), 0..200), short in 0_u64..64) {
            let mut bytes = bytes;
            read(&bytes);
            if let Some(length) = bytes.first_chunk_mut::<8>() {
                *length = short.to_ne_bytes();
            }
            read(&bytes);
        }
    }
}
