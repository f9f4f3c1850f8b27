//! The seam between node logic and the network: byte streams between nodes that know each other.

use chancery_transport::Coalesced;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::network::tls::{PeerTls, server_name};
use crate::raft::types::NodeId;

/// A stream of bytes to or from a node that is known.
pub trait PeerIo: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> PeerIo for T {}

/// One of any kind.
pub type PeerStream = Box<dyn PeerIo>;

/// The peer could not be reached, so the request was not sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailed {
    /// Attempts are kept apart.
    #[error("the last attempt to connect was a moment ago")]
    TooSoon,
    /// It took too long.
    #[error("not connected within {0:?}")]
    Timeout(std::time::Duration),
    /// The network, or the handshake.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No node has such an id.
    #[error("no such name")]
    Name,
}

/// Opens streams as one node.
pub trait Transport: Send + Sync + 'static {
    /// Which.
    fn node(&self) -> NodeId;

    /// Opens a stream to `peer` at `address`. The other end is that peer, and knows who this is.
    fn connect(&self, peer: NodeId, address: &str) -> BoxFuture<'static, Result<PeerStream, ConnectFailed>>;
}

impl Transport for PeerTls {
    fn node(&self) -> NodeId {
        Self::node(self)
    }

    fn connect(&self, peer: NodeId, address: &str) -> BoxFuture<'static, Result<PeerStream, ConnectFailed>> {
        let (name, address) = (server_name(peer), address.to_owned());
        let tls = TlsConnector::from(std::sync::Arc::clone(&self.client));
        async move {
            let stream = Coalesced::over(TcpStream::connect(address).await?)?;
            let name = name.ok_or(ConnectFailed::Name)?;
            Ok(Box::new(tls.connect(name, stream).await?) as PeerStream)
        }
        .boxed()
    }
}
