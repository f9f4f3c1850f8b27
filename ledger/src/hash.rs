//! SHA-256 with the domain separation that every format in this crate uses.
//!
//! Tree hashes are separated by their first byte (`00`, `01` for the RFC 6962 log, `10`, `11`, `12` for
//! the state tree); everything else is `SHA-256(label ‖ 00 ‖ parts…)`, where the label starts with
//! `chancery/` and so with a byte (`63`) that no tree prefix uses.

use std::fmt;

use sha2::{Digest, Sha256};

/// A SHA-256 digest (32 bytes). Displays as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// All zero: stands for "none yet" where a format says so, and is the hash of nothing known.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of the concatenation of `parts`, with no separation of its own.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// `SHA-256(label ‖ 00 ‖ parts…)`. Callers make `parts` unambiguous: all but the last are of fixed
    /// length or carry their length.
    pub fn labelled(label: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(label.as_bytes());
        hasher.update([0]);
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest from exactly 32 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// Parses exactly 64 lower-case hex digits; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut out = [0; 32];
        from_hex(text, &mut out)?;
        Some(Self(out))
    }
}

/// Parses lower-case hex into `out`, whose length must fit exactly.
pub fn from_hex(text: &str, out: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    if digits.len() != out.len().checked_mul(2)? {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (nibble(*high)? << 4) | nibble(*low)?;
    }
    Some(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Lower-case hex of `bytes`.
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // INVARIANT: writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_what_it_would_not_print() {
        let hash = Hash::of(&[b"x"]);
        assert_eq!(Hash::from_hex(&hash.to_string()), Some(hash));
        assert_eq!(Hash::from_hex(&hash.to_string().to_uppercase()), None);
        assert_eq!(Hash::from_hex("00"), None);
    }

    #[test]
    fn labels_separate() {
        assert_ne!(Hash::labelled("chancery/a", &[b"x"]), Hash::labelled("chancery/b", &[b"x"]));
        assert_ne!(Hash::labelled("chancery/a", &[]), Hash::labelled("chancery/", &[b"a"]));
    }
}
