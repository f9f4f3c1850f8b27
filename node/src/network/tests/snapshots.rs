//! Snapshots over the network, whole and broken.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::hash::Hash;
use chancery_proto::v1::peer;
use chancery_proto::v1::peer::peer_client::PeerClient;
use chancery_proto::v1::peer::snapshot_chunk::Part;
use openraft::RaftNetworkFactory;
use openraft::errors::{ReplicationClosed, StreamingError};
use openraft::network::{RPCOption, RaftNetworkV2};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::Ca;
use super::cluster::{PATIENCE, TestNode, eventually, quick, soon};
use super::in_memory::Listed;
use crate::network::connector::channel;
use crate::network::wire::to_snapshot_header;
use crate::network::{Manifest, ManifestFile, Peers, RaftLink, ServerOptions};
use crate::raft::types::{
    Membership, Snapshot, SnapshotFolder, SnapshotMeta, StoredMembership, Vote, log_id,
};

fn meta() -> SnapshotMeta {
    let membership = Membership::new_with_defaults(vec![[1, 2].into()], []);
    SnapshotMeta {
        last_log_id: Some(log_id(3, 40)),
        last_membership: StoredMembership::new(Some(log_id(3, 7)), membership),
    }
}

/// A snapshot in `folder`, such as the state machine of these tests makes.
fn snapshot(folder: &Path) -> Snapshot {
    let folder = folder.join("sent");
    std::fs::create_dir_all(folder.join("db")).unwrap();
    let state = [&40_u64.to_be_bytes()[..], &[5; 32]].concat();
    std::fs::write(folder.join("db/state"), state).unwrap();
    std::fs::write(folder.join("ballast"), vec![3; (3 << 20) + 1]).unwrap();
    std::fs::write(folder.join("empty"), []).unwrap();
    Snapshot { meta: meta(), snapshot: SnapshotFolder::at(folder) }
}

/// Node 2's client of `server`, as Raft has it.
async fn link(ca: &Ca, server: &TestNode) -> RaftLink<Listed> {
    let peers = Peers::new(ca.node(2), quick());
    peers.raft_network(Listed).new_snapshot_client(server.id, &server.raft_node()).await
}

/// Node 2's client of `server`, to say anything with.
fn client(ca: &Ca, server: &TestNode) -> PeerClient<Channel> {
    let address: Arc<str> = server.address.to_string().into();
    let transport = Arc::new(ca.node(2));
    PeerClient::new(channel(server.id, address, transport, &quick()).unwrap())
}

fn option() -> RPCOption {
    RPCOption::new(Duration::from_millis(200))
}

/// The header of a snapshot with one file of ten bytes.
fn header(vote: Vote) -> Part {
    let file = ManifestFile { name: "a".to_owned(), size_bytes: 10, sha256: Hash::of(&[&[0; 10]]) };
    Part::Header(to_snapshot_header(&vote, &meta(), &Manifest::new(vec![file]).unwrap()).unwrap())
}

fn bytes(offset: u64, length: usize) -> Part {
    Part::Bytes(peer::SnapshotBytes { file: 0, offset, bytes: vec![0; length] })
}

fn leader() -> Vote {
    Vote::new_committed(3, 2)
}

async fn say(client: &mut PeerClient<Channel>, parts: Vec<Part>) -> Result<peer::SnapshotReply, Status> {
    let chunks = parts.into_iter().map(|part| peer::SnapshotChunk { part: Some(part) });
    let chunks: Vec<_> = chunks.collect();
    client.snapshot(tokio_stream::iter(chunks)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_snapshot_is_sent_and_installed() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = TestNode::start(&ca, 1).await;
    let mut link = link(&ca, &server).await;
    let sent = link.full_snapshot(leader(), snapshot(folder.path()), pending(), option()).await.unwrap();
    assert_eq!(sent.vote, leader());
    assert_eq!(server.state.reached(), (40, Hash([5; 32])));
    assert_eq!(*server.sink.ended.lock().unwrap(), ["finished"]);
}

#[tokio::test]
async fn the_sender_can_stop_in_the_middle() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut server = TestNode::start(&ca, 1).await;
    server.cut().await;
    server.sink.chunk_pause = Duration::from_millis(100);
    server.serve_again(ServerOptions::default()).await;
    let mut link = link(&ca, &server).await;
    let begun = Arc::clone(&server.sink.begun);
    let cancel = async move {
        begun.acquire().await.unwrap().forget();
        ReplicationClosed::new("as told")
    };
    let stopped = link.full_snapshot(leader(), snapshot(folder.path()), cancel, option()).await;
    assert!(matches!(stopped, Err(StreamingError::Closed(_))), "{stopped:?}");
    let ended = Arc::clone(&server.sink.ended);
    eventually("the receiver stops", || *ended.lock().unwrap() == ["dropped"]).await;
    assert_eq!(server.state.reached().0, 0);
    // There is room for the next one.
    link.full_snapshot(leader(), snapshot(folder.path()), pending(), option()).await.unwrap();
    assert_eq!(*ended.lock().unwrap(), ["dropped", "finished"]);
}

