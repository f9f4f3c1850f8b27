//! Nodes of the state tree: their hashes, and their form on disk.

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use super::Key;
use crate::hash::Hash;

/// The longest value that a leaf may hold.
pub const VALUE_SIZE_BYTES_MAX: usize = 65_535;

/// What a key maps to: at most [`VALUE_SIZE_BYTES_MAX`] bytes, possibly none.
pub type Value = Arc<[u8]>;

/// One immutable node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A key and its value.
    Leaf {
        /// The whole key.
        key: Key,
        /// Its value.
        value: Value,
    },
    /// The place where the keys beneath part.
    Inner {
        /// The first bit in which the keys beneath differ.
        bit: u8,
        /// Those with a 0 there.
        left: Child,
        /// Those with a 1 there.
        right: Child,
    },
}

/// What a parent, or the root, knows of a node: where it is, and what it hashes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// The node's number.
    pub id: NodeId,
    /// The node's hash.
    pub hash: Hash,
}

/// The number of a node. A number is given once and never to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Hashes node numbers for maps in memory. They are counted, and nobody chooses them: one multiplication scatters them
/// well enough.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeIdHasher(u64);

impl Hasher for NodeIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Node {
    /// The node's hash, computed.
    pub fn hash(&self) -> Hash {
        match self {
            Self::Leaf { key, value } => leaf_hash(key, &Hash::of(&[value])),
            Self::Inner { bit, left, right } => inner_hash(*bit, &left.hash, &right.hash),
        }
    }

    /// The node's form on disk. A leaf's value is the rest of its record; numbers are big-endian.
    ///
    /// ```text
    /// inner   01 ‖ bit (1) ‖ left id (8) ‖ left hash (32) ‖ right id (8) ‖ right hash (32)
    /// leaf    02 ‖ key (32) ‖ value
    /// ```
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Leaf { key, value } => [&[TAG_LEAF], &key.0[..], value].concat(),
            Self::Inner { bit, left, right } => [
                &[TAG_INNER, *bit],
                &left.id.0.to_be_bytes()[..],
                left.hash.as_bytes(),
                &right.id.0.to_be_bytes(),
                right.hash.as_bytes(),
            ]
            .concat(),
        }
    }

    /// Reads back what [`Node::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, NodeDecodeError> {
        match bytes {
            [TAG_LEAF, rest @ ..] => {
                let (key, value) = rest.split_first_chunk().ok_or(NodeDecodeError::Length)?;
                if value.len() > VALUE_SIZE_BYTES_MAX {
                    return Err(NodeDecodeError::Length);
                }
                Ok(Self::Leaf { key: Key(*key), value: value.into() })
            }
            [TAG_INNER, bit, rest @ ..] => {
                let (left, rest) = take_child(rest)?;
                let (right, rest) = take_child(rest)?;
                if !rest.is_empty() {
                    return Err(NodeDecodeError::Length);
                }
                if left.id == right.id {
                    return Err(NodeDecodeError::SameChildTwice);
                }
                Ok(Self::Inner { bit: *bit, left, right })
            }
            [] | [TAG_INNER] => Err(NodeDecodeError::Length),
            [tag, ..] => Err(NodeDecodeError::UnknownTag(*tag)),
        }
    }
}

/// Bytes that no node encodes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeDecodeError {
    /// Too few bytes, or too many.
    #[error("the record of a state tree node has an impossible length")]
    Length,
    /// The first byte is no tag.
    #[error("the record of a state tree node has unknown tag {0:#04x}")]
    UnknownTag(u8),
    /// Left and right are one node.
    #[error("the record of a state tree node names one child twice")]
    SameChildTwice,
}

const TAG_INNER: u8 = 0x01;
const TAG_LEAF: u8 = 0x02;

fn take_child(bytes: &[u8]) -> Result<(Child, &[u8]), NodeDecodeError> {
    let (id, rest) = bytes.split_first_chunk().ok_or(NodeDecodeError::Length)?;
    let (hash, rest) = rest.split_first_chunk().ok_or(NodeDecodeError::Length)?;
    Ok((Child { id: NodeId(u64::from_be_bytes(*id)), hash: Hash(*hash) }, rest))
}

pub(super) fn leaf_hash(key: &Key, value_hash: &Hash) -> Hash {
    Hash::of(&[&[0x10], &key.0, value_hash.as_bytes()])
}

pub(super) fn inner_hash(bit: u8, left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&[0x11], &u16::from(bit).to_be_bytes(), left.as_bytes(), right.as_bytes()])
}

pub(super) fn empty_hash() -> Hash {
    Hash::of(&[&[0x12]])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn nodes() -> [Node; 4] {
        let left = Child { id: NodeId(1), hash: Hash::of(&[b"left"]) };
        let right = Child { id: NodeId(u64::MAX), hash: Hash::of(&[b"right"]) };
        let longest = vec![7; VALUE_SIZE_BYTES_MAX];
        [
            Node::Inner { bit: 255, left, right },
            Node::Leaf { key: Key([9; 32]), value: Arc::from(*b"value") },
            Node::Leaf { key: Key([9; 32]), value: Arc::from([]) },
            Node::Leaf { key: Key([9; 32]), value: longest.into() },
        ]
    }

    #[test]
    fn records_round_trip() {
        for node in nodes() {
            assert_eq!(Node::decode(&node.encode()).unwrap(), node);
        }
    }

    #[test]
    fn other_records_are_refused() {
        let [inner, leaf, empty, longest] = nodes().map(|node| node.encode());
        for length in 0..inner.len() {
            assert_eq!(Node::decode(inner.get(..length).unwrap()), Err(NodeDecodeError::Length));
        }
        for length in 0..empty.len() {
            assert_eq!(Node::decode(leaf.get(..length).unwrap()), Err(NodeDecodeError::Length));
        }
        assert_eq!(Node::decode(&[&inner[..], &[0]].concat()), Err(NodeDecodeError::Length));
        assert_eq!(Node::decode(&[&longest[..], &[0]].concat()), Err(NodeDecodeError::Length));
        for tag in (0..=255).filter(|tag| ![TAG_INNER, TAG_LEAF].contains(tag)) {
            assert_eq!(Node::decode(&[tag, 0, 0]), Err(NodeDecodeError::UnknownTag(tag)));
        }
        let child = Child { id: NodeId(1), hash: Hash::ZERO };
        let twice = Node::Inner { bit: 0, left: child, right: child }.encode();
        assert_eq!(Node::decode(&twice), Err(NodeDecodeError::SameChildTwice));
    }
}
