//! The arguments of a call, which a check commits to and a permit is bound to.

use chancery_ledger::hash::Hash;

/// A call's arguments: their bytes, or the SHA-256 of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Args<'a> {
    /// The bytes themselves. Only their digest leaves the process.
    Bytes(&'a [u8]),
    /// SHA-256 of the bytes.
    Digest(Hash),
}

impl Args<'_> {
    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Hash {
        match self {
            Self::Bytes(bytes) => Hash::of(&[bytes]),
            Self::Digest(digest) => *digest,
        }
    }
}

impl<'a> From<&'a [u8]> for Args<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Args<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Args<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a str> for Args<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

impl From<Hash> for Args<'_> {
    fn from(digest: Hash) -> Self {
        Self::Digest(digest)
    }
}
