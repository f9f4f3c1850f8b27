//! Building, sending, installing.

use std::fs;

use openraft::storage::RaftStateMachine;

use crate::raft::types::SnapshotFolder;
use crate::store::applied::tests::assert_same;
use crate::store::applied::tests::ledger::{Leader, sign_head};
use crate::store::applied::tests::node::{Node, transfer};
use crate::store::snapshot::{
    HeadQuorumSource, SNAPSHOT_CHUNK_SIZE_BYTES_MAX, SnapshotError, SnapshotReader,
};

#[tokio::test]
async fn a_snapshot_makes_another_node_the_same() {
    let mut leader = Leader::new();
    let (one, mut two) = (Node::new(1).await, Node::new(2).await);
    let entries = leader.some_entries(20);
    one.feed(&entries).await;
    two.feed(&entries[..4]).await;
    let view_before = two.stores().applied.view();
    let built = one.build().await.unwrap();
    assert_eq!(built.manifest().log_id(), entries.last().unwrap().log_id);
    built.check_files().unwrap();

    let received = transfer(&built, &two.stores().snapshots).unwrap();
    assert_eq!(received.manifest(), built.manifest());
    let registered = two.stores().log.read_tail_with(|tail| tail.block).unwrap();
    assert_eq!(registered, 21, "known before it is installed");
    let mut block = two.stores().applied.block();
    let snapshot = received.to_raft();
    two.machine().install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    assert_eq!(*block.borrow_and_update(), 21);
    assert_same(&two.stores().applied, &leader);
    assert_eq!(two.stores().applied.position(), one.stores().applied.position());
    assert_eq!(view_before.read_state(|state| state.head().block), 2, "views stay with what they had");
    drop(view_before);
    assert_eq!(fs::read_dir(two.path().join("applied")).unwrap().count(), 1);

    // Both go on, and the snapshot stays what it was.
    let more = leader.busy_block();
    for node in [&one, &two] {
        node.stores().applied.apply(&more).unwrap();
        assert_same(&node.stores().applied, &leader);
    }
    received.check_files().unwrap();
    two.stop();
    assert!(two.folder.path().exists());
}

#[tokio::test]
async fn parts_are_bounded_and_in_order() {
    let (one, two) = (Node::new(1).await, Node::new(2).await);
    one.feed(&Leader::new().some_entries(3)).await;
    let built = one.build().await.unwrap();
    let mut reader = SnapshotReader::new(built.clone());
    let manifest = reader.manifest().unwrap();
    let snapshots = &two.stores().snapshots;
    let mut receiver = snapshots.receive(&manifest).unwrap();
    let first = reader.next_chunk().unwrap().unwrap();
    assert!(first.bytes.len() <= SNAPSHOT_CHUNK_SIZE_BYTES_MAX);

    let part = |result: Result<(), SnapshotError>| assert!(matches!(result, Err(SnapshotError::Part { .. })));
    part(receiver.chunk("../identity", 0, &first.bytes));
    part(receiver.chunk(&first.file, 1, &first.bytes));
    part(receiver.chunk(&first.file, 0, &[]));
    part(receiver.chunk(&first.file, 0, &[&first.bytes[..], &[0]].concat()));
    part(receiver.chunk(&first.file, u64::MAX, &first.bytes));
    let second = reader.next_chunk().unwrap().unwrap();
    part(receiver.chunk(&second.file, second.offset, &second.bytes));
    receiver.chunk(&first.file, first.offset, &first.bytes).unwrap();
    part(receiver.chunk(&first.file, first.offset, &first.bytes));
    assert!(matches!(receiver.finish(), Err(SnapshotError::Incomplete)));

    // A second transfer takes the place of the first; what is given up leaves nothing.
    let mut receiver = snapshots.receive(&manifest).unwrap();
    let newer = snapshots.receive(&manifest).unwrap();
    let superseded = receiver.chunk(&first.file, 0, &first.bytes);
    assert!(matches!(superseded, Err(SnapshotError::Superseded)));
    drop((receiver, newer));
    assert_eq!(fs::read_dir(two.path().join("snapshots")).unwrap().count(), 0);

    transfer(&built, snapshots).unwrap();
    let again = transfer(&built, snapshots);
    assert!(matches!(again, Err(SnapshotError::Outdated { .. })));
}

#[tokio::test]
async fn the_current_one_and_one_older_are_kept() {
    let mut leader = Leader::new();
    let mut node = Node::new(1).await;
    node.feed(&leader.some_entries(1)).await;
    let first = node.build().await.unwrap();
    assert_eq!(node.build().await.unwrap().folder(), first.folder(), "nothing was applied since");
    for _ in 0..3 {
        node.feed(&[leader.busy_block()]).await;
        node.build().await.unwrap();
    }
    assert_eq!(fs::read_dir(node.path().join("snapshots")).unwrap().count(), 2);
    let current = node.stores().snapshots.current().unwrap();
    assert!(node.stores().snapshots.at(first.folder()).is_none());
    node.start().await.unwrap();
    assert_eq!(node.stores().snapshots.current().unwrap().manifest(), current.manifest());
    let raft = node.machine().get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(raft.meta, current.manifest().meta());
}

#[tokio::test]
async fn only_a_registered_snapshot_is_installed() {
    let (one, two) = (Node::new(1).await, Node::new(2).await);
    one.feed(&Leader::new().some_entries(3)).await;
    let built = one.build().await.unwrap().to_raft();
    two.machine().install_snapshot(&built.meta, built.snapshot).await.unwrap_err();
    assert!(two.stores().applied.fault().borrow().is_some());
    let nowhere = SnapshotFolder::at("/nowhere");
    one.machine().install_snapshot(&built.meta, nowhere).await.unwrap_err();
}

/// Signs with one node, then with two.
struct SlowQuorum(std::sync::Mutex<u64>, crate::store::applied::AppliedStore);

impl HeadQuorumSource for SlowQuorum {
    fn quorum(
        &self,
        block: u64,
    ) -> futures_util::future::BoxFuture<'_, Option<Vec<chancery_ledger::head::Statement>>> {
        let mut asked = self.0.lock().unwrap();
        *asked += 1;
        let nodes: &'static [u64] = match *asked {
            1 => return Box::pin(async { None }),
            2 => &[1],
            _ => &[1, 3],
        };
        let head = self.1.head_of(block).unwrap().unwrap();
        Box::pin(async move { Some(sign_head(head, nodes)) })
    }
}

#[tokio::test]
async fn a_build_waits_for_a_quorum_and_can_be_stopped() {
    let node = Node::new(1).await;
    node.feed(&Leader::new().some_entries(2)).await;
    let stores = node.stores();
    let heads = SlowQuorum(0.into(), stores.applied.clone());
    let (stop, stopping) = tokio::sync::watch::channel(false);
    drop(stop);
    let stopped = stores.snapshots.build(&stores.applied, &heads, stopping).await;
    assert!(matches!(stopped, Err(SnapshotError::Stopping)));
    assert!(stores.snapshots.current().is_none());

    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let heads = SlowQuorum(0.into(), stores.applied.clone());
    let built = stores.snapshots.build(&stores.applied, &heads, stopping).await.unwrap();
    assert_eq!(built.manifest().statements().len(), 2);
}
