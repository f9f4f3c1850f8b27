//! The port: read-only, plain HTTP/1.1, bounded in connections, of each caller too, in reads at once, and in time.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chancery_ledger::log::{TILE_WIDTH, TileIndex, TilePath, TileRead, encode_entry_bundle};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::Published;
use crate::blocking;
use crate::store::applied::{AppliedFault, AppliedStore, AppliedView};

/// Connections at once, of one address, and of all.
const CONNECTIONS_OF_ONE_MAX: usize = 32;
const CONNECTIONS_MAX: usize = 512;

/// Tiles that are read at once; a bundle of entries has at most 16 MiB.
const READS_MAX: usize = 16;

/// For a request to come, the first one and each after it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// For a whole connection.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(600);

/// After a failure to accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a tile or a bundle is now, it is for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Serves tiles, entries, checkpoints and the policy.
pub struct TileServer {
    /// The log.
    pub store: AppliedStore,
    /// What of it is published.
    pub published: watch::Receiver<Option<Arc<Published>>>,
}

struct Served {
    store: AppliedStore,
    published: watch::Receiver<Option<Arc<Published>>>,
    reads: Arc<Semaphore>,
}

impl TileServer {
    /// Serves on `listener` until `stop`. Connections that are open then are cut.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let Self { store, published } = self;
        let served = Arc::new(Served { store, published, reads: Arc::new(Semaphore::new(READS_MAX)) });
        let router = Router::new()
            .route("/checkpoint", get(checkpoint))
            .route("/tlog-policy", get(policy))
            .route("/tile/{*path}", get(tile))
            .with_state(served);
        let (closing, closed) = watch::channel(false);
        tokio::select! {
            () = stop => {}
            () = accept_all(listener, router, closed) => {}
        }
        let _ = closing.send(true);
    }
}

async fn accept_all(listener: TcpListener, router: Router, closed: watch::Receiver<bool>) {
    let callers = Arc::new(Callers::default());
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
        let (router, closed) = (router.clone(), closed.clone());
        tokio::spawn(async move {
            serve_one(stream, router, closed).await;
            drop(place);
        });
    }
}

async fn serve_one(stream: TcpStream, router: Router, mut closed: watch::Receiver<bool>) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::select! {
        // Whatever it ends with is the caller's affair.
        _ = timeout(CONNECTION_TIME_MAX, connection) => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

/// Who is connected.
#[derive(Default)]
struct Callers {
    of: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place.
struct Place {
    callers: Arc<Callers>,
    from: IpAddr,
}

impl Callers {
    fn enter(callers: &Arc<Self>, from: SocketAddr) -> Option<Place> {
        let from = from.ip();
        let mut of = callers.of.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = of.values().sum();
        let own = of.get(&from).copied().unwrap_or_default();
        if all >= CONNECTIONS_MAX || own >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        of.insert(from, own + 1);
        Some(Place { callers: Arc::clone(callers), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of = self.callers.of.lock().unwrap_or_else(PoisonError::into_inner);
        match of.get_mut(&self.from) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(of.remove(&self.from)),
        }
    }
}

async fn checkpoint(State(served): State<Arc<Served>>) -> Response {
    match served.published.borrow().as_deref() {
        Some(published) => text(published.note.clone()),
        None => not_yet(),
    }
}

async fn policy(State(served): State<Arc<Served>>) -> Response {
    match served.published.borrow().as_deref() {
        Some(Published { policy: Some(policy), .. }) => text(policy.clone()),
        // While the voters change, none says who they are.
        Some(_) | None => not_yet(),
    }
}

async fn tile(State(served): State<Arc<Served>>, uri: Uri) -> Response {
    let Some(path) = uri.path().strip_prefix('/').and_then(TilePath::parse) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some(size) = served.published.borrow().as_ref().map(|published| published.size) else {
        return not_yet();
    };
    let within = path.tile().unwrap_or(TileIndex { level: 0, index: path.index() });
    if path.width() > within.width_at(size) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Ok(reading) = Arc::clone(&served.reads).try_acquire_owned() else { return busy() };
    let view = served.store.view();
    let read = blocking::spawn(move || {
        let read = read(&view, path);
        drop(reading);
        read
    });
    match read.await {
        Ok(Ok(bytes)) => {
            let headers = [(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, FOR_EVER)];
            (headers, bytes).into_response()
        }
        Ok(Err(error)) => {
            tracing::error!(%error, %path, "a published tile cannot be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn read(view: &AppliedView, path: TilePath) -> Result<Vec<u8>, AppliedFault> {
    if let Some(tile) = path.tile() {
        let hashes = view.tile_hashes(tile, path.width())?;
        return Ok(hashes.iter().take(path.width().into()).flat_map(|hash| hash.0).collect());
    }
    let first = path.index().saturating_mul(TILE_WIDTH.into());
    let entries = view.entries(first, path.width().into())?;
    let corrupt = |why: String| AppliedFault::corrupt(format!("entries from {first}"), why);
    if entries.len() != usize::from(path.width()) {
        return Err(corrupt("some are missing".into()));
    }
    encode_entry_bundle(&entries).map_err(|error| corrupt(error.to_string()))
}

fn text(body: String) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, body).into_response()
}

fn not_yet() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "nothing is published yet\n").into_response()
}

fn busy() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "too many reads at once\n").into_response()
}
