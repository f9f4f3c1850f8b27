//! The one spelling of numbers, bytes and hashes in the C2SP text formats.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;
pub(super) use crate::log::parse_decimal;

/// RFC 4648 §4, padded.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// RFC 4648 §4 with its padding, and with the unused bits of the last digit zero.
pub(super) fn parse_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A hash in base64.
pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    // Bounded before it is decoded.
    if text.len() != 44 {
        return None;
    }
    Hash::from_slice(&parse_base64(text)?)
}
