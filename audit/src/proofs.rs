//! Leaves of a published log, each with the proof that it is in the log of a checkpoint: made of tiles, by who has the trust
//! and nothing else.

use std::sync::Arc;

use chancery_ledger::authority::{Entry, Leaf};
use chancery_ledger::checkpoint::SignedCheckpoint;
use chancery_ledger::hash::Hash;
use chancery_ledger::log::{
    Frontier, ProveError, TILE_WIDTH, TileIndex, TilePath, TileRead, leaf_hash, prove_inclusion,
    root_from_inclusion,
};
use chancery_ledger::trust::Trust;

use crate::ahead::Ahead;
use crate::claim::Claim;
use crate::finding::{Code, Finding};
use crate::leaves::read_edge;
use crate::published::{Fault, Published};

/// What proves the leaves of a published log: its tiles, and a checkpoint that is believed.
pub struct Proofs {
    published: Published,
    claim: Claim,
    /// How many leaves the source has tiles of: partial ones are there for this size, and may be for no other.
    tiled: u64,
}

/// Why a leaf is not proven.
#[derive(Debug, thiserror::Error)]
pub enum ProofsError {
    /// What is published cannot be read, or is not the log of the checkpoint.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The checkpoint does not have it.
    #[error("the checkpoint's {size} leaves do not include {index}")]
    Beyond {
        /// The leaf that was asked for.
        index: u64,
        /// How many it has.
        size: u64,
    },
    /// The log is published up to another checkpoint, which has less.
    #[error("the log is published up to leaf {tiled}, and the checkpoint has {size}")]
    Behind {
        /// How many leaves are published.
        tiled: u64,
        /// How many the checkpoint has.
        size: u64,
    },
}

impl From<Finding> for ProofsError {
    fn from(finding: Finding) -> Self {
        Fault::from(finding).into()
    }
}

impl Proofs {
    /// Proofs up to `kept`, a checkpoint of the log that somebody has; without one, up to the newest that is published.
    ///
    /// # Errors
    /// It cannot be read, or `trust` does not believe it.
    pub fn open(
        published: &Published,
        trust: &Trust,
        kept: Option<SignedCheckpoint>,
    ) -> Result<Self, ProofsError> {
        let (claim, tiled) = match kept {
            None => {
                let claim = Claim::read(published, trust)?;
                let tiled = claim.size();
                (claim, tiled)
            }
            Some(kept) => {
                // Nothing rests on it: it says which partial tiles to ask for.
                let tiled = published.checkpoint()?.checkpoint().size();
                (Claim::of(kept, published, trust)?, tiled)
            }
        };
        if let Some(finding) = claim.findings.first() {
            return Err(finding.clone().into());
        }
        let size = claim.size();
        if tiled < size {
            return Err(ProofsError::Behind { tiled, size });
        }
        Ok(Self { published: published.clone(), claim, tiled })
    }

    /// The checkpoint, and who cosigned it.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The leaf at `index`, which is in the checkpoint's log.
    ///
    /// # Errors
    /// It is beyond the checkpoint; or it, or a tile, is not that of the checkpoint.
    pub fn leaf(&self, index: u64) -> Result<Leaf, ProofsError> {
        let checkpoint = self.claim.signed.checkpoint();
        let (size, root) = (checkpoint.size(), checkpoint.root());
        if index >= size {
            return Err(ProofsError::Beyond { index, size });
        }
        let entry = self.entry(index)?;
        let proof = prove_inclusion(self, index, size).map_err(|error| match error {
            ProveError::Read(fault) => ProofsError::from(fault),
            error @ (ProveError::OutOfRange | ProveError::ShortTile { .. }) => {
                Finding::new(Code::Malformed, "tile", "the tiles of the checkpoint", error).into()
            }
        })?;
        let found = root_from_inclusion(&leaf_hash(&entry), index, size, &proof);
        let found =
            found.map_err(|error| Finding::new(Code::Malformed, "tile", "a proof of the leaf", error))?;
        if found != root {
            return Err(self.what_differs(index, &entry, root, found).into());
        }
        Ok(Leaf { index, entry, proof })
    }

    /// The first leaf of the checkpoint's log that is wanted; if there is none, every leaf was looked at, and they lead to
    /// its root.
    ///
    /// # Errors
    /// What is published is not the log of the checkpoint, or cannot be read.
    pub fn find(&self, mut is_wanted: impl FnMut(&Entry) -> bool) -> Result<Option<Leaf>, ProofsError> {
        let checkpoint = self.claim.signed.checkpoint();
        let (size, root) = (checkpoint.size(), checkpoint.root());
        let edge = read_edge(&self.published, self.tiled)?;
        let mut log = Frontier::new();
        for part in Ahead::start(&self.published, 0, self.tiled, &edge).map_err(Fault::from)? {
            let part = part?;
            if let Some(finding) = part.malformed {
                return Err(finding.into());
            }
            for (entry, hash) in part.entries.iter().zip(part.hashes) {
                let index = log.size();
                if index >= size {
                    break;
                }
                let decoded = Entry::decode(entry).map_err(|error| {
                    Finding::new(Code::Entry, "entries", "a canonical entry", error).at(index)
                })?;
                if is_wanted(&decoded) {
                    return self.leaf(index).map(Some);
                }
                log.append(hash);
            }
            if log.size() >= size {
                break;
            }
        }
        if (log.size(), log.root()) != (size, root) {
            return Err(Finding::new(Code::Root, "entries", root, log.root()).into());
        }
        Ok(None)
    }

    fn entry(&self, index: u64) -> Result<Vec<u8>, ProofsError> {
        let bundle = TileIndex { level: 0, index: index / u64::from(TILE_WIDTH) };
        let (mut entries, malformed) = self.published.entries(bundle.index, bundle.width_at(self.tiled))?;
        if let Some(finding) = malformed {
            return Err(finding.into());
        }
        // INVARIANT: below the width of a tile, which a bundle that is well-formed has as many entries of as asked for.
        let position = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
        if position >= entries.len() {
            return Err(Finding::new(Code::Missing, "entries", "an entry", "nothing").at(index).into());
        }
        Ok(entries.swap_remove(position))
    }

    /// The entry is not the one of its tile; or a tile is not the one of the checkpoint.
    fn what_differs(&self, index: u64, entry: &[u8], root: Hash, found: Hash) -> Finding {
        let width = u64::from(TILE_WIDTH);
        let tile = TileIndex { level: 0, index: index / width };
        let hashes = self.published.tile_hashes(tile, tile.width_at(self.tiled)).unwrap_or_default();
        let hash = usize::try_from(index % width).ok().and_then(|position| hashes.get(position));
        let own = leaf_hash(entry);
        match hash.filter(|hash| **hash != own) {
            Some(hash) => {
                let place = TilePath::entries(tile.index, tile.width_at(self.tiled));
                let place = place.map(|path| path.to_string()).unwrap_or_default();
                Finding::new(Code::Leaf, place, hash, own).at(index)
            }
            None => Finding::new(Code::Root, "tile", root, found),
        }
    }
}

/// The tiles that proofs are made of: those that the source has, which are as wide as asked for or wider.
impl TileRead for Proofs {
    type Error = Fault;

    fn tile_hashes(&self, tile: TileIndex, _: u16) -> Result<Arc<[Hash]>, Fault> {
        self.published.tile_hashes(tile, tile.width_at(self.tiled))
    }
}
