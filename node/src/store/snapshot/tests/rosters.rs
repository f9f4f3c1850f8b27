//! Snapshots across a change of the voters: they carry the proof of every roster, and nothing less is taken.

use chancery_ledger::head::{RosterChain, RosterLink, RosterLinkError};
use openraft::storage::RaftSnapshotBuilder as _;
use openraft::storage::RaftStateMachine as _;
use tokio::time::{Duration, timeout};

use crate::store::applied::tests::ledger::{Leader, sign_head};
use crate::store::applied::tests::node::{Node, transfer};
use crate::store::snapshot::{Manifest, SnapshotError, VerifyError};

/// A node that went through a change of the voters to 1, 2 and 4.
async fn changed(leader: &mut Leader) -> Node {
    let node = Node::new(1).await;
    let mut entries = leader.some_entries(2);
    entries.extend(leader.change_voters(&[1, 2, 4]));
    entries.push(leader.busy_block());
    node.feed(&entries).await;
    node
}

fn prove(node: &Node, links: &[RosterLink]) {
    for link in links {
        node.stores().applied.prove_roster(link.head.block, link.statements.clone()).unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_waits_for_the_proofs_and_carries_them() {
    let mut leader = Leader::new();
    let mut one = changed(&mut leader).await;
    prove(&one, &leader.links[..1]);
    let mut machine = one.machine();
    let mut builder = machine.get_snapshot_builder().await;
    let building = builder.build_snapshot();
    // It cannot be there before the proof is, however long one waits.
    assert!(timeout(Duration::from_millis(300), building).await.is_err());
    // What is given up keeps the folder locked no longer.
    drop((builder, machine));
    prove(&one, &leader.links[1..]);
    let built = one.build().await.unwrap();
    assert_eq!(built.manifest().rosters().links, leader.links);

    // Who takes it has the chain, states the roster, and so it does after a restart.
    let mut four = Node::new(4).await;
    let taken = transfer(&built, &four.stores().snapshots).unwrap();
    let tail = four.stores().log.read_tail_with(|tail| *tail).unwrap();
    assert_eq!(tail.roster, leader.links[1].id());
    four.machine().install_snapshot(&taken.manifest().meta(), taken.folder().clone()).await.unwrap();
    for restart in [false, true] {
        if restart {
            four.start().await.unwrap();
            one.start().await.unwrap();
        }
        assert_eq!(four.stores().applied.rosters().chain_since(0), leader.links);
        assert_eq!(four.stores().applied.rosters().newest().0, leader.links[1].id());
        assert_eq!(one.stores().log.read_tail_with(|tail| tail.roster).unwrap(), leader.links[1].id());
    }
}

#[tokio::test]
async fn a_snapshot_without_its_chain_is_refused() {
    let mut leader = Leader::new();
    let one = changed(&mut leader).await;
    prove(&one, &leader.links);
    let built = one.build().await.unwrap();
    let claim = |links: Vec<RosterLink>| {
        let manifest = built.manifest();
        let forged = Manifest::new(
            *manifest.head(),
            manifest.position().block_hash,
            manifest.log_id(),
            manifest.membership().clone(),
            RosterChain { links },
            manifest.statements().to_vec(),
            manifest.files().to_vec(),
        );
        forged.unwrap().encode().unwrap()
    };
    let two = Node::new(2).await;
    let refused = |links| match two.stores().snapshots.receive(&claim(links)) {
        Err(SnapshotError::Verify(error)) => error,
        other => panic!("{:?}", other.err()),
    };
    let links = &leader.links;
    assert!(matches!(refused(vec![]), VerifyError::OtherRoster));
    assert!(matches!(refused(links[..1].to_vec()), VerifyError::OtherRoster));
    let gap = refused(links[1..].to_vec());
    assert!(matches!(gap, VerifyError::RosterLink(_)), "{gap:?}");
    // The old voters alone, and the new ones alone, do not prove it.
    for (at, nodes) in [(0, &[1, 3][..]), (0, &[1, 4]), (1, &[1, 4]), (1, &[])] {
        let mut half = links.clone();
        half[at].statements = sign_head(half[at].head, nodes);
        let error = refused(half);
        assert!(matches!(error, VerifyError::RosterLink(RosterLinkError::Quorum(_))), "{nodes:?}: {error:?}");
    }
    assert_eq!(two.stores().log.read_tail_with(|tail| tail.roster.block).unwrap(), 0);
    two.stores().snapshots.receive(&claim(links.clone())).unwrap();
}
