//! A witness on loopback: as c2sp.org/tlog-witness has it, or as it had better not be.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use chancery_ledger::checkpoint::{Checkpoint, KeyName, SignatureType, SignedCheckpoint, VerifierKey};
use chancery_ledger::hash::Hash;
use chancery_ledger::log::{EMPTY_ROOT, verify_consistency};
use ed25519_dalek::SigningKey;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::log::{PATIENCE, log_key};

/// How it answers.
#[derive(Clone)]
pub(crate) enum Manner {
    /// As the specification says.
    Honest,
    /// The same, once it may.
    Waits(Arc<Semaphore>),
    /// Not at all.
    Hangs,
    /// The first line, and then no more.
    HangsMidway,
    /// Always this.
    Says(u16, String),
    /// This status, and then lines without end.
    Endless(u16),
    /// With its cosignature of another checkpoint.
    Forges,
    /// With another size each time.
    Contends,
}

/// What came to it.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// Requests.
    pub(crate) requests: usize,
    /// Most of them at once.
    pub(crate) at_once_max: usize,
    /// Of those that it cosigned: old size and new.
    pub(crate) cosigned: Vec<(u64, u64)>,
    at_once: usize,
}

struct Shared {
    name: KeyName,
    signing: SigningKey,
    manner: Manner,
    /// Its last checkpoint of the log.
    newest: Mutex<(u64, Hash)>,
    seen: watch::Sender<Seen>,
}

/// The witness.
pub(crate) struct Fake {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Bound, so that nobody else gets the port.
    closed: Mutex<Option<TcpSocket>>,
}

impl Fake {
    pub(crate) async fn start(label: &str) -> Self {
        Self::start_as(label, Manner::Honest).await
    }

    pub(crate) async fn start_as(label: &str, manner: Manner) -> Self {
        let fake = Self::new(label, manner);
        fake.come_up().await;
        fake
    }

    /// One that refuses connections.
    pub(crate) fn down(label: &str) -> Self {
        Self::new(label, Manner::Honest)
    }

    fn new(label: &str, manner: Manner) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let signing = SigningKey::from_bytes(&Hash::of(&[label.as_bytes()]).0);
        let name = KeyName::new(label).unwrap();
        let (newest, (seen, _)) = (Mutex::new((0, EMPTY_ROOT)), watch::channel(Seen::default()));
        let shared = Arc::new(Shared { name, signing, manner, newest, seen });
        Self { shared, address: socket.local_addr().unwrap(), closed: Mutex::new(Some(socket)) }
    }

    /// Begins to listen.
    pub(crate) async fn come_up(&self) {
        let socket = self.closed.lock().unwrap().take().unwrap();
        let listener: TcpListener = socket.listen(64).unwrap();
        let router = Router::new()
            .route("/prefix/add-checkpoint", post(add_checkpoint))
            .with_state(Arc::clone(&self.shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/prefix", self.address)
    }

    pub(crate) fn label(&self) -> &str {
        self.shared.name.as_str()
    }

    pub(crate) fn key(&self) -> VerifierKey {
        let public = self.shared.signing.verifying_key();
        VerifierKey::new(self.shared.name.clone(), SignatureType::Cosignature, public).unwrap()
    }

    pub(crate) fn seen(&self) -> Seen {
        self.shared.seen.borrow().clone()
    }

    /// Waits until that many have come.
    pub(crate) async fn wait_for_requests(&self, requests: usize) {
        let mut seen = self.shared.seen.subscribe();
        let asked = timeout(PATIENCE, seen.wait_for(|seen| seen.requests >= requests)).await;
        assert!(asked.is_ok(), "{} was not asked {requests} times", self.label());
    }

    /// It got this from somebody else.
    pub(crate) fn has_cosigned(&self, signed: &SignedCheckpoint) {
        let checkpoint = signed.checkpoint();
        *self.shared.newest.lock().unwrap() = (checkpoint.size(), checkpoint.root());
    }

    /// It knows nothing of this log any more.
    pub(crate) fn forget(&self) {
        *self.shared.newest.lock().unwrap() = (0, EMPTY_ROOT);
    }
}

async fn add_checkpoint(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    shared.seen.send_modify(|seen| {
        seen.requests += 1;
        seen.at_once += 1;
        seen.at_once_max = seen.at_once_max.max(seen.at_once);
    });
    // Also if the caller goes away.
    let _leaving = Leaving(Arc::clone(&shared));
    match &shared.manner {
        Manner::Honest => shared.cosign(&body),
        Manner::Waits(go) => {
            go.acquire().await.unwrap().forget();
            shared.cosign(&body)
        }
        Manner::Hangs => std::future::pending().await,
        Manner::HangsMidway => {
            let first =
                futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"\xe2\x80\x94 w"))]);
            let rest = futures_util::stream::pending();
            Body::from_stream(futures_util::StreamExt::chain(first, rest)).into_response()
        }
        Manner::Says(status, body) => (StatusCode::from_u16(*status).unwrap(), body.clone()).into_response(),
        Manner::Endless(status) => {
            let line = Bytes::from("7".repeat(1 << 10) + "\n");
            let lines = futures_util::stream::repeat_with(move || Ok::<_, Infallible>(line.clone()));
            (StatusCode::from_u16(*status).unwrap(), Body::from_stream(lines)).into_response()
        }
        Manner::Forges => {
            let (_, _, signed) = parse(&body);
            let other = signed.checkpoint();
            let other = Checkpoint::new(other.origin().clone(), other.size() + 1, other.root()).unwrap();
            shared.line(&other).into_response()
        }
        Manner::Contends => {
            let (old, _, signed) = parse(&body);
            let another = if old == 0 { signed.checkpoint().size() } else { old - 1 };
            (StatusCode::CONFLICT, format!("{another}\n")).into_response()
        }
    }
}

