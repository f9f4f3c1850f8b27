//! Reading what is applied.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chancery_ledger::authority::{Dedup, DedupEntry, Outcome, State, Summary};
use chancery_ledger::follow::EndMark;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::Head;
use chancery_ledger::log::{ProveError, SubtreeRoots, TileIndex, TileRead, prove_inclusion_with, root_at};
use chancery_ledger::state::{Key, Node, NodeId, NodeRead, Root, Value};

use super::AppliedOptions;
use super::database::{Column, Database};
use super::fault::{AppliedFault, with_causes};
use super::founding::Founding;
use super::newest_values::NewestValues;
use super::node_cache::NodeCache;
use super::record::{self, HistoryStart};
use crate::raft::types::{LogId, StoredMembership};
use crate::rosters::Rosters;
use crate::store::{Position, voters_digest};

/// Blocks whose outcomes are kept in memory.
const OUTCOME_BLOCKS_MAX: usize = 1024;

/// Outcomes that are kept in memory, over all blocks but the last.
const OUTCOMES_MAX: usize = 1 << 16;

/// Earlier heads that a [`State`] is resumed with.
const EARLIER_HEADS: u64 = 1023;

/// The applied state as one handle sees it: it goes on with the blocks, and stays with the database that
/// it was taken from when an installed snapshot replaces that.
///
/// Reads of nodes, tiles, entries and summaries may wait for the disk: not for a tokio worker.
#[derive(Clone)]
pub struct AppliedView {
    pub(super) opened: Arc<Opened>,
}

impl AppliedView {
    /// Runs `read` on the state. It holds up the next block: no disk, no proofs in there.
    pub fn read_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.opened.live().state)
    }

    /// The last applied log entry.
    pub fn applied(&self) -> Option<LogId> {
        self.opened.live().applied
    }

    /// The membership that the last applied entry left.
    pub fn membership(&self) -> StoredMembership {
        self.opened.live().membership.clone()
    }

    /// The rosters up to the last applied block.
    pub fn rosters(&self) -> Arc<Rosters> {
        Arc::clone(&self.opened.live().rosters)
    }

    /// The last applied entry, if there is one, and what it means for the log.
    pub fn position(&self) -> (Option<LogId>, Position) {
        let live = self.opened.live();
        (live.applied, live.position())
    }

    /// What became of the commands of `block`, if it is among the last 1,024 and was applied since the
    /// store was opened.
    pub fn outcomes(&self, block: u64) -> Option<Arc<Vec<Outcome>>> {
        self.opened.live().outcomes.of(block)
    }

    /// The oldest block whose state can still be read.
    pub fn oldest_state(&self) -> u64 {
        self.opened.live().history.state
    }

    /// The summary of `block`, if it is kept.
    pub fn summary_of(&self, block: u64) -> Result<Option<Summary>, AppliedFault> {
        self.opened.summary_of(block)
    }

    /// The head after `block`, if it is kept.
    pub fn head_of(&self, block: u64) -> Result<Option<Head>, AppliedFault> {
        if let Some(head) = self.read_state(|state| state.head_of(block).copied()) {
            return Ok(Some(head));
        }
        Ok(self.summary_of(block)?.map(|summary| summary.head))
    }

    /// The root of the state after `block`, if all of that state is kept.
    pub fn root_of(&self, block: u64) -> Result<Option<Root>, AppliedFault> {
        if block < self.oldest_state() {
            return Ok(None);
        }
        // Most ask for the newest, which is in memory.
        let newest = self.read_state(|state| (state.head().block == block).then(|| state.summary().root));
        if newest.is_some() {
            return Ok(newest);
        }
        Ok(self.summary_of(block)?.map(|summary| summary.root))
    }

    /// The entry at `index` of the log.
    pub fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, AppliedFault> {
        let found = self.opened.database.get(Column::Entries, &index.to_be_bytes())?;
        Ok(found.map(|bytes| bytes.to_vec()))
    }

    /// The entries from `first` on, at most `count` and as far as the log goes.
    pub fn entries(&self, first: u64, count: usize) -> Result<Vec<Vec<u8>>, AppliedFault> {
        let records = self.opened.database.records_from(Column::Entries, &first.to_be_bytes())?;
        records.take(count).map(|record| record.map(|(_, entry)| entry.into_vec())).collect()
    }

    /// When grants end that end after `mark`, in their order.
    pub fn ends_after(
        &self,
        mark: EndMark,
    ) -> Result<impl Iterator<Item = Result<EndMark, AppliedFault>>, AppliedFault> {
        let after = record::pair_key(mark.time_ms, mark.index);
        let records = self.opened.database.records_from(Column::Ends, &after)?;
        let ends = records.map(|found| {
            let (key, _) = found?;
            let corrupt = || AppliedFault::corrupt("ends of grants", "a key");
            let (time_ms, index) = record::decode_pair_key(&key).ok_or_else(corrupt)?;
            Ok(EndMark { time_ms, index })
        });
        Ok(ends.skip_while(move |end| matches!(end, Ok(end) if *end <= mark)))
    }

    /// Makes a copy of everything in the folder `path`, which does not exist.
    pub(in crate::store) fn checkpoint(&self, path: &Path) -> Result<(), AppliedFault> {
        self.opened.database.checkpoint(path)
    }

    /// The proof that the leaf at `index` is in the log of `size` leaves.
    pub fn prove_inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, ProveError<AppliedFault>> {
        prove_inclusion_with(self, &self.opened.subtree_roots, index, size)
    }

    /// The root of the log when it had `size` leaves; `None` if it never had as many.
    pub fn log_root_at(&self, size: u64) -> Result<Option<Hash>, AppliedFault> {
        if size > self.read_state(|state| state.head().log_size) {
            return Ok(None);
        }
        match root_at(self, size) {
            Ok(root) => Ok(Some(root)),
            Err(ProveError::Read(fault)) => Err(fault),
            Err(error) => Err(AppliedFault::corrupt("tiles", with_causes(&error))),
        }
    }
}

