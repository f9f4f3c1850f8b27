//! Raft over the network.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, sleep};

use super::Ca;
use super::cluster::{TestNode, all_reach, cluster, eventually, write};
use super::in_memory::BALLAST_BYTES;
use crate::network::{SNAPSHOT_CHUNK_BYTES_MAX, ServerOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_entries_are_replicated() {
    let nodes = cluster(3).await;
    let begun = Instant::now();
    write(&nodes[0].raft, 1_000, 300).await;
    all_reach(&nodes, 1_000).await;
    let one_by_one = Instant::now();
    for _ in 0..50 {
        write(&nodes[0].raft, 1, 300).await;
    }
    println!("1,000 at once: {:?}; 50 one by one: {:?}", one_by_one - begun, one_by_one.elapsed());
    all_reach(&nodes, 1_050).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_entries_are_replicated() {
    let nodes = cluster(3).await;
    // Of the largest kind; and many that Raft hands over in one piece of 60 MiB.
    write(&nodes[0].raft, 6, 4 << 20).await;
    write(&nodes[0].raft, 120, 512 << 10).await;
    all_reach(&nodes, 126).await;
    // No heartbeat waited behind them.
    assert!(nodes.iter().all(|node| node.raft.metrics().borrow_watched().current_term == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_cut_off_catches_up() {
    let mut nodes = cluster(3).await;
    write(&nodes[0].raft, 100, 100).await;
    all_reach(&nodes, 100).await;
    for round in 1..=3_u64 {
        nodes[2].cut().await;
        write(&nodes[0].raft, 100, 100).await;
        sleep(Duration::from_millis(300)).await;
        assert_eq!(nodes[2].state.reached().0, 100 * round);
        nodes[2].serve_again(ServerOptions::default()).await;
        all_reach(&nodes, 100 * (round + 1)).await;
    }
    // It asked for pre-votes meanwhile, and got none; nobody's term grew.
    assert!(nodes.iter().all(|node| node.raft.metrics().borrow_watched().current_term == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_stops_in_bounded_time_under_load() {
    let mut nodes = cluster(3).await;
    let raft = nodes[0].raft.clone();
    let writing = tokio::spawn(async move { write(&raft, 2_000, 1_000).await });
    // The streams of the others would go on for ever.
    nodes[1].stop_serving().await;
    nodes[1].serve_again(ServerOptions::default()).await;
    writing.await.unwrap();
    all_reach(&nodes, 2_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leader_is_elected_when_the_leader_is_gone() {
    let mut nodes = cluster(3).await;
    write(&nodes[0].raft, 10, 100).await;
    nodes[0].raft.shutdown().await.unwrap();
    nodes[0].cut().await;
    let led = || nodes[1].leader().filter(|leader| *leader != 1 && nodes[2].leader() == Some(*leader));
    eventually("another leader", || led().is_some()).await;
    let leader = led().unwrap();
    let leader = nodes.iter().find(|node| node.id == leader).unwrap();
    write(&leader.raft, 10, 100).await;
    all_reach(&nodes[1..], 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over() {
    let nodes = cluster(3).await;
    write(&nodes[0].raft, 10, 100).await;
    for (to, blocks) in [(2, 10), (3, 20), (1, 30)] {
        // Who has not all of the log cannot take over.
        all_reach(&nodes, blocks).await;
        let from = nodes[0].leader().unwrap();
        let from = nodes.iter().find(|node| node.id == from).unwrap();
        let begun = Instant::now();
        from.raft.trigger().transfer_leader(to).await.unwrap();
        eventually("the next leader", || nodes.iter().all(|node| node.leader() == Some(to))).await;
        println!("handed over to {to} in {:?}", begun.elapsed());
        let leader = nodes.iter().find(|node| node.id == to).unwrap();
        write(&leader.raft, 10, 100).await;
    }
    all_reach(&nodes, 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_starts_from_a_snapshot() {
    let ca = Ca::new();
    let leader = TestNode::start(&ca, 1).await;
    leader.raft.initialize(BTreeMap::from([(1, leader.raft_node())])).await.unwrap();
    eventually("node 1 leads", || leader.leader() == Some(1)).await;
    write(&leader.raft, 50, 100).await;
    leader.raft.trigger().snapshot().await.unwrap();
    eventually("purged", || leader.raft.metrics().borrow_watched().purged.is_some()).await;

    let learner = TestNode::start(&ca, 2).await;
    leader.raft.add_learner(2, learner.raft_node(), true).await.unwrap();
    write(&leader.raft, 50, 100).await;
    let nodes = [leader, learner];
    all_reach(&nodes, 100).await;
    assert_eq!(*nodes[1].sink.ended.lock().unwrap(), ["finished"]);
    let metrics = nodes[1].raft.metrics().borrow_watched().clone();
    assert!(metrics.snapshot.is_some());
    // In several chunks.
    const { assert!(BALLAST_BYTES > 5 * SNAPSHOT_CHUNK_BYTES_MAX) };
}
