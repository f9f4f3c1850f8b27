//! Snapshots: whole copies of the applied store, as folders.
//!
//! A snapshot is a folder `<index>-<term>` (of its last log entry) below `snapshots/`, with the database's
//! files in `database/` and a [`Manifest`] beside them. That a folder has such a name *is* its
//! registration: it is written under another name, synced, and renamed when all is done, and what has
//! another name is removed at the next start. The newest is current; one older is kept.
//!
//! A snapshot made here is registered once a quorum has signed its head. One that is received is verified
//! whole before: see [`verify`]. A node never states less than its registered snapshots prove, so each is
//! made known to the [`RaftLog`] in the same step.

mod build;
pub(in crate::store) mod files;
pub(in crate::store) mod manifest;
mod reader;
mod receiver;
pub mod verify;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use build::HeadQuorumSource;
pub use manifest::{
    FileRecord, MANIFEST_SIZE_BYTES_MAX, Manifest, ManifestError, SNAPSHOT_FILES_MAX, SNAPSHOT_SIZE_BYTES_MAX,
};
pub use reader::{SNAPSHOT_CHUNK_SIZE_BYTES_MAX, SnapshotChunk, SnapshotReader};
pub use receiver::SnapshotReceiver;
pub use verify::VerifyError;

use crate::raft::types::{LogId, Snapshot, SnapshotFolder};
use crate::store::RaftLog;
use crate::store::applied::{AppliedDead, AppliedFault, Founding};
use files::Unfinished;

/// How many registered snapshots are kept.
const KEPT: usize = 2;

pub(crate) const DATABASE: &str = "database";
/// In capitals, so that it is the first file of a folder in the order of names, and a transfer begins with it.
pub(crate) const MANIFEST: &str = "MANIFEST";
const UNFINISHED: &str = "unfinished-";

