//! Entries that no healthy cluster commits: each stops the store for good.

use std::collections::BTreeSet;

use chancery_ledger::authority::Block;
use tempfile::tempdir;

use super::ledger::{Leader, VOTERS, membership};
use super::open;
use crate::raft::types::{Entry, Membership, Payload, log_id};
use crate::store::applied::AppliedFault;

/// Applies a membership and a block, and then what `make` makes: the fault that it is.
fn fault_of(make: impl FnOnce(&mut Leader) -> Entry) -> AppliedFault {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let store = open(folder.path());
    let fault = store.fault();
    store.apply(&leader.initialize()).unwrap();
    store.apply(&leader.busy_block()).unwrap();
    let before = store.position();
    let mut healthy = leader.clone();
    let dead = store.apply(&make(&mut leader)).unwrap_err();
    assert_eq!(fault.borrow().as_ref(), Some(&dead.0));
    assert_eq!(store.apply(&healthy.busy_block()).unwrap_err(), dead, "the first fault is the last");
    assert_eq!(store.position(), before);
    drop(store);
    assert_eq!(open(folder.path()).position(), before);
    (*dead.0).clone()
}

fn block_entry(leader: &mut Leader, change: impl FnOnce(&Leader, Block) -> Vec<u8>) -> Entry {
    let command = leader.command(chancery_ledger::command::Body::SetRules { rules_version: 1 });
    let bytes = change(leader, leader.propose(vec![command]));
    leader.entry(Payload::new(Some(bytes.into()), None))
}

#[test]
fn blocks_that_cannot_be_applied() {
    let cut_off = fault_of(|leader| {
        block_entry(leader, |_, block| {
            let mut bytes = block.encode();
            bytes.pop();
            bytes
        })
    });
    assert!(matches!(cut_off, AppliedFault::Block { index: 2, .. }), "{cut_off}");

    let other_term = fault_of(|leader| {
        let mut entry = block_entry(leader, |_, block| block.encode());
        entry.log_id = log_id(2, 2);
        entry
    });
    assert_eq!(other_term, AppliedFault::Term { index: 2, claimed: 1, term: 2 });

    let other_chain = fault_of(|leader| {
        block_entry(leader, |leader, mut block| {
            block.previous_hash = leader.history[0].summary.block_hash;
            block.encode()
        })
    });
    assert!(matches!(other_chain, AppliedFault::Apply { index: 2, .. }), "{other_chain}");

    let unsigned = fault_of(|leader| {
        block_entry(leader, |_, mut block| {
            block.stamp_ms += 1;
            block.encode()
        })
    });
    assert!(matches!(unsigned, AppliedFault::Apply { index: 2, .. }), "{unsigned}");
}

#[test]
fn entries_out_of_order() {
    for id in [log_id(1, 3), log_id(1, 1), log_id(0, 2)] {
        let fault = fault_of(|leader| Entry { log_id: id, ..leader.blank() });
        assert_eq!(fault, AppliedFault::Order { last: Some(log_id(1, 1)), next: id });
    }
}

#[test]
fn other_voters() {
    let voters: BTreeSet<u64> = VOTERS.into();
    let fewer = BTreeSet::from([1, 2]);
    for sets in [vec![fewer.clone()], vec![voters.clone(), fewer], vec![voters.clone(), voters]] {
        let fault = fault_of(|leader| {
            let membership = Membership::new_with_defaults(sets, []);
            leader.entry(Payload::new(None, Some(membership)))
        });
        assert_eq!(fault, AppliedFault::VotersDiffer { index: 2 });
    }
    let roster_block = fault_of(|leader| {
        let mut entry = block_entry(leader, |_, block| block.encode());
        entry.payload = Payload::new(entry.payload.block().cloned(), Some(membership(&[])));
        entry
    });
    assert_eq!(roster_block, AppliedFault::RosterBlock { index: 2 });
}
