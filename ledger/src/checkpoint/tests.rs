//! Notes, checkpoints and cosignatures against the specifications' own examples, and under tampering.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ed25519_dalek::SigningKey;

use super::*;
use crate::hash::Hash;
use crate::log::{EMPTY_ROOT, SIZE_MAX};

mod keys_and_notes;
mod proofs_and_policies;
mod witnesses;

const ORIGIN: &str = "chancery.example/ledger";
const TIME_S: u64 = 1_679_315_147;

fn name(name: &str) -> KeyName {
    KeyName::new(name).unwrap()
}

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn log_key() -> VerifierKey {
    VerifierKey::new(name(ORIGIN), SignatureType::Ed25519, signing_key(1).verifying_key()).unwrap()
}

fn node_name(node: u8) -> KeyName {
    name(&format!("node{node}.chancery.example"))
}

fn node_key(node: u8) -> VerifierKey {
    let public_key = signing_key(100 + node).verifying_key();
    VerifierKey::new(node_name(node), SignatureType::Cosignature, public_key).unwrap()
}

fn cosign(checkpoint: &Checkpoint, node: u8) -> SignatureLine {
    checkpoint.cosign(&node_name(node), TIME_S + u64::from(node), &signing_key(100 + node)).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint::new(name(ORIGIN), 20_852_163, Hash::of(&[b"root"])).unwrap()
}

/// Signed by the log and by nodes 1 and 2, not by node 3.
fn signed(checkpoint: Checkpoint) -> SignedCheckpoint {
    let signatures = vec![checkpoint.sign(&signing_key(1)), cosign(&checkpoint, 1), cosign(&checkpoint, 2)];
    SignedCheckpoint::new(checkpoint, signatures).unwrap()
}

fn nodes() -> [VerifierKey; 3] {
    [node_key(1), node_key(2), node_key(3)]
}

/// Everything that nodes 1 and 2 and the log vouch for in these bytes, if they all do.
fn vouched(bytes: &[u8]) -> Option<Checkpoint> {
    let signed = SignedCheckpoint::parse(bytes).ok()?;
    assert_eq!(signed.encode().as_bytes(), bytes, "one spelling");
    signed.verify_log_signature(&log_key()).ok()?;
    let cosignatures = signed.verify_cosignatures(&nodes()).ok()?;
    (cosignatures.len() == 2).then(|| signed.checkpoint().clone())
}

/// Each byte changed in two ways, taken out, and doubled; and each prefix.
fn tampered(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).flat_map(|i| {
        let mut low = bytes.to_vec();
        low[i] ^= 0x01;
        let mut high = bytes.to_vec();
        high[i] ^= 0x20;
        let mut removed = bytes.to_vec();
        removed.remove(i);
        let mut doubled = bytes.to_vec();
        doubled.insert(i, b'\n');
        [low, high, removed, doubled, bytes[..i].to_vec()]
    })
}

#[test]
fn checkpoint_text_is_that_of_the_specification() {
    let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let checkpoint = Checkpoint::parse(text).unwrap();
    assert_eq!(checkpoint.origin().as_str(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size(), 20_852_163);
    let root = "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62";
    assert_eq!(checkpoint.root().to_string(), root);
    assert_eq!(checkpoint.encode(), text);
}

#[test]
fn checkpoint_text_has_one_spelling() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let parse =
        |origin: &str, size: &str, root: &str| Checkpoint::parse(&format!("{origin}\n{size}\n{root}\n"));
    assert!(parse("o", "1", root).is_ok());
    assert!(parse("o", &SIZE_MAX.to_string(), root).is_ok());
    for origin in ["", "a b", "a+b", "a\u{a0}b", "a\tb"] {
        assert_eq!(parse(origin, "1", root), Err(CheckpointError::Origin(KeyError::Name)));
    }
    for size in ["", "01", "+1", "-1", " 1", "1 ", "0x1", "9223372036854775808", "99999999999999999999"] {
        assert_eq!(parse("o", size, root), Err(CheckpointError::Size), "{size}");
    }
    for root in ["", "CsU=", &root[..43], "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J="] {
        assert_eq!(parse("o", "1", root), Err(CheckpointError::Root), "{root}");
    }
    assert_eq!(parse("o", "0", root), Err(CheckpointError::Root));
    assert!(Checkpoint::new(name("o"), 0, EMPTY_ROOT).is_ok());
    assert_eq!(Checkpoint::new(name("o"), SIZE_MAX + 1, EMPTY_ROOT), Err(CheckpointError::Size));
    let text = format!("o\n1\n{root}\n");
    assert_eq!(Checkpoint::parse(text.trim_end()), Err(CheckpointError::Lines));
    assert_eq!(Checkpoint::parse("o\n1\n"), Err(CheckpointError::Lines));
    assert_eq!(Checkpoint::parse(""), Err(CheckpointError::Lines));
    assert_eq!(Checkpoint::parse(&format!("{text}extension\n")), Err(CheckpointError::Extension));
    assert_eq!(Checkpoint::parse(&format!("{text}\n")), Err(CheckpointError::Extension));
}

