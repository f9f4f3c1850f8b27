//! A log and a state machine in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chancery_ledger::hash::Hash;
use futures_util::{Stream, StreamExt};
use openraft::entry::RaftPayload;
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine,
};

use crate::network::{Manifest, ManifestFile, SnapshotSource};
use crate::raft::types::{
    Applied, Entry, LogId, Snapshot, SnapshotFolder, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};

/// Survives the Raft that writes it.
#[derive(Clone, Default)]
pub(super) struct Log {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    entries: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        Ok(self.kept.lock().unwrap().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.kept.lock().unwrap().vote)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let kept = self.kept.lock().unwrap();
        let last = kept.entries.last_key_value().map(|(_, entry)| entry.log_id).or(kept.purged);
        Ok(LogState { last_purged_log_id: kept.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.kept.lock().unwrap().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.kept.lock().unwrap().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.kept.lock().unwrap().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries = entries.into_iter().map(|entry| (entry.log_id.index, entry));
        self.kept.lock().unwrap().entries.extend(entries);
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, after: Option<LogId>) -> Result<(), io::Error> {
        let first = after.map_or(0, |after| after.index + 1);
        self.kept.lock().unwrap().entries.split_off(&first);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut kept = self.kept.lock().unwrap();
        kept.entries = kept.entries.split_off(&(upto.index + 1));
        kept.purged = Some(upto);
        Ok(())
    }
}

/// Counts blocks, and hashes them into each other.
#[derive(Clone)]
pub(super) struct State {
    kept: Arc<Mutex<Machine>>,
    folder: PathBuf,
}

#[derive(Clone)]
struct Machine {
    applied: Option<LogId>,
    membership: StoredMembership,
    blocks: u64,
    hash: Hash,
    snapshot: Option<Snapshot>,
}

impl State {
    pub(super) fn new(folder: &Path) -> Self {
        let machine = Machine {
            applied: None,
            membership: StoredMembership::default(),
            blocks: 0,
            hash: Hash::ZERO,
            snapshot: None,
        };
        Self { kept: Arc::new(Mutex::new(machine)), folder: folder.to_owned() }
    }

    /// Blocks applied, and their hash.
    pub(super) fn reached(&self) -> (u64, Hash) {
        let kept = self.kept.lock().unwrap();
        (kept.blocks, kept.hash)
    }
}

impl RaftStateMachine<TypeConfig> for State {
    type SnapshotData = SnapshotFolder;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let kept = self.kept.lock().unwrap();
        Ok((kept.applied, kept.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let mut kept = self.kept.lock().unwrap();
            kept.applied = Some(entry.log_id);
            if let Some(block) = entry.payload.block() {
                kept.blocks += 1;
                kept.hash = Hash::of(&[kept.hash.as_bytes(), block.bytes()]);
            }
            if let Some(membership) = entry.payload.get_membership() {
                kept.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(Applied { block: kept.blocks });
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotFolder) -> Result<(), io::Error> {
        let state = std::fs::read(data.path().join("db/state"))?;
        let (blocks, hash) = state.split_first_chunk().unwrap();
        let mut kept = self.kept.lock().unwrap();
        kept.applied = meta.last_log_id;
        kept.membership = meta.last_membership.clone();
        kept.blocks = u64::from_be_bytes(*blocks);
        kept.hash = Hash::from_slice(hash).unwrap();
        kept.snapshot = Some(Snapshot { meta: meta.clone(), snapshot: data });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.kept.lock().unwrap().snapshot.clone())
    }
}

/// Beside the state, a file of several chunks.
pub(super) const BALLAST_BYTES: usize = (5 << 20) + 7;

impl RaftSnapshotBuilder<TypeConfig> for State {
    type SnapshotData = SnapshotFolder;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let mut kept = self.kept.lock().unwrap();
        let folder = self.folder.join(format!("built-{}", kept.blocks));
        std::fs::create_dir_all(folder.join("db"))?;
        let state = [&kept.blocks.to_be_bytes()[..], kept.hash.as_bytes()].concat();
        std::fs::write(folder.join("db/state"), state)?;
        std::fs::write(folder.join("ballast"), vec![7; BALLAST_BYTES])?;
        std::fs::write(folder.join("empty"), [])?;
        let meta = SnapshotMeta { last_log_id: kept.applied, last_membership: kept.membership.clone() };
        let snapshot = Snapshot { meta, snapshot: SnapshotFolder::at(folder) };
        kept.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }
}

/// Lists what [`State`] builds.
pub(super) struct Listed;

impl SnapshotSource for Listed {
    async fn manifest(&self, folder: &SnapshotFolder) -> io::Result<Manifest> {
        let file = |name: &str| -> io::Result<ManifestFile> {
            let bytes = std::fs::read(folder.path().join(name))?;
            Ok(ManifestFile {
                name: name.to_owned(),
                size_bytes: bytes.len() as u64,
                sha256: Hash::of(&[&bytes]),
            })
        };
        Ok(Manifest::new(vec![file("ballast")?, file("db/state")?, file("empty")?]).unwrap())
    }
}
