//! The leaves of a published log, each compared with the tile that has its hash, and each tile with the one above it.
//!
//! What does not fit is a finding, and the leaves end before it, for nobody applies what the log did not commit to.
//! Whoever goes on gets the findings in the rest of the log all the same.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::vec::IntoIter;

use chancery_ledger::authority::Entry;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{RosterId, RosterLink};
use chancery_ledger::log::tiles::partial_tiles;
use chancery_ledger::log::{ProveError, TILE_WIDTH, TileIndex, TilePath, TileRead, root_at};

use crate::ahead::{Ahead, Edge, Part, Tile};
use crate::finding::{Code, Finding};
use crate::published::{Fault, Published};
use crate::source::SourceError;

/// Most findings that are kept.
pub(crate) const FINDINGS_MAX: usize = 100;

/// The leaves of a log from some index on.
pub(crate) struct Leaves {
    parts: Ahead,
    /// Of the part that is being read.
    entries: IntoIter<Vec<u8>>,
    /// Of the next leaf that is handed over.
    index: u64,
    /// The last tile of each level, which has the hash of the next one below.
    above: BTreeMap<u8, (u64, Arc<[Hash]>)>,
    rosters: Rosters,
    /// No further leaf is handed over.
    ended: bool,
    findings: Vec<Finding>,
    fault: Option<SourceError>,
}

/// The roster that is in force, and those that must follow.
pub(crate) struct Rosters {
    now: RosterId,
    coming: IntoIter<RosterLink>,
}

impl Rosters {
    /// After the leaves of a log of `size`, of which `links` tell all rosters since `genesis`.
    pub(crate) fn after(size: u64, genesis: RosterId, links: &[RosterLink]) -> Self {
        let is_past = |link: &&RosterLink| link.head.log_size <= size;
        let now = links.iter().take_while(is_past).last().map_or(genesis, RosterLink::id);
        let coming: Vec<_> = links.iter().skip_while(is_past).cloned().collect();
        Self { now, coming: coming.into_iter() }
    }
}

/// Reads the right edge of the tree of `size` leaves: what each proof of it begins with.
pub(crate) fn read_edge(published: &Published, size: u64) -> Result<Edge, Fault> {
    let tiles = partial_tiles(size).map(|(tile, width)| Ok((tile, published.tile_hashes(tile, width)?)));
    Ok(Arc::new(tiles.collect::<Result<_, Fault>>()?))
}

/// The root of the tree whose right edge this is.
pub(crate) fn edge_root(edge: &Edge, size: u64) -> Result<Hash, Finding> {
    struct InEdge<'a>(&'a Edge);
    #[derive(Debug, thiserror::Error)]
    #[error("it is not at the right edge")]
    struct NotThere;
    impl TileRead for InEdge<'_> {
        type Error = NotThere;
        fn tile_hashes(&self, tile: TileIndex, _: u16) -> Result<Arc<[Hash]>, NotThere> {
            self.0.get(&tile).cloned().ok_or(NotThere)
        }
    }
    root_at(&InEdge(edge), size).map_err(|error: ProveError<NotThere>| {
        Finding::new(Code::Malformed, "tile", "the tiles of the right edge", error)
    })
}

impl Leaves {
    pub(crate) fn start(
        published: &Published,
        from: u64,
        size: u64,
        edge: &Edge,
        rosters: Rosters,
    ) -> Result<Self, SourceError> {
        let parts = Ahead::start(published, from, size, edge)?;
        let (above, findings) = (BTreeMap::new(), Vec::new());
        let entries = Vec::new().into_iter();
        Ok(Self { parts, entries, index: from, above, rosters, ended: false, findings, fault: None })
    }

    /// Compares the next part of the log; whether there was one.
    pub(crate) fn compare_next(&mut self) -> bool {
        if self.fault.is_some() || self.findings.len() >= FINDINGS_MAX {
            return false;
        }
        let sound = match self.parts.next() {
            None => return false,
            Some(Ok(part)) => self.compare(part),
            Some(Err(Fault::Wrong(finding))) => {
                self.findings.push(*finding);
                false
            }
            Some(Err(Fault::Source(error))) => {
                self.fault = Some(error);
                return false;
            }
        };
        self.ended |= !sound;
        true
    }

