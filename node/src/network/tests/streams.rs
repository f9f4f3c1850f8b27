//! One append session, against a peer that answers as it is told.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chancery_proto::v1::peer;
use chancery_proto::v1::peer::peer_server::{Peer, PeerServer};
use futures_util::{Stream, StreamExt};
use openraft::errors::RPCError;
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, StreamAppendError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::cluster::PATIENCE;
use crate::network::LinkOptions;
use crate::network::append_session::{self, AppendAnswer};
use crate::network::links::Link;
use crate::network::wire::{of_append, to_append_reply};
use crate::raft::types::{Entry, LogId, Payload, TypeConfig, Vote, log_id};

/// How the peer answers.
#[derive(Clone, Copy)]
enum Script {
    /// As it should.
    Accept,
    /// Only after this many requests came; then all of them.
    AcceptAfter(usize),
    /// Never.
    Withhold,
    /// Claims more than it was sent.
    Exaggerate,
    /// Conflicts at what was sent, or elsewhere.
    Conflict {
        elsewhere: bool,
    },
    HigherVote,
    /// Ends the stream after one answer.
    End,
    /// Two answers to one request.
    Chatter,
}

struct Scripted {
    script: Script,
    seen: mpsc::UnboundedSender<Seen>,
}

/// What the peer sees.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// A request with entries of this size.
    Request(usize),
    /// The end of the stream.
    End,
}

type Replies = Pin<Box<dyn Stream<Item = Result<peer::AppendReply, Status>> + Send>>;

impl Scripted {
    fn answer(&self, request: &AppendEntriesRequest<TypeConfig>) -> Vec<peer::AppendReply> {
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let accepted = to_append_reply(&Ok(last));
        match self.script {
            Script::Withhold => vec![],
            Script::Chatter => vec![accepted; 2],
            Script::Exaggerate => vec![to_append_reply(&Ok(Some(log_id(1, 1_000))))],
            Script::Conflict { elsewhere } => {
                let at = if elsewhere { log_id(1, 1_000) } else { request.prev_log_id.unwrap() };
                vec![to_append_reply(&Err(StreamAppendError::Conflict(at)))]
            }
            Script::HigherVote => vec![to_append_reply(&Err(StreamAppendError::HigherVote(Vote::new(9, 3))))],
            Script::Accept | Script::AcceptAfter(_) | Script::End => vec![accepted],
        }
    }
}

fn none<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("no part of this test"))
}

#[tonic::async_trait]
impl Peer for Scripted {
    type AppendStream = Replies;

    async fn append(
        &self,
        request: Request<Streaming<peer::AppendRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let (replies, sent) = mpsc::channel(1_000);
        let script = Scripted { script: self.script, seen: self.seen.clone() };
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            let mut held = Vec::new();
            let mut count = 0;
            while let Ok(Some(request)) = requests.message().await {
                let _ = script.seen.send(Seen::Request(request.entries.len()));
                count += 1;
                held.extend(script.answer(&of_append(request).unwrap()));
                if matches!(script.script, Script::AcceptAfter(least) if count < least) {
                    continue;
                }
                for reply in held.drain(..) {
                    let _ = replies.send(Ok(reply)).await;
                }
                if matches!(script.script, Script::End) {
                    return;
                }
            }
            let _ = script.seen.send(Seen::End);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(sent))))
    }

    async fn heartbeat(
        &self,
        _: Request<peer::AppendRequest>,
    ) -> Result<Response<peer::AppendReply>, Status> {
        none()
    }

    async fn cosign(&self, _: Request<peer::CosignRequest>) -> Result<Response<peer::CosignReply>, Status> {
        none()
    }

    async fn vote(&self, _: Request<peer::VoteRequest>) -> Result<Response<peer::VoteReply>, Status> {
        none()
    }

    async fn pre_vote(&self, _: Request<peer::VoteRequest>) -> Result<Response<peer::VoteReply>, Status> {
        none()
    }

    async fn transfer_leader(
        &self,
        _: Request<peer::TransferLeaderRequest>,
    ) -> Result<Response<peer::TransferLeaderReply>, Status> {
        none()
    }

    async fn snapshot(
        &self,
        _: Request<Streaming<peer::SnapshotChunk>>,
    ) -> Result<Response<peer::SnapshotReply>, Status> {
        none()
    }

    async fn state(
        &self,
        _: Request<peer::StatementRequest>,
    ) -> Result<Response<peer::StatementReply>, Status> {
        none()
    }

    async fn sign_head(
        &self,
        _: Request<peer::SignHeadRequest>,
    ) -> Result<Response<peer::SignHeadReply>, Status> {
        none()
    }

    async fn clock(&self, _: Request<peer::ClockRequest>) -> Result<Response<peer::ClockReply>, Status> {
        none()
    }

    async fn submit(&self, _: Request<peer::SubmitRequest>) -> Result<Response<peer::SubmitReply>, Status> {
        none()
    }

    async fn roster_links(
        &self,
        _: Request<peer::RosterLinksRequest>,
    ) -> Result<Response<peer::RosterLinksReply>, Status> {
        none()
    }
}

