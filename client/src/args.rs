//! The arguments of a call, which a check commits to and a permit is bound to.

use chancery_ledger::command::Name;
use chancery_ledger::condition::{ArgumentsFault, canonical_arguments};
use chancery_ledger::decide::Request;
use chancery_ledger::hash::Hash;

/// A call's arguments: their bytes, or the SHA-256 of these. A grant's condition looks at [`Args::Json`] alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Args<'a> {
    /// The bytes themselves. Only their digest leaves the process.
    Bytes(&'a [u8]),
    /// SHA-256 of the bytes.
    Digest(Hash),
    /// JSON, which leaves the process: a grant's condition may look at it.
    Json(&'a JsonArgs),
}

impl Args<'_> {
    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Hash {
        match self {
            Self::Bytes(bytes) => Hash::of(&[bytes]),
            Self::Digest(digest) => *digest,
            Self::Json(json) => Hash::of(&[json.as_bytes()]),
        }
    }

    /// What the ledger is shown of them.
    pub fn disclosed(&self) -> Option<&[u8]> {
        match self {
            Self::Json(json) => Some(json.as_bytes()),
            Self::Bytes(_) | Self::Digest(_) => None,
        }
    }

    /// What is asked of a call with these arguments: by no named generation, with no knowledge shown.
    pub fn request(&self, [agent, action, resource]: [Name; 3]) -> Request {
        Request {
            agent,
            action,
            resource,
            args_digest: self.digest(),
            args: self.disclosed().map(Into::into),
            generation: None,
            knowledge: None,
            hint: None,
        }
    }
}

/// Arguments as canonical JSON: one text, and one digest, for the same arguments, however they were written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JsonArgs(Vec<u8>);

impl JsonArgs {
    /// The canonical form of `json`, which is an object in any spelling.
    ///
    /// # Errors
    /// No condition could use them: see [`ArgumentsFault`].
    pub fn new(json: impl AsRef<[u8]>) -> Result<Self, ArgumentsFault> {
        canonical_arguments(json.as_ref()).map(Self)
    }

    /// The canonical text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
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

impl<'a> From<&'a JsonArgs> for Args<'a> {
    fn from(json: &'a JsonArgs) -> Self {
        Self::Json(json)
    }
}

impl From<Hash> for Args<'_> {
    fn from(digest: Hash) -> Self {
        Self::Digest(digest)
    }
}
