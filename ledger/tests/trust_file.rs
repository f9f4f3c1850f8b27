//! The trust file is the one thing that a verifier believes: it says exactly what it says, or nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::hash::Hash;
use chancery_ledger::head::VoterSet;
use chancery_ledger::trust::{TRUST_SIZE_BYTES_MAX, Trust, TrustError};
use house::House;

#[test]
fn a_trust_file_is_read_back() {
    let trust = House::found().trust.since(17);
    let text = trust.to_toml();
    assert_eq!(Trust::from_toml(&text).unwrap(), trust);
    assert_eq!(trust.roster(trust.genesis.id(0)).unwrap(), &trust.genesis);
    let later = trust.genesis.id(1);
    assert_eq!(trust.roster(later), Err(TrustError::UnknownRoster(later)));
    // The minimum may be left out.
    let without = text.replace("minimum_block = 17\n", "");
    assert_eq!(Trust::from_toml(&without).unwrap(), trust.since(0));
}

#[test]
fn anything_else_is_refused() {
    let text = House::found().trust.to_toml();
    let replaced = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let ledger = House::found().ledger.to_string();
    let key = house::public("node-2").to_string();
    let cases = [
        ("an unknown member", format!("more = 1\n{text}")),
        ("an unknown member of a voter", format!("{text}more = 1\n")),
        ("a member twice", format!("origin = \"x\"\n{text}")),
        ("no origin", replaced("origin", "# origin")),
        ("upper case", replaced(&ledger, &ledger.to_uppercase())),
        ("a short ledger id", replaced(&ledger, &ledger[1..])),
        ("a minority", replaced("quorum = 2", "quorum = 1")),
        ("more than all", replaced("quorum = 2", "quorum = 4")),
        ("a negative number", replaced("minimum_block = 0", "minimum_block = -1")),
        ("a fraction", replaced("minimum_block = 0", "minimum_block = 0.0")),
        ("a node twice", replaced("node = 3", "node = 2")),
        ("node 0", replaced("node = 1", "node = 0")),
        ("nodes not sorted", replaced("node = 1", "node = 9")),
        ("a name twice", replaced("\"node-3\"", "\"node-2\"")),
        ("a name that is none", replaced("\"node-3\"", "\"node 3\"")),
        ("a key twice", replaced(&house::public("node-3").to_string(), &key)),
        ("a key of another length", replaced(&key, &key[2..])),
        ("nothing", String::new()),
        ("too long", format!("{text}{}", "#".repeat(TRUST_SIZE_BYTES_MAX))),
    ];
    for (what, text) in cases {
        assert!(matches!(Trust::from_toml(&text), Err(TrustError::Malformed(_))), "{what}");
    }
}

#[test]
fn a_set_has_at_most_31_voters() {
    let voters = |count: u64| VoterSet::majority((1..=count).map(house::voter).collect());
    assert!(voters(31).is_some());
    assert!(voters(32).is_none());
    assert!(voters(0).is_none());
    // Nor has a trust file more, whoever wrote it.
    let voter = |node: u64| {
        let key = Hash::of(&[&node.to_be_bytes()]);
        format!("[[roster.voters]]\nnode = {node}\nname = \"n{node}\"\nkey = \"{key}\"\n")
    };
    let text = |count: u64| {
        let voters: String = (1..=count).map(voter).collect();
        let ledger = Hash::ZERO;
        format!(
            "origin = \"o\"\nledger = \"{ledger}\"\nclock_skew_ms_max = 5\n[roster]\nquorum = 20\n{voters}"
        )
    };
    assert!(Trust::from_toml(&text(31)).is_ok());
    assert!(matches!(Trust::from_toml(&text(32)), Err(TrustError::Malformed(_))));
}
