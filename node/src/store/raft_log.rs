//! The Raft log store: what Raft calls, and what the rest of the node asks of the log.
//!
//! Contract: an operation is answered only when it is durable. The first fault is the last: after it
//! every operation fails with it, no statement can be read off the tail, and [`RaftLog::fault`] tells
//! the node to stop. Appends are queued and seen by readers at once; their flush is reported by
//! callback. No call here blocks a tokio worker on the disk, except [`RaftLog::open`] and the drop of
//! the last handle, which waits for the writer.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use chancery_ledger::hash::Hash;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::blocking;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};
use crate::sabotage;
use crate::store::database::{self, RocksDbDisks};
use crate::store::disk::{Disks as _, LogDisk};
use crate::store::fault::{Latch, LogError, LogFault, OpenError};
use crate::store::log_index::{LogIndex, entry_size_bytes};
use crate::store::reader::LogReader;
use crate::store::reconcile::{Reconciliation, Refusal, reconcile};
use crate::store::record;
use crate::store::tail::{BlockFormat, Genesis, Position, Tail, TailState};
use crate::store::writer::{Done, Op, Writer};

/// The bounds of a [`RaftLog`].
#[derive(Clone, Copy, Debug)]
pub struct RaftLogOptions {
    /// Flushed entries are kept in memory up to this size.
    pub cached_bytes_max: usize,
    /// Entries wait to be flushed up to this size; then appends wait.
    pub queued_bytes_max: usize,
    /// Other operations and appends wait up to this number.
    pub queued_ops_max: usize,
    /// A read for one AppendEntries request stops after this size (but gives at least one entry).
    pub read_bytes_max: usize,
}

impl Default for RaftLogOptions {
    fn default() -> Self {
        Self {
            cached_bytes_max: 16 << 20,
            queued_bytes_max: 64 << 20,
            queued_ops_max: 1024,
            read_bytes_max: 1 << 20,
        }
    }
}

/// The head that this node last signed: it must be re-derivable after every start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// The size of the transparency log.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

/// A handle to the store. The store closes when the last one is dropped.
#[derive(Clone)]
pub struct RaftLog {
    core: Arc<Core>,
    writer: Arc<WriterHandle>,
    queue_room: Arc<Semaphore>,
    queue_units_max: u32,
    boot_epoch: u64,
}

/// What the handles, the readers and the writer share.
pub(super) struct Core {
    pub(super) disk: Box<dyn LogDisk>,
    pub(super) format: Arc<dyn BlockFormat>,
    pub(super) genesis: Position,
    pub(super) latch: Latch,
    /// What statements are read off. Never locked while `index` is.
    pub(super) tail: Mutex<TailState>,
    /// What Raft reads. Never locked while `tail` is.
    pub(super) index: Mutex<LogIndex>,
    /// The last entry that is durable.
    pub(super) flushed: watch::Sender<Option<LogId>>,
    pub(super) read_bytes_max: usize,
}

/// The sender to the writer thread, which ends when this is dropped, and is waited for.
struct WriterHandle {
    ops: Option<mpsc::Sender<Op>>,
    thread: Option<JoinHandle<()>>,
}

/// What the room in the queue is counted in.
const QUEUE_UNIT_BYTES: usize = 1024;

impl RaftLog {
    /// Opens the store in the folder at `path`, or makes it, and takes a new boot epoch. Blocks on the
    /// disk. The tail starts from the log alone: before anything is stated of it, raise its floor with
    /// [`reconcile`](Self::reconcile) and [`register_snapshot`](Self::register_snapshot).
    pub fn open(
        path: &Path,
        genesis: &Genesis,
        format: Arc<dyn BlockFormat>,
        options: RaftLogOptions,
    ) -> Result<Self, OpenError> {
        Self::open_on(RocksDbDisks.open_log(path)?, genesis, format, options)
    }

    /// The same, on a disk that is open.
    pub fn open_on(
        disk: Box<dyn LogDisk>,
        genesis: &Genesis,
        format: Arc<dyn BlockFormat>,
        options: RaftLogOptions,
    ) -> Result<Self, OpenError> {
        let genesis = genesis.position();
        let (boot_epoch, batch) = database::take_boot_epoch(&*disk, &genesis)?;
        let found = database::load(&*disk, &genesis)?;
        let end = found.end;

        let purged = end.purged.map(|(purged, _)| purged);
        let mut index = LogIndex::new(found.first, purged, end.last, options.cached_bytes_max);
        index.vote = found.vote;
        index.committed = found.committed;
        index.signed = found.signed;
        let committed = end.purged.map_or(genesis, |(_, position)| position);
        let core = Arc::new(Core {
            disk,
            format,
            genesis,
            latch: Latch::new(),
            tail: Mutex::new(TailState::new(end.last, end.position, committed)),
            index: Mutex::new(index),
            flushed: watch::Sender::new(end.last),
            read_bytes_max: options.read_bytes_max,
        });

        let (ops, queue) = mpsc::channel(options.queued_ops_max.max(1));
        let writer = Writer::new(Arc::clone(&core), queue, end, found.committed, batch);
        let thread = match blocking::simulated() {
            Some(takes) => {
                tokio::spawn(writer.run_simulated(takes));
                None
            }
            None => {
                let thread = std::thread::Builder::new().name("raft-log".to_owned());
                let thread = thread.spawn(move || writer.run());
                Some(thread.map_err(|error| OpenError::Thread(error.to_string()))?)
            }
        };
        let queue_units_max = queue_units(options.queued_bytes_max);
        Ok(Self {
            core,
            writer: Arc::new(WriterHandle { ops: Some(ops), thread }),
            queue_room: Arc::new(Semaphore::new(queue_units_max as usize)),
            queue_units_max,
            boot_epoch,
        })
    }

