//! Each way to tamper with a log, and what an audit finds: exactly that, and without tampering nothing.
//!
//! The log is one that the ledger's own code made: commands of principals, a change of the voters, and more leaves than
//! one tile has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod archived;
#[path = "../../../ledger/tests/house/mod.rs"]
mod house;
mod proofs;
mod publication;
mod resumed;
mod served;
mod split_view;

use std::path::Path;
use std::sync::Arc;

use chancery_audit::engine::{Engine, Options};
use chancery_audit::source::Folder;
use chancery_audit::{Audited, Code, Finding, Published, audit};
use chancery_ledger::authority::Entry;
use chancery_ledger::checkpoint::SignedCheckpoint;
use chancery_ledger::command::{Body, Command, Limits, RequestId};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::RosterChain;
use chancery_ledger::log::{TilePath, encode_entry_bundle, leaf_hash};
use chancery_ledger::trust::Trust;

use house::{House, public, terms};
use publication::{Publication, write};

/// The log, who is believed, and how it goes on.
pub(crate) struct Log {
    pub(crate) trust: Trust,
    pub(crate) honest: Publication,
    pub(crate) house: House,
}

/// Founded by nodes 1 to 3; then node 4 takes the place of node 1, and the team's issuer leaves; 620 leaves or so.
pub(crate) fn log() -> Log {
    let mut house = House::found_with(Limits {
        grants_per_agent_max: 1_000,
        dedup_entries_per_signer_max: 1_000,
        ..house::limits()
    });
    let trust = house.founding_trust();
    house.register("bot");
    let links = house.change(&[2, 3, 4]);
    house.register("team/a");
    house.applied("operator-1", Body::RemovePrincipal { key: public("team-issuer") });
    for hour in 0..300 {
        let from_ms = house.now_ms + hour;
        let grant = house.grant(terms(
            if hour % 2 == 0 { "bot" } else { "team/a" },
            &["deploy"],
            &["prod/x"],
            from_ms,
        ));
        house.revoke(grant);
    }
    let rosters = RosterChain { links: links.to_vec() };
    let honest = Publication { leaves: house.replicas[0].leaves.clone(), cosigners: vec![2, 3], rosters };
    Log { trust, honest, house }
}

/// Audits what is in these folders, from nothing.
pub(crate) fn audit_folders(trust: &Trust, folders: &[&Path], since: Option<&SignedCheckpoint>) -> Audited {
    let state = tempfile::tempdir().unwrap();
    let options = Options { threads: 2, ..Options::default() };
    let mut engine = Engine::open(state.path(), trust.ledger, options).unwrap();
    let open = |folder: &&Path| Published::new(Arc::new(Folder::new(folder.to_path_buf()).unwrap()));
    let sources: Vec<_> = folders.iter().map(open).collect();
    audit(&sources, trust, since, &mut engine, &|_| {}).unwrap()
}

/// A leaf of a command, in the second tile.
const COMMAND: usize = 301;

/// The STATE leaf of its block.
const STATE: usize = 302;

/// The log's size after it.
const SIZE: usize = 303;

/// A leaf from before the voters changed.
const EARLY_STATE: usize = 3;

/// A way to tamper.
struct Row {
    name: &'static str,
    /// Writes what is published.
    publish: fn(&Log, &Path),
    /// The checkpoint of an earlier audit.
    since: fn(&Log) -> Option<SignedCheckpoint>,
    /// What is found.
    findings: fn(&Log) -> Vec<Finding>,
}

fn finding(code: Code, index: Option<usize>, place: &str, expected: String, found: String) -> Finding {
    let index = index.map(|index| index as u64);
    Finding { code, index, place: place.into(), expected, found }
}

fn hash(leaf: &[u8]) -> String {
    leaf_hash(leaf).to_string()
}

/// The leaf at `index` with another byte in the middle, where a command has its own bytes, and a STATE leaf its root.
fn changed(log: &Log, index: usize) -> Vec<u8> {
    let mut leaf = log.honest.leaves[index].clone();
    let middle = leaf.len() / 2;
    leaf[middle] ^= 1;
    leaf
}

/// With this leaf in the place of the one there, and everything else made anew.
fn with_leaf(log: &Log, index: usize, leaf: Vec<u8>) -> Publication {
    let mut forged = log.honest.clone();
    forged.leaves[index] = leaf;
    forged
}

