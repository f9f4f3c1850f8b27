//! The log against RFC 6962's own recursion, `ct-merkle`, and RFC 6962 test vectors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::cast_possible_truncation)]

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::hash::Hash;

mod nonce_paths;
mod proofs;
mod tile_rows;

/// MTH of RFC 6962 §2.1, as it is written there.
fn mth(leaf_hashes: &[Hash]) -> Hash {
    match leaf_hashes {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let k = split(leaf_hashes.len());
            node_hash(&mth(&leaf_hashes[..k]), &mth(&leaf_hashes[k..]))
        }
    }
}

/// PATH of RFC 6962 §2.1.1, as it is written there.
fn path(m: usize, leaf_hashes: &[Hash]) -> Vec<Hash> {
    if leaf_hashes.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaf_hashes.split_at(split(leaf_hashes.len()));
    let (mut below, sibling) =
        if m < left.len() { (path(m, left), mth(right)) } else { (path(m - left.len(), right), mth(left)) };
    below.push(sibling);
    below
}

/// SUBPROOF of RFC 6962 §2.1.2, as it is written there.
fn subproof(m: usize, leaf_hashes: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaf_hashes.len() {
        return if known { Vec::new() } else { vec![mth(leaf_hashes)] };
    }
    let (left, right) = leaf_hashes.split_at(split(leaf_hashes.len()));
    let (mut below, sibling) = if m <= left.len() {
        (subproof(m, left, known), mth(right))
    } else {
        (subproof(m - left.len(), right, false), mth(left))
    };
    below.push(sibling);
    below
}

fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

fn entry(i: usize) -> Vec<u8> {
    format!("entry {i}").into_bytes()
}

fn leaves(n: usize) -> Vec<Hash> {
    (0..n).map(|i| leaf_hash(&entry(i))).collect()
}

fn frontier_of(leaf_hashes: &[Hash]) -> Frontier {
    let mut frontier = Frontier::new();
    leaf_hashes.iter().for_each(|leaf| frontier.append(*leaf));
    frontier
}

/// The entries and roots that the Certificate Transparency implementations test themselves with.
const CT_ENTRIES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const CT_ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn ct_test_vectors() {
    let leaf_hashes: Vec<Hash> = CT_ENTRIES.iter().map(|entry| leaf_hash(entry)).collect();
    let mut tiles = MemoryTiles::new();
    for (size, root) in CT_ROOTS.iter().enumerate() {
        assert_eq!(frontier_of(&leaf_hashes[..size]).root().to_string(), *root);
        assert_eq!(mth(&leaf_hashes[..size]).to_string(), *root);
        if size < 8 {
            tiles.append(&leaf_hashes[size..=size]);
        }
    }
    let hex = |hashes: Vec<Hash>| hashes.iter().map(Hash::to_string).collect::<Vec<_>>();
    assert_eq!(
        hex(prove_inclusion(&tiles, 0, 8).unwrap()),
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
    );
    assert_eq!(
        hex(prove_consistency(&tiles, 6, 8).unwrap()),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn frontier_agrees_with_the_definition_and_ct_merkle_at_each_size() {
    let leaf_hashes = leaves(600);
    let mut frontier = Frontier::new();
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for size in 0..=leaf_hashes.len() {
        assert_eq!(frontier.size(), size as u64);
        assert_eq!(frontier.root().as_bytes()[..], theirs.root().as_bytes()[..]);
        if size < 140 {
            assert_eq!(frontier.root(), mth(&leaf_hashes[..size]));
        }
        assert_eq!(Frontier::decode(&frontier.encode()), Ok(frontier.clone()));
        if size < leaf_hashes.len() {
            frontier.append(leaf_hashes[size]);
            theirs.push(entry(size));
        }
    }
}

#[test]
fn frontier_decoding_is_strict() {
    let bytes = frontier_of(&leaves(11)).encode();
    assert_eq!(bytes.len(), 8 + 3 * 32);
    for length in 0..bytes.len() {
        assert_eq!(Frontier::decode(&bytes[..length]), Err(FrontierError::Length));
    }
    assert_eq!(Frontier::decode(&[&bytes[..], &[0]].concat()), Err(FrontierError::Length));
    assert_eq!(Frontier::decode(&[&bytes[..], &[0; 32]].concat()), Err(FrontierError::Length));
    let mut full = u64::MAX.to_be_bytes().to_vec();
    full.resize(8 + 64 * 32, 0);
    assert_eq!(Frontier::decode(&full), Err(FrontierError::TooLarge { size: u64::MAX }));
    let mut greatest = SIZE_MAX.to_be_bytes().to_vec();
    greatest.resize(8 + 63 * 32, 0);
    assert_eq!(Frontier::decode(&greatest).map(|frontier| frontier.size()), Ok(SIZE_MAX));
}

#[test]
fn entry_bundles_round_trip_and_refuse_the_rest() {
    let entries = [b"".to_vec(), b"a".to_vec(), vec![7; ENTRY_BYTES_MAX]];
    let bytes = encode_entry_bundle(&entries).unwrap();
    assert_eq!(bytes[..6], [0, 0, 0, 1, b'a', 0xff]);
    assert_eq!(decode_entry_bundle(&bytes, 3).unwrap(), entries);
    assert_eq!(decode_entry_bundle(&bytes, 2), Err(BundleError::TrailingBytes));
    assert_eq!(decode_entry_bundle(&bytes, 4), Err(BundleError::Truncated));
    assert_eq!(decode_entry_bundle(&bytes[..bytes.len() - 1], 3), Err(BundleError::Truncated));
    assert_eq!(decode_entry_bundle(&[], 0), Err(BundleError::Count));
    assert_eq!(decode_entry_bundle(&[0; 514], 257), Err(BundleError::Count));
    assert_eq!(encode_entry_bundle::<Vec<u8>>(&[]), Err(BundleError::Count));
    assert_eq!(encode_entry_bundle(&[[]; 257]), Err(BundleError::Count));
    assert_eq!(encode_entry_bundle(&[vec![7; ENTRY_BYTES_MAX + 1]]), Err(BundleError::EntryTooLong));
}

proptest! {
    #[test]
    fn any_log_has_the_roots_of_the_definition(entries in prop::collection::vec(any::<Vec<u8>>(), 0..80)) {
        let leaf_hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        entries.into_iter().for_each(|entry| theirs.push(entry));
        let root = frontier_of(&leaf_hashes).root();
        prop_assert_eq!(root, mth(&leaf_hashes));
        prop_assert_eq!(root.as_bytes().to_vec(), theirs.root().as_bytes().to_vec());
    }
}
