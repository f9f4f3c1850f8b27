//! The decoders of what nodes tell each other, and what must hold of each whatever the bytes.
//!
//! The fuzzer's binary and the test that replays the corpora (`node/tests/corpora.rs`) share this file.

use chancery_ledger::hash::Hash;

use crate::raft::types::{LogId, log_id};
use crate::raft::{entry_bytes, payload_bytes};
use crate::store::snapshot::Manifest;

/// What is given the bytes; it panics if a claim does not hold.
pub(crate) type Decoder = fn(&[u8]);

/// Decoders by name; a corpus bears the same name.
pub(crate) const NODE_DECODERS: &[(&str, Decoder)] =
    &[("node_entries", entries), ("node_manifest", manifest), ("node_payload", payload)];

/// The entries of a request to append: first the leader's term and where the log ended before, 8 bytes each.
fn entries(bytes: &[u8]) {
    let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
    let Some((leader_term, bytes)) = bytes.split_first_chunk() else { return };
    let Some((term, bytes)) = bytes.split_first_chunk() else { return };
    let Some((index, bytes)) = bytes.split_first_chunk() else { return };
    let leader_term = number(leader_term);
    for previous in [None, Some(log_id(number(term), number(index)))] {
        let Ok(entries) = entry_bytes::decode(bytes, previous, leader_term) else { continue };
        let mut last: Option<LogId> = previous;
        let mut again = Vec::new();
        for entry in &entries {
            assert_eq!(
                entry.log_id.index,
                last.map_or(0, |last| last.index + 1),
                "indices follow each other"
            );
            assert!(
                last.is_none_or(|last| last < entry.log_id) && entry.log_id.leader_id.term <= leader_term
            );
            last = Some(entry.log_id);
            entry_bytes::push(entry, &mut again).expect("what was decoded can be encoded");
        }
        assert_eq!(again, bytes);
    }
}

/// A snapshot's manifest; what comes without its hash is given it.
fn manifest(bytes: &[u8]) {
    let whole = [bytes, Hash::of(&[bytes]).as_bytes()].concat();
    for bytes in [bytes, &whole] {
        if let Ok(manifest) = Manifest::decode(bytes) {
            assert_eq!(manifest.encode().expect("what was decoded can be encoded"), bytes);
            assert!(manifest.files().windows(2).all(|pair| pair[0].name < pair[1].name));
            assert!(manifest.files().iter().all(|file| !file.name.contains(['/', '\\', '\0'])));
        }
    }
}

/// What an entry carries.
fn payload(bytes: &[u8]) {
    if let Ok(payload) = payload_bytes::decode(bytes) {
        let mut again = Vec::new();
        payload_bytes::encode(&payload, &mut again).expect("what was decoded can be encoded");
        assert_eq!(again, bytes);
    }
}
