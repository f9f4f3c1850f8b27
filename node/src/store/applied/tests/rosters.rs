//! Roster blocks in the applied store: what they bring, what proves it, and what stops the store.

use chancery_ledger::command::Body;
use chancery_ledger::head::RosterId;
use tempfile::tempdir;

use super::ledger::{Leader, VOTERS, roster};
use super::{assert_same, open};
use crate::raft::types::{Entry, Membership, Payload};
use crate::store::applied::{AppliedFault, voter_ids};

#[test]
fn rosters_come_with_their_blocks_and_stay() {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let store = open(folder.path());
    let genesis = RosterId { block: 0, digest: roster().digest() };
    let mut entries = vec![leader.initialize(), leader.busy_block()];
    entries.extend(leader.change_voters(&[1, 2, 3, 4]));
    entries.push(leader.busy_block());
    entries.extend(leader.change_voters(&[2, 3, 4]));
    let mut watched = store.watch_rosters();
    for entry in &entries {
        let position = store.apply(entry).unwrap();
        assert_eq!(watched.borrow_and_update().newest().0, position.roster, "known with the block");
    }
    assert_same(&store, &leader);
    let rosters = store.rosters();
    let ids: Vec<RosterId> = leader.links.iter().map(|link| link.id()).collect();
    assert_eq!(ids.iter().map(|id| id.block).collect::<Vec<_>>(), [2, 3, 5, 6]);
    for (block, id) in
        [genesis, genesis, ids[0], ids[1], ids[1], ids[2], ids[3], ids[3]].into_iter().enumerate()
    {
        assert_eq!(rosters.at(block as u64).0, id, "block {block}");
        assert!(rosters.get(id).is_some());
    }
    assert_eq!(rosters.get(RosterId { block: 2, ..ids[1] }), None);
    assert_eq!((rosters.newest().0, rosters.is_joint()), (ids[3], false));
    assert!(rosters.is_removed(1) && !rosters.is_removed(4) && !rosters.is_removed(9));
    // A roster block's head needs two quorums, any other one.
    let quorum =
        |block, nodes: &[u64]| rosters.head_voters(block).has_quorum(&nodes.iter().copied().collect());
    assert!(!quorum(2, &[3, 4]) && quorum(2, &[2, 3, 4]));
    assert!(!quorum(6, &[3, 4]) && quorum(6, &[2, 3, 4]) && quorum(7, &[3, 4]));

    // Proofs come later, in any order, and stay as well.
    assert_eq!(rosters.unproven(), Some(&leader.links[0].head));
    assert_eq!(rosters.chain_since(0), []);
    for at in [1, 0] {
        store.prove_roster(ids[at].block, leader.links[at].statements.clone()).unwrap();
    }
    drop(store);
    let store = open(folder.path());
    assert_same(&store, &leader);
    let rosters = store.rosters();
    assert_eq!(rosters.chain_since(0), leader.links[..2]);
    assert_eq!(rosters.chain_since(2), leader.links[1..2]);
    assert_eq!(rosters.unproven(), Some(&leader.links[2].head));
    assert_eq!(rosters.newest().0, ids[3]);
}

/// Applies a change, but for how `change` changes one of its two entries: the fault.
fn fault_of(at: usize, change: impl Fn(&Entry) -> Payload) -> AppliedFault {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let store = open(folder.path());
    store.apply(&leader.initialize()).unwrap();
    let mut entries = leader.change_voters(&[1, 2, 4]);
    entries[at].payload = change(&entries[at]);
    for entry in &entries[..at] {
        store.apply(entry).unwrap();
    }
    let before = store.position();
    let dead = store.apply(&entries[at]).unwrap_err();
    drop(store);
    assert_eq!(open(folder.path()).position(), before);
    (*dead.0).clone()
}

#[test]
fn roster_blocks_carry_their_membership() {
    let block = |entry: &Entry| entry.payload.block().cloned();
    for at in [0, 1] {
        let index = at as u64 + 1;
        let others = [vec![VOTERS.into()], vec![VOTERS.into(), [1, 2].into()], vec![[1, 2].into()]];
        for sets in others {
            let other = |entry: &Entry| {
                Payload::new(block(entry), Some(Membership::new_with_defaults(sets.clone(), [])))
            };
            assert_eq!(fault_of(at, other), AppliedFault::VotersDiffer { index });
        }
        let alone = |entry: &Entry| Payload::new(block(entry), None);
        assert_eq!(fault_of(at, alone), AppliedFault::RosterBlock { index });
        let no_block = |entry: &Entry| Payload::new(None, entry.payload.membership().cloned());
        assert_eq!(fault_of(at, no_block), AppliedFault::VotersDiffer { index });
    }
}

#[test]
fn nothing_comes_between_the_blocks_of_a_change() {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let store = open(folder.path());
    store.apply(&leader.initialize()).unwrap();
    let [joint, _] = leader.roster_blocks(&[1, 2, 4]);
    leader.apply(&joint);
    let membership = |learners: [u64; 1]| {
        Some(Membership::new_with_defaults(voter_ids(joint.roster.as_ref().unwrap()), learners))
    };
    let joint_entry = leader.entry(Payload::new(Some(joint.encode().into()), membership([8])));
    store.apply(&joint_entry).unwrap();
    // Learners may, who leave the voters alone.
    store.apply(&leader.entry(Payload::new(None, membership([9])))).unwrap();
    let command = leader.command(Body::SetRules { rules_version: 1 });
    let block = leader.propose(vec![command]);
    let dead = store.apply(&leader.entry(Payload::new(Some(block.encode().into()), None))).unwrap_err();
    let AppliedFault::Apply { index: 3, reason } = &*dead.0 else { panic!("{dead}") };
    assert!(reason.contains("under way"), "{reason}");
}
