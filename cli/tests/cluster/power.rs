//! Every node loses its power in the middle of a thousand writes, with and without what it had not synced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chancery_client::{Ledger, Options, Receipt, SubmitError};
use chancery_ledger::authority::Entry;
use chancery_ledger::command::{Body, SignedCommand};
use chancery_node::config::Tuning;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{Cluster, NODES, PATIENCE, commands, name, patient, states};

const WRITES: usize = 1_000;
/// Writes under way at once, so that they do not all fit into the first blocks.
const AT_ONCE: usize = 100;
/// The power goes once so many are acknowledged.
const KILL_AFTER: u64 = 250;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Acknowledged { index: u64 },
    NotDone,
    Unknown,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_failure_of_all_nodes_loses_no_acknowledged_command() {
    power_failure(|_| {}, |_| true, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_applied_had_not_synced_is_applied_again() {
    power_failure(|_| {}, has_unsynced, cut_unsynced).await;
}

/// The log of what was cut off may be purged by then: a snapshot must have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_applied_had_not_synced_is_there_though_the_log_is_purged() {
    let often = |tuning: &mut Tuning| {
        tuning.snapshot_every_entries = 4;
        tuning.keep_log_entries = 0;
    };
    let cut = |cluster: &Cluster| {
        let kept = |node| files_in(&cluster.data(node).join("snapshots")).len();
        assert!((1..=NODES).any(|node| kept(node) > 0), "a snapshot was made");
        cut_unsynced(cluster);
    };
    power_failure(often, has_unsynced, cut).await;
}

/// The power fails while writes are under way, at an instant of which `when` holds; `meanwhile` is what it does to the disks.
async fn power_failure(
    tune: impl Fn(&mut Tuning),
    when: impl Fn(&Cluster) -> bool,
    meanwhile: impl Fn(&Cluster),
) {
    let mut cluster = Cluster::start_with(tune).await;
    let issuer = cluster.connect("issuer").await;
    let signed: Vec<SignedCommand> = (0..WRITES)
        .map(|number| {
            let (agent, owner) = (name(&format!("bots/{number}")), name("ada@example.com"));
            issuer.sign(Body::RegisterAgent { agent, owner, key: None, lineage: None }, &[]).unwrap()
        })
        .collect();

    let outcomes = write_until_killed(&mut cluster, &signed, when).await;
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|one| wanted(one)).count();
    let acknowledged = count(|one| matches!(one, Outcome::Acknowledged { .. }));
    let (not_done, unknown) = (count(|one| *one == Outcome::NotDone), count(|one| *one == Outcome::Unknown));
    println!("{acknowledged} acknowledged, {unknown} unknown, {not_done} not done");
    assert!(acknowledged as u64 >= KILL_AFTER && acknowledged < WRITES, "killed in the middle");
    assert!(unknown > 0, "some were under way");

    meanwhile(&cluster);
    let began = Instant::now();
    cluster.start_all();
    cluster.wait_until_serving(NODES).await;
    println!("all serve again after {:?}", began.elapsed());

    let leaves = cluster.settled_leaves().await;
    let found = places(&leaves);
    for (signed, outcome) in signed.iter().zip(&outcomes) {
        let places = found.get(signed.command_bytes()).map_or(&[][..], Vec::as_slice);
        match outcome {
            Outcome::Acknowledged { index } => assert_eq!(places, [*index], "once, where it was"),
            Outcome::NotDone => assert_eq!(places, [0; 0], "not done is not done"),
            Outcome::Unknown => assert!(places.len() <= 1, "never twice"),
        }
    }
    println!("{} blocks and {} leaves, the same on all nodes", states(&leaves).len(), leaves.len());

    // Everything again, the very same bytes: what was done stays where it is, the rest is done once.
    let receipts = write_all(&cluster, &signed).await;
    let leaves = cluster.settled_leaves().await;
    let again = places(&leaves);
    for ((signed, outcome), receipt) in signed.iter().zip(&outcomes).zip(receipts) {
        assert_eq!(again[signed.command_bytes()], [receipt.index], "once");
        if let Outcome::Acknowledged { index } = outcome {
            assert_eq!((receipt.index, receipt.before), (*index, true));
        }
        let was_there = found.contains_key(signed.command_bytes());
        assert_eq!(receipt.before, was_there, "{outcome:?}");
    }
    states(&leaves);
}

