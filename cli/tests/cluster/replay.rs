//! The same blocks give the same leaves and roots, byte for byte, on every replica and replayed from genesis.

use std::fs;

use chancery_ledger::command::Name;

use crate::harness::{Cluster, NODES, employ, name, states, terms};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_from_genesis_gives_the_same_leaves_and_roots() {
    let mut cluster = Cluster::start().await;
    every_kind_of_command(&cluster).await;
    let leaves = cluster.settled_leaves().await;
    let head = cluster.settled_head().await;

    // No snapshot was taken yet: all that is left on every node is genesis and the Raft log.
    cluster.kill_all();
    for node in 1..=NODES {
        assert_eq!(fs::read_dir(cluster.data(node).join("snapshots")).map_or(0, Iterator::count), 0);
        fs::remove_dir_all(cluster.data(node).join("applied")).unwrap();
    }
    cluster.start_all();
    cluster.wait_until_serving(NODES).await;
    assert_eq!(cluster.settled_leaves().await, leaves);
    let replayed = cluster.settled_head().await;
    assert_eq!(replayed, head);
    println!("{} blocks, {} leaves, replayed on {NODES} nodes", states(&leaves).len(), leaves.len());
}

async fn every_kind_of_command(cluster: &Cluster) {
    const AGENTS: usize = 20;
    let issuer = cluster.connect("issuer").await;
    let revoker = cluster.connect("revoker").await;
    for number in 0..AGENTS {
        let agent = format!("bots/{number}");
        let grant = employ(&issuer, &agent).await;
        issuer.grant(terms(&agent)).await.unwrap();
        let agent: Name = name(&agent);
        match number % 4 {
            0 => drop(revoker.revoke(grant, "this one").await.unwrap()),
            1 => drop(revoker.revoke_agent(agent, "all of it").await.unwrap()),
            2 => drop(issuer.retire_agent(agent).await.unwrap()),
            _ => {}
        }
    }
}
