//! Nodes that are told to stop, come back with less than they had, come back late, or must not come back.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chancery_client::Ledger;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{Cluster, NODES, PATIENCE, employ, looking, register};

/// Small, so that a test gets past it.
const SNAPSHOT_EVERY: u64 = 40;
const KEEP: u64 = 5;

async fn start_with_snapshots() -> Cluster {
    Cluster::start_with(|tuning| {
        tuning.snapshot_every_entries = SNAPSHOT_EVERY;
        tuning.keep_log_entries = KEEP;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_told_to_stop_hands_over() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let survivor = leader % NODES + 1;
    let watch = cluster.connect_with("operator", Some(survivor), looking()).await;
    let (over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let issuer = cluster.connect("issuer").await;
        writers.spawn(write_until_over(issuer, format!("bots/{writer}"), over.clone(), written.clone()));
    }
    wait_for_more(&written).await;

    let sent = Instant::now();
    cluster.terminate(leader);
    let successor = loop {
        let status = watch.status().await.pop().and_then(|(_, status)| status.ok());
        match status.and_then(|status| status.leader).filter(|known| *known != leader) {
            Some(successor) => break successor,
            None => assert!(sent.elapsed() < PATIENCE, "nobody takes over"),
        }
        sleep(Duration::from_millis(5)).await;
    };
    let led_after = sent.elapsed();
    let status = cluster.wait_for_exit(leader).await;
    let ended_after = sent.elapsed();
    wait_for_more(&written).await;
    over.store(true, Ordering::SeqCst);
    let slowest = writers.join_all().await.into_iter().max().unwrap();
    let writes = written.load(Ordering::SeqCst);
    println!(
        "node {successor} leads after {led_after:?}, node {leader} ended after {ended_after:?}; \
         {writes} writes, none failed, the slowest took {slowest:?}"
    );
    assert!(status.success(), "{status}");
    let said = cluster.said(leader);
    assert!(!said.contains("not finished in time"), "it was handed over: {said}");
    assert!(!said.contains("ERROR"), "an end as it should be is no error: {said}");

    cluster.start_node(leader);
    cluster.wait_until_serving(NODES).await;
    cluster.settled_leaves().await;
}

/// Writes until told to stop; the longest that one took.
async fn write_until_over(
    issuer: Ledger,
    prefix: String,
    over: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
) -> Duration {
    let mut slowest = Duration::ZERO;
    for number in 0.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let began = Instant::now();
        register(&issuer, &format!("{prefix}/{number}")).await;
        slowest = slowest.max(began.elapsed());
        written.fetch_add(1, Ordering::SeqCst);
    }
    slowest
}

/// Waits until the writers have got on by more than what may have been under way.
async fn wait_for_more(written: &AtomicU64) {
    let (before, deadline) = (written.load(Ordering::SeqCst), Instant::now() + PATIENCE);
    while written.load(Ordering::SeqCst) < before + 20 {
        assert!(Instant::now() < deadline, "the writers do not get on");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_state_is_rebuilt_from_snapshot_and_log() {
    let mut cluster = start_with_snapshots().await;
    let issuer = cluster.connect("issuer").await;
    employ(&issuer, "bot").await;
    write(&issuer, "bots", 2 * SNAPSHOT_EVERY).await;
    wait_for_snapshots(&cluster).await;
    let leaves = cluster.settled_leaves().await;

    let node = cluster.leader().await;
    cluster.kill(node);
    fs::remove_dir_all(cluster.data(node).join("applied")).unwrap();
    fs::create_dir(cluster.data(node).join("applied")).unwrap();
    cluster.start_node(node);
    cluster.wait_until_serving(NODES).await;
    assert_eq!(cluster.settled_leaves().await, leaves);
    serves_proven_checks(&cluster, node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_past_the_purge_catches_up_by_snapshot() {
    let mut cluster = start_with_snapshots().await;
    let issuer = cluster.connect("issuer").await;
    employ(&issuer, "bot").await;
    let leader = cluster.leader().await;
    let away = leader % NODES + 1;
    cluster.kill(away);
    let had = snapshots(&cluster, away);
    let last_index = last_index(&cluster).await;
    write(&issuer, "bots", 3 * SNAPSHOT_EVERY).await;
    wait_for_purge(&cluster, last_index).await;

    cluster.start_node(away);
    cluster.wait_until_serving(NODES).await;
    let leaves = cluster.settled_leaves().await;
    let has = snapshots(&cluster, away);
    println!("{} leaves; snapshots before {had:?}, after {has:?}", leaves.len());
    assert_ne!(has, had, "it came as a snapshot");
    serves_proven_checks(&cluster, away).await;

    // What came by snapshot carries the node through the next start, too, and further.
    cluster.kill(away);
    cluster.start_node(away);
    cluster.wait_until_serving(NODES).await;
    write(&issuer, "more-bots", SNAPSHOT_EVERY).await;
    cluster.settled_leaves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_that_do_not_fit_are_refused() {
    let mut cluster = start_with_snapshots().await;
    let issuer = cluster.connect("issuer").await;
    employ(&issuer, "bot").await;
    write(&issuer, "bots", 2 * SNAPSHOT_EVERY).await;
    wait_for_snapshots(&cluster).await;
    let (node, other) = (1, 2);

    let (code, said) = start_second(&cluster, node);
    assert_eq!(code, Some(1), "{said}");
    cluster.kill_all();
    let data = cluster.data(node);
    let aside = |folder: &Path| folder.with_extension("aside");

    // Another node's whole folder.
    fs::rename(&data, aside(&data)).unwrap();
    fs::rename(cluster.data(other), &data).unwrap();
    refused(&mut cluster, node, "the folder belongs to node 2, this is node 1").await;
    fs::rename(&data, cluster.data(other)).unwrap();
    fs::rename(aside(&data), &data).unwrap();

    for (missing, reason) in [
        (&["raft"][..], "raft/ is empty, but entries of it are applied"),
        (&["snapshots"], "the log is purged, and no snapshot of what was purged is registered"),
        (&["applied", "snapshots"], "applied/ and raft/ do not fit"),
        (&["identity"], "does not say whose it is"),
    ] {
        let kept = data.with_extension("kept");
        copy(&data, &kept);
        for name in missing {
            let path = data.join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        refused(&mut cluster, node, reason).await;
        fs::remove_dir_all(&data).unwrap();
        fs::rename(&kept, &data).unwrap();
    }

    // With its own folder as it was, it starts.
    cluster.start_all();
    cluster.wait_until_serving(NODES).await;
    cluster.settled_leaves().await;
    serves_proven_checks(&cluster, node).await;
}

async fn refused(cluster: &mut Cluster, node: u64, reason: &str) {
    let (code, said) = cluster.start_refused(node).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(reason), "{said}");
    println!("refused: {}", said.lines().last().unwrap_or_default());
}

/// A second process for a node that runs, on other ports.
fn start_second(cluster: &Cluster, node: u64) -> (Option<i32>, String) {
    let config = fs::read_to_string(cluster.config(node)).unwrap();
    let any_port = |line: &str| match line.split_once('=') {
        Some((name @ ("peer_listen " | "client_listen "), _)) => format!("{name}= \"127.0.0.1:0\""),
        _ => line.to_owned(),
    };
    let second = cluster.node_folder(node).join("second.toml");
    fs::write(&second, config.lines().map(any_port).collect::<Vec<_>>().join("\n")).unwrap();
    let ended = cluster.chancery().arg("node").arg("--config").arg(&second).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("another process uses the node's folder"), "{said}");
    (ended.status.code(), said)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let found = found.unwrap();
        let target = to.join(found.file_name());
        if found.file_type().unwrap().is_dir() {
            copy(&found.path(), &target);
        } else {
            fs::copy(found.path(), target).unwrap();
        }
    }
}

/// One block after another.
async fn write(issuer: &Ledger, prefix: &str, blocks: u64) {
    for number in 0..blocks {
        register(issuer, &format!("{prefix}/{number}")).await;
    }
}

/// The names of a node's registered snapshots.
fn snapshots(cluster: &Cluster, node: u64) -> Vec<String> {
    let Ok(listing) = fs::read_dir(cluster.data(node).join("snapshots")) else { return Vec::new() };
    let mut names: Vec<_> =
        listing.map(|found| found.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits until every node that runs has made a snapshot.
async fn wait_for_snapshots(cluster: &Cluster) {
    let deadline = Instant::now() + PATIENCE;
    while cluster.running().into_iter().any(|node| snapshots(cluster, node).is_empty()) {
        assert!(Instant::now() < deadline, "no snapshot is made");
        sleep(Duration::from_millis(25)).await;
    }
}

/// The index at which the longest log ends.
async fn last_index(cluster: &Cluster) -> u64 {
    cluster.settled_head().await;
    let all = cluster.connect("operator").await.status().await;
    let ends = all.into_iter().filter_map(|(_, status)| status.ok()?.log.last_index);
    ends.max().expect("a node tells where its log ends")
}

/// Waits until every node that runs has purged all up to `index`. Raft does that only when nothing of it is on its
/// way to a peer, even one that is away.
async fn wait_for_purge(cluster: &Cluster, index: u64) {
    let operator = cluster.connect_with("operator", None, looking()).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = operator.status().await;
        let purged = all.iter().filter_map(|(_, status)| status.as_ref().ok()?.log.purged_index);
        if purged.filter(|purged| *purged > index).count() == cluster.running().len() {
            return;
        }
        assert!(Instant::now() < deadline, "the log is not purged past {index}: {all:?}");
        sleep(Duration::from_millis(25)).await;
    }
}

async fn serves_proven_checks(cluster: &Cluster, node: u64) {
    let gate = cluster.connect_to(node, "gate").await;
    let permit = gate.check("bot", "read", "documents/1", b"").await.unwrap();
    permit.run(b"", || ()).unwrap();
}
