//! A part of the tree that a reader keeps, and what is sent of the tree to whoever keeps what came before.
//!
//! A reader with many questions is shown the same nodes again and again. [`Sent`] remembers, at whoever has the tree, which
//! nodes a reader has; [`Kept`] holds them, at the reader, by their hashes, and cuts the [`PrunedTree`] of a question out
//! of them. Nodes follow each other in an order in which a parent is before its children; leaves are as in a pruned tree:
//!
//! ```text
//! inner node       01 ‖ bit (1) ‖ hash of its left side (32) ‖ hash of its right side (32)
//! leaf             02 ‖ key (32) ‖ length (2) ‖ value
//! leaf, no value   03 ‖ key (32) ‖ SHA-256(value) (32)
//! ```
//!
//! Nothing rests on both remembering the same: each node is kept under the hash that the reader computed, so that what is
//! cut out of them is of the root that it was cut for, or nothing is. A node that is missing is an error.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::node::{empty_hash, inner_hash, leaf_hash};
use super::pruned::{PrunedNode, TAG_LEAF, TAG_WITHHELD, put_leaf, put_withheld};
use super::tree::read;
use super::ways::parted;
use super::{Child, Defect, Key, Node, NodeRead, PrunedTree, Root, TreeError, Value};
use crate::hash::Hash;

/// Encoded nodes that a reader has, in bytes, when it is told to forget them. Before that, it takes those of one more question.
pub const KEPT_SIZE_BYTES_MAX: usize = 4 << 20;

/// Keys that are remembered to have been shown wholly in one version.
const SHOWN_KEYS_MAX: usize = 1 << 14;

/// Which nodes a reader has.
#[derive(Debug, Default)]
pub struct Sent {
    /// By their hashes; leaves with their values.
    nodes: HashSet<Hash>,
    /// Leaves without their values.
    withheld: HashSet<Hash>,
    /// Of their encodings.
    size_bytes: usize,
    /// Root hash of the version that was shown last.
    root: Option<Hash>,
    /// Keys that the reader can look up in it: their ways need not be walked again.
    shown: HashSet<Key>,
    /// Whether the reader is still to be told that it forgets what it has.
    forgets: bool,
}

/// What a reader is sent for a question.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// Whether it first forgets what it has.
    pub forget: bool,
    /// The nodes that it does not have, for [`Kept::take`].
    pub nodes: Vec<u8>,
}

impl Sent {
    /// What the reader needs besides what it has, to look `keys` up in the version at `root`. It counts as sent: if it is not,
    /// see [`Sent::forget`].
    ///
    /// # Errors
    /// The tree could not be read. Then the reader forgets what it has.
    pub fn missing<N: NodeRead>(
        &mut self,
        nodes: &N,
        root: Root,
        keys: &BTreeSet<Key>,
    ) -> Result<Missing, TreeError<N::Error>> {
        if self.size_bytes > KEPT_SIZE_BYTES_MAX {
            self.forget();
        }
        let is_newest = self.root.replace(root.hash()) == Some(root.hash());
        if !is_newest || self.shown.len() > SHOWN_KEYS_MAX {
            self.shown.clear();
        }
        let mut sought: Vec<Key> = keys.iter().filter(|key| !self.shown.contains(key)).copied().collect();
        let mut bytes = Vec::new();
        if let Err(error) = self.walk(nodes, root, &mut sought, &mut bytes) {
            self.forget();
            return Err(error);
        }
        self.shown.extend(sought);
        self.size_bytes = self.size_bytes.saturating_add(bytes.len());
        Ok(Missing { forget: std::mem::take(&mut self.forgets), nodes: bytes })
    }

    /// The reader has nothing, or is told so with what it is sent next.
    pub fn forget(&mut self) {
        *self = Self { forgets: true, ..Self::default() };
    }

