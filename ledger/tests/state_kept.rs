//! Trees that are cut out of what a reader keeps, against those that are cut out of the whole tree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod state_model;

use std::cell::Cell;
use std::collections::BTreeSet;

use chancery_ledger::hash::Hash;
use chancery_ledger::state::{
    KEPT_SIZE_BYTES_MAX, Kept, KeptError, Key, MemoryNodes, MissingNode, Node, NodeId, NodeRead, PrunedTree,
    Root, Sent, Value, decode_keys, encode_keys, prune,
};
use proptest::prelude::*;
use state_model::{Batch, Grown, Map, keys, one_bit, value, values};

/// One who has the tree, and a reader of it.
#[derive(Default)]
struct Reader {
    sent: Sent,
    kept: Kept,
}

impl Reader {
    /// What is sent for these keys of that version, and the tree that the reader makes of it.
    fn ask(&mut self, nodes: &MemoryNodes, root: Root, keys: &BTreeSet<Key>) -> (usize, PrunedTree) {
        let missing = self.sent.missing(nodes, root, keys).unwrap();
        if missing.forget {
            self.kept.forget();
        }
        self.kept.take(&missing.nodes).unwrap();
        (missing.nodes.len(), self.kept.cut(root.hash(), keys, usize::MAX).unwrap())
    }
}

fn batches() -> impl Strategy<Value = Batch> {
    proptest::collection::btree_map(keys(), proptest::option::of(values()), 0..12)
}

