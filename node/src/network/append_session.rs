//! One session of the append stream: Raft's requests go out as they come, and answers come back in
//! order.
//!
//! The session owns Raft's stream of requests and drives it itself, never another task: Raft's stream
//! holds a lock of Raft's while it waits, and the next session takes that lock, so it must be gone when
//! this one is dropped.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use chancery_proto::v1::peer;
use futures_util::{Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, Unreachable};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::{AppendEntriesRequest, StreamAppendError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::network::bounds::{APPEND_BYTES_IN_FLIGHT_MAX, APPENDS_IN_FLIGHT_MAX};
use crate::network::links::Link;
use crate::network::raft_network::{rpc_error, timed_out};
use crate::network::wire::{AppendPart, AppendParts, AppendResult, of_append_reply};
use crate::raft::types::{LogId, TypeConfig};

/// What Raft gets for a request.
pub(super) type AppendAnswer = Result<AppendResult, RPCError<TypeConfig>>;

/// Requests on their way to the connection. The rest of what is in flight is with the peer.
const SENDING_MAX: usize = 2;

/// Opens a session on the kept connection, once there is a first request: Raft backs off from a peer that it
/// does not reach by holding that one back, and a session that failed to open before it would be opened again at
/// once, for ever.
pub(super) async fn open<S>(
    link: Arc<Link>,
    input: S,
    option: RPCOption,
) -> Result<impl Stream<Item = AppendAnswer> + Send, RPCError<TypeConfig>>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    let mut input = input.fuse();
    let first = input.next().await;
    let input = futures_util::stream::iter(first).chain(input);
    let (requests, body) = mpsc::channel(SENDING_MAX);
    let wait = option.soft_ttl().max(link.options.connect_timeout);
    let mut client = link.append();
    let replies = timeout(wait, client.append(ReceiverStream::new(body)))
        .await
        .map_err(|_| timed_out(&link, RPCTypes::AppendEntries, wait))?
        .map_err(|status| rpc_error(&status))?
        .into_inner();
    let session = AppendSession {
        input: Some(input),
        parts: None,
        waiting: None,
        requests: Some(requests),
        replies,
        in_flight: VecDeque::new(),
        in_flight_bytes: 0,
        stall_max: link.options.append_stall_max.max(option.soft_ttl()),
        progress_at: Instant::now(),
        ended: false,
        link,
    };
    Ok(futures_util::stream::unfold(session, |mut session| async move {
        let answer = session.next().await?;
        Some((answer, session))
    }))
}

struct AppendSession<S> {
    link: Arc<Link>,
    /// Raft's requests, until it ends them.
    input: Option<S>,
    /// The request that is being sent in parts.
    parts: Option<AppendParts>,
    /// Its next part.
    waiting: Option<Sending>,
    /// Open until all is sent.
    requests: Option<mpsc::Sender<peer::AppendRequest>>,
    replies: Streaming<peer::AppendReply>,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    stall_max: Duration,
    /// When the oldest request in flight began to be the oldest.
    progress_at: Instant,
    ended: bool,
}

struct Sending {
    request: peer::AppendRequest,
    then: InFlight,
}

/// A request that is to be answered.
struct InFlight {
    prev: Option<LogId>,
    last: Option<LogId>,
    size_bytes: usize,
    /// The last part of what Raft asked: its answer is Raft's.
    is_last_part: bool,
}

/// What happened next.
enum Event {
    Asked(Option<AppendEntriesRequest<TypeConfig>>),
    Sent,
    Reply(Result<Option<peer::AppendReply>, tonic::Status>),
    Stalled,
}

impl<S> AppendSession<S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin,
{
    /// The next answer. After an error, a conflict or a higher vote, and when all requests are
    /// answered, there is none.
    async fn next(&mut self) -> Option<AppendAnswer> {
        while !self.ended {
            let answer = match self.step().await {
                Ok(None) => continue,
                Ok(Some(result)) => {
                    self.ended = result.is_err();
                    Ok(result)
                }
                Err(error) => {
                    self.ended = true;
                    Err(error)
                }
            };
            return Some(answer);
        }
        None
    }

