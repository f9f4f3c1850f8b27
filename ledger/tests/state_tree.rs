//! The state tree against a plain map, and against its hash computed straight from the specification.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod state_model;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use chancery_ledger::hash::{Hash, to_hex};
use chancery_ledger::state::{
    MemoryNodes, MissingNode, Node, NodeId, NodeRead, Root, TreeError, VALUE_SIZE_BYTES_MAX, Value, Walk,
    get, leaves, update, verify_whole,
};
use proptest::prelude::*;
use state_model::{Batch, Grown, Map, keys, one_bit, value, values};

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let change = prop_oneof![3 => values().prop_map(Some), 2 => Just(None)];
    proptest::collection::vec(proptest::collection::btree_map(keys(), change, 0..24), 1..8)
}

/// The root hash of a map, computed straight from the specification: at the first bit in which the keys
/// differ, those with a 0 go left and those with a 1 right.
fn specified_root(map: &Map) -> Hash {
    fn bit(key: &[u8; 32], index: u16) -> u8 {
        (key[usize::from(index) / 8] >> (7 - index % 8)) & 1
    }
    fn subtree(entries: &[([u8; 32], Value)]) -> Hash {
        if let [(key, value)] = entries {
            return Hash::of(&[&[0x10], key, Hash::of(&[value]).as_bytes()]);
        }
        let differ =
            |index: &u16| entries.iter().any(|(key, _)| bit(key, *index) != bit(&entries[0].0, *index));
        let index = (0..256).find(differ).unwrap();
        let (left, right): (Vec<_>, Vec<_>) =
            entries.iter().cloned().partition(|(key, _)| bit(key, index) == 0);
        Hash::of(&[&[0x11], &index.to_be_bytes(), subtree(&left).as_bytes(), subtree(&right).as_bytes()])
    }
    if map.is_empty() {
        return Hash::of(&[&[0x12]]);
    }
    subtree(&map.iter().map(|(key, value)| (key.0, value.clone())).collect::<Vec<_>>())
}

fn reachable(nodes: &MemoryNodes, root: Root) -> BTreeMap<NodeId, Node> {
    let mut found = BTreeMap::new();
    let mut pending: Vec<NodeId> = root.child.iter().map(|child| child.id).collect();
    while let Some(id) = pending.pop() {
        let node = nodes.node(id).unwrap();
        if let Node::Inner { left, right, .. } = &node {
            pending.extend([left.id, right.id]);
        }
        assert!(found.insert(id, node).is_none(), "a node has two parents");
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn behaves_as_a_map_in_every_version(batches in batches(), others in proptest::collection::vec(keys(), 8)) {
        let mut grown = Grown::default();
        let mut map = Map::new();
        let mut versions = Vec::new();
        for batch in &batches {
            grown.apply(batch);
            for (key, value) in batch {
                match value {
                    Some(value) => map.insert(*key, value.clone()),
                    None => map.remove(key),
                };
            }
            versions.push((grown.root(), map.clone()));
        }
        let asked: BTreeSet<_> = batches.iter().flat_map(|batch| batch.keys()).chain(&others).collect();
        for (root, map) in versions {
            prop_assert_eq!(root.hash(), specified_root(&map));
            prop_assert_eq!(verify_whole(&grown.nodes, root).unwrap(), map.len() as u64);
            prop_assert_eq!(leaves(&grown.nodes, root).map(Result::unwrap).collect::<Vec<_>>(),
                map.iter().map(|(key, value)| (*key, value.clone())).collect::<Vec<_>>());
            for key in &asked {
                prop_assert_eq!(get(&grown.nodes, root, key).unwrap(), map.get(key).cloned());
            }
        }
    }

    #[test]
    fn an_update_is_exactly_the_difference_of_two_versions(batches in batches()) {
        let mut grown = Grown::default();
        for batch in &batches {
            let (old_root, first_id) = (grown.root(), grown.next_id);
            let old = reachable(&grown.nodes, old_root);
            let again = grown.clone().apply(batch);
            let update = grown.apply(batch);
            prop_assert_eq!(&update, &again, "not deterministic");
            let new = reachable(&grown.nodes, update.root);

            prop_assert!(update.new.iter().map(|(id, _)| id.0).eq(first_id..update.next_id.0));
            prop_assert!(update.new.iter().map(|(id, _)| id).eq(new.keys().filter(|id| !old.contains_key(id))));
            let stale: BTreeSet<_> = update.stale.iter().collect();
            prop_assert_eq!(stale.len(), update.stale.len());
            prop_assert!(stale.into_iter().eq(old.keys().filter(|id| !new.contains_key(id))));
            for (_, node) in &update.new {
                prop_assert!(!old.values().any(|old| old == node), "copied without need");
                prop_assert_eq!(&Node::decode(&node.encode()).unwrap(), node);
            }

            let unchanged = grown.clone().apply(batch);
            prop_assert_eq!(unchanged.root, update.root);
            prop_assert!(unchanged.new.is_empty() && unchanged.stale.is_empty());

            let mut without_old = grown.nodes.clone();
            without_old.forget(&update.stale);
            prop_assert_eq!(verify_whole(&without_old, update.root).is_ok(), true);
        }
    }

    #[test]
    fn the_root_depends_on_the_content_only(
        map in proptest::collection::btree_map(keys(), values(), 0..40),
        strays in proptest::collection::vec(keys(), 0..10),
        order in Just((0..50_usize).collect::<Vec<_>>()).prop_shuffle(),
        size in 1..10_usize,
    ) {
        let at_once = Grown::from(&map).root();
        let mut steps: Vec<(_, Option<Value>)> = map.iter().map(|(key, value)| (*key, Some(value.clone()))).collect();
        let strays: Vec<_> = strays.into_iter().filter(|key| !map.contains_key(key)).collect();
        steps.extend(strays.iter().map(|key| (*key, Some(value("stray")))));
        let mut ranked: Vec<_> = steps.into_iter().zip(&order).collect();
        ranked.sort_by_key(|(_, rank)| **rank);

        let mut grown = Grown::default();
        for steps in ranked.chunks(size) {
            grown.apply(&steps.iter().map(|(step, _)| step.clone()).collect());
        }
        grown.apply(&strays.iter().map(|key| (*key, None)).collect());
        prop_assert_eq!(grown.root().hash(), at_once.hash());
        prop_assert_eq!(reachable(&grown.nodes, grown.root()).len(), (map.len() * 2).saturating_sub(1));
        grown.apply(&map.keys().map(|key| (*key, None)).collect());
        prop_assert_eq!(grown.root(), Root::EMPTY);
    }

    #[test]
    fn an_update_reads_no_node_twice_and_passes_read_errors_on(batches in batches(), fail_at in 0..20_usize) {
        let mut grown = Grown::default();
        for batch in &batches {
            let watched = Watched { nodes: &grown.nodes, read: RefCell::default(), fail_at };
            let result = update(&watched, grown.root(), NodeId(grown.next_id), batch);
            let read = watched.read.into_inner();
            prop_assert_eq!(read.iter().collect::<BTreeSet<_>>().len(), read.len());
            match result {
                Ok(update) => prop_assert!(read.len() <= fail_at && update == grown.clone().apply(batch)),
                Err(error) => prop_assert!(read.len() == fail_at + 1 && matches!(error, TreeError::Read(_))),
            }
            grown.apply(batch);
        }
    }
}

/// Nodes that note each read and fail at one.
struct Watched<'a> {
    nodes: &'a MemoryNodes,
    read: RefCell<Vec<NodeId>>,
    fail_at: usize,
}

