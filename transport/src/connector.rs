//! Connections as a client makes them.

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::ServiceExt;
use tower::util::MapResponse;

use crate::Coalesced;

/// Connects by TCP, with [`Coalesced`] writes. TLS comes above it.
pub fn connector()
-> MapResponse<HttpConnector, impl FnOnce(TokioIo<TcpStream>) -> TokioIo<Coalesced<TcpStream>> + Clone> {
    let mut tcp = HttpConnector::new();
    // The scheme says that there is TLS, which is not this connector's.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.map_response(|connected: TokioIo<TcpStream>| TokioIo::new(Coalesced::new(connected.into_inner())))
}