    fn walk<N: NodeRead>(
        &mut self,
        nodes: &N,
        root: Root,
        sought: &mut [Key],
        bytes: &mut Vec<u8>,
    ) -> Result<(), TreeError<N::Error>> {
        let mut pending: Vec<(Child, Option<u8>, &mut [Key])> = Vec::new();
        pending.extend(root.child.map(|top| (top, None, sought)));
        while let Some((child, above, sought)) = pending.pop() {
            if sought.is_empty() {
                continue;
            }
            match read(nodes, child.id, above)? {
                Node::Inner { bit, left, right } => {
                    if self.nodes.insert(child.hash) {
                        bytes.extend([TAG_INNER, bit]);
                        bytes.extend(left.hash.0);
                        bytes.extend(right.hash.0);
                    }
                    let (lefts, rights) = parted(sought, bit);
                    pending.push((right, Some(bit), rights));
                    pending.push((left, Some(bit), lefts));
                }
                Node::Leaf { key, value } if sought.contains(&key) => {
                    if self.nodes.insert(child.hash) {
                        put_leaf(bytes, &key, &value);
                    }
                }
                Node::Leaf { key, value } => {
                    if !self.nodes.contains(&child.hash) && self.withheld.insert(child.hash) {
                        put_withheld(bytes, &key, &Hash::of(&[&value]));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The nodes that a reader has, of whatever versions.
#[derive(Debug, Default)]
pub struct Kept {
    /// In the order in which they came: who follows a way finds its nodes one behind the other.
    nodes: Vec<KeptNode>,
    /// Where the node with a hash is.
    places: HashMap<Hash, usize>,
    /// Of what it took since it last forgot.
    size_bytes: usize,
}

#[derive(Debug)]
enum KeptNode {
    Inner { bit: u8, left: Side, right: Side },
    Leaf { key: Key, value: Value },
    Withheld { key: Key, value_hash: Hash },
}

/// A child of a node that is kept.
#[derive(Clone, Copy, Debug)]
struct Side {
    hash: Hash,
    /// Where it is, once that was looked up.
    place: Option<usize>,
}

/// A subtree to be cut, and the keys whose lookups pass it.
struct Cut<'a> {
    side: Side,
    above: Option<u8>,
    sought: &'a mut [Key],
}

impl Kept {
    /// Has nothing any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes what [`Sent::missing`] gave.
    ///
    /// # Errors
    /// It is not that, or more than it takes. What came before the fault is kept.
    pub fn take(&mut self, nodes: &[u8]) -> Result<(), KeptError> {
        if self.size_bytes > KEPT_SIZE_BYTES_MAX {
            return Err(KeptError::TooMuch);
        }
        self.size_bytes = self.size_bytes.saturating_add(nodes.len());
        let mut rest = nodes;
        while !rest.is_empty() {
            let node = KeptNode::take(&mut rest)?;
            match self.places.entry(node.hash()) {
                Entry::Vacant(place) => {
                    place.insert(self.nodes.len());
                    self.nodes.push(node);
                }
                // The same node, or the same leaf: now it may come with its value.
                Entry::Occupied(place) => {
                    if let Some(there @ KeptNode::Withheld { .. }) = self.nodes.get_mut(*place.get())
                        && matches!(node, KeptNode::Leaf { .. })
                    {
                        *there = node;
                    }
                }
            }
        }
        Ok(())
    }

    /// Cuts out of the version with this root hash what a reader of `keys` needs, and nothing else, as
    /// [`prune`](super::prune()) does: the same tree, which has at most `size_bytes_max` when it is encoded.
    ///
    /// # Errors
    /// A node is missing or out of place, or the tree would be larger.
    pub fn cut(
        &mut self,
        root: Hash,
        keys: &BTreeSet<Key>,
        size_bytes_max: usize,
    ) -> Result<PrunedTree, KeptError> {
        if root == empty_hash() {
            return Ok(PrunedTree::empty());
        }
        let mut sought: Vec<Key> = keys.iter().copied().collect();
        let top = Side { hash: root, place: self.places.get(&root).copied() };
        let mut pending = vec![Cut { side: top, above: None, sought: &mut sought }];
        let (mut cut, mut size_bytes) = (Vec::new(), 0_usize);
        while let Some(Cut { side, above, sought }) = pending.pop() {
            let node = self.open(side, above, sought, &mut pending)?;
            size_bytes = size_bytes.saturating_add(node.size_bytes_max());
            cut.push(node);
        }
        let tree = PrunedTree::linked(cut, root).map_err(|(_, defect)| KeptError::Structure(defect))?;
        if size_bytes > size_bytes_max && tree.encode().len() > size_bytes_max {
            return Err(KeptError::TooLong);
        }
        Ok(tree)
    }

    /// The node as it stands in a pruned tree; its children are pending then.
    fn open<'a>(
        &mut self,
        Side { hash, place }: Side,
        above: Option<u8>,
        sought: &'a mut [Key],
        pending: &mut Vec<Cut<'a>>,
    ) -> Result<PrunedNode, KeptError> {
        if sought.is_empty() {
            return Ok(PrunedNode::Bare(hash));
        }
        let missing = KeptError::Missing(hash);
        match place.and_then(|place| self.nodes.get_mut(place)).ok_or(missing)? {
            KeptNode::Inner { bit, left, right } => {
                let bit = *bit;
                if above.is_some_and(|above| bit <= above) {
                    return Err(KeptError::Structure(Defect::BitNotGrowing));
                }
                let (lefts, rights) = parted(sought, bit);
                for (side, sought) in [(right, rights), (left, lefts)] {
                    if side.place.is_none() && !sought.is_empty() {
                        side.place = self.places.get(&side.hash).copied();
                    }
                    pending.push(Cut { side: *side, above: Some(bit), sought });
                }
                Ok(PrunedNode::Inner { bit, right: 0 })
            }
            KeptNode::Leaf { key, value } if sought.contains(key) => {
                Ok(PrunedNode::Leaf { key: *key, value: Value::clone(value) })
            }
            KeptNode::Withheld { key, .. } if sought.contains(key) => Err(missing),
            KeptNode::Leaf { key, value } => {
                Ok(PrunedNode::Withheld { key: *key, value_hash: Hash::of(&[value]) })
            }
            KeptNode::Withheld { key, value_hash } => {
                Ok(PrunedNode::Withheld { key: *key, value_hash: *value_hash })
            }
        }
    }
}

impl KeptNode {
    /// Reads one off the front.
    fn take(rest: &mut &[u8]) -> Result<Self, KeptError> {
        match take(rest)? {
            [TAG_INNER] => {
                let [bit] = take(rest)?;
                let [left, right] = [take(rest)?, take(rest)?];
                let side = |hash| Side { hash: Hash(hash), place: None };
                Ok(Self::Inner { bit, left: side(left), right: side(right) })
            }
            [TAG_LEAF] => {
                let key = Key(take(rest)?);
                let length = usize::from(u16::from_be_bytes(take(rest)?));
                let (value, after) = rest.split_at_checked(length).ok_or(KeptError::Truncated)?;
                *rest = after;
                Ok(Self::Leaf { key, value: value.into() })
            }
            [TAG_WITHHELD] => Ok(Self::Withheld { key: Key(take(rest)?), value_hash: Hash(take(rest)?) }),
            [tag] => Err(KeptError::UnknownTag(tag)),
        }
    }

    fn hash(&self) -> Hash {
        match self {
            Self::Inner { bit, left, right } => inner_hash(*bit, &left.hash, &right.hash),
            Self::Leaf { key, value } => leaf_hash(key, &Hash::of(&[value])),
            Self::Withheld { key, value_hash } => leaf_hash(key, value_hash),
        }
    }
}

/// Why nodes are not taken, or show nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeptError {
    /// The bytes end within a node.
    #[error("the nodes are cut short")]
    Truncated,
    /// A node starts with a byte that is no tag.
    #[error("a node of unknown tag {0:#04x}")]
    UnknownTag(u8),
    /// More nodes than are kept, and it was not said to forget them.
    #[error("more nodes than {KEPT_SIZE_BYTES_MAX} bytes")]
    TooMuch,
    /// The node with this hash, or its value, did not come.
    #[error("node {0} is missing")]
    Missing(Hash),
    /// A node that cannot be where it stands.
    #[error("a node out of place: {0}")]
    Structure(Defect),
    /// The keys are not in ascending order, or not of 32 bytes each.
    #[error("the keys are no list of keys")]
    Keys,
    /// The pruned tree is larger than the caller allows.
    #[error("the pruned tree is too long")]
    TooLong,
}

/// The encoding of `keys`: one after the other, ascending.
pub fn encode_keys(keys: &BTreeSet<Key>) -> Vec<u8> {
    keys.iter().flat_map(|key| key.0).collect()
}

/// Reads what [`encode_keys`] gave, and nothing else.
pub fn decode_keys(bytes: &[u8]) -> Result<BTreeSet<Key>, KeptError> {
    let (keys, rest) = bytes.as_chunks::<32>();
    let ascending = keys.is_sorted_by(|one, next| one < next);
    if ascending && rest.is_empty() {
        Ok(keys.iter().copied().map(Key).collect())
    } else {
        Err(KeptError::Keys)
    }
}

/// Unlike in a pruned tree, both hashes follow.
const TAG_INNER: u8 = 0x01;

fn take<const SIZE: usize>(rest: &mut &[u8]) -> Result<[u8; SIZE], KeptError> {
    let (taken, after) = rest.split_first_chunk().ok_or(KeptError::Truncated)?;
    *rest = after;
    Ok(*taken)
}
