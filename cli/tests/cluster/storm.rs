//! Nodes are killed and told to stop again and again, one or two at a time, while clients write and log is
//! purged: nothing acknowledged is lost, nothing is there twice, and all nodes agree in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chancery_client::{Ledger, Options, SubmitError};
use chancery_ledger::command::{Body, SignedCommand};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{Cluster, NODES, PATIENCE, name, patient, states};
use crate::power::places;

const ROUNDS: u8 = 8;
const WRITERS: u64 = 4;
/// Commands that must be acknowledged for the run to show anything.
const ACKNOWLEDGED_MIN: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_a_storm() {
    let mut cluster = Cluster::start_with(|tuning| {
        tuning.snapshot_every_entries = 50;
        // More than is written while a snapshot is on its way, or who is behind stays behind.
        tuning.keep_log_entries = 400;
    })
    .await;
    let (over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        // What is not done soon is given up, so that there are commands whose outcome nobody knows.
        let options = Options { submit_timeout: Duration::from_secs(10), tries_max: 24, ..patient() };
        let issuer = cluster.connect_with("issuer", None, options).await;
        writers.spawn(write_until_over(issuer, writer, over.clone(), acknowledged.clone()));
    }

    for round in 0..ROUNDS {
        let [first, second, how, pause] = random();
        let first = u64::from(first) % NODES + 1;
        let second = u64::from(second) % NODES + 1;
        println!("round {round}: node {first}, then {second}");
        let pause = Duration::from_millis(u64::from(pause) * 4);
        end(&mut cluster, first, how % 2 == 0).await;
        sleep(pause).await;
        if second != first {
            // The quorum is gone.
            end(&mut cluster, second, how % 3 == 0).await;
            sleep(pause / 2).await;
        }
        cluster.start_all();
        cluster.wait_until_serving(NODES).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while acknowledged.load(Ordering::SeqCst) < ACKNOWLEDGED_MIN {
        assert!(Instant::now() < deadline, "they do not write");
        sleep(Duration::from_millis(20)).await;
    }
    over.store(true, Ordering::SeqCst);
    let written: Vec<_> = writers.join_all().await.into_iter().flatten().collect();

    let leaves = cluster.settled_leaves().await;
    let places = places(&leaves);
    let mut found_once = 0;
    for (signed, index) in &written {
        let found = places.get(signed.command_bytes()).map_or(&[][..], Vec::as_slice);
        match index {
            Some(index) => {
                assert_eq!(found, [*index], "once, where it was");
                found_once += 1;
            }
            None => assert!(found.len() <= 1, "never twice"),
        }
    }
    println!("{found_once} of {} acknowledged, {} blocks", written.len(), states(&leaves).len());
    assert_eq!(found_once, acknowledged.load(Ordering::SeqCst));
}

async fn end(cluster: &mut Cluster, node: u64, kill: bool) {
    if kill {
        cluster.kill(node);
    } else {
        cluster.terminate(node);
        let status = cluster.wait_for_exit(node).await;
        assert!(status.success(), "node {node}: {status}");
    }
}

fn random() -> [u8; 4] {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// Writes until told to stop: the commands, and the leaf of each that was acknowledged.
async fn write_until_over(
    issuer: Ledger,
    writer: u64,
    over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> Vec<(SignedCommand, Option<u64>)> {
    let mut written = Vec::new();
    for number in 0.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let (agent, owner) = (name(&format!("bots/{writer}/{number}")), name("ada@example.com"));
        let signed =
            issuer.sign(Body::RegisterAgent { agent, owner, key: None, lineage: None }, &[]).unwrap();
        let index = match issuer.submit(&signed).await {
            Ok(receipt) => {
                acknowledged.fetch_add(1, Ordering::SeqCst);
                Some(receipt.index)
            }
            Err(SubmitError::NotDone { .. } | SubmitError::Unknown { .. }) => None,
            Err(error) => panic!("{error}"),
        };
        written.push((signed, index));
    }
    written
}
