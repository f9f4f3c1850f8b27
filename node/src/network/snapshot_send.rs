//! Streams the files of a snapshot to a peer, one chunk in memory at a time.
//!
//! That a file cannot be read is never Raft's fault here: a newer snapshot may have replaced the folder
//! meanwhile. The transfer fails, and the next one asks for the snapshot anew.

use std::fs::File;
use std::io::{self, Read};
use std::pin::pin;
use std::time::Duration;

use chancery_proto::v1::peer;
use openraft::errors::{RPCError, Unreachable};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::SnapshotResponse;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use crate::network::bounds::SNAPSHOT_CHUNK_BYTES_MAX;
use crate::network::links::Link;
use crate::network::raft_network::{rpc_error, timed_out};
use crate::network::snapshot::{Manifest, SnapshotSource};
use crate::network::wire::{of_vote, to_snapshot_header};
use crate::raft::types::{Snapshot, SnapshotFolder, TypeConfig, Vote};

/// Sends `snapshot` and waits until it is installed. Dropped, it stops at once, and the peer drops what
/// it has.
pub(super) async fn send<Q: SnapshotSource>(
    link: &Link,
    source: &Q,
    vote: Vote,
    snapshot: &Snapshot,
    option: &RPCOption,
) -> Result<SnapshotResponse<TypeConfig>, RPCError<TypeConfig>> {
    let manifest = source.manifest(&snapshot.snapshot).await.map_err(|error| Unreachable::new(&error))?;
    let header =
        to_snapshot_header(&vote, &snapshot.meta, &manifest).map_err(|error| Unreachable::new(&error))?;
    let chunk_bytes = option.snapshot_chunk_size().unwrap_or(SNAPSHOT_CHUNK_BYTES_MAX);
    let (chunks, body) = mpsc::channel(1);
    let feed = Feed {
        folder: &snapshot.snapshot,
        manifest: &manifest,
        chunk_bytes: chunk_bytes.clamp(1, SNAPSHOT_CHUNK_BYTES_MAX),
        stall_max: link.options.snapshot_stall_max,
        chunks,
    };

    let mut client = link.snapshot();
    let mut reply = pin!(client.snapshot(ReceiverStream::new(body)));
    let reply = tokio::select! {
        biased;
        early = &mut reply => early,
        fed = feed.run(header) => {
            match fed {
                Ok(()) | Err(FeedError::PeerGone) => {}
                Err(FeedError::Stalled(wait)) => {
                    return Err(timed_out(link, RPCTypes::InstallSnapshot, wait));
                }
                Err(FeedError::Read(error)) => return Err(Unreachable::new(&error).into()),
            }
            let wait = link.options.snapshot_install_max.max(option.soft_ttl());
            timeout(wait, reply).await.map_err(|_| timed_out(link, RPCTypes::InstallSnapshot, wait))?
        }
    };
    let reply = reply.map_err(|status| rpc_error(&status))?.into_inner();
    let vote = of_vote(reply.vote).map_err(|error| Unreachable::new(&error))?;
    Ok(SnapshotResponse::new(vote))
}

enum FeedError {
    Read(io::Error),
    Stalled(Duration),
    /// The call ended; its reply says why.
    PeerGone,
}

impl From<io::Error> for FeedError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

struct Feed<'a> {
    folder: &'a SnapshotFolder,
    manifest: &'a Manifest,
    chunk_bytes: usize,
    stall_max: Duration,
    chunks: mpsc::Sender<peer::SnapshotChunk>,
}

impl Feed<'_> {
    async fn run(self, header: peer::SnapshotHeader) -> Result<(), FeedError> {
        use peer::snapshot_chunk::Part;
        self.push(Part::Header(header)).await?;
        for (number, listed) in (0_u32..).zip(self.manifest.files()) {
            let path = self.folder.path().join(&listed.name);
            let mut file = on_disk(move || File::open(path)).await?;
            let mut offset = 0;
            while offset < listed.size_bytes {
                let left = listed.size_bytes - offset;
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.chunk_bytes);
                let (read_on, bytes) = on_disk(move || read(file, length)).await?;
                file = read_on;
                self.push(Part::Bytes(peer::SnapshotBytes { file: number, offset, bytes })).await?;
                offset += length as u64;
            }
        }
        Ok(())
    }

    async fn push(&self, part: peer::snapshot_chunk::Part) -> Result<(), FeedError> {
        let chunk = peer::SnapshotChunk { part: Some(part) };
        match timeout(self.stall_max, self.chunks.send(chunk)).await {
            Ok(sent) => sent.map_err(|_| FeedError::PeerGone),
            Err(_) => Err(FeedError::Stalled(self.stall_max)),
        }
    }
}

fn read(mut file: File, length: usize) -> io::Result<(File, Vec<u8>)> {
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    Ok((file, bytes))
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    crate::blocking::spawn(work).await.map_err(io::Error::other)?
}
