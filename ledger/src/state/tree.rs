//! One version of the tree: its root, how its nodes are read, and what can be wrong with them.

use super::node::empty_hash;
use super::{Child, Key, Node, NodeId, VALUE_SIZE_BYTES_MAX, Value};
use crate::hash::Hash;

/// The value of `key` in the version at `root`; `None` if it has none.
pub fn get<N: NodeRead>(nodes: &N, root: Root, key: &Key) -> Result<Option<Value>, TreeError<N::Error>> {
    let Some(top) = root.child else { return Ok(None) };
    if let Some(value) = nodes.known(root, key) {
        return Ok(value);
    }
    let (found, value) = follow(nodes, top, key)?;
    let value = (found == *key).then_some(value);
    nodes.found(root, key, value.as_ref());
    Ok(value)
}

/// One version of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// The topmost node; `None` is the empty tree.
    pub child: Option<Child>,
}

impl Root {
    /// The tree without keys.
    pub const EMPTY: Self = Self { child: None };

    /// What commits to every key and value of this version.
    pub fn hash(&self) -> Hash {
        self.child.map_or_else(empty_hash, |child| child.hash)
    }
}

/// Where nodes are kept.
pub trait NodeRead {
    /// Why a node could not be read. That it is not there is such a reason.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The node with this number.
    fn node(&self, id: NodeId) -> Result<Node, Self::Error>;

    /// The value of `key` in the version at `root`, or that it has none, if that is known without looking it up.
    fn known(&self, root: Root, key: &Key) -> Option<Option<Value>> {
        let _ = (root, key);
        None
    }

    /// Is told what looking `key` up in the version at `root` came to, and may remember it.
    fn found(&self, root: Root, key: &Key, value: Option<&Value>) {
        let _ = (root, key, value);
    }
}

/// Why the tree could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError<E> {
    /// The place where nodes are kept failed.
    #[error("a state tree node could not be read")]
    Read(#[source] E),
    /// What was read cannot be a version of a tree.
    #[error("state tree node {id} is corrupt: {defect}")]
    Corrupt {
        /// The node that was met.
        id: NodeId,
        /// What is wrong with it.
        defect: Defect,
    },
    /// A value to be written is longer than [`VALUE_SIZE_BYTES_MAX`].
    #[error("the value of state key {key} is too long: {size_bytes} bytes")]
    ValueTooLong {
        /// The key that it was meant for.
        key: Key,
        /// How long it is.
        size_bytes: usize,
    },
    /// There is no number left for another node.
    #[error("the state tree has no node number left")]
    IdsExhausted,
}

/// What is wrong with a node that cannot be where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// It does not have the hash that its parent says.
    #[error("its hash is not what its parent says")]
    HashMismatch,
    /// Its bit is not after its parent's.
    #[error("its bit is not after its parent's")]
    BitNotGrowing,
    /// A leaf here cannot bear this key, by the inner nodes above it and the leaves beside it.
    #[error("a key beneath it does not belong there")]
    KeyMisplaced,
    /// It holds more than a leaf may.
    #[error("its value is too long")]
    ValueTooLong,
    /// It has a number that was said to be still free.
    #[error("its number is one of those said to be free")]
    IdNotBelowNext,
}

impl Defect {
    pub(super) fn of<E>(self, id: NodeId) -> TreeError<E> {
        TreeError::Corrupt { id, defect: self }
    }
}

/// Looks `key` up from `top` down: the key and the value of the leaf at which that ends.
fn follow<N: NodeRead>(nodes: &N, top: Child, key: &Key) -> Result<(Key, Value), TreeError<N::Error>> {
    let (mut at, mut above) = (top, None);
    let mut passed = [0; 32];
    loop {
        match read(nodes, at.id, above)? {
            Node::Leaf { key: found, value } => {
                let found_elsewhere = |((mine, its), mask): ((&u8, &u8), &u8)| (mine ^ its) & mask != 0;
                if key.0.iter().zip(&found.0).zip(&passed).any(found_elsewhere) {
                    return Err(Defect::KeyMisplaced.of(at.id));
                }
                return Ok((found, value));
            }
            Node::Inner { bit, left, right } => {
                if let Some(byte) = passed.get_mut(usize::from(bit / 8)) {
                    *byte |= 0x80 >> (bit % 8);
                }
                at = if key.bit(bit) { right } else { left };
                above = Some(bit);
            }
        }
    }
}

/// Reads a node whose parent stands at bit `above`. Every read of a node goes through here, so no way
/// down is longer than there are bits, whatever the nodes say.
pub(super) fn read<N: NodeRead>(
    nodes: &N,
    id: NodeId,
    above: Option<u8>,
) -> Result<Node, TreeError<N::Error>> {
    let node = nodes.node(id).map_err(TreeError::Read)?;
    match &node {
        Node::Inner { bit, .. } if above.is_some_and(|above| *bit <= above) => {
            Err(Defect::BitNotGrowing.of(id))
        }
        Node::Leaf { value, .. } if value.len() > VALUE_SIZE_BYTES_MAX => Err(Defect::ValueTooLong.of(id)),
        _ => Ok(node),
    }
}
