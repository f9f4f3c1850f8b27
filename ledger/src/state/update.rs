//! Changing the tree: one batch of changes makes one new version.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tree::{Inner, Leaf, follow};
use super::{Child, Defect, Key, Node, NodeId, NodeRead, Root, TreeError, VALUE_SIZE_BYTES_MAX, Value};

/// A new version, as a difference from the one it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The new version.
    pub root: Root,
    /// The nodes that the new version has and the old one has not, by ascending number. All are
    /// reachable from `root`.
    pub new: Vec<(NodeId, Arc<Node>)>,
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
    let mut growth = Growth { nodes, first_id: next_id, next_id, new: Vec::new(), stale: Vec::new() };
    let child = match root.child {
        Some(top) => growth.merge(top, None, None, &changes)?,
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

/// The inner node right above a subtree: its bit, and a key from its other side.
#[derive(Clone, Copy)]
struct Above {
    bit: u8,
    key: Key,
}

/// The nodes from a subtree's top down to one of its leaves.
struct Descent {
    /// The topmost last.
    inners: Vec<Inner>,
    leaf: Leaf,
}

/// The new version as it grows, from the leaves up. A node is added only where its place is final, so
/// whatever is added is reachable in the end.
struct Growth<'a, N> {
    nodes: &'a N,
    first_id: NodeId,
    next_id: NodeId,
    new: Vec<(NodeId, Arc<Node>)>,
    stale: Vec<NodeId>,
}

impl<N: NodeRead> Growth<'_, N> {
    /// Applies `changes` to the subtree `at`. All of them belong below `above`. If a parent has been down
    /// one way through this subtree already, `descent` is the rest of that way.
    ///
    /// Recursion is as deep as the tree: bits grow on the way down, so 257 at most.
    fn merge(
        &mut self,
        at: Child,
        above: Option<Above>,
        descent: Option<Descent>,
        changes: &[Change<'_>],
    ) -> Result<Option<Child>, TreeError<N::Error>> {
        let Some(first) = changes.first() else { return Ok(Some(at)) };
        if at.id >= self.first_id {
            return Err(Defect::IdNotBelowNext.of(at.id));
        }
        let mut descent = match descent {
            Some(descent) => descent,
            None => self.descend(at, above, &first.key)?,
        };
        let near = descent.leaf.key;
        let top = descent.inners.pop();

        // Keys that part from this subtree's before its own bit get a place beside it, the rest in it.
        // Changes are sorted, so each of the three is one run.
        let bits = top.as_ref().map_or(256, |inner| u16::from(inner.bit));
        let (before, rest) =
            changes.split_at(changes.partition_point(|change| change.key.cmp_prefix(&near, bits).is_lt()));
        let (inside, after) =
            rest.split_at(rest.partition_point(|change| change.key.cmp_prefix(&near, bits).is_eq()));

        let mut parts = self.leaves(before)?;
        let kept = match top {
            None => self.merge_leaf(at, &descent.leaf, inside.first())?,
            Some(inner) => self.merge_inner(at, &inner, descent, inside)?,
        };
        parts.extend(kept.map(|child| Part { key: near, child }));
        parts.extend(self.leaves(after)?);
        self.join(&parts)
    }

    fn merge_leaf(
        &mut self,
        at: Child,
        old: &Leaf,
        change: Option<&Change<'_>>,
    ) -> Result<Option<Child>, TreeError<N::Error>> {
        match change {
            None => Ok(Some(at)),
            Some(Change { value: Some(value), .. }) if **value == old.value => Ok(Some(at)),
            Some(Change { key, value }) => {
                self.stale.push(at.id);
                value.map(|value| self.add_leaf(*key, value)).transpose()
            }
        }
    }

    fn merge_inner(
        &mut self,
        at: Child,
        old: &Inner,
        descent: Descent,
        changes: &[Change<'_>],
    ) -> Result<Option<Child>, TreeError<N::Error>> {
        let (lefts, rights) = changes.split_at(changes.partition_point(|change| !change.key.bit(old.bit)));
        let above = Some(Above { bit: old.bit, key: descent.leaf.key });
        let (left_descent, right_descent) =
            if descent.leaf.key.bit(old.bit) { (None, Some(descent)) } else { (Some(descent), None) };
        let left = self.merge(old.left, above, left_descent, lefts)?;
        let right = self.merge(old.right, above, right_descent, rights)?;
        if left == Some(old.left) && right == Some(old.right) {
            return Ok(Some(at));
        }
        self.stale.push(at.id);
        match (left, right) {
            (Some(left), Some(right)) => self.add(Node::Inner { bit: old.bit, left, right }).map(Some),
            // A side that ran empty takes the inner node with it.
            (only, None) | (None, only) => Ok(only),
        }
    }

    /// Reads the way that `key` takes through the subtree `at`.
    fn descend(&self, at: Child, above: Option<Above>, key: &Key) -> Result<Descent, TreeError<N::Error>> {
        let mut inners = Vec::new();
        let leaf = follow(self.nodes, at, above.map(|above| above.bit), key, |inner| inners.push(inner))?;
        inners.reverse();
        // The leaves of the two sides of an inner node part at its bit, else one of them is misplaced.
        if above.is_some_and(|above| above.key.first_difference(&leaf.key) != Some(above.bit)) {
            return Err(Defect::KeyMisplaced.of(at.id));
        }
        Ok(Descent { inners, leaf })
    }

    /// A new leaf for each change that has a value.
    fn leaves(&mut self, changes: &[Change<'_>]) -> Result<Vec<Part>, TreeError<N::Error>> {
        let written = changes.iter().filter_map(|change| Some((change.key, change.value?)));
        written.map(|(key, value)| Ok(Part { key, child: self.add_leaf(key, value)? })).collect()
    }

    /// Makes one subtree of neighbouring parts, given by ascending key.
    fn join(&mut self, parts: &[Part]) -> Result<Option<Child>, TreeError<N::Error>> {
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

    fn add_leaf(&mut self, key: Key, value: &Value) -> Result<Child, TreeError<N::Error>> {
        self.add(Node::Leaf { key, value: Arc::clone(value) })
    }

    fn add(&mut self, node: Node) -> Result<Child, TreeError<N::Error>> {
        let child = Child { id: self.next_id, hash: node.hash() };
        self.next_id = NodeId(self.next_id.0.checked_add(1).ok_or(TreeError::IdsExhausted)?);
        self.new.push((child.id, Arc::new(node)));
        Ok(child)
    }
}
