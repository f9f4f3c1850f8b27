//! Reading a pruned tree, where not knowing is never taken for absence.

use std::cell::Cell;

use super::pruned::PrunedNode;
use super::{Key, PrunedTree, Value};

/// Reads a pruned tree and keeps account of what was used of it.
///
/// The reader compares [`PrunedTree::root_hash`] with a root that it trusts, reads, and then calls
/// [`PrunedView::finish`].
#[derive(Debug)]
pub struct PrunedView<'a> {
    tree: &'a PrunedTree,
    /// For each node, whether it is a leaf that answered a read.
    used: Vec<Cell<bool>>,
}

impl<'a> PrunedView<'a> {
    /// A view that has read nothing yet.
    pub fn new(tree: &'a PrunedTree) -> Self {
        Self { tree, used: vec![Cell::new(false); tree.nodes().len()] }
    }

    /// The value of `key`; `None` only if the tree shows that it has none.
    pub fn get(&self, key: &Key) -> Result<Option<Value>, PrunedReadError> {
        let mut at = 0;
        loop {
            match self.tree.nodes().get(at) {
                Some(PrunedNode::Inner { bit, right }) => at = if key.bit(*bit) { *right } else { at + 1 },
                Some(PrunedNode::Leaf { key: found, value }) if found == key => {
                    self.mark(at);
                    return Ok(Some(Value::clone(value)));
                }
                Some(PrunedNode::Withheld { key: found, .. }) if found == key => {
                    return Err(PrunedReadError::ValueWithheld(*key));
                }
                Some(PrunedNode::Withheld { .. }) => {
                    self.mark(at);
                    return Ok(None);
                }
                // This shows absence too, but is no use of the value: its own key must be read for that.
                Some(PrunedNode::Leaf { .. }) | Some(PrunedNode::Empty) => return Ok(None),
                // INVARIANT: a parent's child is always there; if it were not, nothing is known of it.
                Some(PrunedNode::Bare(_)) | None => return Err(PrunedReadError::Pruned(*key)),
            }
        }
    }

    /// Ends the reading. Fails unless every opened node was needed: each leaf with a value was read as
    /// itself, and each without one showed that another key is absent. An inner node then was on the way
    /// to one of them, because no tree has one without an opened leaf beneath.
    pub fn finish(self) -> Result<(), UnusedError> {
        for (node, used) in self.tree.nodes().iter().zip(&self.used) {
            match node {
                PrunedNode::Leaf { key, .. } | PrunedNode::Withheld { key, .. } if !used.get() => {
                    return Err(UnusedError(*key));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn mark(&self, index: usize) {
        if let Some(used) = self.used.get(index) {
            used.set(true);
        }
    }
}

/// A read that the pruned tree does not answer. Says nothing about whether the key has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrunedReadError {
    /// The lookup ends in a part that was cut away.
    #[error("state key {0} is in a part of the tree that was pruned")]
    Pruned(Key),
    /// The key has a value, and the tree shows only its hash.
    #[error("the value of state key {0} is withheld")]
    ValueWithheld(Key),
}

/// The leaf of this key was opened, and no read needed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pruned tree shows state key {0} to no purpose")]
pub struct UnusedError(pub Key);