#[test]
fn the_example_of_tlog_cosignature_parses() {
    let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    assert_eq!(signed.encode(), note);
    let [log, witness] = signed.signatures() else { panic!("two signatures") };
    assert_eq!((log.key_id(), log.signature().len()), (0x033d_e0ae, 64));
    assert_eq!((witness.name().as_str(), witness.signature().len()), ("witness.example.com/w1", 72));
    assert_eq!(witness.signature()[..8], TIME_S.to_be_bytes());
    // None of these keys is known: nothing is vouched for.
    assert_eq!(signed.verify_cosignatures(&nodes()), Ok(Vec::new()));
    assert_eq!(signed.verify_log_signature(&log_key()), Err(SignatureError::Origin));
}

#[test]
fn a_checkpoint_of_a_public_log_and_its_witnesses_verifies() {
    // Six signatures: the log's as RFC 6962 tree head and as Ed25519, four witnesses.
    let note = "arche2025h1.staging.ct.transparency.dev\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\n\
        — arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n\
        — arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n\
        — transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n\
        — witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n\
        — remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n\
        — witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n";
    let log = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
    let witness = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
    let log = VerifierKey::parse(log).unwrap();
    let witness = VerifierKey::parse(witness).unwrap();
    let signed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
    assert_eq!(signed.encode(), note);
    assert_eq!(signed.signatures().len(), 6);
    assert_eq!(signed.verify_log_signature(&log), Ok(()));
    let cosignatures = signed.verify_cosignatures(&[node_key(1), witness.clone()]);
    assert_eq!(cosignatures, Ok(vec![Cosignature { cosigner: 1, time_s: 0x6a12_2120 }]));

    let larger = SignedCheckpoint::parse(note.replace("1432088532", "1432088533").as_bytes()).unwrap();
    assert_eq!(larger.verify_log_signature(&log), Err(SignatureError::Invalid));
    assert_eq!(larger.verify_cosignatures(&[witness]), Err(SignatureError::Invalid));
}

#[test]
fn cosigned_message_is_that_of_the_specification() {
    use ed25519_dalek::Signer;
    let checkpoint = Checkpoint::parse(
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
    );
    let checkpoint = checkpoint.unwrap();
    let message = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let key = signing_key(9);
    let line = checkpoint.cosign(&name("w"), TIME_S, &key).unwrap();
    let signature = key.sign(message.as_bytes()).to_bytes();
    assert_eq!(line.signature(), [&TIME_S.to_be_bytes()[..], &signature].concat());
    assert_eq!(line.key_id(), key_id(&name("w"), 4, key.verifying_key().as_bytes()));
}

#[test]
fn signatures_verify_and_name_who_and_when() {
    let signed = signed(checkpoint());
    assert_eq!(SignedCheckpoint::parse(signed.encode().as_bytes()).as_ref(), Ok(&signed));
    assert_eq!(signed.verify_log_signature(&log_key()), Ok(()));
    let cosignatures = signed.verify_cosignatures(&[node_key(3), node_key(2), node_key(1)]).unwrap();
    assert_eq!(
        cosignatures,
        [Cosignature { cosigner: 1, time_s: TIME_S + 2 }, Cosignature { cosigner: 2, time_s: TIME_S + 1 }]
    );
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let signed = signed(checkpoint());
    let log_as_node =
        VerifierKey::new(name(ORIGIN), SignatureType::Cosignature, signing_key(1).verifying_key()).unwrap();
    assert_eq!(signed.verify_log_signature(&log_as_node), Err(SignatureError::KeyType));
    assert_eq!(signed.verify_cosignatures(&[log_key()]), Err(SignatureError::KeyType));
    assert_eq!(signed.verify_cosignatures(&[log_as_node]), Ok(Vec::new()));
    let other_log =
        VerifierKey::new(name(ORIGIN), SignatureType::Ed25519, signing_key(2).verifying_key()).unwrap();
    assert_eq!(signed.verify_log_signature(&other_log), Err(SignatureError::Missing));
    let alias =
        VerifierKey::new(name("alias"), SignatureType::Cosignature, *node_key(1).public_key()).unwrap();
    assert_eq!(signed.verify_cosignatures(&[node_key(1), alias]), Err(SignatureError::SharedKey));
    assert_eq!(signed.verify_cosignatures(&[node_key(1), node_key(1)]), Err(SignatureError::SharedKey));
}

