//! Symmetric keys: `keyfile`, `authselectmode`, and the key file itself in chrony's format.

use std::fmt;
use std::sync::Arc;

use super::line::{Line, Parsed};
use super::{AuthSelectMode, Config, Diagnostic, Origin, Severity};

/// `keyfile FILE`.
pub(super) fn keyfile(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    let path = line.path("keyfile", "the path of a file with keys")?;
    line.end()?;
    let meaning = format!("read symmetric keys from {}", path.display());
    config.key_file = Some((line.origin(), path));
    Ok(meaning)
}

/// `authselectmode MODE`.
pub(super) fn authselectmode(line: &mut Line<'_>, config: &mut Config) -> Parsed<String> {
    use AuthSelectMode::{Ignore, Mix, Prefer, Require};
    config.auth_select_mode =
        line.choice("authselectmode", &[("require", Require), ("prefer", Prefer), ("mix", Mix), ("ignore", Ignore)])?;
    line.end()?;
    Ok(match config.auth_select_mode {
        Require => "follow authenticated servers only",
        Prefer => "follow servers that are not authenticated only if there is no authenticated one",
        Mix => "follow servers that are not authenticated only if they agree with those that are and with local clocks",
        Ignore => "select sources without regard to authentication",
    }
    .to_owned())
}

/// How a key makes a message authentication code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    /// MD5 over key and message; the default.
    Md5,
    /// SHA-1 over key and message.
    Sha1,
    /// SHA-256 over key and message.
    Sha256,
    /// SHA-384 over key and message.
    Sha384,
    /// SHA-512 over key and message.
    Sha512,
    /// AES-128 as CMAC (RFC 8573).
    Aes128,
    /// AES-256 as CMAC.
    Aes256,
}

const TYPES: [(&str, KeyType); 7] = [
    ("MD5", KeyType::Md5),
    ("SHA1", KeyType::Sha1),
    ("SHA256", KeyType::Sha256),
    ("SHA384", KeyType::Sha384),
    ("SHA512", KeyType::Sha512),
    ("AES128", KeyType::Aes128),
    ("AES256", KeyType::Aes256),
];

impl KeyType {
    /// Bytes that a cipher's key must have.
    const fn length(self) -> Option<usize> {
        match self {
            Self::Aes128 => Some(16),
            Self::Aes256 => Some(32),
            _ => None,
        }
    }
}

/// A key's bytes: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Keeps these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("secret")
    }
}

/// One line of a key file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SymmetricKey {
    /// Both sides know it by this number.
    pub id: u32,
    /// What is done with it.
    pub kind: KeyType,
    /// The key.
    pub secret: Secret,
}

/// Reads a key file: `ID [TYPE] KEY` a line, the key as `ASCII:...`, `HEX:...` or bare characters. A later line replaces an earlier one of the same id.
/// Words of the file are not repeated in messages.
///
/// # Errors
/// Everything that is wrong with it, by line.
pub fn parse_keys(file: &str, text: &str) -> Result<(Vec<SymmetricKey>, Vec<Diagnostic>), Vec<Diagnostic>> {
    let file: Arc<str> = Arc::from(file);
    let (mut keys, mut warnings, mut wrong): (Vec<SymmetricKey>, _, _) = (Vec::new(), Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '%', ';', '!']) {
            continue;
        }
        let found = |severity, message: String| {
            let origin = Origin { file: Arc::clone(&file), line: number + 1, column: 0 };
            Diagnostic { origin, severity, message }
        };
        match key(line) {
            Ok(key) => {
                if key.secret.bytes().len() < 10 {
                    let message = format!("key {} has {} bytes: use at least 16, at random", key.id, key.secret.bytes().len());
                    warnings.push(found(Severity::Warning, message));
                }
                if keys.iter().any(|k| k.id == key.id) {
                    warnings.push(found(Severity::Warning, format!("key {} stands here again: this line counts", key.id)));
                    keys.retain(|k| k.id != key.id);
                }
                keys.push(key);
            }
            Err(message) => wrong.push(found(Severity::Error, message)),
        }
    }
    if wrong.is_empty() { Ok((keys, warnings)) } else { Err(wrong) }
}