    /// Runs `read` under the log's lock, so that what it reads off the tail and what it does with it
    /// (take the head, allocate a statement number) are one step. Fails if the store is dead.
    pub fn read_tail_with<T>(&self, read: impl FnOnce(&Tail) -> T) -> Result<T, LogError> {
        let tail = self.core.tail.lock().unwrap_or_else(PoisonError::into_inner);
        self.core.latch.check()?;
        Ok(read(&tail.tail()))
    }

    /// The hash of the last block in the log, if that durably ends at `at`.
    pub fn block_hash_at_end(&self, at: Option<LogId>) -> Option<Hash> {
        self.core.tail.lock().unwrap_or_else(PoisonError::into_inner).block_hash_at_end(at)
    }

    /// State at `applied` was applied from the log, or restored: tail and roster never fall below it.
    pub fn raise_floor(&self, applied: &Position) {
        self.core.tail.lock().unwrap_or_else(PoisonError::into_inner).raise_floor(applied);
    }

    /// A snapshot that ends at `log_id` is durable and registered as current. To be called before the
    /// snapshot is handed to Raft, which purges the log up to `log_id`; without this that purge is
    /// refused, because the log could not go on counting after it.
    pub fn register_snapshot(&self, log_id: LogId, position: Position) {
        self.core.tail.lock().unwrap_or_else(PoisonError::into_inner).anchor(log_id, position);
    }

    /// Grows by one with each opening; the high half of statement numbers.
    pub const fn boot_epoch(&self) -> u64 {
        self.boot_epoch
    }

    /// The head that was last recorded as signed, durably.
    pub fn last_signed(&self) -> Option<SignedHead> {
        self.core.index.lock().unwrap_or_else(PoisonError::into_inner).signed
    }

    /// Records that `signed` was signed, unless a longer log is on record. It rides in the next batch, and one
    /// is made if none waits; returns when it is durable. A cosignature may go out only then.
    pub async fn record_signed(&self, signed: SignedHead) -> Result<(), LogError> {
        self.request(|done| Op::Signed { signed, done }, |_| ()).await
    }

    /// Waits until this node's own log is durable up to `log_id`. Raft may hand out an entry for
    /// application before that; it is to be applied only after.
    pub async fn wait_flushed(&self, log_id: LogId) -> Result<(), LogError> {
        let mut flushed = self.core.flushed.subscribe();
        let mut fault = self.core.latch.watch();
        tokio::select! {
            biased;
            _ = fault.wait_for(Option::is_some) => self.core.latch.check(),
            reached = flushed.wait_for(|flushed| flushed.is_some_and(|flushed| flushed >= log_id)) => {
                reached.map(|_| ()).map_err(|_| LogError::Closed)
            }
        }
    }

    /// Why the store is dead, once it is. The node is to be stopped then.
    pub fn fault(&self) -> watch::Receiver<Option<Arc<LogFault>>> {
        self.core.latch.watch()
    }

    /// The id and position of the entry at `index`: durable ones only, and the last purged one. Blocks
    /// on the disk.
    pub fn position_at(&self, index: u64) -> Result<Option<(LogId, Position)>, LogError> {
        self.core.latch.check()?;
        self.core.durable_entry_at(index).map_err(|fault| self.core.latch.trip(fault))
    }

    /// Brings the log in line with `applied`, the state in `applied/` after a newer registered snapshot
    /// was restored to it. To be called once, before Raft is started on this store.
    pub async fn reconcile(&self, applied: Option<(LogId, Position)>) -> Result<Reconciliation, LogError> {
        let (purged, last) = {
            let index = self.core.index.lock().unwrap_or_else(PoisonError::into_inner);
            (index.purged, index.last)
        };
        let Some((applied, position)) = applied else { return Ok(reconcile(purged, last, None, None)) };
        let log = self.clone();
        let at_applied =
            blocking::spawn(move || log.position_at(applied.index)).await.map_err(|_| LogError::Closed)??;

        let decided = reconcile(purged, last, Some(applied), at_applied.map(|(log_id, _)| log_id));
        match decided {
            Reconciliation::Keep if at_applied.is_some_and(|(_, counted)| counted != position) => {
                return Ok(Reconciliation::Refuse(Refusal::PositionDiffers { applied }));
            }
            Reconciliation::Keep => self.raise_floor(&position),
            Reconciliation::DropLogAndSetPurged(purged) => {
                self.drop_all_and_set_purged(purged, position).await?;
            }
            Reconciliation::Refuse(_) => {}
        }
        Ok(decided)
    }

