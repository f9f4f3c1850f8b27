//! A checkpoint counts by the cosignatures of the nodes and, where the trust file says so, of witnesses: none is counted
//! that is not known, none twice, and a bad one spoils the whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::checkpoint::{
    Checkpoint, KeyError, KeyName, SIGNATURES_MAX, SignatureError, SignatureLine, SignatureType,
    SignedCheckpoint, VerifierKey,
};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{HeadVoters, Roster, VOTERS_MAX};
use chancery_ledger::trust::{
    CosignedError, NodeCosignature, Trust, TrustError, WITNESSES_MAX, WitnessCosignature, Witnesses,
    WitnessesError,
};
use house::{House, ORIGIN, key, roster, voter, voters};

const NOON_S: u64 = 1_800_000_000;

fn key_name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

fn witness(label: &str) -> VerifierKey {
    VerifierKey::new(key_name(label), SignatureType::Cosignature, key(label).verifying_key()).unwrap()
}

fn witnesses(labels: &[&str], quorum: u32) -> Witnesses {
    Witnesses::new(labels.iter().map(|label| witness(label)).collect(), quorum).unwrap()
}

/// Trust of the three nodes of the house, and of two of three witnesses.
fn trust() -> Trust {
    House::found().trust.with_witnesses(witnesses(&["w.example/1", "w.example/2", "w.example/3"], 2))
}

fn checkpoint() -> Checkpoint {
    Checkpoint::new(key_name(ORIGIN), 1_000, Hash::of(&[b"root"])).unwrap()
}

fn by_node(checkpoint: &Checkpoint, node: u64, time_s: u64) -> SignatureLine {
    let voter = voter(node);
    let name = voter.cosigner_name(checkpoint.origin().as_str()).unwrap();
    checkpoint.cosign(&name, time_s, &key(voter.name.as_str())).unwrap()
}

fn by_witness(checkpoint: &Checkpoint, label: &str, time_s: u64) -> SignatureLine {
    checkpoint.cosign(&key_name(label), time_s, &key(label)).unwrap()
}

/// Signed by the log, which nobody asks about, and by these.
fn signed_by(nodes: &[u64], witnesses: &[&str]) -> SignedCheckpoint {
    let checkpoint = checkpoint();
    let mut lines = vec![checkpoint.sign(&key("log"))];
    lines.extend(nodes.iter().map(|node| by_node(&checkpoint, *node, NOON_S + node)));
    lines.extend(witnesses.iter().map(|label| by_witness(&checkpoint, label, NOON_S + 10)));
    SignedCheckpoint::new(checkpoint, lines).unwrap()
}

fn signed_with(line: SignatureLine) -> SignedCheckpoint {
    let signed = signed_by(&[1, 2], &["w.example/1", "w.example/2"]);
    let lines = signed.signatures().iter().cloned().chain([line]).collect();
    SignedCheckpoint::new(signed.checkpoint().clone(), lines).unwrap()
}

#[test]
fn a_node_cosigns_under_the_origin_and_its_name() {
    let key = voter(2).cosigner_key("example.com/ledger").unwrap();
    assert_eq!(key.name().as_str(), "example.com/ledger/node-2");
    assert_eq!(key.signature_type(), SignatureType::Cosignature);
    assert_eq!(key.public_key().to_bytes(), voter(2).key.0);
    assert_eq!(voter(2).cosigner_name(&"x".repeat(255)), Err(KeyError::Name));
    let mut weak = voter(2);
    weak.key.0 = [0; 32];
    assert_eq!(weak.cosigner_key("o"), Err(KeyError::PublicKey));
}

#[test]
fn a_quorum_of_nodes_and_enough_witnesses_are_told_with_their_times() {
    let trust = trust();
    let voters = HeadVoters::of(&trust.genesis);
    let signed = signed_by(&[3, 1], &["w.example/3", "w.example/1"]);
    let cosigned = trust.verify_checkpoint(&signed, &voters).unwrap();
    let node = |node| NodeCosignature { node, time_s: NOON_S + node };
    assert_eq!(cosigned.nodes, [node(1), node(3)]);
    let by = |label| WitnessCosignature { key: witness(label), time_s: NOON_S + 10 };
    assert_eq!(cosigned.witnesses, [by("w.example/1"), by("w.example/3")]);
    assert_eq!(cosigned.enough_by_s, NOON_S + 10);
}

