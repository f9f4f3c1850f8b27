//! Reads the log for replication and application: from memory if it is recent, else from disk, off the
//! async workers.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, PoisonError};

use futures_util::{Stream, TryStreamExt, stream};
use openraft::storage::RaftLogReader;

use crate::raft::types::{Entry, TypeConfig, Vote};
use crate::store::fault::{LogError, LogFault};
use crate::store::log_index::entry_size_bytes;
use crate::store::raft_log::Core;
use crate::store::record;

/// A reader of the log. It sees every operation as soon as it is queued.
pub struct LogReader {
    core: Arc<Core>,
}

impl LogReader {
    pub(super) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.core.read(half_open(&range), usize::MAX).await?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.core.latch.check()?;
        Ok(self.core.index.lock().unwrap_or_else(PoisonError::into_inner).vote)
    }

    /// One AppendEntries request's worth.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        Ok(self.core.read(start..end, self.core.read_bytes_max).await?)
    }

    /// What is to be applied, in pieces: after a long absence it may be most of the log.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let pieces =
            stream::try_unfold((Arc::clone(&self.core), half_open(&range)), |(core, wanted)| async move {
                let entries = core.read(wanted.clone(), core.read_bytes_max).await?;
                let Some(last) = entries.last() else { return Ok::<_, io::Error>(None) };
                let rest = last.log_id.index.saturating_add(1)..wanted.end;
                Ok(Some((stream::iter(entries.into_iter().map(Ok)), (core, rest))))
            });
        Box::pin(pieces.try_flatten())
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl Core {
    /// What the log holds of `wanted` at one moment: all of it, or from its start about `bytes_max`, at
    /// least one entry.
    async fn read(self: &Arc<Self>, wanted: Range<u64>, bytes_max: usize) -> Result<Vec<Entry>, LogError> {
        loop {
            self.latch.check()?;
            let plan = self
                .index
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .plan_read(wanted.clone(), bytes_max);
            if plan.on_disk.is_empty() {
                return Ok(plan.cached);
            }
            let core = Arc::clone(self);
            let on_disk = plan.on_disk.clone();
            let read = crate::blocking::spawn(move || core.read_on_disk(on_disk, bytes_max))
                .await
                .map_err(|_| LogError::Closed)?;
            if !self.index.lock().unwrap_or_else(PoisonError::into_inner).is_current(plan.generation) {
                // The log was cut meanwhile, at either end: what was read may be neither.
                continue;
            }
            let mut entries = read.map_err(|fault| self.latch.trip(fault))?;
            let reached = entries.last().map(|last| last.log_id.index.saturating_add(1));
            if bytes_max == usize::MAX && reached == Some(plan.on_disk.end) {
                entries.extend(plan.cached);
            }
            return Ok(entries);
        }
    }

    /// The entries in `wanted`, all of which are on disk, up to about `bytes_max` of them.
    fn read_on_disk(&self, wanted: Range<u64>, bytes_max: usize) -> Result<Vec<Entry>, LogFault> {
        let records = self.disk.range(&record::entry_key(wanted.start), &record::entry_key(wanted.end));

        let mut entries = Vec::new();
        let mut left_bytes = bytes_max;
        for (index, found) in wanted.clone().zip(records) {
            let (key, value) = found.map_err(LogFault::Read)?;
            if record::entry_index(&key) != Some(index) {
                return Err(record::corrupt_entry(index, "no entry"));
            }
            let entry = record::decode_entry(index, &value)?;
            let size_bytes = entry_size_bytes(&entry);
            if !entries.is_empty() && size_bytes > left_bytes {
                return Ok(entries);
            }
            left_bytes = left_bytes.saturating_sub(size_bytes);
            entries.push(entry);
        }
        match entries.last() {
            Some(last) if last.log_id.index.checked_add(1) == Some(wanted.end) => Ok(entries),
            _ => Err(record::corrupt_entry(wanted.end.saturating_sub(1), "the log ends before it")),
        }
    }
}