fn sought() -> impl Strategy<Value = BTreeSet<Key>> {
    proptest::collection::btree_set(keys(), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_cut_out_of_what_is_kept_is_what_is_cut_out_of_the_whole(
        steps in proptest::collection::vec((batches(), proptest::collection::vec(sought(), 1..4)), 1..12),
    ) {
        let (mut grown, mut reader, mut roots) = (Grown::default(), Reader::default(), Vec::new());
        for (batch, asked) in steps {
            grown.apply(&batch);
            roots.push(grown.root());
            for (number, keys) in asked.iter().enumerate() {
                // Of an older version, too: a quorum may have named one.
                let root = roots[roots.len().saturating_sub(1 + number)];
                let whole = prune(&grown.nodes, root, keys).unwrap();
                let (_, cut) = reader.ask(&grown.nodes, root, keys);
                prop_assert_eq!(&cut, &whole);
                // It is a tree for whoever was not there, too.
                prop_assert_eq!(PrunedTree::decode(&cut.encode(), usize::MAX), Ok(whole));
                // Nothing is sent twice, of whatever version.
                prop_assert_eq!(reader.ask(&grown.nodes, root, keys).0, 0);
            }
        }
    }

    #[test]
    fn no_byte_of_what_is_sent_can_be_another(
        map in proptest::collection::btree_map(keys(), values(), 1..12),
        keys in sought(),
        at in any::<prop::sample::Index>(),
        mask in 1..=255_u8,
    ) {
        let grown = Grown::from(&map);
        let whole = prune(&grown.nodes, grown.root(), &keys).unwrap();
        let mut nodes = Sent::default().missing(&grown.nodes, grown.root(), &keys).unwrap().nodes;
        prop_assume!(!nodes.is_empty());
        let at = at.index(nodes.len());
        nodes[at] ^= mask;
        let mut kept = Kept::default();
        let cut = kept.take(&nodes).and_then(|()| kept.cut(grown.root().hash(), &keys, usize::MAX));
        prop_assert!(cut.is_err(), "byte {} of {:?}, instead of {:?}", at, cut, whole);
    }

    #[test]
    fn keys_round_trip_and_nothing_else_is_read(keys in sought()) {
        let bytes = encode_keys(&keys);
        prop_assert_eq!(decode_keys(&bytes), Ok(keys.clone()));
        let longer = [&bytes[..], &[0]].concat();
        prop_assert_eq!(decode_keys(&longer), Err(KeptError::Keys));
        if let Some(last) = keys.last() {
            let twice = [&bytes[..], &last.0[..]].concat();
            prop_assert_eq!(decode_keys(&twice), Err(KeptError::Keys));
        }
    }
}

fn three() -> Grown {
    let keys = [one_bit(0, 0), one_bit(7, 0), one_bit(200, 0)];
    Grown::from(&Map::from(keys.map(|key| (key, value("what it says")))))
}

fn only(key: Key) -> BTreeSet<Key> {
    BTreeSet::from([key])
}

#[test]
fn a_value_is_sent_to_who_asks_for_it_and_to_nobody_else() {
    let (grown, mut reader) = (three(), Reader::default());
    // The lookup ends at another's leaf, which is shown without its value.
    let absent = one_bit(201, 0);
    let missing = Sent::default().missing(&grown.nodes, grown.root(), &only(absent)).unwrap();
    assert!(!missing.nodes.windows(12).any(|bytes| bytes == b"what it says"));
    reader.ask(&grown.nodes, grown.root(), &only(absent));
    let other = one_bit(200, 0);
    let early = reader.kept.cut(grown.root().hash(), &only(other), usize::MAX);
    assert!(matches!(early, Err(KeptError::Missing(_))), "{early:?}");
    // Asked for, it comes; and once it is there it is left out of what shows an absence.
    assert!(reader.ask(&grown.nodes, grown.root(), &only(other)).0 > 0);
    let (sent, cut) = reader.ask(&grown.nodes, grown.root(), &only(absent));
    assert_eq!((sent, cut), (0, prune(&grown.nodes, grown.root(), &only(absent)).unwrap()));
    // What shows an absence does not take the place of a value that is there.
    let mut kept = Kept::default();
    for key in [other, absent] {
        kept.take(&Sent::default().missing(&grown.nodes, grown.root(), &only(key)).unwrap().nodes).unwrap();
    }
    kept.cut(grown.root().hash(), &only(other), usize::MAX).unwrap();
}

#[test]
fn of_a_change_only_what_changed_is_sent() {
    let mut grown = Grown::from(&(0..=255).map(|bit| (one_bit(bit, 0), value("here"))).collect());
    let (mut reader, keys) = (Reader::default(), BTreeSet::from([one_bit(3, 0), one_bit(250, 0)]));
    let (first, _) = reader.ask(&grown.nodes, grown.root(), &keys);
    grown.apply(&Batch::from([(one_bit(3, 0), Some(value("there")))]));
    let (then, cut) = reader.ask(&grown.nodes, grown.root(), &keys);
    assert_eq!(cut, prune(&grown.nodes, grown.root(), &keys).unwrap());
    // Four inner nodes above it, and the leaf.
    assert_eq!(then, 4 * 66 + 35 + 5);
    assert!(first > 200 * 66, "{first}");
}

#[test]
fn who_keeps_too_much_is_told_to_forget_and_takes_no_more_before() {
    let large: Value = vec![7; 60_000].into();
    let mut grown = Grown::from(&(0..100).map(|bit| (one_bit(bit, 0), large.clone())).collect());
    let (mut reader, mut never_forgets, mut forgot) = (Reader::default(), Kept::default(), 0);
    let mut refused = None;
    for bit in 0..100 {
        let keys = only(one_bit(bit, 0));
        let missing = reader.sent.missing(&grown.nodes, grown.root(), &keys).unwrap();
        if refused.is_none() {
            refused = never_forgets.take(&missing.nodes).err();
        }
        if missing.forget {
            forgot += 1;
            assert_eq!(refused, Some(KeptError::TooMuch));
            reader.kept.forget();
        }
        reader.kept.take(&missing.nodes).unwrap();
        let cut = reader.kept.cut(grown.root().hash(), &keys, usize::MAX).unwrap();
        assert_eq!(cut, prune(&grown.nodes, grown.root(), &keys).unwrap());
    }
    assert_eq!(forgot, 100 * 60_000 / KEPT_SIZE_BYTES_MAX, "of six megabytes");
    // Who has the tree may say so at any time; then all is sent anew.
    reader.sent.forget();
    grown.apply(&Batch::new());
    let missing = reader.sent.missing(&grown.nodes, grown.root(), &only(one_bit(99, 0))).unwrap();
    assert!(missing.forget && missing.nodes.len() > 60_000);
    assert!(!reader.sent.missing(&grown.nodes, grown.root(), &only(one_bit(98, 0))).unwrap().forget);
}

/// Nodes whose reads fail after so many.
struct Failing<'a>(&'a MemoryNodes, Cell<u32>);

