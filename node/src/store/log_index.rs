//! The log as Raft sees it, in memory: where it starts and ends, the vote, and its most recent entries.
//!
//! This view is ahead of the disk: it holds an operation as soon as that is queued, as Raft requires of
//! a read after an append. Entries that are not yet flushed are always cached, so an index below the
//! first cached one is on disk, and what the disk holds at an index at or above it is never looked at.

use std::collections::VecDeque;
use std::ops::Range;

use crate::raft::types::{Entry, LogId, Vote};
use crate::store::fault::LogFault;
use crate::store::raft_log::SignedHead;

/// What an entry costs in memory beside its block.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// The guarded state of the log in memory.
pub(super) struct LogIndex {
    /// The last purged entry.
    pub(super) purged: Option<LogId>,
    /// The last entry, or the last purged one if there is none.
    pub(super) last: Option<LogId>,
    /// The last durable vote.
    pub(super) vote: Option<Vote>,
    /// The last committed entry that Raft told of.
    pub(super) committed: Option<LogId>,
    /// The last durable signed head.
    pub(super) signed: Option<SignedHead>,
    /// The index of the first entry, if there is one.
    first: Option<u64>,
    /// Counts truncations and purges, so that a read of the disk notices one.
    generation: u64,
    recent: VecDeque<Recent>,
    recent_bytes: usize,
    recent_bytes_max: usize,
    /// The sequence number of the last append queued, and of the last one flushed.
    queued: u64,
    flushed: u64,
}

struct Recent {
    entry: Entry,
    size_bytes: usize,
    append: u64,
}

/// How to read a range: first from disk, then these.
pub(super) struct ReadPlan {
    /// What the disk has to give, whole. Empty if the cache had it all.
    pub(super) on_disk: Range<u64>,
    /// The entries after it.
    pub(super) cached: Vec<Entry>,
    /// The state of the log that this plan is for.
    pub(super) generation: u64,
}

impl LogIndex {
    pub(super) fn new(
        first: Option<u64>,
        purged: Option<LogId>,
        last: Option<LogId>,
        recent_bytes_max: usize,
    ) -> Self {
        Self {
            purged,
            last,
            vote: None,
            committed: None,
            signed: None,
            first,
            generation: 0,
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_bytes_max,
            queued: 0,
            flushed: 0,
        }
    }

    /// Takes in entries that are being queued; returns the append's sequence number. The first entry
    /// ever may have any index, every other follows the one before it.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<u64, LogFault> {
        self.queued += 1;
        for entry in entries {
            let next = entry.log_id;
            let follows = self.last.is_none_or(|last| {
                last.index.checked_add(1) == Some(next.index) && last.leader_id <= next.leader_id
            });
            if !follows {
                return Err(LogFault::Order { last: self.last, next });
            }
            self.last = Some(next);
            self.first.get_or_insert(next.index);
            let size_bytes = entry_size_bytes(entry);
            self.recent_bytes += size_bytes;
            self.recent.push_back(Recent { entry: entry.clone(), size_bytes, append: self.queued });
        }
        Ok(self.queued)
    }

    /// All appends up to the `append`th are durable; entries of theirs may leave memory.
    pub(super) fn mark_flushed(&mut self, append: u64) {
        self.flushed = self.flushed.max(append);
        while self.recent_bytes > self.recent_bytes_max
            && self.recent.front().is_some_and(|oldest| oldest.append <= self.flushed)
        {
            self.drop_oldest();
        }
    }

    /// The log now ends at `after`, which is at or before its present end.
    pub(super) fn truncate_after(&mut self, after: Option<LogId>) {
        self.generation += 1;
        let keep = |index: u64| after.is_some_and(|after| index <= after.index);
        let kept = self.recent.partition_point(|recent| keep(recent.entry.log_id.index));
        for newer in self.recent.drain(kept..) {
            self.recent_bytes -= newer.size_bytes;
        }
        self.first = self.first.filter(|first| keep(*first));
        self.last = after;
    }

    /// Everything up to `upto` is purged.
    pub(super) fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        self.generation += 1;
        self.purged = Some(upto);
        while self.recent.front().is_some_and(|oldest| oldest.entry.log_id.index <= upto.index) {
            self.drop_oldest();
        }
        if self.last.is_none_or(|last| last.index <= upto.index) {
            self.last = Some(upto);
            self.first = None;
        } else {
            self.first = self.first.map(|first| first.max(upto.index.saturating_add(1)));
        }
    }

    /// Nothing is left of the log, which was superseded up to `purged`.
    pub(super) fn drop_all(&mut self, purged: LogId) {
        self.truncate_after(None);
        self.purged = Some(purged);
        self.last = Some(purged);
        self.committed = None;
    }

    /// How to read what the log holds of `wanted`, at least one entry, and little more than
    /// `bytes_max` of them from memory.
    pub(super) fn plan_read(&self, wanted: Range<u64>, bytes_max: usize) -> ReadPlan {
        let generation = self.generation;
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return ReadPlan { on_disk: 0..0, cached: Vec::new(), generation };
        };
        let start = wanted.start.max(first);
        let end = wanted.end.min(last.index.saturating_add(1)).max(start);
        let cached_from =
            self.recent.front().map_or(last.index.saturating_add(1), |oldest| oldest.entry.log_id.index);
        let on_disk = start..end.min(cached_from).max(start);

        let mut left_bytes = bytes_max;
        let skip = usize::try_from(on_disk.end.saturating_sub(cached_from)).unwrap_or(usize::MAX);
        let cached = self
            .recent
            .iter()
            .skip(skip)
            .take_while(|recent| recent.entry.log_id.index < end)
            .enumerate()
            .take_while(|(at, recent)| {
                let fits = *at == 0 || recent.size_bytes <= left_bytes;
                left_bytes = left_bytes.saturating_sub(recent.size_bytes);
                fits
            })
            .map(|(_, recent)| recent.entry.clone())
            .collect();
        ReadPlan { on_disk, cached, generation }
    }

    /// Whether a plan of this generation still holds.
    pub(super) const fn is_current(&self, generation: u64) -> bool {
        self.generation == generation
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.recent.pop_front() {
            self.recent_bytes -= oldest.size_bytes;
        }
    }
}

