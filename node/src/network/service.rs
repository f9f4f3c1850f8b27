//! Peers' calls, handed to Raft and to the handler.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chancery_ledger::hash::Hash;
use chancery_proto::v1::peer;
use chancery_proto::v1::peer::peer_server::Peer;
use futures_util::{Stream, StreamExt};
use openraft::Raft;
use openraft::raft::AppendEntriesRequest;
use openraft::storage::RaftStateMachine;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::listener::{Caller, Phase};
use crate::network::bounds::{APPEND_BYTES_IN_FLIGHT_MAX, SIGNED_COMMAND_BYTES_MAX};
use crate::network::calls::{Declined, PeerHandler, to_submit_reply};
use crate::network::snapshot::SnapshotSink;
use crate::network::snapshot_receive;
use crate::network::tls::{PeerId, PeerRoster};
use crate::network::wire::{
    malformed, of_append, of_transfer, of_vote_request, to_append_reply, to_transfer_reply, to_vote,
    to_vote_reply,
};
use crate::raft::types::{Entry, LogId, SnapshotFolder, TypeConfig, Vote};

/// The service behind every connection.
pub(super) struct PeerService<SM, H, K>
where
    SM: RaftStateMachine<TypeConfig, SnapshotData = SnapshotFolder>,
{
    pub(super) raft: Raft<TypeConfig, SM>,
    pub(super) handler: Arc<H>,
    pub(super) sink: Arc<K>,
    pub(super) roster: Arc<dyn PeerRoster>,
    /// One snapshot at a time.
    pub(super) snapshots: Arc<Semaphore>,
    pub(super) snapshot_stall_max: Duration,
    pub(super) phase: watch::Receiver<Phase>,
}

impl<SM, H, K> PeerService<SM, H, K>
where
    SM: RaftStateMachine<TypeConfig, SnapshotData = SnapshotFolder>,
{
    /// Who calls, if it is still admitted.
    fn caller<T>(&self, request: &Request<T>) -> Result<PeerId, Status> {
        // INVARIANT: the listener makes only connections that have it.
        let connection = request.extensions().get::<Caller<PeerId>>();
        let connection = connection.ok_or_else(|| Status::unauthenticated("no verified peer"))?;
        if self.roster.admits(connection.id.node()) {
            Ok(connection.id)
        } else {
            tracing::warn!(peer = connection.id.node(), from = %connection.from, "no longer admitted");
            Err(Status::permission_denied("not admitted"))
        }
    }
}

/// A peer speaks for itself only.
pub(super) fn check_own(peer: PeerId, vote: &Vote) -> Result<(), Status> {
    if vote.leader_id.voted_for == peer.node() {
        Ok(())
    } else {
        tracing::warn!(peer = peer.node(), %vote, "a peer used another node's vote");
        Err(Status::permission_denied("another node's vote"))
    }
}

/// Raft has stopped: for the caller, a node to back off from.
pub(super) fn raft_stopped(error: impl ToString) -> Status {
    Status::failed_precondition(error.to_string())
}

