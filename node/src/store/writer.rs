//! The one thread that writes the log.
//!
//! Operations come over a bounded channel and are carried out in their order. The thread takes what is
//! waiting, stages it into one batch, writes and syncs that, moves the [`Tail`](super::Tail), and only
//! then answers: nothing is acknowledged before the sync, and the tail advances before Raft hears of a
//! flush. A fault in any operation of a batch fails the whole batch unwritten and every later
//! operation with it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use openraft::storage::IOFlushed;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::sleep;

use crate::raft::types::{Entry, LogId, TypeConfig, Vote};
use crate::sabotage;
use crate::store::disk::LogBatch;
use crate::store::fault::{LogError, LogFault};
use crate::store::raft_log::{Core, SignedHead};
use crate::store::record;
use crate::store::tail::Position;
use crate::store::torn_tail::BatchNumber;

/// At most this many operations share a batch, so that the first of them is not kept waiting.
const BATCH_OPS_MAX: usize = 256;

/// How an operation is answered.
pub(super) type Done = oneshot::Sender<Result<(), LogError>>;

/// What the writer is asked to do.
pub(super) enum Op {
    /// Append `entries`, the `append`th such operation. The permit bounds what is queued.
    Append { entries: Vec<Entry>, append: u64, done: IOFlushed<TypeConfig>, permit: OwnedSemaphorePermit },
    /// Remove everything after an entry.
    Truncate { after: Option<LogId>, done: Done },
    /// Remove everything up to an entry.
    Purge { upto: LogId, done: Done },
    /// Remove everything: it is superseded up to `purged`.
    DropAll { purged: LogId, position: Position, done: Done },
    /// Save a vote.
    Vote { vote: Vote, done: Done },
    /// Save the last signed head.
    Signed { signed: SignedHead, done: Done },
    /// Save the committed entry with the next batch, whenever that is.
    Committed { committed: Option<LogId> },
}

impl Op {
    fn answer(self, result: &Result<(), LogError>) {
        match self {
            Self::Append { done, permit, .. } => {
                done.io_completed(result.clone().map_err(io::Error::from));
                drop(permit);
            }
            Self::Truncate { done, .. }
            | Self::Purge { done, .. }
            | Self::DropAll { done, .. }
            | Self::Vote { done, .. }
            | Self::Signed { done, .. } => {
                // Nobody may be waiting any more.
                let _ = done.send(result.clone());
            }
            Self::Committed { .. } => {}
        }
    }
}

/// Where the log durably stands.
#[derive(Clone, Copy)]
pub(super) struct LogEnd {
    /// The last purged entry and its position.
    pub(super) purged: Option<(LogId, Position)>,
    /// The last entry, or the last purged one.
    pub(super) last: Option<LogId>,
    /// The position there.
    pub(super) position: Position,
}

/// The writer: owns all writes to the database.
pub(super) struct Writer {
    core: Arc<Core>,
    ops: mpsc::Receiver<Op>,
    end: LogEnd,
    /// Waits for a batch to ride in.
    committed: Option<Option<LogId>>,
    /// What was known to be committed when the last batch was written: never to be truncated.
    settled: Option<LogId>,
    /// The number of the last batch written.
    batch: BatchNumber,
}

impl Writer {
    pub(super) const fn new(
        core: Arc<Core>,
        ops: mpsc::Receiver<Op>,
        end: LogEnd,
        settled: Option<LogId>,
        batch: BatchNumber,
    ) -> Self {
        Self { core, ops, end, committed: None, settled, batch }
    }

    /// Runs until every handle of the store is dropped. Whatever was queued then is still written.
    pub(super) fn run(mut self) {
        while let Some(op) = self.ops.blocking_recv() {
            self.carry_out_with(op);
        }
        self.finish();
    }

    /// The same, as a task of a runtime that blocks on nothing: each batch is written `takes` after its
    /// first operation came.
    pub(super) async fn run_simulated(mut self, takes: fn() -> Duration) {
        while let Some(op) = self.ops.recv().await {
            sleep(takes()).await;
            self.carry_out_with(op);
        }
        self.finish();
    }

    fn finish(&mut self) {
        if self.committed.is_some() && self.core.latch.check().is_ok() {
            // Only a hint for the next start: losing it costs nothing but time then.
            let _ = self.write_and_publish(&[]);
        }
    }

    /// `op`, and what waits behind it.
    fn carry_out_with(&mut self, op: Op) {
        let mut ops = vec![op];
        while ops.len() < BATCH_OPS_MAX
            && let Ok(op) = self.ops.try_recv()
        {
            ops.push(op);
        }
        self.carry_out(ops);
    }