/// About what an entry takes, in memory and on disk.
pub(super) fn entry_size_bytes(entry: &Entry) -> usize {
    ENTRY_OVERHEAD_BYTES + entry.payload.block().map_or(0, |block| block.bytes().len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::raft::types::{Payload, log_id};

    fn entries(term: u64, indices: Range<u64>) -> Vec<Entry> {
        let block = || Some(vec![0; 744].into());
        indices.map(|i| Entry { log_id: log_id(term, i), payload: Payload::new(block(), None) }).collect()
    }

    fn planned(index: &LogIndex, wanted: Range<u64>, bytes_max: usize) -> (Range<u64>, Vec<u64>) {
        let plan = index.plan_read(wanted, bytes_max);
        (plan.on_disk, plan.cached.iter().map(|entry| entry.log_id.index).collect())
    }

    #[test]
    fn only_flushed_entries_leave_memory() {
        let mut index = LogIndex::new(None, None, None, 3000);
        let first = index.append(&entries(1, 0..4)).unwrap();
        let second = index.append(&entries(1, 4..10)).unwrap();
        assert_eq!(planned(&index, 0..10, usize::MAX), (0..0, (0..10).collect()));
        index.mark_flushed(first);
        assert_eq!(planned(&index, 0..10, usize::MAX), (0..4, (4..10).collect()));
        index.mark_flushed(second);
        assert_eq!(planned(&index, 2..9, usize::MAX), (2..7, vec![7, 8]));
        assert_eq!(planned(&index, 8..100, usize::MAX), (8..8, vec![8, 9]));
        assert_eq!(planned(&index, 20..30, usize::MAX), (20..20, vec![]));
    }

    #[test]
    fn reads_are_bounded_but_never_empty() {
        let mut index = LogIndex::new(None, None, None, usize::MAX);
        index.append(&entries(1, 0..10)).unwrap();
        assert_eq!(planned(&index, 3..10, 2500).1, vec![3, 4]);
        assert_eq!(planned(&index, 3..10, 1).1, vec![3]);
    }

    #[test]
    fn what_replaces_a_truncated_entry_is_never_read_from_disk() {
        let mut index = LogIndex::new(None, None, None, 0);
        let appended = index.append(&entries(1, 0..10)).unwrap();
        index.mark_flushed(appended);
        let before = index.plan_read(0..10, usize::MAX).generation;
        index.truncate_after(Some(log_id(1, 5)));
        assert!(!index.is_current(before));
        index.append(&entries(2, 6..8)).unwrap();
        // A late report of an older flush does not cover the new entries.
        index.mark_flushed(appended);
        assert_eq!(planned(&index, 0..10, usize::MAX), (0..6, vec![6, 7]));
    }

    #[test]
    fn order_is_checked() {
        let mut index = LogIndex::new(None, None, None, 0);
        index.append(&entries(3, 5..6)).unwrap();
        for next in [entries(3, 5..6), entries(3, 7..8), entries(2, 6..7)] {
            assert!(matches!(index.append(&next), Err(LogFault::Order { .. })));
        }
    }

    #[test]
    fn purge_within_at_and_beyond_the_end() {
        let mut index = LogIndex::new(None, None, None, usize::MAX);
        index.append(&entries(1, 0..10)).unwrap();
        index.purge(log_id(1, 3));
        index.purge(log_id(1, 2));
        assert_eq!(planned(&index, 0..10, usize::MAX), (4..4, (4..10).collect()));
        index.purge(log_id(2, 20));
        assert_eq!((index.purged, index.last), (Some(log_id(2, 20)), Some(log_id(2, 20))));
        assert_eq!(planned(&index, 0..30, usize::MAX).1, Vec::<u64>::new());
        index.append(&entries(2, 21..22)).unwrap();
        assert_eq!(planned(&index, 0..30, usize::MAX), (21..21, vec![21]));
    }
}
