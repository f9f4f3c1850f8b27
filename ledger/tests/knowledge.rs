//! Knowledge: what is there can be shown, what is not there can be shown not to be, and nothing else can.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use chancery_ledger::command::Name;
use chancery_ledger::hash::Hash;
use chancery_ledger::knowledge::{
    Absence, AbsenceError, Claim, ITEMS_MAX, Item, Knowledge, KnowledgeError, KnowledgeFileError,
    KnowledgeProof, KnowledgeTree, KnowledgeTreeError, Placed, SHOWN_ITEMS_MAX, Subject,
};
use chancery_ledger::log::VerifyError;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn item(source: &str, digest: u8, retrieved_at_ms: u64) -> Item {
    Item { source: name(source), digest: Hash([digest; 32]), retrieved_at_ms }
}

/// Sources of which some are prefixes of others, so that the order matters.
fn items() -> impl Strategy<Value = Vec<Item>> {
    let one = ("(r/)?[ab]{1,3}", 0_u8..3, 0_u64..4);
    proptest::collection::vec(one.prop_map(|(source, digest, time_ms)| item(&source, digest, time_ms)), 1..40)
}

/// The leaf as `docs/formats.md` has it.
fn leaf(item: &Item) -> Vec<u8> {
    let source = item.source.as_str().as_bytes();
    let length = u16::try_from(source.len()).unwrap().to_be_bytes();
    [&length, source, &item.digest.0, &item.retrieved_at_ms.to_be_bytes()].concat()
}

/// The root as another tool makes it.
fn root_elsewhere(items: &BTreeSet<Item>) -> Hash {
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for item in items {
        tree.push(leaf(item));
    }
    let count = u32::try_from(items.len()).unwrap().to_be_bytes();
    let root: [u8; 32] = tree.root().as_bytes().to_vec().try_into().unwrap();
    Hash::labelled("chancery/knowledge/v1", &[&count, &root])
}

proptest! {
    #[test]
    fn what_is_there_is_shown_and_what_is_not_is_shown_not_to_be(items in items(), others in items()) {
        let set: BTreeSet<Item> = items.iter().cloned().collect();
        let tree = KnowledgeTree::new(items).unwrap();
        prop_assert_eq!(tree.items(), set.iter().cloned().collect::<Vec<_>>());
        prop_assert_eq!(tree.root(), root_elsewhere(&set));
        let (root, count) = (tree.root(), tree.count());
        for (index, item) in (0..).zip(&set) {
            let placed = tree.placed(index).unwrap();
            prop_assert_eq!(&placed.item, item);
            prop_assert_eq!(placed.verify(&root, count), Ok(()));
            prop_assert_eq!(tree.absence(&Subject::Item(item.clone())), None);
            prop_assert_eq!(tree.absence(&Subject::Source(item.source.clone())), None);
        }
        prop_assert_eq!(tree.placed(count), None);
        for other in others {
            let source = Subject::Source(other.source.clone());
            let subjects = [(source, set.iter().any(|item| item.source == other.source)),
                (Subject::Item(other.clone()), set.contains(&other))];
            for (subject, there) in subjects {
                let absence = tree.absence(&subject);
                prop_assert_eq!(absence.is_none(), there);
                if let Some(absence) = absence {
                    prop_assert_eq!(absence.verify(&subject, &root, count), Ok(()));
                }
                // No two neighbours, nor one end, show the absence of what is there.
                for index in 0..=count {
                    let before = index.checked_sub(1).and_then(|index| tree.placed(index));
                    let gap = Absence { before, after: tree.placed(index) };
                    prop_assert!(!there || gap.verify(&subject, &root, count).is_err());
                }
            }
        }
    }

    #[test]
    fn nothing_that_was_changed_is_shown(items in items(), place: prop::sample::Index, bit in 0_usize..8) {
        let tree = KnowledgeTree::new(items).unwrap();
        let (root, count) = (tree.root(), tree.count());
        let index = u32::try_from(place.index(count as usize)).unwrap();
        let placed = tree.placed(index).unwrap();
        let refused = |changed: &Placed| changed.verify(&root, count).is_err();
        let mut changed = placed.clone();
        changed.item.digest.0[bit] ^= 1 << bit;
        prop_assert!(refused(&changed));
        let later = Item { retrieved_at_ms: placed.item.retrieved_at_ms + 1, ..placed.item.clone() };
        let changed = Placed { item: later, ..placed.clone() };
        prop_assert!(refused(&changed));
        for other in (0..=count + 1).filter(|other| *other != index) {
            let changed = Placed { index: other, ..placed.clone() };
            prop_assert!(refused(&changed));
        }
        for other in (0..=count + 1).filter(|other| *other != count) {
            prop_assert!(placed.verify(&root, other).is_err());
        }
        let longer = Placed { path: [placed.path.clone(), vec![Hash::ZERO]].concat(), ..placed.clone() };
        prop_assert!(refused(&longer));
        for hash in 0..placed.path.len() {
            let mut changed = placed.clone();
            changed.path[hash].0[bit] ^= 1;
            prop_assert!(refused(&changed));
            changed.path.remove(hash);
            prop_assert!(refused(&changed));
        }
    }
}