    /// What was found; or what could not be read.
    pub(crate) fn into_findings(self) -> Result<Vec<Finding>, SourceError> {
        match self.fault {
            Some(error) => Err(error),
            None => Ok(self.findings),
        }
    }

    /// Whether all of the part's entries are those of its hashes.
    fn compare(&mut self, part: Part) -> bool {
        let Part { index, entries, hashes, malformed, tiles } = part;
        for tile in &tiles {
            self.compare_tile(tile);
        }
        let Some(leaf_tile) = tiles.last().map(|tile| Arc::clone(&tile.hashes)) else { return true };
        let first = index.saturating_mul(TILE_WIDTH.into());
        let mut sound = entries.len();
        let width = u16::try_from(leaf_tile.len()).unwrap_or(TILE_WIDTH);
        let place = TilePath::entries(index, width).map(|path| path.to_string()).unwrap_or_default();
        for (position, (expected, found)) in leaf_tile.iter().zip(&hashes).enumerate() {
            if expected == found {
                continue;
            }
            let leaf = first.saturating_add(u64::try_from(position).unwrap_or(0));
            self.found(Finding::new(Code::Leaf, &place, expected, found).at(leaf));
            sound = sound.min(position);
            // Of a bundle that is short of some, all that follow are at another place.
            if malformed.is_some() {
                break;
            }
        }
        let whole = malformed.is_none() && sound == leaf_tile.len();
        if let Some(finding) = malformed {
            self.found(finding);
        }
        if !self.ended {
            // A part may begin before what was asked for.
            let skipped = usize::try_from(self.index.saturating_sub(first)).unwrap_or(0);
            let told: Vec<_> = entries.into_iter().take(sound).skip(skipped).collect();
            for (index, entry) in (self.index..).zip(&told) {
                self.compare_roster(index, entry);
            }
            self.entries = told.into_iter();
        }
        whole
    }

    fn compare_tile(&mut self, tile: &Tile) {
        let TileIndex { level, index } = tile.index;
        if tile.hashes.len() == usize::from(TILE_WIDTH) {
            let width = u64::from(TILE_WIDTH);
            let parent = self.above.get(&level.saturating_add(1)).filter(|(at, _)| *at == index / width);
            let offset = usize::try_from(index % width).unwrap_or(0);
            let expected = parent.and_then(|(_, hashes)| hashes.get(offset)).copied();
            if let Some(expected) = expected.filter(|expected| *expected != tile.root) {
                let place = tile.index.path(TILE_WIDTH).unwrap_or_default();
                self.found(Finding::new(Code::Tile, place, expected, tile.root));
            }
        }
        self.above.insert(level, (index, Arc::clone(&tile.hashes)));
    }

    /// The rosters that the log tells of are those of the chain.
    fn compare_roster(&mut self, index: u64, entry: &[u8]) {
        // A STATE leaf's field: what is no entry, who applies it finds out.
        if entry.first() != Some(&STATE_TAG) {
            return;
        }
        let Ok(Entry::State { roster, state_root, .. }) = Entry::decode(entry) else { return };
        let due = self.rosters.coming.as_slice().first();
        let due = due.filter(|link| link.head.log_size == index.saturating_add(1));
        let is_due = due.is_some();
        let (expected, expected_root) =
            due.map_or((self.rosters.now, state_root), |link| (link.id(), link.head.state_root));
        if (expected, expected_root) != (roster, state_root) {
            let told = |roster: RosterId, root: Hash| format!("roster {roster} with state {root}");
            let (expected, found) = (told(expected, expected_root), told(roster, state_root));
            self.found(Finding::new(Code::RosterHistory, "rosters", expected, found).at(index));
        }
        if is_due {
            self.rosters.coming.next();
        }
        // Told once: from here on the log's word is followed.
        self.rosters.now = roster;
    }

    fn found(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// The first byte of an encoded `Entry` whose body is a `StateEntry`.
const STATE_TAG: u8 = 0x12;

/// No error ever: why the leaves ended, [`Leaves::into_findings`] tells.
impl Iterator for Leaves {
    type Item = Result<Vec<u8>, Infallible>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.next() {
                self.index = self.index.saturating_add(1);
                return Some(Ok(entry));
            }
            if self.ended || !self.compare_next() {
                return None;
            }
        }
    }
}