#[tonic::async_trait]
impl<SM, H, K> Peer for PeerService<SM, H, K>
where
    SM: RaftStateMachine<TypeConfig, SnapshotData = SnapshotFolder>,
    H: PeerHandler,
    K: SnapshotSink,
{
    type AppendStream = Pin<Box<dyn Stream<Item = Result<peer::AppendReply, Status>> + Send>>;

    async fn append(
        &self,
        request: Request<Streaming<peer::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let peer = self.caller(&request)?;
        let handler = Arc::clone(&self.handler);
        let intake = Arc::new(Intake {
            peer,
            accept: Box::new(move |prev, last, entries| handler.accept_entries(prev, last, entries)),
            accepted: Mutex::default(),
            roster: Arc::clone(&self.roster),
            room: Arc::new(Semaphore::new(APPEND_BYTES_IN_FLIGHT_MAX)),
            taken: Mutex::default(),
            refusal: Mutex::default(),
        });
        let mut phase = self.phase.clone();
        let drain = async move {
            let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
        };
        let requests = Arc::clone(&intake).requests(request.into_inner()).take_until(Box::pin(drain));
        let answering = Arc::clone(&intake);
        let answers = self.raft.stream_append(requests).map(move |answer| {
            answering.answered();
            answer.map(|result| to_append_reply(&result)).map_err(raft_stopped)
        });
        let refusal = futures_util::stream::once(async move { intake.refusal().map(Err) });
        Ok(Response::new(Box::pin(answers.chain(refusal.filter_map(std::future::ready)))))
    }

    async fn heartbeat(
        &self,
        request: Request<peer::AppendRequest>,
    ) -> Result<Response<peer::AppendReply>, Status> {
        let peer = self.caller(&request)?;
        let request = of_append(request.into_inner())?;
        check_own(peer, &request.vote)?;
        if !request.entries.is_empty() {
            return Err(malformed("heartbeat", "has entries").into());
        }
        let mut answers = Box::pin(self.raft.stream_append(futures_util::stream::iter([request])));
        match answers.next().await {
            Some(answer) => Ok(Response::new(to_append_reply(&answer.map_err(raft_stopped)?))),
            None => Err(raft_stopped("no answer from Raft")),
        }
    }

    async fn vote(&self, request: Request<peer::VoteRequest>) -> Result<Response<peer::VoteReply>, Status> {
        let peer = self.caller(&request)?;
        let request = of_vote_request(request.into_inner())?;
        check_own(peer, &request.vote)?;
        let reply = self.raft.vote(request).await.map_err(raft_stopped)?;
        Ok(Response::new(to_vote_reply(&reply)))
    }

    async fn pre_vote(
        &self,
        request: Request<peer::VoteRequest>,
    ) -> Result<Response<peer::VoteReply>, Status> {
        let peer = self.caller(&request)?;
        let request = of_vote_request(request.into_inner())?;
        check_own(peer, &request.vote)?;
        let reply = self.raft.pre_vote(request).await.map_err(raft_stopped)?;
        Ok(Response::new(to_vote_reply(&reply)))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferLeaderRequest>,
    ) -> Result<Response<peer::TransferLeaderReply>, Status> {
        let peer = self.caller(&request)?;
        let request = of_transfer(request.into_inner())?;
        check_own(peer, request.from_leader())?;
        let reply = self.raft.handle_transfer_leader(request).await.map_err(raft_stopped)?;
        Ok(Response::new(to_transfer_reply(&reply)))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<peer::SnapshotChunk>>,
    ) -> Result<Response<peer::SnapshotReply>, Status> {
        let peer = self.caller(&request)?;
        let Ok(turn) = Arc::clone(&self.snapshots).try_acquire_owned() else {
            return Err(Status::resource_exhausted("another snapshot is on its way"));
        };
        let chunks = request.into_inner();
        let sink = Arc::clone(&self.sink);
        let wait = self.snapshot_stall_max;
        let vote = snapshot_receive::receive(&self.raft, sink, peer, chunks, wait, turn).await?;
        Ok(Response::new(peer::SnapshotReply { vote: Some(to_vote(&vote)) }))
    }

    async fn state(
        &self,
        request: Request<peer::StatementRequest>,
    ) -> Result<Response<peer::StatementReply>, Status> {
        let peer = self.caller(&request)?;
        let nonce_root = Hash::from_slice(&request.into_inner().nonce_root)
            .ok_or_else(|| malformed("statement request", "not 32 bytes"))?;
        let statement = self.handler.statement(peer, nonce_root).await?;
        Ok(Response::new(peer::StatementReply { statement }))
    }

    async fn sign_head(
        &self,
        request: Request<peer::SignHeadRequest>,
    ) -> Result<Response<peer::SignHeadReply>, Status> {
        let peer = self.caller(&request)?;
        let statement = self.handler.sign_head(peer, request.into_inner().block).await?;
        Ok(Response::new(peer::SignHeadReply { statement }))
    }

    async fn cosign(
        &self,
        request: Request<peer::CosignRequest>,
    ) -> Result<Response<peer::CosignReply>, Status> {
        let peer = self.caller(&request)?;
        let signature = self.handler.cosign(peer, request.into_inner().block).await?;
        Ok(Response::new(peer::CosignReply { signature }))
    }

    async fn clock(
        &self,
        request: Request<peer::ClockRequest>,
    ) -> Result<Response<peer::ClockReply>, Status> {
        self.caller(&request)?;
        let reading = self.handler.clock();
        let reply = peer::ClockReply { clock_ms: reading.clock_ms, monotonic_ok: reading.monotonic_ok };
        Ok(Response::new(reply))
    }

    async fn submit(
        &self,
        request: Request<peer::SubmitRequest>,
    ) -> Result<Response<peer::SubmitReply>, Status> {
        let peer = self.caller(&request)?;
        let command = request.into_inner().signed_command;
        if command.is_empty() || command.len() > SIGNED_COMMAND_BYTES_MAX {
            return Err(malformed("command", format!("{} bytes", command.len())).into());
        }
        Ok(Response::new(to_submit_reply(self.handler.submit(peer, command).await)))
    }

    async fn roster_links(
        &self,
        request: Request<peer::RosterLinksRequest>,
    ) -> Result<Response<peer::RosterLinksReply>, Status> {
        // Whoever the CA signed for: a node that was removed while it was away must be able to learn of it.
        let chain = self.handler.roster_links(request.into_inner().since_block);
        Ok(Response::new(peer::RosterLinksReply { chain }))
    }
}