#[test]
fn a_source_is_not_absent_because_its_neighbours_are_far_apart() {
    let tree = KnowledgeTree::new(vec![item("a", 0, 0), item("b", 0, 0), item("c", 0, 0)]).unwrap();
    let (root, count) = (tree.root(), tree.count());
    let placed = |index| tree.placed(index);
    let of = |before, after| Absence { before, after };
    let b = Subject::Source(name("b"));
    assert_eq!(of(placed(0), placed(2)).verify(&b, &root, count), Err(AbsenceError::NotAdjacent));
    assert_eq!(of(None, placed(2)).verify(&b, &root, count), Err(AbsenceError::NotAdjacent));
    assert_eq!(of(placed(0), None).verify(&b, &root, count), Err(AbsenceError::NotAdjacent));
    assert_eq!(of(None, None).verify(&b, &root, count), Err(AbsenceError::NotAdjacent));
    assert_eq!(of(placed(0), placed(1)).verify(&b, &root, count), Err(AbsenceError::NotBetween));
    assert_eq!(of(placed(1), placed(2)).verify(&b, &root, count), Err(AbsenceError::NotBetween));
    let elsewhere = of(placed(0), placed(1)).verify(&Subject::Source(name("bb")), &root, count);
    assert_eq!(elsewhere, Err(AbsenceError::NotBetween));
    let other_root = of(placed(0), placed(1)).verify(&Subject::Source(name("aa")), &Hash::ZERO, count);
    assert_eq!(other_root, Err(AbsenceError::Path(VerifyError::RootMismatch)));
}

#[test]
fn knowledge_has_its_bounds() {
    assert!(matches!(KnowledgeTree::new(Vec::new()), Err(KnowledgeTreeError::Empty)));
    let many = |count: u64| (0..count).map(|time_ms| item("a", 0, time_ms)).collect::<Vec<_>>();
    let tree = KnowledgeTree::new(many(ITEMS_MAX.into())).unwrap();
    assert_eq!(tree.placed(ITEMS_MAX - 1).unwrap().verify(&tree.root(), ITEMS_MAX), Ok(()));
    let too_many = KnowledgeTree::new(many(u64::from(ITEMS_MAX) + 1));
    assert!(matches!(too_many, Err(KnowledgeTreeError::TooMany)));

    let (root, count) = (tree.root(), tree.count());
    let shown =
        |range: std::ops::Range<u32>| range.filter_map(|index| tree.placed(index)).collect::<Vec<_>>();
    let most = u32::try_from(SHOWN_ITEMS_MAX).unwrap();
    assert!(Knowledge::new(root, count, shown(0..most)).is_ok());
    assert_eq!(Knowledge::new(root, count, shown(0..most + 1)), Err(KnowledgeError::TooManyShown));
    assert_eq!(Knowledge::new(root, 0, Vec::new()), Err(KnowledgeError::Count));
    assert_eq!(Knowledge::new(root, ITEMS_MAX + 1, Vec::new()), Err(KnowledgeError::Count));
    let back = shown(3..5).into_iter().rev().collect();
    assert_eq!(Knowledge::new(root, count, back), Err(KnowledgeError::Unsorted));
    let twice = vec![tree.placed(3).unwrap(), tree.placed(3).unwrap()];
    assert_eq!(Knowledge::new(root, count, twice), Err(KnowledgeError::Unsorted));
    let elsewhere = Knowledge::new(Hash::ZERO, count, shown(3..4)).unwrap_err();
    let error = VerifyError::RootMismatch;
    assert_eq!(elsewhere, KnowledgeError::Path { source_name: name("a"), error });
}

