//! The hashes of RFC 6962 §2.1, and the same as a hasher for `rs_merkle`.

use rs_merkle::{Hasher, PartialTree};

use crate::hash::Hash;

/// The root of the tree without leaves: SHA-256 of the empty string (RFC 6962 §2.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// The hash of a leaf: `SHA-256(00 ‖ entry)` (RFC 6962 §2.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash::of(&[&[0x00], entry])
}

/// The hash of an inner node: `SHA-256(01 ‖ left ‖ right)` (RFC 6962 §2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&[0x01], left.as_bytes(), right.as_bytes()])
}

/// RFC 6962 §2.1 for `rs_merkle`, whose own `concat_and_hash` has no domain separation.
///
/// `rs_merkle` carries the last node of an odd layer up unchanged. That is RFC 6962's tree: its split at
/// the largest power of two below n leaves exactly that node alone on its layer. Tests hold the two equal.
#[derive(Clone, Debug)]
pub enum Rfc6962 {}

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        leaf_hash(data).0
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        right.map_or(*left, |right| node_hash(&Hash(*left), &Hash(*right)).0)
    }
}

/// The whole tree over `leaf_hashes`, every layer of it; `None` when there are none.
///
/// Not through `rs_merkle::MerkleTree`, whose `commit` copies each layer twice.
pub(crate) fn whole_tree(leaf_hashes: &[[u8; 32]]) -> Option<PartialTree<Rfc6962>> {
    if leaf_hashes.is_empty() {
        return None;
    }
    PartialTree::from_leaves(leaf_hashes).ok()
}

/// The audit path (RFC 6962 §2.1.1) of the leaf at `index` of a [`whole_tree`] that has so many.
pub(crate) fn audit_path(tree: &PartialTree<Rfc6962>, index: u32) -> Vec<Hash> {
    let mut hashes = Vec::with_capacity(tree.depth());
    // INVARIANT: usize has at least 32 bits wherever this is built.
    let mut position = index as usize;
    for layer in tree.layers() {
        // The last node of an odd layer has no sibling, nor has the root.
        if let Some((_, sibling)) = layer.get(position ^ 1) {
            hashes.push(Hash(*sibling));
        }
        position >>= 1;
    }
    hashes
}

/// The root over `nodes`, the hashes of neighbouring subtrees of one height; `None` when there are none.
pub(super) fn subtree_root(nodes: &[Hash]) -> Option<Hash> {
    match nodes {
        [node] => Some(*node),
        _ => {
            let nodes: Vec<[u8; 32]> = nodes.iter().map(|node| node.0).collect();
            whole_tree(&nodes)?.root().copied().map(Hash)
        }
    }
}