fn key(line: &str) -> Result<SymmetricKey, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (id, kind, key) = match words.as_slice() {
        [id, key] => (id, "MD5", key),
        [id, kind, key] => (id, *kind, key),
        _ => return Err("a key is `ID [TYPE] KEY`, such as `10 AES128 HEX:...`".to_owned()),
    };
    let id: u32 = id.parse().ok().filter(|&id| id > 0).ok_or("a key's id is a whole number from 1 to 4294967295")?;
    let kind = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)).map(|(_, kind)| *kind).ok_or_else(|| {
        let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
        format!("key {id} is of a type that is not known here: use one of {}", names.join(", "))
    })?;
    let bytes = if let Some(hex) = key.strip_prefix("HEX:") {
        unhex(hex).ok_or_else(|| format!("key {id}: after HEX: come pairs of hexadecimal digits"))?
    } else {
        key.strip_prefix("ASCII:").unwrap_or(key).as_bytes().to_vec()
    };
    if bytes.is_empty() {
        return Err(format!("key {id} is empty: make one with `openssl rand -hex 16`"));
    }
    if let Some(length) = kind.length().filter(|&length| length != bytes.len()) {
        return Err(format!(
            "key {id} has {} bytes and its cipher needs {length}: write HEX: and {} digits (openssl rand -hex {length})",
            bytes.len(),
            2 * length
        ));
    }
    Ok(SymmetricKey { id, kind, secret: Secret::new(&bytes) })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() % 2 != 0 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "# keys\n10 tulip\n20 MD5 ASCII:crocus\n25 sha1 HEX:933F62BE1D604E68A81B557F18CFA200483F5B70\n\
        30 AES128 HEX:7EA62AE64D190114D46D5A082F948EC1\n31 AES256 HEX:37DDCBC67BB902BCB8E995977FAB4D2B5642F5B32EBCEEE421921D97E5CBFE39\n\
        32 SHA512 ASCII:a-long-key-of-many-characters\n";

    #[test]
    fn chronys_examples() {
        let (keys, warnings) = parse_keys("/k", FILE).unwrap();
        let seen: Vec<(u32, KeyType, usize)> = keys.iter().map(|k| (k.id, k.kind, k.secret.bytes().len())).collect();
        use KeyType::{Aes128, Aes256, Md5, Sha1, Sha512};
        assert_eq!(seen, [(10, Md5, 5), (20, Md5, 6), (25, Sha1, 20), (30, Aes128, 16), (31, Aes256, 32), (32, Sha512, 29)]);
        assert_eq!(keys[1].secret.bytes(), b"crocus");
        let warned: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warned[0], "/k:2: warning: key 10 has 5 bytes: use at least 16, at random");
        assert_eq!(warned.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_by_line_and_without_the_key() {
        let wrong =
            parse_keys("/k", "1 AES128 HEX:00112233\n\n0 MD5 xyzzy\n5 ROT13 xyzzy\n6 MD5 HEX:xyzzy\n7 MD5 ASCII:\n8 a b c\n9").unwrap_err();
        let text: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(text[0], "/k:1: error: key 1 has 4 bytes and its cipher needs 16: write HEX: and 32 digits (openssl rand -hex 16)");
        let lines: Vec<usize> = wrong.iter().map(|d| d.origin.line).collect();
        assert_eq!(lines, [1, 3, 4, 5, 6, 7, 8]);
        assert!(text.iter().all(|t| !t.contains("xyzzy") && !t.contains("00112233")), "{text:?}");
    }

    #[test]
    fn the_last_of_an_id_counts() {
        let (keys, warnings) = parse_keys("/k", "1 SHA1 ASCII:0123456789abcdef\n1 MD5 ASCII:fedcba9876543210").unwrap();
        assert_eq!((keys.len(), keys[0].kind, warnings.len()), (1, KeyType::Md5, 1));
    }

    #[test]
    fn a_key_is_never_shown() {
        let (keys, _) = parse_keys("/k", FILE).unwrap();
        let shown = format!("{keys:?}");
        assert!(!shown.contains("tulip") && !shown.contains("116, 117") && shown.contains("secret"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(text in "([0-9]{1,11}|MD5|AES128|HEX:[0-9a-fé]{0,33}|ASCII:|\\PC| |\n){0,40}") {
            let _ = parse_keys("/k", &text);
        }
    }
}
