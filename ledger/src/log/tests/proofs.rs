//! Every proof up to 70 leaves, and every way to spoil one.

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};

use super::*;

const SIZE: usize = 70;

fn log_of(n: usize) -> (Vec<Hash>, MemoryTiles) {
    let leaf_hashes = leaves(n);
    let mut tiles = MemoryTiles::new();
    tiles.append(&leaf_hashes);
    (leaf_hashes, tiles)
}

fn their_root(root: Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new(root.0.into(), size)
}

fn bytes_of(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

/// All that one edit makes of a proof: a bit flipped, a hash dropped, doubled or moved, one more at an end.
fn spoiled(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for i in 0..proof.len() {
        for (byte, bit) in [(0, 0x80), (31, 0x01)] {
            let mut flipped = proof.to_vec();
            flipped[i].0[byte] ^= bit;
            all.push(flipped);
        }
        let mut dropped = proof.to_vec();
        dropped.remove(i);
        all.push(dropped);
        let mut doubled = proof.to_vec();
        doubled.insert(i, proof[i]);
        all.push(doubled);
        all.push(proof[..i].to_vec());
        if i > 0 {
            let mut swapped = proof.to_vec();
            swapped.swap(i - 1, i);
            all.push(swapped);
        }
    }
    all.push([&[Hash::ZERO], proof].concat());
    all.push([proof, &[Hash::ZERO]].concat());
    all
}

#[test]
fn what_is_remembered_of_a_log_proves_the_same_as_it_grows() {
    let leaf_hashes = leaves(1_300);
    let (mut tiles, roots) = (MemoryTiles::new(), SubtreeRoots::default());
    for (size, added) in (0..).step_by(13).zip(leaf_hashes.chunks(13)) {
        tiles.append(added);
        let size = size + added.len() as u64;
        for index in (0..size).rev().step_by(37).chain(size - added.len() as u64..size) {
            let proof = prove_inclusion_with(&tiles, &roots, index, size);
            assert_eq!(proof, prove_inclusion(&tiles, index, size), "{index} of {size}");
            assert_eq!(proof.unwrap(), path(index as usize, &leaf_hashes[..size as usize]));
        }
        assert_eq!(prove_inclusion_with(&tiles, &roots, size, size), Err(ProveError::OutOfRange));
    }
}

#[test]
fn every_inclusion_proof() {
    let (leaf_hashes, tiles) = log_of(SIZE);
    for size in 1..=SIZE {
        let root = mth(&leaf_hashes[..size]);
        assert_eq!(root_at(&tiles, size as u64), Ok(root));
        for index in 0..size {
            let leaf = &leaf_hashes[index];
            let proof = prove_inclusion(&tiles, index as u64, size as u64).unwrap();
            assert_eq!(proof, path(index, &leaf_hashes[..size]));
            let verify = |index: usize, size: usize, proof: &[Hash]| {
                verify_inclusion(leaf, index as u64, size as u64, proof, &root)
            };
            assert_eq!(verify(index, size, &proof), Ok(()));
            their_root(root, size as u64)
                .verify_inclusion(&entry(index), index as u64, &InclusionProof::from_bytes(bytes_of(&proof)))
                .unwrap();
            for other in (0..size).filter(|other| *other != index) {
                assert!(verify(other, size, &proof).is_err());
            }
            for spoiled in spoiled(&proof) {
                assert!(verify(index, size, &spoiled).is_err());
            }
            assert_eq!(
                verify_inclusion(&Hash::ZERO, index as u64, size as u64, &proof, &root),
                Err(VerifyError::RootMismatch)
            );
        }
        assert_eq!(prove_inclusion(&tiles, size as u64, size as u64), Err(ProveError::OutOfRange));
        assert_eq!(
            verify_inclusion(&leaf_hashes[0], size as u64, size as u64, &[], &root),
            Err(VerifyError::OutOfRange)
        );
    }
}

#[test]
fn every_consistency_proof() {
    let (leaf_hashes, tiles) = log_of(SIZE);
    for new in 0..=SIZE {
        let new_root = mth(&leaf_hashes[..new]);
        for old in 0..=new {
            let old_root = mth(&leaf_hashes[..old]);
            let proof = prove_consistency(&tiles, old as u64, new as u64).unwrap();
            let verify = |old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                verify_consistency(old as u64, old_root, new as u64, new_root, proof)
            };
            if 0 < old && old < new {
                assert_eq!(proof, subproof(old, &leaf_hashes[..new], true));
                their_root(new_root, new as u64)
                    .verify_consistency(
                        &their_root(old_root, old as u64),
                        &ConsistencyProof::try_from_bytes(bytes_of(&proof)).unwrap(),
                    )
                    .unwrap();
            } else {
                assert!(proof.is_empty());
            }
            assert_eq!(verify(&old_root, &new_root, &proof), Ok(()));
            for spoiled in spoiled(&proof) {
                assert!(verify(&old_root, &new_root, &spoiled).is_err(), "{old} {new}");
            }
            assert!(verify(&Hash::ZERO, &new_root, &proof).is_err());
            // Nothing is claimed about the tree that extends the empty one, unless it is empty too.
            assert_eq!(verify(&old_root, &Hash::ZERO, &proof).is_ok(), old == 0 && new > 0);
            if old < new {
                let swapped = (new as u64, old as u64);
                assert_eq!(prove_consistency(&tiles, swapped.0, swapped.1), Err(ProveError::OutOfRange));
                assert_eq!(
                    verify_consistency(swapped.0, &new_root, swapped.1, &old_root, &proof),
                    Err(VerifyError::OutOfRange)
                );
            }
        }
    }
}