#[test]
fn the_newest_item_of_a_source_is_shown() {
    let items = vec![item("a", 1, 5), item("a", 0, 9), item("b", 0, 3), item("c", 0, 4)];
    let tree = KnowledgeTree::new(items).unwrap();
    let sources = [name("c"), name("a"), name("a"), name("nowhere")];
    let knowledge = tree.show(&sources).unwrap();
    assert_eq!((knowledge.root(), knowledge.count()), (tree.root(), 4));
    let shown: Vec<_> = knowledge.shown().iter().map(|placed| placed.item.clone()).collect();
    assert_eq!(shown, [item("a", 0, 9), item("c", 0, 4)]);
    assert_eq!(knowledge.newest_of(&name("a"), 9), Some(9));
    // What is later than the time that is asked about was not there.
    assert_eq!(knowledge.newest_of(&name("a"), 8), None);
    assert_eq!(knowledge.newest_of(&name("b"), 9), None);
}

#[test]
fn a_proof_is_a_file_and_a_changed_file_shows_nothing() {
    let items = vec![item("a", 1, 5), item("a", 0, 9), item("b", 0, 3), item("c", 0, 4)];
    let tree = KnowledgeTree::new(items.clone()).unwrap();
    let subjects = [
        (Subject::Source(name("a")), true),
        (Subject::Source(name("aa")), false),
        (Subject::Source(name("0")), false),
        (Subject::Source(name("d")), false),
        (Subject::Item(item("a", 1, 5)), true),
        (Subject::Item(item("a", 1, 6)), false),
    ];
    for (subject, there) in subjects {
        let proof = tree.prove(subject).unwrap();
        assert_eq!(matches!(proof.claim, Claim::Present(_)), there);
        proof.verify().unwrap();
        let text = proof.to_json();
        assert_eq!(KnowledgeProof::from_json(text.as_bytes()).unwrap(), proof);
        // Every digit counts: a proof with another is no file, or shows nothing, or is about something else.
        let elsewhere = |changed: &KnowledgeProof| match (&changed.claim, &proof.claim) {
            (Claim::Absent { subject, .. }, Claim::Absent { subject: asked, .. }) => subject != asked,
            _ => false,
        };
        for (place, byte) in text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_hexdigit()) {
            let mut changed = text.clone().into_bytes();
            changed[place] = if byte == b'7' { b'8' } else { b'7' };
            let shown = KnowledgeProof::from_json(&changed);
            let nothing = |changed: KnowledgeProof| changed.verify().is_err() || elsewhere(&changed);
            assert!(shown.map_or(true, nothing), "{place} of {text}");
        }
    }
    let newest = tree.prove(Subject::Source(name("a"))).unwrap();
    let Claim::Present(placed) = newest.claim else { panic!() };
    assert_eq!(placed.item.retrieved_at_ms, 9);

    let text = tree.prove(Subject::Source(name("aa"))).unwrap().to_json();
    let bad = [
        text.replace("\"count\": 4", "\"count\": 4, \"more\": 1"),
        text.replace("chancery-knowledge/v1", "chancery-knowledge/v2"),
        text.replace("\"source\": \"aa\",", ""),
        text.replace("\"source\": \"aa\"", "\"source\": \"a a\""),
        text.replace("\"absent\"", "\"present\""),
        " ".repeat(16 * 1024) + &text,
    ];
    for text in bad {
        assert!(KnowledgeProof::from_json(text.as_bytes()).is_err(), "{text}");
    }

    let list: String = items.iter().map(|item| item.to_json() + "\n\n").collect();
    assert_eq!(Item::list_from_json(list.as_bytes()).unwrap(), items);
    let line = items[0].to_json() + "\n";
    let most = ITEMS_MAX as usize;
    assert_eq!(Item::list_from_json(line.repeat(most).as_bytes()).unwrap().len(), most);
    let more = Item::list_from_json(line.repeat(most + 1).as_bytes());
    assert!(matches!(more, Err(KnowledgeFileError::TooMany)));
    assert!(matches!(Item::list_from_json(b"[\"a\"]"), Err(KnowledgeFileError::Json(_))));
}
