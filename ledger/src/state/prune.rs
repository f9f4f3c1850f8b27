//! Reading with a record of what was read, and cutting out of the tree what proves just that.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::pruned::PrunedNode;
use super::tree::read;
use super::ways::parted;
use super::{Child, Key, Node, NodeRead, PrunedTree, Root, TreeError, Value, get};
use crate::hash::Hash;

/// Cuts out of the version at `root` what a reader of `keys` needs, and nothing else.
///
/// The value of a key is in it only if that key is among `keys`. A leaf that shows the absence of another
/// key shows its own key and its value's hash; whatever no lookup passes is a bare hash. Trusts the
/// hashes that parents have of their children.
pub fn prune<N: NodeRead>(
    nodes: &N,
    root: Root,
    keys: &BTreeSet<Key>,
) -> Result<PrunedTree, TreeError<N::Error>> {
    let Some(top) = root.child else { return Ok(PrunedTree::empty()) };
    let mut sought: Vec<Key> = keys.iter().copied().collect();
    let mut pending = vec![Cut { child: top, above: None, sought: &mut sought }];
    let mut kept = Vec::new();
    let mut ids = Vec::new();
    while let Some(Cut { child, above, sought }) = pending.pop() {
        ids.push(child.id);
        if sought.is_empty() {
            kept.push(PrunedNode::Bare(child.hash));
            continue;
        }
        match read(nodes, child.id, above)? {
            Node::Leaf { key, value } if sought.contains(&key) => {
                kept.push(PrunedNode::Leaf { key, value });
            }
            Node::Leaf { key, value } => {
                kept.push(PrunedNode::Withheld { key, value_hash: Hash::of(&[&value]) });
            }
            Node::Inner { bit, left, right } => {
                kept.push(PrunedNode::Inner { bit, right: 0 });
                let (lefts, rights) = parted(sought, bit);
                pending.push(Cut { child: right, above: Some(bit), sought: rights });
                pending.push(Cut { child: left, above: Some(bit), sought: lefts });
            }
        }
    }
    PrunedTree::linked(kept, root.hash())
        .map_err(|(index, defect)| defect.of(ids.get(index).copied().unwrap_or(top.id)))
}

/// A subtree still to be cut, and the keys whose lookups pass it.
struct Cut<'a> {
    child: Child,
    above: Option<u8>,
    sought: &'a mut [Key],
}

/// Reads one version and remembers which keys were asked for, so that [`prune`] can prove the reads.
#[derive(Debug)]
pub struct Recording<'a, N> {
    nodes: &'a N,
    root: Root,
    keys: RefCell<BTreeSet<Key>>,
}

impl<'a, N: NodeRead> Recording<'a, N> {
    /// Reads the version at `root`.
    pub fn new(nodes: &'a N, root: Root) -> Self {
        Self { nodes, root, keys: RefCell::default() }
    }

    /// The value of `key`; `None` if it has none.
    pub fn get(&self, key: &Key) -> Result<Option<Value>, TreeError<N::Error>> {
        // INVARIANT: the borrow ends with this statement, and nothing else borrows, so it is not taken.
        self.keys.borrow_mut().insert(*key);
        get(self.nodes, self.root, key)
    }

    /// Every key that was asked for, found or not.
    pub fn into_keys(self) -> BTreeSet<Key> {
        self.keys.into_inner()
    }
}
