//! Leaves with their place in the log.

use chancery_proto::v1 as wire;

use super::entry::{ENTRY_SIZE_BYTES_MAX, Entry, EntryError};
use crate::command::MalformedCommand;
use crate::hash::Hash;
use crate::head::Head;
use crate::log::{VerifyError, leaf_hash, verify_inclusion};

/// Most hashes in an inclusion proof.
pub const INCLUSION_HASHES_MAX: usize = 64;

/// A leaf and its place in the log that a head commits to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Its index.
    pub index: u64,
    /// The encoded [`Entry`].
    pub entry: Vec<u8>,
    /// RFC 6962 inclusion proof, from the leaf up, in the log of the head's size.
    pub proof: Vec<Hash>,
}

/// Why a leaf shows nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeafError {
    /// It is not in the log.
    #[error("leaf {index} is not in the log: {source}")]
    Inclusion {
        /// Its index.
        index: u64,
        /// Why not.
        source: VerifyError,
    },
    /// It is no log entry.
    #[error("leaf: {0}")]
    Entry(#[from] EntryError),
}

impl Leaf {
    /// Demands that it is in the log of `head`, and decodes it.
    pub fn verify(&self, head: &Head) -> Result<Entry, LeafError> {
        self.verify_in(head.log_size, &head.log_root)
    }

    /// Demands that it is in the log of so many leaves and that root, and decodes it.
    pub fn verify_in(&self, size: u64, root: &Hash) -> Result<Entry, LeafError> {
        let (index, hash) = (self.index, leaf_hash(&self.entry));
        verify_inclusion(&hash, index, size, &self.proof, root)
            .map_err(|source| LeafError::Inclusion { index, source })?;
        Ok(Entry::decode(&self.entry)?)
    }

    pub(crate) fn to_wire(&self) -> wire::ProvenLeaf {
        let proof = self.proof.iter().map(|hash| hash.0.to_vec()).collect();
        wire::ProvenLeaf { index: self.index, entry: self.entry.clone(), proof }
    }

    pub(crate) fn from_wire(w: wire::ProvenLeaf) -> Result<Self, MalformedCommand> {
        if w.entry.len() > ENTRY_SIZE_BYTES_MAX || w.proof.len() > INCLUSION_HASHES_MAX {
            return Err(MalformedCommand::OutOfBounds("leaf"));
        }
        let hash = |bytes: &Vec<u8>| Hash::from_slice(bytes).ok_or(MalformedCommand::Length("hash"));
        let proof = w.proof.iter().map(hash).collect::<Result<_, _>>()?;
        Ok(Self { index: w.index, entry: w.entry, proof })
    }
}
