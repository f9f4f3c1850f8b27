//! Opening a node's stores, so that nothing that was known is un-known.
//!
//! In this order: whose folder it is; the registered snapshots; `applied/`, restored from the newest
//! snapshot if that ends later; `raft/`, brought in line with what is applied. Each step that a crash
//! interrupts is made again by the next start, and folders that do not fit together are refused, with the
//! reason: a node that went on from them could state less than it did before.
//!
//! Failpoints, all of which return an error:
//!
//! | where | names |
//! |---|---|
//! | start | `start-before-identity`, `start-before-restore`, `start-before-raft-log`, `start-before-reconcile`, `start-after-reconcile` |
//! | founding, applying | `applied-before-founding`, `applied-before-write`, `applied-after-write`, `applied-roster-block` |
//! | proving a roster | `applied-before-roster-proof`, `applied-after-roster-proof` |
//! | building a snapshot | `snapshot-build-before-copy`, `snapshot-build-after-copy`, `snapshot-build-before-sync` |
//! | receiving one | `snapshot-receive-begin`, `snapshot-receive-chunk`, `snapshot-receive-before-verify`, `snapshot-receive-before-sync` |
//! | registering one | `snapshot-before-rename`, `snapshot-after-rename`, `snapshot-before-removal` |
//! | installing one | `install-before-files`, `install-before-sync`, `install-before-rename`, `install-after-rename`, `install-before-switch` |

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::storage::RaftLogStorage;

use crate::raft::types::NodeId;
use crate::store::applied::{
    AppliedDead, AppliedFault, AppliedOptions, AppliedStore, Founding, LedgerBlocks, folders,
};
use crate::store::database::RocksDbDisks;
use crate::store::snapshot::files;
use crate::store::snapshot::{FoundSnapshots, SnapshotError, Snapshots};
use crate::store::{Disks, LogError, OpenError, RaftLog, RaftLogOptions, Reconciliation, Refusal};

const IDENTITY: &str = "identity";
const RAFT: &str = "raft";
const APPLIED: &str = "applied";
const SNAPSHOTS: &str = "snapshots";

const IDENTITY_PREFIX: &[u8] = b"chancery/node/v1\n";

/// The bounds of a node's stores.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreOptions {
    /// Of the Raft log.
    pub log: RaftLogOptions,
    /// Of the applied store.
    pub applied: AppliedOptions,
}

/// A node's stores, in line with each other.
pub struct NodeStores {
    /// `raft/`.
    pub log: RaftLog,
    /// `applied/`.
    pub applied: AppliedStore,
    /// `snapshots/`.
    pub snapshots: Snapshots,
}

