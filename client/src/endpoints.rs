//! The nodes' client ports: one kept connection to each, and the order in which a call tries them.
//!
//! A call begins at the endpoint that served last, goes on to the next ones, and around again after a pause,
//! until it is served, its tries are used up, or its deadline comes. No endpoint may take more of the time
//! that is left than its share, so that a slow one does not starve the others.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chancery_proto::v1::api::ledger_client::LedgerClient;
use chancery_transport::connector;
use tokio::time::Instant;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint as ChannelEndpoint, Identity};
use tonic::{Code, Status};

use crate::check::ProofError;
use crate::context::{Context, ContextError};
use crate::convictions::Convicted;
use crate::receipt::ReceiptError;
use crate::rosters::RostersError;
use crate::session::Sessions;

/// Longest time to make a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that is silent for so long is probed, and dropped if it stays silent as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Calls that wait for or are under way on one connection; further callers wait.
const CALLS_MAX: usize = 256;

/// First pause before the endpoints are tried again; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(50);

/// Longest text of a node's that is kept, in bytes.
const TEXT_SIZE_BYTES_MAX: usize = 512;

/// Why there is no [`Ledger`](crate::Ledger).
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An endpoint is not `host:port`.
    #[error("endpoint {0:?} is not host:port")]
    Endpoint(String),
    /// There is none.
    #[error("the context has no endpoint")]
    NoEndpoint,
    /// The certificates or the key of the context cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// What was verified before cannot be read.
    #[error(transparent)]
    Newest(#[from] ContextError),
}

/// One try that failed.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint}: {failure}")]
pub struct Try {
    /// The endpoint.
    pub endpoint: String,
    /// What went wrong there.
    pub failure: Failure,
}

/// What went wrong at one endpoint.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There was no connection, so that nothing was sent.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// No answer in the time that the try had.
    #[error("no answer in time")]
    TimedOut,
    /// The node, or the connection, failed.
    #[error("{code:?}: {message}")]
    Failed {
        /// The gRPC status code.
        code: Code,
        /// The node's words.
        message: String,
    },
    /// The node says that this client may not ask.
    #[error("not permitted: {0}")]
    NotPermitted(String),
    /// The answer proves nothing.
    #[error("the answer proves nothing: {0}")]
    Unproven(#[from] ProofError),
    /// The node's roster chain proves nothing.
    #[error("the roster chain proves nothing: {0}")]
    Rosters(#[from] RostersError),
    /// A statement that came with the answer, or the acknowledgement, convicted the node that signed it.
    #[error("contradiction: {0}")]
    Contradiction(Arc<Convicted>),
    /// The permit's deadline had passed when the answer came.
    #[error("the answer came after the permit's deadline")]
    Expired,
    /// What the answer shows is older than was asked for.
    #[error("the oldest clock of its quorum is {age_ms} ms behind this machine's, {within_ms} are allowed")]
    Stale {
        /// This machine's clock less the oldest of the quorum, in milliseconds.
        age_ms: u64,
        /// What was asked for.
        within_ms: u64,
    },
    /// The node keeps the state no more that was asked about, or there was none yet. It is only its word.
    #[error("the oldest state that it keeps is of block {oldest_block}")]
    NotKept {
        /// The oldest block whose state it keeps.
        oldest_block: u64,
        /// Its ledger time, in milliseconds since 1970.
        oldest_time_ms: u64,
    },
    /// What was asked about is after what the node knows.
    #[error("the newest block that it knows is {newest_block}")]
    NotReached {
        /// The newest block.
        newest_block: u64,
        /// The oldest clock of its quorum, in milliseconds since 1970.
        clock_ms: u64,
    },
    /// The acknowledgement proves nothing.
    #[error("the acknowledgement proves nothing: {0}")]
    Unacknowledged(#[from] ReceiptError),
    /// The node says that the command was not done.
    #[error("not done: {0}")]
    NotDone(String),
    /// The node does not know whether the command was done.
    #[error("unknown whether done: {0}")]
    Unknown(String),
    /// The node says that the command has no effect.
    #[error("refused: {code}: {message}")]
    Refused {
        /// A stable name for machines.
        code: String,
        /// For people.
        message: String,
    },
}

impl Failure {
    /// What a gRPC status says about the call.
    pub(crate) fn of(status: &Status) -> Self {
        let message = printable(status.message());
        if never_connected(status) {
            // The reason is at the end of the chain of errors.
            let mut cause: &dyn StdError = status;
            while let Some(source) = cause.source() {
                cause = source;
            }
            return Self::Unreachable(printable(&cause.to_string()));
        }
        match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => Self::NotPermitted(message),
            Code::DeadlineExceeded | Code::Cancelled => Self::TimedOut,
            code => Self::Failed { code, message },
        }
    }
}

/// A node's words, cut to a bounded length and without what could command a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut kept = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if kept.len() + c.len_utf8() > TEXT_SIZE_BYTES_MAX {
            break;
        }
        kept.push(c);
    }
    kept
}

fn never_connected(status: &Status) -> bool {
    let mut error: Option<&(dyn StdError + 'static)> = status.source();
    while let Some(cause) = error {
        if cause.is::<tonic::ConnectError>() {
            return true;
        }
        error = cause.source();
    }
    false
}

/// One node's client port, with its kept connection.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    channel: Channel,
    pub(crate) sessions: Sessions,
}

