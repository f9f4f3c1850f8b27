//! Starting on folders that a crash, or a person, left in every state.

use std::fs;
use std::sync::Arc;

use openraft::storage::{RaftLogStorage, RaftStateMachine};

use crate::raft::types::Entry;
use crate::store::applied::tests::assert_same;
use crate::store::applied::tests::ledger::{Leader, genesis};
use crate::store::applied::tests::node::{Node, transfer};
use crate::store::applied::{AppliedFault, Founding};
use crate::store::snapshot::SnapshotError;
use crate::store::{Refusal, StartError};

/// A node with a snapshot after the first half of the entries, all of them applied.
async fn node_with_snapshot(leader: &mut Leader) -> (Node, Vec<Entry>) {
    let node = Node::new(1).await;
    let mut entries = leader.some_entries(5);
    node.feed(&entries).await;
    node.build().await.unwrap();
    let more: Vec<Entry> = (0..5).map(|_| leader.busy_block()).collect();
    node.feed(&more).await;
    entries.extend(more);
    (node, entries)
}

fn empty(folder: &std::path::Path) {
    fs::remove_dir_all(folder).unwrap();
    fs::create_dir(folder).unwrap();
}

#[tokio::test]
async fn a_node_goes_on_where_it_was() {
    let mut leader = Leader::new();
    let (mut node, entries) = node_with_snapshot(&mut leader).await;
    let before = node.stores().applied.position();
    node.start().await.unwrap();
    assert_eq!(node.stores().applied.position(), before);
    let last = node.stores().log.clone().get_log_state().await.unwrap().last_log_id;
    assert_eq!(last, entries.last().map(|entry| entry.log_id));
    assert_same(&node.stores().applied, &leader);
}

#[tokio::test]
async fn an_emptied_applied_folder_is_made_again_from_the_snapshot_and_the_log() {
    let mut leader = Leader::new();
    let (mut node, entries) = node_with_snapshot(&mut leader).await;
    let purged = node.stores().snapshots.current().unwrap().manifest().log_id();
    node.stores().log.clone().purge(purged).await.unwrap();
    for missing in [true, false] {
        node.stop();
        empty(&node.path().join("applied"));
        if missing {
            fs::remove_dir(node.path().join("applied")).unwrap();
        }
        node.start().await.unwrap();
        assert_eq!(node.stores().applied.applied(), Some(purged));
        assert_eq!(node.stores().log.read_tail_with(|tail| tail.block).unwrap(), 11);
        node.catch_up(&entries).await;
        assert_same(&node.stores().applied, &leader);
    }
}

#[tokio::test]
async fn without_a_snapshot_it_is_made_again_from_the_log() {
    let mut leader = Leader::new();
    let mut node = Node::new(1).await;
    let entries = leader.some_entries(5);
    node.feed(&entries).await;
    node.stop();
    empty(&node.path().join("applied"));
    node.start().await.unwrap();
    assert_eq!(node.stores().applied.applied(), None);
    node.catch_up(&entries).await;
    assert_same(&node.stores().applied, &leader);
}

#[tokio::test]
async fn a_snapshot_that_was_registered_and_not_installed_is_installed_at_the_start() {
    let mut leader = Leader::new();
    let one = Node::new(1).await;
    let mut two = Node::new(2).await;
    let entries = leader.some_entries(8);
    one.feed(&entries).await;
    two.feed(&entries[..3]).await;
    let received = transfer(&one.build().await.unwrap(), &two.stores().snapshots).unwrap();
    let end = received.manifest().log_id();
    two.start().await.unwrap();
    assert_eq!(two.stores().applied.applied(), Some(end));
    assert_same(&two.stores().applied, &leader);
    let state = two.stores().log.clone().get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(end), Some(end)));
    assert_eq!(two.machine().applied_state().await.unwrap().0, Some(end));
    two.feed(&[leader.busy_block()]).await;
    assert_same(&two.stores().applied, &leader);
}

