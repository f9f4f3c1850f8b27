//! What goes wrong in the applied store, and the latch that makes the first fault the last.
//!
//! Whatever goes wrong while a committed entry is applied is no client's doing: this replica, or the one
//! that proposed, is broken. Nothing is applied after it, and the node is to be stopped.

use std::error::Error;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use crate::raft::types::LogId;

/// Why the store died, or could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppliedFault {
    /// RocksDB, or the folder it is in, failed.
    #[error("applied state: {0}")]
    Disk(String),
    /// A record that the store never writes, or one that is missing.
    #[error("applied state is corrupt at {what}: {reason}")]
    Corrupt {
        /// Which record.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry that does not follow the last one.
    #[error("log entry {next} cannot be applied after {last:?}")]
    Order {
        /// The last applied entry.
        last: Option<LogId>,
        /// The refused one.
        next: LogId,
    },
    /// A committed block that is none.
    #[error("block at log index {index} cannot be read: {reason}")]
    Block {
        /// Its entry.
        index: u64,
        /// Why not.
        reason: String,
    },
    /// A block that was proposed in another term than it was appended in.
    #[error("block at log index {index} names term {claimed}, its entry is of term {term}")]
    Term {
        /// Its entry.
        index: u64,
        /// What the block says.
        claimed: u64,
        /// What the entry says.
        term: u64,
    },
    /// A block that the state machine cannot apply.
    #[error("block at log index {index} cannot be applied: {reason}")]
    Apply {
        /// Its entry.
        index: u64,
        /// Why not.
        reason: String,
    },
    /// A membership whose voters are not the roster's.
    #[error("membership at log index {index} has other voters than the roster in force")]
    VotersDiffer {
        /// Its entry.
        index: u64,
    },
    /// A roster block without a membership, or another block with one.
    #[error("the block at log index {index} brings a roster without a membership, or the other way round")]
    RosterBlock {
        /// Its entry.
        index: u64,
    },
    /// The thread that applied is gone.
    #[error("the thread that applied blocks ended early")]
    ThreadGone,
}

impl AppliedFault {
    pub(crate) fn corrupt(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), reason: reason.into() }
    }

    /// What a failpoint makes.
    #[cfg(feature = "failpoints")]
    pub(in crate::store) fn injected<T>(reason: Option<String>) -> Result<T, Self> {
        Err(Self::Disk(reason.unwrap_or_default()))
    }
}

impl From<rocksdb::Error> for AppliedFault {
    fn from(error: rocksdb::Error) -> Self {
        Self::Disk(error.into_string())
    }
}

impl From<io::Error> for AppliedFault {
    fn from(error: io::Error) -> Self {
        Self::Disk(error.to_string())
    }
}

/// The store is dead, since this operation or an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("applied store is dead: {0}")]
pub struct AppliedDead(pub Arc<AppliedFault>);

impl From<AppliedDead> for io::Error {
    fn from(dead: AppliedDead) -> Self {
        Self::other(dead)
    }
}

/// An error and what caused it, in one line.
pub(in crate::store) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Keeps the first fault, for good.
pub(super) struct Latch {
    fault: watch::Sender<Option<Arc<AppliedFault>>>,
}

impl Latch {
    pub(super) fn new() -> Self {
        Self { fault: watch::Sender::new(None) }
    }

    /// `Ok` while there was no fault.
    pub(super) fn check(&self) -> Result<(), AppliedDead> {
        self.fault.borrow().as_ref().map_or(Ok(()), |fault| Err(AppliedDead(Arc::clone(fault))))
    }

    /// Latches `fault`, unless an earlier one is, and returns the error to answer with.
    pub(super) fn trip(&self, fault: AppliedFault) -> AppliedDead {
        let fault = Arc::new(fault);
        self.fault.send_if_modified(|latched| {
            let first = latched.is_none();
            if first {
                tracing::error!(%fault, "applied store is dead");
                *latched = Some(Arc::clone(&fault));
            }
            first
        });
        AppliedDead(self.fault.borrow().clone().unwrap_or(fault))
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<AppliedFault>>> {
        self.fault.subscribe()
    }
}
