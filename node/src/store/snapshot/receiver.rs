//! Receiving a snapshot: nothing of it counts before all of it is verified and durable.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::Ordering;

use chancery_ledger::hash::Hash;
use sha2::{Digest, Sha256};

use super::files::{self, Unfinished};
use super::manifest::Manifest;
use super::reader::SNAPSHOT_CHUNK_SIZE_BYTES_MAX;
use super::verify;
use super::{DATABASE, Registered, SnapshotError, Snapshots, seal};

/// Takes the parts of one snapshot, in the order of the manifest. Dropped before it is finished, it leaves
/// nothing. Every call blocks on the disk.
pub struct SnapshotReceiver {
    snapshots: Snapshots,
    attempt: u64,
    unfinished: Unfinished,
    manifest: Manifest,
    /// Which file of the manifest is next, or being written.
    position: usize,
    open: Option<Open>,
}

struct Open {
    file: File,
    written: u64,
    hasher: Sha256,
}

impl SnapshotReceiver {
    /// Begins to receive the snapshot of an encoded manifest.
    pub fn begin(snapshots: &Snapshots, manifest: &[u8]) -> Result<Self, SnapshotError> {
        fail::fail_point!("snapshot-receive-begin", super::injected);
        let manifest = Manifest::decode(manifest)?;
        let shared = &snapshots.shared;
        verify::check_claims(&manifest, &shared.founding)?;
        if let Some(current) = snapshots.current()
            && current.manifest().log_id() >= manifest.log_id()
        {
            let registered = current.manifest().log_id();
            return Err(SnapshotError::Outdated { offered: manifest.log_id(), registered });
        }
        let (attempt, unfinished) = snapshots.unfinished()?;
        std::fs::create_dir(unfinished.path().join(DATABASE))?;
        shared.receiving.store(attempt, Ordering::Release);
        let snapshots = snapshots.clone();
        Ok(Self { snapshots, attempt, unfinished, manifest, position: 0, open: None })
    }

    /// What the snapshot holds, as its sender says.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Takes the next part.
    pub fn chunk(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.check_current()?;
        fail::fail_point!("snapshot-receive-chunk", super::injected);
        self.skip_empty_files()?;
        let not_next = || SnapshotError::Part { file: file.chars().take(64).collect(), offset };
        let record = self.manifest.files().get(self.position).ok_or_else(not_next)?;
        let written = self.open.as_ref().map_or(0, |open| open.written);
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= record.size_bytes);
        let in_bounds = !bytes.is_empty() && bytes.len() <= SNAPSHOT_CHUNK_SIZE_BYTES_MAX;
        let (Some(end), true) = (end, in_bounds && record.name == file && offset == written) else {
            return Err(not_next());
        };
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create(&record.name)?,
        };
        open.file.write_all(bytes)?;
        open.hasher.update(bytes);
        open.written = end;
        if end == record.size_bytes {
            if Hash(open.hasher.finalize().into()) != record.sha256 {
                return Err(SnapshotError::File(record.name.clone()));
            }
            self.position += 1;
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    /// Verifies the whole snapshot, makes it durable, and registers it. It may be handed to Raft then.
    pub fn finish(mut self) -> Result<Registered, SnapshotError> {
        self.check_current()?;
        self.skip_empty_files()?;
        if self.open.is_some() || self.position != self.manifest.files().len() {
            return Err(SnapshotError::Incomplete);
        }
        fail::fail_point!("snapshot-receive-before-verify", super::injected);
        let Self { snapshots, unfinished, manifest, .. } = self;
        let database = unfinished.path().join(DATABASE);
        verify::verify(&database, unfinished.path(), &manifest, &snapshots.shared.founding)?;
        files::remove_folder(&unfinished.path().join(verify::NOTES))?;
        fail::fail_point!("snapshot-receive-before-sync", super::injected);
        seal(&unfinished, &manifest)?;
        snapshots.register(unfinished, manifest)
    }

    fn check_current(&self) -> Result<(), SnapshotError> {
        let current = self.snapshots.shared.receiving.load(Ordering::Acquire) == self.attempt;
        if current { Ok(()) } else { Err(SnapshotError::Superseded) }
    }

    /// Makes the files that have no parts.
    fn skip_empty_files(&mut self) -> Result<(), SnapshotError> {
        while let Some(record) = self.manifest.files().get(self.position)
            && record.size_bytes == 0
        {
            if record.sha256 != Hash::of(&[]) {
                return Err(SnapshotError::File(record.name.clone()));
            }
            self.create(&record.name)?;
            self.position += 1;
        }
        Ok(())
    }

    fn create(&self, name: &str) -> Result<Open, SnapshotError> {
        // INVARIANT: a manifest holds no name with a separator.
        let path = self.unfinished.path().join(DATABASE).join(name);
        Ok(Open { file: File::create_new(path)?, written: 0, hasher: Sha256::new() })
    }
}