#[test]
fn enough_is_a_quorum_and_not_everybody() {
    let checkpoint = checkpoint();
    let at = |nodes: [u64; 3], by_witnesses: [u64; 2]| {
        let lines = (1..).zip(nodes).map(|(node, time)| by_node(&checkpoint, node, time));
        let labels = ["w.example/1", "w.example/2"];
        let by_witnesses =
            labels.iter().zip(by_witnesses).map(|(label, time)| by_witness(&checkpoint, label, time));
        let signed = SignedCheckpoint::new(checkpoint.clone(), lines.chain(by_witnesses).collect()).unwrap();
        let trust = House::found().trust.with_witnesses(witnesses(&labels, 1));
        trust.verify_checkpoint(&signed, &HeadVoters::of(&trust.genesis)).unwrap().enough_by_s
    };
    assert_eq!(at([10, 30, 20], [5, 99]), 20);
    assert_eq!(at([10, 30, 20], [99, 25]), 25);
    assert_eq!(at([7, 7, 7], [7, 7]), 7);
}

#[test]
fn without_a_rule_for_witnesses_none_is_needed_or_known() {
    let trust = House::found().trust;
    let voters = HeadVoters::of(&trust.genesis);
    let cosigned = trust.verify_checkpoint(&signed_by(&[1, 2], &["w.example/1"]), &voters).unwrap();
    assert!(cosigned.witnesses.is_empty());
    assert_eq!(cosigned.enough_by_s, NOON_S + 2);
}

#[test]
fn too_few_are_refused_whoever_else_signed() {
    let trust = trust();
    let verify = |signed: &SignedCheckpoint| trust.verify_checkpoint(signed, &HeadVoters::of(&trust.genesis));
    let all = ["w.example/1", "w.example/2", "w.example/3"];
    assert_eq!(verify(&signed_by(&[2], &all)), Err(CosignedError::TooFewNodes { found: 1 }));
    // Nodes of another roster, and witnesses that nobody asked for.
    assert_eq!(verify(&signed_by(&[2, 4, 5], &all)), Err(CosignedError::TooFewNodes { found: 1 }));
    let too_few = |found| Err(CosignedError::TooFewWitnesses { found, demanded: 2 });
    assert_eq!(verify(&signed_by(&[1, 2, 3], &[])), too_few(0));
    assert_eq!(verify(&signed_by(&[1, 2, 3], &["w.example/2"])), too_few(1));
    assert_eq!(verify(&signed_by(&[1, 2, 3], &["w.example/2", "w.example/4"])), too_few(1));
}

#[test]
fn while_voters_change_both_sets_are_needed() {
    let trust = House::found().trust;
    let (before, after) = (roster(&[1, 2, 3]), roster(&[3, 4, 5]));
    let joint = Roster::new(vec![voters(&[1, 2, 3]), voters(&[3, 4, 5])]).unwrap();
    for both in [HeadVoters::of(&joint), HeadVoters::of_roster_block(&before, &after)] {
        for short in [&[1, 2, 3][..], &[3, 4, 5], &[1, 2, 4]] {
            let refused = trust.verify_checkpoint(&signed_by(short, &[]), &both);
            assert_eq!(refused, Err(CosignedError::TooFewNodes { found: short.len() }), "{short:?}");
        }
        let cosigned = trust.verify_checkpoint(&signed_by(&[1, 3, 4], &[]), &both).unwrap();
        assert_eq!(cosigned.nodes.len(), 3);
    }
}

