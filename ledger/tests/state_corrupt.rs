//! Trees that are not as they should be: found out, and never a panic or an endless loop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod state_model;

use std::collections::BTreeSet;

use chancery_ledger::hash::Hash;
use chancery_ledger::state::{
    Child, Defect, Key, MemoryNodes, Node, NodeId, Root, TreeError, Update, Walk, get, prune, update,
    verify_whole,
};
use proptest::prelude::*;
use state_model::{Batch, Grown, keys, one_bit, value, values};

/// Puts nodes in place of what was there, from number 0 up.
fn put(nodes: &mut MemoryNodes, new: impl IntoIterator<Item = (NodeId, Node)>) {
    let new = new.into_iter().collect();
    nodes.insert(&Update { root: Root::EMPTY, new, stale: Vec::new(), next_id: NodeId(0) });
}

/// Changes one node.
#[derive(Clone, Debug)]
enum Corruption {
    Bit(u8),
    Swap,
    LeftIs(prop::sample::Index),
    RightIs(prop::sample::Index),
    KeyBit(u8),
    Value,
    Replace(prop::sample::Index),
}

fn corruptions() -> impl Strategy<Value = Corruption> {
    prop_oneof![
        any::<u8>().prop_map(Corruption::Bit),
        Just(Corruption::Swap),
        any::<prop::sample::Index>().prop_map(Corruption::LeftIs),
        any::<prop::sample::Index>().prop_map(Corruption::RightIs),
        any::<u8>().prop_map(Corruption::KeyBit),
        Just(Corruption::Value),
        any::<prop::sample::Index>().prop_map(Corruption::Replace),
    ]
}

fn corrupted(visited: &[(NodeId, Node)], node: &Node, corruption: &Corruption) -> Node {
    let other = |index: &prop::sample::Index| {
        let (id, node) = index.get(visited);
        Child { id: *id, hash: node.hash() }
    };
    match (node.clone(), corruption) {
        (_, Corruption::Replace(index)) => index.get(visited).1.clone(),
        (Node::Inner { left, right, .. }, Corruption::Bit(bit)) => Node::Inner { bit: *bit, left, right },
        (Node::Inner { bit, right, .. }, Corruption::LeftIs(index)) => {
            Node::Inner { bit, left: other(index), right }
        }
        (Node::Inner { bit, left, .. }, Corruption::RightIs(index)) => {
            Node::Inner { bit, left, right: other(index) }
        }
        (Node::Inner { bit, left, right }, _) => Node::Inner { bit, left: right, right: left },
        (Node::Leaf { key, value }, Corruption::KeyBit(bit)) => {
            let mut flipped = key;
            flipped.0[usize::from(bit / 8)] ^= 0x80 >> (bit % 8);
            Node::Leaf { key: flipped, value }
        }
        (Node::Leaf { key, .. }, _) => Node::Leaf { key, value: value("something else") },
    }
}

/// Gives every node the hash that it has, as far down as that is possible, so that only structure can
/// tell that something is wrong.
fn rehashed(nodes: &mut MemoryNodes, at: NodeId, depth: usize) -> Option<Child> {
    use chancery_ledger::state::NodeRead;
    let node = nodes.node(at).ok()?;
    let node = match &node {
        Node::Inner { bit, left, right } => {
            let below = depth.checked_sub(1)?;
            let left = rehashed(nodes, left.id, below)?;
            let right = rehashed(nodes, right.id, below)?;
            Node::Inner { bit: *bit, left, right }
        }
        leaf => leaf.clone(),
    };
    let hash = node.hash();
    put(nodes, [(at, node)]);
    Some(Child { id: at, hash })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_corrupt_node_is_found_out(
        map in proptest::collection::btree_map(keys(), values(), 1..20),
        victim in any::<prop::sample::Index>(),
        corruption in corruptions(),
        asked in proptest::collection::btree_set(keys(), 1..20),
    ) {
        let mut grown = Grown::from(&map);
        let visited: Vec<_> = Walk::new(&grown.nodes, grown.root()).map(Result::unwrap).collect();
        let (id, node) = victim.get(&visited);
        let changed = corrupted(&visited, node, &corruption);
        prop_assume!(changed.hash() != node.hash());
        put(&mut grown.nodes, [(*id, changed)]);

        let found = verify_whole(&grown.nodes, grown.root());
        let is_found = matches!(found, Err(TreeError::Corrupt { .. }));
        prop_assert!(is_found, "{:?}", found);

        // The others may or may not notice; they return.
        let batch: Batch = asked.iter().map(|key| (*key, Some(value("new")))).collect();
        let batch: Batch = batch.into_iter().chain(map.keys().map(|key| (*key, None))).collect();
        let _ = update(&grown.nodes, grown.root(), NodeId(grown.next_id), &batch);
        let _ = prune(&grown.nodes, grown.root(), &asked);
        for key in asked.iter().chain(map.keys()) {
            let _ = get(&grown.nodes, grown.root(), key);
        }
    }

    #[test]
    fn a_wrong_shape_is_found_out_even_if_all_hashes_fit(
        map in proptest::collection::btree_map(keys(), values(), 1..12),
        victim in any::<prop::sample::Index>(),
        corruption in corruptions(),
    ) {
        let mut grown = Grown::from(&map);
        let visited: Vec<_> = Walk::new(&grown.nodes, grown.root()).map(Result::unwrap).collect();
        let (id, node) = victim.get(&visited);
        put(&mut grown.nodes, [(*id, corrupted(&visited, node, &corruption))]);
        let top_id = grown.root().child.unwrap().id;
        let Some(top) = rehashed(&mut grown.nodes, top_id, 300) else { return Ok(()) };
        let root = Root { child: Some(top) };
        // Whatever is accepted is the one tree that its leaves have.
        if verify_whole(&grown.nodes, root).is_ok() {
            let map = chancery_ledger::state::leaves(&grown.nodes, root).map(Result::unwrap).collect();
            prop_assert_eq!(Grown::from(&map).root().hash(), root.hash());
        }
    }
}

