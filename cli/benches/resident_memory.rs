//! Does a node's resident memory grow with the log? Three node processes, a steady load of grants and
//! revocations, and the nodes' resident memory at equal steps of the log.
//!
//! `cargo bench -p chancery-cli --bench resident_memory -- 40000` (leaves; 40,000 if left out).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../tests/cluster/harness.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod harness;

use std::time::Instant;

use harness::{Cluster, name, register, terms};

/// Commands under way at once.
const WRITERS: u64 = 64;

/// Steps at which memory is looked at.
const STEPS: u64 = 8;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let leaves = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(40_000_u64);
    let cluster = Cluster::start_with(|tuning| tuning.snapshot_every_entries = 500).await;
    let issuer = cluster.connect("issuer").await;
    let revoker = cluster.connect("revoker").await;
    for writer in 0..WRITERS {
        register(&issuer, &format!("bot/{writer}")).await;
    }
    println!("{:>10} {:>10} {:>30}", "leaves", "seconds", "resident KiB of nodes 1, 2, 3");
    let began = Instant::now();
    for step in 1..=STEPS {
        let until = leaves * step / STEPS;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (issuer, revoker) = (issuer.clone(), revoker.clone());
            writers.spawn(async move {
                let agent = format!("bot/{writer}");
                loop {
                    // A grant, its revocation, and all that the agent holds: its list stays short.
                    let grant = issuer.grant(terms(&agent)).await.unwrap();
                    revoker.revoke(grant.grant.unwrap(), "bench").await.unwrap();
                    let last = revoker.revoke_agent(name(&agent), "bench").await.unwrap();
                    if last.index >= until {
                        return;
                    }
                }
            });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
        let resident: Vec<u64> = (1..=3).map(|node| resident_kib(cluster.process_id(node))).collect();
        println!("{until:>10} {:>10} {resident:>30?}", began.elapsed().as_secs());
    }
}

/// `VmRSS` of a process.
fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
