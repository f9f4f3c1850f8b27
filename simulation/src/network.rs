//! Nodes reach each other by turmoil's TCP. In place of TLS, each stream begins with the caller's id.

use std::time::Duration;

use chancery_node::network::{ConnectFailed, PeerStream, Transport};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use turmoil::net::{TcpListener, TcpStream};

/// Where every node listens.
pub(crate) const PORT: u16 = 7000;

/// For a stream to begin.
const HELLO_MAX: Duration = Duration::from_secs(5);

/// The name of a node's host.
pub(crate) fn host(node: u64) -> String {
    format!("node-{node}")
}

/// Where the others reach it.
pub(crate) fn address(node: u64) -> String {
    format!("{}:{PORT}", host(node))
}

/// Calls as one node.
pub(crate) struct SimulatedTransport {
    pub(crate) node: u64,
}

impl Transport for SimulatedTransport {
    fn node(&self) -> u64 {
        self.node
    }

    fn connect(&self, _peer: u64, address: &str) -> BoxFuture<'static, Result<PeerStream, ConnectFailed>> {
        let (node, address) = (self.node, address.to_owned());
        async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_u64(node).await?;
            Ok(Box::new(stream) as PeerStream)
        }
        .boxed()
    }
}

/// Hands streams to `accepted` as their callers become known, until that closes.
pub(crate) async fn accept(listener: TcpListener, accepted: mpsc::Sender<(u64, PeerStream)>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let accepted = accepted.clone();
        tokio::spawn(async move {
            if let Ok(Ok(caller)) = timeout(HELLO_MAX, stream.read_u64()).await {
                let _ = accepted.send((caller, Box::new(stream) as PeerStream)).await;
            }
        });
    }
}
