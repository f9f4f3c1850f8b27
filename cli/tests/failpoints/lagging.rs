//! A node that applies blocks more slowly than the others: however far behind it is, a quorum signs what it has, so that
//! it makes its snapshots and drops the log that the others are done with.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chancery_client::Ledger;
use chancery_ledger::command::Body;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{Cluster, NODES, PATIENCE, looking, name};

/// Who is slow.
const SLOW: u64 = 3;

/// How long each block takes it longer.
const SLOWER: &str = "applied-before-write=sleep(40)\n";

/// Entries between snapshots, and kept behind one.
const SNAPSHOT_EVERY: u64 = 200;
const KEPT: u64 = 50;

/// More than the heads that a node has in memory.
const FAR_BEHIND: u64 = 1_100;

/// Who give commands one after the other: each is a block of its own, or nearly.
const CALLERS: u64 = 3;

const ASK_EVERY: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_far_behind_still_makes_snapshots() {
    let mut cluster = Cluster::found(|tuning| {
        tuning.snapshot_every_entries = SNAPSHOT_EVERY;
        tuning.keep_log_entries = KEPT;
    })
    .await;
    let failpoints = cluster.node_folder(SLOW).join("failpoints");
    for node in (1..=NODES).filter(|node| *node != SLOW) {
        cluster.start_node(node);
    }
    cluster.start_node_with(SLOW, &[("CHANCERY_FAILPOINTS_FILE", failpoints.to_str().unwrap())]);
    cluster.wait_until_serving(NODES).await;
    cluster.transfer(Some("1")).await;
    fs::write(&failpoints, SLOWER).unwrap();

    let (newest, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let issuer = cluster.connect_to(1, "issuer").await;
        callers.spawn(give(issuer, caller, Arc::clone(&newest), Arc::clone(&over)));
    }
    let slow = cluster.connect_with("operator", Some(SLOW), looking()).await;
    let deadline = Instant::now() + PATIENCE;
    // At the last look: the block of its snapshot, and the newest one.
    let (mut had, mut newest_then) = (None, 0);
    loop {
        let newest_now = newest.load(Ordering::Relaxed);
        assert!(
            Instant::now() < deadline,
            "it makes no snapshot of what the others left behind: they are at block {newest_now}, its newest is of {had:?}"
        );
        assert!(callers.try_join_next().is_none(), "commands are acknowledged all the while");
        let Some((_, Ok(status))) = slow.status().await.pop() else { continue };
        let (has, head) = (status.log.snapshot_block, status.head.map(|head| head.block));
        // It was made since then, when the others were far beyond it; one from another node would be beyond what it has.
        if has != had && has <= head && has.is_some_and(|block| block + FAR_BEHIND < newest_then) {
            break;
        }
        (had, newest_then) = (has, newest_now);
        sleep(ASK_EVERY).await;
    }
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
}

/// Gives commands until it is over.
async fn give(issuer: Ledger, caller: u64, newest: Arc<AtomicU64>, over: Arc<AtomicBool>) {
    for number in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let agent = name(&format!("given/{caller}-{number}"));
        let body = Body::RegisterAgent { agent, owner: name("ada@example.com"), key: None, lineage: None };
        let signed = issuer.sign(body, &[]).unwrap();
        let receipt = issuer.submit(&signed).await.unwrap();
        newest.fetch_max(receipt.block, Ordering::Relaxed);
    }
}