    fn carry_out(&mut self, ops: Vec<Op>) {
        let mut unanswered = Unanswered { core: Arc::clone(&self.core), ops: Vec::with_capacity(ops.len()) };
        for op in ops {
            match op {
                Op::Committed { committed } => self.committed = Some(committed),
                op => unanswered.ops.push(op),
            }
        }
        if unanswered.ops.is_empty() {
            return;
        }
        let result = self.core.latch.check().and_then(|()| {
            self.write_and_publish(&unanswered.ops).map_err(|fault| self.core.latch.trip(fault))
        });
        for op in unanswered.ops.drain(..) {
            op.answer(&result);
        }
    }

    fn write_and_publish(&mut self, ops: &[Op]) -> Result<(), LogFault> {
        let number = self.batch.next();
        let mut staged = Staged::from(self);
        number.mark(&mut staged.batch);
        for op in ops {
            staged.stage(op)?;
        }
        if let Some(committed) = self.committed {
            match committed {
                Some(committed) => {
                    staged.batch.put(record::COMMITTED, record::encode_log_id(committed));
                }
                None => staged.batch.delete(record::COMMITTED),
            }
        }
        number.mark(&mut staged.batch);
        let Staged { batch, end, append, vote, signed, dropped_all, .. } = staged;
        let votes = ops.iter().filter(|op| matches!(op, Op::Vote { .. })).count();
        self.write(batch, sabotage::syncs(votes, ops.len()))?;
        self.batch = number;
        self.end = end;
        if let Some(Some(committed)) = self.committed.take() {
            self.settled = self.settled.max(Some(committed));
        }
        if dropped_all.is_some() {
            self.settled = None;
        }

        let mut tail = self.core.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.set_log(end.last, end.position);
        if let Some((purged, position)) = end.purged {
            tail.raise_floor(&position);
            tail.forget_anchors(purged.index);
        }
        drop(tail);

        let mut index = self.core.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.mark_flushed(append);
        index.vote = vote;
        index.signed = signed;
        if let Some(purged) = dropped_all {
            index.drop_all(purged);
        }
        drop(index);

        self.core.flushed.send_replace(end.last);
        fail::fail_point!("raft-log-before-answers", |_| Err(LogFault::WriterGone));
        Ok(())
    }

    /// The one write to the disk, and its sync.
    fn write(&self, batch: LogBatch, sync: bool) -> Result<(), LogFault> {
        fail::fail_point!("raft-log-before-write", |reason| Err(injected(reason)));
        self.core.disk.write(batch, sync).map_err(LogFault::Write)?;
        fail::fail_point!("raft-log-after-sync", |reason| Err(injected(reason)));
        Ok(())
    }
}

/// A batch in the making, and what will be true once it is durable.
struct Staged<'a> {
    core: &'a Core,
    batch: LogBatch,
    end: LogEnd,
    /// The entries that this batch adds.
    added: BTreeMap<u64, (LogId, Position)>,
    append: u64,
    vote: Option<Vote>,
    signed: Option<SignedHead>,
    dropped_all: Option<LogId>,
    settled: Option<LogId>,
}

