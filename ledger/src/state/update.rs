//! Changing the tree: one batch of changes makes one new version.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ways::{Passed, Ways};
use super::{Child, Defect, Key, Node, NodeId, NodeRead, Root, TreeError, VALUE_SIZE_BYTES_MAX, Value};

/// A new version, as a difference from the one it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The new version.
    pub root: Root,
    /// The nodes that the new version has and the old one has not, by ascending number. All are
    /// reachable from `root`.
    pub new: Vec<(NodeId, Node)>,
    /// The nodes that the old version has and the new one has not.
    pub stale: Vec<NodeId>,
    /// The first number that is still free.
    pub next_id: NodeId,
}

/// Applies one batch of changes to the version at `root`; `None` deletes.
///
/// New nodes are numbered from `next_id` up, in an order that depends only on the old tree and the
/// changes. A node is copied once however many changes are beneath it, and read at most once. A change
/// that changes nothing (the same value again, deleting what is absent) copies nothing.
pub fn update<N: NodeRead>(
    nodes: &N,
    root: Root,
    next_id: NodeId,
    changes: &BTreeMap<Key, Option<Value>>,
) -> Result<Update, TreeError<N::Error>> {
    let changes: Vec<Change<'_>> =
        changes.iter().map(|(key, value)| Change { key: *key, value: value.as_ref() }).collect();
    for Change { key, value } in &changes {
        if let Some(size_bytes) = value.map(|value| value.len()).filter(|size| *size > VALUE_SIZE_BYTES_MAX) {
            return Err(TreeError::ValueTooLong { key: *key, size_bytes });
        }
    }
    let ways = Ways::read(nodes, root, next_id, changes.iter().map(|change| &change.key))?;
    // A new key adds a leaf and an inner node to what is copied.
    let (stale_max, new_max) = (ways.len(), ways.len().saturating_add(changes.len().saturating_mul(2)));
    let (new, stale) = (Vec::with_capacity(new_max), Vec::with_capacity(stale_max));
    let mut growth = Growth { ways: &ways, next_id, new, stale };
    let child = match root.child {
        Some(top) => growth.merge(top, 0, &changes)?,
        None => {
            let leaves = growth.leaves(&changes)?;
            growth.join(&leaves)?
        }
    };
    Ok(Update { root: Root { child }, new: growth.new, stale: growth.stale, next_id: growth.next_id })
}

/// What becomes of one key.
struct Change<'a> {
    key: Key,
    value: Option<&'a Value>,
}

/// A subtree of the new version, and a key that shares with those in it all bits that tell it from its
/// neighbours.
struct Part {
    key: Key,
    child: Child,
}

/// The new version as it grows, from the leaves up. A node is added only where its place is final, so
/// whatever is added is reachable in the end.
struct Growth<'a> {
    /// What of the old version the changed keys pass.
    ways: &'a Ways,
    next_id: NodeId,
    new: Vec<(NodeId, Node)>,
    stale: Vec<NodeId>,
}

