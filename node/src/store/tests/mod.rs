//! Tests of the log store on a real RocksDB.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod against_a_model;
mod openraft_suite;
mod raft_log;
mod rules;
mod torn_tails;
mod with_raft;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use chancery_ledger::hash::Hash;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::raft::types::{EncodedBlock, Entry, Membership, NodeId, Payload, TypeConfig, log_id};
use crate::store::{
    BlockFormat, BlockFormatError, BlockRoster, Genesis, Position, RaftLog, RaftLogOptions, voters_digest,
};

/// Blocks of these tests: the previous block's hash ‖ for a roster block, the digest of its voters; for
/// another, anything that is not as long.
pub(super) struct TestFormat;

impl BlockFormat for TestFormat {
    fn previous(&self, block: &[u8]) -> Result<Hash, BlockFormatError> {
        block.get(..32).and_then(Hash::from_slice).ok_or_else(|| BlockFormatError("no header".to_owned()))
    }

    fn roster(&self, block: &[u8]) -> Result<Option<BlockRoster>, BlockFormatError> {
        let voters = block.get(32..).and_then(Hash::from_slice);
        Ok(voters.map(|voters| BlockRoster { digest: Hash::labelled("test/roster", &[block]), voters }))
    }
}

pub(super) fn genesis() -> Genesis {
    Genesis {
        block_hash: Hash::labelled("test/genesis", &[]),
        roster_digest: Hash::labelled("test/genesis roster", &[]),
        voters: BTreeSet::from([1, 2, 3]),
    }
}

/// A folder with a store in it, which can be closed and opened again.
pub(super) struct Folder {
    dir: TempDir,
    pub(super) options: RaftLogOptions,
}

impl Folder {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), options: RaftLogOptions::default() }
    }

    pub(super) fn with_cache(cached_bytes_max: usize) -> Self {
        let mut folder = Self::new();
        folder.options.cached_bytes_max = cached_bytes_max;
        folder
    }

    pub(super) fn open(&self) -> RaftLog {
        RaftLog::open(self.dir.path(), &genesis(), Arc::new(TestFormat), self.options).unwrap()
    }

    pub(super) fn path(&self) -> &std::path::Path {
        self.dir.path()
    }
}

/// Makes entries that follow each other, and counts along.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    pub(super) position: Position,
    pub(super) index: u64,
    pub(super) term: u64,
}

impl Chain {
    pub(super) fn new() -> Self {
        Self { position: genesis().position(), index: 0, term: 1 }
    }

    pub(super) fn entry(&mut self, payload: Payload) -> Entry {
        self.position = self.position.after(self.index, &payload, &TestFormat).unwrap();
        let entry = Entry { log_id: log_id(self.term, self.index), payload };
        self.index += 1;
        entry
    }

    pub(super) fn blank(&mut self) -> Entry {
        self.entry(Payload::default())
    }

    pub(super) fn block(&mut self) -> Entry {
        let block = block_after(self.position.block_hash, &[]);
        self.entry(Payload::new(Some(block), None))
    }

    pub(super) fn blocks(&mut self, count: usize) -> Vec<Entry> {
        (0..count).map(|_| self.block()).collect()
    }

    pub(super) fn roster(&mut self, voters: &[&[NodeId]]) -> Entry {
        let membership = membership(voters, &[]);
        let block = roster_block_after(self.position.block_hash, &membership);
        self.entry(Payload::new(Some(block), Some(membership)))
    }
}

pub(super) fn membership(voters: &[&[NodeId]], learners: &[NodeId]) -> Membership {
    let sets = voters.iter().map(|set| set.iter().copied().collect()).collect();
    Membership::new_with_defaults(sets, learners.iter().copied())
}

pub(super) fn block_after(previous: Hash, rest: &[u8]) -> EncodedBlock {
    EncodedBlock::from([previous.as_bytes(), rest].concat())
}

pub(super) fn roster_block_after(previous: Hash, membership: &Membership) -> EncodedBlock {
    block_after(previous, voters_digest(membership.get_joint_config()).as_bytes())
}

/// A callback, and what receives what it is told.
pub(super) fn callback() -> (IOFlushed<TypeConfig>, oneshot::Receiver<io::Result<()>>) {
    let (done, flushed) = TypeConfig::oneshot();
    (IOFlushed::signal(done), flushed)
}

/// Queues an append; the receiver gets what its callback is told.
pub(super) async fn queue(log: &mut RaftLog, entries: Vec<Entry>) -> oneshot::Receiver<io::Result<()>> {
    let (done, flushed) = callback();
    log.append(entries, done).await.unwrap();
    flushed
}

/// Appends and waits for the flush.
pub(super) async fn append(log: &mut RaftLog, entries: Vec<Entry>) {
    queue(log, entries).await.await.unwrap().unwrap();
}