    /// Removes every entry and sets purged to `purged`, where the log counts as in `position`, in one
    /// synced batch.
    pub async fn drop_all_and_set_purged(&self, purged: LogId, position: Position) -> Result<(), LogError> {
        self.request(|done| Op::DropAll { purged, position, done }, |_| ()).await
    }

    /// Shows the operation to readers, queues it (in one step, so both see the same order) and waits
    /// until it is durable.
    async fn request(
        &self,
        op: impl FnOnce(Done) -> Op,
        show: impl FnOnce(&mut LogIndex),
    ) -> Result<(), LogError> {
        self.core.latch.check()?;
        let (done, answer) = oneshot::channel();
        let place = self.writer.sender()?.reserve().await.map_err(|_| self.gone())?;
        {
            let mut index = self.core.index.lock().unwrap_or_else(PoisonError::into_inner);
            show(&mut index);
            place.send(op(done));
        }
        answer.await.map_err(|_| self.gone())?
    }

    /// The writer does not answer.
    fn gone(&self) -> LogError {
        self.core.latch.trip(LogFault::WriterGone)
    }
}

impl Core {
    /// The id and position in the record at `index`.
    pub(super) fn entry_on_disk(&self, index: u64) -> Result<Option<(LogId, Position)>, LogFault> {
        let found = self.disk.get(&record::entry_key(index)).map_err(LogFault::Read)?;
        found.map(|bytes| record::decode_position_of_entry(index, &bytes)).transpose()
    }

    fn durable_entry_at(&self, index: u64) -> Result<Option<(LogId, Position)>, LogFault> {
        if let Some(entry) = self.entry_on_disk(index)? {
            return Ok(Some(entry));
        }
        let purged = database::get(&*self.disk, record::PURGED, record::decode_purged)?;
        Ok(purged.filter(|(purged, _)| purged.index == index))
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        self.core.latch.check()?;
        let index = self.core.index.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(LogState { last_purged_log_id: index.purged, last_log_id: index.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader::new(Arc::clone(&self.core))
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        Ok(self.request(|done| Op::Vote { vote, done }, |_| ()).await?)
    }

    /// Only a hint for the next start, so it waits for a batch to ride in and is not waited for.
    /// Entries are queued before it, so what it names is durable when it is.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.core.latch.check()?;
        let place = self.writer.sender()?.reserve().await.map_err(|_| self.gone())?;
        self.core.index.lock().unwrap_or_else(PoisonError::into_inner).committed = committed;
        place.send(Op::Committed { committed });
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.core.latch.check()?;
        Ok(self.core.index.lock().unwrap_or_else(PoisonError::into_inner).committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        self.core.latch.check()?;
        let entries: Vec<Entry> = entries.into_iter().collect();
        let size_bytes = entries.iter().map(entry_size_bytes).sum();
        let room = queue_units(size_bytes).min(self.queue_units_max);
        let permit = Arc::clone(&self.queue_room).acquire_many_owned(room).await.map_err(|_| self.gone())?;
        let place = self.writer.sender()?.reserve().await.map_err(|_| self.gone())?;

        let mut index = self.core.index.lock().unwrap_or_else(PoisonError::into_inner);
        let append = index.append(&entries).map_err(|fault| self.core.latch.trip(fault))?;
        sabotage::appended(&entries);
        place.send(Op::Append { entries, append, done: callback, permit });
        Ok(())
    }

    async fn truncate_after(&mut self, after: Option<LogId>) -> Result<(), io::Error> {
        let show = |index: &mut LogIndex| {
            if index.last.is_some_and(|last| after.is_none_or(|after| after.index < last.index)) {
                index.truncate_after(after);
            }
        };
        Ok(self.request(|done| Op::Truncate { after, done }, show).await?)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        Ok(self.request(|done| Op::Purge { upto, done }, |index| index.purge(upto)).await?)
    }
}

impl WriterHandle {
    fn sender(&self) -> Result<&mpsc::Sender<Op>, LogError> {
        self.ops.as_ref().ok_or(LogError::Closed)
    }
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        drop(self.ops.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the Raft log's writer thread panicked");
        }
    }
}

/// Room in the queue that `bytes` take, at least one unit.
fn queue_units(bytes: usize) -> u32 {
    u32::try_from(bytes / QUEUE_UNIT_BYTES).unwrap_or(u32::MAX).clamp(1, 1 << 28)
}