#[test]
fn no_other_sizes_verify_a_consistency_proof() {
    let (leaf_hashes, tiles) = log_of(24);
    let root = |size: usize| mth(&leaf_hashes[..size]);
    for new in 2..=24 {
        for old in 1..new {
            let proof = prove_consistency(&tiles, old as u64, new as u64).unwrap();
            for (a, b) in (1..=24).flat_map(|a| (a..=24).map(move |b| (a, b))) {
                let accepted = verify_consistency(a as u64, &root(a), b as u64, &root(b), &proof).is_ok();
                assert!(!accepted || (a, b) == (old, new), "{old} {new} as {a} {b}");
            }
        }
    }
}

#[test]
fn a_proof_under_its_own_roots_but_other_sizes_has_the_length_of_those_sizes() {
    // A root does not commit to its size, so that some other sizes fit. None with another length does.
    let (leaf_hashes, tiles) = log_of(24);
    for new in 1..=24 {
        let new_root = mth(&leaf_hashes[..new]);
        for old in 1..=new {
            let old_root = mth(&leaf_hashes[..old]);
            let proof = prove_consistency(&tiles, old as u64, new as u64).unwrap();
            for (a, b) in (1..=24).flat_map(|a| (a..=24).map(move |b| (a, b))) {
                if verify_consistency(a, &old_root, b, &new_root, &proof).is_ok() {
                    assert_eq!(prove_consistency(&tiles, a, b).unwrap().len(), proof.len());
                }
            }
        }
    }
}

#[test]
fn the_greatest_sizes_do_not_overflow() {
    let path = [Hash::ZERO; 64];
    for size in [SIZE_MAX, SIZE_MAX + 1, u64::MAX] {
        for index in [0, 1, size / 2, size - 2, size - 1] {
            let length = verify::inclusion_proof_len(index, size).unwrap() as usize;
            assert!(root_from_inclusion(&Hash::ZERO, index, size, &path[..length]).is_ok());
            assert!(root_from_inclusion(&Hash::ZERO, index, size, &[Hash::ZERO; 65]).is_err());
        }
        for old in [1, 2, size / 2, size / 2 + 1, size - 1] {
            for length in 0..=path.len() {
                assert!(verify_consistency(old, &Hash::ZERO, size, &EMPTY_ROOT, &path[..length]).is_err());
            }
        }
    }
    assert_eq!(verify_inclusion(&Hash::ZERO, 0, 0, &[], &EMPTY_ROOT), Err(VerifyError::OutOfRange));
    assert_eq!(verify_inclusion(&Hash::ZERO, 0, 1, &[], &Hash::ZERO), Ok(()));
}

#[test]
fn proof_lengths_are_exact_at_sizes_that_no_test_builds() {
    // PATH's length by its recursion, without the tree.
    fn by_recursion(m: u64, n: u64) -> u32 {
        if n == 1 {
            return 0;
        }
        let k = 1 << (63 - (n - 1).leading_zeros());
        1 + if m < k { by_recursion(m, k) } else { by_recursion(m - k, n - k) }
    }
    for size in [1 << 20, (1 << 20) + 1, (1 << 40) - 1, (1 << 40) + 12_345, SIZE_MAX, u64::MAX] {
        for index in [0, 1, 77, size / 3, size / 2, size - 78, size - 2, size - 1] {
            assert_eq!(verify::inclusion_proof_len(index, size), Some(by_recursion(index, size)));
        }
    }
}
