//! Raft's own storage suite, over the log store and a state machine in memory.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::StorageError;
use openraft::entry::RaftPayload;
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine,
};
use openraft::testing::log::{StoreBuilder, Suite};

use super::{Folder, TestFormat, genesis, roster_block_after};
use crate::raft::types::{
    Applied, Entry, LogId, Payload, Snapshot, SnapshotFolder, SnapshotMeta, StoredMembership, TypeConfig,
    Vote,
};
use crate::store::{LogReader, Position, RaftLog, RaftLogOptions};

/// The suite changes voters at will and purges beyond the log. This makes of each such change a roster
/// block, and registers a snapshot where the log is purged, as the node does.
struct AsTheNodeDoes {
    log: RaftLog,
    position: Position,
}

impl RaftLogStorage<TypeConfig> for AsTheNodeDoes {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        self.log.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.log.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.log.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.log.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.log.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut position = self.position;
        let entries = entries.into_iter().map(|mut entry| {
            if let Some(membership) = entry.payload.get_membership() {
                let block = roster_block_after(position.block_hash, &membership);
                entry.payload = Payload::new(Some(block), Some(membership));
            }
            position = position.after(entry.log_id.index, &entry.payload, &TestFormat).unwrap();
            entry
        });
        let entries: Vec<Entry> = entries.collect();
        self.position = position;
        self.log.append(entries, callback).await
    }

    async fn truncate_after(&mut self, after: Option<LogId>) -> Result<(), io::Error> {
        self.log.truncate_after(after).await?;
        self.position = match self.log.get_log_state().await?.last_log_id {
            None => genesis().position(),
            Some(last) => self.log.position_at(last.index)?.unwrap().1,
        };
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        if self.log.position_at(upto.index)?.is_none() {
            self.log.register_snapshot(upto, self.position);
        }
        self.log.purge(upto).await
    }
}

/// Keeps what the suite asks about: how far it applied, and the membership.
#[derive(Clone, Default)]
pub(super) struct StateInMemory {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Arc<std::sync::Mutex<Option<SnapshotMeta>>>,
}

fn snapshot_of(meta: SnapshotMeta) -> Snapshot {
    Snapshot { meta, snapshot: SnapshotFolder::at("snapshot") }
}

impl RaftStateMachine<TypeConfig> for StateInMemory {
    type SnapshotData = SnapshotFolder;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.applied = Some(entry.log_id);
            if let Some(membership) = entry.payload.get_membership() {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(Applied { block: entry.log_id.index });
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, _: SnapshotFolder) -> Result<(), io::Error> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.snapshot.lock().unwrap() = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.snapshot.lock().unwrap().clone().map(snapshot_of))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateInMemory {
    type SnapshotData = SnapshotFolder;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        *self.snapshot.lock().unwrap() = Some(meta.clone());
        Ok(snapshot_of(meta))
    }
}

struct Stores {
    options: RaftLogOptions,
}

impl StoreBuilder<TypeConfig, AsTheNodeDoes, StateInMemory, Folder> for Stores {
    async fn build(&self) -> Result<(Folder, AsTheNodeDoes, StateInMemory), StorageError<TypeConfig>> {
        let mut folder = Folder::new();
        folder.options = self.options;
        let log = AsTheNodeDoes { log: folder.open(), position: genesis().position() };
        Ok((folder, log, StateInMemory::default()))
    }
}

async fn run_suite(options: RaftLogOptions) {
    Suite::<TypeConfig, AsTheNodeDoes, StateInMemory, Stores, Folder>::test_all(Stores { options })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raft_finds_the_store_correct_read_from_memory() {
    run_suite(RaftLogOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raft_finds_the_store_correct_read_from_disk() {
    run_suite(RaftLogOptions { cached_bytes_max: 0, read_bytes_max: 1, ..RaftLogOptions::default() }).await;
}
