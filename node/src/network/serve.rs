//! The called side: listens, and serves peers until it is told to stop.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chancery_proto::v1::peer::peer_server;
use futures_util::{Stream, StreamExt};
use openraft::Raft;
use openraft::storage::RaftStateMachine;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::listener::{Accepting, Caller, Phase, wind_down};
use crate::network::bounds::{
    CONNECTION_WINDOW_BYTES, HEADER_BYTES_MAX, MESSAGE_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use crate::network::calls::PeerHandler;
use crate::network::service::PeerService;
use crate::network::snapshot::SnapshotSink;
use crate::network::tls::{PeerId, PeerRoster, PeerTls, peer_of};
use crate::network::transport::{PeerIo, PeerStream};
use crate::raft::types::{NodeId, SnapshotFolder, TypeConfig};

/// The bounds on the called side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Connections of verified peers, all together.
    pub connections_max: usize,
    /// For a connection to become a verified one.
    pub handshake_timeout: Duration,
    /// Between pings on a connection, and for their answer.
    pub keepalive_interval: Duration,
    /// See above.
    pub keepalive_timeout: Duration,
    /// For the sender of a snapshot to send one more chunk.
    pub snapshot_stall_max: Duration,
    /// For what runs to end when the server stops; then connections are cut.
    pub drain_max: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections_max: 256,
            handshake_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(4),
            snapshot_stall_max: Duration::from_secs(30),
            drain_max: Duration::from_secs(2),
        }
    }
}

/// The server ended without being told to.
#[derive(Debug, thiserror::Error)]
#[error("peer server: {0}")]
pub struct ServeError(String);

/// Serves this node's peers.
pub struct PeerServer<SM, H, K>
where
    SM: RaftStateMachine<TypeConfig, SnapshotData = SnapshotFolder>,
{
    /// This node's Raft.
    pub raft: Raft<TypeConfig, SM>,
    /// Answers what is not Raft's.
    pub handler: Arc<H>,
    /// Takes snapshots.
    pub sink: Arc<K>,
    /// Who is served.
    pub roster: Arc<dyn PeerRoster>,
    /// The bounds.
    pub options: ServerOptions,
}

impl<SM, H, K> PeerServer<SM, H, K>
where
    SM: RaftStateMachine<TypeConfig, SnapshotData = SnapshotFolder>,
    H: PeerHandler,
    K: SnapshotSink,
{
    /// Serves on `listener`, as the node of `tls`, until `stop`, then ends append streams, lets what runs end for
    /// [`ServerOptions::drain_max`], and cuts what is left. Dropped, it cuts everything.
    pub async fn serve(
        self,
        tls: PeerTls,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let options = self.options;
        let (phase, watched) = watch::channel(Phase::Serving);
        let own = tls.node();
        let accepting = Accepting {
            listener,
            tls: Arc::clone(&tls.server),
            identify: Arc::new(move |certificate| {
                let peer = peer_of(certificate).ok_or("the certificate is not a node's")?;
                // This node does not call itself. Whether another's call is answered is asked at each one: a
                // node that was removed while it was away must be able to learn of it.
                if peer.node() != own { Ok(peer) } else { Err("it is this node's own".to_owned()) }
            }),
            handshake_timeout: options.handshake_timeout,
            connections: Arc::new(Semaphore::new(options.connections_max)),
            phase: watched.clone(),
        };
        let (accepted, incoming) = mpsc::channel(1);
        let accept = async {
            accepting.run(accepted).await;
            // The server drains; serving ends when its last connection does.
            pending().await
        };
        tokio::select! {
            served = self.serve_accepted(ReceiverStream::new(incoming), watched) => served,
            () = accept => Ok(()),
            () = wind_down(stop, &phase, options.drain_max) => Ok(()),
        }
    }

    /// Serves whom another [`Transport`](crate::network::Transport) identified, until there are no more.
    pub async fn serve_streams(
        self,
        streams: mpsc::Receiver<(NodeId, PeerStream)>,
    ) -> Result<(), ServeError> {
        let (_phase, watched) = watch::channel(Phase::Serving);
        let admitted = Arc::clone(&self.roster);
        let streams = ReceiverStream::new(streams).filter(move |(peer, _)| {
            let admits = admitted.admits(*peer);
            async move { admits }
        });
        let incoming = streams.map(|(peer, stream)| Ok(IdentifiedStream { peer: PeerId(peer), stream }));
        self.serve_accepted(Box::pin(incoming), watched).await
    }

    async fn serve_accepted<C>(
        self,
        incoming: impl Stream<Item = io::Result<C>>,
        watched: watch::Receiver<Phase>,
    ) -> Result<(), ServeError>
    where
        C: Connected<ConnectInfo = Caller<PeerId>> + PeerIo,
    {
        let options = self.options;
        let service = PeerService {
            raft: self.raft,
            handler: self.handler,
            sink: self.sink,
            roster: self.roster,
            snapshots: Arc::new(Semaphore::new(1)),
            snapshot_stall_max: options.snapshot_stall_max,
            phase: watched.clone(),
        };
        let service = peer_server::PeerServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);

        let mut draining = watched;
        let serving = Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .http2_keepalive_interval(Some(options.keepalive_interval))
            .http2_keepalive_timeout(Some(options.keepalive_timeout))
            .serve_with_incoming_shutdown(service, incoming, async move {
                let _ = draining.wait_for(|phase| *phase != Phase::Serving).await;
            });
        serving.await.map_err(|error| ServeError(error.to_string()))
    }
}

/// A stream of a peer that its transport identified.
struct IdentifiedStream {
    peer: PeerId,
    stream: PeerStream,
}

impl Connected for IdentifiedStream {
    type ConnectInfo = Caller<PeerId>;

    fn connect_info(&self) -> Caller<PeerId> {
        Caller { id: self.peer, from: SocketAddr::from(([0; 4], 0)) }
    }
}

impl AsyncRead for IdentifiedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for IdentifiedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
