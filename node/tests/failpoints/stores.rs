//! The applied store, snapshots and starts, when the disk fails or the process dies at each step.
//!
//! A death is what is on the disk at that moment: the folder is copied at the failpoint, and another
//! start is made on the copy. It must bring the node to where the cluster is, and state no less than the
//! log and every registered snapshot did.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chancery_node::raft::types::Entry;
use fail::FailScenario;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use tempfile::TempDir;

use crate::ledger::Leader;
use crate::node::{Node, transfer};

const BUILD: [&str; 5] = [
    "snapshot-build-before-copy",
    "snapshot-build-after-copy",
    "snapshot-build-before-sync",
    "snapshot-before-rename",
    "snapshot-after-rename",
];

const RECEIVE: [&str; 6] = [
    "snapshot-receive-begin",
    "snapshot-receive-chunk",
    "snapshot-receive-before-verify",
    "snapshot-receive-before-sync",
    "snapshot-before-rename",
    "snapshot-after-rename",
];

const INSTALL: [&str; 5] = [
    "install-before-files",
    "install-before-sync",
    "install-before-rename",
    "install-after-rename",
    "install-before-switch",
];

const APPLY: [&str; 2] = ["applied-before-write", "applied-after-write"];

/// Steps of the start of a node whose `applied/` is gone and that has a snapshot.
const RESTART: [&str; 7] = [
    "start-before-restore",
    "install-before-files",
    "install-before-sync",
    "install-before-rename",
    "install-after-rename",
    "start-before-raft-log",
    "start-before-reconcile",
];

const FIRST_START: [&str; 4] =
    ["start-before-identity", "start-before-restore", "applied-before-founding", "start-after-reconcile"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
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

/// From now on, the process dies the first time that it comes to `failpoint`: what the folder is then. The whole
/// test stays within its scenario: other tests' nodes come to the same failpoints.
fn die_at(failpoint: &str, folder: &Path) -> (Arc<AtomicU64>, TempDir) {
    let left = tempfile::tempdir().unwrap();
    let fired = Arc::new(AtomicU64::new(0));
    let (from, to, count) = (folder.to_owned(), left.path().to_owned(), Arc::clone(&fired));
    fail::cfg_callback(failpoint, move || {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            copy(&from, &to);
        }
    })
    .unwrap();
    (fired, left)
}

/// Starts on what is left of a node, which must state at least `blocks`, and brings it to where the leader
/// is, without and with another start.
async fn go_on(left: TempDir, id: u64, blocks: u64, entries: &[Entry], leader: &Leader) {
    let mut node = Node::at(left, id);
    for _ in 0..2 {
        node.start().await.unwrap();
        let log = &node.stores().log;
        assert!(log.read_tail_with(|tail| tail.block).unwrap() >= blocks);
        let last = log.clone().get_log_state().await.unwrap().last_log_id;
        let rest: Vec<Entry> = entries.iter().filter(|entry| Some(entry.log_id) > last).cloned().collect();
        node.append(&rest).await;
        node.catch_up(entries).await;
        let applied = &node.stores().applied;
        assert_eq!(applied.read_state(|state| state.summary().clone()), *leader.state.summary());
        let unfinished = fs::read_dir(node.path().join("snapshots")).unwrap();
        assert!(unfinished.flatten().all(|found| !found.file_name().to_string_lossy().contains("unfin")));
    }
    node.build().await.unwrap();
}

#[tokio::test]
async fn deaths_while_applying() {
    for failpoint in APPLY {
        let scenario = FailScenario::setup();
        let mut leader = Leader::new();
        let node = Node::new(1).await;
        let entries = leader.some_entries(4);
        node.append(&entries).await;
        let (fired, left) = die_at(failpoint, node.path());
        node.apply(&entries).await.unwrap();
        assert!(fired.load(Ordering::SeqCst) > 0, "{failpoint}");
        fail::remove(failpoint);
        go_on(left, 1, 5, &entries, &leader).await;
        scenario.teardown();
    }
}

#[tokio::test]
async fn deaths_while_building() {
    for failpoint in BUILD {
        let scenario = FailScenario::setup();
        let mut leader = Leader::new();
        let node = Node::new(1).await;
        let entries = leader.some_entries(4);
        node.feed(&entries).await;
        let (fired, left) = die_at(failpoint, node.path());
        node.build().await.unwrap();
        assert!(fired.load(Ordering::SeqCst) > 0, "{failpoint}");
        fail::remove(failpoint);
        go_on(left, 1, 5, &entries, &leader).await;
        scenario.teardown();
    }
}

