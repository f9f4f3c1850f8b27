//! The text of a checkpoint (c2sp.org/tlog-checkpoint, "Note text").

use thiserror::Error;

use super::spelling::{base64, parse_decimal, parse_hash};
use super::{KeyError, KeyName, NoteError};
use crate::hash::Hash;
use crate::log::{EMPTY_ROOT, SIZE_MAX};

/// A log's size and root, under its origin. No extension lines: what they said could not be audited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: KeyName,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// The origin is a key name here, because the log signs under it. The empty log has one root, RFC
    /// 6962's.
    pub fn new(origin: KeyName, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if size > SIZE_MAX {
            return Err(CheckpointError::Size);
        }
        if size == 0 && root != EMPTY_ROOT {
            return Err(CheckpointError::Root);
        }
        Ok(Self { origin, size, root })
    }

    /// Reads the three lines; what it accepts, [`Checkpoint::encode`] writes again byte for byte.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        if lines.next().is_some() {
            return Err(CheckpointError::Extension);
        }
        let origin = KeyName::new(origin).map_err(CheckpointError::Origin)?;
        let size = parse_decimal(size).ok_or(CheckpointError::Size)?;
        Self::new(origin, size, parse_hash(root).ok_or(CheckpointError::Root)?)
    }

    /// Origin, size and root, each on its line: what is signed.
    pub fn encode(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, base64(self.root.as_bytes()))
    }

    /// Which log.
    pub fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The Merkle tree hash of these leaves.
    pub fn root(&self) -> Hash {
        self.root
    }
}

/// Why a note is not a checkpoint of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// Not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Fewer than three lines.
    #[error("a checkpoint has three lines")]
    Lines,
    /// Extension lines.
    #[error("a checkpoint with extension lines")]
    Extension,
    /// An origin that is not a key name.
    #[error("a checkpoint's origin must be a key name")]
    Origin(#[source] KeyError),
    /// Not a canonical decimal, or beyond the greatest size.
    #[error("a checkpoint's size is not a decimal below 2^63")]
    Size,
    /// Not the base64 of 32 bytes, or another root for the empty log.
    #[error("a checkpoint's root is not a hash, or not that of the empty log")]
    Root,
}
