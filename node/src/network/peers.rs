//! This node's peers, and calls on them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use chancery_ledger::hash::Hash;
use chancery_proto::v1::peer;
use chancery_proto::v1::peer::peer_client::PeerClient;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::network::bounds::{COSIGNATURE_LINE_BYTES_MAX, STATEMENT_BYTES_MAX};
use crate::network::calls::{
    ClockReading, ClockSample, PeerError, SubmitResult, UnknownPeer, of_submit_reply,
};
use crate::network::links::{Link, LinkOptions};
use crate::network::raft_network::RaftLinks;
use crate::network::snapshot::SnapshotSource;
use crate::network::transport::Transport;
use crate::network::wire::malformed;
use crate::raft::types::NodeId;

/// The peers of this node, and the kept connections to them. Clones share them. Used inside the
/// runtime.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Arc<dyn Transport>,
    options: LinkOptions,
    links: RwLock<BTreeMap<NodeId, Arc<Link>>>,
    /// Where this node is told to reach some, wherever others reach them.
    configured: RwLock<BTreeMap<NodeId, Arc<str>>>,
}

impl Peers {
    /// No peers yet.
    pub fn new(transport: impl Transport, options: LinkOptions) -> Self {
        Self::over(Arc::new(transport), options)
    }

    /// The same, over a transport that others use too.
    pub fn over(transport: Arc<dyn Transport>, options: LinkOptions) -> Self {
        let (links, configured) = (RwLock::default(), RwLock::default());
        Self { shared: Arc::new(Shared { transport, options, links, configured }) }
    }

    /// `peer` is reached at `address` from now on; Raft's network says so for all that it talks to.
    /// Connects only when used. Returns whether it can be a peer: this node cannot.
    pub fn add(&self, peer: NodeId, address: &str) -> bool {
        self.learn(peer, address).is_some()
    }

    /// This node reaches `peer` at `address`, whatever the membership says.
    pub fn configure(&self, peer: NodeId, address: &str) {
        let mut configured = self.shared.configured.write().unwrap_or_else(PoisonError::into_inner);
        configured.insert(peer, address.into());
        drop(configured);
        self.add(peer, address);
    }

    /// Where `peer` is reached.
    pub fn address(&self, peer: NodeId) -> Option<Arc<str>> {
        let links = self.shared.links.read().unwrap_or_else(PoisonError::into_inner);
        links.get(&peer).map(|link| Arc::clone(&link.address))
    }

    /// `peer` is none any more. Its connections close when their last user is done.
    pub fn remove(&self, peer: NodeId) {
        self.shared.links.write().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }

