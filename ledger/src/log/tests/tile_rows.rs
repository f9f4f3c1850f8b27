//! Tiles against c2sp.org/tlog-tiles' own definition, across tile boundaries.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tiles::{TILE_WIDTH, append, partial_tiles};
use super::*;

/// "The sequence of MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l])".
fn tiles_by_definition(leaf_hashes: &[Hash]) -> BTreeMap<TileIndex, Vec<Hash>> {
    let mut tiles = BTreeMap::<_, Vec<Hash>>::new();
    let mut hashes = leaf_hashes.to_vec();
    for level in 0.. {
        if hashes.is_empty() {
            break;
        }
        for (index, row) in hashes.chunks(256).enumerate() {
            tiles.insert(TileIndex { level, index: index as u64 }, row.to_vec());
        }
        hashes = hashes.chunks_exact(256).map(mth).collect();
    }
    tiles
}

/// Appends in batches of the given sizes and checks every row's place.
fn tiles_by_append(leaf_hashes: &[Hash], batches: &[usize]) -> (Frontier, BTreeMap<TileIndex, Vec<Hash>>) {
    let mut frontier = Frontier::new();
    let mut tiles = BTreeMap::<_, Vec<Hash>>::new();
    let mut rest = leaf_hashes;
    for batch in batches.iter().copied().chain([usize::MAX]) {
        let (now, later) = rest.split_at(batch.min(rest.len()));
        rest = later;
        let rows = append(&mut frontier, now);
        assert!(rows.is_sorted_by(|a, b| a.tile < b.tile));
        for row in rows {
            let tile = tiles.entry(row.tile).or_default();
            assert_eq!(tile.len(), usize::from(row.first_offset));
            assert!(!row.hashes.is_empty());
            tile.extend_from_slice(&row.hashes);
            assert!(tile.len() <= 256);
        }
    }
    (frontier, tiles)
}

#[test]
fn tiles_are_those_of_the_definition_whatever_the_batches() {
    let leaf_hashes = leaves(1_100);
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 1_023, 1_024, 1_025, 1_100] {
        let expected = tiles_by_definition(&leaf_hashes[..size]);
        for batches in [&[][..], &[1], &[255, 1, 1], &[256, 256], &[1, 600], &[3; 100], &[1; 1_100]] {
            let (frontier, tiles) = tiles_by_append(&leaf_hashes[..size], batches);
            assert_eq!(tiles, expected);
            assert_eq!(frontier, frontier_of(&leaf_hashes[..size]));
        }
    }
}

/// Answers with exactly the tiles that a server must keep for a checkpoint of `size`.
struct Served<'a>(&'a MemoryTiles, u64);

impl TileRead for Served<'_> {
    type Error = String;

    fn tile_hashes(&self, tile: TileIndex, width: u16) -> Result<Arc<[Hash]>, String> {
        let is_partial = partial_tiles(self.1).any(|partial| partial == (tile, width));
        let is_full = width == TILE_WIDTH && tile.width_at(self.1) == TILE_WIDTH;
        if !is_partial && !is_full {
            return Err(format!("{tile:?} is not served with width {width} at size {}", self.1));
        }
        self.0.tile_hashes(tile, width).map_err(|error| error.to_string())
    }
}

#[test]
fn proofs_across_the_boundaries_of_tiles() {
    let leaf_hashes = leaves(65_537 + 300);
    let mut tiles = MemoryTiles::new();
    leaf_hashes.chunks(1_000).for_each(|batch| {
        tiles.append(batch);
    });
    let sizes = [1, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_537 + 300];
    let roots: Vec<Hash> = sizes.iter().map(|size| mth(&leaf_hashes[..*size])).collect();
    for (size, root) in sizes.iter().zip(&roots) {
        let served = Served(&tiles, *size as u64);
        let size = *size as u64;
        assert_eq!(root_at(&served, size), Ok(*root));
        for index in [0, 1, 254, 255, 256, 257, 65_279, 65_280, 65_534, 65_535, 65_536, size - 1] {
            if index >= size {
                continue;
            }
            let proof = prove_inclusion(&served, index, size).unwrap();
            assert_eq!(verify_inclusion(&leaf_hashes[index as usize], index, size, &proof, root), Ok(()));
            assert!(verify_inclusion(&Hash::ZERO, index, size, &proof, root).is_err());
        }
        for (old, old_root) in sizes.iter().zip(&roots).filter(|(old, _)| **old as u64 <= size) {
            let old = *old as u64;
            let proof = prove_consistency(&served, old, size).unwrap();
            assert_eq!(verify_consistency(old, old_root, size, root, &proof), Ok(()));
        }
    }
}

