//! The nonce tree against the log's own right edge, and every way to spoil a path.

use super::nonces::{NONCES_MAX, NoncePath, NonceTree, NonceTreeError};
use super::rfc6962::{subtree_root, whole_tree};
use super::*;

fn nonces(n: usize) -> Vec<[u8; 32]> {
    (0..n).map(|i| Hash::of(&[b"nonce", &i.to_be_bytes()]).0).collect()
}

fn frontier_root(nonces: &[[u8; 32]]) -> Hash {
    frontier_of(&nonces.iter().map(|nonce| leaf_hash(nonce)).collect::<Vec<_>>()).root()
}

fn labelled(count: usize, tree_root: Hash) -> Hash {
    Hash::labelled("chancery/nonces/v1", &[&(count as u32).to_be_bytes(), tree_root.as_bytes()])
}

#[test]
fn rs_merkle_builds_the_tree_of_rfc_6962_at_each_size() {
    assert!(whole_tree(&[]).is_none());
    let nonces = nonces(1_030);
    let leaf_hashes: Vec<Hash> = nonces.iter().map(|nonce| leaf_hash(nonce)).collect();
    let mut frontier = Frontier::new();
    for size in 1..=leaf_hashes.len() {
        frontier.append(leaf_hashes[size - 1]);
        assert_eq!(subtree_root(&leaf_hashes[..size]), Some(frontier.root()));
        let whole = rs_merkle::MerkleTree::<Rfc6962>::from_leaves(
            &leaf_hashes[..size].iter().map(|leaf| leaf.0).collect::<Vec<_>>(),
        );
        assert_eq!(whole.root(), Some(frontier.root().0));
    }
}

#[test]
fn every_path_of_every_small_round() {
    for count in 1..=70 {
        let nonces = nonces(count);
        let tree = NonceTree::new(nonces.clone()).unwrap();
        assert_eq!(tree.root(), labelled(count, frontier_root(&nonces)));
        assert_eq!(tree.count() as usize, count);
        assert_eq!(tree.path(count as u32), None);
        let leaf_hashes: Vec<Hash> = nonces.iter().map(|nonce| leaf_hash(nonce)).collect();
        for (index, nonce) in nonces.iter().enumerate() {
            let nonce_path = tree.path(index as u32).unwrap();
            assert_eq!(nonce_path.hashes, path(index, &leaf_hashes));
            assert_eq!(nonce_path.root(nonce), Ok(tree.root()));
            assert_ne!(nonce_path.root(&[0; 32]), Ok(tree.root()));
            for other in 0..=count + 1 {
                let moved = NoncePath { index: other as u32, ..nonce_path.clone() };
                assert_eq!(moved.root(nonce) == Ok(tree.root()), other == index);
                let recounted = NoncePath { count: other as u32, ..nonce_path.clone() };
                assert_eq!(recounted.root(nonce) == Ok(tree.root()), other == count);
            }
            for i in 0..nonce_path.hashes.len() {
                let mut flipped = nonce_path.clone();
                flipped.hashes[i].0[7] ^= 4;
                assert_ne!(flipped.root(nonce), Ok(tree.root()));
                let mut dropped = nonce_path.clone();
                dropped.hashes.remove(i);
                assert_eq!(dropped.root(nonce), Err(VerifyError::ProofLength));
                let mut doubled = nonce_path.clone();
                doubled.hashes.insert(i, doubled.hashes[i]);
                assert_eq!(doubled.root(nonce), Err(VerifyError::ProofLength));
            }
        }
    }
}

#[test]
fn rounds_are_bounded() {
    assert_eq!(NonceTree::new(Vec::new()).err(), Some(NonceTreeError::Empty));
    let too_many = nonces(NONCES_MAX as usize + 1);
    assert_eq!(NonceTree::new(too_many.clone()).err(), Some(NonceTreeError::TooMany));
    for count in [255, 256, 257, 65_535, 65_536] {
        let tree = NonceTree::new(too_many[..count].to_vec()).unwrap();
        assert_eq!(tree.root(), labelled(count, frontier_root(&too_many[..count])));
        for index in [0, 1, count / 2, count - 2, count - 1] {
            assert_eq!(tree.path(index as u32).unwrap().root(&too_many[index]), Ok(tree.root()));
        }
    }
    let beyond = NoncePath { index: 0, count: NONCES_MAX + 1, hashes: vec![Hash::ZERO; 17] };
    assert_eq!(beyond.root(&[0; 32]), Err(VerifyError::OutOfRange));
    let nothing = NoncePath { index: 0, count: 0, hashes: Vec::new() };
    assert_eq!(nothing.root(&[0; 32]), Err(VerifyError::OutOfRange));
}
