//! Takes a snapshot from the leader: checks that exactly the listed bytes come, in order, and gives them
//! to the sink; then hands the finished folder to Raft.

use std::sync::Arc;
use std::time::Duration;

use chancery_proto::v1::peer;
use chancery_proto::v1::peer::snapshot_chunk::Part;
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use openraft::storage::RaftStateMachine;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::network::bounds::SNAPSHOT_CHUNK_BYTES_MAX;
use crate::network::service::{check_own, raft_stopped};
use crate::network::snapshot::{Manifest, SnapshotError, SnapshotSink, SnapshotWriter};
use crate::network::tls::PeerId;
use crate::network::wire::{malformed, of_snapshot_header};
use crate::raft::types::{Snapshot, SnapshotFolder, TypeConfig, Vote};

impl From<SnapshotError> for Status {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Refused(_) => Self::invalid_argument(error.to_string()),
            SnapshotError::Io(_) => Self::resource_exhausted(error.to_string()),
        }
    }
}

/// Takes one snapshot from `peer` and answers with this node's vote after it. Until all bytes are here, a
/// caller that goes away ends it and the writer is dropped; from then on it is finished regardless.
pub(super) async fn receive<SM, K>(
    raft: &Raft<TypeConfig, SM>,
    sink: Arc<K>,
    peer: PeerId,
    mut chunks: Streaming<peer::SnapshotChunk>,
    stall_max: Duration,
    turn: OwnedSemaphorePermit,
) -> Result<Vote, Status>
where
    SM: RaftStateMachine<TypeConfig, SnapshotData = SnapshotFolder>,
    K: SnapshotSink,
{
    let Some(Part::Header(header)) = next_part(&mut chunks, stall_max).await? else {
        return Err(malformed("snapshot", "no header").into());
    };
    let (vote, meta, manifest) = of_snapshot_header(header)?;
    check_own(peer, &vote)?;
    let known = raft.metrics().borrow_watched().vote;
    if known > vote {
        // The sender's term is over: it need not send the rest.
        return Ok(known);
    }
    let mut writer = sink.begin(vote, &meta, &manifest).await?;
    let mut place = Place::start(&manifest);
    while let Some(part) = next_part(&mut chunks, stall_max).await? {
        let Part::Bytes(chunk) = part else { return Err(malformed("snapshot", "two headers").into()) };
        let file = place.take(&chunk).ok_or_else(|| malformed("snapshot", "bytes out of place"))?;
        writer.chunk(file, chunk.offset, chunk.bytes).await?;
    }
    if !place.is_end() {
        return Err(malformed("snapshot", "cut off").into());
    }

    let raft = raft.clone();
    let install = async move {
        let _turn = turn;
        let snapshot = Snapshot { meta, snapshot: writer.finish().await? };
        raft.install_full_snapshot(vote, snapshot).await.map(|reply| reply.vote).map_err(raft_stopped)
    };
    tokio::spawn(install).await.map_err(|error| Status::internal(error.to_string()))?
}

async fn next_part(
    chunks: &mut Streaming<peer::SnapshotChunk>,
    stall_max: Duration,
) -> Result<Option<Part>, Status> {
    let next = timeout(stall_max, chunks.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the snapshot does not go on"))?;
    match next? {
        None => Ok(None),
        Some(chunk) => chunk.part.map(Some).ok_or_else(|| malformed("snapshot", "empty chunk").into()),
    }
}

/// Where in the manifest the next bytes belong.
struct Place<'a> {
    manifest: &'a Manifest,
    file: usize,
    offset: u64,
}

impl<'a> Place<'a> {
    fn start(manifest: &'a Manifest) -> Self {
        let mut place = Self { manifest, file: 0, offset: 0 };
        place.pass_full_files();
        place
    }

    /// The file that `chunk` is of, if it is the next bytes and within bounds.
    fn take(&mut self, chunk: &peer::SnapshotBytes) -> Option<usize> {
        let file = usize::try_from(chunk.file).ok()?;
        let length = chunk.bytes.len();
        let end = chunk.offset.checked_add(length as u64)?;
        let size_bytes = self.manifest.files().get(self.file)?.size_bytes;
        if file != self.file
            || chunk.offset != self.offset
            || !(1..=SNAPSHOT_CHUNK_BYTES_MAX).contains(&length)
            || end > size_bytes
        {
            return None;
        }
        self.offset = end;
        self.pass_full_files();
        Some(file)
    }

    fn pass_full_files(&mut self) {
        while self.manifest.files().get(self.file).is_some_and(|file| file.size_bytes == self.offset) {
            self.file += 1;
            self.offset = 0;
        }
    }

    fn is_end(&self) -> bool {
        self.file == self.manifest.files().len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chancery_ledger::hash::Hash;

    use super::*;
    use crate::network::snapshot::ManifestFile;

    fn chunk(file: u32, offset: u64, length: usize) -> peer::SnapshotBytes {
        peer::SnapshotBytes { file, offset, bytes: vec![0; length] }
    }

    #[test]
    fn bytes_have_one_place() {
        let sizes = [("a", 0), ("b", 10), ("c", 0), ("d", 3), ("e", 0)];
        let file = |(name, size_bytes): (&str, u64)| ManifestFile {
            name: name.to_owned(),
            size_bytes,
            sha256: Hash::ZERO,
        };
        let manifest = Manifest::new(sizes.into_iter().map(file).collect()).unwrap();
        let mut place = Place::start(&manifest);
        for wrong in [chunk(0, 0, 1), chunk(1, 1, 1), chunk(1, 0, 0), chunk(1, 0, 11), chunk(3, 0, 3)] {
            assert_eq!(place.take(&wrong), None);
        }
        assert_eq!(place.take(&chunk(1, 0, 4)), Some(1));
        assert_eq!(place.take(&chunk(1, 0, 4)), None);
        assert_eq!(place.take(&chunk(1, 4, 6)), Some(1));
        assert!(!place.is_end());
        assert_eq!(place.take(&chunk(3, 0, 3)), Some(3));
        assert!(place.is_end());
        assert_eq!(place.take(&chunk(3, 3, 1)), None);
        assert_eq!(place.take(&chunk(5, 0, 1)), None);
        assert!(Place::start(&Manifest::default()).is_end());
    }
}