#[test]
fn one_bad_cosignature_by_a_known_key_spoils_the_whole() {
    let trust = trust();
    let verify = |line| trust.verify_checkpoint(&signed_with(line), &HeadVoters::of(&trust.genesis));
    let other = Checkpoint::new(key_name(ORIGIN), 1_001, Hash::of(&[b"root"])).unwrap();
    // Made for another checkpoint.
    let invalid = Err(CosignedError::Signatures(SignatureError::Invalid));
    assert_eq!(verify(by_node(&other, 3, NOON_S)), invalid);
    assert_eq!(verify(by_witness(&other, "w.example/3", NOON_S)), invalid);
    // A known key that signs twice.
    let twice = Err(CosignedError::Signatures(SignatureError::Twice));
    assert_eq!(verify(by_node(&checkpoint(), 2, NOON_S)), twice);
    assert_eq!(verify(by_witness(&checkpoint(), "w.example/2", NOON_S)), twice);
    // A known name over another key, and a known key under another name, are both unknown.
    let stranger = checkpoint().cosign(&key_name("w.example/3"), NOON_S, &key("stranger")).unwrap();
    assert_eq!(verify(stranger).unwrap().witnesses.len(), 2);
    let renamed = checkpoint().cosign(&key_name("w.example/x"), NOON_S, &key("w.example/3")).unwrap();
    assert_eq!(verify(renamed).unwrap().witnesses.len(), 2);
    // A node's bare name is not the one that it cosigns by.
    let bare = checkpoint().cosign(&key_name("node-3"), NOON_S, &key("node-3")).unwrap();
    assert_eq!(verify(bare).unwrap().nodes.len(), 2);
}

