//! Vectors of checkpoints: which are trusted, by whose cosignatures, and since when.

use chancery_ledger::checkpoint::{
    Checkpoint, KeyName, SignatureError, SignatureLine, SignatureType, SignedCheckpoint, VerifierKey,
};
use chancery_ledger::hash::{Hash, from_hex};
use chancery_ledger::head::{HeadVoters, Roster, Voter, VoterSet};
use chancery_ledger::trust::{CosignedError, Trust, Witnesses};
use serde_json::{Value, json};

use super::house::{House, ORIGIN, key, name, voter, voters};

const NOON_S: u64 = 1_800_000_000;

fn key_name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

fn witness(label: &str) -> VerifierKey {
    VerifierKey::new(key_name(label), SignatureType::Cosignature, key(label).verifying_key()).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint::new(key_name(ORIGIN), 1_000, Hash::of(&[b"root"])).unwrap()
}

fn by_node(checkpoint: &Checkpoint, node: u64, time_s: u64) -> SignatureLine {
    let name = voter(node).cosigner_name(ORIGIN).unwrap();
    checkpoint.cosign(&name, time_s, &key(voter(node).name.as_str())).unwrap()
}

fn by_witness(checkpoint: &Checkpoint, label: &str, time_s: u64) -> SignatureLine {
    checkpoint.cosign(&key_name(label), time_s, &key(label)).unwrap()
}

/// By the log and, a second after each other, by these nodes and witnesses.
fn lines(checkpoint: &Checkpoint, nodes: &[u64], witnesses: &[&str]) -> Vec<SignatureLine> {
    let mut lines = vec![checkpoint.sign(&key("log"))];
    lines.extend((NOON_S..).zip(nodes).map(|(time, node)| by_node(checkpoint, *node, time)));
    lines.extend((NOON_S + 60..).zip(witnesses).map(|(time, label)| by_witness(checkpoint, label, time)));
    lines
}

/// The vectors: a trust file, the sets of voters of which each needs a quorum, a note, and what it shows.
pub(crate) fn checkpoints() -> Value {
    let plain = House::found().founding_trust();
    let labels = ["w.example/1", "w.example/2", "w.example/3"];
    let rule = Witnesses::new(labels.iter().map(|label| witness(label)).collect(), 2).unwrap();
    let demanding = plain.clone().with_witnesses(rule);
    let uniform = || vec![voters(&[1, 2, 3])];
    let joint = || vec![voters(&[1, 2, 3]), voters(&[3, 4, 5])];
    let (one, other) =
        (checkpoint(), Checkpoint::new(key_name(ORIGIN), 1_001, Hash::of(&[b"root"])).unwrap());
    let foreign = Checkpoint::new(key_name("example.com/other"), 1_000, Hash::of(&[b"root"])).unwrap();
    let of = |nodes: &[u64], witnesses: &[&str]| lines(&checkpoint(), nodes, witnesses);
    let and = |line: SignatureLine| [of(&[1, 2], &["w.example/1", "w.example/2"]), vec![line]].concat();
    let late = vec![
        by_node(&one, 1, NOON_S + 500),
        by_node(&one, 2, NOON_S + 20),
        by_node(&one, 3, NOON_S + 10),
        by_witness(&one, "w.example/1", NOON_S + 15),
        by_witness(&one, "w.example/2", NOON_S + 700),
        by_witness(&one, "w.example/3", NOON_S + 30),
    ];
    let stranger = one.cosign(&key_name("w.example/3"), NOON_S, &key("stranger")).unwrap();
    let renamed = one.cosign(&key_name("w.example/x"), NOON_S, &key("w.example/3")).unwrap();
    let bare = one.cosign(&key_name("node-3"), NOON_S, &key("node-3")).unwrap();
    let cases = [
        ("a quorum", &plain, uniform(), &one, of(&[2, 3], &[])),
        ("a quorum, and a witness that nobody demands", &plain, uniform(), &one, of(&[1, 3], &labels[..1])),
        ("a quorum and enough witnesses", &demanding, uniform(), &one, of(&[1, 2], &labels[..2])),
        ("everybody, not all in time", &demanding, uniform(), &one, late),
        ("a quorum of both sets", &plain, joint(), &one, of(&[1, 3, 4], &[])),
        ("a known name over another key", &demanding, uniform(), &one, and(stranger)),
        ("a known key under another name", &demanding, uniform(), &one, and(renamed)),
        ("a node's bare name", &demanding, uniform(), &one, and(bare)),
        ("no quorum", &plain, uniform(), &one, of(&[2], &[])),
        ("no quorum, and every witness", &demanding, uniform(), &one, of(&[2], &labels)),
        ("no quorum: nodes of another roster", &plain, uniform(), &one, of(&[1, 4, 5], &[])),
        ("a quorum of one set of two", &plain, joint(), &one, of(&[1, 2, 3], &[])),
        ("the log alone", &plain, uniform(), &one, of(&[], &[])),
        ("too few witnesses", &demanding, uniform(), &one, of(&[1, 2, 3], &labels[2..])),
        (
            "too few known witnesses",
            &demanding,
            uniform(),
            &one,
            of(&[1, 2], &["w.example/1", "w.example/4"]),
        ),
        ("another log", &plain, uniform(), &foreign, lines(&foreign, &[1, 2], &[])),
        ("a node's line of another checkpoint", &demanding, uniform(), &one, and(by_node(&other, 3, NOON_S))),
        (
            "a witness' line of another checkpoint",
            &demanding,
            uniform(),
            &one,
            and(by_witness(&other, "w.example/3", NOON_S)),
        ),
        ("a node twice", &demanding, uniform(), &one, and(by_node(&one, 2, NOON_S + 9))),
        ("a witness twice", &demanding, uniform(), &one, and(by_witness(&one, "w.example/2", NOON_S + 9))),
    ];
    let vector = |(what, trust, sets, checkpoint, lines): (
        &str,
        &Trust,
        Vec<VoterSet>,
        &Checkpoint,
        Vec<_>,
    )| {
        let note = SignedCheckpoint::new(checkpoint.clone(), lines).unwrap().encode();
        let set = |set: &VoterSet| {
            let voter =
                |v: &Voter| json!({ "node": v.node, "name": v.name.as_str(), "key": v.key.to_string() });
            json!({ "quorum": set.quorum(), "voters": set.voters().iter().map(voter).collect::<Vec<_>>() })
        };
        let mut vector = json!({
            "name": what,
            "trust_file": trust.to_toml(),
            "sets": sets.iter().map(set).collect::<Vec<_>>(),
            "note": note,
        });
        let shows = checkpoint_shows(&vector);
        vector["shows"] = shows;
        vector
    };
    cases.into_iter().map(vector).collect()
}

