//! Proofs and roots for any past size, made from tiles.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::rfc6962::subtree_root;
use super::tiles::TILE_HEIGHT;
use super::{EMPTY_ROOT, Frontier, TileIndex, TileRead, node_hash};
use crate::hash::Hash;

/// Roots that are remembered: of some hundred tiles. They take 4 MiB at most.
const ROOTS_MAX: usize = 32_768;

/// The audit path of the leaf at `index` in the tree of `size` leaves: PATH(m, D\[n\]) of RFC 6962 §2.1.1,
/// from the leaf's sibling up.
pub fn prove_inclusion<T: TileRead>(
    tiles: &T,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProveError<T::Error>> {
    inclusion(&Tree::new(tiles, size), index)
}

/// The same, for who proves much from one log: what `roots` knows need not be hashed again.
pub fn prove_inclusion_with<T: TileRead>(
    tiles: &T,
    roots: &SubtreeRoots,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProveError<T::Error>> {
    inclusion(&Tree { roots: Some(roots), ..Tree::new(tiles, size) }, index)
}

fn inclusion<T: TileRead>(tree: &Tree<'_, T>, index: u64) -> Result<Vec<Hash>, ProveError<T::Error>> {
    let size = tree.size;
    if index >= size {
        return Err(ProveError::OutOfRange);
    }
    let mut path = Vec::new();
    let (mut begin, mut end) = (0, size);
    while end - begin > 1 {
        let middle = begin + left_size(end - begin);
        if index < middle {
            path.push(tree.range_root(middle, end)?);
            end = middle;
        } else {
            path.push(tree.range_root(begin, middle)?);
            begin = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `new` leaves extends the tree of `old`: PROOF(m, D\[n\]) of RFC 6962 §2.1.2.
///
/// Empty if the two are equal, and if `old` is 0: any tree extends the empty one (c2sp.org/tlog-witness).
pub fn prove_consistency<T: TileRead>(
    tiles: &T,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProveError<T::Error>> {
    if old > new {
        return Err(ProveError::OutOfRange);
    }
    if old == 0 {
        return Ok(Vec::new());
    }
    let tree = Tree::new(tiles, new);
    let mut proof = Vec::new();
    let (mut begin, mut end) = (0, new);
    while old != end {
        let middle = begin + left_size(end - begin);
        if old <= middle {
            proof.push(tree.range_root(middle, end)?);
            end = middle;
        } else {
            proof.push(tree.range_root(begin, middle)?);
            begin = middle;
        }
    }
    // The verifier knows the root of the whole old tree, but not of a part of it.
    if begin > 0 {
        proof.push(tree.range_root(begin, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The Merkle tree hash of the first `size` leaves (RFC 6962 §2.1).
pub fn root_at<T: TileRead>(tiles: &T, size: u64) -> Result<Hash, ProveError<T::Error>> {
    if size == 0 {
        return Ok(EMPTY_ROOT);
    }
    Tree::new(tiles, size).range_root(0, size)
}

/// The right edge of the log when it had `size` leaves.
pub fn frontier_at<T: TileRead>(tiles: &T, size: u64) -> Result<Frontier, ProveError<T::Error>> {
    let tree = Tree::new(tiles, size);
    let mut hashes = Vec::new();
    let mut begin = 0;
    for height in (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1) {
        hashes.push(tree.node(height, begin)?);
        begin += 1 << height;
    }
    Ok(Frontier::of_subtrees(size, hashes))
}

/// Why a proof could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProveError<E> {
    /// The leaf is not in the tree, or the old tree is larger than the new one.
    #[error("asked for a leaf or tree beyond the size proven for")]
    OutOfRange,
    /// A tile came back with fewer hashes than asked for.
    #[error("tile {} of level {} is too short", .tile.index, .tile.level)]
    ShortTile {
        /// The tile.
        tile: TileIndex,
    },
    /// A tile could not be read.
    #[error(transparent)]
    Read(#[from] E),
}

/// Roots of complete subtrees of one log that were computed lately: those do not change when it grows. What it has
/// forgotten is only computed again.
#[derive(Default, Debug)]
pub struct SubtreeRoots {
    /// By height and first leaf.
    known: Mutex<HashMap<(u32, u64), Hash>>,
}

impl SubtreeRoots {
    fn get(&self, height: u32, begin: u64) -> Option<Hash> {
        self.known().get(&(height, begin)).copied()
    }

    fn keep(&self, height: u32, begin: u64, root: Hash) {
        let mut known = self.known();
        if known.len() >= ROOTS_MAX {
            known.clear();
        }
        known.insert((height, begin), root);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(u32, u64), Hash>> {
        // INVARIANT: nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tree of `size` leaves, each tile read at most once.
struct Tree<'a, T> {
    tiles: &'a T,
    size: u64,
    read: RefCell<BTreeMap<TileIndex, Arc<[Hash]>>>,
    roots: Option<&'a SubtreeRoots>,
}

impl<'a, T: TileRead> Tree<'a, T> {
    fn new(tiles: &'a T, size: u64) -> Self {
        Self { tiles, size, read: RefCell::default(), roots: None }
    }

    /// MTH(D\[begin:end\]), where `begin < end` and `begin` is a multiple of the power of two that is at
    /// or above their distance: the ranges that RFC 6962's recursion visits.
    fn range_root(&self, begin: u64, end: u64) -> Result<Hash, ProveError<T::Error>> {
        let count = end - begin;
        if count.is_power_of_two() {
            return self.node(count.trailing_zeros(), begin);
        }
        let middle = begin + left_size(count);
        Ok(node_hash(&self.range_root(begin, middle)?, &self.range_root(middle, end)?))
    }

    /// The root of the complete subtree of 2^`height` leaves that starts at leaf `begin`.
    fn node(&self, height: u32, begin: u64) -> Result<Hash, ProveError<T::Error>> {
        let Some(roots) = self.roots.filter(|_| !height.is_multiple_of(TILE_HEIGHT)) else {
            return self.node_of_tile(height, begin);
        };
        if let Some(known) = roots.get(height, begin) {
            return Ok(known);
        }
        let (left, right) = (begin, begin + (1 << (height - 1)));
        let root = node_hash(&self.node(height - 1, left)?, &self.node(height - 1, right)?);
        roots.keep(height, begin, root);
        Ok(root)
    }

    /// The same, from its tile alone.
    fn node_of_tile(&self, height: u32, begin: u64) -> Result<Hash, ProveError<T::Error>> {
        let level = height / TILE_HEIGHT;
        let position = begin >> (level * TILE_HEIGHT);
        let [.., offset] = position.to_be_bytes();
        // INVARIANT: a height is at most 63, so a level is at most 7.
        let level = u8::try_from(level).unwrap_or(u8::MAX);
        let tile = TileIndex { level, index: position >> TILE_HEIGHT };
        let first = usize::from(offset);
        let last = first + (1 << (height % TILE_HEIGHT));
        let hashes = self.tile(tile)?;
        hashes.get(first..last).and_then(subtree_root).ok_or(ProveError::ShortTile { tile })
    }

    fn tile(&self, tile: TileIndex) -> Result<Arc<[Hash]>, ProveError<T::Error>> {
        if let Some(hashes) = self.read.borrow().get(&tile) {
            return Ok(Arc::clone(hashes));
        }
        let hashes = self.tiles.tile_hashes(tile, tile.width_at(self.size))?;
        self.read.borrow_mut().insert(tile, Arc::clone(&hashes));
        Ok(hashes)
    }
}

/// RFC 6962 §2.1: k, the largest power of two smaller than n; `n` is at least 2.
fn left_size(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}