impl<'a> Growth<'a> {
    /// Applies `changes` to the subtree `old`, which stands at `at` of the ways if there are any. All of them belong
    /// below the bit of the inner node above.
    ///
    /// Recursion is as deep as the tree: bits grow on the way down, so 257 at most.
    fn merge<E>(
        &mut self,
        old: Child,
        at: usize,
        changes: &[Change<'_>],
    ) -> Result<Option<Child>, TreeError<E>> {
        match changes {
            [] => return Ok(Some(old)),
            [change] => return self.merge_one(old, at, change),
            _ => {}
        }
        let passed = self.passed(old, at)?;
        let (near, bits) = match passed.node {
            Node::Inner { bit, .. } => (&passed.near, u16::from(bit)),
            Node::Leaf { .. } => (&passed.near, 256),
        };
        // Keys that part from this subtree's before its own bit get a place beside it, the rest in it.
        // Changes are sorted, so each of the three is one run.
        let (before, rest) =
            changes.split_at(changes.partition_point(|change| change.key.cmp_prefix(near, bits).is_lt()));
        let (inside, after) =
            rest.split_at(rest.partition_point(|change| change.key.cmp_prefix(near, bits).is_eq()));

        let mut parts = self.leaves(before)?;
        let kept = match passed.node {
            Node::Leaf { .. } => self.merge(old, at, inside)?,
            Node::Inner { bit, left, right } => {
                let (lefts, rights) = inside.split_at(inside.partition_point(|change| !change.key.bit(bit)));
                let sides =
                    (self.merge(left, passed.left_at, lefts)?, self.merge(right, passed.right_at, rights)?);
                self.inner(old, (bit, left, right), sides)?
            }
        };
        if before.is_empty() && after.is_empty() {
            return Ok(kept);
        }
        parts.extend(kept.map(|child| Part { key: *near, child }));
        parts.extend(self.leaves(after)?);
        self.join(&parts)
    }

    /// The same for one change alone.
    fn merge_one<E>(
        &mut self,
        old: Child,
        at: usize,
        change: &Change<'_>,
    ) -> Result<Option<Child>, TreeError<E>> {
        let end = self.ways.end_of(&change.key, at).ok_or(Defect::KeyMisplaced.of(old.id))?;
        self.place(old, at, change, change.key.first_difference(end))
    }

    /// Puts `change` in its place in the subtree `old`, where it parts at `parted` from the key at which its lookup
    /// ends; `None` if it is that key.
    fn place<E>(
        &mut self,
        old: Child,
        at: usize,
        change: &Change<'_>,
        parted: Option<u8>,
    ) -> Result<Option<Child>, TreeError<E>> {
        let passed = self.passed(old, at)?;
        match (&passed.node, parted) {
            (Node::Inner { bit, left, right }, _) if parted.is_none_or(|parted| parted > *bit) => {
                let (mut sides, bit) = ((Some(*left), Some(*right)), *bit);
                if change.key.bit(bit) {
                    sides.1 = self.place(*right, passed.right_at, change, parted)?;
                } else {
                    sides.0 = self.place(*left, passed.left_at, change, parted)?;
                }
                self.inner(old, (bit, *left, *right), sides)
            }
            (Node::Leaf { value, .. }, None) if change.value == Some(value) => Ok(Some(old)),
            (_, None) => {
                self.stale.push(old.id);
                change.value.map(|value| self.add_leaf(change.key, value)).transpose()
            }
            (_, Some(bit)) => {
                let Some(value) = change.value else { return Ok(Some(old)) };
                let leaf = self.add_leaf(change.key, value)?;
                let (left, right) = if change.key.bit(bit) { (old, leaf) } else { (leaf, old) };
                self.add(Node::Inner { bit, left, right }).map(Some)
            }
        }
    }

    /// What becomes of the inner node `old`, whose sides were `left` and `right` and become `sides`.
    fn inner<E>(
        &mut self,
        old: Child,
        (bit, left, right): (u8, Child, Child),
        sides: (Option<Child>, Option<Child>),
    ) -> Result<Option<Child>, TreeError<E>> {
        if sides == (Some(left), Some(right)) {
            return Ok(Some(old));
        }
        self.stale.push(old.id);
        match sides {
            (Some(left), Some(right)) => self.add(Node::Inner { bit, left, right }).map(Some),
            // A side that ran empty takes the inner node with it.
            (only, None) | (None, only) => Ok(only),
        }
    }

    /// The node `old`, as it was read.
    fn passed<E>(&self, old: Child, at: usize) -> Result<&'a Passed, TreeError<E>> {
        // INVARIANT: what has changes beneath is on the way of their keys.
        self.ways.passed(at).filter(|passed| passed.id == old.id).ok_or(Defect::KeyMisplaced.of(old.id))
    }

    /// A new leaf for each change that has a value.
    fn leaves<E>(&mut self, changes: &[Change<'_>]) -> Result<Vec<Part>, TreeError<E>> {
        let written = changes.iter().filter_map(|change| Some((change.key, change.value?)));
        written.map(|(key, value)| Ok(Part { key, child: self.add_leaf(key, value)? })).collect()
    }

    /// Makes one subtree of neighbouring parts, given by ascending key.
    fn join<E>(&mut self, parts: &[Part]) -> Result<Option<Child>, TreeError<E>> {
        let Some((first, rest)) = parts.split_first() else { return Ok(None) };
        // The inner nodes that wait for the end of their right side, with growing bits.
        let mut open: Vec<(u8, Child)> = Vec::new();
        let (mut key, mut right) = (first.key, first.child);
        for part in rest {
            // INVARIANT: the keys of parts are distinct.
            let bit = key.first_difference(&part.key).ok_or(Defect::KeyMisplaced.of(part.child.id))?;
            while let Some((bit, left)) = open.pop_if(|(open, _)| *open > bit) {
                right = self.add(Node::Inner { bit, left, right })?;
            }
            open.push((bit, right));
            (key, right) = (part.key, part.child);
        }
        while let Some((bit, left)) = open.pop() {
            right = self.add(Node::Inner { bit, left, right })?;
        }
        Ok(Some(right))
    }

    fn add_leaf<E>(&mut self, key: Key, value: &Value) -> Result<Child, TreeError<E>> {
        self.add(Node::Leaf { key, value: Arc::clone(value) })
    }

    fn add<E>(&mut self, node: Node) -> Result<Child, TreeError<E>> {
        let child = Child { id: self.next_id, hash: node.hash() };
        self.next_id = NodeId(self.next_id.0.checked_add(1).ok_or(TreeError::IdsExhausted)?);
        self.new.push((child.id, node));
        Ok(child)
    }
}