impl NodeRead for AppliedView {
    type Error = AppliedFault;

    fn node(&self, id: NodeId) -> Result<Node, AppliedFault> {
        if let Some(node) = self.opened.cache.get(id) {
            return Ok(node);
        }
        let corrupt = |reason: String| AppliedFault::corrupt(format!("state tree node {id}"), reason);
        let found = self.opened.database.get(Column::Nodes, &id.0.to_be_bytes())?;
        let bytes = found.ok_or_else(|| corrupt("it is missing".into()))?;
        let node = Node::decode(&bytes).map_err(|error| corrupt(error.to_string()))?;
        self.opened.cache.insert(id, node.clone());
        Ok(node)
    }

    fn known(&self, root: Root, key: &Key) -> Option<Option<Value>> {
        self.opened.newest.get(root, key)
    }

    fn found(&self, root: Root, key: &Key, value: Option<&Value>) {
        self.opened.newest.insert(root, key, value);
    }
}

impl TileRead for AppliedView {
    type Error = AppliedFault;

    fn tile_hashes(&self, tile: TileIndex, width: u16) -> Result<Arc<[Hash]>, AppliedFault> {
        let short = || {
            let TileIndex { level, index } = tile;
            AppliedFault::corrupt(format!("tile {index} of level {level}"), "it is missing or too short")
        };
        let bytes = self.opened.database.get(Column::Tiles, &record::tile_key(tile))?.ok_or_else(short)?;
        let (hashes, []) = bytes.as_chunks::<32>() else { return Err(short()) };
        let hashes = hashes.get(..usize::from(width)).ok_or_else(short)?;
        Ok(hashes.iter().copied().map(Hash).collect())
    }
}

/// One open database, and what is kept of it in memory.
pub(in crate::store) struct Opened {
    pub(in crate::store) database: Database,
    pub(super) cache: NodeCache,
    pub(super) newest: NewestValues,
    subtree_roots: SubtreeRoots,
    live: RwLock<Live>,
}

/// What changes with each entry. Guarded by one lock, so that it is always the state after one entry.
pub(super) struct Live {
    pub(super) state: State,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
    pub(super) rosters: Arc<Rosters>,
    pub(super) history: HistoryStart,
    pub(super) outcomes: RecentOutcomes,
    founding_position: Position,
}

impl Opened {
    /// Takes what is in `database`, or founds the ledger in it if it is empty.
    pub(in crate::store) fn load(
        database: Database,
        founding: &Founding,
        options: &AppliedOptions,
    ) -> Result<Self, AppliedFault> {
        match database.get(Column::Meta, record::SCHEMA)? {
            Some(schema) if record::decode_schema(&schema)? != founding.ledger() => {
                return Err(AppliedFault::corrupt("schema", "it belongs to another ledger"));
            }
            Some(_) => {}
            None => super::apply::found(&database, founding)?,
        }
        let (last, summary) = last_summary(&database)?;
        let history = match database.get(Column::Meta, record::HISTORY)? {
            Some(bytes) => record::decode_history(&bytes)?,
            None => HistoryStart::default(),
        };
        let applied = database.get(Column::Meta, record::APPLIED)?;
        let applied = applied.map(|bytes| record::decode_applied(&bytes)).transpose()?;
        let membership = match database.get(Column::Meta, record::MEMBERSHIP)? {
            Some(bytes) => record::decode_membership(&bytes)?,
            None => StoredMembership::default(),
        };
        let first_head = last.saturating_sub(EARLIER_HEADS).max(history.summary);
        let mut heads = Vec::new();
        for summary in summaries_from(&database, first_head)? {
            heads.push(summary?.head);
        }
        let gapless = heads.iter().zip(first_head..).all(|(head, block)| head.block == block);
        if !gapless || heads.last() != Some(&summary.head) {
            return Err(AppliedFault::corrupt("summaries", "there is a gap"));
        }
        let summary_head = summary.head;
        let state = State::resume(summary, load_dedup(&database)?, heads);
        let live = Live {
            state,
            applied,
            membership,
            rosters: Arc::new(load_rosters(&database, founding, &summary_head)?),
            history,
            outcomes: RecentOutcomes::default(),
            founding_position: founding.log_genesis().position(),
        };
        // What is read by key is read most, and is the smaller part.
        let newest_bytes_max = options.cached_bytes_max / 8;
        let cache = NodeCache::new(options.cached_bytes_max.saturating_sub(newest_bytes_max));
        let newest = NewestValues::new(live.state.summary().root, newest_bytes_max);
        Ok(Self { database, cache, newest, subtree_roots: SubtreeRoots::default(), live: RwLock::new(live) })
    }