impl Endpoint {
    /// A client that decodes messages up to `size_bytes_max` and no more.
    pub(crate) fn client(&self, size_bytes_max: usize) -> LedgerClient<Channel> {
        LedgerClient::new(self.channel.clone()).max_decoding_message_size(size_bytes_max)
    }
}

/// Calls one node, within `time`.
pub(crate) async fn call<T>(
    time: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(time, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Failure::of(&status)),
        Err(_) => Err(Failure::TimedOut),
    }
}

/// All endpoints of a context.
#[derive(Debug)]
pub(crate) struct Endpoints {
    list: Vec<Endpoint>,
    /// The one that served last.
    preferred: AtomicUsize,
}

impl Endpoints {
    /// Prepares a connection to each; they are made when they are used.
    pub(crate) fn new(context: &Context) -> Result<Self, ConnectError> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&context.server_ca))
            .identity(Identity::from_pem(&context.certificate, context.tls_key.as_bytes()));
        let list: Vec<_> = context.endpoints.iter().map(|name| open(name, &tls)).collect::<Result<_, _>>()?;
        if list.is_empty() {
            return Err(ConnectError::NoEndpoint);
        }
        Ok(Self { list, preferred: AtomicUsize::new(0) })
    }

    pub(crate) fn all(&self) -> &[Endpoint] {
        &self.list
    }

    /// A try at one of them, which has `time`.
    pub(crate) fn attempt(&self, number: usize, time: Duration) -> Option<Attempt<'_>> {
        Some(Attempt { endpoint: self.list.get(number)?, time, number })
    }

    /// At most `tries_max` tries until `deadline`.
    pub(crate) fn tries(&self, deadline: Instant, tries_max: usize) -> Tries<'_> {
        let first = self.preferred.load(Ordering::Relaxed);
        Tries { endpoints: self, deadline, tries_max, first, made: 0, failed: Vec::new() }
    }
}

fn open(name: &str, tls: &ClientTlsConfig) -> Result<Endpoint, ConnectError> {
    let bad = || ConnectError::Endpoint(name.into());
    let uri: tonic::transport::Uri = format!("https://{name}").parse().map_err(|_| bad())?;
    // Nothing but a host and a port: no user, no path.
    let whole = uri.authority().is_some_and(|authority| authority.as_str() == name) && !name.contains('@');
    if !whole || uri.port_u16().is_none() {
        return Err(bad());
    }
    let channel = ChannelEndpoint::from(uri)
        .tls_config(tls.clone())
        .map_err(|error| {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            ConnectError::Tls(format!("{error}: {cause}"))
        })?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .buffer_size(CALLS_MAX)
        .connect_with_connector_lazy(connector());
    Ok(Endpoint { name: name.into(), channel, sessions: Sessions::default() })
}

/// The tries of one call.
pub(crate) struct Tries<'a> {
    endpoints: &'a Endpoints,
    deadline: Instant,
    tries_max: usize,
    first: usize,
    made: usize,
    failed: Vec<Try>,
}

/// One try: an endpoint, and the time that it has.
pub(crate) struct Attempt<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) time: Duration,
    number: usize,
}

impl Attempt<'_> {
    /// The endpoint's place among all.
    pub(crate) const fn number(&self) -> usize {
        self.number
    }

    /// `message`, with the time that the node has.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.time);
        request
    }
}

impl<'a> Tries<'a> {
    /// The next try, after a pause if all endpoints were tried since the last one; `None` if there is none.
    pub(crate) async fn next(&mut self) -> Option<Attempt<'a>> {
        let list = &self.endpoints.list;
        if self.made >= self.tries_max {
            return None;
        }
        let (round, place) = (self.made / list.len(), self.made % list.len());
        if round > 0 && place == 0 {
            let doublings = u32::try_from(round - 1).unwrap_or(u32::MAX).min(6);
            let pause = PAUSE.saturating_mul(1 << doublings);
            tokio::time::sleep_until(self.deadline.min(Instant::now() + pause)).await;
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        // Those that are still to come in this round have their share.
        let sharing = (list.len() - place).min(self.tries_max - self.made);
        let time = left / u32::try_from(sharing).unwrap_or(u32::MAX);
        let number = (self.first + self.made) % list.len();
        self.made += 1;
        Some(Attempt { endpoint: list.get(number)?, time, number })
    }

    /// The endpoint served; it is tried first from now on.
    pub(crate) fn served(self, attempt: &Attempt<'_>) -> Vec<Try> {
        self.endpoints.preferred.store(attempt.number, Ordering::Relaxed);
        self.failed
    }

    /// The endpoint did not serve.
    pub(crate) fn failed(&mut self, attempt: &Attempt<'_>, failure: Failure) {
        let endpoint = attempt.endpoint.name.clone();
        if matches!(failure, Failure::Unproven(_) | Failure::Unacknowledged(_) | Failure::Rosters(_)) {
            tracing::warn!(endpoint, %failure, "a node's reply does not verify");
        } else {
            tracing::debug!(endpoint, %failure, "a try failed");
        }
        self.failed.push(Try { endpoint, failure });
    }

    /// Whether every endpoint was tried, and each one's last failure is such.
    pub(crate) fn all_say(&self, such: impl Fn(&Failure) -> bool) -> bool {
        self.endpoints.list.iter().all(|endpoint| {
            let last = self.failed.iter().rfind(|one| one.endpoint == endpoint.name);
            last.is_some_and(|one| such(&one.failure))
        })
    }

    /// All tries, none of which served.
    pub(crate) fn into_failed(self) -> Vec<Try> {
        self.failed
    }
}