fn defect<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, TreeError<E>>) -> Defect {
    match result {
        Err(TreeError::Corrupt { defect, .. }) => defect,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cycle_is_not_followed() {
    let mut nodes = MemoryNodes::new();
    let itself = Child { id: NodeId(0), hash: Hash::ZERO };
    put(&mut nodes, [(NodeId(0), Node::Inner { bit: 3, left: itself, right: itself })]);
    let root = Root { child: Some(itself) };
    let key = Key([0; 32]);
    assert_eq!(defect(get(&nodes, root, &key)), Defect::BitNotGrowing);
    assert_eq!(defect(prune(&nodes, root, &BTreeSet::from([key]))), Defect::BitNotGrowing);
    let batch = Batch::from([(key, None)]);
    assert_eq!(defect(update(&nodes, root, NodeId(1), &batch)), Defect::BitNotGrowing);
    assert_eq!(defect(verify_whole(&nodes, root)), Defect::HashMismatch);
}

#[test]
fn a_key_on_the_wrong_side_is_an_error_everywhere() {
    let (low, high) = (one_bit(9, 0), one_bit(0, 0));
    let mut nodes = MemoryNodes::new();
    let leaves = [high, low].map(|key| Node::Leaf { key, value: value("x") });
    let [left, right] =
        [(0, &leaves[0]), (1, &leaves[1])].map(|(id, leaf)| Child { id: NodeId(id), hash: leaf.hash() });
    put(&mut nodes, [NodeId(0), NodeId(1)].into_iter().zip(leaves));
    let top = Node::Inner { bit: 0, left, right };
    let root = Root { child: Some(Child { id: NodeId(2), hash: top.hash() }) };
    put(&mut nodes, [(NodeId(2), top)]);
    for key in [low, high] {
        assert_eq!(defect(get(&nodes, root, &key)), Defect::KeyMisplaced);
        assert_eq!(defect(prune(&nodes, root, &BTreeSet::from([key]))), Defect::KeyMisplaced);
        let batch = Batch::from([(key, None)]);
        assert_eq!(defect(update(&nodes, root, NodeId(3), &batch)), Defect::KeyMisplaced);
    }
    assert_eq!(defect(verify_whole(&nodes, root)), Defect::KeyMisplaced);
}

#[test]
fn two_sides_that_do_not_belong_together_are_an_error() {
    // Each leaf is on its right side of bit 9, but they part at bit 0 already.
    let (low, mut high) = (Key([0; 32]), one_bit(0, 0));
    high.0[1] = 0x40;
    let mut nodes = MemoryNodes::new();
    let leaves = [low, high].map(|key| Node::Leaf { key, value: value("x") });
    let [left, right] =
        [(0, &leaves[0]), (1, &leaves[1])].map(|(id, leaf)| Child { id: NodeId(id), hash: leaf.hash() });
    put(&mut nodes, [NodeId(0), NodeId(1)].into_iter().zip(leaves));
    let top = Node::Inner { bit: 9, left, right };
    let root = Root { child: Some(Child { id: NodeId(2), hash: top.hash() }) };
    put(&mut nodes, [(NodeId(2), top)]);

    let batch = Batch::from([(low, None), (one_bit(9, 0), None)]);
    assert_eq!(defect(update(&nodes, root, NodeId(3), &batch)), Defect::KeyMisplaced);
    let both = BTreeSet::from([low, one_bit(9, 0)]);
    assert_eq!(defect(prune(&nodes, root, &both)), Defect::KeyMisplaced);
    assert_eq!(defect(verify_whole(&nodes, root)), Defect::KeyMisplaced);
}

#[test]
fn a_walk_ends_with_its_first_error() {
    let map = (0..8).map(|bit| (one_bit(bit, 0), value("x"))).collect();
    let mut grown = Grown::from(&map);
    let whole: Vec<_> = Walk::new(&grown.nodes, grown.root()).map(Result::unwrap).collect();
    grown.nodes.forget(&[whole[3].0]);
    let visited: Vec<_> = Walk::new(&grown.nodes, grown.root()).map(|visited| visited.is_ok()).collect();
    assert_eq!(visited, [true, true, true, false]);
}
