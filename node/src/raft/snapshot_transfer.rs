//! Snapshots between nodes: what the network carries, from and to what the store registers.
//!
//! On the wire a snapshot is its folder's files, the manifest first. The receiving store knows from the
//! manifest what it will verify, before a byte of the database is taken.

use std::io;

use chancery_ledger::hash::Hash;

use crate::network::{Manifest, ManifestFile, SnapshotError, SnapshotSink, SnapshotSource, SnapshotWriter};
use crate::raft::types::{SnapshotFolder, SnapshotMeta, Vote};
use crate::store::snapshot::{
    self, DATABASE, MANIFEST, MANIFEST_SIZE_BYTES_MAX, SnapshotReceiver, Snapshots,
};

/// The registered snapshots of this node, as the network sees them.
#[derive(Clone)]
pub struct SnapshotTransfer {
    snapshots: Snapshots,
}

impl SnapshotTransfer {
    /// Sends from and receives into `snapshots`.
    pub const fn new(snapshots: Snapshots) -> Self {
        Self { snapshots }
    }
}

impl SnapshotSource for SnapshotTransfer {
    async fn manifest(&self, folder: &SnapshotFolder) -> io::Result<Manifest> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the snapshot is not registered any more");
        let registered = self.snapshots.at(folder).ok_or_else(gone)?;
        let own = registered.manifest().encode().map_err(io::Error::other)?;
        let first =
            ManifestFile { name: MANIFEST.into(), size_bytes: own.len() as u64, sha256: Hash::of(&[&own]) };
        let database = registered.manifest().files().iter().map(|file| ManifestFile {
            name: format!("{DATABASE}/{}", file.name),
            size_bytes: file.size_bytes,
            sha256: file.sha256,
        });
        Manifest::new(std::iter::once(first).chain(database).collect()).map_err(io::Error::other)
    }
}

impl SnapshotSink for SnapshotTransfer {
    type Writer = Receiving;

    async fn begin(
        &self,
        _vote: Vote,
        meta: &SnapshotMeta,
        manifest: &Manifest,
    ) -> Result<Receiving, SnapshotError> {
        let first = manifest.files().first().filter(|file| file.name == MANIFEST);
        let size = first.and_then(|file| usize::try_from(file.size_bytes).ok()).unwrap_or(0);
        if size == 0 || size > MANIFEST_SIZE_BYTES_MAX {
            return Err(SnapshotError::Refused("it does not begin with a manifest".into()));
        }
        let registered = self.snapshots.current().filter(|current| current.manifest().meta() == *meta);
        let names = manifest.files().iter().map(|file| file.name.clone()).collect();
        Ok(Receiving {
            snapshots: self.snapshots.clone(),
            meta: meta.clone(),
            names,
            manifest: Vec::with_capacity(size),
            manifest_size_bytes: size,
            receiver: None,
            registered: registered.map(|registered| registered.folder().clone()),
        })
    }
}

/// A snapshot that is coming in. Dropped before it is finished, it leaves nothing.
pub struct Receiving {
    snapshots: Snapshots,
    meta: SnapshotMeta,
    names: Vec<String>,
    manifest: Vec<u8>,
    manifest_size_bytes: usize,
    /// Taken while it works on a thread that may block.
    receiver: Option<SnapshotReceiver>,
    /// This very snapshot came before, and Raft did not take it then: it need not come again.
    registered: Option<SnapshotFolder>,
}

impl SnapshotWriter for Receiving {
    async fn chunk(&mut self, file: usize, offset: u64, bytes: Vec<u8>) -> Result<(), SnapshotError> {
        if self.registered.is_some() {
            return Ok(());
        }
        let Some(receiver) = self.receiver.take() else {
            self.manifest.extend_from_slice(&bytes);
            if self.manifest.len() < self.manifest_size_bytes {
                return Ok(());
            }
            let (snapshots, manifest) = (self.snapshots.clone(), std::mem::take(&mut self.manifest));
            let begun = on_disk(move || SnapshotReceiver::begin(&snapshots, &manifest)).await?;
            if begun.manifest().meta() != self.meta {
                return Err(SnapshotError::Refused("it does not end where its sender said".into()));
            }
            self.receiver = Some(begun);
            return Ok(());
        };
        let name = self.names.get(file).and_then(|name| name.strip_prefix(DATABASE)?.strip_prefix('/'));
        let name = name.ok_or_else(|| SnapshotError::Refused("a file that is not in the database".into()))?;
        let (name, mut receiver) = (name.to_owned(), receiver);
        let taken = on_disk(move || receiver.chunk(&name, offset, &bytes).map(|()| receiver)).await?;
        self.receiver = Some(taken);
        Ok(())
    }

    async fn finish(self) -> Result<SnapshotFolder, SnapshotError> {
        if let Some(folder) = self.registered {
            return Ok(folder);
        }
        let incomplete = || SnapshotError::Refused("it ends before its database begins".into());
        let receiver = self.receiver.ok_or_else(incomplete)?;
        Ok(on_disk(move || receiver.finish()).await?.folder().clone())
    }
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, snapshot::SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    let ended = crate::blocking::spawn(work).await;
    let ended = ended.map_err(|error| SnapshotError::Io(io::Error::other(error)))?;
    ended.map_err(|error| match error {
        snapshot::SnapshotError::Disk(error) => SnapshotError::Io(error),
        other => SnapshotError::Refused(other.to_string()),
    })
}
