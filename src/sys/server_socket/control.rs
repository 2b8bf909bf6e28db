//! Control messages as bytes: what the kernel says beside a datagram, and what it is told beside a reply.

use crate::units::Timestamp;

/// Room for stamps, an interface and an address.
pub(in crate::sys) const ROOM: usize = 192;
/// `SCM_TIMESTAMPING_PKTINFO`, in which the kernel names the interface of a network card's stamp.
const STAMP_INFO: libc::c_int = 58;
/// Length, level and type.
const HEAD: usize = size_of::<libc::cmsghdr>();
const WORD: usize = size_of::<usize>();

/// Aligned as the kernel wants it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(in crate::sys) struct Control(pub(in crate::sys) [u8; ROOM]);

/// What a datagram came with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::sys) struct Told {
    /// The kernel's stamp.
    pub(in crate::sys) stamp: Option<Timestamp>,
    /// The network card's stamp, by its own clock.
    pub(in crate::sys) card: Option<Timestamp>,
    /// The interface.
    pub(in crate::sys) interface: Option<u32>,
    /// Which of our addresses was asked.
    pub(in crate::sys) asked: Option<Asked>,
}

/// The address that was asked, as a reply names it: `in_pktinfo` or `in6_pktinfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sys) enum Asked {
    V4([u8; 4]),
    V6([u8; 16], u32),
}

fn int(bytes: &[u8]) -> i32 {
    bytes.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b))
}

fn long(bytes: &[u8]) -> i64 {
    bytes.first_chunk().map_or(0, |b| i64::from_ne_bytes(*b))
}

/// A `timespec` that is not zero.
fn timestamp(bytes: &[u8]) -> Option<Timestamp> {
    let (seconds, nanos) = (long(bytes), long(&bytes[8..]));
    // A card's clock may begin at zero.
    let is_one = (seconds != 0 || nanos != 0) && (0..1_000_000_000).contains(&nanos);
    is_one.then(|| Timestamp::from_parts(seconds, nanos))
}

/// Reads all control messages.
pub(in crate::sys) fn read(mut bytes: &[u8]) -> Told {
    let mut told = Told::default();
    while let Some(head) = bytes.first_chunk::<HEAD>() {
        let length = usize::from_ne_bytes(*head.first_chunk::<WORD>().unwrap_or(&[0; WORD]));
        let Some(data) = bytes.get(HEAD..length) else { break };
        match (int(&head[WORD..]), int(&head[WORD + 4..])) {
            // The first of three stamps is the kernel's own, the last the card's.
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING | libc::SCM_TIMESTAMPNS) if data.len() >= 16 => {
                told.stamp = timestamp(data).or(told.stamp);
                told.card = data.get(32..48).and_then(timestamp).or(told.card);
            }
            // The card itself, where the address came by a bridge, a bond or a VLAN above it.
            (libc::SOL_SOCKET, STAMP_INFO) if data.len() >= 8 => {
                let interface = int(data).unsigned_abs();
                told.interface = (interface != 0).then_some(interface).or(told.interface);
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) if data.len() >= 12 => {
                // Interface, our address for a reply, the address in the packet.
                told.asked = data[4..].first_chunk().map(|a| Asked::V4(*a));
                told.interface = told.interface.or(Some(int(data).unsigned_abs()));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if data.len() >= 20 => {
                let address = data.first_chunk::<16>().filter(|a| a[0] != 0xff);
                // A link-local address means something on its link alone.
                let scope = |a: &[u8; 16]| if a[0] == 0xfe && a[1] & 0xc0 == 0x80 { int(&data[16..]).unsigned_abs() } else { 0 };
                told.asked = address.map(|a| Asked::V6(*a, scope(a)));
                told.interface = told.interface.or(Some(int(&data[16..]).unsigned_abs()));
            }
            _ => {}
        }
        let next = length.max(HEAD).next_multiple_of(WORD).min(bytes.len());
        bytes = &bytes[next..];
    }
    told
}

/// Writes what a reply is sent with and says how long that is.
pub(in crate::sys) fn write(control: &mut Control, from: Option<Asked>, stamps: u32) -> usize {
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
    if stamps != 0 {
        at = put(control, at, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &stamps.to_ne_bytes());
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
            let length = write(&mut control, Some(asked), libc::SOF_TIMESTAMPING_TX_SOFTWARE);
            assert_eq!(read(&control.0[..length]).asked, Some(asked));
        }
        assert_eq!(write(&mut control, None, 0), 0);
        let mut linked = [0; 16];
        (linked[0], linked[1], linked[15]) = (0xfe, 0x80, 9);
        let length = write(&mut control, Some(Asked::V6(linked, 3)), 0);
        assert_eq!(read(&control.0[..length]).asked, Some(Asked::V6(linked, 3)));
        linked[0] = 0xff;
        let length = write(&mut control, Some(Asked::V6(linked, 3)), 0);
        assert_eq!(read(&control.0[..length]).asked, None, "nothing leaves from a multicast address");
    }

    /// `SCM_TIMESTAMPING` with a stamp of the kernel's and one of a card's, as the kernel writes it.
    fn stamps(control: &mut Control, at: usize, system: (i64, i64), card: (i64, i64)) -> usize {
        let words = [system.0, system.1, 0, 0, card.0, card.1];
        let mut data = [0; 48];
        data.chunks_exact_mut(8).zip(words).for_each(|(place, word)| place.copy_from_slice(&word.to_ne_bytes()));
        put(control, at, libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &data)
    }

    #[test]
    fn both_stamps_and_the_card_are_read() {
        let mut control = Control([0; ROOM]);
        let told = |control: &Control, length: usize| read(&control.0[..length]);
        let length = stamps(&mut control, 0, (1_700_000_000, 5), (0, 77));
        let both = told(&control, length);
        assert_eq!((both.stamp, both.card), (Some(Timestamp::from_parts(1_700_000_000, 5)), Some(Timestamp::from_parts(0, 77))));
        assert_eq!(both.interface, None);
        // Interface 7 is a VLAN on card 3, whichever comes first.
        let mut info = [0; 20];
        info[16] = 7;
        let end = put(&mut control, length, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        assert_eq!(told(&control, end).interface, Some(7));
        let end = put(&mut control, end, libc::SOL_SOCKET, STAMP_INFO, &[3, 0, 0, 0, 90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(end <= ROOM, "there is room for all that one datagram comes with");
        assert_eq!(told(&control, end).interface, Some(3));
        let end = put(&mut control, length, libc::IPPROTO_IP, libc::IP_PKTINFO, &[9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let told = told(&control, end);
        assert_eq!((told.interface, told.asked), (Some(9), Some(Asked::V4([1, 2, 3, 4]))));
        let length = stamps(&mut control, 0, (0, 0), (5, 1_000_000_000));
        assert_eq!(read(&control.0[..length]), Told::default(), "no stamps at all");
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
