//! Which hash goes into which tile (c2sp.org/tlog-tiles, "Merkle Tree"), and the trait to read them back.
//!
//! A tile is 256 hashes wide and 8 levels of the tree high. Level 0 holds leaf hashes; each hash of level
//! L + 1 is the root over one full tile of level L. Storage only ever adds hashes to the right of a tile.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rfc6962::subtree_root;
use super::{Frontier, TilePath};
use crate::hash::Hash;

/// How many hashes a full tile has.
pub const TILE_WIDTH: u16 = 256;

/// How many levels of the Merkle tree one tile spans.
pub(super) const TILE_HEIGHT: u32 = 8;

/// The position of a tile: its level and its index within the level (c2sp.org/tlog-tiles `<L>`, `<N>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileIndex {
    /// 0 for the tiles of leaf hashes. No log is large enough for a level above 7.
    pub level: u8,
    /// Counted from 0 within the level.
    pub index: u64,
}

impl TileIndex {
    /// How many hashes this tile has in a tree of `size` leaves: 0 to 256.
    pub fn width_at(self, size: u64) -> u16 {
        // A shift by the whole width of the integer or more leaves nothing at that level.
        let hashes = size.checked_shr(u32::from(self.level) * TILE_HEIGHT).unwrap_or(0);
        let before = self.index.saturating_mul(u64::from(TILE_WIDTH));
        // INVARIANT: at most 256, so it always fits.
        u16::try_from(hashes.saturating_sub(before).min(u64::from(TILE_WIDTH))).unwrap_or(TILE_WIDTH)
    }

    /// The path at which a tile is served, `tile/<L>/<N>` and for a partial one `.p/<W>`
    /// (c2sp.org/tlog-tiles, "Merkle Tree"). `None` unless `width` is 1 to 256.
    pub fn path(self, width: u16) -> Option<String> {
        TilePath::hashes(self, width).map(|path| path.to_string())
    }
}

/// The tiles with at least one hash in a tree of `size` leaves and less than 256: those that change with
/// the next leaves, one a level at most, and all that a checkpoint of that size needs served as partial.
pub fn partial_tiles(size: u64) -> impl Iterator<Item = (TileIndex, u16)> {
    (0u8..8).filter_map(move |level| {
        let hashes = size >> (u32::from(level) * TILE_HEIGHT);
        let tile = TileIndex { level, index: hashes / u64::from(TILE_WIDTH) };
        let width = tile.width_at(size);
        (width > 0).then_some((tile, width))
    })
}

/// Hashes that an append adds to one tile, from `first_offset` to the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileRow {
    /// The tile that grows.
    pub tile: TileIndex,
    /// Where in the tile the first of `hashes` belongs; all before it were added by earlier appends.
    pub first_offset: u8,
    /// At least one, and never past the tile's end.
    pub hashes: Vec<Hash>,
}

/// Appends `leaf_hashes` to the log whose right edge is `frontier`, and returns what becomes known, by
/// level and then index. Each node of the tree is hashed once.
pub fn append(frontier: &mut Frontier, leaf_hashes: &[Hash]) -> Vec<TileRow> {
    let mut rows = Rows::default();
    let (to_boundary, rest) = leaf_hashes.split_at(leaf_hashes.len().min(unfilled(frontier.size())));
    for leaf in to_boundary {
        frontier.append_subtree(0, *leaf, |height, index, node| rows.add(height, index, node));
    }
    let (whole_tiles, rest) = rest.as_chunks::<{ TILE_WIDTH as usize }>();
    for leaves in whole_tiles {
        let first = frontier.size();
        rows.add_all(first, leaves);
        // INVARIANT: 256 leaves have a root.
        let Some(root) = subtree_root(leaves) else { continue };
        frontier.append_subtree(TILE_HEIGHT, root, |height, index, node| rows.add(height, index, node));
    }
    for leaf in rest {
        frontier.append_subtree(0, *leaf, |height, index, node| rows.add(height, index, node));
    }
    rows.0.into_values().collect()
}

/// How many leaves the last level-0 tile of a tree of `size` leaves is short of; 0 if there is no partial.
fn unfilled(size: u64) -> usize {
    let width = u64::from(TILE_WIDTH);
    // INVARIANT: below 256.
    usize::try_from((width - size % width) % width).unwrap_or(0)
}

#[derive(Default)]
struct Rows(BTreeMap<TileIndex, TileRow>);

impl Rows {
    /// The root of the `index`-th subtree of `height` became known. Tiles hold each eighth height.
    fn add(&mut self, height: u32, index: u64, node: Hash) {
        if height.is_multiple_of(TILE_HEIGHT) {
            self.row(height / TILE_HEIGHT, index).hashes.push(node);
        }
    }

    /// The leaves of one whole tile became known.
    fn add_all(&mut self, first: u64, leaves: &[Hash]) {
        self.row(0, first).hashes.extend_from_slice(leaves);
    }

    fn row(&mut self, level: u32, position: u64) -> &mut TileRow {
        let width = u64::from(TILE_WIDTH);
        let [.., first_offset] = position.to_be_bytes();
        // INVARIANT: a height is at most 63, so a level is at most 7.
        let tile = TileIndex { level: u8::try_from(level).unwrap_or(u8::MAX), index: position / width };
        self.0.entry(tile).or_insert_with(|| TileRow { tile, first_offset, hashes: Vec::new() })
    }
}

/// Where proofs read tiles from: a store, a server, an archive.
///
/// What is read is not trusted by anyone but the proof's maker: a wrong hash makes a proof that does not
/// verify.
pub trait TileRead {
    /// Why a tile could not be read.
    type Error;

    /// The first `width` hashes of `tile` (1 to 256), or more: what follows them is ignored.
    ///
    /// `width` is always the width that the tile has at the size proven for, so that a server which keeps
    /// only the partial tiles of its checkpoints can be asked for it.
    fn tile_hashes(&self, tile: TileIndex, width: u16) -> Result<Arc<[Hash]>, Self::Error>;
}

impl<T: TileRead + ?Sized> TileRead for &T {
    type Error = T::Error;

    fn tile_hashes(&self, tile: TileIndex, width: u16) -> Result<Arc<[Hash]>, Self::Error> {
        (**self).tile_hashes(tile, width)
    }
}

/// All tiles of one log in memory: for auditors, archives and tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryTiles {
    frontier: Frontier,
    tiles: BTreeMap<TileIndex, Vec<Hash>>,
}

impl MemoryTiles {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds leaves, and returns what became known, as [`append`] does.
    pub fn append(&mut self, leaf_hashes: &[Hash]) -> Vec<TileRow> {
        let rows = append(&mut self.frontier, leaf_hashes);
        for row in &rows {
            self.tiles.entry(row.tile).or_default().extend_from_slice(&row.hashes);
        }
        rows
    }

    /// The right edge: size and root of everything appended.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}

/// The tile is not in memory, or not as wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tile {} of level {} with that many hashes", .0.index, .0.level)]
pub struct NoSuchTile(pub TileIndex);

impl TileRead for MemoryTiles {
    type Error = NoSuchTile;

    fn tile_hashes(&self, tile: TileIndex, width: u16) -> Result<Arc<[Hash]>, NoSuchTile> {
        let hashes = self.tiles.get(&tile).and_then(|hashes| hashes.get(..usize::from(width)));
        hashes.map(Arc::from).ok_or(NoSuchTile(tile))
    }
}
