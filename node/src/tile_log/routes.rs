//! What there is to ask for.
//!
//! | path | |
//! |---|---|
//! | `/checkpoint` | the newest published checkpoint |
//! | `/witnessed-checkpoint` | the newest that enough witnesses cosigned; nowhere, without witnesses |
//! | `/tile/…`, `/tile/entries/…` | of its log, and nothing beyond it |
//! | `/rosters` | the proof of who votes, from genesis to the checkpoint: an encoded `RosterChain` |
//! | `/tlog-policy` | who must have cosigned a checkpoint; none while the voters change |

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use chancery_ledger::log::{TILE_WIDTH, TileIndex, TilePath, TileRead, encode_entry_bundle};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::callers::{Caller, Callers};
use super::{Published, Witnessed};
use crate::blocking;
use crate::store::applied::{AppliedFault, AppliedStore, AppliedView};

/// Tiles that are read at once; a bundle of entries has at most 16 MiB.
const READS_MAX: usize = 16;

/// How long a request waits to be one of them.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// What a tile or a bundle is now, it is for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// What is newest now is not for long; and what is not there may come.
const FOR_NOW: &str = "no-cache";

/// What the routes read from.
pub(super) struct Served {
    store: AppliedStore,
    published: watch::Receiver<Option<Arc<Published>>>,
    witnessed: Option<watch::Receiver<Witnessed>>,
    reads: Semaphore,
}

impl Served {
    pub(super) fn new(store: AppliedStore, published: watch::Receiver<Option<Arc<Published>>>) -> Self {
        Self { store, published, witnessed: None, reads: Semaphore::new(READS_MAX) }
    }

    pub(super) fn with_witnessed(self, witnessed: Option<watch::Receiver<Witnessed>>) -> Self {
        Self { witnessed, ..self }
    }

    fn newest(&self) -> Result<Arc<Published>, Absent> {
        self.published.borrow().clone().ok_or(Absent::NotYet)
    }
}

/// The routes, for requests that come with their [`Caller`].
pub(super) fn router(served: Served, callers: Arc<Callers>) -> Router {
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/witnessed-checkpoint", get(witnessed_checkpoint))
        .route("/rosters", get(rosters))
        .route("/tlog-policy", get(policy))
        .route("/tile/{*path}", get(tile))
        .fallback(async || Absent::Nowhere)
        .layer(middleware::from_fn_with_state(callers, limit))
        .with_state(Arc::new(served))
}

/// Why there is nothing, for now or at all.
enum Absent {
    Nowhere,
    NotYet,
    TooOften,
    Busy,
    Unreadable,
}

impl IntoResponse for Absent {
    fn into_response(self) -> Response {
        let (status, why) = match self {
            Self::Nowhere => {
                return (StatusCode::NOT_FOUND, [(CACHE_CONTROL, FOR_NOW)], "not in this log\n")
                    .into_response();
            }
            Self::NotYet => (StatusCode::SERVICE_UNAVAILABLE, "nothing is published yet\n"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many reads at once\n"),
            Self::TooOften => (StatusCode::TOO_MANY_REQUESTS, "too many requests\n"),
            Self::Unreadable => (StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read\n"),
        };
        (status, [(CACHE_CONTROL, FOR_NOW), (RETRY_AFTER, "1")], why).into_response()
    }
}

async fn limit(
    State(callers): State<Arc<Callers>>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    if callers.may_ask(caller) { next.run(request).await } else { Absent::TooOften.into_response() }
}

async fn checkpoint(State(served): State<Arc<Served>>) -> Result<Response, Absent> {
    Ok(text(served.newest()?.note.clone()))
}

async fn witnessed_checkpoint(State(served): State<Arc<Served>>) -> Result<Response, Absent> {
    let witnessed = served.witnessed.as_ref().ok_or(Absent::Nowhere)?.borrow().clone();
    witnessed.map(|note| text(note.to_string())).ok_or(Absent::NotYet)
}

async fn policy(State(served): State<Arc<Served>>) -> Result<Response, Absent> {
    served.newest()?.policy.clone().map(text).ok_or(Absent::NotYet)
}

async fn rosters(State(served): State<Arc<Served>>) -> Result<Response, Absent> {
    let headers = [(CONTENT_TYPE, BYTES), (CACHE_CONTROL, FOR_NOW)];
    Ok((headers, served.newest()?.rosters.clone()).into_response())
}

async fn tile(State(served): State<Arc<Served>>, uri: Uri) -> Result<Response, Absent> {
    let path = uri.path().strip_prefix('/').and_then(TilePath::parse).ok_or(Absent::Nowhere)?;
    let size = served.newest()?.size;
    let within = path.tile().unwrap_or(TileIndex { level: 0, index: path.index() });
    if path.width() > within.width_at(size) {
        return Err(Absent::Nowhere);
    }
    // As many wait as there are connections.
    let Ok(Ok(_reading)) = timeout(READ_PATIENCE, served.reads.acquire()).await else {
        return Err(Absent::Busy);
    };
    let view = served.store.view();
    match blocking::spawn(move || read(&view, path)).await {
        Ok(Ok(bytes)) => Ok(([(CONTENT_TYPE, BYTES), (CACHE_CONTROL, FOR_EVER)], bytes).into_response()),
        Ok(Err(error)) => {
            tracing::error!(%error, %path, "a published tile cannot be read");
            Err(Absent::Unreadable)
        }
        Err(_) => Err(Absent::Unreadable),
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

const BYTES: &str = "application/octet-stream";

fn text(body: String) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, FOR_NOW)];
    (headers, body).into_response()
}
