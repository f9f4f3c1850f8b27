//! What a node keeps on disk.
//!
//! [`RaftLog`] owns the RocksDB `raft/`: log entries, vote, and a few small records beside them. One
//! thread writes it, one synced batch at a time (`writer`); the [`Tail`] is what that log, and all
//! that ever replaced a part of it, says about block numbers and rosters (`tail`).

pub mod applied;
mod database;
mod disk;
mod fault;
mod log_index;
#[cfg(feature = "failpoints")]
mod power_trace;
mod raft_log;
mod reader;
mod reconcile;
mod record;
pub mod snapshot;
mod start;
mod tail;
mod torn_tail;
mod writer;

#[cfg(test)]
mod tests;

pub use disk::{Change, Disks, LogBatch, LogDisk, Record};
pub use fault::{LogError, LogFault, OpenError};
pub use raft_log::{RaftLog, RaftLogOptions, SignedHead};
pub use reader::LogReader;
pub use reconcile::{Reconciliation, Refusal, reconcile};
pub use start::{NodeStores, StartError, StoreOptions, open_node_stores, open_node_stores_on};
pub(crate) use tail::roster_of;
pub use tail::{BlockFormat, BlockFormatError, BlockRoster, Genesis, Position, Tail, voters_digest};
