//! What goes wrong in the log store, and the latch that makes the first fault the last.
//!
//! Any fault, from the disk or in what was asked, leaves the store dead: nothing is written, read or
//! signed after it, and the node is to be stopped. A log that went on after a failed sync could
//! acknowledge what the disk does not hold.

use std::io;
use std::sync::Arc;

use chancery_ledger::hash::Hash;
use tokio::sync::watch;

use crate::raft::types::{LogId, Vote};

/// Why the store died.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LogFault {
    /// The disk did not take a batch; how much of it is durable is not known.
    #[error("writing the Raft log failed: {0}")]
    Write(String),
    /// The disk did not give back what is there.
    #[error("reading the Raft log failed: {0}")]
    Read(String),
    /// A record that the store never writes, or one that is missing.
    #[error("Raft log is corrupt at {what}: {reason}")]
    Corrupt {
        /// Which record.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A block that does not follow the last one.
    #[error("block at log index {index} names {found} as its predecessor, the log holds {expected}")]
    Chain {
        /// Where it was to be appended.
        index: u64,
        /// The hash of the last block in the log.
        expected: Hash,
        /// The hash that the block names.
        found: Hash,
    },
    /// A block that its format refuses.
    #[error("block at log index {index} is refused: {reason}")]
    Block {
        /// Where it was to be appended.
        index: u64,
        /// The format's reason.
        reason: String,
    },
    /// A change of voters that is no roster block.
    #[error("membership at log index {index} changes voters without a roster block")]
    VotersWithoutRoster {
        /// Where it was to be appended.
        index: u64,
    },
    /// An entry that does not follow the last one.
    #[error("log entry {next} cannot follow {last:?}")]
    Order {
        /// The last entry.
        last: Option<LogId>,
        /// The refused one.
        next: LogId,
    },
    /// An entry that cannot be encoded.
    #[error("log entry {log_id} cannot be encoded: {reason}")]
    Encode {
        /// The entry.
        log_id: LogId,
        /// Why.
        reason: String,
    },
    /// A vote that takes back one that was saved.
    #[error("vote {next} cannot follow {saved}")]
    Vote {
        /// The saved vote.
        saved: Vote,
        /// The refused one.
        next: Vote,
    },
    /// Truncating to an entry that the log does not hold.
    #[error("cannot truncate the log to {after:?}: {reason}")]
    Truncate {
        /// The entry that was to be the last.
        after: Option<LogId>,
        /// Why not.
        reason: &'static str,
    },
    /// Purging to an entry that neither the log holds nor a registered snapshot ends at.
    #[error("cannot purge the log to {upto}: {reason}")]
    Purge {
        /// The entry that was to be the last purged.
        upto: LogId,
        /// Why not.
        reason: &'static str,
    },
    /// The writer thread is gone.
    #[error("the Raft log's writer thread ended early")]
    WriterGone,
}

/// Why an operation on the log store failed. Every kind is fatal to the node.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LogError {
    /// The store is dead, since this operation or an earlier one.
    #[error("Raft log store is dead: {0}")]
    Dead(Arc<LogFault>),
    /// The store is closed.
    #[error("Raft log store is closed")]
    Closed,
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        Self::other(error)
    }
}

/// Why the store could not be opened.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OpenError {
    /// RocksDB's reason.
    #[error("cannot open the Raft log: {0}")]
    Disk(String),
    /// What is there was never written by this store.
    #[error(transparent)]
    Fault(#[from] LogFault),
    /// The store belongs to another ledger.
    #[error("the Raft log in this folder belongs to another ledger")]
    OtherLedger,
    /// The writer thread could not be started.
    #[error("cannot start the Raft log's writer thread: {0}")]
    Thread(String),
}

/// Keeps the first fault, for good.
pub(super) struct Latch {
    fault: watch::Sender<Option<Arc<LogFault>>>,
}

impl Latch {
    pub(super) fn new() -> Self {
        Self { fault: watch::Sender::new(None) }
    }

    /// `Ok` while there was no fault.
    pub(super) fn check(&self) -> Result<(), LogError> {
        match &*self.fault.borrow() {
            None => Ok(()),
            Some(fault) => Err(LogError::Dead(Arc::clone(fault))),
        }
    }

    /// Latches `fault`, unless an earlier one is, and returns the error to answer with.
    pub(super) fn trip(&self, fault: LogFault) -> LogError {
        let fault = Arc::new(fault);
        let first = self.fault.send_if_modified(|latched| {
            let first = latched.is_none();
            if first {
                *latched = Some(Arc::clone(&fault));
            }
            first
        });
        if first {
            tracing::error!(%fault, "Raft log store is dead");
        }
        let latched = self.fault.borrow().clone();
        LogError::Dead(latched.unwrap_or(fault))
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<LogFault>>> {
        self.fault.subscribe()
    }
}