#[test]
fn a_missing_or_short_tile_is_an_error() {
    struct Short(MemoryTiles);
    impl TileRead for Short {
        type Error = tiles::NoSuchTile;
        fn tile_hashes(&self, tile: TileIndex, width: u16) -> Result<Arc<[Hash]>, Self::Error> {
            self.0.tile_hashes(tile, width - 1)
        }
    }
    let mut tiles = MemoryTiles::new();
    tiles.append(&leaves(300));
    let tile = TileIndex { level: 0, index: 1 };
    assert_eq!(root_at(&tiles, 301), Err(ProveError::Read(tiles::NoSuchTile(tile))));
    // The first 256 leaves are one hash of level 1.
    let tile = TileIndex { level: 1, index: 0 };
    assert_eq!(prove_inclusion(&Short(tiles), 299, 300), Err(ProveError::ShortTile { tile }));
}

#[test]
fn widths_and_paths_of_the_specification() {
    // "a tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0 tile of
    // width 112, one full level 1 tile, one partial level 1 tile of width 17, and one partial level 2
    // tile of width 1."
    let tile = |level, index| TileIndex { level, index };
    let partial: Vec<_> = partial_tiles(70_000).collect();
    assert_eq!(partial, [(tile(0, 273), 112), (tile(1, 1), 17), (tile(2, 0), 1)]);
    assert_eq!(partial_tiles(256).collect::<Vec<_>>(), [(tile(1, 0), 1)]);
    assert_eq!(partial_tiles(0).count(), 0);
    assert_eq!(partial_tiles(SIZE_MAX).count(), 8);
    assert_eq!(tile(0, 272).width_at(70_000), 256);
    assert_eq!(tile(0, 274).width_at(70_000), 0);
    assert_eq!(tile(255, u64::MAX).width_at(u64::MAX), 0);

    assert_eq!(tile(0, 1_234_067).path(256).unwrap(), "tile/0/x001/x234/067");
    assert_eq!(tile(1, 1).path(17).unwrap(), "tile/1/001.p/17");
    assert_eq!(tile(0, 0).path(0), None);
    assert_eq!(tile(0, 0).path(257), None);
    assert_eq!(tile(64, 0).path(1), None);
    assert_eq!(TilePath::entries(273, 112).unwrap().to_string(), "tile/entries/273.p/112");
}

#[test]
fn paths_have_one_spelling() {
    for index in [0, 1, 999, 1_000, 1_001, 999_999, 1_000_000, 1_234_067, u64::MAX] {
        for width in [1, 2, 255, 256] {
            let tile = TilePath::hashes(TileIndex { level: 63, index }, width).unwrap();
            assert_eq!(TilePath::parse(&tile.to_string()), Some(tile));
            assert_eq!(tile.tile(), Some(TileIndex { level: 63, index }));
            let entries = TilePath::entries(index, width).unwrap();
            assert_eq!(TilePath::parse(&entries.to_string()), Some(entries));
            assert_eq!((entries.tile(), entries.index(), entries.width()), (None, index, width));
        }
    }
    let refused = "|tile|tile/0|tile/0/|/tile/0/000|tile/0/00|tile/0/0000|tile/0/+00|tile/0/x000|\
        tile/0/x000/001|tile/0/001/001|tile/0/x001/x001|tile/0/x01/001|tile/0/x001//001|tile/00/001|\
        tile/64/001|tile/256/001|tile/-1/001|tile//001|tile/Entries/001|tile/0/001.p/0|tile/0/001.p/256|\
        tile/0/001.p/01|tile/0/001.p/|tile/0/001.p/1.p/1|tile/0/001.p/65537|tile/0/001 |tile/0/001/|\
        tile/0/x018/x446/x744/x073/x709/x551/616|tile/0/x001/x000/x000/x000/x000/x000/x000/x000/000";
    for path in refused.split('|') {
        assert_eq!(TilePath::parse(path), None, "{path}");
    }
}

proptest! {
    #[test]
    fn any_batches_give_the_same_tiles(
        batches in prop::collection::vec(0usize..700, 0..6),
        size in 0usize..1_500,
    ) {
        let leaf_hashes = leaves(size);
        let (frontier, tiles) = tiles_by_append(&leaf_hashes, &batches);
        prop_assert_eq!(tiles, tiles_by_definition(&leaf_hashes));
        prop_assert_eq!(frontier.root(), mth(&leaf_hashes));
    }
}