/// Why a snapshot could not be made, read or taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk failed.
    #[error("snapshot: {0}")]
    Disk(#[from] io::Error),
    /// The database in it cannot be read.
    #[error("snapshot: {0}")]
    Database(#[from] AppliedFault),
    /// The store that it was to be made of is dead.
    #[error(transparent)]
    Dead(#[from] AppliedDead),
    /// No manifest.
    #[error("snapshot: {0}")]
    Manifest(#[from] ManifestError),
    /// A registered folder that does not hold what its name says.
    #[error("registered snapshot {path}: {reason}")]
    Registered {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is of another ledger.
    #[error("the snapshot is of another ledger")]
    OtherLedger,
    /// It ends no later than one that is registered: use that.
    #[error("the snapshot ends at {offered}, a registered one at {registered}")]
    Outdated {
        /// The end of what was offered.
        offered: LogId,
        /// The end of the current one.
        registered: LogId,
    },
    /// A part that is not the next one.
    #[error("the part of {file} at {offset} is not what comes next")]
    Part {
        /// The file that was named.
        file: String,
        /// The offset that was named.
        offset: u64,
    },
    /// The sender ended too early.
    #[error("the snapshot is not complete")]
    Incomplete,
    /// A file that is not the one in the manifest.
    #[error("{0} is not the file in the manifest")]
    File(String),
    /// Another transfer was begun after this one.
    #[error("another transfer took the place of this one")]
    Superseded,
    /// What it holds does not verify.
    #[error("the snapshot does not verify: {0}")]
    Verify(#[from] VerifyError),
    /// Nothing is applied that a snapshot could hold.
    #[error("there is nothing to make a snapshot of yet")]
    Nothing,
    /// The node stops.
    #[error("the node stops")]
    Stopping,
    /// A failpoint.
    #[error("injected: {0}")]
    Injected(String),
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> Self {
        Self::other(error)
    }
}

/// A registered snapshot.
#[derive(Clone, Debug)]
pub struct Registered {
    folder: SnapshotFolder,
    manifest: Arc<Manifest>,
}

impl Registered {
    /// What it holds.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Where it is.
    pub const fn folder(&self) -> &SnapshotFolder {
        &self.folder
    }

    /// As Raft takes it.
    pub fn to_raft(&self) -> Snapshot {
        Snapshot { meta: self.manifest.meta(), snapshot: self.folder.clone() }
    }

    /// Checks every file against the manifest. Blocks on the disk.
    pub fn check_files(&self) -> Result<(), SnapshotError> {
        for file in self.manifest.files() {
            let measured = files::measure(&self.database().join(&file.name))?;
            if measured != (file.size_bytes, file.sha256) {
                return Err(SnapshotError::File(file.name.clone()));
            }
        }
        Ok(())
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join(DATABASE)
    }
}

/// The registered snapshots of one node. Handles share them.
#[derive(Clone)]
pub struct Snapshots {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    founding: Arc<Founding>,
    log: RaftLog,
    /// Keeps the node's folder locked.
    _lock: fs::File,
    /// Ascending by where they end.
    registered: Mutex<Vec<Registered>>,
    /// Names unfinished folders; a receiver with an older one is superseded.
    attempts: AtomicU64,
    receiving: AtomicU64,
}

impl Snapshots {
    /// Takes over the snapshots in `found`, and makes them known to `log`.
    pub(in crate::store) fn new(
        found: FoundSnapshots,
        founding: Arc<Founding>,
        log: RaftLog,
        lock: fs::File,
    ) -> Self {
        let FoundSnapshots { path, registered } = found;
        for snapshot in &registered {
            log.register_snapshot(snapshot.manifest.log_id(), snapshot.manifest.position());
        }
        Self {
            shared: Arc::new(Shared {
                path,
                founding,
                log,
                _lock: lock,
                registered: Mutex::new(registered),
                attempts: AtomicU64::new(0),
                receiving: AtomicU64::new(0),
            }),
        }
    }

    /// The newest.
    pub fn current(&self) -> Option<Registered> {
        self.shared.registered.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    /// The one in `folder`, if it is registered.
    pub fn at(&self, folder: &SnapshotFolder) -> Option<Registered> {
        let registered = self.shared.registered.lock().unwrap_or_else(PoisonError::into_inner);
        registered.iter().find(|snapshot| snapshot.folder == *folder).cloned()
    }

    /// Begins to receive the snapshot of an encoded manifest, in place of any other that is being received.
    /// Blocks on the disk.
    pub fn receive(&self, manifest: &[u8]) -> Result<SnapshotReceiver, SnapshotError> {
        SnapshotReceiver::begin(self, manifest)
    }

    /// Makes a synced folder with its manifest a registered snapshot, and removes what is too old. Blocks
    /// on the disk.
    fn register(&self, unfinished: Unfinished, manifest: Manifest) -> Result<Registered, SnapshotError> {
        let mut registered = self.shared.registered.lock().unwrap_or_else(PoisonError::into_inner);
        let log_id = manifest.log_id();
        if let Some(current) = registered.last()
            && current.manifest.log_id() >= log_id
        {
            let registered = current.manifest.log_id();
            return Err(SnapshotError::Outdated { offered: log_id, registered });
        }
        let path = self.shared.path.join(folder_name(log_id));
        fail::fail_point!("snapshot-before-rename", injected);
        fs::rename(unfinished.path(), &path)?;
        fail::fail_point!("snapshot-after-rename", injected);
        files::sync_folder(&self.shared.path)?;
        self.shared.log.register_snapshot(log_id, manifest.position());
        let snapshot = Registered { folder: SnapshotFolder::at(path), manifest: Arc::new(manifest) };
        registered.push(snapshot.clone());
        while registered.len() > KEPT {
            fail::fail_point!("snapshot-before-removal", injected);
            remove(&self.shared.path, registered.remove(0).folder.path())?;
        }
        Ok(snapshot)
    }

    /// A new folder for a snapshot in the making.
    fn unfinished(&self) -> Result<(u64, Unfinished), SnapshotError> {
        let attempt = self.shared.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.shared.path.join(format!("{UNFINISHED}{attempt}"));
        Ok((attempt, Unfinished::create(path)?))
    }
}

/// The snapshots that a start finds.
pub(in crate::store) struct FoundSnapshots {
    path: PathBuf,
    registered: Vec<Registered>,
}

impl FoundSnapshots {
    /// Lists the folder `path`, and removes what was not finished. Blocks on the disk.
    pub(in crate::store) fn list(path: &Path, founding: &Founding) -> Result<Self, SnapshotError> {
        fs::create_dir_all(path)?;
        let mut registered = Vec::new();
        for found in fs::read_dir(path)? {
            let found = found?;
            let name = found.file_name();
            let name = name.to_str().unwrap_or_default();
            if name.starts_with(UNFINISHED) {
                fs::remove_dir_all(found.path())?;
            } else {
                registered.push(load(&found.path(), name, founding)?);
            }
        }
        registered.sort_by_key(|snapshot| snapshot.manifest.log_id());
        while registered.len() > KEPT {
            remove(path, registered.remove(0).folder.path())?;
        }
        Ok(Self { path: path.into(), registered })
    }

    pub(in crate::store) fn current(&self) -> Option<&Registered> {
        self.registered.last()
    }
}

fn load(path: &Path, name: &str, founding: &Founding) -> Result<Registered, SnapshotError> {
    let wrong = |reason: String| SnapshotError::Registered { path: path.into(), reason };
    let file = path.join(MANIFEST);
    let size = fs::metadata(&file).map_err(|error| wrong(error.to_string()))?.len();
    if usize::try_from(size).map_or(true, |size| size > MANIFEST_SIZE_BYTES_MAX) {
        return Err(wrong("its manifest is too long".into()));
    }
    let manifest = Manifest::decode(&fs::read(file)?).map_err(|error| wrong(error.to_string()))?;
    if name != folder_name(manifest.log_id()) {
        return Err(wrong("its manifest is of another one".into()));
    }
    if manifest.head().ledger != founding.ledger() {
        return Err(SnapshotError::OtherLedger);
    }
    Ok(Registered { folder: SnapshotFolder::at(path), manifest: Arc::new(manifest) })
}

/// Ends a registration, then removes the folder: it is never there in part under a registered name.
fn remove(snapshots: &Path, folder: &Path) -> io::Result<()> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let doomed = snapshots.join(format!("{UNFINISHED}{name}"));
    fs::rename(folder, &doomed)?;
    fs::remove_dir_all(doomed)
}

/// Writes the manifest and makes the whole folder durable. Blocks on the disk.
fn seal(unfinished: &Unfinished, manifest: &Manifest) -> Result<(), SnapshotError> {
    let folder = unfinished.path();
    let database = folder.join(DATABASE);
    for file in manifest.files() {
        files::sync_file(&database.join(&file.name))?;
    }
    files::sync_folder(&database)?;
    let path = folder.join(MANIFEST);
    fs::write(&path, manifest.encode()?)?;
    files::sync_file(&path)?;
    files::sync_folder(folder)?;
    Ok(())
}

fn folder_name(log_id: LogId) -> String {
    format!("{:020}-{:020}", log_id.index, log_id.leader_id.term)
}

#[cfg(feature = "failpoints")]
fn injected<T>(reason: Option<String>) -> Result<T, SnapshotError> {
    Err(SnapshotError::Injected(reason.unwrap_or_default()))
}
