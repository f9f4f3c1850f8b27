//! The Merkle tree over the client nonces of one freshness round.
//!
//! Leaves and nodes are RFC 6962's (§2.1), over at most [`NONCES_MAX`] nonces. What gets signed is not the
//! tree's root but a labelled hash of it and the count, so that no log root and no path of another length
//! can stand for it.

use rs_merkle::PartialTree;
use thiserror::Error;

use super::rfc6962::{audit_path, whole_tree};
use super::{Rfc6962, VerifyError, leaf_hash, root_from_inclusion};
use crate::hash::Hash;

/// The most nonces that one round carries.
pub const NONCES_MAX: u32 = 65_536;

/// A round's nonces, each of them provable against [`NonceTree::root`].
pub struct NonceTree {
    count: u32,
    tree: PartialTree<Rfc6962>,
    root: Hash,
}

impl NonceTree {
    /// The tree over `nonces` in this order: at least one, at most [`NONCES_MAX`].
    pub fn new(nonces: Vec<[u8; 32]>) -> Result<Self, NonceTreeError> {
        let count = u32::try_from(nonces.len()).ok().filter(|count| *count <= NONCES_MAX);
        let count = count.ok_or(NonceTreeError::TooMany)?;
        let leaves: Vec<[u8; 32]> = nonces.iter().map(|nonce| leaf_hash(nonce).0).collect();
        let tree = whole_tree(&leaves).ok_or(NonceTreeError::Empty)?;
        let tree_root = tree.root().copied().map(Hash).ok_or(NonceTreeError::Empty)?;
        Ok(Self { count, tree, root: signed_root(count, &tree_root) })
    }

    /// How many nonces there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// What a head statement signs: `H("chancery/nonces/v1", count u32be ‖ tree root)`.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The path of the nonce at `index`; `None` if there are not that many.
    pub fn path(&self, index: u32) -> Option<NoncePath> {
        if index >= self.count {
            return None;
        }
        Some(NoncePath { index, count: self.count, hashes: audit_path(&self.tree, index) })
    }
}

/// Where a nonce stands in its round, with the audit path of RFC 6962 §2.1.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoncePath {
    /// The nonce's position.
    pub index: u32,
    /// How many nonces the round has.
    pub count: u32,
    /// From the leaf's sibling up.
    pub hashes: Vec<Hash>,
}

impl NoncePath {
    /// The root that a statement must have signed for it to be about `nonce`. The path's length is exact.
    pub fn root(&self, nonce: &[u8; 32]) -> Result<Hash, VerifyError> {
        if self.count > NONCES_MAX {
            return Err(VerifyError::OutOfRange);
        }
        let (index, count) = (u64::from(self.index), u64::from(self.count));
        let tree_root = root_from_inclusion(&leaf_hash(nonce), index, count, &self.hashes)?;
        Ok(signed_root(self.count, &tree_root))
    }
}

fn signed_root(count: u32, tree_root: &Hash) -> Hash {
    Hash::labelled("chancery/nonces/v1", &[&count.to_be_bytes(), tree_root.as_bytes()])
}

/// Why nonces do not make a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NonceTreeError {
    /// There is no nonce.
    #[error("a round has at least one nonce")]
    Empty,
    /// There are more than [`NONCES_MAX`].
    #[error("a round has at most 65,536 nonces")]
    TooMany,
}