/// A STATE leaf with another root.
fn with_other_root(log: &Log, index: usize) -> (Publication, Hash) {
    let Entry::State { block, time_ms, state_root, roster, rules_version, previous } =
        log.honest.entry(index)
    else {
        panic!("leaf {index} is a STATE leaf")
    };
    let other = Entry::State { block, time_ms, state_root: Hash::ZERO, roster, rules_version, previous };
    (with_leaf(log, index, other.encode()), state_root)
}

/// Writes a bundle of these entries alone.
fn write_bundle(folder: &Path, index: u64, entries: &[Vec<u8>]) {
    let path = TilePath::entries(index, 256).unwrap().to_string();
    write(folder, &path, &encode_entry_bundle(entries).unwrap());
}

const SECOND_BUNDLE: &str = "tile/entries/001";

fn none(_: &Log) -> Option<SignedCheckpoint> {
    None
}

/// A grant by the team's issuer, who has left, and a STATE leaf after it.
fn by_who_left(log: &Log) -> Publication {
    let mut forged = log.honest.clone();
    let head = *log.house.head();
    let body = Body::grant(terms("team/a", &["deploy"], &["prod/x"], head.time_ms));
    let command = Command {
        signer: public("team-issuer"),
        request_id: RequestId([9; 16]),
        not_after_ms: head.time_ms + house::HOUR_MS,
        body,
    };
    let signed = log.house.sign(&command, &["team-issuer"]);
    let (block, time_ms) = (head.block + 1, head.time_ms + 1_000);
    forged.leaves.push(Entry::Command { block, time_ms, signed, verdict: None }.encode());
    let previous = Some(log.honest.size() - 1);
    let (state_root, roster) = (head.state_root, head.roster);
    let state = Entry::State { block, time_ms, state_root, roster, rules_version: 1, previous };
    forged.leaves.push(state.encode());
    forged
}

fn two_of_three(log: &Log) -> String {
    let roster = log.house.head().roster;
    format!("the cosignatures of 2 of 3 voters of roster {roster}")
}

