//! The tree as hashes in bounded memory, against the tree of nodes: the same roots, whatever is forgotten on the way,
//! and values that are not those that it was made of are found.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[allow(dead_code, reason = "other tests use the rest")]
mod state_model;

use std::collections::BTreeMap;

use chancery_ledger::state::{
    Changes, HashTree, HashTreeError, Hashed, Key, LeafKeep, LeafRead, MemoryLeaves, Root,
    VALUE_SIZE_BYTES_MAX, Version,
};
use proptest::prelude::*;
use state_model::{Batch, Grown, keys, value, values};

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let change = prop_oneof![3 => values().prop_map(Some), 1 => Just(None)];
    proptest::collection::vec(proptest::collection::btree_map(keys(), change, 0..40), 1..10)
}

/// The tree and its values.
struct Replica {
    tree: HashTree,
    leaves: MemoryLeaves,
}

impl Replica {
    fn new(size_bytes_max: u64) -> Self {
        Self { tree: HashTree::new(size_bytes_max), leaves: MemoryLeaves::default() }
    }

    fn version(&self) -> Hashed<'_, MemoryLeaves> {
        Hashed { tree: &self.tree, leaves: &self.leaves }
    }

    fn apply(&mut self, batch: &Changes) {
        let (root, next) = self.version().next(batch.clone()).unwrap();
        let before = self.tree.root_hash();
        assert_eq!(self.version().next(Changes::new()).unwrap().0, before, "this version stays");
        self.leaves.change(self.tree.take(next)).unwrap();
        assert_eq!(self.tree.root_hash(), root);
    }
}

/// What one forgotten subtree takes.
const FORGOTTEN_BYTES: u64 = 64;

proptest! {
    #[test]
    fn roots_are_those_of_the_tree_of_nodes(batches in batches()) {
        let mut grown = Grown::default();
        // Everything is forgotten, some of it, nothing.
        let sizes = [0, 1_500, 6_000, u64::MAX];
        let mut replicas = sizes.map(Replica::new);
        for batch in &batches {
            grown.apply(batch);
            for (replica, size_bytes_max) in replicas.iter_mut().zip(sizes) {
                replica.apply(batch);
                prop_assert_eq!(replica.tree.root_hash(), grown.root().hash(), "{}", size_bytes_max);
                // One forgotten subtree stays, whatever the bound.
                prop_assert!(replica.tree.size_bytes() <= size_bytes_max.max(FORGOTTEN_BYTES));
                for key in batch.keys() {
                    let expected = chancery_ledger::state::get(&grown.nodes, grown.root(), key).unwrap();
                    prop_assert_eq!(replica.version().value(key).unwrap(), expected);
                }
            }
        }
        for (replica, size_bytes_max) in replicas.iter().zip(sizes) {
            let again = HashTree::over(&replica.leaves, size_bytes_max).unwrap();
            prop_assert_eq!(again.root_hash(), grown.root().hash());
            prop_assert!(again.size_bytes() <= size_bytes_max.max(FORGOTTEN_BYTES));
        }
    }

    #[test]
    fn values_that_are_others_are_found(
        map in proptest::collection::btree_map(keys(), values(), 20..60),
        changed in any::<prop::sample::Index>(),
        gone in any::<bool>(),
    ) {
        let all: Changes = map.iter().map(|(key, value)| (*key, Some(value.clone()))).collect();
        let mut replica = Replica::new(0);
        replica.apply(&all);
        let key = *map.keys().nth(changed.index(map.len())).unwrap();
        let other = (!gone).then(|| value("of somebody else"));
        replica.leaves.change(Changes::from([(key, other)])).unwrap();
        // To change anything beside it, what was forgotten has to be read.
        let beside = *map.keys().find(|other| **other != key).unwrap();
        let error = replica.version().next(Changes::from([(beside, Some(value("new")))])).unwrap_err();
        prop_assert!(matches!(error, HashTreeError::OtherValues { .. }), "{}", error);
        prop_assert_ne!(HashTree::over(&replica.leaves, 0).unwrap().root_hash(), replica.tree.root_hash());
    }
}

#[test]
fn nothing_is_the_empty_tree() {
    let mut replica = Replica::new(1_000);
    assert_eq!(replica.tree.root_hash(), Root::EMPTY.hash());
    assert_eq!(replica.tree.size_bytes(), 0);
    let key = Key([7; 32]);
    replica.apply(&Changes::from([(key, Some(value("it")))]));
    replica.apply(&Changes::from([(key, None), (Key([8; 32]), None)]));
    assert_eq!(replica.tree.root_hash(), Root::EMPTY.hash());
}

#[test]
fn a_value_that_is_too_long_changes_nothing() {
    let replica = Replica::new(1_000);
    let long = vec![0; VALUE_SIZE_BYTES_MAX + 1];
    let error = replica.version().next(Changes::from([(Key([7; 32]), Some(long.into()))])).unwrap_err();
    assert!(
        matches!(error, HashTreeError::ValueTooLong { size_bytes, .. } if size_bytes == VALUE_SIZE_BYTES_MAX + 1)
    );
}

#[test]
fn what_is_read_again_is_little() {
    /// Counts what is read.
    struct Counted(MemoryLeaves, std::cell::Cell<usize>);
    impl LeafRead for Counted {
        type Error = std::convert::Infallible;
        fn value(&self, key: &Key) -> Result<Option<chancery_ledger::state::Value>, Self::Error> {
            self.0.value(key)
        }
        fn range(
            &self,
            first: &Key,
            last: &Key,
            each: &mut dyn FnMut(Key, &[u8]),
        ) -> Result<(), Self::Error> {
            self.0.range(first, last, &mut |key, value| {
                self.1.set(self.1.get() + 1);
                each(key, value);
            })
        }
    }
    let scattered = |number: u64| Key(chancery_ledger::hash::Hash::of(&[&number.to_be_bytes()]).0);
    let all: BTreeMap<Key, _> = (0..20_000).map(|number| (scattered(number), Some(value("it")))).collect();
    let mut leaves = MemoryLeaves::default();
    leaves.change(all).unwrap();
    let tree = HashTree::over(&leaves, 200_000).unwrap();
    assert!(tree.size_bytes() <= 200_000);
    let counted = Counted(leaves, std::cell::Cell::new(0));
    let hashed = Hashed { tree: &tree, leaves: &counted };
    for number in 0..100 {
        hashed.next(Changes::from([(scattered(number), Some(value("other")))])).unwrap();
    }
    // 20,000 leaves of which a tenth fits: what is forgotten as one is some dozens of leaves, not thousands.
    assert!(counted.1.get() <= 100 * 64, "{}", counted.1.get());
    assert!(counted.1.get() > 0);
}