impl<'a> Staged<'a> {
    fn from(writer: &'a Writer) -> Self {
        let index = writer.core.index.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            core: &writer.core,
            batch: LogBatch::default(),
            end: writer.end,
            added: BTreeMap::new(),
            append: 0,
            vote: index.vote,
            signed: index.signed,
            dropped_all: None,
            settled: writer.settled,
        }
    }

    fn stage(&mut self, op: &Op) -> Result<(), LogFault> {
        match op {
            Op::Append { entries, append, .. } => {
                self.append = *append;
                entries.iter().try_for_each(|entry| self.append(entry))
            }
            Op::Truncate { after, .. } => self.truncate(*after),
            Op::Purge { upto, .. } => self.purge(*upto),
            Op::DropAll { purged, position, .. } => {
                self.drop_all(*purged, *position);
                Ok(())
            }
            Op::Vote { vote, .. } => self.save_vote(*vote),
            Op::Signed { signed, .. } => {
                self.keep_signed(*signed);
                Ok(())
            }
            Op::Committed { .. } => Ok(()),
        }
    }

    /// What follows from the longest signed log shows the shorter ones too: the record never goes back.
    fn keep_signed(&mut self, signed: SignedHead) {
        if self.signed.is_none_or(|kept| kept.size <= signed.size) {
            self.signed = Some(signed);
            self.batch.put(record::SIGNED, record::encode_signed(signed));
        }
    }

    fn append(&mut self, entry: &Entry) -> Result<(), LogFault> {
        let log_id = entry.log_id;
        let position = self.end.position.after(log_id.index, &entry.payload, &*self.core.format)?;
        self.batch.put(record::entry_key(log_id.index), record::encode_entry(entry, &position)?);
        self.added.insert(log_id.index, (log_id, position));
        self.end.last = Some(log_id);
        self.end.position = position;
        Ok(())
    }

    fn truncate(&mut self, after: Option<LogId>) -> Result<(), LogFault> {
        let refused = |reason| LogFault::Truncate { after, reason };
        let Some(last) = self.end.last else { return Ok(()) };
        if let Some(settled) = self.settled
            && after.is_none_or(|after| after.index < settled.index)
        {
            return Err(refused("entries after it are committed"));
        }
        let position = match (after, self.end.purged) {
            (Some(after), _) if after.index > last.index => return Ok(()),
            (None, Some(_)) => return Err(refused("entries are purged")),
            (None, None) => self.core.genesis,
            (Some(after), Some((purged, position))) if after == purged => position,
            (Some(after), Some((purged, _))) if after.index <= purged.index => {
                return Err(refused("it is purged"));
            }
            (Some(after), _) => match self.entry_at(after.index)? {
                Some((log_id, position)) if log_id == after => position,
                Some(_) => return Err(refused("the log holds another entry there")),
                None => return Err(refused("the log holds no entry there")),
            },
        };
        let removed_from = after.map_or(0, |after| after.index.saturating_add(1));
        self.batch.delete_range(&record::entry_key(removed_from)[..], record::ENTRIES_END);
        self.added.split_off(&removed_from);
        self.end.last = after;
        self.end.position = position;
        Ok(())
    }

    fn purge(&mut self, upto: LogId) -> Result<(), LogFault> {
        let refused = |reason| LogFault::Purge { upto, reason };
        match self.end.purged {
            Some((purged, _)) if purged.index == upto.index && purged != upto => {
                return Err(refused("another entry is purged at that index"));
            }
            Some((purged, _)) if purged.index >= upto.index => return Ok(()),
            _ => {}
        }
        let anchored = || self.core.tail.lock().unwrap_or_else(PoisonError::into_inner).anchored(upto);
        let position = match self.entry_at(upto.index)? {
            Some((log_id, position)) if log_id == upto => position,
            Some(_) => return Err(refused("the log holds another entry there")),
            None => anchored().ok_or_else(|| refused("no registered snapshot ends there"))?,
        };
        let kept_from = upto.index.saturating_add(1);
        self.batch.delete_range(record::entry_key(0), record::entry_key(kept_from));
        self.batch.put(record::PURGED, record::encode_purged(upto, &position));
        self.added = self.added.split_off(&kept_from);
        self.end.purged = Some((upto, position));
        if self.end.last.is_none_or(|last| last.index <= upto.index) {
            self.end.last = Some(upto);
            self.end.position = position;
        }
        Ok(())
    }

    fn drop_all(&mut self, purged: LogId, position: Position) {
        self.batch.delete_range(&record::entry_key(0)[..], record::ENTRIES_END);
        self.batch.put(record::PURGED, record::encode_purged(purged, &position));
        self.batch.delete(record::COMMITTED);
        self.added.clear();
        self.end = LogEnd { purged: Some((purged, position)), last: Some(purged), position };
        self.dropped_all = Some(purged);
    }

    fn save_vote(&mut self, vote: Vote) -> Result<(), LogFault> {
        if let Some(saved) = self.vote
            && vote.partial_cmp(&saved).is_none_or(Ordering::is_lt)
        {
            return Err(LogFault::Vote { saved, next: vote });
        }
        self.vote = Some(vote);
        self.batch.put(record::VOTE, record::encode_vote(&vote));
        Ok(())
    }

    /// The entry at `index`, if it is in the log as staged so far.
    fn entry_at(&self, index: u64) -> Result<Option<(LogId, Position)>, LogFault> {
        if self.end.last.is_none_or(|last| index > last.index) {
            return Ok(None);
        }
        match self.added.get(&index) {
            Some(added) => Ok(Some(*added)),
            None => self.core.entry_on_disk(index),
        }
    }
}

/// A batch's operations. If the writer panics over them the store is dead, and then they are told so.
struct Unanswered {
    core: Arc<Core>,
    ops: Vec<Op>,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        fail_all(&self.core, self.ops.drain(..));
    }
}

impl Drop for Writer {
    /// What waits behind a batch that the writer panicked over fails with it.
    fn drop(&mut self) {
        self.ops.close();
        fail_all(&self.core, std::iter::from_fn(|| self.ops.try_recv().ok()));
    }
}

/// Answers operations that nobody is left to carry out, if there are any.
fn fail_all(core: &Core, ops: impl Iterator<Item = Op>) {
    for op in ops {
        op.answer(&Err(core.latch.trip(LogFault::WriterGone)));
    }
}

#[cfg(feature = "failpoints")]
fn injected(reason: Option<String>) -> LogFault {
    LogFault::Write(reason.unwrap_or_default())
}
