//! The ways that lookups of some keys take through one version of the tree.

use std::borrow::Borrow;
use std::collections::VecDeque;

use super::tree::read;
use super::{Defect, Key, Node, NodeId, NodeRead, Root, TreeError};

/// All nodes that lookups of some keys pass, each read once.
///
/// They are read level by level: what one level has is read one after the other and does not depend on each other, so
/// that the waits for it overlap.
pub(super) struct Ways {
    /// Parents before their children, the top first.
    passed: Vec<Passed>,
}

/// A node that a lookup passed.
pub(super) struct Passed {
    pub(super) id: NodeId,
    pub(super) node: Node,
    /// Where its children stand, if they are passed. If not, 0: that is the top, and nobody's child.
    pub(super) left_at: usize,
    pub(super) right_at: usize,
    /// The key of a leaf beneath: it shares with all beneath the bits before the node's own.
    pub(super) near: Key,
}

/// A node still to be read, and the keys whose lookups pass it.
struct Awaited<'a, 'b> {
    id: NodeId,
    above: Option<u8>,
    sought: &'a mut [&'b Key],
}

impl Ways {
    /// Reads what lookups of `keys` pass in the version at `root`, all of whose nodes have numbers below `next_id`.
    pub(super) fn read<'k, N: NodeRead>(
        nodes: &N,
        root: Root,
        next_id: NodeId,
        keys: impl Iterator<Item = &'k Key>,
    ) -> Result<Self, TreeError<N::Error>> {
        let mut sought: Vec<&Key> = keys.collect();
        let mut passed = Vec::with_capacity(sought.len().saturating_mul(LIKELY_DEPTH));
        let mut awaited = VecDeque::with_capacity(sought.len());
        if let (Some(top), false) = (root.child, sought.is_empty()) {
            awaited.push_back(Awaited { id: top.id, above: None, sought: &mut sought });
        }
        while let Some(Awaited { id, above, sought }) = awaited.pop_front() {
            if id >= next_id {
                return Err(Defect::IdNotBelowNext.of(id));
            }
            let node = read(nodes, id, above)?;
            let (mut left_at, mut right_at, mut near) = (0, 0, Key([0; 32]));
            match &node {
                Node::Leaf { key, .. } => near = *key,
                Node::Inner { bit, left, right } => {
                    // What is awaited is read in turn, this node before it.
                    let mut next_at = passed.len() + 1 + awaited.len();
                    let (lefts, rights) = parted(sought, *bit);
                    if !lefts.is_empty() {
                        left_at = next_at;
                        next_at += 1;
                        awaited.push_back(Awaited { id: left.id, above: Some(*bit), sought: lefts });
                    }
                    if !rights.is_empty() {
                        right_at = next_at;
                        awaited.push_back(Awaited { id: right.id, above: Some(*bit), sought: rights });
                    }
                }
            }
            passed.push(Passed { id, node, left_at, right_at, near });
        }
        let mut ways = Self { passed };
        ways.find_near()?;
        Ok(ways)
    }

    /// How many nodes were passed.
    pub(super) fn len(&self) -> usize {
        self.passed.len()
    }

    /// What stands there.
    pub(super) fn passed(&self, at: usize) -> Option<&Passed> {
        self.passed.get(at)
    }

    /// The leaf at which the lookup of `key` ends that passes what stands at `at`.
    pub(super) fn end_of(&self, key: &Key, mut at: usize) -> Option<&Key> {
        loop {
            let passed = self.passed.get(at)?;
            match &passed.node {
                Node::Leaf { key, .. } => return Some(key),
                Node::Inner { bit, .. } => {
                    at = if key.bit(*bit) { passed.right_at } else { passed.left_at };
                    // Nobody's child: that way was not read. So no round is made twice.
                    if at == 0 {
                        return None;
                    }
                }
            }
        }
    }

    /// Finds a leaf beneath each inner node, and checks that those on either side of it belong there.
    fn find_near<E>(&mut self) -> Result<(), TreeError<E>> {
        for at in (0..self.passed.len()).rev() {
            let (upto, after) = self.passed.split_at_mut(at + 1);
            let Some(Passed { id, node: Node::Inner { bit, .. }, left_at, right_at, near }) = upto.last_mut()
            else {
                continue;
            };
            // A child stands behind its parent.
            let near_of = |child: usize| Some(&after.get(child.checked_sub(at + 1)?)?.near);
            let (left, right) = (near_of(*left_at), near_of(*right_at));
            let in_place = match (left, right) {
                (Some(left), Some(right)) => left.first_difference(right) == Some(*bit) && !left.bit(*bit),
                (Some(left), None) => !left.bit(*bit),
                (None, Some(right)) => right.bit(*bit),
                (None, None) => false,
            };
            match left.or(right) {
                Some(found) if in_place => *near = *found,
                _ => return Err(Defect::KeyMisplaced.of(*id)),
            }
        }
        Ok(())
    }
}

/// Nodes of one way in a tree of about a million keys: room for that many is made at first.
const LIKELY_DEPTH: usize = 20;

/// The keys that have a 0 there, brought to the front, and the others.
pub(super) fn parted<K: Borrow<Key>>(keys: &mut [K], bit: u8) -> (&mut [K], &mut [K]) {
    let on_left = if let [key] = &*keys {
        usize::from(!Borrow::<Key>::borrow(key).bit(bit))
    } else {
        keys.sort_unstable_by_key(|key| key.borrow().bit(bit));
        keys.partition_point(|key| !key.borrow().bit(bit))
    };
    keys.split_at_mut(on_left)
}