const ROWS: &[Row] = &[
    Row {
        name: "nothing",
        publish: |log, folder| log.honest.write(folder),
        since: |log| Some(log.honest.at(SIZE).checkpoint()),
        findings: |_| Vec::new(),
    },
    Row {
        name: "an entry changed",
        publish: |log, folder| {
            log.honest.write(folder);
            let mut entries = log.honest.leaves[256..512].to_vec();
            entries[COMMAND - 256] = changed(log, COMMAND);
            write_bundle(folder, 1, &entries);
        },
        since: none,
        findings: |log| {
            let (expected, found) = (hash(&log.honest.leaves[COMMAND]), hash(&changed(log, COMMAND)));
            vec![finding(Code::Leaf, Some(COMMAND), SECOND_BUNDLE, expected, found)]
        },
    },
    Row {
        name: "an entry changed, everything recomputed, re-signed by one stolen key",
        publish: |log, folder| {
            let forged = with_leaf(log, COMMAND, changed(log, COMMAND));
            Publication { cosigners: vec![2], ..forged }.write(folder);
        },
        since: none,
        findings: |log| {
            vec![
                finding(Code::Cosignatures, None, "checkpoint", two_of_three(log), "node-2".into()),
                finding(
                    Code::Signatures,
                    Some(COMMAND),
                    "entries",
                    "exactly the signatures that the command requires, each verifying".into(),
                    format!(
                        "its signatures: the signature of key {} does not verify over this ledger's id",
                        public("revoker")
                    ),
                ),
            ]
        },
    },
    Row {
        name: "a leaf removed",
        publish: |log, folder| {
            log.honest.write(folder);
            let mut entries = log.honest.leaves[256..512].to_vec();
            entries.remove(COMMAND - 256);
            write_bundle(folder, 1, &entries);
        },
        since: none,
        findings: |log| {
            let (expected, found) =
                (hash(&log.honest.leaves[COMMAND]), hash(&log.honest.leaves[COMMAND + 1]));
            vec![
                finding(Code::Leaf, Some(COMMAND), SECOND_BUNDLE, expected, found),
                finding(
                    Code::Malformed,
                    None,
                    SECOND_BUNDLE,
                    "a bundle of 256 entries".into(),
                    "the bundle ends early".into(),
                ),
            ]
        },
    },
    Row {
        name: "a leaf removed, everything recomputed, re-signed by a quorum",
        publish: |log, folder| {
            let mut forged = log.honest.clone();
            forged.leaves.remove(COMMAND);
            forged.write(folder);
        },
        since: none,
        findings: |_| {
            vec![finding(
                Code::Block,
                Some(COMMAND),
                "entries",
                "the commands of one block, at most 4,096, and its STATE leaf after them".into(),
                "1 leaves that are not".into(),
            )]
        },
    },
    Row {
        name: "a file removed",
        publish: |log, folder| {
            log.honest.write(folder);
            std::fs::remove_file(folder.join(SECOND_BUNDLE)).unwrap();
        },
        since: none,
        findings: |_| {
            vec![finding(
                Code::Missing,
                None,
                SECOND_BUNDLE,
                "what the checkpoint covers".into(),
                "nothing".into(),
            )]
        },
    },
    Row {
        name: "two leaves swapped",
        publish: |log, folder| {
            log.honest.write(folder);
            let mut entries = log.honest.leaves[256..512].to_vec();
            entries.swap(COMMAND - 256, COMMAND + 2 - 256);
            write_bundle(folder, 1, &entries);
        },
        since: none,
        findings: |log| {
            let (one, other) = (hash(&log.honest.leaves[COMMAND]), hash(&log.honest.leaves[COMMAND + 2]));
            vec![
                finding(Code::Leaf, Some(COMMAND), SECOND_BUNDLE, one.clone(), other.clone()),
                finding(Code::Leaf, Some(COMMAND + 2), SECOND_BUNDLE, other, one),
            ]
        },
    },
    Row {
        name: "two leaves swapped, everything recomputed, re-signed by a quorum",
        publish: |log, folder| {
            let mut forged = log.honest.clone();
            forged.leaves.swap(COMMAND, COMMAND + 2);
            forged.write(folder);
        },
        since: none,
        findings: |log| {
            // The block has begun with a leaf of the next one, and goes on with its own.
            let at = |index| match log.honest.entry(index) {
                Entry::Command { block, time_ms, .. } | Entry::State { block, time_ms, .. } => {
                    format!("block {block} at {time_ms} ms")
                }
            };
            let (expected, found) =
                (format!("a leaf of {}", at(COMMAND + 2)), format!("one of {}", at(STATE)));
            vec![finding(Code::Block, Some(STATE), "entries", expected, found)]
        },
    },
    Row {
        name: "a STATE leaf whose root does not follow, re-signed by a quorum",
        publish: |log, folder| with_other_root(log, STATE).0.write(folder),
        since: none,
        findings: |log| {
            let (_, state_root) = with_other_root(log, STATE);
            let root = |root: Hash| format!("state root {root}");
            vec![finding(Code::Differs, Some(STATE), "entries", root(state_root), root(Hash::ZERO))]
        },
    },
    Row {
        name: "the same, from before the voters changed",
        publish: |log, folder| with_other_root(log, EARLY_STATE).0.write(folder),
        since: none,
        findings: |log| {
            let (forged, state_root) = with_other_root(log, EARLY_STATE);
            let root = |root: Hash| format!("state root {root}");
            let at = |link: &chancery_ledger::head::RosterLink| {
                let size = link.head.log_size;
                let other = forged.at(usize::try_from(size).unwrap()).root();
                let told = |root: Hash| format!("root {root} at size {size}");
                finding(Code::RosterHistory, None, "rosters", told(link.head.log_root), told(other))
            };
            let mut findings: Vec<_> = log.honest.rosters.links.iter().map(at).collect();
            let differs = (root(state_root), root(Hash::ZERO));
            findings.push(finding(Code::Differs, Some(EARLY_STATE), "entries", differs.0, differs.1));
            findings
        },
    },
    Row {
        name: "a signer who lacked the role at that time, re-signed by a quorum",
        publish: |log, folder| by_who_left(log).write(folder),
        since: none,
        findings: |log| {
            let index = log.honest.leaves.len();
            vec![finding(
                Code::Refused,
                Some(index),
                "entries",
                "a command that takes effect".into(),
                format!(
                    "one that is refused: key {key} is not an active principal; its signer {key} was no active principal",
                    key = public("team-issuer")
                ),
            )]
        },
    },
    Row {
        name: "a tile changed",
        publish: |log, folder| {
            log.honest.write(folder);
            let path = folder.join("tile/0/001");
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[(COMMAND - 256) * 32] ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
        since: none,
        findings: |log| {
            let mut other = leaf_hash(&log.honest.leaves[COMMAND]);
            let tile = |leaves: &[Hash]| {
                let mut tree = chancery_ledger::log::Frontier::new();
                leaves.iter().for_each(|leaf| tree.append(*leaf));
                tree.root().to_string()
            };
            let mut leaves: Vec<_> = log.honest.leaves[256..512].iter().map(|leaf| leaf_hash(leaf)).collect();
            let expected = tile(&leaves);
            other.0[0] ^= 1;
            leaves[COMMAND - 256] = other;
            vec![
                finding(Code::Tile, None, "tile/0/001", expected, tile(&leaves)),
                finding(
                    Code::Leaf,
                    Some(COMMAND),
                    SECOND_BUNDLE,
                    other.to_string(),
                    hash(&log.honest.leaves[COMMAND]),
                ),
            ]
        },
    },
    Row {
        name: "the checkpoint of another root",
        publish: |log, folder| {
            log.honest.write(folder);
            let other = with_leaf(log, COMMAND, changed(log, COMMAND)).checkpoint();
            write(folder, "checkpoint", other.encode().as_bytes());
        },
        since: none,
        findings: |log| {
            let other = with_leaf(log, COMMAND, changed(log, COMMAND)).root().to_string();
            vec![finding(Code::Root, None, "checkpoint", other, log.honest.root().to_string())]
        },
    },
    Row {
        name: "a checkpoint rolled back",
        publish: |log, folder| log.honest.at(SIZE).write(folder),
        since: |log| Some(log.honest.checkpoint()),
        findings: |log| {
            let (expected, found) =
                (format!("{} leaves or more", log.honest.size()), format!("{SIZE} leaves"));
            vec![finding(Code::RolledBack, None, "checkpoint", expected, found)]
        },
    },
    Row {
        name: "another log than an earlier audit saw",
        publish: |log, folder| log.honest.write(folder),
        since: |log| Some(with_other_root(log, STATE).0.at(SIZE).checkpoint()),
        findings: |log| {
            let told = |log: Publication| format!("root {} at size {SIZE}", log.at(SIZE).root());
            let (expected, found) = (told(with_other_root(log, STATE).0), told(log.honest.clone()));
            vec![finding(Code::Rewritten, None, "checkpoint", expected, found)]
        },
    },
    Row {
        name: "the rosters withheld",
        publish: |log, folder| {
            log.honest.write(folder);
            write(folder, "rosters", b"");
        },
        since: none,
        findings: |log| {
            let genesis = log.trust.genesis.id(0);
            let [joint, uniform] = log.honest.rosters.links.as_slice() else { panic!("one change") };
            let history = |link: &chancery_ledger::head::RosterLink, before| {
                let told = |roster| format!("roster {roster} with state {}", link.head.state_root);
                let index = usize::try_from(link.head.log_size).unwrap() - 1;
                finding(Code::RosterHistory, Some(index), "rosters", told(before), told(link.id()))
            };
            vec![history(joint, genesis), history(uniform, joint.id())]
        },
    },
];

#[test]
fn tampering_is_found_every_time_and_named() {
    let log = log();
    assert!(log.honest.size() > 512, "two full tiles");
    assert!(matches!(log.honest.entry(STATE), Entry::State { .. }));
    assert!(matches!(log.honest.entry(EARLY_STATE), Entry::State { .. }));
    let mut wrong = Vec::new();
    for row in ROWS {
        let folder = tempfile::tempdir().unwrap();
        (row.publish)(&log, folder.path());
        let audited = audit_folders(&log.trust, &[folder.path()], (row.since)(&log).as_ref());
        let expected = (row.findings)(&log);
        if audited.findings != expected {
            wrong.push(format!("{}:\nexpected {expected:#?}\nfound {:#?}", row.name, audited.findings));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
