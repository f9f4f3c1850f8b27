//! Pruned trees against a plain map, and against whoever would make them say something else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod state_model;

use std::collections::BTreeSet;

use chancery_ledger::hash::Hash;
use chancery_ledger::state::{
    Defect, Key, PrunedDecodeError, PrunedReadError, PrunedTree, PrunedView, Recording, Root, UnusedError,
    VALUE_SIZE_BYTES_MAX, get, prune,
};
use proptest::prelude::*;
use state_model::{Batch, Grown, Map, keys, one_bit, value, values};

const ANY_SIZE: usize = usize::MAX;

fn maps() -> impl Strategy<Value = Map> {
    proptest::collection::btree_map(keys(), values(), 0..40)
}

/// Reads `keys` and then accounts for every node.
fn read_all(tree: &PrunedTree, keys: &BTreeSet<Key>) -> Result<Map, String> {
    let view = PrunedView::new(tree);
    let mut found = Map::new();
    for key in keys {
        if let Some(value) = view.get(key).map_err(|error| error.to_string())? {
            found.insert(*key, value);
        }
    }
    view.finish().map_err(|error| error.to_string())?;
    Ok(found)
}

/// The keys to read: some of a map's own, and some others.
fn read_set(map: &Map, own: &[prop::sample::Index], others: &BTreeSet<Key>) -> BTreeSet<Key> {
    let own: Vec<Key> = if map.is_empty() {
        Vec::new()
    } else {
        own.iter().map(|index| *map.keys().nth(index.index(map.len())).unwrap()).collect()
    };
    own.into_iter().chain(others.iter().copied()).collect()
}

fn within(map: &Map, keys: &BTreeSet<Key>) -> Map {
    keys.iter().filter_map(|key| Some((*key, map.get(key)?.clone()))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_pruned_tree_answers_its_reads_as_the_whole_tree_does(
        map in maps(),
        own in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        others in proptest::collection::btree_set(keys(), 0..8),
    ) {
        let grown = Grown::from(&map);
        let recording = Recording::new(&grown.nodes, grown.root());
        for key in read_set(&map, &own, &others) {
            prop_assert_eq!(recording.get(&key).unwrap(), map.get(&key).cloned());
        }
        let keys = recording.into_keys();
        prop_assert_eq!(&keys, &read_set(&map, &own, &others));

        let pruned = prune(&grown.nodes, grown.root(), &keys).unwrap();
        let bytes = pruned.encode();
        let decoded = PrunedTree::decode(&bytes, bytes.len()).unwrap();
        prop_assert_eq!(&decoded, &pruned);
        prop_assert_eq!(decoded.root_hash(), grown.root().hash());
        prop_assert_eq!(read_all(&decoded, &keys), Ok(within(&map, &keys)));
        prop_assert_eq!(PrunedTree::decode(&bytes, bytes.len() - 1), Err(PrunedDecodeError::TooLong));

        // No value is shown that was not read.
        for (key, value) in &map {
            let shown = PrunedView::new(&decoded).get(key);
            match shown {
                Ok(shown) => prop_assert!(shown.as_ref() == Some(value) && keys.contains(key)),
                Err(PrunedReadError::ValueWithheld(_) | PrunedReadError::Pruned(_)) => {
                    prop_assert!(!keys.contains(key));
                }
            }
        }
    }

    /// Someone who has the whole tree prunes it for other reads than the reader's: nothing but the one
    /// honest form passes, and until something fails every answer is true.
    #[test]
    fn each_read_set_has_one_form(
        map in maps(),
        own in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        others in proptest::collection::btree_set(keys(), 0..6),
        pruned_own in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        pruned_others in proptest::collection::btree_set(keys(), 0..6),
        is_close in any::<bool>(),
    ) {
        let grown = Grown::from(&map);
        let keys = read_set(&map, &own, &others);
        let mut pruned_for = read_set(&map, &pruned_own, &pruned_others);
        if is_close {
            pruned_for = keys.iter().copied().chain(pruned_for).skip(pruned_own.len() % 2).collect();
        }
        let pruned = prune(&grown.nodes, grown.root(), &pruned_for).unwrap();
        let decoded = PrunedTree::decode(&pruned.encode(), ANY_SIZE).unwrap();
        let view = PrunedView::new(&decoded);
        for key in &keys {
            if let Ok(answer) = view.get(key) {
                prop_assert_eq!(answer, map.get(key).cloned());
            }
        }
        let honest = prune(&grown.nodes, grown.root(), &keys).unwrap();
        prop_assert_eq!(read_all(&decoded, &keys).is_ok(), decoded == honest);
    }

    #[test]
    fn no_change_of_bytes_keeps_the_root(
        map in proptest::collection::btree_map(keys(), values(), 0..12),
        own in proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
        others in proptest::collection::btree_set(keys(), 0..3),
    ) {
        let grown = Grown::from(&map);
        let keys = read_set(&map, &own, &others);
        let bytes = prune(&grown.nodes, grown.root(), &keys).unwrap().encode();
        let root = grown.root().hash();
        let is_refused = |changed: &[u8]| {
            changed == bytes || PrunedTree::decode(changed, ANY_SIZE).map_or(true, |tree| tree.root_hash() != root)
        };
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                prop_assert!(is_refused(&flipped), "flipped bit {bit} of byte {at}");
            }
            for tag in 0..=6 {
                let mut set = bytes.clone();
                set[at] = tag;
                prop_assert!(is_refused(&set), "byte {at} set to {tag}");
            }
            let dropped = [&bytes[..at], &bytes[at + 1..]].concat();
            prop_assert!(is_refused(&dropped), "dropped byte {at}");
            let doubled = [&bytes[..at], &bytes[at..=at], &bytes[at..]].concat();
            prop_assert!(is_refused(&doubled), "doubled byte {at}");
            prop_assert!(PrunedTree::decode(&bytes[..at], ANY_SIZE).is_err(), "cut at byte {at}");
            prop_assert!(is_refused(&bytes[at..]), "begun at byte {at}");
        }
        prop_assert_eq!(
            PrunedTree::decode(&[&bytes[..], &bytes[..]].concat(), ANY_SIZE),
            Err(PrunedDecodeError::TrailingBytes)
        );
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(parts in proptest::collection::vec(parts(), 0..12)) {
        let bytes = parts.concat();
        if let Ok(tree) = PrunedTree::decode(&bytes, ANY_SIZE) {
            prop_assert_eq!(tree.encode(), bytes);
            let view = PrunedView::new(&tree);
            for bit in 0..=255 {
                let _ = view.get(&one_bit(bit, 0));
            }
            let _ = view.finish();
        }
    }
}

