//! Sending a registered snapshot, a part at a time.

use std::fs::File;
use std::io::{self, Read};

use super::{Registered, SnapshotError};

/// Most bytes in one part.
pub const SNAPSHOT_CHUNK_SIZE_BYTES_MAX: usize = 1 << 20;

/// A part of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// The file's name, as in the manifest.
    pub file: String,
    /// Where in the file the part belongs.
    pub offset: u64,
    /// At least one byte, at most [`SNAPSHOT_CHUNK_SIZE_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// Reads the files of a snapshot in the order of the manifest. Holds one part in memory.
///
/// A snapshot that is no longer kept is removed under its reader, which then fails.
pub struct SnapshotReader {
    snapshot: Registered,
    /// Which file of the manifest is next, or being read.
    position: usize,
    open: Option<(File, u64)>,
}

impl SnapshotReader {
    /// A reader of `snapshot`, at its start.
    pub const fn new(snapshot: Registered) -> Self {
        Self { snapshot, position: 0, open: None }
    }

    /// What the receiver must be given first.
    pub fn manifest(&self) -> Result<Vec<u8>, SnapshotError> {
        Ok(self.snapshot.manifest().encode()?)
    }

    /// The next part; `None` after the last. Blocks on the disk.
    pub fn next_chunk(&mut self) -> io::Result<Option<SnapshotChunk>> {
        while let Some(record) = self.snapshot.manifest().files().get(self.position) {
            let (mut file, offset) = match self.open.take() {
                Some(open) => open,
                None => (File::open(self.snapshot.database().join(&record.name))?, 0),
            };
            let left = record.size_bytes.saturating_sub(offset);
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(SNAPSHOT_CHUNK_SIZE_BYTES_MAX);
            if length == 0 {
                self.position += 1;
                continue;
            }
            let mut bytes = vec![0; length];
            file.read_exact(&mut bytes)?;
            let chunk = SnapshotChunk { file: record.name.clone(), offset, bytes };
            self.open = Some((file, offset.saturating_add(length as u64)));
            return Ok(Some(chunk));
        }
        Ok(None)
    }
}
