//! State tree nodes in memory: bounded by their size, shared by all handles.
//!
//! A node never changes, so an entry is never stale. Each shard has a young and an old generation: what is
//! met in the old one moves to the young one, and when that has half of the shard's bytes, the old one is
//! dropped and the young one is old. That keeps what was used lately, at the cost of one map operation.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chancery_ledger::state::{Node, NodeId, NodeIdHasher};

const SHARDS: usize = 16;

/// What a node costs beyond its value: its place in the map, of which up to half may be empty, and the allocation of a value.
const NODE_OVERHEAD_BYTES: usize = 192;

/// A cache of at most about `size_bytes_max`.
pub(super) struct NodeCache {
    shards: [Mutex<Shard>; SHARDS],
    young_bytes_max: usize,
}

#[derive(Default)]
struct Shard {
    young: Nodes,
    young_bytes: usize,
    old: Nodes,
}

/// Nodes by number. They stand in the map itself: whoever goes down the tree waits for one place in memory for each.
type Nodes = HashMap<NodeId, Node, BuildHasherDefault<NodeIdHasher>>;

impl NodeCache {
    pub(super) fn new(size_bytes_max: usize) -> Self {
        Self { shards: Default::default(), young_bytes_max: size_bytes_max / SHARDS / 2 }
    }

    pub(super) fn get(&self, id: NodeId) -> Option<Node> {
        let mut shard = self.shard(id);
        if let Some(node) = shard.young.get(&id) {
            return Some(node.clone());
        }
        let node = shard.old.remove(&id)?;
        shard.insert(id, node.clone(), self.young_bytes_max);
        Some(node)
    }

    pub(super) fn insert(&self, id: NodeId, node: Node) {
        self.shard(id).insert(id, node, self.young_bytes_max);
    }

    fn shard(&self, id: NodeId) -> MutexGuard<'_, Shard> {
        let [.., low] = id.0.to_be_bytes();
        // INVARIANT: the remainder is below the number of shards, which is not 0.
        #[allow(clippy::indexing_slicing, reason = "the remainder is an index")]
        self.shards[usize::from(low) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn insert(&mut self, id: NodeId, node: Node, young_bytes_max: usize) {
        let size_bytes = size_bytes(&node);
        if size_bytes > young_bytes_max {
            return;
        }
        if self.young_bytes + size_bytes > young_bytes_max {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if self.young.insert(id, node).is_none() {
            self.young_bytes += size_bytes;
        }
    }
}

fn size_bytes(node: &Node) -> usize {
    NODE_OVERHEAD_BYTES
        + match node {
            Node::Leaf { value, .. } => value.len(),
            Node::Inner { .. } => 0,
        }
}

#[cfg(test)]
mod tests {
    use chancery_ledger::state::Key;

    use super::*;

    fn leaf(byte: u8) -> Node {
        Node::Leaf { key: Key([byte; 32]), value: [byte; 100].into() }
    }

    #[test]
    fn it_stays_in_its_bound_and_keeps_what_is_used() {
        let cache = NodeCache::new(64 << 10);
        cache.insert(NodeId(0), leaf(7));
        for id in 1..10_000 {
            cache.insert(NodeId(id), leaf(1));
            assert_eq!(cache.get(NodeId(0)), Some(leaf(7)), "used after each insert");
        }
        let held: usize = cache
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
            .map(|shard| shard.young.values().chain(shard.old.values()).map(size_bytes).sum::<usize>())
            .sum();
        assert!(held <= 64 << 10, "{held}");
        assert_eq!(cache.get(NodeId(1)), None);
    }

    #[test]
    fn a_cache_without_room_is_empty() {
        let cache = NodeCache::new(0);
        cache.insert(NodeId(0), leaf(7));
        assert_eq!(cache.get(NodeId(0)), None);
    }
}