type Accept = dyn Fn(Option<LogId>, Option<Hash>, &[Entry]) -> Result<Option<Hash>, Declined> + Send + Sync;

/// What one append stream has taken in and not answered yet: bounded in bytes. Answers come in order, so
/// each gives back what the oldest request took.
struct Intake {
    peer: PeerId,
    roster: Arc<dyn PeerRoster>,
    accept: Box<Accept>,
    /// Where the last accepted request ended, and the hash of the last block up to there.
    accepted: Mutex<Option<(Option<LogId>, Hash)>>,
    room: Arc<Semaphore>,
    taken: Mutex<VecDeque<OwnedSemaphorePermit>>,
    /// Why no more is taken.
    refusal: Mutex<Option<Status>>,
}

impl Intake {
    /// Checked requests, until one is refused.
    fn requests(
        self: Arc<Self>,
        stream: Streaming<peer::AppendRequest>,
    ) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send {
        futures_util::stream::unfold((self, stream), |(intake, mut stream)| async move {
            let request = match intake.next(&mut stream).await {
                Ok(request) => request?,
                Err(status) => {
                    *intake.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
                    return None;
                }
            };
            Some((request, (intake, stream)))
        })
    }

    async fn next(
        &self,
        stream: &mut Streaming<peer::AppendRequest>,
    ) -> Result<Option<AppendEntriesRequest<TypeConfig>>, Status> {
        let Some(request) = stream.message().await? else { return Ok(None) };
        // INVARIANT: a message is shorter than the room; each takes some of it.
        let size_bytes = u32::try_from(request.entries.len()).unwrap_or(u32::MAX).max(1);
        let request = of_append(request)?;
        check_own(self.peer, &request.vote)?;
        if !self.roster.admits(self.peer.node()) {
            return Err(Status::permission_denied("not admitted"));
        }
        self.accept(&request)?;
        let room = Arc::clone(&self.room).acquire_many_owned(size_bytes).await;
        let room = room.map_err(|error| Status::cancelled(error.to_string()))?;
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).push_back(room);
        Ok(Some(request))
    }

    /// Entries that follow what this stream brought before are held against that.
    fn accept(&self, request: &AppendEntriesRequest<TypeConfig>) -> Result<(), Declined> {
        let Some(last) = request.entries.last() else { return Ok(()) };
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = accepted.filter(|(at, _)| *at == request.prev_log_id).map(|(_, hash)| hash);
        let after = (self.accept)(request.prev_log_id, before, &request.entries)?;
        *accepted = after.map(|hash| (Some(last.log_id), hash));
        Ok(())
    }

    fn answered(&self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    }

    fn refusal(&self) -> Option<Status> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
