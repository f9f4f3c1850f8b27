//! The RocksDB below `applied/`: its columns, its options, and the folder that goes when it is replaced.
//!
//! Its write-ahead log is never synced: what a power cut takes is applied again from the Raft log. So
//! recovery stops at the first record that is torn or missing, whatever comes after it, and what is left
//! is the state after some earlier entry: batches are atomic over all columns, and so are flushes.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    Options, WriteBatch, WriteOptions,
};

use super::fault::AppliedFault;
use super::tables::{self, Tables};
use crate::store::disk::Change;
pub(in crate::store) use crate::store::disk::Record;

/// What is kept apart. Integers in keys are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// Node number → node.
    Nodes,
    /// Block ‖ number of the record → some of the nodes that this block's state is the first not to use.
    Stale,
    /// Leaf index → entry.
    Entries,
    /// Level (1 byte) ‖ index → the tile's hashes so far.
    Tiles,
    /// Bucket ‖ leaf index → live deduplication entry.
    Dedup,
    /// Block → [`Summary`](chancery_ledger::authority::Summary).
    Summaries,
    /// When a grant ends ‖ index of the leaf that granted it → nothing.
    Ends,
    /// Roster block → the link that it adds to the roster chain, proven or not yet.
    Rosters,
    /// Names → the few records that there is one of.
    Meta,
}

impl Column {
    const ALL: [Self; 9] = [
        Self::Nodes,
        Self::Stale,
        Self::Entries,
        Self::Tiles,
        Self::Dedup,
        Self::Summaries,
        Self::Ends,
        Self::Rosters,
        Self::Meta,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Stale => "stale",
            Self::Entries => "entries",
            Self::Tiles => "tiles",
            Self::Dedup => "dedup",
            Self::Summaries => "summaries",
            Self::Ends => "ends",
            Self::Rosters => "rosters",
            Self::Meta => "meta",
        }
    }
}

/// An open database. Fields drop in their order: the database is closed before its folder goes.
pub(in crate::store) struct Database {
    engine: Engine,
    folder: Folder,
}

/// What holds the records.
enum Engine {
    RocksDb(DB),
    Simulated(Box<dyn Tables>),
}

/// The bytes of a value.
pub(in crate::store) enum Value<'a> {
    Pinned(rocksdb::DBPinnableSlice<'a>),
    Owned(Vec<u8>),
}

impl Deref for Value<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Pinned(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Database {
    /// Opens the database in `path`, or makes it.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, AppliedFault> {
        if let Some(simulated) = tables::simulated(path) {
            return Ok(Self::of(Engine::Simulated(simulated?), path));
        }
        let mut options = options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let db = DB::open_cf_descriptors(&options, path, columns())?;
        Ok(Self::of(Engine::RocksDb(db), path))
    }

    /// Opens a database that is only read, and of which no file is changed. RocksDB's own notes go to
    /// the folder `notes`.
    pub(in crate::store) fn open_to_read(path: &Path, notes: &Path) -> Result<Self, AppliedFault> {
        if let Some(simulated) = tables::simulated(path) {
            return Ok(Self::of(Engine::Simulated(simulated?), path));
        }
        let mut options = options();
        options.set_db_log_dir(notes);
        let db = DB::open_cf_descriptors_read_only(&options, path, columns(), false)?;
        Ok(Self::of(Engine::RocksDb(db), path))
    }

    fn of(engine: Engine, path: &Path) -> Self {
        Self { engine, folder: Folder { path: path.into(), retired: AtomicBool::new(false) } }
    }

    pub(in crate::store) fn get(
        &self,
        column: Column,
        key: &[u8],
    ) -> Result<Option<Value<'_>>, AppliedFault> {
        match &self.engine {
            Engine::RocksDb(db) => Ok(db.get_pinned_cf(handle(db, column)?, key)?.map(Value::Pinned)),
            Engine::Simulated(tables) => {
                Ok(tables.get(column, key).map_err(AppliedFault::Disk)?.map(Value::Owned))
            }
        }
    }

    /// Records of `column` from `key` on, in the order of their keys.
    pub(in crate::store) fn records_from<'a>(
        &'a self,
        column: Column,
        key: &[u8],
    ) -> Result<impl Iterator<Item = Result<Record, AppliedFault>> + use<'a>, AppliedFault> {
        let records: Box<dyn Iterator<Item = Result<Record, AppliedFault>> + 'a> = match &self.engine {
            Engine::RocksDb(db) => {
                let from = rocksdb::IteratorMode::From(key, rocksdb::Direction::Forward);
                let records = db.iterator_cf(handle(db, column)?, from);
                Box::new(records.map(|record| record.map_err(AppliedFault::from)))
            }
            Engine::Simulated(tables) => {
                let records = tables.records_from(column, key);
                Box::new(records.map(|record| record.map_err(AppliedFault::Disk)))
            }
        };
        Ok(records)
    }

    /// The last record of `column`.
    pub(in crate::store) fn last_record(&self, column: Column) -> Result<Option<Record>, AppliedFault> {
        match &self.engine {
            Engine::RocksDb(db) => {
                Ok(db.iterator_cf(handle(db, column)?, rocksdb::IteratorMode::End).next().transpose()?)
            }
            Engine::Simulated(tables) => tables.last_record(column).map_err(AppliedFault::Disk),
        }
    }

    /// An empty batch for this database.
    pub(in crate::store) fn batch(&self) -> Batch<'_> {
        match &self.engine {
            Engine::RocksDb(db) => Batch::RocksDb(db, WriteBatch::default()),
            Engine::Simulated(tables) => Batch::Simulated(&**tables, Vec::new()),
        }
    }

    /// Makes everything that was written durable.
    pub(in crate::store) fn sync(&self) -> Result<(), AppliedFault> {
        match &self.engine {
            Engine::RocksDb(db) => Ok(db.flush_wal(true)?),
            Engine::Simulated(tables) => tables.sync().map_err(AppliedFault::Disk),
        }
    }

    /// Writes what is in memory to table files, so that the write-ahead log is not needed for it.
    pub(in crate::store) fn flush(&self) -> Result<(), AppliedFault> {
        match &self.engine {
            Engine::RocksDb(db) => {
                let columns: Vec<&ColumnFamily> =
                    Column::ALL.into_iter().map(|column| handle(db, column)).collect::<Result<_, _>>()?;
                Ok(db.flush_cfs_opt(&columns, &rocksdb::FlushOptions::default())?)
            }
            Engine::Simulated(tables) => tables.sync().map_err(AppliedFault::Disk),
        }
    }

    /// Makes a copy in the folder `path`, which does not exist, out of hard links.
    pub(in crate::store) fn checkpoint(&self, path: &Path) -> Result<(), AppliedFault> {
        match &self.engine {
            Engine::RocksDb(db) => Ok(rocksdb::checkpoint::Checkpoint::new(db)?.create_checkpoint(path)?),
            Engine::Simulated(tables) => tables.checkpoint(path).map_err(AppliedFault::Disk),
        }
    }

    /// The folder is to be removed once the last handle is gone.
    pub(in crate::store) fn retire(&self) {
        self.folder.retired.store(true, Ordering::Release);
    }
}