/// What a verifier finds out from a vector.
pub(crate) fn checkpoint_shows(vector: &Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let trust = Trust::from_toml(&text(&vector["trust_file"])).unwrap();
    let voter = |v: &Value| {
        let mut voter = voter(v["node"].as_u64().unwrap());
        voter.name = name(v["name"].as_str().unwrap());
        from_hex(v["key"].as_str().unwrap(), &mut voter.key.0).unwrap();
        voter
    };
    let set = |set: &Value| {
        let quorum = u32::try_from(set["quorum"].as_u64().unwrap()).unwrap();
        VoterSet::new(set["voters"].as_array().unwrap().iter().map(voter).collect(), quorum).unwrap()
    };
    let roster = Roster::new(vector["sets"].as_array().unwrap().iter().map(set).collect()).unwrap();
    let signed = SignedCheckpoint::parse(text(&vector["note"]).as_bytes()).unwrap();
    match trust.verify_checkpoint(&signed, &HeadVoters::of(&roster)) {
        Ok(cosigned) => json!({
            "nodes": cosigned.nodes.iter().map(|by| json!([by.node, by.time_s])).collect::<Vec<_>>(),
            "witnesses":
                cosigned.witnesses.iter().map(|by| json!([by.key.to_string(), by.time_s])).collect::<Vec<_>>(),
            "enough_by_s": cosigned.enough_by_s,
        }),
        Err(error) => json!({ "error": cosigned_error(&error) }),
    }
}

fn cosigned_error(error: &CosignedError) -> &'static str {
    match error {
        CosignedError::OtherOrigin { .. } => "other_origin",
        CosignedError::Signatures(SignatureError::Invalid) => "invalid",
        CosignedError::Signatures(SignatureError::Twice) => "twice",
        CosignedError::TooFewNodes { .. } => "too_few_nodes",
        CosignedError::TooFewWitnesses { .. } => "too_few_witnesses",
        CosignedError::Voter { .. } | CosignedError::Signatures(_) => panic!("{error}"),
    }
}
