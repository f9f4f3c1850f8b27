//! Raft's calls on a peer.
//!
//! How they fail says what Raft does next. *Unreachable*: no connection, or the peer refuses; Raft backs
//! off. *Network*: what was there broke; Raft tries again at once, and so finds out whether it is
//! there. *Timeout*: no answer in time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tonic::{Code, Response, Status};

use crate::network::connector::was_not_sent;
use crate::network::links::Link;
use crate::network::peers::Peers;
use crate::network::snapshot::SnapshotSource;
use crate::network::wire::{
    AppendParts, Malformed, malformed, of_append_reply, of_transfer_reply, of_vote_reply, to_transfer,
    to_vote_request,
};
use crate::network::{append_session, snapshot_send};
use crate::raft::types::{NodeId, RaftNode, Snapshot, SnapshotFolder, TypeConfig, Vote};

type RpcError = RPCError<TypeConfig>;

/// Makes Raft's clients, all on the kept connections of [`Peers`]. From [`Peers::raft_network`].
pub struct RaftLinks<Q> {
    pub(super) peers: Peers,
    pub(super) source: Arc<Q>,
}

impl<Q: SnapshotSource> RaftLinks<Q> {
    fn link(&self, target: NodeId, node: &RaftNode, heartbeats: bool) -> RaftLink<Q> {
        let link = self.peers.learn(target, &node.address);
        RaftLink { target, link, heartbeats, source: Arc::clone(&self.source) }
    }
}

impl<Q: SnapshotSource> RaftNetworkFactory<TypeConfig> for RaftLinks<Q> {
    type Network = RaftLink<Q>;

    async fn new_client(&mut self, target: NodeId, node: &RaftNode) -> RaftLink<Q> {
        self.link(target, node, false)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &RaftNode) -> RaftLink<Q> {
        self.link(target, node, true)
    }
}

/// Raft's client of one peer.
pub struct RaftLink<Q> {
    target: NodeId,
    /// `None` for what cannot be a peer.
    link: Option<Arc<Link>>,
    /// Requests to append are heartbeats, each a call of its own beside the append stream.
    heartbeats: bool,
    source: Arc<Q>,
}

impl<Q: SnapshotSource> RaftLink<Q> {
    fn reachable(&self) -> Result<Arc<Link>, RpcError> {
        let missing = || Unreachable::from_string(format!("{} is no peer", self.target));
        Ok(self.link.clone().ok_or_else(missing)?)
    }
}

impl<Q: SnapshotSource> RaftNetworkV2<TypeConfig> for RaftLink<Q> {
    type SnapshotData = SnapshotFolder;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let link = self.reachable()?;
        let part = AppendParts::of(request).next_part().map_err(|error| refused(&error))?;
        let Some(part) = part else { return Err(refused(&malformed("heartbeat", "empty"))) };
        let mut client = link.raft();
        let reply = unary(&link, RPCTypes::AppendEntries, &option, client.heartbeat(part.request)).await?;
        match of_append_reply(reply).map_err(|error| refused(&error))? {
            Ok(matching) if matching == part.last => Ok(AppendEntriesResponse::Success),
            Err(StreamAppendError::Conflict(at)) if Some(at) == part.prev => {
                Ok(AppendEntriesResponse::Conflict)
            }
            Err(StreamAppendError::HigherVote(vote)) => Ok(AppendEntriesResponse::HigherVote(vote)),
            Ok(_) | Err(StreamAppendError::Conflict(_)) => {
                Err(refused(&malformed("append reply", "another log id than was asked about")))
            }
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        if self.heartbeats {
            return stream_append_sequential(self, input, option);
        }
        let link = self.reachable();
        Box::pin(async move {
            let session = append_session::open(link?, input, option).await?;
            let answers: BoxStream<'s, _> = Box::pin(session);
            Ok(answers)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let link = self.reachable()?;
        let mut client = link.raft();
        let reply = unary(&link, RPCTypes::Vote, &option, client.vote(to_vote_request(&request))).await?;
        of_vote_reply(reply).map_err(|error| refused(&error))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let link = self.reachable()?;
        let mut client = link.raft();
        let reply = unary(&link, RPCTypes::Vote, &option, client.pre_vote(to_vote_request(&request))).await?;
        of_vote_reply(reply).map_err(|error| refused(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let link = self.reachable()?;
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = snapshot_send::send(&link, &*self.source, vote, &snapshot, &option) => Ok(sent?),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let link = self.reachable()?;
        let mut client = link.raft();
        let call = client.transfer_leader(to_transfer(&request));
        let reply = unary(&link, RPCTypes::TransferLeader, &option, call).await?;
        of_transfer_reply(&request, reply).map_err(|error| refused(&error))
    }
}

async fn unary<T>(
    link: &Link,
    action: RPCTypes,
    option: &RPCOption,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, RpcError> {
    let wait = option.soft_ttl();
    match tokio::time::timeout(wait, call).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) => Err(rpc_error(&status)),
        Err(_) => Err(timed_out(link, action, wait)),
    }
}

pub(super) fn timed_out(link: &Link, action: RPCTypes, timeout: Duration) -> RpcError {
    Timeout { action, id: link.caller, target: link.peer, timeout }.into()
}

fn refused(error: &Malformed) -> RpcError {
    Unreachable::new(error).into()
}

pub(super) fn rpc_error(status: &Status) -> RpcError {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Unknown | Code::Internal | Code::DeadlineExceeded
            if !was_not_sent(status) =>
        {
            NetworkError::new(status).into()
        }
        _ => Unreachable::new(status).into(),
    }
}