fn handle(db: &DB, column: Column) -> Result<&ColumnFamily, AppliedFault> {
    // INVARIANT: every column is opened with the database.
    db.cf_handle(column.name()).ok_or_else(|| AppliedFault::corrupt(column.name(), "no such column"))
}

/// Changes that are made together or not at all.
pub(in crate::store) enum Batch<'a> {
    RocksDb(&'a DB, WriteBatch),
    Simulated(&'a dyn Tables, Vec<(Column, Change)>),
}

impl Batch<'_> {
    pub(in crate::store) fn put(
        &mut self,
        column: Column,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), AppliedFault> {
        match self {
            Self::RocksDb(db, batch) => batch.put_cf(handle(db, column)?, key, value),
            Self::Simulated(_, changes) => {
                changes.push((column, Change::Put(key.as_ref().into(), value.as_ref().into())));
            }
        }
        Ok(())
    }

    pub(in crate::store) fn delete(
        &mut self,
        column: Column,
        key: impl AsRef<[u8]>,
    ) -> Result<(), AppliedFault> {
        match self {
            Self::RocksDb(db, batch) => batch.delete_cf(handle(db, column)?, key),
            Self::Simulated(_, changes) => changes.push((column, Change::Delete(key.as_ref().into()))),
        }
        Ok(())
    }

    /// Deletes from `from` to before `to`.
    pub(in crate::store) fn delete_range(
        &mut self,
        column: Column,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), AppliedFault> {
        match self {
            Self::RocksDb(db, batch) => batch.delete_range_cf(handle(db, column)?, from, to),
            Self::Simulated(_, changes) => {
                changes.push((column, Change::DeleteRange(from.into(), to.into())));
            }
        }
        Ok(())
    }

    /// Writes the batch to the write-ahead log, unsynced.
    pub(in crate::store) fn write(self) -> Result<(), AppliedFault> {
        match self {
            Self::RocksDb(db, batch) => {
                let mut unsynced = WriteOptions::default();
                unsynced.set_sync(false);
                Ok(db.write_opt(batch, &unsynced)?)
            }
            Self::Simulated(tables, changes) => tables.write(changes).map_err(AppliedFault::Disk),
        }
    }
}

struct Folder {
    path: PathBuf,
    retired: AtomicBool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            // The next start removes it.
            tracing::warn!(path = %self.path.display(), %error, "a replaced folder could not be removed");
        }
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_atomic_flush(true);
    options.set_db_write_buffer_size(48 << 20);
    options.set_max_total_wal_size(128 << 20);
    options.set_max_background_jobs(2);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options.set_max_manifest_file_size(16 << 20);
    options
}

/// Hashes and signatures do not compress; the names in entries and records do, a little.
fn columns() -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(32 << 20);
    let descriptor = |column: Column| {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&cache);
        table.set_cache_index_and_filter_blocks(true);
        if matches!(column, Column::Nodes | Column::Summaries) {
            table.set_bloom_filter(10.0, false);
        }
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_size(16 << 20);
        options.set_compression_type(match column {
            Column::Entries => DBCompressionType::Lz4,
            _ => DBCompressionType::None,
        });
        ColumnFamilyDescriptor::new(column.name(), options)
    };
    Column::ALL.into_iter().map(descriptor).collect()
}
