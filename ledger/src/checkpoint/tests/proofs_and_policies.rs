//! c2sp.org/tlog-proof and c2sp.org/tlog-policy.

use super::*;
use crate::log::{MemoryTiles, VerifyError, leaf_hash, prove_inclusion};

const INDEX: u64 = 300;

fn proof(extra: &[u8]) -> TlogProof {
    let mut tiles = MemoryTiles::new();
    tiles.append(&(0..700u32).map(|i| leaf_hash(&i.to_be_bytes())).collect::<Vec<_>>());
    let (size, root) = (tiles.frontier().size(), tiles.frontier().root());
    let hashes = prove_inclusion(&tiles, INDEX, size).unwrap();
    let checkpoint = signed(Checkpoint::new(name(ORIGIN), size, root).unwrap());
    TlogProof::new(extra.to_vec(), INDEX, hashes, checkpoint).unwrap()
}

fn leaf() -> Hash {
    leaf_hash(&300u32.to_be_bytes())
}

/// Whether these bytes prove the leaf under a checkpoint that is vouched for.
fn proves(bytes: &[u8]) -> bool {
    TlogProof::parse(bytes).is_ok_and(|proof| {
        assert_eq!(proof.encode().as_bytes(), bytes, "one spelling");
        proof.verify_inclusion(&leaf()).is_ok() && vouched(proof.checkpoint().encode().as_bytes()).is_some()
    })
}

#[test]
fn proofs_have_the_form_of_the_specification() {
    let text = proof(b"seven").encode();
    let (head, checkpoint) = text.split_once("\n\n").unwrap();
    let lines: Vec<&str> = head.split('\n').collect();
    assert_eq!(lines[..3], ["c2sp.org/tlog-proof@v1", "extra c2V2ZW4=", "index 300"]);
    assert_eq!(lines.len(), 3 + 10);
    assert_eq!(SignedCheckpoint::parse(checkpoint.as_bytes()).as_ref(), Ok(proof(b"").checkpoint()));
    assert!(proof(b"").encode().starts_with("c2sp.org/tlog-proof@v1\nindex 300\n"));
}

/// The same files are read by what others wrote: `interop/live`.
#[test]
fn what_other_tools_are_shown_is_what_is_written() {
    assert_eq!(proof(b"").encode(), include_str!("300.tlog-proof"));
    assert_eq!(proof(b"seven").encode(), include_str!("300-extra.tlog-proof"));
    assert_eq!(tlog_policy(&log_key(), &nodes(), 2).unwrap(), include_str!("300.tlog-policy"));
}

#[test]
fn proofs_round_trip_and_prove_one_leaf() {
    for extra in [&b""[..], b"x", &[0; EXTRA_BYTES_MAX]] {
        let proof = proof(extra);
        assert_eq!(TlogProof::parse(proof.encode().as_bytes()).as_ref(), Ok(&proof));
        assert_eq!((proof.extra(), proof.index(), proof.hashes().len()), (extra, INDEX, 10));
        assert!(proves(proof.encode().as_bytes()));
        assert_eq!(proof.verify_inclusion(&Hash::ZERO), Err(VerifyError::RootMismatch));
    }
    let proof = proof(b"");
    let remade = |extra: usize, index, hashes: &[Hash]| {
        TlogProof::new(vec![0; extra], index, hashes.to_vec(), proof.checkpoint().clone())
    };
    assert_eq!(remade(EXTRA_BYTES_MAX + 1, INDEX, proof.hashes()), Err(TlogProofError::Extra));
    assert_eq!(remade(0, 700, proof.hashes()), Err(VerifyError::OutOfRange.into()));
    assert_eq!(remade(0, INDEX, &proof.hashes()[1..]), Err(VerifyError::ProofLength.into()));
}