    pub(super) fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn summary_of(&self, block: u64) -> Result<Option<Summary>, AppliedFault> {
        let found = self.database.get(Column::Summaries, &block.to_be_bytes())?;
        found.map(|bytes| record::decode_summary(block, &bytes)).transpose()
    }
}

impl Live {
    pub(super) fn position(&self) -> Position {
        let Summary { head, block_hash, .. } = self.state.summary();
        let voters = match self.membership.log_id() {
            Some(_) => voters_digest(self.membership.membership().get_joint_config()),
            None => self.founding_position.voters,
        };
        Position { block: head.block, block_hash: *block_hash, roster: head.roster, voters }
    }
}

/// The summaries from `block` on.
pub(in crate::store) fn summaries_from(
    database: &Database,
    block: u64,
) -> Result<impl Iterator<Item = Result<Summary, AppliedFault>>, AppliedFault> {
    let records = database.records_from(Column::Summaries, &block.to_be_bytes())?;
    Ok(records.map(|found| {
        let (key, value) = found?;
        let block = record::decode_key(&key).ok_or_else(|| AppliedFault::corrupt("summaries", "a key"))?;
        record::decode_summary(block, &value)
    }))
}

/// The last block that has a summary, and that.
pub(in crate::store) fn last_summary(database: &Database) -> Result<(u64, Summary), AppliedFault> {
    let missing = || AppliedFault::corrupt("summaries", "there is none");
    let (key, value) = database.last_record(Column::Summaries)?.ok_or_else(missing)?;
    let block = record::decode_key(&key).ok_or_else(missing)?;
    let summary = record::decode_summary(block, &value)?;
    let head = &summary.head;
    let fits = summary.root.hash() == head.state_root
        && summary.frontier.size() == head.log_size
        && summary.frontier.root() == head.log_root;
    if !fits {
        return Err(AppliedFault::corrupt("the last summary", "its roots are not its head's"));
    }
    Ok((block, summary))
}

/// The rosters that brought about the one that `head` names.
pub(in crate::store) fn load_rosters(
    database: &Database,
    founding: &Founding,
    head: &Head,
) -> Result<Rosters, AppliedFault> {
    let corrupt = |reason| AppliedFault::corrupt("rosters", reason);
    let mut links = Vec::new();
    for found in database.records_from(Column::Rosters, &[])? {
        let (key, value) = found?;
        let link = record::decode_roster_link(&value)?;
        let block = link.head.block;
        if record::decode_key(&key) != Some(block) || link.roster.id(block) != link.head.roster {
            return Err(corrupt("one stands in another's place"));
        }
        links.push(link);
    }
    let rosters = Rosters::with_links(founding.roster().clone(), links);
    if rosters.newest().0 == head.roster { Ok(rosters) } else { Err(corrupt("the one in force is missing")) }
}

/// The live deduplication entries, each bucket in the order of its chain.
pub(in crate::store) fn load_dedup(database: &Database) -> Result<Dedup, AppliedFault> {
    let corrupt = |reason| AppliedFault::corrupt("deduplication entries", reason);
    let mut dedup = Dedup::default();
    for found in database.records_from(Column::Dedup, &[])? {
        let (key, value) = found?;
        let entry = DedupEntry::decode(&value).ok_or_else(|| corrupt("one cannot be read"))?;
        if record::decode_pair_key(&key) != Some((entry.bucket(), entry.index)) {
            return Err(corrupt("one stands in another's place"));
        }
        if dedup.get(&(entry.signer, entry.request_id)).is_some() {
            return Err(corrupt("two have one key"));
        }
        dedup.insert(entry);
    }
    Ok(dedup)
}

/// Outcomes of the last blocks, bounded by number and size.
#[derive(Default)]
pub(super) struct RecentOutcomes {
    blocks: VecDeque<(u64, Arc<Vec<Outcome>>)>,
    count: usize,
}

impl RecentOutcomes {
    pub(super) fn push(&mut self, block: u64, outcomes: Vec<Outcome>) {
        self.count += outcomes.len();
        self.blocks.push_back((block, Arc::new(outcomes)));
        while self.blocks.len() > OUTCOME_BLOCKS_MAX || (self.count > OUTCOMES_MAX && self.blocks.len() > 1) {
            let Some((_, dropped)) = self.blocks.pop_front() else { break };
            self.count -= dropped.len();
        }
    }

    fn of(&self, block: u64) -> Option<Arc<Vec<Outcome>>> {
        let (first, _) = self.blocks.front()?;
        let (found, outcomes) = self.blocks.get(usize::try_from(block.checked_sub(*first)?).ok()?)?;
        (*found == block).then(|| Arc::clone(outcomes))
    }
}