#[tokio::test]
async fn a_snapshot_that_went_away_or_is_refused_only_fails_the_transfer() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut server = TestNode::start(&ca, 1).await;
    let mut link = link(&ca, &server).await;
    let gone = Snapshot { meta: meta(), snapshot: SnapshotFolder::at(folder.path().join("none")) };
    let failed = link.full_snapshot(leader(), gone, pending(), option()).await;
    assert!(matches!(failed, Err(StreamingError::Unreachable(_))), "{failed:?}");

    server.cut().await;
    server.sink.finishes = false;
    server.serve_again(ServerOptions::default()).await;
    let mut failed = link.full_snapshot(leader(), snapshot(folder.path()), pending(), option()).await;
    let deadline = soon();
    // Until it comes to the server: the connection was cut, and the next one is not made at once.
    while server.sink.begun.available_permits() == 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
        failed = link.full_snapshot(leader(), snapshot(folder.path()), pending(), option()).await;
    }
    assert!(matches!(failed, Err(StreamingError::Unreachable(_))), "{failed:?}");
    assert_eq!(*server.sink.ended.lock().unwrap(), ["dropped"]);
    assert_eq!(server.state.reached().0, 0);
}

#[tokio::test]
async fn anything_but_exactly_the_listed_bytes_is_refused() {
    let ca = Ca::new();
    let server = TestNode::start(&ca, 1).await;
    let mut client = client(&ca, &server);
    let begun = [
        vec![header(leader())],
        vec![header(leader()), bytes(0, 9)],
        vec![header(leader()), bytes(0, 11)],
        vec![header(leader()), bytes(1, 9)],
        vec![header(leader()), bytes(0, 5), bytes(0, 5)],
        vec![header(leader()), bytes(0, 10), bytes(10, 1)],
        vec![header(leader()), bytes(0, 0), bytes(0, 10)],
        vec![header(leader()), header(leader()), bytes(0, 10)],
    ];
    let count = begun.len();
    for parts in begun {
        assert_eq!(say(&mut client, parts).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let not_begun = [
        vec![],
        vec![bytes(0, 10)],
        vec![header(Vote::new(3, 2)), bytes(0, 10)],
        // A leader of term 2 has no log id of term 3.
        vec![header(Vote::new_committed(2, 2)), bytes(0, 10)],
    ];
    for parts in not_begun {
        assert_eq!(say(&mut client, parts).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let other = say(&mut client, vec![header(Vote::new_committed(3, 3)), bytes(0, 10)]).await;
    assert_eq!(other.unwrap_err().code(), Code::PermissionDenied);
    let ended = Arc::clone(&server.sink.ended);
    eventually("all are dropped", || *ended.lock().unwrap() == vec!["dropped"; count]).await;
}

#[tokio::test]
async fn a_leader_of_the_past_is_told_before_it_sends() {
    let ca = Ca::new();
    let server = TestNode::start(&ca, 1).await;
    let mut client = client(&ca, &server);
    let vote = Some(peer::Vote { term: 9, node: 2, committed: false });
    client.vote(peer::VoteRequest { vote, ..peer::VoteRequest::default() }).await.unwrap();
    let reply = say(&mut client, vec![header(leader())]).await.unwrap();
    assert_eq!(reply.vote, vote);
    assert!(server.sink.ended.lock().unwrap().is_empty());
}

#[tokio::test]
async fn one_comes_at_a_time_and_a_stalled_one_ends() {
    let ca = Ca::new();
    let mut server = TestNode::start(&ca, 1).await;
    server.cut().await;
    let options = ServerOptions { snapshot_stall_max: Duration::from_secs(5), ..ServerOptions::default() };
    server.serve_again(options).await;
    let mut client = client(&ca, &server);
    let (chunks, body) = mpsc::channel(1);
    let mut first = client.clone();
    let first = tokio::spawn(async move { first.snapshot(ReceiverStream::new(body)).await });
    chunks.send(peer::SnapshotChunk { part: Some(header(leader())) }).await.unwrap();
    timeout(PATIENCE, server.sink.begun.acquire()).await.unwrap().unwrap().forget();
    let second = say(&mut client, vec![header(leader())]).await.unwrap_err();
    assert_eq!(second.code(), Code::ResourceExhausted);
    assert_eq!(first.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(*server.sink.ended.lock().unwrap(), ["dropped"]);
}