impl NodeRead for Watched<'_> {
    type Error = MissingNode;

    fn node(&self, id: NodeId) -> Result<Node, MissingNode> {
        self.read.borrow_mut().push(id);
        if self.read.borrow().len() > self.fail_at { Err(MissingNode(id)) } else { self.nodes.node(id) }
    }
}

#[test]
fn known_roots() {
    let root = |map: &Map| to_hex(Grown::from(map).root().hash().as_bytes());
    let (zero, first, last) = (chancery_ledger::state::Key([0; 32]), one_bit(0, 0), one_bit(255, 0));
    assert_eq!(root(&Map::new()), "f299791cddd3d6664f6670842812ef6053eb6501bd6282a476bbbf3ee91e750c");
    assert_eq!(
        root(&Map::from([(zero, value(""))])),
        "c219e14f44abc4dea410e19034dd72c5040d48dfce9740cf31c14dbedecf07b3"
    );
    assert_eq!(
        root(&Map::from([(zero, value("zero")), (first, value("first")), (last, value("last"))])),
        "15ff9362bbcdb25d027e64c84d44dd2d838c004d9db70e05e01f10c0a7e8981f"
    );
}

#[test]
fn the_deepest_tree_there_can_be() {
    let mut map: Map = (0..=255).map(|bit| (one_bit(bit, 0), value("one"))).collect();
    map.insert(chancery_ledger::state::Key([0; 32]), value("zero"));
    let mut grown = Grown::from(&map);
    assert_eq!(grown.root().hash(), specified_root(&map));
    assert_eq!(verify_whole(&grown.nodes, grown.root()).unwrap(), 257);
    assert_eq!(Walk::new(&grown.nodes, grown.root()).count(), 513);
    grown.apply(&Batch::from([(one_bit(255, 0), Some(value("changed")))]));
    assert_eq!(get(&grown.nodes, grown.root(), &one_bit(255, 0)).unwrap(), Some(value("changed")));
    for bit in (0..=255).rev() {
        grown.apply(&Batch::from([(one_bit(bit, 0), None)]));
        map.remove(&one_bit(bit, 0));
        assert_eq!(grown.root().hash(), specified_root(&map));
    }
}

#[test]
fn a_value_has_its_limit() {
    let longest: Value = vec![1; VALUE_SIZE_BYTES_MAX].into();
    let grown = Grown::from(&Map::from([(one_bit(1, 0), longest.clone())]));
    assert_eq!(get(&grown.nodes, grown.root(), &one_bit(1, 0)).unwrap(), Some(longest));
    let too_long = Batch::from([(one_bit(1, 0), Some(vec![1; VALUE_SIZE_BYTES_MAX + 1].into()))]);
    let refused = update(&grown.nodes, grown.root(), NodeId(grown.next_id), &too_long);
    assert!(matches!(refused, Err(TreeError::ValueTooLong { size_bytes: 65_536, .. })));
}

#[test]
fn numbers_are_not_given_twice_and_can_end() {
    let grown = Grown::from(&Map::from([(one_bit(1, 0), value("a"))]));
    let batch = Batch::from([(one_bit(2, 0), Some(value("b")))]);
    let taken = update(&grown.nodes, grown.root(), NodeId(0), &batch);
    assert!(matches!(taken, Err(TreeError::Corrupt { .. })));
    let ended = update(&grown.nodes, grown.root(), NodeId(u64::MAX - 1), &batch);
    assert!(matches!(ended, Err(TreeError::IdsExhausted)));
}
