//! Making a snapshot of what is applied.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use chancery_ledger::hash::Hash;
use chancery_ledger::head::{RosterChain, Statement};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::files::{self, Unfinished};
use super::manifest::{FileRecord, Manifest};
use super::verify::Contents;
use super::{DATABASE, Registered, SnapshotError, Snapshots, seal};
use crate::sabotage;
use crate::store::applied::{AppliedFault, AppliedStore};

/// How long to wait before a quorum is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// So many blocks later a copy that nobody signed is given up for a newer one: heads of 1,024 blocks are kept at least.
const SIGNABLE_BLOCKS: u64 = 1000;

/// Gathers a quorum's signatures on the head of a block.
pub trait HeadQuorumSource: Send + Sync + 'static {
    /// Statements of a quorum of the roster in force, each with exactly the head of `block` and none of
    /// them fresh; `None` if a quorum does not answer now.
    fn quorum(&self, block: u64) -> BoxFuture<'_, Option<Vec<Statement>>>;
}

impl Snapshots {
    /// Copies what is applied, has a quorum sign the copy's head, and registers it. Waits for a quorum as
    /// long as it takes: that there is none now is no fault of this node's. `stopping` ends the wait, by a
    /// change or the drop of its sender.
    ///
    /// What is in `applied` goes on; where the snapshot ends is read from inside the copy.
    pub async fn build(
        &self,
        applied: &AppliedStore,
        heads: &dyn HeadQuorumSource,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<Registered, SnapshotError> {
        loop {
            // A snapshot carries the proof of each roster up to its own: that of a change that is still
            // going on is waited for.
            let mut rosters = applied.watch_rosters();
            tokio::select! {
                _ = stopping.changed() => return Err(SnapshotError::Stopping),
                proven = rosters.wait_for(|rosters| rosters.unproven().is_none()) => {
                    proven.map_err(|_| SnapshotError::Stopping)?;
                }
            }
            let (snapshots, store) = (self.clone(), applied.clone());
            let copy = on_disk(move || snapshots.copy(&store)).await?;
            if let Some(current) = self.current()
                && current.manifest().log_id() >= copy.contents.applied
            {
                return Ok(current);
            }
            if copy.contents.rosters.unproven().is_some() {
                continue;
            }
            let Some(statements) = self.quorum_on(&copy, applied, heads, &mut stopping).await? else {
                continue;
            };
            let snapshots = self.clone();
            return on_disk(move || snapshots.finish(copy, statements)).await;
        }
    }

    fn copy(&self, applied: &AppliedStore) -> Result<Copy, SnapshotError> {
        fail::fail_point!("snapshot-build-before-copy", super::injected);
        let (_, unfinished) = self.unfinished()?;
        let database = unfinished.path().join(DATABASE);
        applied.view().checkpoint(&database)?;
        sabotage::leave_out_dedup(&database)?;
        fail::fail_point!("snapshot-build-after-copy", super::injected);
        if applied.applied().is_none() {
            return Err(SnapshotError::Nothing);
        }
        let contents = Contents::open(&database, unfinished.path())?.ends(&self.shared.founding)?;
        files::remove_folder(&unfinished.path().join(super::verify::NOTES))?;
        Ok(Copy { unfinished, contents })
    }

    /// `None` if the nodes cannot sign the copy's head any more.
    async fn quorum_on(
        &self,
        copy: &Copy,
        applied: &AppliedStore,
        heads: &dyn HeadQuorumSource,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<Option<Vec<Statement>>, SnapshotError> {
        let head = &copy.contents.summary.head;
        let mut fault = applied.fault();
        loop {
            let asked = async {
                if let Some(statements) = heads.quorum(head.block).await {
                    match copy.contents.rosters.head_voters(head.block).verify(head, &statements) {
                        Ok(()) => return Some(statements),
                        Err(error) => tracing::warn!(%error, "no quorum for the head of a snapshot"),
                    }
                }
                tokio::time::sleep(RETRY_AFTER).await;
                None
            };
            tokio::select! {
                _ = stopping.changed() => return Err(SnapshotError::Stopping),
                _ = fault.changed() => return Err(SnapshotError::Stopping),
                statements = asked => if statements.is_some() { return Ok(statements) },
            }
            let block = applied.read_state(|state| state.head().block);
            if block.saturating_sub(head.block) > SIGNABLE_BLOCKS {
                return Ok(None);
            }
        }
    }

    fn finish(&self, copy: Copy, statements: Vec<Statement>) -> Result<Registered, SnapshotError> {
        let Copy { unfinished, contents } = copy;
        let database = unfinished.path().join(DATABASE);
        let mut names = BTreeSet::new();
        for found in fs::read_dir(&database)? {
            let name = found?.file_name();
            names.insert(name.into_string().map_err(|_| super::ManifestError::FileName)?);
        }
        let measure = |name: String| -> Result<FileRecord, SnapshotError> {
            let (size_bytes, sha256): (u64, Hash) = files::measure(&database.join(&name))?;
            Ok(FileRecord { name, size_bytes, sha256 })
        };
        let files = names.into_iter().map(measure).collect::<Result<_, _>>()?;
        let (log_id, membership) = (contents.applied, contents.membership);
        let summary = contents.summary;
        let rosters = RosterChain { links: contents.rosters.chain_since(0) };
        let manifest =
            Manifest::new(summary.head, summary.block_hash, log_id, membership, rosters, statements, files)?;
        fail::fail_point!("snapshot-build-before-sync", super::injected);
        seal(&unfinished, &manifest)?;
        match self.register(unfinished, manifest) {
            // One that is as good was received in the meantime.
            Err(SnapshotError::Outdated { .. }) => self.current().ok_or(SnapshotError::Nothing),
            registered => registered,
        }
    }
}

/// A copy of the database that nobody vouches for yet.
struct Copy {
    unfinished: Unfinished,
    contents: super::verify::Ends,
}

pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    let ended = crate::blocking::spawn(work).await;
    ended.unwrap_or_else(|_| Err(AppliedFault::ThreadGone.into()))
}
