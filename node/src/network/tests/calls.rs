//! Calls between nodes that are not Raft's.

use std::time::Duration;

use chancery_ledger::hash::Hash;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use super::Ca;
use super::cluster::{PATIENCE, TestNode, eventually, soon};
use crate::network::{
    Declined, LinkOptions, PeerError, Peers, SIGNED_COMMAND_BYTES_MAX, ServerOptions, SubmitOutcome,
    UnknownPeer,
};

async fn two() -> (TestNode, TestNode) {
    let ca = Ca::new();
    let (a, b) = (TestNode::start(&ca, 1).await, TestNode::start(&ca, 2).await);
    assert!(a.peers.add(2, &b.address.to_string()));
    (a, b)
}

#[tokio::test]
async fn calls_are_answered_and_say_who_called() {
    let (a, _b) = two().await;
    let root = Hash::labelled("test/nonce root", &[]);
    let statement = a.peers.statement(2, root, soon()).await.unwrap();
    assert_eq!(statement, [&1_u64.to_be_bytes()[..], root.as_bytes()].concat());
    assert_eq!(a.peers.sign_head(2, 77, soon()).await, Ok(77_u64.to_be_bytes().to_vec()));
    let begun = Instant::now();
    let sample = a.peers.clock(2, soon()).await.unwrap();
    assert_eq!((sample.reading.clock_ms, sample.reading.monotonic_ok), (1_700_000_000_000, true));
    assert!(sample.round_trip > Duration::ZERO && sample.round_trip <= begun.elapsed());
    let submitted = a.peers.submit(2, vec![9; 300], soon()).await.unwrap();
    let outcome = SubmitOutcome::Applied { index: 1, block: 300, time_ms: 3, before: false };
    assert_eq!((submitted.outcome, submitted.head), (outcome, vec![1]));
    assert_eq!(submitted.head_statements, [[2], [3]]);
}

#[tokio::test]
async fn ways_to_fail_are_told_apart() {
    let (a, mut b) = two().await;
    let sign = |block, deadline| a.peers.sign_head(2, block, deadline);
    assert_eq!(sign(0, soon()).await, Err(Declined::Gone("block 0".to_owned()).into()));
    assert_eq!(sign(1, soon()).await, Err(Declined::NotNow("recovering".to_owned()).into()));
    assert!(matches!(sign(2, soon()).await, Err(PeerError::Malformed(_))));
    // It would never be answered.
    let late = timeout(PATIENCE, sign(3, Instant::now() + Duration::from_millis(100))).await;
    assert_eq!(late, Ok(Err(PeerError::Deadline)));
    let too_long = a.peers.submit(2, vec![0; SIGNED_COMMAND_BYTES_MAX + 1], soon()).await.unwrap_err();
    assert!(matches!(too_long, PeerError::Refused(_)) && too_long.is_surely_not_done());
    assert_eq!(a.peers.sign_head(3, 5, soon()).await, Err(UnknownPeer(3).into()));
    assert!(!a.peers.add(1, "127.0.0.1:1"), "a node is not its own peer");

    // In the middle of a call, and then with nobody there.
    let held = b.handler.held.available_permits();
    let asked = tokio::spawn({
        let peers = a.peers.clone();
        async move { peers.sign_head(2, 3, soon()).await }
    });
    eventually("it is asked", || b.handler.held.available_permits() > held).await;
    b.cut().await;
    let broken = asked.await.unwrap().unwrap_err();
    assert!(matches!(broken, PeerError::Broken(_)), "{broken:?}");
    assert!(!broken.is_surely_not_done());
    // The first ones may still find out that the connection is gone.
    let deadline = soon();
    let mut last = sign(9, soon()).await.unwrap_err();
    while !last.is_surely_not_done() && Instant::now() < deadline {
        last = sign(9, soon()).await.unwrap_err();
    }
    assert!(matches!(last, PeerError::Unreachable(_)) && last.is_surely_not_done(), "{last:?}");
    a.peers.remove(2);
    assert_eq!(sign(9, soon()).await, Err(UnknownPeer(2).into()));
}

#[tokio::test]
async fn a_node_that_is_back_is_reached_again() {
    let (a, mut b) = two().await;
    assert!(a.peers.sign_head(2, 9, soon()).await.is_ok());
    b.cut().await;
    for _ in 0..20 {
        assert!(a.peers.sign_head(2, 9, soon()).await.is_err());
        sleep(Duration::from_millis(5)).await;
    }
    b.serve_again(ServerOptions::default()).await;
    let deadline = soon();
    while a.peers.sign_head(2, 9, soon()).await.is_err() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up() {
    let peers = Peers::new(Ca::new().node(1), LinkOptions::default());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    peers.add(3, &silent.local_addr().unwrap().to_string());
    let late = timeout(PATIENCE, peers.sign_head(3, 9, Instant::now() + Duration::from_millis(200))).await;
    assert_eq!(late, Ok(Err(PeerError::Deadline)));
    // Long before the caller gives up.
    let never = Instant::now() + 100 * PATIENCE;
    let refused = timeout(PATIENCE, peers.sign_head(3, 9, never)).await.unwrap().unwrap_err();
    assert!(matches!(refused, PeerError::Unreachable(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_share_one_connection() {
    let (a, b) = two().await;
    let calls = (4..2_004).map(|block| a.peers.sign_head(2, block, soon()));
    for (block, answer) in (4_u64..).zip(join_all(calls).await) {
        assert_eq!(answer, Ok(block.to_be_bytes().to_vec()));
    }
    eventually("served", || b.leader().is_none()).await;
}