#[test]
fn nothing_that_was_changed_verifies_as_something_else() {
    let trust = trust();
    let voters = HeadVoters::of(&trust.genesis);
    let signed = signed_by(&[1, 2], &["w.example/1", "w.example/3"]);
    let good = trust.verify_checkpoint(&signed, &voters).unwrap();
    let bytes = signed.encode().into_bytes();
    let mut refused = 0;
    for i in 0..bytes.len() {
        for flip in [0x01, 0x20] {
            let mut bytes = bytes.clone();
            bytes[i] ^= flip;
            let Ok(changed) = SignedCheckpoint::parse(&bytes) else { continue };
            match trust.verify_checkpoint(&changed, &voters) {
                // Only in the log's own line, which proves nothing.
                Ok(cosigned) => {
                    assert_eq!((&cosigned, changed.checkpoint()), (&good, signed.checkpoint()), "byte {i}");
                    assert_ne!(changed.signatures()[0], signed.signatures()[0], "byte {i}");
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100, "{refused} changes were refused");
}

#[test]
fn a_checkpoint_of_another_log_is_refused() {
    let trust = trust();
    let checkpoint = Checkpoint::new(key_name("example.com/other"), 1, Hash::of(&[b"root"])).unwrap();
    let line = by_node(&checkpoint, 1, NOON_S);
    let signed = SignedCheckpoint::new(checkpoint, vec![line]).unwrap();
    let refused = trust.verify_checkpoint(&signed, &HeadVoters::of(&trust.genesis));
    assert!(matches!(refused, Err(CosignedError::OtherOrigin { expected, .. }) if expected == ORIGIN));
}

#[test]
fn a_voter_is_no_witness_and_a_witness_counts_once() {
    let shared =
        VerifierKey::new(key_name("w.example/1"), SignatureType::Cosignature, key("node-2").verifying_key());
    let shared = shared.unwrap();
    let trust = House::found().trust.with_witnesses(Witnesses::new(vec![shared], 1).unwrap());
    let refused = trust.verify_checkpoint(&signed_by(&[1, 2], &[]), &HeadVoters::of(&trust.genesis));
    assert_eq!(refused, Err(CosignedError::Signatures(SignatureError::SharedKey)));
    // Nor does the file say so.
    let read = Trust::from_toml(&trust.to_toml());
    assert!(matches!(read, Err(TrustError::Malformed(why)) if why.contains("voter")));

    let renamed = VerifierKey::new(
        key_name("w.example/2"),
        SignatureType::Cosignature,
        key("w.example/1").verifying_key(),
    );
    let keys = vec![witness("w.example/1"), renamed.unwrap()];
    assert_eq!(Witnesses::new(keys, 1), Err(WitnessesError::SharedKey));
    let log = VerifierKey::new(key_name("w"), SignatureType::Ed25519, key("w").verifying_key()).unwrap();
    assert_eq!(Witnesses::new(vec![log], 1), Err(WitnessesError::KeyType));
    assert_eq!(Witnesses::new(Vec::new(), 1), Err(WitnessesError::Count));
    let many = |count: usize| (0..count).map(|i| witness(&format!("w{i}"))).collect::<Vec<_>>();
    assert!(Witnesses::new(many(WITNESSES_MAX), 16).is_ok());
    assert_eq!(Witnesses::new(many(WITNESSES_MAX + 1), 1), Err(WitnessesError::Count));
    assert_eq!(Witnesses::new(many(3), 0), Err(WitnessesError::Quorum));
    assert_eq!(Witnesses::new(many(3), 4), Err(WitnessesError::Quorum));
}

#[test]
fn a_note_has_room_for_everybody() {
    assert!(1 + 2 * VOTERS_MAX + WITNESSES_MAX <= SIGNATURES_MAX);
}

#[test]
fn witnesses_stand_in_the_trust_file() {
    let plain = House::found().trust;
    assert!(!plain.to_toml().contains("witness"), "who demands none writes what was always written");
    let trust = trust();
    let text = trust.to_toml();
    assert!(text.starts_with(&plain.to_toml()), "{text}");
    assert_eq!(Trust::from_toml(&text).unwrap(), trust);
    assert_eq!(Trust::from_toml(&text).unwrap().to_toml(), text);
    // By hand.
    let vkey = witness("w.example/1");
    let by_hand = format!("{}\n[witnesses]\nquorum = 1\nkeys = [\n    \"{vkey}\",\n]\n", plain.to_toml());
    assert_eq!(Trust::from_toml(&by_hand).unwrap(), plain.with_witnesses(witnesses(&["w.example/1"], 1)));
}

#[test]
fn no_other_witnesses_stand_in_a_trust_file() {
    let plain = House::found().trust.to_toml();
    let (one, two) = (witness("w1").to_string(), witness("w2").to_string());
    let log = VerifierKey::new(key_name("w"), SignatureType::Ed25519, key("w").verifying_key()).unwrap();
    let other_id = one.replacen(&one[3..11], "00000000", 1);
    let quoted = |keys: &[&str]| keys.iter().map(|key| format!("{key:?}")).collect::<Vec<_>>().join(", ");
    let section = |quorum: &str, keys: &[&str]| {
        format!("{plain}\n[witnesses]\nquorum = {quorum}\nkeys = [{}]\n", quoted(keys))
    };
    assert!(Trust::from_toml(&section("2", &[&one, &two])).is_ok());
    let many: Vec<String> = (0..=WITNESSES_MAX).map(|i| witness(&format!("w{i}")).to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cases = [
        ("none", section("1", &[])),
        ("none, and none demanded", section("0", &[])),
        ("none demanded", section("0", &[&one])),
        ("more than there are", section("2", &[&one])),
        ("a negative number", section("-1", &[&one])),
        ("one twice", section("1", &[&one, &one])),
        ("a log's key", section("1", &[&log.to_string()])),
        ("no key", section("1", &["w1"])),
        ("another id", section("1", &[&other_id])),
        ("too many", section("1", &many)),
        ("an unknown member", format!("{}more = 1\n", section("1", &[&one]))),
        ("no quorum", format!("{plain}\n[witnesses]\nkeys = [\"{one}\"]\n")),
        ("no keys", format!("{plain}\n[witnesses]\nquorum = 1\n")),
    ];
    for (what, text) in cases {
        assert!(matches!(Trust::from_toml(&text), Err(TrustError::Malformed(_))), "{what}");
    }
}