    /// All of them.
    pub fn ids(&self) -> Vec<NodeId> {
        self.shared.links.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Raft's network over the same connections. Snapshots to send are listed by `source`.
    pub fn raft_network<Q: SnapshotSource>(&self, source: Q) -> RaftLinks<Q> {
        RaftLinks { peers: self.clone(), source: Arc::new(source) }
    }

    /// The encoded head statement of `node` over `nonce_root`.
    pub async fn statement(
        &self,
        node: NodeId,
        nonce_root: Hash,
        deadline: Instant,
    ) -> Result<Vec<u8>, PeerError> {
        let request = peer::StatementRequest { nonce_root: nonce_root.as_bytes().to_vec() };
        let call = |mut client: PeerClient<_>, request| async move { client.state(request).await };
        statement(self.call(node, deadline, request, call).await?.statement)
    }

    /// The encoded statement of `node` about the head of `block`.
    pub async fn sign_head(&self, node: NodeId, block: u64, deadline: Instant) -> Result<Vec<u8>, PeerError> {
        let request = peer::SignHeadRequest { block };
        let call = |mut client: PeerClient<_>, request| async move { client.sign_head(request).await };
        statement(self.call(node, deadline, request, call).await?.statement)
    }

    /// The cosignature of `node` on the checkpoint after `block`, as a line of a note.
    pub async fn cosign(&self, node: NodeId, block: u64, deadline: Instant) -> Result<String, PeerError> {
        let request = peer::CosignRequest { block };
        let call = |mut client: PeerClient<_>, request| async move { client.cosign(request).await };
        let line = self.call(node, deadline, request, call).await?.signature;
        if line.len() > COSIGNATURE_LINE_BYTES_MAX {
            return Err(malformed("cosignature", format!("{} bytes", line.len())).into());
        }
        Ok(line)
    }

    /// The clock of `node`. The first one after a broken connection measures the making of a new one
    /// too: its round trip is longer, never shorter.
    pub async fn clock(&self, node: NodeId, deadline: Instant) -> Result<ClockSample, PeerError> {
        let call = |mut client: PeerClient<_>, request| async move {
            let asked = Instant::now();
            let reply = client.clock(request).await?;
            Ok(reply.map(|reply: peer::ClockReply| (reply, asked.elapsed())))
        };
        let (reply, round_trip) = self.call(node, deadline, peer::ClockRequest {}, call).await?;
        let reading = ClockReading { clock_ms: reply.clock_ms, monotonic_ok: reply.monotonic_ok };
        Ok(ClockSample { reading, round_trip })
    }

    /// Gives a command to `node`, which should lead. After an error that is not
    /// [surely not done](PeerError::is_surely_not_done) the outcome is unknown.
    pub async fn submit(
        &self,
        node: NodeId,
        signed_command: Vec<u8>,
        deadline: Instant,
    ) -> Result<SubmitResult, PeerError> {
        let request = peer::SubmitRequest { signed_command };
        let call = |mut client: PeerClient<_>, request| async move { client.submit(request).await };
        Ok(of_submit_reply(self.call(node, deadline, request, call).await?)?)
    }

    /// The encoded roster chain of `node` after `since_block`.
    pub async fn roster_links(
        &self,
        node: NodeId,
        since_block: u64,
        deadline: Instant,
    ) -> Result<Vec<u8>, PeerError> {
        let request = peer::RosterLinksRequest { since_block };
        let call = |mut client: PeerClient<_>, request| async move { client.roster_links(request).await };
        Ok(self.call(node, deadline, request, call).await?.chain)
    }

    /// One call, on the connection for calls, in its turn.
    async fn call<Q, T, F>(
        &self,
        node: NodeId,
        deadline: Instant,
        request: Q,
        call: impl FnOnce(PeerClient<Channel>, Request<Q>) -> F,
    ) -> Result<T, PeerError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let found = self.shared.links.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned();
        let link = found.ok_or(UnknownPeer(node))?;
        let answer = async {
            let _room =
                link.calls_room.acquire().await.map_err(|error| Status::cancelled(error.to_string()))?;
            let mut request = Request::new(request);
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            call(link.calls(), request).await
        };
        match timeout_at(deadline, answer).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => match PeerError::from(status) {
                // The call was told the deadline too, and says so in its own words.
                PeerError::Broken(_) if Instant::now() >= deadline => Err(PeerError::Deadline),
                error => Err(error),
            },
            Err(_) => Err(PeerError::Deadline),
        }
    }

    /// The link to `peer` at `address`: the kept one, unless the address changed.
    pub(super) fn learn(&self, peer: NodeId, address: &str) -> Option<Arc<Link>> {
        let shared = &*self.shared;
        if peer == shared.transport.node() {
            return None;
        }
        let configured = shared.configured.read().unwrap_or_else(PoisonError::into_inner).get(&peer).cloned();
        let address = configured.as_deref().unwrap_or(address);
        let mut links = shared.links.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = links.get(&peer).filter(|kept| &*kept.address == address) {
            return Some(Arc::clone(kept));
        }
        let link = Arc::new(Link::new(peer, address, &shared.transport, shared.options)?);
        links.insert(peer, Arc::clone(&link));
        Some(link)
    }
}

fn statement(bytes: Vec<u8>) -> Result<Vec<u8>, PeerError> {
    match bytes.len() {
        1..=STATEMENT_BYTES_MAX => Ok(bytes),
        length => Err(malformed("statement", format!("{length} bytes")).into()),
    }
}
