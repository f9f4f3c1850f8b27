//! The client port.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use chancery_proto::v1::api::ledger_server::LedgerServer;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic_health::server::health_reporter;

use super::caller::key_in;
use super::service::LedgerService;
use crate::listener::{Accepting, Phase, wind_down};

/// Largest request: a command with every signature that one may have, and what is around it.
const REQUEST_SIZE_BYTES_MAX: usize = 64 * 1024;

/// Requests at once on one connection.
const STREAMS_MAX: u32 = 256;

/// Largest request headers.
const HEADER_SIZE_BYTES_MAX: u32 = 16 * 1024;

/// For a connection to show its certificate.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// For what runs to end when the node stops.
const DRAIN_MAX: Duration = Duration::from_millis(500);

/// The server ended without being told to.
#[derive(Debug, thiserror::Error)]
#[error("client server: {0}")]
pub struct ApiError(String);

/// Serves clients.
pub struct ApiServer {
    /// What is served.
    pub service: LedgerService,
    /// Demands a certificate of the client CA.
    pub tls: Arc<ServerConfig>,
    /// Connections at once.
    pub connections_max: usize,
}

impl ApiServer {
    /// Serves on `listener` until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), ApiError> {
        let (phase, watched) = watch::channel(Phase::Serving);
        let accepting = Accepting {
            listener,
            tls: self.tls,
            identify: Arc::new(key_in),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            connections: Arc::new(Semaphore::new(self.connections_max)),
            phase: watched.clone(),
        };
        let service = LedgerServer::new(self.service).max_decoding_message_size(REQUEST_SIZE_BYTES_MAX);
        let (health, health_service) = health_reporter();
        health.set_serving::<LedgerServer<LedgerService>>().await;

        let (accepted, incoming) = mpsc::channel(1);
        let mut draining = watched;
        let serving = Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .http2_max_header_list_size(HEADER_SIZE_BYTES_MAX)
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .add_service(service)
            .add_service(health_service)
            .serve_with_incoming_shutdown(ReceiverStream::new(incoming), async move {
                let _ = draining.wait_for(|phase| *phase != Phase::Serving).await;
            });
        let accept = async {
            accepting.run(accepted).await;
            // The server drains; serving ends when its last connection does.
            pending().await
        };
        tokio::select! {
            served = serving => served.map_err(|error| ApiError(error.to_string())),
            () = accept => Ok(()),
            () = wind_down(stop, &phase, DRAIN_MAX) => Ok(()),
        }
    }
}
