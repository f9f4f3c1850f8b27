//! One connection to one peer, made when it is needed.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

use crate::network::bounds::{CONNECTION_WINDOW_BYTES, HEADER_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX};
use crate::network::links::LinkOptions;
use crate::network::tls::node_name;
use crate::network::transport::{ConnectFailed, PeerStream, Transport};
use crate::raft::types::NodeId;

/// A kept connection to `peer` at `address`: opened by the first request, and again by the first one
/// after it broke. `None` if `peer` has no name in TLS, which no id does.
pub(super) fn channel(
    peer: NodeId,
    address: Arc<str>,
    transport: Arc<dyn Transport>,
    options: &LinkOptions,
) -> Option<Channel> {
    // The scheme says what tonic is to do: nothing. TLS is the connector's.
    let uri: Uri = format!("http://{}", node_name(peer)).parse().ok()?;
    let endpoint = Endpoint::from(uri)
        .buffer_size(STREAMS_MAX as usize)
        .connect_timeout(options.connect_timeout)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(true);
    let pace = Pace::new(options.reconnect_min, options.reconnect_max);
    let connector = PeerConnector { peer, address, transport, timeout: options.connect_timeout, pace };
    Some(endpoint.connect_with_connector_lazy(connector))
}

/// Whether a request failed because there was no connection: then it was not sent.
pub(super) fn was_not_sent(status: &tonic::Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() || error.is::<ConnectFailed>() {
            return true;
        }
        source = error.source();
    }
    false
}

struct PeerConnector {
    peer: NodeId,
    address: Arc<str>,
    transport: Arc<dyn Transport>,
    timeout: Duration,
    pace: Pace,
}

impl Service<Uri> for PeerConnector {
    type Response = TokioIo<PeerStream>;
    type Error = ConnectFailed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectFailed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFailed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        if !self.pace.may_start(Instant::now()) {
            return Box::pin(async { Err(ConnectFailed::TooSoon) });
        }
        let (connect, wait) = (self.transport.connect(self.peer, &self.address), self.timeout);
        Box::pin(async move {
            let stream = timeout(wait, connect).await.map_err(|_| ConnectFailed::Timeout(wait))?;
            stream.map(TokioIo::new)
        })
    }
}

/// Keeps attempts to connect apart, twice as far each time, whether they fail or break right after. An
/// attempt before its time fails at once, so that a dead peer costs its callers nothing.
struct Pace {
    min: Duration,
    max: Duration,
    wait: Duration,
    last: Option<Instant>,
}

impl Pace {
    const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, wait: Duration::ZERO, last: None }
    }

    fn may_start(&mut self, now: Instant) -> bool {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        self.wait = match since {
            Some(since) if since < self.wait => return false,
            // Quiet for long enough: what was there had been working.
            Some(since) if since < self.max * 4 => (self.wait * 2).clamp(self.min, self.max),
            _ => self.min,
        };
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_kept_apart() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(Duration::from_millis(20), Duration::from_millis(100));
        for (ms, may) in [(0, true), (19, false), (20, true), (59, false), (60, true), (139, false)] {
            assert_eq!(pace.may_start(at(ms)), may, "{ms}");
        }
        assert!(pace.may_start(at(140)));
        assert!(!pace.may_start(at(239)));
        assert!(pace.may_start(at(240)));
        assert!(pace.may_start(at(640)));
        assert!(!pace.may_start(at(659)));
        assert!(pace.may_start(at(660)));
    }
}
