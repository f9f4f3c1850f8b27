//! Nodes, or values, kept in memory: for tests, and whoever replays a short log.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::hash::BuildHasherDefault;

use super::{Changes, Key, LeafKeep, LeafRead, Node, NodeId, NodeIdHasher, NodeRead, Update, Value};

/// Nodes by number. Keeps every version until told to forget.
#[derive(Clone, Debug, Default)]
pub struct MemoryNodes {
    nodes: HashMap<NodeId, Node, BuildHasherDefault<NodeIdHasher>>,
}

impl MemoryNodes {
    /// Holds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the new nodes of an update; its stale ones stay, so older versions do too.
    pub fn insert(&mut self, update: &Update) {
        self.nodes.extend(update.new.iter().cloned());
    }

    /// Drops nodes, such as the stale ones of an update whose old version is no longer needed.
    pub fn forget(&mut self, ids: &[NodeId]) {
        for id in ids {
            self.nodes.remove(id);
        }
    }

    /// Takes the nodes that the next version adds, and drops those that it does not use.
    pub fn replace(&mut self, new: &[(NodeId, Node)], stale: &[NodeId]) {
        self.nodes.extend(new.iter().cloned());
        self.forget(stale);
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl NodeRead for MemoryNodes {
    type Error = MissingNode;

    fn node(&self, id: NodeId) -> Result<Node, MissingNode> {
        self.nodes.get(&id).cloned().ok_or(MissingNode(id))
    }
}

/// The values of the newest version by key.
#[derive(Clone, Debug, Default)]
pub struct MemoryLeaves {
    values: BTreeMap<Key, Value>,
}

impl LeafRead for MemoryLeaves {
    type Error = Infallible;

    fn value(&self, key: &Key) -> Result<Option<Value>, Infallible> {
        Ok(self.values.get(key).cloned())
    }

    fn range(&self, first: &Key, last: &Key, each: &mut dyn FnMut(Key, &[u8])) -> Result<(), Infallible> {
        self.values.range(first..=last).for_each(|(key, value)| each(*key, value));
        Ok(())
    }
}

impl LeafKeep for MemoryLeaves {
    fn change(&mut self, changes: Changes) -> Result<(), Infallible> {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.values.insert(key, value)),
                None => drop(self.values.remove(&key)),
            }
        }
        Ok(())
    }
}

/// A node that was asked for and is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no state tree node {0}")]
pub struct MissingNode(pub NodeId);
