//! A process that answers empty calls: over the same mutual TLS as a node, with an answer of as many bytes as the
//! request says in its first four.

use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use chancery_transport::Coalesced;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use super::raw::Raw;
use crate::fault::{BenchError, Result};

/// A call that has one answer.
pub(super) const UNARY: &str = "/floor.Floor/Unary";

/// A stream of requests, each with its answer.
pub(super) const STREAM: &str = "/floor.Floor/Stream";

/// Longest answer.
const REPLY_SIZE_BYTES_MAX: usize = 1 << 20;

static ZEROS: [u8; REPLY_SIZE_BYTES_MAX] = [0; REPLY_SIZE_BYTES_MAX];

/// Serves with the certificate in the node's folder at `node` until the process is ended.
pub(crate) async fn serve(node: &Path, listen: SocketAddr) -> Result<()> {
    let read = |name: &str| {
        let path = node.join(name);
        fs::read(&path).map_err(BenchError::at(&path))
    };
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read("tls.pem")?, read("tls.key")?))
        .client_ca_root(Certificate::from_pem(read("client-ca.pem")?));
    let server = Server::builder().tls_config(tls).map_err(BenchError::of("floor"))?;
    let listener = TcpListener::bind(listen).await.map_err(BenchError::of("floor"))?;
    let incoming = TcpListenerStream::new(listener).map(|accepted| accepted.and_then(Coalesced::over));
    let serving = server.max_concurrent_streams(256).add_service(Floor).serve_with_incoming(incoming);
    serving.await.map_err(BenchError::of("floor"))
}

#[derive(Clone)]
struct Floor;

impl NamedService for Floor {
    const NAME: &'static str = "floor.Floor";
}

impl tower_service::Service<http::Request<Body>> for Floor {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(Raw);
            Ok(match request.uri().path() {
                STREAM => grpc.streaming(Floor, request).await,
                _ => grpc.unary(Floor, request).await,
            })
        })
    }
}

type Answering<T> = Pin<Box<dyn Future<Output = std::result::Result<Response<T>, Status>> + Send>>;

impl UnaryService<Bytes> for Floor {
    type Response = Bytes;
    type Future = Answering<Bytes>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(reply(request.get_ref()))) })
    }
}

impl StreamingService<Bytes> for Floor {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = std::result::Result<Bytes, Status>> + Send>>;
    type Future = Answering<Self::ResponseStream>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let answers = request.into_inner().map(|asked| asked.map(|asked| reply(&asked)));
        Box::pin(async move { Ok(Response::new(Box::pin(answers) as Self::ResponseStream)) })
    }
}

fn reply(request: &Bytes) -> Bytes {
    let size = request.first_chunk().map_or(0, |size| u32::from_be_bytes(*size));
    let size = usize::try_from(size).unwrap_or(REPLY_SIZE_BYTES_MAX);
    Bytes::from_static(ZEROS.get(..size).unwrap_or(&ZEROS))
}
