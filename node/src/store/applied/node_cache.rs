//! State tree nodes in memory: bounded by their size, shared by all handles.
//!
//! A node never changes, so an entry is never stale.

use std::hash::BuildHasherDefault;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chancery_ledger::state::{Node, NodeId, NodeIdHasher};

use super::lately_used::{LatelyUsed, SizeBytes};

const SHARDS: usize = 16;

/// What a node costs beyond its value: its place in the map, of which up to half may be empty, and the allocation of a
/// value.
const NODE_OVERHEAD_BYTES: usize = 192;

/// A cache of at most about a given size.
pub(super) struct NodeCache {
    shards: [Mutex<Nodes>; SHARDS],
}

/// Nodes by number. They stand in the map itself: whoever goes down the tree waits for one place in memory for each.
type Nodes = LatelyUsed<NodeId, Node, BuildHasherDefault<NodeIdHasher>>;

impl NodeCache {
    pub(super) fn new(size_bytes_max: usize) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(Nodes::new(size_bytes_max / SHARDS))) }
    }

    pub(super) fn get(&self, id: NodeId) -> Option<Node> {
        self.shard(id).get(&id)
    }

    pub(super) fn insert(&self, id: NodeId, node: Node) {
        self.shard(id).insert(id, node);
    }

    fn shard(&self, id: NodeId) -> MutexGuard<'_, Nodes> {
        let [.., low] = id.0.to_be_bytes();
        // INVARIANT: the remainder is below the number of shards, which is not 0.
        #[allow(clippy::indexing_slicing, reason = "the remainder is an index")]
        self.shards[usize::from(low) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SizeBytes for Node {
    fn size_bytes(&self) -> usize {
        NODE_OVERHEAD_BYTES
            + match self {
                Self::Leaf { value, .. } => value.len(),
                Self::Inner { .. } => 0,
            }
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
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).size_bytes())
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