/// Why a node must not start on its folder.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The disk failed.
    #[error("the node's folder: {0}")]
    Disk(#[from] io::Error),
    /// Another process has it open.
    #[error("another process uses the node's folder")]
    Locked,
    /// It belongs to another node.
    #[error("the folder belongs to node {found}, this is node {node}")]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Who this is.
        node: NodeId,
    },
    /// It belongs to another ledger.
    #[error("the folder belongs to another ledger")]
    OtherLedger,
    /// It has stores, but does not say whose.
    #[error("the folder holds {0} but does not say whose it is: its file `identity` is missing or corrupt")]
    NoIdentity(&'static str),
    /// `applied/` cannot be used.
    #[error("applied/: {0}")]
    Applied(#[from] AppliedFault),
    /// `snapshots/` cannot be used.
    #[error("snapshots/: {0}")]
    Snapshots(#[from] SnapshotError),
    /// `raft/` cannot be opened.
    #[error("raft/: {0}")]
    RaftLog(#[from] OpenError),
    /// `raft/` failed.
    #[error("raft/: {0}")]
    RaftLogFault(#[from] LogError),
    /// What is applied does not go with the log.
    #[error("applied/ and raft/ do not fit: {0}")]
    Refused(#[from] Refusal),
    /// Log and vote are gone: the node might vote twice, or state less than it did.
    #[error("raft/ is empty, but entries of it are applied: the node needs a new id and key")]
    RaftLogLost,
    /// The log starts late, and nothing says what came before.
    #[error("the log is purged, and no snapshot of what was purged is registered in snapshots/")]
    NoSnapshot,
    /// This node signed another log than it has.
    #[error("this node signed another root of its log at size {size}")]
    SignedDiffers {
        /// At which size.
        size: u64,
    },
    /// The thread that opened the stores is gone.
    #[error("the thread that opened the stores ended early")]
    ThreadGone,
    /// A failpoint.
    #[error("injected: {0}")]
    Injected(String),
}

impl From<AppliedDead> for StartError {
    fn from(dead: AppliedDead) -> Self {
        Self::Applied((*dead.0).clone())
    }
}

/// Opens the stores in `folder` for node `node` of the ledger of `founding`, or makes them.
pub async fn open_node_stores(
    folder: &Path,
    node: NodeId,
    founding: Arc<Founding>,
    options: StoreOptions,
) -> Result<NodeStores, StartError> {
    open_node_stores_on(Arc::new(RocksDbDisks), folder, node, founding, options).await
}

/// The same, with the Raft log on one of `disks`.
pub async fn open_node_stores_on(
    disks: Arc<dyn Disks>,
    folder: &Path,
    node: NodeId,
    founding: Arc<Founding>,
    options: StoreOptions,
) -> Result<NodeStores, StartError> {
    let folder = folder.to_owned();
    let opened = crate::blocking::spawn(move || open(&*disks, &folder, node, &founding, options)).await;
    let stores = opened.map_err(|_| StartError::ThreadGone)??;
    fail::fail_point!("start-before-reconcile", injected);
    reconcile(&stores).await?;
    fail::fail_point!("start-after-reconcile", injected);
    Ok(stores)
}

fn open(
    disks: &dyn Disks,
    folder: &Path,
    node: NodeId,
    founding: &Arc<Founding>,
    options: StoreOptions,
) -> Result<NodeStores, StartError> {
    fs::create_dir_all(folder)?;
    let lock = take_identity(folder, node, founding)?;
    let found = FoundSnapshots::list(&folder.join(SNAPSHOTS), founding)?;
    fail::fail_point!("start-before-restore", injected);
    let applied = restore(&folder.join(APPLIED), &found, founding, options.applied)?;
    // The log may be dropped in favour of what is applied: that must not be lost with the power.
    applied.sync()?;
    if applied.applied().is_some() && !holds(folder, RAFT) {
        return Err(StartError::RaftLogLost);
    }
    fail::fail_point!("start-before-raft-log", injected);
    let log = disks.open_log(&folder.join(RAFT))?;
    let log = RaftLog::open_on(log, &founding.log_genesis(), Arc::new(LedgerBlocks), options.log)?;
    let snapshots = Snapshots::new(found, Arc::clone(founding), log.clone(), lock);
    Ok(NodeStores { log, applied, snapshots })
}

/// Opens `applied/`, restored from the newest snapshot if that ends later.
fn restore(
    path: &Path,
    found: &FoundSnapshots,
    founding: &Arc<Founding>,
    options: AppliedOptions,
) -> Result<AppliedStore, StartError> {
    let Some(snapshot) = found.current() else {
        return Ok(AppliedStore::open(path, Arc::clone(founding), options)?);
    };
    if folders::newest(path)?.is_none() {
        snapshot.check_files()?;
        folders::install(path, 0, &snapshot.database(), snapshot.manifest().files())?;
    }
    let applied = AppliedStore::open(path, Arc::clone(founding), options)?;
    if applied.applied() < Some(snapshot.manifest().log_id()) {
        snapshot.check_files()?;
        applied.install(&snapshot.database(), snapshot.manifest())?;
    }
    Ok(applied)
}

async fn reconcile(stores: &NodeStores) -> Result<(), StartError> {
    let NodeStores { log, applied, snapshots } = stores;
    let (last, position) = applied.position();
    match log.reconcile(last.map(|last| (last, position))).await? {
        Reconciliation::Keep => {}
        Reconciliation::DropLogAndSetPurged(purged) => {
            tracing::warn!(%purged, "the Raft log did not reach what is applied and was dropped");
        }
        Reconciliation::Refuse(refusal) => return Err(refusal.into()),
    }
    let purged = log.clone().get_log_state().await?.last_purged_log_id;
    if purged.is_some() && snapshots.current().is_none() {
        return Err(StartError::NoSnapshot);
    }
    // A larger size is compared when the log is applied as far.
    if let Some(signed) = log.last_signed() {
        let view = applied.view();
        let root = crate::blocking::spawn(move || view.log_root_at(signed.size)).await;
        let root = root.map_err(|_| StartError::ThreadGone)??;
        if root.is_some_and(|root| root != signed.root) {
            return Err(StartError::SignedDiffers { size: signed.size });
        }
    }
    Ok(())
}

/// Checks whose folder it is, or makes it this node's; locks it.
fn take_identity(folder: &Path, node: NodeId, founding: &Founding) -> Result<fs::File, StartError> {
    let path = folder.join(IDENTITY);
    let ledger = founding.ledger();
    if !path.try_exists()? {
        if let Some(store) = [RAFT, APPLIED, SNAPSHOTS].into_iter().find(|name| holds(folder, name)) {
            return Err(StartError::NoIdentity(store));
        }
        let identity = [IDENTITY_PREFIX, &node.to_be_bytes(), ledger.0.as_bytes()].concat();
        write_durably(folder, &path, &identity)?;
    }
    let lock = fs::File::open(&path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(StartError::Locked),
        Err(fs::TryLockError::Error(error)) => return Err(error.into()),
    }
    let found = fs::read(&path)?;
    let fields = found.strip_prefix(IDENTITY_PREFIX).and_then(|rest| rest.split_first_chunk());
    let Some((found_node, found_ledger)) = fields else { return Err(StartError::NoIdentity(IDENTITY)) };
    let found_node = NodeId::from_be_bytes(*found_node);
    if found_ledger != ledger.0.as_bytes() {
        return Err(StartError::OtherLedger);
    }
    if found_node != node {
        return Err(StartError::OtherNode { found: found_node, node });
    }
    Ok(lock)
}

fn holds(folder: &Path, name: &str) -> bool {
    fs::read_dir(folder.join(name)).is_ok_and(|mut found| found.next().is_some())
}

fn write_durably(folder: &Path, path: &Path, bytes: &[u8]) -> Result<(), StartError> {
    let unfinished: PathBuf = path.with_extension("new");
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fail::fail_point!("start-before-identity", injected);
    fs::rename(&unfinished, path)?;
    files::sync_folder(folder)?;
    Ok(())
}

#[cfg(feature = "failpoints")]
fn injected<T>(reason: Option<String>) -> Result<T, StartError> {
    Err(StartError::Injected(reason.unwrap_or_default()))
}
