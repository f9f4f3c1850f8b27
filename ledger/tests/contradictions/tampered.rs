//! Every byte of the file counts: whatever is changed, it convicts nobody, or it still says exactly the same.

use chancery_ledger::authority::Block;
use chancery_ledger::command::Body;
use chancery_ledger::evidence::{CONTRADICTION_SIZE_BYTES_MAX, Contradiction, ContradictionFileError};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::Head;
use proptest::prelude::*;

use super::{fresh, pair, sign};
use crate::house::{House, key, name};

fn two_heads(house: &House) -> Contradiction {
    let head = *house.head();
    let other = Head { state_root: Hash::of(&[b"x"]), ..head };
    pair(house, sign(2, (1, 1), fresh(0, head.roster), head), sign(2, (1, 2), None, other)).unwrap()
}

fn two_blocks(house: &mut House) -> Contradiction {
    let command = house.signed("operator-1", Body::RetireAgent { agent: name("team/a") });
    let block = |stamp_ms| {
        let (commands, head) = (vec![command.clone()], (0, house.head().hash()));
        Block::propose(house.ledger, Hash::ZERO, stamp_ms, (2, 1), head, commands, &key("node-2"))
    };
    pair(house, block(1), block(2)).unwrap()
}

/// What changed bytes convict of must be what they did before; and how many of them were files at all.
fn every_change_convicts_nobody(house: &House, contradiction: &Contradiction) {
    let text = contradiction.to_json().into_bytes();
    assert_eq!(&Contradiction::from_json(&text).unwrap(), contradiction);
    contradiction.verify(&house.trust).unwrap();
    let mut files = 0;
    for at in 0..text.len() {
        let flips = (0..8).map(|bit| {
            let mut changed = text.clone();
            changed[at] ^= 1 << bit;
            changed
        });
        let dropped = [&text[..at], &text[at + 1..]].concat();
        let doubled = [&text[..=at], &text[at..]].concat();
        for changed in flips.chain([dropped, doubled, text[..at].to_vec()]) {
            let Ok(read) = Contradiction::from_json(&changed) else { continue };
            files += 1;
            assert!(read == *contradiction || read.verify(&house.trust).is_err(), "byte {at}");
        }
    }
    assert!(files > text.len(), "most changes in signatures and hashes are files: {files}");
}

#[test]
fn no_byte_of_two_statements_can_be_changed() {
    let house = House::found();
    every_change_convicts_nobody(&house, &two_heads(&house));
}

#[test]
fn no_byte_of_two_blocks_can_be_changed() {
    let mut house = House::found();
    let contradiction = two_blocks(&mut house);
    every_change_convicts_nobody(&house, &contradiction);
}

#[test]
fn the_file_is_read_strictly() {
    let house = House::found();
    let text = two_heads(&house).to_json();
    let read = |text: &str| Contradiction::from_json(text.as_bytes());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = json.clone();
        change(&mut changed);
        read(&changed.to_string()).unwrap_err()
    };
    assert_eq!(read(&json.to_string()).unwrap(), two_heads(&house), "white space does not matter");

    let error = with(&|json| json["format"] = "chancery-contradiction/v2".into());
    assert!(matches!(error, ContradictionFileError::Format(_)), "{error}");
    let error = with(&|json| json["more"] = 1.into());
    assert!(matches!(error, ContradictionFileError::Json(_)), "{error}");
    let error = with(&|json| json["messages"][0]["kind"] = "checkpoint".into());
    assert!(matches!(error, ContradictionFileError::Json(_)), "{error}");
    let error = with(&|json| json["messages"][0]["kind"] = "block".into());
    assert!(matches!(error, ContradictionFileError::Block(_)), "{error}");
    let error = with(&|json| json["ledger"] = "AB".repeat(32).into());
    assert!(matches!(error, ContradictionFileError::Field("ledger")), "{error}");
    let error = with(&|json| json["messages"].as_array_mut().unwrap().reverse());
    assert!(matches!(error, ContradictionFileError::Unsorted), "{error}");
    let error = with(&|json| json["messages"][1] = json["messages"][0].clone());
    assert!(matches!(error, ContradictionFileError::Unsorted), "{error}");
    let error = with(&|json| json["messages"] = serde_json::json!([]));
    assert!(matches!(error, ContradictionFileError::Count(0)), "{error}");
    let error = with(&|json| {
        let third = json["messages"][0].clone();
        json["messages"].as_array_mut().unwrap().push(third);
    });
    assert!(matches!(error, ContradictionFileError::Count(3)), "{error}");
    let error = read(&text.replace("\"origin\"", "\"format\": \"x\", \"origin\"")).unwrap_err();
    assert!(matches!(error, ContradictionFileError::Json(_)), "a member twice: {error}");
    let as_list = json["messages"][0].as_object().unwrap();
    let as_list = serde_json::json!([as_list["kind"], as_list["signed"]]);
    let error = with(&|json| json["messages"][0] = as_list.clone());
    assert!(matches!(error, ContradictionFileError::Spelling), "{error}");
    let huge = " ".repeat(CONTRADICTION_SIZE_BYTES_MAX + 1);
    assert!(matches!(read(&huge), Err(ContradictionFileError::TooLarge)));

    assert!(Contradiction::is_named_by(text.as_bytes()));
    assert!(!Contradiction::is_named_by(text.replace("contradiction/v1", "evidence/v1").as_bytes()));
    assert!(!Contradiction::is_named_by(b"[]"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        prop_assert!(Contradiction::from_json(&bytes).is_err());
    }
}