/// Submits everything, kills every node when enough is acknowledged and `when` holds, and says what the
/// clients know.
async fn write_until_killed(
    cluster: &mut Cluster,
    signed: &[SignedCommand],
    when: impl Fn(&Cluster) -> bool,
) -> Vec<Outcome> {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let under_way = Arc::new(Semaphore::new(AT_ONCE));
    let mut clients = Vec::new();
    for node in 1..=NODES {
        let options = Options { tries_max: 1, ..patient() };
        clients.push(cluster.connect_with("issuer", Some(node), options).await);
    }
    let mut writes = JoinSet::new();
    for (number, signed) in signed.iter().cloned().enumerate() {
        let client = clients[number % clients.len()].clone();
        let (acknowledged, under_way) = (acknowledged.clone(), under_way.clone());
        writes.spawn(async move {
            let _turn = under_way.acquire().await.unwrap();
            let outcome = submit_once(&client, &signed).await;
            if matches!(outcome, Outcome::Acknowledged { .. }) {
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            (number, outcome)
        });
    }
    let deadline = Instant::now() + PATIENCE;
    while acknowledged.load(Ordering::SeqCst) < KILL_AFTER {
        assert!(Instant::now() < deadline, "the writes do not get on");
        sleep(Duration::from_millis(1)).await;
    }
    // Looked at while nothing moves: a node that still ran could change what was seen before it is killed.
    cluster.pause_all().await;
    while !when(cluster) {
        assert!(Instant::now() < deadline, "the instant does not come");
        cluster.resume_all();
        sleep(Duration::from_millis(1)).await;
        cluster.pause_all().await;
    }
    cluster.kill_all();
    let mut outcomes = writes.join_all().await;
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

async fn submit_once(client: &Ledger, signed: &SignedCommand) -> Outcome {
    match client.submit(signed).await {
        Ok(receipt) => Outcome::Acknowledged { index: receipt.index },
        Err(SubmitError::NotDone { .. }) => Outcome::NotDone,
        Err(SubmitError::Unknown { .. }) => Outcome::Unknown,
        Err(error) => panic!("{error}"),
    }
}

async fn write_all(cluster: &Cluster, signed: &[SignedCommand]) -> Vec<Receipt> {
    let client = cluster.connect("issuer").await;
    let under_way = Arc::new(Semaphore::new(AT_ONCE));
    let mut writes = JoinSet::new();
    for (number, signed) in signed.iter().cloned().enumerate() {
        let (client, under_way) = (client.clone(), under_way.clone());
        writes.spawn(async move {
            let _turn = under_way.acquire().await.unwrap();
            (number, client.submit(&signed).await.unwrap())
        });
    }
    let mut receipts = writes.join_all().await;
    receipts.sort_by_key(|(number, _)| *number);
    receipts.into_iter().map(|(_, receipt)| receipt).collect()
}

/// Where each command is in the log.
pub(crate) fn places(leaves: &[Entry]) -> BTreeMap<&[u8], Vec<u64>> {
    let mut places: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for (index, _, signed) in commands(leaves) {
        places.entry(signed.command_bytes()).or_default().push(index);
    }
    places
}

/// Whether each node's `applied/` has written what it did not sync. Just after a snapshot flushed it, it has not.
fn has_unsynced(cluster: &Cluster) -> bool {
    (1..=NODES).all(|node| fs::metadata(newest_log(cluster, node)).unwrap().len() > 0)
}

/// Cuts off the newest write-ahead log of each node's `applied/`: half of it on node 1, else all of it.
fn cut_unsynced(cluster: &Cluster) {
    for node in 1..=NODES {
        let log = newest_log(cluster, node);
        let size_bytes = fs::metadata(&log).unwrap().len();
        let kept_bytes = if node == 1 { size_bytes / 2 } else { 0 };
        assert!(size_bytes > 0, "{} has something to cut off", log.display());
        File::options().write(true).open(&log).unwrap().set_len(kept_bytes).unwrap();
        if node == 3 {
            fs::remove_file(&log).unwrap();
        }
        println!("node {node}: {} of {size_bytes} bytes cut off", size_bytes - kept_bytes);
    }
}

fn newest_log(cluster: &Cluster, node: u64) -> PathBuf {
    let generations = files_in(&cluster.data(node).join("applied"));
    let files = generations.iter().flat_map(|generation| files_in(generation));
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max().expect("a write-ahead log")
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|found| found.unwrap().path()).collect()
}
