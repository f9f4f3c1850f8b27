//! What a snapshot is on the wire, and the two ends that its files come from and go to.

use std::future::Future;
use std::io;

use chancery_ledger::hash::Hash;

use crate::network::bounds::{SNAPSHOT_FILES_MAX, SNAPSHOT_NAME_BYTES_MAX};
use crate::raft::types::{SnapshotFolder, SnapshotMeta, Vote};

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// Relative to the folder, parts separated by `/`.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: Hash,
}

/// The files of a snapshot: sorted by name, without duplicates, every name a plain relative path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    files: Vec<ManifestFile>,
}

/// These files are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More than [`SNAPSHOT_FILES_MAX`].
    #[error("{0} files in a snapshot")]
    TooMany(usize),
    /// A name that is empty, too long, absolute, or leads out of the folder.
    #[error("{0:?} is no name of a file in a snapshot")]
    Name(String),
    /// Not sorted, or a name twice.
    #[error("{0:?} is out of order")]
    Order(String),
    /// The sizes add up to more than can be.
    #[error("sizes overflow")]
    Size,
}

impl Manifest {
    /// Checks the files.
    pub fn new(files: Vec<ManifestFile>) -> Result<Self, ManifestError> {
        if files.len() > SNAPSHOT_FILES_MAX {
            return Err(ManifestError::TooMany(files.len()));
        }
        if let Some(file) = files.iter().find(|file| !is_plain_name(&file.name)) {
            return Err(ManifestError::Name(file.name.clone()));
        }
        let mut pairs = files.iter().zip(files.iter().skip(1));
        if let Some((_, late)) = pairs.find(|(early, late)| early.name >= late.name) {
            return Err(ManifestError::Order(late.name.clone()));
        }
        let sum = files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.size_bytes));
        sum.map(|_| Self { files }).ok_or(ManifestError::Size)
    }

    /// The files, sorted by name.
    pub fn files(&self) -> &[ManifestFile] {
        &self.files
    }

    /// All bytes together.
    pub fn size_bytes(&self) -> u64 {
        // INVARIANT: `new` added them up.
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

fn is_plain_name(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.len() <= SNAPSHOT_NAME_BYTES_MAX
        && name.split('/').all(plain)
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b':')
}

/// Where a snapshot's files are listed.
pub trait SnapshotSource: Send + Sync + 'static {
    /// The files of the snapshot in `folder`. They are read afterwards, by name, and must not change;
    /// a folder that goes away meanwhile only fails this transfer.
    fn manifest(&self, folder: &SnapshotFolder) -> impl Future<Output = io::Result<Manifest>> + Send;
}

/// Where a received snapshot goes.
pub trait SnapshotSink: Send + Sync + 'static {
    /// What takes one snapshot.
    type Writer: SnapshotWriter;

    /// Prepares to take a snapshot that the leader of `vote` sends, in a temporary place. A refusal
    /// here costs no transfer.
    fn begin(
        &self,
        vote: Vote,
        meta: &SnapshotMeta,
        manifest: &Manifest,
    ) -> impl Future<Output = Result<Self::Writer, SnapshotError>> + Send;
}

/// Takes one snapshot. Dropped before it is finished, it leaves nothing behind.
pub trait SnapshotWriter: Send + 'static {
    /// The next bytes of file number `file` of the manifest. They come in order, without gaps, and
    /// never more than the manifest says.
    fn chunk(
        &mut self,
        file: usize,
        offset: u64,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<(), SnapshotError>> + Send;

    /// All bytes came. Verifies the hashes and the roots inside, syncs, renames and registers; the
    /// folder is handed to Raft next.
    fn finish(self) -> impl Future<Output = Result<SnapshotFolder, SnapshotError>> + Send;
}

/// Why a snapshot is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is not what it says it is.
    #[error("snapshot refused: {0}")]
    Refused(String),
    /// This node's disk failed.
    #[error("snapshot not written: {0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(name: &str, size_bytes: u64) -> ManifestFile {
        ManifestFile { name: name.to_owned(), size_bytes, sha256: Hash::ZERO }
    }

    #[test]
    fn files_are_sorted_plain_and_few() {
        let manifest = Manifest::new(vec![file("db/000012.sst", 5), file("head", 7)]).unwrap();
        assert_eq!(manifest.size_bytes(), 12);
        assert_eq!(Manifest::new(vec![]).unwrap().size_bytes(), 0);
        for name in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "c:a", "a\0b", "a b", "ä"] {
            assert_eq!(Manifest::new(vec![file(name, 0)]), Err(ManifestError::Name(name.to_owned())));
        }
        let long = "a".repeat(SNAPSHOT_NAME_BYTES_MAX + 1);
        assert!(Manifest::new(vec![file(&long, 0)]).is_err());
        assert!(matches!(Manifest::new(vec![file("b", 0), file("a", 0)]), Err(ManifestError::Order(_))));
        assert!(matches!(Manifest::new(vec![file("a", 0), file("a", 0)]), Err(ManifestError::Order(_))));
        assert_eq!(Manifest::new(vec![file("a", u64::MAX), file("b", 1)]), Err(ManifestError::Size));
        let many = (0..=SNAPSHOT_FILES_MAX).map(|n| file(&format!("{n:09}"), 0)).collect();
        assert_eq!(Manifest::new(many), Err(ManifestError::TooMany(SNAPSHOT_FILES_MAX + 1)));
    }
}