/// A link to a peer with this script, and what it sees.
async fn peer_with(script: Script) -> (Arc<Link>, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, sizes) = mpsc::unbounded_channel();
    let service = PeerServer::new(Scripted { script, seen }).max_decoding_message_size(8 << 20);
    tokio::spawn(Server::builder().serve_with_incoming(service, TcpListenerStream::new(listener)));
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let options = LinkOptions {
        append_stall_max: Duration::from_secs(5),
        connect_timeout: PATIENCE,
        ..LinkOptions::default()
    };
    (Arc::new(Link::over(&channel, options)), sizes)
}

/// A request for `count` entries after `prev`.
fn request(prev: Option<u64>, count: u64, size_bytes: usize) -> AppendEntriesRequest<TypeConfig> {
    let first = prev.map_or(0, |prev| prev + 1);
    let entry = |index| Entry {
        log_id: log_id(1, index),
        payload: Payload::new(Some(vec![1; size_bytes].into()), None),
    };
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: prev.map(|prev| log_id(1, prev)),
        entries: (first..first + count).map(entry).collect(),
        leader_commit: None,
    }
}

/// Ten requests for one entry each.
fn ten() -> Vec<AppendEntriesRequest<TypeConfig>> {
    (0..10_u64).map(|index| request(index.checked_sub(1), 1, 10)).collect()
}

fn option() -> RPCOption {
    RPCOption::new(Duration::from_millis(100))
}

async fn answers(script: Script, requests: Vec<AppendEntriesRequest<TypeConfig>>) -> Vec<AppendAnswer> {
    let (link, _sizes) = peer_with(script).await;
    let session = append_session::open(link, futures_util::stream::iter(requests), option()).await.unwrap();
    timeout(PATIENCE, session.collect()).await.unwrap()
}

fn accepted(answers: &[AppendAnswer]) -> Vec<Option<LogId>> {
    answers.iter().map(|answer| *answer.as_ref().unwrap().as_ref().unwrap()).collect()
}

#[tokio::test]
async fn requests_are_pipelined_and_answered_in_order() {
    for script in [Script::Accept, Script::AcceptAfter(10)] {
        let expected: Vec<_> = (0..10).map(|index| Some(log_id(1, index))).collect();
        assert_eq!(accepted(&answers(script, ten()).await), expected);
    }
}

#[tokio::test]
async fn what_is_in_flight_is_bounded() {
    let (link, mut sizes) = peer_with(Script::Withhold).await;
    let many = futures_util::stream::iter((0..1_000_u64).map(|index| request(index.checked_sub(1), 1, 10)));
    let mut session = Box::pin(append_session::open(link, many, option()).await.unwrap());
    let stalled = session.next().await.unwrap();
    assert!(matches!(stalled, Err(RPCError::Timeout(_))), "{stalled:?}");
    assert!(session.next().await.is_none());
    let mut seen = 0;
    while let Ok(Seen::Request(_)) = sizes.try_recv() {
        seen += 1;
    }
    assert_eq!(seen, crate::network::bounds::APPENDS_IN_FLIGHT_MAX);

    let (link, mut sizes) = peer_with(Script::Withhold).await;
    let large = futures_util::stream::iter([request(None, 10, 4 << 20)]);
    let mut session = Box::pin(append_session::open(link, large, option()).await.unwrap());
    assert!(matches!(session.next().await, Some(Err(RPCError::Timeout(_)))));
    let mut seen = 0;
    while let Ok(Seen::Request(size)) = sizes.try_recv() {
        seen += size;
    }
    assert!(seen <= crate::network::bounds::APPEND_BYTES_IN_FLIGHT_MAX, "{seen}");
}