#[test]
fn a_log_of_one_leaf_needs_no_hashes() {
    let checkpoint = signed(Checkpoint::new(name(ORIGIN), 1, leaf()).unwrap());
    let proof = TlogProof::new(Vec::new(), 0, Vec::new(), checkpoint).unwrap();
    assert!(proof.encode().starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nchancery.example/ledger\n1\n"));
    assert!(proves(proof.encode().as_bytes()));
}

#[test]
fn no_tampered_proof_proves() {
    for tampered in tampered(proof(b"").encode().as_bytes()) {
        assert!(!proves(&tampered), "{}", String::from_utf8_lossy(&tampered));
    }
}

#[test]
fn malformed_proofs_are_refused() {
    let text = proof(b"").encode();
    let parse = |text: String| TlogProof::parse(text.as_bytes()).unwrap_err();
    assert_eq!(parse(text.replace("index 300", "extra \nindex 300")), TlogProofError::Extra);
    assert_eq!(parse(text.replace("index 300", "extra eA\nindex 300")), TlogProofError::Extra);
    assert_eq!(parse(text.replace("index 300", "extra\nindex 300")), TlogProofError::Index);
    assert_eq!(parse(text.replace("index 300", "index 300\nextra eA==")), TlogProofError::Hash);
    assert_eq!(parse(text.replace("index 300", "extra eA==\nextra eA==\nindex 300")), TlogProofError::Index);
    assert_eq!(parse(text.replace("index 300", "index 0300")), TlogProofError::Index);
    assert_eq!(parse(text.replace("index 300", "index 700")), VerifyError::OutOfRange.into());
    assert_eq!(parse(text.replace("@v1", "@v2")), TlogProofError::Form);
    assert_eq!(parse(text.replace('\n', "\r\n")), TlogProofError::Form);
    assert_eq!(parse("c2sp.org/tlog-proof@v1\n".into()), TlogProofError::Form);
    let line = text.lines().nth(2).unwrap();
    let longer = text.replacen(line, &[line; 64].join("\n"), 1);
    assert_eq!(parse(longer), VerifyError::ProofLength.into());
    assert_eq!(TlogProof::parse(&vec![b'a'; 1 << 20]), Err(TlogProofError::TooLong));
    assert!(matches!(parse(text.replace("\n700\n", "\n0700\n")), TlogProofError::Checkpoint(_)));
}

#[test]
fn policies_have_the_form_of_the_specification() {
    let [one, two, three] = nodes();
    let log = log_key();
    assert_eq!(
        tlog_policy(&log, &nodes(), 2).unwrap(),
        format!(
            "log {log}\n\n\
             witness node1.chancery.example {one}\n\
             witness node2.chancery.example {two}\n\
             witness node3.chancery.example {three}\n\
             group roster 2 node1.chancery.example node2.chancery.example node3.chancery.example\n\
             quorum roster\n"
        )
    );
}

#[test]
fn policies_that_would_mean_something_else_are_refused() {
    let log = log_key();
    let [one, two, _] = nodes();
    assert_eq!(tlog_policy(&log, &[], 0), Err(PolicyError::Threshold));
    assert_eq!(tlog_policy(&log, &nodes(), 0), Err(PolicyError::Threshold));
    assert_eq!(tlog_policy(&log, &nodes(), 4), Err(PolicyError::Threshold));
    assert_eq!(tlog_policy(&one, std::slice::from_ref(&two), 1), Err(PolicyError::KeyType));
    assert_eq!(tlog_policy(&log, std::slice::from_ref(&log), 1), Err(PolicyError::KeyType));
    assert_eq!(tlog_policy(&log, &[one.clone(), one.clone()], 1), Err(PolicyError::Duplicate));
    let of = |of: &str, key: &VerifierKey| {
        VerifierKey::new(name(of), SignatureType::Cosignature, *key.public_key()).unwrap()
    };
    assert_eq!(tlog_policy(&log, &[one.clone(), of("alias", &one)], 1), Err(PolicyError::Duplicate));
    assert_eq!(tlog_policy(&log, &[of("same", &one), of("same", &two)], 1), Err(PolicyError::Duplicate));
    for reserved in ["none", "roster", "a\u{7f}"] {
        assert_eq!(tlog_policy(&log, &[of(reserved, &one)], 1), Err(PolicyError::Name));
    }
}
