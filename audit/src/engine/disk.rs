//! The engine's folder: a RocksDB with the newest replayed state, and the place to go on from.
//!
//! A batch is atomic, whatever happens to the process. It is not synced: a power cut may take the last of them, and
//! then the audit goes on from the one before.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use chancery_ledger::authority::{Applied, Dedup, DedupEntry, Summary};
use chancery_ledger::command::LedgerId;
use chancery_ledger::state::{Node, NodeId, NodeKeep, NodeRead};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode, WriteBatch,
};

use super::node_cache::{NodeCache, size_bytes};
use super::{Options, RosterInForce, record};

/// Parts of the disk's records in memory, in bytes. What is read often is in the [`NodeCache`].
const BLOCK_CACHE_BYTES: usize = 16 << 20;

/// Records that RocksDB gathers before it makes a file of them, in bytes.
const WRITE_BUFFER_BYTES: usize = 8 << 20;

/// What one place in the row of unwritten nodes costs, in bytes.
const SLOT_BYTES: usize = 8;

/// Why the folder cannot be used. That says nothing of the log.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be read or written.
    #[error("the audit's folder: {0}")]
    Disk(#[from] rocksdb::Error),
    /// What is in it is not what an engine wrote.
    #[error("the audit's folder is corrupt: {what}: {why}")]
    Corrupt {
        /// Which record.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// It failed before, in the middle of something.
    #[error("the audit's folder failed before: open it again")]
    Lost,
}

/// The database.
#[derive(Clone)]
pub(super) struct Disk(Arc<DB>);

impl Disk {
    pub(super) fn open(folder: &Path) -> Result<Self, DiskError> {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.set_paranoid_checks(true);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_write_buffer_number(2);
        options.set_max_background_jobs(2);
        options.set_max_open_files(64);
        options.set_keep_log_file_num(2);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_format_version(5);
        options.set_block_based_table_factory(&blocks);
        Ok(Self(Arc::new(DB::open(&options, folder)?)))
    }

    /// The ledger that the folder belongs to.
    pub(super) fn ledger(&self) -> Result<Option<LedgerId>, DiskError> {
        self.get("the ledger's id", record::LEDGER, record::decode_ledger)
    }

    pub(super) fn found(&self, ledger: LedgerId) -> Result<(), DiskError> {
        Ok(self.0.put(record::LEDGER, record::encode_ledger(ledger))?)
    }

    /// Where to go on.
    pub(super) fn summary(&self) -> Result<Option<Summary>, DiskError> {
        self.get("the summary", record::SUMMARY, record::decode_summary)
    }

    pub(super) fn rosters(&self) -> Result<Vec<RosterInForce>, DiskError> {
        self.all("a roster", record::ROSTER, record::decode_roster)
    }

    /// The live deduplication entries: within a bucket in the order of the log.
    pub(super) fn dedup(&self) -> Result<Dedup, DiskError> {
        let mut dedup = Dedup::default();
        let mut corrupt = false;
        for entry in self.records(record::DEDUP) {
            let (_, value) = entry?;
            match DedupEntry::decode(&value) {
                Some(entry) => dedup.insert(entry),
                None => corrupt = true,
            }
        }
        if corrupt { Err(corrupt_record("a deduplication entry")) } else { Ok(dedup) }
    }

    fn get<T>(
        &self,
        what: &'static str,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, DiskError> {
        let Some(bytes) = self.0.get_pinned(key)? else { return Ok(None) };
        decode(&bytes).map(Some).ok_or_else(|| corrupt_record(what))
    }

    fn all<T>(
        &self,
        what: &'static str,
        kind: u8,
        decode: impl Fn(&[u8], &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, DiskError> {
        let decoded = self.records(kind).map(|record| {
            let (key, value) = record?;
            decode(&key, &value).ok_or_else(|| corrupt_record(what))
        });
        decoded.collect()
    }

    /// Every record of a kind, in the order of their keys.
    fn records(&self, kind: u8) -> impl Iterator<Item = Result<Record, DiskError>> {
        let records = self.0.iterator(IteratorMode::From(&[kind], Direction::Forward));
        let is_further = move |record: &Result<Record, DiskError>| {
            record.as_ref().map_or(true, |(key, _)| key.first() == Some(&kind))
        };
        records.map(|record| Ok(record?)).take_while(is_further)
    }
}

/// A key, and its value.
type Record = (Box<[u8]>, Box<[u8]>);

fn corrupt_record(what: &'static str) -> DiskError {
    DiskError::Corrupt { what, why: "it is no record of an engine".into() }
}

/// The nodes of the newest replayed state, and what else is still to be written.
///
/// Nodes are numbered in the order in which they come, and most are replaced within a few blocks: those that were
/// not written yet stand in a row, and what is replaced there never costs the disk anything.
pub(super) struct DiskNodes {
    disk: Disk,
    /// Unwritten nodes by number, from `unwritten_from` on.
    unwritten: Vec<Option<Arc<Node>>>,
    unwritten_from: NodeId,
    unwritten_bytes: usize,
    unwritten_bytes_max: usize,
    /// Written nodes that no state uses any more.
    stale: Vec<NodeId>,
    cache: RefCell<NodeCache>,
    dedup: Vec<DedupEntry>,
    dedup_dropped: Vec<u64>,
    rosters: Vec<RosterInForce>,
}

impl DiskNodes {
    /// Those on the disk, all of which have numbers below `next_node`.
    pub(super) fn new(disk: Disk, options: Options, next_node: NodeId) -> Self {
        Self {
            disk,
            unwritten: Vec::new(),
            unwritten_from: next_node,
            unwritten_bytes: 0,
            unwritten_bytes_max: options.unwritten_bytes_max,
            stale: Vec::new(),
            cache: RefCell::new(NodeCache::new(options.cache_bytes_max)),
            dedup: Vec::new(),
            dedup_dropped: Vec::new(),
            rosters: Vec::new(),
        }
    }

    /// Takes what a block changed beside the nodes.
    pub(super) fn remember(&mut self, applied: Applied) {
        self.dedup.extend(applied.dedup);
        self.dedup_dropped.extend(applied.dedup_dropped);
    }

    pub(super) fn remember_roster(&mut self, roster: &RosterInForce) {
        self.rosters.push(roster.clone());
    }

    /// Whether it is time to write.
    pub(super) fn is_full(&self) -> bool {
        let places = self.unwritten.len() + self.stale.len();
        let dedup = self.dedup.len() * size_of::<DedupEntry>();
        self.unwritten_bytes + places * SLOT_BYTES + dedup >= self.unwritten_bytes_max
    }

    /// Writes everything that came since the last time, and where to go on: all of it, or nothing.
    pub(super) fn write(&mut self, summary: &Summary) -> Result<(), DiskError> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        for (id, node) in self.unwritten_nodes() {
            batch.put(record::node_key(id), node.encode());
        }
        for id in &self.stale {
            batch.delete(record::node_key(*id));
        }
        for entry in &self.dedup {
            batch.put(record::dedup_key(entry), entry.encode());
        }
        // After the entries: some may have come and gone.
        for bucket in &self.dedup_dropped {
            batch.delete_range(record::bucket_key(*bucket), record::bucket_key(bucket.saturating_add(1)));
        }
        for roster in &self.rosters {
            batch.put(record::roster_key(roster), record::encode_roster(roster));
        }
        batch.put(record::SUMMARY, record::encode_summary(summary));
        self.disk.0.write(batch)?;
        self.written(summary.next_node);
        Ok(())
    }

    fn written(&mut self, next_node: NodeId) {
        let cache = self.cache.get_mut();
        for (id, node) in (self.unwritten_from.0..).zip(self.unwritten.drain(..)) {
            if let Some(node) = node {
                cache.insert(NodeId(id), node);
            }
        }
        self.unwritten_from = next_node;
        self.unwritten_bytes = 0;
        self.stale.clear();
        self.dedup.clear();
        self.dedup_dropped.clear();
        self.rosters.clear();
    }

    fn unwritten_nodes(&self) -> impl Iterator<Item = (NodeId, &Arc<Node>)> {
        let numbered = (self.unwritten_from.0..).zip(&self.unwritten);
        numbered.filter_map(|(id, node)| Some((NodeId(id), node.as_ref()?)))
    }

    /// The place of a node in the row of unwritten ones; `None` if it was written.
    fn place(&self, id: NodeId) -> Option<usize> {
        usize::try_from(id.0.checked_sub(self.unwritten_from.0)?).ok()
    }
}

impl NodeRead for DiskNodes {
    type Error = DiskError;

    fn node(&self, id: NodeId) -> Result<Arc<Node>, DiskError> {
        let missing = || DiskError::Corrupt { what: "a node", why: format!("node {id} is not there") };
        if let Some(place) = self.place(id) {
            return self.unwritten.get(place).cloned().flatten().ok_or_else(missing);
        }
        if let Some(node) = self.cache.borrow_mut().get(id) {
            return Ok(node);
        }
        let bytes = self.disk.0.get_pinned(record::node_key(id))?.ok_or_else(missing)?;
        let node = Node::decode(&bytes)
            .map_err(|error| DiskError::Corrupt { what: "a node", why: format!("node {id}: {error}") })?;
        let node = Arc::new(node);
        self.cache.borrow_mut().insert(id, Arc::clone(&node));
        Ok(node)
    }
}

impl NodeKeep for DiskNodes {
    fn replace(&mut self, new: &[(NodeId, Arc<Node>)], stale: &[NodeId]) -> Result<(), DiskError> {
        for (id, node) in new {
            let next = self.unwritten_from.0.saturating_add(self.unwritten.len() as u64);
            if id.0 != next {
                let why = format!("node {id} comes where node {next} should");
                return Err(DiskError::Corrupt { what: "a node", why });
            }
            self.unwritten_bytes += size_bytes(node);
            self.unwritten.push(Some(Arc::clone(node)));
        }
        for id in stale {
            match self.place(*id) {
                Some(place) => {
                    if let Some(node) = self.unwritten.get_mut(place).and_then(Option::take) {
                        self.unwritten_bytes = self.unwritten_bytes.saturating_sub(size_bytes(&node));
                    }
                }
                None => {
                    self.cache.get_mut().remove(*id);
                    self.stale.push(*id);
                }
            }
        }
        Ok(())
    }
}