/// Encoded nodes in any order, more or less.
fn parts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0..20_u8).prop_map(inner),
        4 => any::<bool>().prop_map(|left| beside_bare(if left { 6 } else { 7 })),
        2 => keys().prop_map(|key| leaf(key, "v")),
        2 => keys().prop_map(withheld),
        4 => Just(bare()),
        1 => Just(vec![5]),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

fn inner(bit: u8) -> Vec<u8> {
    vec![1, bit]
}

/// An inner node at the next bit, with a bare left (6) or right (7) side.
fn beside_bare(tag: u8) -> Vec<u8> {
    [&[tag], &[9; 32][..]].concat()
}

fn leaf(key: Key, text: &str) -> Vec<u8> {
    [&[2], &key.0[..], &u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

fn withheld(key: Key) -> Vec<u8> {
    [&[3], &key.0[..], &[8; 32]].concat()
}

fn bare() -> Vec<u8> {
    [&[4], &[9; 32][..]].concat()
}

#[test]
fn impossible_trees_are_refused() {
    let decode = |parts: &[Vec<u8>]| PrunedTree::decode(&parts.concat(), ANY_SIZE).map(|_| ());
    let (zero, first, ninth, last) = (Key([0; 32]), one_bit(0, 0), one_bit(9, 0), one_bit(255, 0));
    let misplaced = Err(PrunedDecodeError::Structure(Defect::KeyMisplaced));
    let not_growing = Err(PrunedDecodeError::Structure(Defect::BitNotGrowing));

    assert_eq!(decode(&[inner(9), withheld(zero), withheld(ninth)]), Ok(()));
    assert_eq!(decode(&[inner(9), withheld(ninth), withheld(zero)]), misplaced, "wrong way round");
    assert_eq!(decode(&[inner(8), withheld(zero), withheld(ninth)]), misplaced, "part elsewhere");
    assert_eq!(decode(&[inner(9), withheld(zero), withheld(zero)]), misplaced, "one key twice");
    assert_eq!(decode(&[inner(9), withheld(ninth), bare()]), misplaced, "wrong side");
    assert_eq!(decode(&[inner(9), bare(), withheld(zero)]), misplaced, "wrong side");
    let mut both = first;
    both.0[1] |= 0x40;
    assert_eq!(decode(&[inner(9), withheld(zero), withheld(both)]), misplaced, "part before");
    // The key that parts from the others is not the first beneath its parent.
    let nested = [inner(9), bare(), inner(255), bare(), withheld(last)];
    assert_eq!(decode(&nested), misplaced, "wrong side of a far parent");
    let nested = [inner(9), inner(20), withheld(zero), bare(), inner(20), withheld(both), bare()];
    assert_eq!(decode(&nested), misplaced, "no common prefix");

    assert_eq!(decode(&[inner(9), inner(9), withheld(zero), bare(), bare()]), not_growing);
    assert_eq!(decode(&[inner(9), bare(), inner(8), withheld(ninth), bare()]), not_growing);
    assert_eq!(decode(&[inner(9), inner(0), withheld(zero), bare(), bare()]), not_growing);

    assert_eq!(decode(&[inner(9), bare(), bare()]), Err(PrunedDecodeError::NothingOpened));
    let nested = [inner(9), inner(10), bare(), bare(), withheld(ninth)];
    assert_eq!(decode(&nested), Err(PrunedDecodeError::NothingOpened));
    let empty = Err(PrunedDecodeError::MisplacedEmpty);
    assert_eq!(decode(&[inner(9), vec![5], withheld(ninth)]), empty);
    assert_eq!(decode(&[vec![4], Root::EMPTY.hash().0.to_vec()]), empty, "empty as a bare hash");
    assert_eq!(decode(&[]), Err(PrunedDecodeError::Truncated));
    assert_eq!(decode(&[vec![0]]), Err(PrunedDecodeError::UnknownTag(0)));
    assert_eq!(decode(&[vec![8]]), Err(PrunedDecodeError::UnknownTag(8)));
    assert_eq!(decode(&[vec![6]]), Err(PrunedDecodeError::Truncated));
    assert_eq!(decode(&[beside_bare(7)]), Err(PrunedDecodeError::Truncated));
    assert_eq!(decode(&[vec![1; 100_000]]), Err(PrunedDecodeError::Truncated));
}

#[test]
fn an_inner_node_has_one_form() {
    let decode = |parts: &[Vec<u8>]| PrunedTree::decode(&parts.concat(), ANY_SIZE).map(|_| ());
    let (zero, first, last) = (Key([0; 32]), one_bit(0, 0), one_bit(255, 0));
    let long = Err(PrunedDecodeError::LongForm);
    // At the root the next bit is 0, below it the one after the parent's.
    assert_eq!(decode(&[beside_bare(7), withheld(zero)]), Ok(()));
    assert_eq!(decode(&[beside_bare(6), withheld(first)]), Ok(()));
    assert_eq!(decode(&[inner(0), withheld(zero), bare()]), long);
    assert_eq!(decode(&[inner(0), bare(), withheld(first)]), long);
    assert_eq!(decode(&[inner(9), beside_bare(7), withheld(zero), bare()]), Ok(()));
    assert_eq!(decode(&[inner(9), inner(10), withheld(zero), bare(), bare()]), long);
    assert_eq!(decode(&[inner(9), bare(), inner(10), withheld(one_bit(9, 0)), bare()]), long);
    // What has no bare side, or stands elsewhere, has the long form alone.
    assert_eq!(decode(&[inner(0), withheld(zero), withheld(first)]), Ok(()));
    assert_eq!(decode(&[inner(1), withheld(zero), bare()]), Ok(()));
    // The wrong side, two bare sides, and what has no next bit.
    let misplaced = Err(PrunedDecodeError::Structure(Defect::KeyMisplaced));
    assert_eq!(decode(&[beside_bare(6), withheld(zero)]), misplaced);
    assert_eq!(decode(&[beside_bare(7), bare()]), Err(PrunedDecodeError::NothingOpened));
    let not_growing = Err(PrunedDecodeError::Structure(Defect::BitNotGrowing));
    assert_eq!(decode(&[inner(255), withheld(zero), beside_bare(6), withheld(last)]), not_growing);
}

#[test]
fn withheld_and_pruned_are_errors_and_never_absence() {
    let (zero, ninth, last) = (Key([0; 32]), one_bit(9, 0), one_bit(255, 0));
    let map = Map::from([(zero, value("zero")), (last, value("last"))]);
    let grown = Grown::from(&map);
    // Looking up the ninth ends at zero's leaf, and shows no more of it than its value's hash.
    let pruned = prune(&grown.nodes, grown.root(), &BTreeSet::from([ninth])).unwrap();
    assert!(!pruned.encode().windows(4).any(|window| window == b"zero"));
    let view = PrunedView::new(&pruned);
    assert_eq!(view.get(&ninth), Ok(None));
    assert_eq!(view.get(&zero), Err(PrunedReadError::ValueWithheld(zero)));
    assert_eq!(view.get(&last), Err(PrunedReadError::Pruned(last)));
    assert_eq!(view.finish(), Ok(()));
}

#[test]
fn what_was_not_needed_is_refused() {
    let (zero, ninth, last) = (Key([0; 32]), one_bit(9, 0), one_bit(255, 0));
    let map = Map::from([(zero, value("zero")), (last, value("last"))]);
    let grown = Grown::from(&map);
    let finish_after = |pruned_for: &[Key], reads: &[Key]| {
        let tree = prune(&grown.nodes, grown.root(), &pruned_for.iter().copied().collect()).unwrap();
        let view = PrunedView::new(&tree);
        for key in reads {
            let _ = view.get(key);
        }
        view.finish()
    };
    assert_eq!(finish_after(&[zero, last], &[zero]), Err(UnusedError(last)));
    assert_eq!(finish_after(&[zero], &[ninth]), Err(UnusedError(zero)), "a value for an absence");
    assert_eq!(finish_after(&[ninth], &[]), Err(UnusedError(zero)));
    assert_eq!(finish_after(&[ninth], &[zero]), Err(UnusedError(zero)), "a failed read uses nothing");
    assert_eq!(finish_after(&[zero], &[zero, ninth]), Ok(()));
    assert_eq!(finish_after(&[], &[]), Ok(()));
}

#[test]
fn the_smallest_trees() {
    let key = one_bit(7, 0);
    let empty = prune(&Grown::default().nodes, Root::EMPTY, &BTreeSet::from([key])).unwrap();
    assert_eq!(empty.encode(), [5]);
    assert_eq!(PrunedTree::decode(&[5], 1), Ok(empty.clone()));
    assert_eq!(empty.root_hash(), Root::EMPTY.hash());
    assert_eq!(read_all(&empty, &BTreeSet::from([key])), Ok(Map::new()));

    let map = Map::from([(key, value("only"))]);
    let grown = Grown::from(&map);
    let shown = prune(&grown.nodes, grown.root(), &BTreeSet::from([key])).unwrap();
    assert_eq!(shown.encode(), leaf(key, "only"));
    assert_eq!(read_all(&shown, &BTreeSet::from([key])), Ok(map));
    let absent = prune(&grown.nodes, grown.root(), &BTreeSet::from([one_bit(8, 0)])).unwrap();
    assert_eq!(absent.encode(), [&[3], &key.0[..], &Hash::of(&[b"only"]).0].concat());
    let unread = prune(&grown.nodes, grown.root(), &BTreeSet::new()).unwrap();
    assert_eq!(unread.encode(), [&[4], &grown.root().hash().0[..]].concat());
    assert_eq!(PrunedView::new(&unread).get(&key), Err(PrunedReadError::Pruned(key)));
}

#[test]
fn the_deepest_tree_and_the_longest_value() {
    let mut map: Map = (0..=255).map(|bit| (one_bit(bit, 0), value("one"))).collect();
    map.insert(one_bit(255, 0), vec![7; VALUE_SIZE_BYTES_MAX].into());
    map.insert(Key([0; 32]), value(""));
    let mut grown = Grown::from(&map);
    for keys in [BTreeSet::from([one_bit(255, 0), one_bit(255, 0xff)]), map.keys().copied().collect()] {
        let pruned = prune(&grown.nodes, grown.root(), &keys).unwrap();
        let decoded = PrunedTree::decode(&pruned.encode(), ANY_SIZE).unwrap();
        assert_eq!(decoded.root_hash(), grown.root().hash());
        assert_eq!(read_all(&decoded, &keys), Ok(within(&map, &keys)));
    }
    // An old version proves what it proved.
    let old = grown.root();
    grown.apply(&Batch::from([(one_bit(255, 0), None)]));
    let keys = BTreeSet::from([one_bit(255, 0)]);
    for (root, is_there) in [(old, true), (grown.root(), false)] {
        let pruned = prune(&grown.nodes, root, &keys).unwrap();
        assert_eq!(PrunedView::new(&pruned).get(&one_bit(255, 0)).unwrap().is_some(), is_there);
        assert_eq!(get(&grown.nodes, root, &one_bit(255, 0)).unwrap().is_some(), is_there);
    }
}
