//! The pinned files that show two checkpoints which no one log has, and who cosigned both.

use chancery_ledger::checkpoint::{Checkpoint, KeyName, SignedCheckpoint};
use chancery_ledger::evidence::{Equivocation, EquivocationError, Fork};
use chancery_ledger::hash::Hash;
use chancery_ledger::log::{MemoryTiles, leaf_hash, prove_consistency, root_at};
use chancery_ledger::trust::Trust;
use serde_json::{Value, json};

use super::house::{House, ORIGIN, key};

const NOON_S: u64 = 1_800_100_000;

/// What a verifier is shown, from the trust file alone.
pub(crate) fn shows(file: &str, trust: &Trust) -> Value {
    match Equivocation::from_json(file.as_bytes()).unwrap().verify(trust) {
        Ok(guilty) => json!({
            "nodes": guilty.iter().map(|node| json!([node.voter.node, node.times_s])).collect::<Vec<_>>(),
        }),
        Err(error) => json!({ "error": match error {
            EquivocationError::OtherOrigin { .. } => "other_origin",
            EquivocationError::OtherLedger(_) => "other_ledger",
            EquivocationError::Rosters(_) => "rosters",
            EquivocationError::SurplusRosters => "surplus_rosters",
            EquivocationError::Proof(_) => "proof",
            EquivocationError::Consistent => "consistent",
            EquivocationError::OtherSigners => "other_signers",
            EquivocationError::Signature(_) => "bad_cosignature",
        } }),
    }
}

/// The checkpoint as these nodes cosigned it, a second after each other.
fn cosigned(house: &House, checkpoint: &Checkpoint, nodes: &[u64]) -> SignedCheckpoint {
    let lines = (NOON_S..).zip(nodes).map(|(time_s, node)| house.cosign(checkpoint, *node, time_s));
    let lines = std::iter::once(checkpoint.sign(&key("log"))).chain(lines).collect();
    SignedCheckpoint::new(checkpoint.clone(), lines).unwrap()
}

fn checkpoint(size: u64, root: Hash) -> Checkpoint {
    Checkpoint::new(KeyName::new(ORIGIN).unwrap(), size, root).unwrap()
}

/// The vectors.
pub(crate) fn equivocations(house: &House) -> Vec<Value> {
    let leaves = |count: u64, from: u64| -> Vec<Hash> {
        (0..count).map(|at| leaf_hash(&[u8::from(at >= from), at.to_be_bytes()[7]])).collect()
    };
    let tree = |count, from| {
        let mut tiles = MemoryTiles::new();
        tiles.append(&leaves(count, from));
        tiles
    };
    let (one, other) = (tree(13, 99), tree(21, 7));
    let (small, large) = (checkpoint(13, one.frontier().root()), checkpoint(21, other.frontier().root()));
    let same_size = checkpoint(13, root_at(&other, 13).unwrap());
    let longer = checkpoint(21, tree(21, 99).frontier().root());
    let fork = |of: &MemoryTiles| Fork {
        root: root_at(of, 13).unwrap(),
        proof: prove_consistency(of, 13, 21).unwrap(),
    };
    let find = |a: &Checkpoint, b: &Checkpoint, nodes: [&[u64]; 2], fork: Option<Fork>| {
        let (a, b) = (cosigned(house, a, nodes[0]), cosigned(house, b, nodes[1]));
        Equivocation::find(&house.trust, &a, &b, fork).unwrap().unwrap().to_json()
    };
    let two_sizes = find(&small, &large, [&[1, 2, 3], &[1, 2]], Some(fork(&other)));
    let later = find(&small, &same_size, [&[2, 4, 5], &[4, 5]], None);
    let changed = |file: &str, change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(file).unwrap();
        change(&mut value);
        value.to_string()
    };
    let note = |value: &mut Value, place: usize, change: &dyn Fn(&str) -> String| {
        let text = change(value["checkpoints"][place].as_str().unwrap());
        value["checkpoints"][place] = json!(text);
    };
    let without_last_line = |text: &str| {
        let end = text.trim_end_matches('\n').rfind('\n').unwrap();
        text[..=end].to_owned()
    };
    let files = [
        ("two roots of one size", find(&small, &same_size, [&[1, 2], &[2, 3]], None)),
        ("two sizes", two_sizes.clone()),
        ("by who came later", later.clone()),
        ("one log at two sizes", find(&small, &longer, [&[1, 2], &[1, 2]], Some(fork(&tree(21, 99))))),
        (
            "two sizes without the proof",
            changed(&two_sizes, &|file| {
                file.as_object_mut().unwrap().remove("fork");
            }),
        ),
        (
            "the proof of another root",
            changed(&two_sizes, &|file| {
                file["fork"]["root"] = json!(one.frontier().root().to_string());
            }),
        ),
        (
            "a proof that is too short",
            changed(&two_sizes, &|file| {
                file["fork"]["proof"].as_array_mut().unwrap().pop();
            }),
        ),
        (
            "the larger first",
            changed(&two_sizes, &|file| {
                file["checkpoints"].as_array_mut().unwrap().reverse();
            }),
        ),
        ("not by the same", changed(&two_sizes, &|file| note(file, 1, &without_last_line))),
        (
            "with another time",
            changed(&two_sizes, &|file| {
                let other = cosigned(house, &large, &[3, 1, 2]);
                let lines: Vec<_> = other.signatures().iter().skip(2).cloned().collect();
                let times = SignedCheckpoint::new(large.clone(), lines).unwrap();
                file["checkpoints"][1] = json!(times.encode());
            }),
        ),
        (
            "the lines of another checkpoint",
            changed(&two_sizes, &|file| {
                let other = cosigned(house, &longer, &[1, 2]);
                let lines: Vec<_> = other.signatures().iter().skip(1).cloned().collect();
                file["checkpoints"][1] = json!(SignedCheckpoint::new(large.clone(), lines).unwrap().encode());
            }),
        ),
        (
            "in another order",
            changed(&two_sizes, &|file| {
                let lines: Vec<_> =
                    cosigned(house, &large, &[2, 1]).signatures().iter().skip(1).cloned().collect();
                file["checkpoints"][1] = json!(SignedCheckpoint::new(large.clone(), lines).unwrap().encode());
            }),
        ),
        (
            "with the log's own signature",
            changed(&two_sizes, &|file| {
                file["checkpoints"][1] = json!(cosigned(house, &large, &[1, 2]).encode());
            }),
        ),
        (
            "without the rosters that they need",
            changed(&later, &|file| {
                file.as_object_mut().unwrap().remove("rosters");
            }),
        ),
        (
            "with rosters that nobody needs",
            changed(&two_sizes, &|file| {
                let later: Value = serde_json::from_str(&later).unwrap();
                file["rosters"] = later["rosters"].clone();
            }),
        ),
        ("of another origin", changed(&two_sizes, &|file| file["origin"] = json!("elsewhere.example"))),
        ("of another ledger", changed(&two_sizes, &|file| file["ledger"] = json!("00".repeat(32)))),
    ];
    let trust = house.founding_trust();
    let made = |(name, file): (&str, String)| {
        let shows = shows(&file, &trust);
        json!({ "name": name, "file": file, "shows": shows })
    };
    files.into_iter().map(made).collect()
}
