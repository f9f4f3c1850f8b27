//! A node's stores in a folder of their own, fed as Raft would feed them.

use std::path::Path;

use chancery_node::raft::state_machine::StateMachine;
use chancery_node::raft::types::{Entry, NodeId, TypeConfig};
use chancery_node::store::applied::Founding;
use chancery_node::store::snapshot::{Registered, SnapshotError, SnapshotReader, Snapshots};
use chancery_node::store::{NodeStores, StartError, StoreOptions, open_node_stores};
use futures_util::stream;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use tempfile::TempDir;

use super::ledger::{Signers, founding};

pub(crate) struct Node {
    pub(crate) folder: TempDir,
    pub(crate) id: NodeId,
    stores: Option<NodeStores>,
}

impl Node {
    pub(crate) async fn new(id: NodeId) -> Self {
        let mut node = Self::at(tempfile::tempdir().unwrap(), id);
        node.start().await.unwrap();
        node
    }

    /// A node on `folder`, not started.
    pub(crate) fn at(folder: TempDir, id: NodeId) -> Self {
        Self { folder, id, stores: None }
    }

    pub(crate) fn into_folder(self) -> TempDir {
        self.folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn start(&mut self) -> Result<(), StartError> {
        self.start_as(self.id, &founding()).await
    }

    pub(crate) async fn start_as(
        &mut self,
        id: NodeId,
        founding: &std::sync::Arc<Founding>,
    ) -> Result<(), StartError> {
        self.stop();
        let founding = std::sync::Arc::clone(founding);
        let opened = open_node_stores(self.folder.path(), id, founding, StoreOptions::default()).await;
        self.stores = Some(opened?);
        Ok(())
    }

    pub(crate) fn stop(&mut self) {
        self.stores = None;
    }

    pub(crate) fn stores(&self) -> &NodeStores {
        self.stores.as_ref().unwrap()
    }

    pub(crate) fn machine(&self) -> StateMachine {
        StateMachine::new(self.stores(), std::sync::Arc::new(Signers(self.stores().applied.clone())))
    }

    /// Appends to the log, without applying.
    pub(crate) async fn append(&self, entries: &[Entry]) {
        self.stores().log.clone().append(entries.to_vec(), IOFlushed::<TypeConfig>::noop()).await.unwrap();
    }

    pub(crate) async fn apply(&self, entries: &[Entry]) -> std::io::Result<()> {
        let items: Vec<_> = entries.iter().map(|entry| Ok((entry.clone(), None))).collect();
        self.machine().apply(stream::iter(items)).await
    }

    pub(crate) async fn feed(&self, entries: &[Entry]) {
        self.append(entries).await;
        self.apply(entries).await.unwrap();
    }

    pub(crate) async fn build(&self) -> std::io::Result<Registered> {
        let mut machine = self.machine();
        machine.get_snapshot_builder().await.build_snapshot().await?;
        Ok(self.stores().snapshots.current().unwrap())
    }

    /// Applies again from the log what is not applied, as Raft does at a start.
    pub(crate) async fn catch_up(&self, entries: &[Entry]) {
        let applied = self.stores().applied.applied();
        let rest: Vec<Entry> = entries.iter().filter(|entry| Some(entry.log_id) > applied).cloned().collect();
        self.apply(&rest).await.unwrap();
    }
}

/// Sends `snapshot` part by part.
pub(crate) fn transfer(snapshot: &Registered, to: &Snapshots) -> Result<Registered, SnapshotError> {
    let mut reader = SnapshotReader::new(snapshot.clone());
    let mut receiver = to.receive(&reader.manifest()?)?;
    while let Some(chunk) = reader.next_chunk()? {
        receiver.chunk(&chunk.file, chunk.offset, &chunk.bytes)?;
    }
    receiver.finish()
}
