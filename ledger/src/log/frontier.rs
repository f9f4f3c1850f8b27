//! The right edge of the tree: all that an append needs to know.

use thiserror::Error;

use super::{EMPTY_ROOT, SIZE_MAX, node_hash};
use crate::hash::Hash;

/// The roots of the complete subtrees that an RFC 6962 tree of `size` leaves falls into, the largest and
/// leftmost first: one for each bit set in `size` (a *compact range* from 0).
///
/// Appending costs one hash per two leaves on average and log₂(size) at most; never more than 63 hashes
/// are held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// INVARIANT: `size.count_ones()` hashes, the root of the largest subtree first.
    hashes: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty log.
    pub fn new() -> Self {
        Self { size: 0, hashes: Vec::with_capacity(HEIGHTS) }
    }

    /// The frontier of a tree of `size` leaves, from the roots of its complete subtrees, the largest first: as many
    /// as the size has bits set.
    pub(super) const fn of_subtrees(size: u64, hashes: Vec<Hash>) -> Self {
        Self { size, hashes }
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The Merkle tree hash of all leaves, MTH(D\[n\]) of RFC 6962 §2.1.
    pub fn root(&self) -> Hash {
        let mut smallest_first = self.hashes.iter().rev();
        match smallest_first.next() {
            None => EMPTY_ROOT,
            Some(smallest) => smallest_first.fold(*smallest, |right, left| node_hash(left, &right)),
        }
    }

    /// Adds one leaf.
    pub fn append(&mut self, leaf_hash: Hash) {
        self.append_subtree(0, leaf_hash, |_, _, _| {});
    }

    /// Adds a complete subtree of 2^`height` leaves, and reports each subtree that is complete now and was
    /// not before, itself included: its height, its index among those of that height, its root.
    ///
    /// The size before is a multiple of 2^`height`.
    pub(super) fn append_subtree(
        &mut self,
        height: u32,
        root: Hash,
        mut completed: impl FnMut(u32, u64, Hash),
    ) {
        assert!(self.size.trailing_zeros() >= height, "a subtree starts at a multiple of its size");
        let mut node = root;
        let mut index = self.size >> height;
        let mut node_height = height;
        completed(node_height, index, node);
        while index & 1 == 1 {
            // INVARIANT: this bit of the size is set, so its subtree is the last one held.
            let Some(left) = self.hashes.pop() else { break };
            node = node_hash(&left, &node);
            index >>= 1;
            node_height += 1;
            completed(node_height, index, node);
        }
        self.hashes.push(node);
        // INVARIANT: starts at or below SIZE_MAX and no process appends another 2^63 leaves.
        self.size += 1 << height;
    }

    /// `size u64be ‖ hashes`, the largest subtree first.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 32 * self.hashes.len());
        bytes.extend_from_slice(&self.size.to_be_bytes());
        for hash in &self.hashes {
            bytes.extend_from_slice(hash.as_bytes());
        }
        bytes
    }

    /// Reads what [`Frontier::encode`] writes: as many hashes as the size has bits set, and nothing after.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrontierError> {
        let (size, rest) = bytes.split_first_chunk().ok_or(FrontierError::Length)?;
        let size = u64::from_be_bytes(*size);
        if size > SIZE_MAX {
            return Err(FrontierError::TooLarge { size });
        }
        let (chunks, []) = rest.as_chunks::<32>() else { return Err(FrontierError::Length) };
        if u32::try_from(chunks.len()) != Ok(size.count_ones()) {
            return Err(FrontierError::Length);
        }
        let mut hashes = Vec::with_capacity(HEIGHTS);
        hashes.extend(chunks.iter().copied().map(Hash));
        Ok(Self { size, hashes })
    }
}

/// Subtree heights in a tree of at most [`SIZE_MAX`] leaves, and so the most hashes that are ever held.
const HEIGHTS: usize = 63;

/// Why bytes are not a frontier.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrontierError {
    /// Shorter or longer than its size says.
    #[error("frontier has the wrong length for its size")]
    Length,
    /// More leaves than a log can have.
    #[error("frontier of {size} leaves is beyond the greatest log size")]
    TooLarge {
        /// The size it names.
        size: u64,
    },
}
