//! The seam between the Raft log and the disk: an ordered map of bytes, changed in atomic, synced batches.

use rocksdb::{DB, Direction, IteratorMode, ReadOptions, WriteOptions};

use crate::store::fault::OpenError;

/// Key and value.
pub type Record = (Box<[u8]>, Box<[u8]>);

/// What the Raft log keeps its records in. Errors are for people: any of them ends the log store.
pub trait LogDisk: Send + Sync + 'static {
    /// The value at `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String>;

    /// The records from `from` on and before `to`, in the order of their keys.
    fn range<'a>(&'a self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Result<Record, String>> + 'a>;

    /// The last record from `from` on and before `to`.
    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<Record>, String>;

    /// Makes all changes in `batch`, or none, and returns when they are durable. After an error how much of
    /// it is durable is not known. Only a build that must fail asks for less than `sync`.
    fn write(&self, batch: LogBatch, sync: bool) -> Result<(), String>;
}

/// Where a node finds its disks.
pub trait Disks: Send + Sync + 'static {
    /// The Raft log's, in the folder at `path`; made if there is none. Blocks on the disk.
    fn open_log(&self, path: &std::path::Path) -> Result<Box<dyn LogDisk>, OpenError>;
}

/// Changes that are made together or not at all, in their order.
#[derive(Debug, Default)]
pub struct LogBatch {
    /// The changes.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Debug)]
pub enum Change {
    /// `key` has `value` from now on.
    Put(Box<[u8]>, Vec<u8>),
    /// `key` has no value.
    Delete(Box<[u8]>),
    /// Nor has any key from the first on and before the second.
    DeleteRange(Box<[u8]>, Box<[u8]>),
}

impl LogBatch {
    pub(super) fn put(&mut self, key: impl AsRef<[u8]>, value: Vec<u8>) {
        self.changes.push(Change::Put(key.as_ref().into(), value));
    }

    pub(super) fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.changes.push(Change::Delete(key.as_ref().into()));
    }

    pub(super) fn delete_range(&mut self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        self.changes.push(Change::DeleteRange(from.as_ref().into(), to.as_ref().into()));
    }
}

impl LogDisk for DB {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let found = self.get_pinned(key).map_err(rocksdb::Error::into_string)?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn range<'a>(&'a self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Result<Record, String>> + 'a> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        let records = self.iterator_opt(IteratorMode::From(from, Direction::Forward), options);
        Box::new(records.map(|record| record.map_err(rocksdb::Error::into_string)))
    }

    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<Record>, String> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let last = self.iterator_opt(IteratorMode::End, options).next();
        last.transpose().map_err(rocksdb::Error::into_string)
    }

    fn write(&self, batch: LogBatch, sync: bool) -> Result<(), String> {
        let mut changes = rocksdb::WriteBatch::default();
        for change in batch.changes {
            match change {
                Change::Put(key, value) => changes.put(key, value),
                Change::Delete(key) => changes.delete(key),
                Change::DeleteRange(from, to) => changes.delete_range(from, to),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.write_opt(changes, &options).map_err(rocksdb::Error::into_string)
    }
}