#[test]
fn a_known_key_signs_once_and_rightly_or_the_note_is_refused() {
    let checkpoint = checkpoint();
    let other = Checkpoint::new(name(ORIGIN), 20_852_164, checkpoint.root()).unwrap();
    let note_of = |lines| SignedCheckpoint::new(checkpoint.clone(), lines).unwrap();

    let twice = note_of(vec![cosign(&checkpoint, 1), cosign(&checkpoint, 1)]);
    assert_eq!(twice.verify_cosignatures(&nodes()), Err(SignatureError::Twice));
    assert_eq!(twice.verify_cosignatures(&[node_key(2)]), Ok(Vec::new()));
    let wrong = note_of(vec![cosign(&checkpoint, 1), cosign(&other, 2)]);
    assert_eq!(wrong.verify_cosignatures(&nodes()), Err(SignatureError::Invalid));
    assert_eq!(wrong.verify_cosignatures(&[node_key(1)]).map(|found| found.len()), Ok(1));
    let logs = vec![checkpoint.sign(&signing_key(1)), checkpoint.sign(&signing_key(1))];
    assert_eq!(note_of(logs).verify_log_signature(&log_key()), Err(SignatureError::Twice));
    assert_eq!(
        note_of(vec![other.sign(&signing_key(1))]).verify_log_signature(&log_key()),
        Err(SignatureError::Invalid)
    );

    let cosignature = cosign(&checkpoint, 1);
    let resized = |signature: &[u8]| {
        let line = SignatureLine::new(node_name(1), node_key(1).id(), signature.to_vec()).unwrap();
        note_of(vec![line]).verify_cosignatures(&nodes())
    };
    assert_eq!(resized(cosignature.signature()).map(|found| found.len()), Ok(1));
    for length in 1..72 {
        assert_eq!(resized(&cosignature.signature()[..length]), Err(SignatureError::Invalid));
    }
    assert_eq!(resized(&[cosignature.signature(), &[0]].concat()), Err(SignatureError::Invalid));
}

#[test]
fn cosignature_times_are_bounded() {
    let checkpoint = checkpoint();
    let key = signing_key(101);
    for time_s in [0, 1 << 63, u64::MAX] {
        assert_eq!(checkpoint.cosign(&node_name(1), time_s, &key), Err(SignatureError::Time));
        let signature = [&time_s.to_be_bytes()[..], &[0; 64]].concat();
        let line = SignatureLine::new(node_name(1), node_key(1).id(), signature).unwrap();
        let signed = SignedCheckpoint::new(checkpoint.clone(), vec![line]).unwrap();
        assert_eq!(signed.verify_cosignatures(&nodes()), Err(SignatureError::Time));
    }
    for time_s in [1, (1 << 63) - 1] {
        let line = checkpoint.cosign(&node_name(1), time_s, &key).unwrap();
        let signed = SignedCheckpoint::new(checkpoint.clone(), vec![line]).unwrap();
        assert_eq!(signed.verify_cosignatures(&nodes()), Ok(vec![Cosignature { cosigner: 0, time_s }]));
    }
}

#[test]
fn no_tampered_checkpoint_is_vouched_for() {
    let bytes = signed(checkpoint()).encode().into_bytes();
    assert_eq!(vouched(&bytes), Some(checkpoint()));
    for tampered in tampered(&bytes) {
        assert_eq!(vouched(&tampered), None, "{}", String::from_utf8_lossy(&tampered));
    }
}
