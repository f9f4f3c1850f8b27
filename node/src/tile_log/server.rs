//! The port: read-only, plain HTTP/1.1, bounded in connections, of each caller too, and in time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::callers::Callers;
use super::routes::{Served, router};
use super::{Published, Witnessed};
use crate::config::TilesConfig;
use crate::store::applied::AppliedStore;

/// For a request to come, the first one and each after it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Of a request's first line and its headers.
const HEADER_SIZE_BYTES_MAX: usize = 16 << 10;

/// For a whole connection: who takes longer connects again.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(600);

/// After a failure to accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves tiles, entries, checkpoints, rosters and the policy.
pub struct TileServer {
    /// The log.
    pub store: AppliedStore,
    /// What of it is published.
    pub published: watch::Receiver<Option<Arc<Published>>>,
    /// What witnesses cosigned of that, if there are witnesses.
    pub witnessed: Option<watch::Receiver<Witnessed>>,
}

impl TileServer {
    /// Serves on `listener` until `stop`. Connections that are open then are cut.
    pub async fn serve(self, config: &TilesConfig, listener: TcpListener, stop: impl Future<Output = ()>) {
        let callers = Arc::new(Callers::new(config.requests_per_second_max));
        let served = Served::new(self.store, self.published).with_witnessed(self.witnessed);
        let router = router(served, Arc::clone(&callers));
        let (closing, closed) = watch::channel(false);
        tokio::select! {
            () = stop => {}
            () = accept_all(listener, router, callers, closed) => {}
        }
        let _ = closing.send(true);
    }
}

async fn accept_all(
    listener: TcpListener,
    router: Router,
    callers: Arc<Callers>,
    closed: watch::Receiver<bool>,
) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Who is one too many is cut off at once: that costs least.
        let Some(place) = Callers::enter(&callers, from) else { continue };
        let (router, closed) = (router.clone().layer(Extension(place.caller())), closed.clone());
        tokio::spawn(async move {
            serve_one(stream, router, closed).await;
            drop(place);
        });
    }
}

async fn serve_one(stream: TcpStream, router: Router, mut closed: watch::Receiver<bool>) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    let timer = TokioTimer::new();
    builder.http1().timer(timer).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_SIZE_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::select! {
        // Whatever it ends with is the caller's affair.
        _ = timeout(CONNECTION_TIME_MAX, connection) => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}