#[tokio::test]
async fn folders_of_others_are_refused() {
    let mut leader = Leader::new();
    let (mut node, _) = node_with_snapshot(&mut leader).await;
    let founding = Arc::clone(node.stores().applied.founding());
    let refused = node.start_as(2, &founding).await;
    assert!(matches!(refused, Err(StartError::OtherNode { found: 1, node: 2 })), "{refused:?}");
    let other = Arc::new(Founding::new(&genesis("example.com/other")).unwrap());
    let refused = node.start_as(1, &other).await;
    assert!(matches!(refused, Err(StartError::OtherLedger)), "{refused:?}");

    let identity = node.path().join("identity");
    let kept = fs::read(&identity).unwrap();
    fs::remove_file(&identity).unwrap();
    let refused = node.start().await;
    assert!(matches!(refused, Err(StartError::NoIdentity("raft"))), "{refused:?}");
    fs::write(&identity, &kept[1..]).unwrap();
    let refused = node.start().await;
    assert!(matches!(refused, Err(StartError::NoIdentity(_))), "{refused:?}");
    fs::write(&identity, &kept).unwrap();
    node.start().await.unwrap();
    let refused = super::super::super::open_node_stores(
        node.path(),
        1,
        founding,
        crate::store::StoreOptions::default(),
    );
    assert!(matches!(refused.await.err(), Some(StartError::Locked)));
}

/// Puts another ledger's folder in the place of one of this node's.
#[tokio::test]
async fn single_folders_of_another_ledger_are_refused() {
    let other = Arc::new(Founding::new(&genesis("example.com/other")).unwrap());
    for name in ["raft", "applied"] {
        let mut leader = Leader::new();
        let (mut node, _) = node_with_snapshot(&mut leader).await;
        let mut stranger = Node::new(1).await;
        stranger.stop();
        fs::remove_dir_all(stranger.path()).unwrap();
        stranger.start_as(1, &other).await.unwrap();
        stranger.stop();
        node.stop();
        fs::remove_dir_all(node.path().join(name)).unwrap();
        fs::rename(stranger.path().join(name), node.path().join(name)).unwrap();
        let refused = node.start().await.unwrap_err();
        match name {
            "raft" => assert!(matches!(refused, StartError::RaftLog(_)), "{refused:?}"),
            _ => assert!(
                matches!(&refused, StartError::Applied(AppliedFault::Corrupt { what, .. }) if what == "schema"),
                "{refused:?}"
            ),
        }
    }
}

#[tokio::test]
async fn folders_that_do_not_fit_are_refused() {
    // The log is gone: so is the vote.
    let mut leader = Leader::new();
    let (mut node, _) = node_with_snapshot(&mut leader).await;
    node.stop();
    empty(&node.path().join("raft"));
    let refused = node.start().await;
    assert!(matches!(refused, Err(StartError::RaftLogLost)), "{refused:?}");

    // What was purged is neither applied nor in a snapshot.
    let (mut node, entries) = node_with_snapshot(&mut Leader::new()).await;
    node.stores().log.clone().purge(entries[6].log_id).await.unwrap();
    node.stop();
    empty(&node.path().join("snapshots"));
    let refused = node.start().await;
    assert!(matches!(refused, Err(StartError::NoSnapshot)), "{refused:?}");
    empty(&node.path().join("applied"));
    let refused = node.start().await;
    assert!(matches!(refused, Err(StartError::Refused(Refusal::AppliedBeforePurged { .. }))), "{refused:?}");

    // The snapshot that is needed is damaged.
    let (mut node, _) = node_with_snapshot(&mut Leader::new()).await;
    let snapshot = node.stores().snapshots.current().unwrap();
    node.stop();
    empty(&node.path().join("applied"));
    let current = snapshot.database().join("CURRENT");
    fs::write(&current, b"MANIFEST-000001\n").unwrap();
    let refused = node.start().await;
    assert!(matches!(refused, Err(StartError::Snapshots(SnapshotError::File(_)))), "{refused:?}");
    fs::write(snapshot.folder().path().join(crate::store::snapshot::MANIFEST), b"chancery").unwrap();
    let refused = node.start().await;
    assert!(matches!(refused, Err(StartError::Snapshots(SnapshotError::Registered { .. }))), "{refused:?}");
    fs::create_dir(node.path().join("applied/something")).unwrap();
    fs::remove_dir_all(node.path().join("snapshots")).unwrap();
    let refused = node.start().await;
    assert!(matches!(refused, Err(StartError::Applied(_))), "{refused:?}");
}

#[tokio::test]
async fn a_signed_head_must_be_in_the_log() {
    let mut leader = Leader::new();
    let (mut node, _) = node_with_snapshot(&mut leader).await;
    let head = leader.history[3].summary.head;
    let signed = crate::store::SignedHead { size: head.log_size, root: head.log_root };
    node.stores().log.record_signed(signed).await.unwrap();
    node.start().await.unwrap();
    let other = crate::store::SignedHead { root: leader.history[4].summary.head.log_root, ..signed };
    node.stores().log.record_signed(other).await.unwrap();
    let refused = node.start().await;
    assert!(matches!(refused, Err(StartError::SignedDiffers { .. })), "{refused:?}");
}
