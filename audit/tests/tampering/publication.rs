//! A log as it is published, honest or not.

use std::path::Path;

use chancery_ledger::authority::Entry;
use chancery_ledger::checkpoint::{Checkpoint, KeyName, SignedCheckpoint};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::RosterChain;
use chancery_ledger::log::{MemoryTiles, TileIndex, TilePath, TileRead, encode_entry_bundle, leaf_hash};

use super::house::{ORIGIN, key, voter};

/// When all cosign, in seconds since 1970.
pub(crate) const COSIGNED_S: u64 = 1_800_003_600;

/// Leaves, who says that these are the log, and who votes.
#[derive(Clone)]
pub(crate) struct Publication {
    pub(crate) leaves: Vec<Vec<u8>>,
    pub(crate) cosigners: Vec<u64>,
    pub(crate) rosters: RosterChain,
}

impl Publication {
    pub(crate) fn tiles(&self) -> MemoryTiles {
        let mut tiles = MemoryTiles::new();
        tiles.append(&self.leaves.iter().map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>());
        tiles
    }

    pub(crate) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub(crate) fn root(&self) -> Hash {
        self.tiles().frontier().root()
    }

    pub(crate) fn checkpoint(&self) -> SignedCheckpoint {
        let checkpoint = Checkpoint::new(KeyName::new(ORIGIN).unwrap(), self.size(), self.root()).unwrap();
        let mut lines = vec![checkpoint.sign(&key("log"))];
        for node in &self.cosigners {
            let name = voter(*node).cosigner_name(ORIGIN).unwrap();
            lines.push(checkpoint.cosign(&name, COSIGNED_S, &key(&format!("node-{node}"))).unwrap());
        }
        SignedCheckpoint::new(checkpoint, lines).unwrap()
    }

    /// The same log, as it was and as the same nodes signed it when it had `size` leaves.
    pub(crate) fn at(&self, size: usize) -> Self {
        Self { leaves: self.leaves[..size].to_vec(), ..self.clone() }
    }

    /// Everything, as files.
    pub(crate) fn write(&self, folder: &Path) {
        let tiles = self.tiles();
        for level in 0..8 {
            for index in 0.. {
                let tile = TileIndex { level, index };
                let width = tile.width_at(self.size());
                if width == 0 {
                    break;
                }
                let hashes = tiles.tile_hashes(tile, width).unwrap();
                let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
                write(folder, &tile.path(width).unwrap(), &bytes);
                if level == 0 {
                    let first = usize::try_from(index).unwrap() * 256;
                    let bundle =
                        encode_entry_bundle(&self.leaves[first..first + usize::from(width)]).unwrap();
                    write(folder, &TilePath::entries(index, width).unwrap().to_string(), &bundle);
                }
            }
        }
        write(folder, "rosters", &self.rosters.encode());
        write(folder, "checkpoint", self.checkpoint().encode().as_bytes());
    }

    pub(crate) fn entry(&self, index: usize) -> Entry {
        Entry::decode(&self.leaves[index]).unwrap()
    }
}

pub(crate) fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}
