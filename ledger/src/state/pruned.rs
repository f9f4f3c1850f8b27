//! A read set as one pruned tree, and its encoding.
//!
//! Nodes follow each other in pre-order: an inner node, then its left side, then its right. Each starts
//! with a tag; lengths are big-endian.
//!
//! ```text
//! inner node         01 ‖ bit (1)
//! leaf               02 ‖ key (32) ‖ length (2) ‖ value
//! leaf, no value     03 ‖ key (32) ‖ SHA-256(value) (32)
//! bare hash          04 ‖ hash (32)
//! empty tree         05, only as the whole
//! ```

use super::node::{empty_hash, inner_hash, leaf_hash};
use super::{Defect, Key, Value};
use crate::hash::Hash;

/// What a set of reads needs to see of one version of the tree. Its root hash is computed from all of it,
/// so it means only what the version with that root hash says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunedTree {
    /// In pre-order, so that a left child stands right behind its parent. Never none.
    nodes: Vec<PrunedNode>,
    root_hash: Hash,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PrunedNode {
    /// `right` is the index of the right child.
    Inner {
        bit: u8,
        right: usize,
    },
    Leaf {
        key: Key,
        value: Value,
    },
    Withheld {
        key: Key,
        value_hash: Hash,
    },
    Bare(Hash),
    Empty,
}

impl PrunedTree {
    /// Reads what [`PrunedTree::encode`] wrote, from at most `size_bytes_max` bytes, and nothing else.
    ///
    /// Refuses, besides bytes that are not the encoding of a tree: bits that do not grow from parent to
    /// child, an opened leaf that cannot be where it stands, and an inner node that was opened for no
    /// leaf. Whether the root hash is a known one, the caller must ask.
    pub fn decode(bytes: &[u8], size_bytes_max: usize) -> Result<Self, PrunedDecodeError> {
        if bytes.len() > size_bytes_max {
            return Err(PrunedDecodeError::TooLong);
        }
        let mut reader = Reader { rest: bytes };
        let mut nodes = Vec::new();
        let mut awaited: usize = 1;
        while awaited > 0 {
            let node = reader.node(nodes.is_empty())?;
            match node {
                PrunedNode::Inner { .. } => awaited += 1,
                _ => awaited -= 1,
            }
            nodes.push(node);
        }
        if !reader.rest.is_empty() {
            return Err(PrunedDecodeError::TrailingBytes);
        }
        let opened_for_nothing = |run: &[PrunedNode]| {
            matches!(run, [PrunedNode::Inner { .. }, PrunedNode::Bare(_), PrunedNode::Bare(_)])
        };
        if nodes.windows(3).any(opened_for_nothing) {
            return Err(PrunedDecodeError::NothingOpened);
        }
        let root_hash = hash_whole(&nodes);
        if nodes == [PrunedNode::Bare(empty_hash())] {
            return Err(PrunedDecodeError::MisplacedEmpty);
        }
        Self::linked(nodes, root_hash).map_err(|(_, defect)| PrunedDecodeError::Structure(defect))
    }

    /// The bytes that [`PrunedTree::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for node in &self.nodes {
            match node {
                PrunedNode::Inner { bit, .. } => bytes.extend([TAG_INNER, *bit]),
                PrunedNode::Leaf { key, value } => {
                    // INVARIANT: a value's length fits two bytes; prune and decode see to it.
                    let [.., high, low] = value.len().to_be_bytes();
                    bytes.push(TAG_LEAF);
                    bytes.extend(key.0);
                    bytes.extend([high, low]);
                    bytes.extend_from_slice(value);
                }
                PrunedNode::Withheld { key, value_hash } => {
                    bytes.push(TAG_WITHHELD);
                    bytes.extend(key.0);
                    bytes.extend(value_hash.0);
                }
                PrunedNode::Bare(hash) => {
                    bytes.push(TAG_BARE);
                    bytes.extend(hash.0);
                }
                PrunedNode::Empty => bytes.push(TAG_EMPTY),
            }
        }
        bytes
    }

    /// The root hash of the version that this was cut from.
    pub fn root_hash(&self) -> Hash {
        self.root_hash
    }

    pub(super) fn empty() -> Self {
        Self { nodes: vec![PrunedNode::Empty], root_hash: empty_hash() }
    }

    pub(super) fn nodes(&self) -> &[PrunedNode] {
        &self.nodes
    }

    /// Takes nodes that are in pre-order, tells each inner node where its right child is, and checks that
    /// every node can be where it stands; if one cannot, returns its index.
    pub(super) fn linked(mut nodes: Vec<PrunedNode>, root_hash: Hash) -> Result<Self, (usize, Defect)> {
        // Backwards, so that an inner node finds its children, left on top, when its turn comes.
        let mut done: Vec<Subtree> = Vec::new();
        for (index, node) in nodes.iter_mut().enumerate().rev() {
            let subtree = match node {
                PrunedNode::Inner { bit, right } => {
                    // INVARIANT: in a whole pre-order both children stand behind their parent.
                    let (Some(on_left), Some(on_right)) = (done.pop(), done.pop()) else {
                        return Err((index, Defect::KeyMisplaced));
                    };
                    for child in [&on_left, &on_right] {
                        if child.bit.is_some_and(|below| below <= *bit) {
                            return Err((child.index, Defect::BitNotGrowing));
                        }
                    }
                    // One key speaks for all beneath a child: they share every bit before the child's
                    // own, so this one among them.
                    let in_place = match (&on_left.key, &on_right.key) {
                        (Some(left), Some(right)) => {
                            left.first_difference(right) == Some(*bit) && !left.bit(*bit)
                        }
                        (Some(left), None) => !left.bit(*bit),
                        (None, Some(right)) => right.bit(*bit),
                        (None, None) => true,
                    };
                    if !in_place {
                        return Err((index, Defect::KeyMisplaced));
                    }
                    *right = on_right.index;
                    Subtree { index, bit: Some(*bit), key: on_left.key.or(on_right.key) }
                }
                PrunedNode::Leaf { key, .. } | PrunedNode::Withheld { key, .. } => {
                    Subtree { index, bit: None, key: Some(*key) }
                }
                PrunedNode::Bare(_) | PrunedNode::Empty => Subtree { index, bit: None, key: None },
            };
            done.push(subtree);
        }
        Ok(Self { nodes, root_hash })
    }
}

