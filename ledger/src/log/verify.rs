//! Verification of inclusion and consistency proofs, strict: for each statement one proof is accepted.

use thiserror::Error;

use super::{EMPTY_ROOT, node_hash};
use crate::hash::Hash;

/// Verifies that the leaf at `index` of the tree of `size` leaves with `root` has `leaf_hash`
/// (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), VerifyError> {
    if root_from_inclusion(leaf_hash, index, size, proof)? == *root {
        Ok(())
    } else {
        Err(VerifyError::RootMismatch)
    }
}

/// The root of the tree of `size` leaves whose leaf at `index` has `leaf_hash`, if `proof` is true
/// (RFC 9162 §2.1.3.2, all but the last comparison).
pub fn root_from_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
) -> Result<Hash, VerifyError> {
    let expected = inclusion_proof_len(index, size).ok_or(VerifyError::OutOfRange)?;
    if u32::try_from(proof.len()) != Ok(expected) {
        return Err(VerifyError::ProofLength);
    }
    // `position` is the node's index on its level, `last` that of the level's last node.
    let (mut position, mut last) = (index, size - 1);
    let mut node = *leaf_hash;
    for sibling in proof {
        if position & 1 == 1 {
            node = node_hash(sibling, &node);
        } else if position == last {
            // The last node of an odd level is carried up until it is a right child. It is not 0: the
            // root has no sibling and the proof's length is exact.
            let levels = position.trailing_zeros().min(63);
            (position, last) = (position >> levels, last >> levels);
            node = node_hash(sibling, &node);
        } else {
            node = node_hash(&node, sibling);
        }
        (position, last) = (position >> 1, last >> 1);
    }
    Ok(node)
}

/// Verifies that the tree of `new` leaves with `new_root` extends the tree of `old` leaves with `old_root`
/// (RFC 9162 §2.1.4.2).
///
/// Between equal sizes the proof is empty and the roots are equal; from size 0 it is empty too
/// (c2sp.org/tlog-witness), and the root of size 0 is [`EMPTY_ROOT`] and no other.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), VerifyError> {
    if old > new {
        return Err(VerifyError::OutOfRange);
    }
    if (old == 0 && *old_root != EMPTY_ROOT) || (new == 0 && *new_root != EMPTY_ROOT) {
        return Err(VerifyError::RootMismatch);
    }
    if old == 0 || old == new {
        return match proof {
            [] if old == 0 || old_root == new_root => Ok(()),
            [] => Err(VerifyError::RootMismatch),
            _ => Err(VerifyError::ProofLength),
        };
    }
    // The old tree's last complete subtree: where it ends, both trees agree. If it is the whole old tree,
    // its root is known already.
    let (start, rest) = match proof.split_first() {
        _ if old.is_power_of_two() => (old_root, proof),
        Some((start, rest)) => (start, rest),
        None => return Err(VerifyError::ProofLength),
    };
    let levels = (old - 1).trailing_ones();
    let (mut position, mut last) = ((old - 1) >> levels, (new - 1) >> levels);
    let (mut old_node, mut new_node) = (*start, *start);
    for sibling in rest {
        if last == 0 {
            return Err(VerifyError::ProofLength);
        }
        if position & 1 == 1 || position == last {
            old_node = node_hash(sibling, &old_node);
            new_node = node_hash(sibling, &new_node);
            // Nothing to skip if it is a right child. It is not 0: `last` is not.
            let levels = position.trailing_zeros().min(63);
            (position, last) = (position >> levels, last >> levels);
        } else {
            new_node = node_hash(&new_node, sibling);
        }
        (position, last) = (position >> 1, last >> 1);
    }
    if last != 0 {
        return Err(VerifyError::ProofLength);
    }
    if old_node == *old_root && new_node == *new_root { Ok(()) } else { Err(VerifyError::RootMismatch) }
}

/// How many hashes the audit path of a leaf has; `None` if the tree has no such leaf.
pub(super) fn inclusion_proof_len(index: u64, size: u64) -> Option<u32> {
    if index >= size {
        return None;
    }
    // Up to where the paths of this leaf and of the last one meet, each level has a sibling; above, only
    // those have one where the last leaf's path is a right child.
    let below = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let above = index.checked_shr(below).unwrap_or(0).count_ones();
    Some(below + above)
}

/// Why a proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// The leaf is not in the tree, or the old tree is larger than the new one.
    #[error("the leaf or the old tree lies beyond the tree's size")]
    OutOfRange,
    /// Too few or too many hashes.
    #[error("the proof has the wrong number of hashes")]
    ProofLength,
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    RootMismatch,
}
