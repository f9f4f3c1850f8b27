//! The engine's folder: a RocksDB with the values of the newest replayed state by their keys, and the place to go on
//! from.
//!
//! A batch is atomic, whatever happens to the process. It is not synced: a power cut may take the last of them, and
//! then the audit goes on from the one before.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use chancery_ledger::authority::{Dedup, DedupEntry, Progress, Replayed};
use chancery_ledger::command::LedgerId;
use chancery_ledger::state::{Changes, Key, LeafKeep, LeafRead, Value};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode, ReadOptions,
    WriteBatch,
};

use super::value_cache::{ValueCache, size_bytes};
use super::{Options, RosterInForce, record};

/// Parts of the disk's records in memory, in bytes. What is read often is in the [`ValueCache`].
const BLOCK_CACHE_BYTES: usize = 12 << 20;

/// Records that RocksDB gathers before it makes a file of them, in bytes.
const WRITE_BUFFER_BYTES: usize = 8 << 20;

/// What RocksDB reads of a file at once when it merges files, in bytes, for each of them.
const MERGE_READ_BYTES: usize = 256 << 10;

/// Bits of its filters for each key: one in a hundred absent keys is looked for in vain.
const FILTER_BITS: f64 = 10.0;

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
    /// It is of a program that kept other things.
    #[error(
        "the audit's folder was made by another version of this program ({0}): audit from the beginning, in a new one"
    )]
    OtherVersion(u8),
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
        // Most keys that are looked for in a write buffer are not there.
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.02);
        options.set_max_background_jobs(2);
        options.set_max_open_files(64);
        options.set_keep_log_file_num(2);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_format_version(5);
        blocks.set_bloom_filter(FILTER_BITS, false);
        options.set_compaction_readahead_size(MERGE_READ_BYTES);
        options.set_block_based_table_factory(&blocks);
        Ok(Self(Arc::new(DB::open(&options, folder)?)))
    }

    /// The ledger that the folder belongs to.
    pub(super) fn ledger(&self) -> Result<Option<LedgerId>, DiskError> {
        let Some(bytes) = self.0.get_pinned(record::LEDGER)? else { return Ok(None) };
        match record::decode_ledger(&bytes) {
            Ok(ledger) => Ok(Some(ledger)),
            Err(Some(version)) => Err(DiskError::OtherVersion(version)),
            Err(None) => Err(corrupt_record("the ledger's id")),
        }
    }

    pub(super) fn found(&self, ledger: LedgerId) -> Result<(), DiskError> {
        Ok(self.0.put(record::LEDGER, record::encode_ledger(ledger))?)
    }

    /// Where to go on.
    pub(super) fn progress(&self) -> Result<Option<Progress>, DiskError> {
        let Some(bytes) = self.0.get_pinned(record::PROGRESS)? else { return Ok(None) };
        record::decode_progress(&bytes).map(Some).ok_or_else(|| corrupt_record("the progress"))
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

/// The values of the newest replayed state, and what else is still to be written.
///
/// Most of what changes is changed again within a few blocks: what was not written yet is in memory, and what takes its
/// place there never costs the disk anything.
pub(super) struct DiskLeaves {
    disk: Disk,
    unwritten: Changes,
    unwritten_bytes: usize,
    unwritten_bytes_max: usize,
    cache: RefCell<ValueCache>,
    dedup: Vec<DedupEntry>,
    dedup_dropped: Vec<u64>,
    rosters: Vec<RosterInForce>,
}

impl DiskLeaves {
    pub(super) fn new(disk: Disk, options: Options) -> Self {
        Self {
            disk,
            unwritten: Changes::new(),
            unwritten_bytes: 0,
            unwritten_bytes_max: options.unwritten_bytes_max,
            cache: RefCell::new(ValueCache::new(options.cache_bytes_max)),
            dedup: Vec::new(),
            dedup_dropped: Vec::new(),
            rosters: Vec::new(),
        }
    }

    /// Takes what a block changed beside the values.
    pub(super) fn remember(&mut self, replayed: Replayed) {
        self.dedup.extend(replayed.dedup);
        self.dedup_dropped.extend(replayed.dedup_dropped);
    }

    pub(super) fn remember_roster(&mut self, roster: &RosterInForce) {
        self.rosters.push(roster.clone());
    }

    /// Whether it is time to write.
    pub(super) fn is_full(&self) -> bool {
        let dedup = self.dedup.len() * size_of::<DedupEntry>();
        self.unwritten_bytes + dedup >= self.unwritten_bytes_max
    }

    /// Writes everything that came since the last time, and where to go on: all of it, or nothing.
    pub(super) fn write(&mut self, progress: &Progress) -> Result<(), DiskError> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        for (key, value) in &self.unwritten {
            match value {
                Some(value) => batch.put(record::value_key(key), value),
                None => batch.delete(record::value_key(key)),
            }
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
        batch.put(record::PROGRESS, record::encode_progress(progress));
        self.disk.0.write(batch)?;
        self.written();
        Ok(())
    }

    fn written(&mut self) {
        let cache = self.cache.get_mut();
        for (key, value) in std::mem::take(&mut self.unwritten) {
            match value {
                Some(value) => cache.insert(key, value),
                None => cache.remove(&key),
            }
        }
        self.unwritten_bytes = 0;
        self.dedup.clear();
        self.dedup_dropped.clear();
        self.rosters.clear();
    }
}

fn unwritten_size_bytes(value: Option<&Value>) -> usize {
    value.map_or(size_of::<Key>(), size_bytes)
}

impl LeafRead for DiskLeaves {
    type Error = DiskError;

    fn value(&self, key: &Key) -> Result<Option<Value>, DiskError> {
        if let Some(unwritten) = self.unwritten.get(key) {
            return Ok(unwritten.clone());
        }
        if let Some(value) = self.cache.borrow_mut().get(key) {
            return Ok(Some(value));
        }
        let Some(bytes) = self.disk.0.get_pinned(record::value_key(key))? else { return Ok(None) };
        let value = Value::from(&*bytes);
        self.cache.borrow_mut().insert(*key, Value::clone(&value));
        Ok(Some(value))
    }

    fn range(&self, first: &Key, last: &Key, each: &mut dyn FnMut(Key, &[u8])) -> Result<(), DiskError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound([record::value_key(last).as_slice(), &[0]].concat());
        let mut written = self.disk.0.raw_iterator_opt(options);
        written.seek(record::value_key(first));
        let mut unwritten = self.unwritten.range(first..=last).peekable();
        while let Some((key, value)) = written.item() {
            let key = record::decode_value_key(key).ok_or_else(|| corrupt_record("a value's key"))?;
            while let Some((key, value)) = unwritten.next_if(|(unwritten, _)| **unwritten < key) {
                value.iter().for_each(|value| each(*key, value));
            }
            match unwritten.next_if(|(unwritten, _)| **unwritten == key) {
                Some((key, newer)) => newer.iter().for_each(|value| each(*key, value)),
                None => each(key, value),
            }
            written.next();
        }
        written.status()?;
        for (key, value) in unwritten {
            value.iter().for_each(|value| each(*key, value));
        }
        Ok(())
    }
}

impl LeafKeep for DiskLeaves {
    fn change(&mut self, changes: Changes) -> Result<(), DiskError> {
        for (key, value) in changes {
            self.unwritten_bytes += unwritten_size_bytes(value.as_ref());
            if let Some(before) = self.unwritten.insert(key, value) {
                let before = unwritten_size_bytes(before.as_ref());
                self.unwritten_bytes = self.unwritten_bytes.saturating_sub(before);
            }
        }
        Ok(())
    }
}