/// Bytes that are not the encoding of a pruned tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrunedDecodeError {
    /// More bytes than the caller allows.
    #[error("the pruned tree is too long")]
    TooLong,
    /// The bytes end within the tree.
    #[error("the pruned tree is cut short")]
    Truncated,
    /// The bytes go on behind the tree.
    #[error("bytes follow the pruned tree")]
    TrailingBytes,
    /// A node starts with a byte that is no tag.
    #[error("the pruned tree has a node of unknown tag {0:#04x}")]
    UnknownTag(u8),
    /// The empty tree within another, or the empty tree as a bare hash.
    #[error("the pruned tree has the empty tree where it cannot be")]
    MisplacedEmpty,
    /// An inner node with two bare hashes beneath, on no read's path.
    #[error("the pruned tree opens an inner node for no leaf")]
    NothingOpened,
    /// A node that cannot be where it stands.
    #[error("the pruned tree has a node out of place: {0}")]
    Structure(Defect),
}

const TAG_INNER: u8 = 0x01;
const TAG_LEAF: u8 = 0x02;
const TAG_WITHHELD: u8 = 0x03;
const TAG_BARE: u8 = 0x04;
const TAG_EMPTY: u8 = 0x05;

/// What a parent needs to know of a subtree.
struct Subtree {
    /// Of its top.
    index: usize,
    /// Of its top, if that is an inner node.
    bit: Option<u8>,
    /// Of one opened leaf in it, if there is one.
    key: Option<Key>,
}

/// The root hash of nodes in pre-order.
fn hash_whole(nodes: &[PrunedNode]) -> Hash {
    let mut done: Vec<Hash> = Vec::new();
    let mut take = |node: &PrunedNode| {
        let hash = match node {
            PrunedNode::Inner { bit, .. } => {
                // INVARIANT: in a whole pre-order both children stand behind their parent. A missing one
                // would hash as zero, which is the hash of nothing.
                let left = done.pop().unwrap_or(Hash::ZERO);
                let right = done.pop().unwrap_or(Hash::ZERO);
                inner_hash(*bit, &left, &right)
            }
            PrunedNode::Leaf { key, value } => leaf_hash(key, &Hash::of(&[value])),
            PrunedNode::Withheld { key, value_hash } => leaf_hash(key, value_hash),
            PrunedNode::Bare(hash) => *hash,
            PrunedNode::Empty => empty_hash(),
        };
        done.push(hash);
        hash
    };
    nodes.iter().rev().map(&mut take).last().unwrap_or(Hash::ZERO)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn node(&mut self, is_first: bool) -> Result<PrunedNode, PrunedDecodeError> {
        let [tag] = self.take()?;
        match tag {
            TAG_INNER => {
                let [bit] = self.take()?;
                Ok(PrunedNode::Inner { bit, right: 0 })
            }
            TAG_LEAF => {
                let key = Key(self.take()?);
                let length = u16::from_be_bytes(self.take()?);
                let value = self.take_slice(length.into())?.into();
                Ok(PrunedNode::Leaf { key, value })
            }
            TAG_WITHHELD => {
                let key = Key(self.take()?);
                let value_hash = Hash(self.take()?);
                Ok(PrunedNode::Withheld { key, value_hash })
            }
            TAG_BARE => Ok(PrunedNode::Bare(Hash(self.take()?))),
            TAG_EMPTY if is_first => Ok(PrunedNode::Empty),
            TAG_EMPTY => Err(PrunedDecodeError::MisplacedEmpty),
            tag => Err(PrunedDecodeError::UnknownTag(tag)),
        }
    }

    fn take<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], PrunedDecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(PrunedDecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn take_slice(&mut self, size_bytes: usize) -> Result<&'a [u8], PrunedDecodeError> {
        let (taken, rest) = self.rest.split_at_checked(size_bytes).ok_or(PrunedDecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}