struct Leaving(Arc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.seen.send_modify(|seen| seen.at_once -= 1);
    }
}

impl Shared {
    /// The specification's checks, in its order.
    fn cosign(&self, body: &[u8]) -> Response {
        let (old, proof, signed) = parse(body);
        let checkpoint = signed.checkpoint();
        let log =
            VerifierKey::new(checkpoint.origin().clone(), SignatureType::Ed25519, log_key().verifying_key());
        if signed.verify_log_signature(&log.unwrap()).is_err() {
            return StatusCode::FORBIDDEN.into_response();
        }
        if old > checkpoint.size() {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let mut newest = self.newest.lock().unwrap();
        let (size, root) = *newest;
        if old != size {
            let headers = [("content-type", "text/x.tlog.size")];
            return (StatusCode::CONFLICT, headers, format!("{size}\n")).into_response();
        }
        if verify_consistency(size, &root, checkpoint.size(), &checkpoint.root(), &proof).is_err() {
            return StatusCode::UNPROCESSABLE_ENTITY.into_response();
        }
        *newest = (checkpoint.size(), checkpoint.root());
        self.seen.send_modify(|seen| seen.cosigned.push((old, checkpoint.size())));
        self.line(checkpoint).into_response()
    }

    fn line(&self, checkpoint: &Checkpoint) -> String {
        let line = checkpoint.cosign(&self.name, 1_700_000_001, &self.signing).unwrap();
        format!("{}\n", line.encode())
    }
}

/// A request: old size, proof, checkpoint.
fn parse(body: &[u8]) -> (u64, Vec<Hash>, SignedCheckpoint) {
    let text = std::str::from_utf8(body).unwrap();
    let (head, note) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let old = lines.next().unwrap().strip_prefix("old ").unwrap();
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    (old.parse().unwrap(), lines.map(hash).collect(), signed)
}

/// A hash from its line: as the root of a checkpoint, base64 is read.
fn hash(line: &str) -> Hash {
    Checkpoint::parse(&format!("proof\n1\n{line}\n")).unwrap().root()
}
