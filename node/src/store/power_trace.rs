//! For harnesses that cut the power: how much of `raft/` is certain to outlast it.
//!
//! A kill leaves what the kernel has; only a power cut takes what was not synced. So that a harness can take it,
//! the file that the variable `CHANCERY_POWER_TRACE` names holds one line of [`LINE_BYTES`]: the write-ahead log
//! that is written to, and how many of its bytes are synced. It is rewritten in place after the store was opened
//! and after each sync, before anything that the sync made durable is answered.
//!
//! What a power cut may do then: anything to the bytes of that log after the synced ones, anything to logs of a
//! higher number (a start that did not come to its end made them), and nothing else. RocksDB starts a new log
//! with a batch, never between two, so the one before it is synced whole; it is removed once its contents are
//! in a table.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rocksdb::DB;

use crate::store::disk::{LogBatch, LogDisk, Record};
use crate::store::fault::OpenError;

/// The variable that names the file.
const VARIABLE: &str = "CHANCERY_POWER_TRACE";

/// The line's size: the name, filled up with blanks, a blank, the size, filled up on its left, and a line feed.
/// Within one page, so that a kill leaves the old line or the new one.
const LINE_BYTES: usize = 64;

/// The store's database, which tells what is synced of it.
pub(super) struct TracedDisk {
    disk: DB,
    trace: PowerTrace,
}

impl TracedDisk {
    /// The database in the folder at `path`.
    pub(super) fn new(disk: DB, path: &Path) -> Result<Self, OpenError> {
        Ok(Self { disk, trace: PowerTrace::from_environment(path)? })
    }
}

impl LogDisk for TracedDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        LogDisk::get(&self.disk, key)
    }

    fn range<'a>(&'a self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Result<Record, String>> + 'a> {
        self.disk.range(from, to)
    }

    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<Record>, String> {
        self.disk.last_in(from, to)
    }

    fn write(&self, batch: LogBatch, sync: bool) -> Result<(), String> {
        LogDisk::write(&self.disk, batch, sync)?;
        self.trace.written(sync).map_err(|error| error.to_string())
    }
}

/// Tells, if it is to, what is synced of the store in one folder.
struct PowerTrace(Option<Traced>);

struct Traced {
    store: PathBuf,
    file: File,
}

impl PowerTrace {
    /// Of the store at `store`, which is open, as the environment asks for.
    fn from_environment(store: &Path) -> Result<Self, OpenError> {
        let Some(path) = std::env::var_os(VARIABLE) else { return Ok(Self(None)) };
        Self::into_file(store, Path::new(&path)).map_err(|error| OpenError::Disk(error.to_string()))
    }

    fn into_file(store: &Path, path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).write(true).truncate(false).open(path)?;
        let trace = Self(Some(Traced { store: store.to_owned(), file }));
        trace.written(true)?;
        Ok(trace)
    }

    /// A batch was written, and unless this is a build that must fail all that was written so far is synced.
    /// Called by the store's one writer only.
    fn written(&self, synced: bool) -> io::Result<()> {
        let Some(Traced { store, file }) = self.0.as_ref().filter(|_| synced) else { return Ok(()) };
        let (name, size_bytes) = newest_wal(store)?;
        let line = format!("{name:<41} {size_bytes:>21}\n");
        assert_eq!(line.len(), LINE_BYTES, "no line leaves a part of a longer one");
        file.write_all_at(line.as_bytes(), 0)
    }
}

/// The write-ahead log of the highest number, and its size in bytes.
fn newest_wal(store: &Path) -> io::Result<(String, u64)> {
    let mut newest: Option<(u64, String)> = None;
    for found in fs::read_dir(store)? {
        let name = found?.file_name().to_string_lossy().into_owned();
        let number = name.strip_suffix(".log").and_then(|number| number.parse().ok());
        if let Some(number) = number
            && newest.as_ref().is_none_or(|(newest, _)| *newest < number)
        {
            newest = Some((number, name));
        }
    }
    let (_, name) = newest.ok_or_else(|| io::Error::other("the store has no write-ahead log"))?;
    let size_bytes = fs::metadata(store.join(&name))?.len();
    Ok((name, size_bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::store::database;
    use crate::store::torn_tail::BatchNumber;

    /// Writes so many batches of 2 MiB, of which the last is not synced, then cuts the power. Returns the number of
    /// the last batch that is there after it, and how often the log had changed.
    fn batches_after_a_cut(count: u64) -> (u64, usize) {
        let (folder, traces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = traces.path().join("power");
        let db = database::open(folder.path()).unwrap();
        let trace = PowerTrace::into_file(folder.path(), &path).unwrap();
        let mut number = BatchNumber::last_in(&db).unwrap();
        let mut names = vec![newest_wal(folder.path()).unwrap().0];
        for last in (0..count).map(|written| written + 1 == count) {
            number = number.next();
            let mut batch = LogBatch::default();
            number.mark(&mut batch);
            batch.put(number.number.to_be_bytes(), vec![0xAB; 2 << 20]);
            LogDisk::write(&db, batch, !last).unwrap();
            trace.written(!last).unwrap();
            names.push(newest_wal(folder.path()).unwrap().0);
        }
        drop(db);
        names.dedup();

        let line = fs::read_to_string(&path).unwrap();
        assert_eq!(line.len(), LINE_BYTES);
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (traced, synced_bytes): (&str, u64) = (fields[0], fields[1].parse().unwrap());
        let (newest, size_bytes) = newest_wal(folder.path()).unwrap();
        assert!(newest != traced || size_bytes > synced_bytes, "there is something to cut");
        let log = File::options().write(true).open(folder.path().join(&newest)).unwrap();
        log.set_len(if newest == traced { synced_bytes } else { 0 }).unwrap();
        let reopened = database::open(folder.path()).unwrap();
        (BatchNumber::last_in(&reopened).unwrap().number, names.len() - 1)
    }

    #[test]
    fn a_cut_to_what_is_traced_leaves_each_synced_batch_and_not_the_other() {
        let mut changes = 0;
        // A memtable holds less than eight: the log changes in between, and with the last batch.
        for count in [1, 2, 7, 8, 9, 10, 25] {
            let (last, changed) = batches_after_a_cut(count);
            assert_eq!(last, count - 1, "of {count} batches, and {changed} changes of the log");
            changes += changed;
        }
        assert!(changes > 2, "the log changes: {changes}");
    }
}