#[tokio::test]
async fn a_large_request_goes_out_in_parts_and_is_answered_once() {
    let (link, mut sizes) = peer_with(Script::Accept).await;
    let requests = futures_util::stream::iter([request(None, 40, 300 << 10), request(Some(39), 0, 0)]);
    let session = append_session::open(link, requests, option()).await.unwrap();
    let answers: Vec<_> = session.collect().await;
    assert_eq!(accepted(&answers), [Some(log_id(1, 39)); 2]);
    let mut seen = Vec::new();
    while let Ok(Seen::Request(size)) = sizes.try_recv() {
        seen.push(size);
    }
    assert_eq!(seen.len(), 15, "{seen:?}");
    assert!(seen.iter().all(|size| *size <= crate::network::APPEND_BYTES_MAX + 64), "{seen:?}");
}

#[tokio::test]
async fn a_conflict_or_a_higher_vote_is_the_last_answer() {
    let mut requests = ten();
    requests.remove(0);
    let answers_to = answers(Script::Conflict { elsewhere: false }, requests.clone()).await;
    assert_eq!(answers_to, [Ok(Err(StreamAppendError::Conflict(log_id(1, 0))))]);
    let answers_to = answers(Script::HigherVote, requests).await;
    assert_eq!(answers_to, [Ok(Err(StreamAppendError::HigherVote(Vote::new(9, 3))))]);
}

#[tokio::test]
async fn answers_that_cannot_be_are_errors() {
    let mut requests = ten();
    requests.remove(0);
    for script in [Script::Exaggerate, Script::Conflict { elsewhere: true }] {
        let answers = answers(script, requests.clone()).await;
        assert!(matches!(answers[..], [Err(RPCError::Unreachable(_))]), "{answers:?}");
    }
    let answers_to = answers(Script::Chatter, vec![request(None, 1, 1)]).await;
    assert!(matches!(answers_to[..], [Ok(Ok(_)), Err(RPCError::Unreachable(_))]), "{answers_to:?}");
}

#[tokio::test]
async fn the_end_of_the_stream_is_noticed_at_once() {
    let (link, _sizes) = peer_with(Script::End).await;
    let idle = futures_util::stream::iter([request(None, 1, 1)]).chain(futures_util::stream::pending());
    let mut session = Box::pin(append_session::open(link, idle, option()).await.unwrap());
    assert_eq!(session.next().await, Some(Ok(Ok(Some(log_id(1, 0))))));
    // Nothing is in flight that could time out.
    let ended = timeout(PATIENCE, session.next()).await.unwrap();
    assert!(matches!(ended, Some(Err(RPCError::Network(_)))), "{ended:?}");
}

#[tokio::test]
async fn a_dropped_session_lets_go_of_its_input_at_once() {
    let (link, mut sizes) = peer_with(Script::Withhold).await;
    let (requests, input) = mpsc::channel(1);
    requests.send(request(None, 1, 1)).await.unwrap();
    let mut session =
        Box::pin(append_session::open(link, ReceiverStream::new(input), option()).await.unwrap());
    tokio::select! {
        answer = session.next() => panic!("{answer:?}"),
        seen = timeout(PATIENCE, sizes.recv()) => assert!(matches!(seen, Ok(Some(Seen::Request(_)))), "{seen:?}"),
    }
    assert!(!requests.is_closed());
    drop(session);
    assert!(requests.is_closed());
    // The peer sees the end of the stream too: it has no more to wait for.
    let ended = timeout(PATIENCE, sizes.recv()).await;
    assert_eq!(ended, Ok(Some(Seen::End)));
}

/// Raft backs off by holding back its requests: a session that failed before it had one would be replaced at once.
#[tokio::test]
async fn a_peer_is_not_called_before_there_is_a_request() {
    // Nobody listens there.
    let channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let link = Arc::new(Link::over(&channel, LinkOptions::default()));
    let (requests, input) = mpsc::channel(1);
    let mut opening = Box::pin(append_session::open(link, ReceiverStream::new(input), option()));
    assert!(timeout(Duration::from_millis(300), &mut opening).await.is_err(), "Raft backs off");
    requests.send(request(None, 1, 1)).await.unwrap();
    let opened = timeout(PATIENCE, opening).await.unwrap();
    assert!(matches!(opened.map(|_| ()), Err(RPCError::Unreachable(_))));
}
