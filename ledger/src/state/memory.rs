//! Nodes kept in memory: for tests, auditors and whoever replays a log.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Node, NodeId, NodeKeep, NodeRead, Update};

/// Nodes by number. Keeps every version until told to forget.
#[derive(Clone, Debug, Default)]
pub struct MemoryNodes {
    nodes: HashMap<NodeId, Arc<Node>>,
}

impl MemoryNodes {
    /// Holds nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the new nodes of an update; its stale ones stay, so older versions do too.
    pub fn insert(&mut self, update: &Update) {
        self.nodes.extend(update.new.iter().map(|(id, node)| (*id, Arc::clone(node))));
    }

    /// Drops nodes, such as the stale ones of an update whose old version is no longer needed.
    pub fn forget(&mut self, ids: &[NodeId]) {
        for id in ids {
            self.nodes.remove(id);
        }
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

    fn node(&self, id: NodeId) -> Result<Arc<Node>, MissingNode> {
        self.nodes.get(&id).map(Arc::clone).ok_or(MissingNode(id))
    }
}

impl NodeKeep for MemoryNodes {
    fn replace(&mut self, new: &[(NodeId, Arc<Node>)], stale: &[NodeId]) -> Result<(), MissingNode> {
        self.nodes.extend(new.iter().map(|(id, node)| (*id, Arc::clone(node))));
        self.forget(stale);
        Ok(())
    }
}

/// A node that was asked for and is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no state tree node {0}")]
pub struct MissingNode(pub NodeId);
