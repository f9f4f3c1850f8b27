//! State tree nodes in memory, bounded by their size.
//!
//! There is a young and an old generation: what is met in the old one moves to the young one, and when that has half
//! of the bytes, the old one is dropped and the young one is old. That keeps what was used lately.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use chancery_ledger::state::{Node, NodeId};

/// What a node costs beyond its value: its place, its allocation and the node itself.
const NODE_OVERHEAD_BYTES: usize = 144;

/// About what a node takes of memory.
pub(super) fn size_bytes(node: &Node) -> usize {
    NODE_OVERHEAD_BYTES
        + match node {
            Node::Leaf { value, .. } => value.len(),
            Node::Inner { .. } => 0,
        }
}

type Nodes = HashMap<NodeId, Arc<Node>, BuildHasherDefault<Scatter>>;

/// A cache of at most about `size_bytes_max`.
pub(super) struct NodeCache {
    young: Nodes,
    young_bytes: usize,
    old: Nodes,
    young_bytes_max: usize,
}

impl NodeCache {
    pub(super) fn new(size_bytes_max: usize) -> Self {
        Self {
            young: Nodes::default(),
            young_bytes: 0,
            old: Nodes::default(),
            young_bytes_max: size_bytes_max / 2,
        }
    }

    pub(super) fn get(&mut self, id: NodeId) -> Option<Arc<Node>> {
        if let Some(node) = self.young.get(&id) {
            return Some(Arc::clone(node));
        }
        let node = self.old.remove(&id)?;
        self.insert(id, Arc::clone(&node));
        Some(node)
    }

    pub(super) fn insert(&mut self, id: NodeId, node: Arc<Node>) {
        let size_bytes = size_bytes(&node);
        if size_bytes > self.young_bytes_max {
            return;
        }
        if self.young_bytes + size_bytes > self.young_bytes_max {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if self.young.insert(id, node).is_none() {
            self.young_bytes += size_bytes;
        }
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        match self.young.remove(&id) {
            Some(node) => self.young_bytes = self.young_bytes.saturating_sub(size_bytes(&node)),
            None => drop(self.old.remove(&id)),
        }
    }
}

/// Node numbers are counted, and nobody chooses them: one multiplication scatters them well enough.
#[derive(Default)]
struct Scatter(u64);

impl Hasher for Scatter {
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