#[tokio::test]
async fn deaths_while_removing_an_old_one() {
    let scenario = FailScenario::setup();
    let mut leader = Leader::new();
    let node = Node::new(1).await;
    let mut entries = leader.some_entries(1);
    node.feed(&entries).await;
    let (fired, left) = die_at("snapshot-before-removal", node.path());
    for _ in 0..3 {
        node.build().await.unwrap();
        entries.push(leader.busy_block());
        node.feed(&entries[entries.len() - 1..]).await;
    }
    assert_eq!(fired.load(Ordering::SeqCst), 1);
    fail::remove("snapshot-before-removal");
    go_on(left, 1, 4, &entries, &leader).await;
    scenario.teardown();
}

#[tokio::test]
async fn deaths_while_receiving_and_installing() {
    for failpoint in RECEIVE.into_iter().chain(INSTALL) {
        let scenario = FailScenario::setup();
        let mut leader = Leader::new();
        let (one, two) = (Node::new(1).await, Node::new(2).await);
        let entries = leader.some_entries(6);
        one.feed(&entries).await;
        let built = one.build().await.unwrap();
        two.feed(&entries[..4]).await;
        let (fired, left) = die_at(failpoint, two.path());
        let received = transfer(&built, &two.stores().snapshots).unwrap().to_raft();
        two.machine().install_snapshot(&received.meta, received.snapshot).await.unwrap();
        assert!(fired.load(Ordering::SeqCst) > 0, "{failpoint}");
        fail::remove(failpoint);
        // Once renamed, the snapshot is known, even to a start.
        let known = failpoint == "snapshot-after-rename" || INSTALL.contains(&failpoint);
        go_on(left, 2, if known { 7 } else { 2 }, &entries, &leader).await;
        scenario.teardown();
    }
}

#[tokio::test]
async fn deaths_while_starting() {
    for failpoint in RESTART {
        let scenario = FailScenario::setup();
        let mut leader = Leader::new();
        let mut node = Node::new(1).await;
        let entries = leader.some_entries(5);
        node.feed(&entries[..4]).await;
        let end = node.build().await.unwrap().manifest().log_id();
        node.feed(&entries[4..]).await;
        node.stores().log.clone().purge(end).await.unwrap();
        node.stop();
        fs::remove_dir_all(node.path().join("applied")).unwrap();
        let (fired, left) = die_at(failpoint, node.path());
        node.start().await.unwrap();
        assert!(fired.load(Ordering::SeqCst) > 0, "{failpoint}");
        fail::remove(failpoint);
        go_on(left, 1, 6, &entries, &leader).await;
        scenario.teardown();
    }
}

#[tokio::test]
async fn deaths_at_the_first_start() {
    for failpoint in FIRST_START {
        let scenario = FailScenario::setup();
        let mut leader = Leader::new();
        let mut node = Node::at(tempfile::tempdir().unwrap(), 1);
        let (fired, left) = die_at(failpoint, node.path());
        node.start().await.unwrap();
        assert!(fired.load(Ordering::SeqCst) > 0, "{failpoint}");
        fail::remove(failpoint);
        go_on(left, 1, 0, &leader.some_entries(3), &leader).await;
        scenario.teardown();
    }
}

/// The disk reports an error: the operation fails, and the node goes on after a start.
#[tokio::test]
async fn errors_at_every_step() {
    for failpoint in APPLY.into_iter().chain(BUILD).chain(RECEIVE).chain(INSTALL) {
        let scenario = FailScenario::setup();
        let mut leader = Leader::new();
        let (one, mut two) = (Node::new(1).await, Node::new(2).await);
        let entries = leader.some_entries(6);
        one.feed(&entries).await;
        let built = one.build().await.unwrap();
        two.feed(&entries[..3]).await;
        fail::cfg(failpoint, "return(disk full)").unwrap();
        let failed = if APPLY.contains(&failpoint) {
            two.append(&entries[3..4]).await;
            two.apply(&entries[3..4]).await.unwrap_err();
            two.stores().applied.fault().borrow().is_some()
        } else if BUILD[..3].contains(&failpoint) {
            two.build().await.is_err()
        } else {
            match transfer(&built, &two.stores().snapshots) {
                Err(_) => true,
                Ok(received) => {
                    let received = received.to_raft();
                    two.machine().install_snapshot(&received.meta, received.snapshot).await.is_err()
                        && two.stores().applied.fault().borrow().is_some()
                }
            }
        };
        assert!(failed, "{failpoint}");
        fail::remove(failpoint);
        two.stop();
        go_on(two.into_folder(), 2, 1, &entries, &leader).await;
        scenario.teardown();
    }
}