    async fn step(&mut self) -> Result<Option<AppendResult>, RPCError<TypeConfig>> {
        self.prepare()?;
        match self.event().await {
            Event::Asked(Some(request)) => self.parts = Some(AppendParts::of(request)),
            Event::Asked(None) => {
                self.input = None;
                self.requests = None;
            }
            Event::Sent => {
                if let Some(sent) = self.waiting.take() {
                    if self.in_flight.is_empty() {
                        self.progress_at = Instant::now();
                    }
                    self.in_flight_bytes += sent.then.size_bytes;
                    self.in_flight.push_back(sent.then);
                }
            }
            Event::Reply(Ok(Some(reply))) => return self.answer(reply),
            Event::Reply(Ok(None)) if self.input.is_none() && self.in_flight.is_empty() => {
                self.ended = true;
            }
            Event::Reply(Ok(None)) => {
                return Err(NetworkError::from_string("the peer ended the append stream").into());
            }
            Event::Reply(Err(status)) => return Err(rpc_error(&status)),
            Event::Stalled => {
                return Err(timed_out(&self.link, RPCTypes::AppendEntries, self.stall_max));
            }
        }
        Ok(None)
    }

    /// Encodes the next part, one at a time.
    fn prepare(&mut self) -> Result<(), RPCError<TypeConfig>> {
        let Some(parts) = self.parts.as_mut().filter(|_| self.waiting.is_none()) else { return Ok(()) };
        let part = parts.next_part().map_err(|error| {
            // It would be refused the next time too.
            tracing::error!(peer = self.link.peer, %error, "log entries that cannot be sent");
            RPCError::from(Unreachable::new(&error))
        })?;
        let is_last_part = parts.is_done();
        if is_last_part {
            self.parts = None;
        }
        self.waiting = part.map(|AppendPart { request, prev, last }| {
            let size_bytes = request.entries.len();
            Sending { request, then: InFlight { prev, last, size_bytes, is_last_part } }
        });
        Ok(())
    }

    async fn event(&mut self) -> Event {
        let room = self.waiting.as_ref().is_some_and(|next| {
            self.in_flight.is_empty()
                || self.in_flight.len() < APPENDS_IN_FLIGHT_MAX
                    && self.in_flight_bytes + next.then.size_bytes <= APPEND_BYTES_IN_FLIGHT_MAX
        });
        let idle = self.waiting.is_none() && self.parts.is_none();
        let Self { input, waiting, requests, replies, .. } = self;
        let ask = async {
            match input.as_mut().filter(|_| idle) {
                Some(input) => input.next().await,
                None => pending().await,
            }
        };
        let send = async {
            let (true, Some(next), Some(requests)) = (room, waiting, requests) else {
                return pending().await;
            };
            match requests.reserve().await {
                Ok(place) => place.send(std::mem::take(&mut next.request)),
                // The stream broke; its replies say how.
                Err(_) => pending().await,
            }
        };
        let stall = async {
            match self.in_flight.is_empty() {
                true => pending().await,
                false => sleep_until(self.progress_at + self.stall_max).await,
            }
        };
        tokio::select! {
            biased;
            reply = replies.message() => Event::Reply(reply),
            () = send => Event::Sent,
            asked = ask => Event::Asked(asked),
            () = stall => Event::Stalled,
        }
    }

    fn answer(&mut self, reply: peer::AppendReply) -> Result<Option<AppendResult>, RPCError<TypeConfig>> {
        let refused = |reason: &str| RPCError::from(Unreachable::from_string(reason));
        let asked = self.in_flight.pop_front().ok_or_else(|| refused("an answer to no request"))?;
        self.in_flight_bytes -= asked.size_bytes;
        self.progress_at = Instant::now();
        match of_append_reply(reply).map_err(|error| refused(&error.to_string()))? {
            Ok(matching) if matching != asked.last => Err(refused("another log id than the last one sent")),
            Err(StreamAppendError::Conflict(at)) if Some(at) != asked.prev => {
                Err(refused("another log id than the one before what was sent"))
            }
            Ok(_) if !asked.is_last_part => Ok(None),
            result => Ok(Some(result)),
        }
    }
}
