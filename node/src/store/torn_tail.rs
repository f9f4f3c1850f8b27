//! Telling a torn write from lost data.
//!
//! A power cut may leave any part of the one batch that was being synced: cut short, with pages of
//! zeros in the middle, or garbage. That batch was not acknowledged, so the store must start without
//! it. RocksDB's `TolerateCorruptedTailRecords` only tolerates the first kind and refuses the others;
//! `PointInTimeRecovery` starts whatever is wrong, also where the disk lost acknowledged batches.
//!
//! So every batch bears its number, twice. When RocksDB refuses, the store is opened for reading at the
//! point that recovery could reach, batch n, and the log files are searched for numbers. Only batch
//! n + 1 can have been unsynced: if a later one was ever written, n + 1 was acknowledged, and the
//! refusal stands. The numbers carry a random nonce, so that no block can hold what looks like one.

use std::fs;
use std::io;
use std::path::Path;

use rocksdb::{DB, DBRecoveryMode, Options};

use crate::store::disk::{LogBatch, LogDisk};
use crate::store::fault::{LogFault, OpenError};
use crate::store::record;

/// The number that the last batch bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchNumber {
    pub(super) number: u64,
    pub(super) nonce: [u8; 16],
}

impl BatchNumber {
    /// The number of the last batch in `db`; a new nonce and 0 in a new store.
    pub(super) fn last_in(db: &dyn LogDisk) -> Result<Self, OpenError> {
        if let Some(last) = read(db)? {
            return Ok(last);
        }
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| OpenError::Disk(error.to_string()))?;
        Ok(Self { number: 0, nonce })
    }

    /// The number of the batch after this one.
    pub(super) const fn next(self) -> Self {
        // INVARIANT: 2^64 batches are never written.
        Self { number: self.number.wrapping_add(1), ..self }
    }

    /// Writes the number into a batch: first and last.
    pub(super) fn mark(self, batch: &mut LogBatch) {
        batch.put(record::BATCH, record::encode_batch(self));
    }
}

/// Opens a store that RocksDB refused as corrupt with `refusal`, if all that is wrong with it is that
/// its last batch was never synced.
pub(super) fn open_without_torn_batch(
    path: &Path,
    mut options: Options,
    refusal: OpenError,
) -> Result<DB, OpenError> {
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    let Ok(reached) = DB::open_for_read_only(&options, path, false) else { return Err(refusal) };
    let last = read(&reached)?;
    drop(reached);
    let number = last.map_or(0, |last| last.number);
    let written = newest_number_written(path, last).map_err(|error| OpenError::Disk(error.to_string()))?;
    if written.is_some_and(|written| written > number.saturating_add(1)) {
        return Err(refusal);
    }
    tracing::warn!(
        batch = number.saturating_add(1),
        "dropping a batch of the Raft log that was never synced"
    );
    DB::open(&options, path).map_err(|error| OpenError::Disk(error.into_string()))
}

fn read(db: &dyn LogDisk) -> Result<Option<BatchNumber>, LogFault> {
    let found = db.get(record::BATCH).map_err(LogFault::Read)?;
    found.map(|bytes| record::decode_batch(&bytes)).transpose()
}

/// The greatest batch number anywhere in the log files, with the nonce of `last`, if it is known.
fn newest_number_written(path: &Path, last: Option<BatchNumber>) -> io::Result<Option<u64>> {
    /// RocksDB splits its log into blocks, each of which starts with a record's header.
    const BLOCK_BYTES: usize = 32 * 1024;
    const HEADER_BYTES: usize = 7;

    let mut newest = None;
    for file in fs::read_dir(path)? {
        let file = file?.path();
        if file.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let bytes = fs::read(file)?;
        // A number may lie across two blocks.
        let joined: Vec<u8> =
            bytes.chunks(BLOCK_BYTES).flat_map(|block| block.iter().skip(HEADER_BYTES)).copied().collect();
        newest = newest.max(newest_number_in(&bytes, last)).max(newest_number_in(&joined, last));
    }
    Ok(newest)
}

fn newest_number_in(bytes: &[u8], last: Option<BatchNumber>) -> Option<u64> {
    let value_bytes = record::encode_batch(BatchNumber { number: 0, nonce: [0; 16] }).len();
    // A key is followed by its value's length, which is one byte here, and the value.
    bytes
        .windows(record::BATCH.len() + 1 + value_bytes)
        .filter_map(|window| window.strip_prefix(record::BATCH)?.get(1..))
        .filter_map(|value| record::decode_batch(value).ok())
        .filter(|found| last.is_none_or(|last| last.nonce == found.nonce))
        .map(|found| found.number)
        .max()
}
