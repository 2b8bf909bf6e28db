//! Message authentication codes with symmetric keys: hashes over key and message (RFC 5905 section 7.3) and AES-CMAC (RFC 8573).
//!
//! Codes are compared in constant time. Keys are not shown by anything here.

use std::fmt;

use aes::{Aes128, Aes256};
use arrayvec::ArrayVec;
use cmac::{Cmac, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

use crate::config::{KeyType, Secret, SymmetricKey};
use crate::wire::ntp::HEADER_LEN;

/// The longest code: SHA-512's.
const LONGEST: usize = 64;
/// Key id and code in NTPv4, where longer codes are cut so that they cannot be taken for extension fields (RFC 7822).
const LONGEST_V4: usize = 20;
/// The key id.
const ID: usize = 4;
/// The shortest code.
const SHORTEST: usize = 16;
/// The shortest extension field.
const SHORTEST_FIELD: usize = 16;

/// Room for a code.
type Code = ArrayVec<u8, LONGEST>;

/// One key, ready for use.
#[derive(Clone)]
pub struct Key {
    id: u32,
    method: Method,
}

#[derive(Clone)]
enum Method {
    Hash(KeyType, Secret),
    Aes128(Box<Cmac<Aes128>>),
    Aes256(Box<Cmac<Aes256>>),
}

impl Key {
    /// `None` if a cipher's key is not of its length.
    #[must_use]
    pub fn new(key: &SymmetricKey) -> Option<Self> {
        let method = match key.kind {
            KeyType::Aes128 => Method::Aes128(Box::new(Mac::new_from_slice(key.secret.bytes()).ok()?)),
            KeyType::Aes256 => Method::Aes256(Box::new(Mac::new_from_slice(key.secret.bytes()).ok()?)),
            kind => Method::Hash(kind, key.secret.clone()),
        };
        Some(Self { id: key.id, method })
    }

    /// The number both sides know it by.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    fn code(&self, message: &[u8]) -> Code {
        fn hashed<D: Digest>(secret: &Secret, message: &[u8]) -> Code {
            let digest = D::new().chain_update(secret.bytes()).chain_update(message).finalize();
            digest.iter().copied().collect()
        }
        match &self.method {
            Method::Hash(KeyType::Sha1, secret) => hashed::<Sha1>(secret, message),
            Method::Hash(KeyType::Sha256, secret) => hashed::<Sha256>(secret, message),
            Method::Hash(KeyType::Sha384, secret) => hashed::<Sha384>(secret, message),
            Method::Hash(KeyType::Sha512, secret) => hashed::<Sha512>(secret, message),
            Method::Hash(_, secret) => hashed::<Md5>(secret, message),
            Method::Aes128(cmac) => Cmac::clone(cmac).chain_update(message).finalize().into_bytes().iter().copied().collect(),
            Method::Aes256(cmac) => Cmac::clone(cmac).chain_update(message).finalize().into_bytes().iter().copied().collect(),
        }
    }

    /// Appends key id and code to a packet of this version.
    pub fn sign<const N: usize>(&self, version: u8, packet: &mut ArrayVec<u8, N>) {
        let code = self.code(packet);
        let length = if version >= 4 { code.len().min(LONGEST_V4) } else { code.len() };
        // Packets have room for the longest code.
        let _ = packet.try_extend_from_slice(&self.id.to_be_bytes());
        let _ = packet.try_extend_from_slice(&code[..length]);
    }

    /// Whether `code` is this key's for `message`, in a packet of this version.
    #[must_use]
    pub fn verifies(&self, version: u8, message: &[u8], code: &[u8]) -> bool {
        let expected = self.code(message);
        let length = if version >= 4 && code.len() <= LONGEST_V4 { expected.len().min(LONGEST_V4) } else { expected.len() };
        expected[..length].ct_eq(code).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key {}", self.id)
    }
}

/// All keys of a key file.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Keys by id; the last of an id counts.
    #[must_use]
    pub fn new(keys: &[SymmetricKey]) -> Self {
        let mut found: Vec<Key> = Vec::new();
        for key in keys.iter().rev().filter_map(Key::new) {
            if !found.iter().any(|k| k.id == key.id) {
                found.push(key);
            }
        }
        found.sort_by_key(|key| key.id);
        Self(found)
    }

    /// The key of this id.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Key> {
        self.place(id).and_then(|place| self.at(place))
    }

    /// Where the key of this id lies.
    pub(super) fn place(&self, id: u32) -> Option<usize> {
        self.0.binary_search_by_key(&id, |key| key.id).ok()
    }

    pub(super) fn at(&self, place: usize) -> Option<&Key> {
        self.0.get(place)
    }
}

/// What follows the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tail<'a> {
    /// Nothing, or extension fields alone.
    Plain,
    /// A code, over everything before it.
    Coded {
        /// The key's id.
        id: u32,
        /// Header and extension fields.
        message: &'a [u8],
        /// The code.
        code: &'a [u8],
    },
    /// Nothing that can be there.
    Garbled,
}