impl NodeRead for Failing<'_> {
    type Error = MissingNode;

    fn node(&self, id: NodeId) -> Result<Node, MissingNode> {
        match self.1.get().checked_sub(1) {
            Some(left) => self.1.set(left),
            None => return Err(MissingNode(id)),
        }
        self.0.node(id)
    }
}

#[test]
fn what_could_not_be_read_does_not_count_as_sent() {
    let (grown, keys) = (three(), only(one_bit(200, 0)));
    let mut sent = Sent::default();
    sent.missing(&Failing(&grown.nodes, Cell::new(2)), grown.root(), &keys).unwrap_err();
    let missing = sent.missing(&grown.nodes, grown.root(), &keys).unwrap();
    assert!(missing.forget);
    assert_eq!(missing.nodes, Sent::default().missing(&grown.nodes, grown.root(), &keys).unwrap().nodes);
}

#[test]
fn what_is_no_list_of_nodes_is_refused() {
    let (grown, keys) = (three(), only(one_bit(200, 0)));
    let nodes = Sent::default().missing(&grown.nodes, grown.root(), &keys).unwrap().nodes;
    for length in 1..nodes.len() {
        let mut kept = Kept::default();
        // It may end where a node does; then something is missing.
        let cut = kept.take(&nodes[..length]).and_then(|()| kept.cut(grown.root().hash(), &keys, usize::MAX));
        assert!(matches!(cut, Err(KeptError::Truncated | KeptError::Missing(_))), "{length}: {cut:?}");
    }
    for tag in [0, 4, 0xff] {
        assert_eq!(Kept::default().take(&[tag]), Err(KeptError::UnknownTag(tag)));
    }
    let mut kept = Kept::default();
    kept.take(&nodes).unwrap();
    let other = Hash::of(&[b"of another tree"]);
    assert_eq!(kept.cut(other, &keys, usize::MAX), Err(KeptError::Missing(other)));
    let whole = kept.cut(grown.root().hash(), &keys, usize::MAX).unwrap().encode().len();
    assert!(kept.cut(grown.root().hash(), &keys, whole).is_ok());
    assert_eq!(kept.cut(grown.root().hash(), &keys, whole - 1), Err(KeptError::TooLong));
}

#[test]
fn nodes_out_of_place_make_no_tree() {
    // A tree that hashes as it says and is none: the bit below is the one above.
    let leaf = |key: Key| [&[2], &key.0[..], &[0, 0]].concat();
    let leaf_hash = |key: Key| {
        let nodes = Grown::from(&Map::from([(key, Value::from([]))]));
        nodes.root().hash()
    };
    let (low, high) = (one_bit(9, 0), one_bit(5, 0));
    let inner = |bit: u8, left: Hash, right: Hash| {
        let bytes = [&[1, bit], &left.0[..], &right.0[..]].concat();
        (Hash::of(&[&[0x11, 0, bit], &left.0, &right.0]), bytes)
    };
    let (below, below_bytes) = inner(5, leaf_hash(low), leaf_hash(high));
    let (top, top_bytes) = inner(5, below, Hash::ZERO);
    let mut kept = Kept::default();
    kept.take(&[top_bytes, below_bytes, leaf(low), leaf(high)].concat()).unwrap();
    let cut = kept.cut(top, &only(low), usize::MAX);
    assert!(matches!(cut, Err(KeptError::Structure(_))), "{cut:?}");
    // By itself the lower one is a tree.
    kept.cut(below, &only(low), usize::MAX).unwrap();
}
