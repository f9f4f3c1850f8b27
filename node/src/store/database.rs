//! Opens the RocksDB `raft/` and reads what a start needs: the few records beside the log, and of the
//! log itself only its first and last entry.

use std::fs::File;
use std::path::Path;

use rocksdb::{DB, DBCompressionType, DBRecoveryMode, ErrorKind};

use crate::raft::types::{LogId, Vote};
use crate::store::disk::{Disks, LogBatch, LogDisk, Record};
use crate::store::fault::{LogFault, OpenError};
#[cfg(feature = "failpoints")]
use crate::store::power_trace::TracedDisk;
use crate::store::raft_log::SignedHead;
use crate::store::record;
use crate::store::tail::Position;
use crate::store::torn_tail::{self, BatchNumber};
use crate::store::writer::LogEnd;

/// A batch that a power cut tore was never acknowledged and is dropped; anything else that does not
/// check out stops the start. Blocks are hashes and signatures, so nothing is compressed.
pub(super) fn open(path: &Path) -> Result<DB, OpenError> {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_compression_type(DBCompressionType::None);
    // The log is written once and read from memory as a rule: little of it need be kept here.
    let mut table = rocksdb::BlockBasedOptions::default();
    table.set_block_cache(&rocksdb::Cache::new_lru_cache(4 << 20));
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(8 << 20);
    options.set_max_write_buffer_number(2);
    options.set_max_total_wal_size(64 << 20);
    options.set_max_background_jobs(2);
    options.set_max_open_files(128);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options.set_max_manifest_file_size(16 << 20);
    let db = match DB::open(&options, path) {
        Err(error) if error.kind() == ErrorKind::Corruption => {
            torn_tail::open_without_torn_batch(path, options, OpenError::Disk(error.into_string()))?
        }
        opened => opened.map_err(|error| OpenError::Disk(error.into_string()))?,
    };
    // RocksDB syncs its folder, but not the entry that names it: without that a power cut could take
    // the whole store, votes and all, and leave what looks like a new node.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| OpenError::Disk(error.to_string()))?;
    Ok(db)
}

/// This machine's disks.
pub(super) struct RocksDbDisks;

impl Disks for RocksDbDisks {
    fn open_log(&self, path: &Path) -> Result<Box<dyn LogDisk>, OpenError> {
        let disk = open(path)?;
        #[cfg(feature = "failpoints")]
        let disk = TracedDisk::new(disk, path)?;
        Ok(Box::new(disk))
    }
}

/// Checks that the database belongs to the ledger of `genesis`, or makes it so, and durably takes the
/// next boot epoch; returns it and the number of the batch that took it.
pub(super) fn take_boot_epoch(db: &dyn LogDisk, genesis: &Position) -> Result<(u64, BatchNumber), OpenError> {
    let number = BatchNumber::last_in(db)?.next();
    let mut batch = LogBatch::default();
    number.mark(&mut batch);
    match get(db, record::GENESIS, record::decode_genesis)? {
        Some(found) if found != *genesis => return Err(OpenError::OtherLedger),
        Some(_) => {}
        None => batch.put(record::GENESIS, record::encode_genesis(genesis)),
    }
    let last = get(db, record::EPOCH, record::decode_epoch)?.unwrap_or(0);
    let epoch = last.checked_add(1).ok_or_else(|| LogFault::Corrupt {
        what: "m/epoch".to_owned(),
        reason: "no further epoch can be counted".to_owned(),
    })?;
    batch.put(record::EPOCH, record::encode_epoch(epoch));
    number.mark(&mut batch);
    db.write(batch, true).map_err(OpenError::Disk)?;
    Ok((epoch, number))
}

/// What a start finds.
pub(super) struct Found {
    pub(super) end: LogEnd,
    pub(super) first: Option<u64>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) signed: Option<SignedHead>,
}

pub(super) fn load(db: &dyn LogDisk, genesis: &Position) -> Result<Found, LogFault> {
    let purged = get(db, record::PURGED, record::decode_purged)?;
    let first = db.range(&record::entry_key(0), record::ENTRIES_END).next().transpose();
    let first = first.map_err(LogFault::Read)?.map(position_of).transpose()?;
    let last = db.last_in(&record::entry_key(0), record::ENTRIES_END).map_err(LogFault::Read)?;
    let last = last.map(position_of).transpose()?;
    let end = match (&last, purged) {
        (Some((last, position)), _) => LogEnd { purged, last: Some(*last), position: *position },
        (None, Some((log_id, position))) => LogEnd { purged, last: Some(log_id), position },
        (None, None) => LogEnd { purged, last: None, position: *genesis },
    };
    let first = first.map(|(first, _)| first.index);
    if let (Some(first), Some((purged, _))) = (first, purged)
        && purged.index.checked_add(1) != Some(first)
    {
        return Err(record::corrupt_entry(first, "the log does not go on where it was purged"));
    }
    Ok(Found {
        end,
        first,
        vote: get(db, record::VOTE, record::decode_vote)?,
        committed: get(db, record::COMMITTED, record::decode_log_id)?,
        signed: get(db, record::SIGNED, record::decode_signed)?,
    })
}

/// The entry in a record between the first entry's key and the end of entries.
fn position_of((key, value): Record) -> Result<(LogId, Position), LogFault> {
    let index = record::entry_index(&key).ok_or_else(|| record::corrupt_entry(0, "a key that is none"))?;
    record::decode_position_of_entry(index, &value)
}

pub(super) fn get<T>(
    db: &dyn LogDisk,
    key: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, LogFault>,
) -> Result<Option<T>, LogFault> {
    let found = db.get(key).map_err(LogFault::Read)?;
    found.map(|bytes| decode(&bytes)).transpose()
}