/// Finds the code of a whole packet, whose length is a multiple of four (RFC 7822 section 7.5).
pub(super) fn tail(version: u8, packet: &[u8]) -> Tail<'_> {
    let mut at = HEADER_LEN;
    loop {
        let Some(rest) = packet.get(at..) else { return Tail::Garbled };
        if rest.is_empty() {
            return Tail::Plain;
        }
        let Some((id, code)) = rest.split_first_chunk::<ID>() else { return Tail::Garbled };
        let id = u32::from_be_bytes(*id);
        let coded = Tail::Coded { id, message: &packet[..at], code };
        // Before version 4 there are no extension fields. Four zero bytes say that a code was wrong.
        if version < 4 || (code.is_empty() && id == 0) || (SHORTEST..=LONGEST_V4).contains(&code.len()) {
            return coded;
        }
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if length < SHORTEST_FIELD || length % 4 != 0 || length > rest.len() {
            return Tail::Garbled;
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_keys;
    use proptest::prelude::*;

    fn keys(text: &str) -> Keys {
        Keys::new(&parse_keys("/k", text).unwrap().0)
    }

    fn all() -> Keys {
        keys(
            "1 MD5 ASCII:secretsecretsecret\n2 SHA1 HEX:0102030405060708090a\n3 SHA256 ASCII:anothersecretkey\n4 SHA384 ASCII:abcdefghijk\n\
             5 SHA512 ASCII:abcdefghijkl\n6 AES128 HEX:2b7e151628aed2a6abf7158809cf4f3c\n\
             7 AES256 HEX:603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        )
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn known_codes() {
        // RFC 4493 section 4, example 3, and NIST SP 800-38B for AES-256.
        let message: Vec<u8> = (0..40)
            .map(|i| {
                u8::from_str_radix(
                    &"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411"[2 * i..2 * i + 2],
                    16,
                )
                .unwrap()
            })
            .collect();
        assert_eq!(hex(&all().get(6).unwrap().code(&message)), "dfa66747de9ae63030ca32611497c827");
        assert_eq!(hex(&all().get(7).unwrap().code(&message)), "aaf3d8f1de5640c232f5b169b9c911e6");
        // md5("secretsecretsecret" "abc")
        assert_eq!(all().get(1).unwrap().code(b"abc").as_slice(), Md5::digest(b"secretsecretsecretabc").as_slice());
    }

    #[test]
    fn codes_are_cut_in_version_4_alone() {
        for (id, v4, v3) in [(1, 16, 16), (2, 20, 20), (3, 20, 32), (4, 20, 48), (5, 20, 64), (6, 16, 16), (7, 16, 16)] {
            for (version, length) in [(4, v4), (3, v3)] {
                let mut packet: ArrayVec<u8, 128> = [9; HEADER_LEN].into_iter().collect();
                let keys = all();
                keys.get(id).unwrap().sign(version, &mut packet);
                assert_eq!(packet.len(), HEADER_LEN + ID + length);
                let Tail::Coded { id: found, message, code } = tail(version, &packet) else { panic!("key {id} in version {version}") };
                assert_eq!((found, message.len()), (id, HEADER_LEN));
                assert!(keys.get(id).unwrap().verifies(version, message, code));
                assert!(!keys.get(id).unwrap().verifies(version, message, &code[..code.len() - 4]));
                let others = (1..=7).filter(|&other| other != id && keys.get(other).unwrap().verifies(version, message, code));
                assert_eq!(others.count(), 0);
            }
        }
    }

    #[test]
    fn tails_of_every_kind() {
        let packet = |more: &[u8]| [&[0x23; HEADER_LEN][..], more].concat();
        let field = |length: u8| [&[1, 4, 0, length][..], &vec![7; usize::from(length) - 4]].concat();
        assert_eq!(tail(4, &packet(&[])), Tail::Plain);
        assert_eq!(tail(4, &packet(&field(32))), Tail::Plain);
        assert!(matches!(tail(4, &packet(&[0; 4])), Tail::Coded { id: 0, code: [], .. }), "a code was wrong");
        assert!(
            matches!(tail(4, &packet(&[field(28), vec![1; 24]].concat())), Tail::Coded { id: 0x0101_0101, message, .. } if message.len() == HEADER_LEN + 28)
        );
        for wrong in [field(40)[..36].to_vec(), vec![0, 0, 0, 8, 1, 2, 3, 4], vec![1; 8], [0, 0, 0, 30].repeat(8)] {
            assert_eq!(tail(4, &packet(&wrong[..wrong.len() / 4 * 4])), Tail::Garbled, "{wrong:?}");
        }
        assert!(matches!(tail(3, &packet(&[0; 8])), Tail::Coded { id: 0, .. }));
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", keys("5 MD5 ASCII:tulip-and-hyacinth")), "Keys([Key 5])");
    }

    proptest! {
        #[test]
        fn any_tail_is_told(version in 1_u8..=4, more in proptest::collection::vec(any::<u8>(), 0..200)) {
            let packet = [&[0x23; HEADER_LEN][..], &more[..more.len() / 4 * 4]].concat();
            if let Tail::Coded { message, code, .. } = tail(version, &packet) {
                prop_assert_eq!(message.len() + ID + code.len(), packet.len());
            }
        }

        #[test]
        fn one_bit_makes_a_code_wrong(id in 1_u32..=7, place in 0_usize..48, bit in 0_u8..8) {
            let mut packet: ArrayVec<u8, 128> = [9; HEADER_LEN].into_iter().collect();
            let keys = all();
            let key = keys.get(id).unwrap();
            key.sign(4, &mut packet);
            packet[place] ^= 1 << bit;
            let Tail::Coded { message, code, .. } = tail(4, &packet) else { panic!() };
            prop_assert!(!key.verifies(4, message, code));
        }
    }
}
