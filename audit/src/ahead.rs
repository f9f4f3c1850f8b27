//! Reading ahead: a few threads fetch and hash what comes next, and hand it over in order.
//!
//! Each holds one part of the log at most, and fetches the next: so there is never more of the log in memory than twice
//! as many parts as threads, of at most 16 MiB each and mostly of 100 KiB.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use chancery_ledger::hash::Hash;
use chancery_ledger::log::{Frontier, TILE_WIDTH, TileIndex, TileRead, leaf_hash};

use crate::finding::Finding;
use crate::published::{Fault, Published};
use crate::source::SourceError;

/// Threads, and so requests at once: what waits is mostly the network.
const THREADS: usize = 6;

/// Up to 256 leaves: a level-0 tile, its entries, and the tiles above that begin with it.
pub(crate) struct Part {
    /// The index of its level-0 tile.
    pub(crate) index: u64,
    /// As many entries as there are.
    pub(crate) entries: Vec<Vec<u8>>,
    /// Their hashes.
    pub(crate) hashes: Vec<Hash>,
    /// What is wrong with the entries as such.
    pub(crate) malformed: Option<Finding>,
    /// The highest level first, level 0 last.
    pub(crate) tiles: Vec<Tile>,
}

/// A tile, and the root over it.
pub(crate) struct Tile {
    pub(crate) index: TileIndex,
    pub(crate) hashes: Arc<[Hash]>,
    pub(crate) root: Hash,
}

impl Tile {
    pub(crate) fn new(index: TileIndex, hashes: Arc<[Hash]>) -> Self {
        let mut tree = Frontier::new();
        hashes.iter().for_each(|hash| tree.append(*hash));
        Self { index, root: tree.root(), hashes }
    }
}

/// The right edge of the tree: its partial tiles, which are read once.
pub(crate) type Edge = Arc<BTreeMap<TileIndex, Arc<[Hash]>>>;

/// The parts of a log, in order.
pub(crate) struct Ahead {
    threads: Vec<Thread>,
    /// How many were handed over.
    taken: usize,
    /// How many there are.
    parts: usize,
}

/// A thread, and where it hands over what it has.
struct Thread {
    parts: Receiver<Result<Part, Fault>>,
    handle: JoinHandle<()>,
}

/// What one thread needs.
struct Fetcher {
    published: Published,
    size: u64,
    /// The first part of all.
    first: u64,
    edge: Edge,
}

impl Ahead {
    /// The parts from the one with leaf `from` on, of a log of `size` leaves whose partial tiles are `edge`.
    pub(crate) fn start(
        published: &Published,
        from: u64,
        size: u64,
        edge: &Edge,
    ) -> Result<Self, SourceError> {
        let width = u64::from(TILE_WIDTH);
        let (first, end) = (from / width, size.div_ceil(width));
        let parts = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut ahead = Self { threads: Vec::new(), taken: 0, parts };
        for offset in 0..THREADS.min(parts) {
            let fetcher = Fetcher { published: published.clone(), size, first, edge: Arc::clone(edge) };
            // The threads take turns, from the first part on.
            let turns = (first..end).skip(offset).step_by(THREADS.min(parts));
            let (sender, receiver) = sync_channel(0);
            let thread = Builder::new().name("audit-ahead".into()).spawn(move || fetcher.run(turns, &sender));
            let handle = thread.map_err(SourceError::Ahead)?;
            ahead.threads.push(Thread { parts: receiver, handle });
        }
        Ok(ahead)
    }
}

impl Iterator for Ahead {
    type Item = Result<Part, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.taken >= self.parts {
            return None;
        }
        let turn = self.taken.checked_rem(self.threads.len())?;
        self.taken += 1;
        let receiver = &self.threads.get(turn)?.parts;
        let lost = || SourceError::Ahead(io::Error::other("a thread ended early")).into();
        Some(receiver.recv().unwrap_or_else(|_| Err(lost())))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        for Thread { parts, handle } in self.threads.drain(..) {
            // Whoever waits to hand something over learns that nobody will take it.
            drop(parts);
            let _ = handle.join();
        }
    }
}

impl Fetcher {
    fn run(&self, parts: impl Iterator<Item = u64>, sender: &SyncSender<Result<Part, Fault>>) {
        for part in parts {
            if sender.send(self.fetch(part)).is_err() {
                return;
            }
        }
    }

    fn fetch(&self, part: u64) -> Result<Part, Fault> {
        let mut tiles = Vec::new();
        for level in (0..LEVELS).rev() {
            let index = part.checked_shr(u32::from(level) * 8).unwrap_or(0);
            let begins = part == self.first || index.checked_shl(u32::from(level) * 8) == Some(part);
            let tile = TileIndex { level, index };
            let width = tile.width_at(self.size);
            if begins && width > 0 {
                let hashes = match self.edge.get(&tile) {
                    Some(hashes) => Arc::clone(hashes),
                    None => self.published.tile_hashes(tile, width)?,
                };
                tiles.push(Tile::new(tile, hashes));
            }
        }
        let width = TileIndex { level: 0, index: part }.width_at(self.size);
        let (entries, malformed) = self.published.entries(part, width)?;
        let hashes = entries.iter().map(|entry| leaf_hash(entry)).collect();
        Ok(Part { index: part, entries, hashes, malformed, tiles })
    }
}

/// Levels of tiles of the largest log.
const LEVELS: u8 = 8;
