//! Tests of the applied store on a real RocksDB, against a model in memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod history;
pub(crate) mod ledger;
#[allow(dead_code, reason = "shared with the tests outside the crate")]
pub(in crate::store) mod node;
mod refused;
mod rosters;
mod store;

use std::path::Path;

use chancery_ledger::hash::Hash;
use chancery_ledger::log::{leaf_hash, prove_inclusion, verify_inclusion};
use chancery_ledger::state::{leaves, verify_whole};

use super::{AppliedOptions, AppliedStore};
use ledger::{Leader, founding};

pub(crate) fn open(path: &Path) -> AppliedStore {
    open_with(path, AppliedOptions::default())
}

pub(super) fn open_with(path: &Path, options: AppliedOptions) -> AppliedStore {
    AppliedStore::open(path, founding(), options).unwrap()
}

/// `store` holds exactly what the model does: head, leaves, tree, deduplication entries, tiles.
pub(in crate::store) fn assert_same(store: &AppliedStore, leader: &Leader) {
    let view = store.view();
    let summary = leader.state.summary();
    assert_eq!(view.read_state(|state| state.summary().clone()), *summary);
    for applied in &leader.history {
        let block = applied.summary.head.block;
        assert_eq!(view.head_of(block).unwrap(), Some(applied.summary.head));
        assert_eq!(view.read_state(|state| state.head_of(block).copied()), Some(applied.summary.head));
    }
    let expected: Vec<Vec<u8>> = leader.history.iter().flat_map(|applied| applied.leaves.clone()).collect();
    assert_eq!(view.entries(0, usize::MAX).unwrap(), expected);
    assert_eq!(view.log_root_at(summary.head.log_size).unwrap(), Some(summary.head.log_root));
    for (leaf, index) in expected.iter().zip(0..) {
        let proof = prove_inclusion(&view, index, summary.head.log_size).unwrap();
        verify_inclusion(&leaf_hash(leaf), index, summary.head.log_size, &proof, &summary.head.log_root)
            .unwrap();
    }
    verify_whole(&view, summary.root).unwrap();
    let records = |leaves: Vec<_>| -> Vec<_> { leaves };
    assert_eq!(
        records(leaves(&view, summary.root).map(Result::unwrap).collect()),
        records(leaves(&leader.nodes, summary.root).map(Result::unwrap).collect())
    );
    let buckets = |dedup: &chancery_ledger::authority::Dedup| dedup.buckets().collect::<Vec<_>>();
    assert_eq!(view.read_state(|state| buckets(state.dedup())), buckets(leader.state.dedup()));
    assert_ne!(summary.head.state_root, Hash::ZERO);
}
