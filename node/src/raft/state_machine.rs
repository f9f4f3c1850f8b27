//! What Raft applies committed entries to.
//!
//! Raft may hand out an entry for application before this node has synced it. It is applied only after
//! that, so that all that is applied, and every head signed over it, can be made again from this node's
//! own log. Whatever fails here stops the node: the error goes to Raft, and the store's fault is latched.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use tokio::sync::watch;

use crate::raft::types::{
    Applied, LogId, Snapshot, SnapshotFolder, SnapshotMeta, StoredMembership, TypeConfig,
};
use crate::sabotage::{self, Sabotage};
use crate::store::applied::{AppliedFault, AppliedStore};
use crate::store::snapshot::{HeadQuorumSource, Snapshots};
use crate::store::{NodeStores, RaftLog};

/// The state machine of one node.
pub struct StateMachine {
    log: RaftLog,
    applied: AppliedStore,
    snapshots: Snapshots,
    heads: Arc<dyn HeadQuorumSource>,
    /// Dropped with this: a snapshot that still waits for a quorum is given up then.
    stopping: watch::Sender<bool>,
}

impl StateMachine {
    /// The state machine over `stores`. The heads of its snapshots are signed by whom `heads` asks.
    pub fn new(stores: &NodeStores, heads: Arc<dyn HeadQuorumSource>) -> Self {
        Self {
            log: stores.log.clone(),
            applied: stores.applied.clone(),
            snapshots: stores.snapshots.clone(),
            heads,
            stopping: watch::Sender::new(false),
        }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AppliedStore) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let applied = self.applied.clone();
        let ended = crate::blocking::spawn(move || work(&applied)).await;
        ended.unwrap_or_else(|_| Err(self.applied.trip(AppliedFault::ThreadGone).into()))
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFolder;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let view = self.applied.view();
        Ok((sabotage::applied_again(&self.log, view.applied()), view.membership()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            if !sabotage::active(Sabotage::ApplyBeforeFlush) {
                self.log.wait_flushed(entry.log_id).await?;
            }
            let position = self.on_disk(move |applied| Ok(applied.apply(&entry)?)).await?;
            self.log.raise_floor(&position);
            if let Some(responder) = responder {
                responder.send(Applied { block: position.block });
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            applied: self.applied.clone(),
            snapshots: self.snapshots.clone(),
            heads: Arc::clone(&self.heads),
            stopping: self.stopping.subscribe(),
        }
    }

    /// Takes the place of everything applied. The snapshot is registered: whoever handed it to Raft has
    /// verified it and made it durable before.
    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFolder) -> io::Result<()> {
        let registered = self.snapshots.at(&snapshot).filter(|found| found.manifest().meta() == *meta);
        let registered = registered.ok_or_else(|| {
            let reason = "what Raft was handed is not registered, or ends elsewhere";
            io::Error::from(self.applied.trip(AppliedFault::corrupt("snapshot", reason)))
        })?;
        let position = registered.manifest().position();
        self.on_disk(move |applied| Ok(applied.install(&registered.database(), registered.manifest())?))
            .await?;
        self.log.raise_floor(&position);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshots.current().map(|current| current.to_raft()))
    }
}

/// Builds snapshots of what is applied, beside the application of further entries.
pub struct SnapshotBuilder {
    applied: AppliedStore,
    snapshots: Snapshots,
    heads: Arc<dyn HeadQuorumSource>,
    stopping: watch::Receiver<bool>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFolder;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let built = self.snapshots.build(&self.applied, &*self.heads, self.stopping.clone()).await?;
        Ok(built.to_raft())
    }
}
