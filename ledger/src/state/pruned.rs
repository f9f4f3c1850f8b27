//! A read set as one pruned tree, and its encoding.
//!
//! Nodes follow each other in pre-order: an inner node, then its left side, then its right. Each starts
//! with a tag; lengths are big-endian.
//!
//! ```text
//! inner node         01 ‖ bit (1)
//!   at the next bit  06 ‖ hash of its left side (32), which is bare
//!                    07 ‖ hash of its right side (32), which is bare
//! leaf               02 ‖ key (32) ‖ length (2) ‖ value
//! leaf, no value     03 ‖ key (32) ‖ SHA-256(value) (32)
//! bare hash          04 ‖ hash (32)
//! empty tree         05, only as the whole
//! ```
//!
//! The next bit is the one after the parent's, or 0 at the root. In a large tree nearly all of a way is of that form,
//! which has no other: it is refused in the longer one.

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

impl PrunedNode {
    /// No encoding of it is longer.
    pub(super) fn size_bytes_max(&self) -> usize {
        match self {
            Self::Inner { .. } => 2,
            Self::Leaf { value, .. } => 35 + value.len(),
            Self::Withheld { .. } => 65,
            Self::Bare(_) => 33,
            Self::Empty => 1,
        }
    }
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
        let mut reader = Reader { rest: bytes, long: Vec::new() };
        // Most are in short form, which is two of them in 33 bytes; each has to come, so that bytes bound them.
        let mut nodes = Vec::with_capacity(bytes.len() / 16 + 1);
        // The next one last.
        let mut awaited = vec![Awaited::Below(None)];
        while let Some(next) = awaited.pop() {
            match next {
                Awaited::Bare(hash) => nodes.push(PrunedNode::Bare(hash)),
                Awaited::Below(above) => nodes.push(reader.node(nodes.len(), above, &mut awaited)?),
            }
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
        let tree =
            Self::linked(nodes, root_hash).map_err(|(_, defect)| PrunedDecodeError::Structure(defect))?;
        if tree.has_short_form(&reader.long) { Err(PrunedDecodeError::LongForm) } else { Ok(tree) }
    }

    /// The bytes that [`PrunedTree::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.nodes.len() * 20);
        // Each with its parent's bit, the next one last.
        let mut pending = vec![(0, None)];
        while let Some((index, above)) = pending.pop() {
            // INVARIANT: an inner node has both its children.
            let Some(node) = self.nodes.get(index) else { continue };
            match node {
                PrunedNode::Inner { bit, right } => {
                    let (left, right) = ((index + 1, Some(*bit)), (*right, Some(*bit)));
                    let is_next = next_bit(above) == Some(*bit);
                    match (self.bare(left.0), self.bare(right.0)) {
                        (Some(hash), None) if is_next => {
                            bytes.push(TAG_BARE_LEFT);
                            bytes.extend(hash.0);
                            pending.push(right);
                        }
                        (None, Some(hash)) if is_next => {
                            bytes.push(TAG_BARE_RIGHT);
                            bytes.extend(hash.0);
                            pending.push(left);
                        }
                        _ => {
                            bytes.extend([TAG_INNER, *bit]);
                            pending.extend([right, left]);
                        }
                    }
                }
                PrunedNode::Leaf { key, value } => put_leaf(&mut bytes, key, value),
                PrunedNode::Withheld { key, value_hash } => put_withheld(&mut bytes, key, value_hash),
                PrunedNode::Bare(hash) => {
                    bytes.push(TAG_BARE);
                    bytes.extend(hash.0);
                }
                PrunedNode::Empty => bytes.push(TAG_EMPTY),
            }
        }
        bytes
    }

    /// Whether one of these inner nodes, which stand at the next bit, has exactly one bare side.
    fn has_short_form(&self, inners: &[usize]) -> bool {
        inners.iter().any(|index| match self.nodes.get(*index) {
            Some(PrunedNode::Inner { right, .. }) => {
                self.bare(*index + 1).is_some() != self.bare(*right).is_some()
            }
            _ => false,
        })
    }

    fn bare(&self, index: usize) -> Option<&Hash> {
        match self.nodes.get(index) {
            Some(PrunedNode::Bare(hash)) => Some(hash),
            _ => None,
        }
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
        let mut done: Vec<Subtree> = Vec::with_capacity(nodes.len() / 2 + 1);
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
    /// An inner node in the long form that has a short one.
    #[error("the pruned tree has an inner node in the longer of two forms")]
    LongForm,
    /// A node that cannot be where it stands.
    #[error("the pruned tree has a node out of place: {0}")]
    Structure(Defect),
}

const TAG_INNER: u8 = 0x01;
pub(super) const TAG_LEAF: u8 = 0x02;
pub(super) const TAG_WITHHELD: u8 = 0x03;
const TAG_BARE: u8 = 0x04;
const TAG_EMPTY: u8 = 0x05;
const TAG_BARE_LEFT: u8 = 0x06;
const TAG_BARE_RIGHT: u8 = 0x07;

pub(super) fn put_leaf(bytes: &mut Vec<u8>, key: &Key, value: &[u8]) {
    // INVARIANT: a value's length fits two bytes; whoever reads a node or decodes one sees to it.
    let [.., high, low] = value.len().to_be_bytes();
    bytes.push(TAG_LEAF);
    bytes.extend(key.0);
    bytes.extend([high, low]);
    bytes.extend_from_slice(value);
}

pub(super) fn put_withheld(bytes: &mut Vec<u8>, key: &Key, value_hash: &Hash) {
    bytes.push(TAG_WITHHELD);
    bytes.extend(key.0);
    bytes.extend(value_hash.0);
}

/// The bit of an inner node in short form, whose parent stands at `above`. None below the last.
fn next_bit(above: Option<u8>) -> Option<u8> {
    above.map_or(Some(0), |above| above.checked_add(1))
}

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
    let mut done: Vec<Hash> = Vec::with_capacity(nodes.len() / 2 + 1);
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

/// What is still to come of a tree that is being read.
enum Awaited {
    /// A node, whose parent stands at that bit.
    Below(Option<u8>),
    /// A bare node that came with its parent.
    Bare(Hash),
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Inner nodes at the next bit that came in the long form.
    long: Vec<usize>,
}

impl<'a> Reader<'a> {
    /// Reads the node with this index, and puts its children on top of what is awaited.
    fn node(
        &mut self,
        index: usize,
        above: Option<u8>,
        awaited: &mut Vec<Awaited>,
    ) -> Result<PrunedNode, PrunedDecodeError> {
        let [tag] = self.take()?;
        match tag {
            TAG_INNER => {
                let [bit] = self.take()?;
                if next_bit(above) == Some(bit) {
                    self.long.push(index);
                }
                awaited.extend([Awaited::Below(Some(bit)), Awaited::Below(Some(bit))]);
                Ok(PrunedNode::Inner { bit, right: 0 })
            }
            TAG_BARE_LEFT | TAG_BARE_RIGHT => {
                let bit = next_bit(above).ok_or(PrunedDecodeError::Structure(Defect::BitNotGrowing))?;
                let (bare, below) = (Awaited::Bare(Hash(self.take()?)), Awaited::Below(Some(bit)));
                awaited.extend(if tag == TAG_BARE_LEFT { [below, bare] } else { [bare, below] });
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
            TAG_EMPTY if index == 0 => Ok(PrunedNode::Empty),
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
