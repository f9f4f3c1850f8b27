//! Manifests: one encoding, in its bounds.

use chancery_ledger::hash::Hash;
use chancery_ledger::head::RosterChain;

use crate::raft::types::{StoredMembership, log_id};
use crate::store::applied::tests::ledger::{Leader, membership, sign_head};
use crate::store::snapshot::{FileRecord, Manifest, ManifestError, SNAPSHOT_SIZE_BYTES_MAX};

fn file(name: &str, size_bytes: u64) -> FileRecord {
    FileRecord { name: name.into(), size_bytes, sha256: Hash::of(&[name.as_bytes()]) }
}

fn manifest(files: Vec<FileRecord>) -> Result<Manifest, ManifestError> {
    let head = *Leader::new().state.head();
    let membership = StoredMembership::new(Some(log_id(1, 0)), membership(&[9]));
    let rosters = RosterChain::default();
    Manifest::new(head, Hash::ZERO, log_id(2, 7), membership, rosters, sign_head(head, &[1, 2]), files)
}

#[test]
fn a_manifest_comes_back_and_nothing_else_does() {
    let files = vec![file("000009.sst", 0), file("CURRENT", 16), file("MANIFEST-000005", 7)];
    let manifest = manifest(files).unwrap();
    let bytes = manifest.encode().unwrap();
    assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    for length in 0..bytes.len() {
        Manifest::decode(&bytes[..length]).unwrap_err();
    }
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert_eq!(Manifest::decode(&flipped), Err(ManifestError::Corrupt), "{at}");
        // Its own hash is no secret.
        let body = flipped.len() - 32;
        let hash = Hash::of(&[&flipped[..body]]);
        flipped[body..].copy_from_slice(hash.as_bytes());
        if let Ok(decoded) = Manifest::decode(&flipped) {
            assert_eq!(decoded.encode().unwrap(), flipped);
        }
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [
        "",
        ".",
        "..",
        "../CURRENT",
        "/etc/passwd",
        "a/000001.sst",
        "identity",
        "000001.sst/",
        "x.sst",
        ".sst",
    ] {
        assert_eq!(manifest(vec![file(name, 1)]).err(), Some(ManifestError::FileName), "{name}");
    }
    for name in ["MANIFEST-", "MANIFEST-1/2", "OPTIONS-x", "CURRENT\0", "00000000000000000000001.sst"] {
        assert_eq!(manifest(vec![file(name, 1)]).err(), Some(ManifestError::FileName), "{name}");
    }
    let twice = vec![file("CURRENT", 1), file("CURRENT", 1)];
    assert_eq!(manifest(twice).err(), Some(ManifestError::FileName));
    assert_eq!(manifest(vec![]).err(), Some(ManifestError::FileName));
}

#[test]
fn too_much_is_refused() {
    let too_large = vec![file("000001.sst", SNAPSHOT_SIZE_BYTES_MAX), file("000002.sst", 1)];
    assert_eq!(manifest(too_large).err(), Some(ManifestError::TooLarge));
    let overflowing = vec![file("000001.sst", u64::MAX), file("000002.sst", 1)];
    assert_eq!(manifest(overflowing).err(), Some(ManifestError::TooLarge));
    let many = (0..40_000).map(|number| file(&format!("{number:06}.sst"), 1)).collect();
    assert_eq!(manifest(many).err(), Some(ManifestError::TooLarge));
}
