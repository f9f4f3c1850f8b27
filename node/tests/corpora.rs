//! What the fuzzer found interesting of what nodes tell each other, fed to every decoder again, and what is near to it:
//! each input cut off anywhere, and with any byte another.
//!
//! `UPDATE_CORPORA=1` writes the seeds, before the fuzzer is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../fuzz/src/node_decoders.rs"]
mod node_decoders;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

// Where the decoders look for them.
use chancery_node::{raft, store};

use chancery_ledger::command::{LedgerId, Name, PublicKey};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, Number, RosterChain, RosterId, Statement, Voter};
use ed25519_dalek::SigningKey;
use node_decoders::NODE_DECODERS;
use raft::types::{EncodedBlock, Entry, Membership, Payload, StoredMembership, log_id};
use raft::{entry_bytes, payload_bytes};
use store::snapshot::{FileRecord, Manifest};

/// Most bytes of all that is kept.
const CORPORA_SIZE_BYTES_MAX: usize = 200_000;

/// What a byte is changed into, besides its complement.
const BYTES: [u8; 4] = [0, 1, 0x7f, 0xff];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpora").join(name)
}

#[test]
fn every_decoder_stands_every_input_and_what_is_near() {
    if std::env::var_os("UPDATE_CORPORA").is_some() {
        write_seeds();
    }
    let mut size_bytes = 0;
    for (name, decode) in NODE_DECODERS {
        let files = std::fs::read_dir(folder(name)).unwrap();
        let inputs: Vec<Vec<u8>> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            size_bytes += input.len();
            for length in 0..=input.len() {
                decode(&input[..length]);
            }
            let mut near = input.clone();
            for at in 0..input.len() {
                for byte in BYTES.into_iter().chain([!input[at]]) {
                    near[at] = byte;
                    decode(&near);
                }
                near[at] = input[at];
            }
        }
    }
    assert!(size_bytes <= CORPORA_SIZE_BYTES_MAX, "{size_bytes} bytes are too many to keep");
}

fn write_seeds() {
    let membership =
        || Some(Membership::new_with_defaults(vec![BTreeSet::from([1, 2]), BTreeSet::from([3])], [9]));
    let block = || Some(EncodedBlock::from(vec![7; 40]));
    let payloads = [(None, None), (block(), None), (None, membership()), (block(), membership())]
        .map(|(block, members)| Payload::new(block, members));
    let mut entries = [5_u64, 4, 6].map(u64::to_be_bytes).concat();
    for (index, payload) in (7..).zip(payloads) {
        let mut bytes = Vec::new();
        payload_bytes::encode(&payload, &mut bytes).unwrap();
        keep("node_payload", &bytes);
        let entry = Entry { log_id: log_id(4 + u64::from(index > 8), index), payload };
        entry_bytes::push(&entry, &mut entries).unwrap();
        keep("node_entries", &entries);
    }
    let key = SigningKey::from_bytes(&[1; 32]);
    let voter =
        Voter { node: 1, name: Name::new("node-1").unwrap(), key: PublicKey(key.verifying_key().to_bytes()) };
    let head = Head {
        ledger: LedgerId(Hash::of(&[b"ledger"])),
        block: 3,
        time_ms: 1_800_000_000_000,
        log_size: 9,
        log_root: Hash::of(&[b"log"]),
        state_root: Hash::of(&[b"state"]),
        roster: RosterId { block: 0, digest: Hash::of(&[b"roster"]) },
        rules_version: 1,
    };
    let signed = Statement::sign(&voter, &key, Number { epoch: 1, counter: 2 }, None, head);
    let file = |name: &str| FileRecord { name: name.into(), size_bytes: 16, sha256: Hash::of(&[b"file"]) };
    let files = ["000009.sst", "CURRENT", "MANIFEST-000005"].map(file).to_vec();
    let membership = StoredMembership::new(Some(log_id(1, 0)), membership().unwrap());
    for statements in [vec![], vec![signed]] {
        let (rosters, files) = (RosterChain::default(), files.clone());
        let manifest = Manifest::new(
            head,
            Hash::of(&[b"block"]),
            log_id(2, 7),
            membership.clone(),
            rosters,
            statements,
            files,
        );
        let bytes = manifest.unwrap().encode().unwrap();
        keep("node_manifest", &bytes);
        // Without its hash: the decoder adds one.
        keep("node_manifest", &bytes[..bytes.len() - 32]);
    }
}

/// Named by its hash, as libFuzzer names its own.
fn keep(decoder: &str, input: &[u8]) {
    std::fs::create_dir_all(folder(decoder)).unwrap();
    std::fs::write(folder(decoder).join(&Hash::of(&[input]).to_string()[..40]), input).unwrap();
}
