//! Other makers' Merkle trees, beside the state tree and the log.

use std::hint::black_box;

use chancery_client::chancery_ledger::hash::Hash;
use chancery_client::chancery_ledger::log::{
    MemoryTiles, leaf_hash, prove_inclusion, root_at, verify_inclusion,
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use jmt::mock::MockTreeStore;
use jmt::{KeyHash, Sha256Jmt};
use sha2::Sha256;

use super::beside::{Beside, Failed, Ours, block, fillings, key, per_key, per_proof, proven, timed, value};

/// Bytes of a leaf of the log.
const LEAF_SIZE_BYTES: usize = 300;

/// Measures each, with so many keys and leaves.
pub(crate) fn measure(keys: u32, ours: &Ours) -> Failed<Vec<Beside>> {
    let mut rows = state(keys, ours)?;
    rows.extend(log(keys)?);
    Ok(rows)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn state(keys: u32, ours: &Ours) -> Failed<Vec<Beside>> {
    let store = MockTreeStore::default();
    let tree = Sha256Jmt::new(&store);
    let changes = |numbers: &mut dyn Iterator<Item = u32>, version: u32| {
        numbers.map(|number| (KeyHash(key(number)), Some(value(version)))).collect::<Vec<_>>()
    };
    let mut version = 0;
    for mut numbers in fillings(keys) {
        let (_, batch) = tree.put_value_set(changes(&mut numbers, 0), version).map_err(words)?;
        store.write_tree_update_batch(batch).map_err(words)?;
        store.purge_stale_nodes(version).map_err(words)?;
        version += 1;
    }
    let update_us = per_key(|number| {
        let changes = changes(&mut block(number, keys), number + 1);
        let (changed, took_us) = timed(|| tree.put_value_set(black_box(changes), version));
        let (_, batch) = changed.map_err(words)?;
        store.write_tree_update_batch(batch).map_err(words)?;
        store.purge_stale_nodes(version).map_err(words)?;
        version += 1;
        Ok(took_us)
    })?;
    let newest = version.saturating_sub(1);
    let prove_us = per_proof(|proof| {
        for number in proven(proof, keys) {
            let _ = black_box(tree.get_with_proof(KeyHash(key(number)), newest));
        }
    });
    Ok(vec![
        Beside {
            what: "the same".into(),
            us: ours.update_us,
            other: "jmt, put_value_set".into(),
            other_us: update_us,
            differs: "its mock store, nodes of sixteen children hashed as a binary tree; storing is left out of both"
                .into(),
        },
        Beside {
            what: format!("proof of {} keys of {keys}, reading them included", proven(0, keys).count()),
            us: ours.prove_us,
            other: "jmt, get_with_proof".into(),
            other_us: prove_us,
            differs: "ours is one pruned tree that shares what the keys share, jmt's a path for each".into(),
        },
    ])
}

fn log(leaves: u32) -> Failed<Vec<Beside>> {
    let leaf = |number: u32| {
        let mut leaf = vec![9; LEAF_SIZE_BYTES];
        for (to, from) in leaf.iter_mut().zip(number.to_be_bytes()) {
            *to = from;
        }
        leaf
    };
    let (mut tiles, mut peer) = (MemoryTiles::new(), MemoryBackedTree::<Sha256, Vec<u8>>::new());
    for numbers in fillings(leaves) {
        let hashes: Vec<Hash> = numbers.clone().map(|number| leaf_hash(&leaf(number))).collect();
        tiles.append(&hashes);
        numbers.for_each(|number| peer.push(leaf(number)));
    }
    let added = |block_number: u32| -> Vec<Vec<u8>> { block(block_number, leaves).map(leaf).collect() };
    let ours_us = per_key(|number| {
        let added = added(number);
        let append = || {
            let hashes: Vec<Hash> = added.iter().map(|leaf| leaf_hash(leaf)).collect();
            black_box(tiles.append(&hashes));
            black_box(tiles.frontier().root());
        };
        Ok(timed(append).1)
    })?;
    let peer_us = per_key(|number| {
        let added = added(number);
        let push = || {
            added.into_iter().for_each(|leaf| peer.push(leaf));
            black_box(peer.root());
        };
        Ok(timed(push).1)
    })?;
    let size = tiles.frontier().size();
    let index = |proof: u32| proof.wrapping_mul(7_919) % leaves;
    let ours_prove_us = per_proof(|proof| {
        let _ = black_box(prove_inclusion(&tiles, index(proof).into(), size));
    });
    let peer_index = |proof: u32| usize::try_from(index(proof)).unwrap_or(0);
    let peer_prove_us = per_proof(|proof| {
        black_box(peer.prove_inclusion(peer_index(proof)));
    });
    let root = root_at(&tiles, size).map_err(words)?;
    if peer.len() != size || peer.root().as_bytes().as_slice() != root.0.as_slice() {
        return Err("the two logs have different roots".into());
    }
    let (number, entry) = (index(1), leaf(index(1)));
    let path = prove_inclusion(&tiles, number.into(), size).map_err(words)?;
    let (peer_root, peer_path) = (peer.root(), peer.prove_inclusion(peer_index(1)));
    let ours_verify_us = per_proof(|_| {
        let hash = leaf_hash(black_box(&entry));
        let _ = black_box(verify_inclusion(&hash, number.into(), size, &path, &root));
    });
    let peer_verify_us = per_proof(|_| {
        let _ = black_box(peer_root.verify_inclusion(black_box(&entry), number.into(), &peer_path));
    });
    let row = |what: String, us, other: &str, other_us, differs: &str| Beside {
        what,
        us,
        other: other.into(),
        other_us,
        differs: differs.into(),
    };
    Ok(vec![
        row(
            format!("a leaf appended to a log of {leaves}, in a block of 100, and the root"),
            ours_us,
            "ct-merkle, push",
            peer_us,
            "ours hashes each node once, ct-merkle the whole way up at each leaf; it also keeps the leaves",
        ),
        row(
            "a proof of inclusion in it".into(),
            ours_prove_us,
            "ct-merkle, prove_inclusion",
            peer_prove_us,
            "ct-merkle keeps every node in one array, ours tiles without the nodes between their levels, which it \
             hashes again",
        ),
        row(
            "its verification, the leaf's hash included".into(),
            ours_verify_us,
            "ct-merkle, verify_inclusion",
            peer_verify_us,
            "nothing",
        ),
    ])
}
