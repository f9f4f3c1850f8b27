//! Every node of a version, with everything about it checked.

use super::tree::read;
use super::{Child, Defect, Key, Node, NodeId, NodeRead, Root, TreeError, Value};

/// Checks a whole version, node by node, against its root: every hash, and that each node is where it
/// must be. Returns how many keys it has.
pub fn verify_whole<N: NodeRead>(nodes: &N, root: Root) -> Result<u64, TreeError<N::Error>> {
    leaves(nodes, root).try_fold(0, |count: u64, leaf| leaf.map(|_| count + 1))
}

/// The keys and values of a version by ascending key, checked as by [`Walk`].
pub fn leaves<N: NodeRead>(
    nodes: &N,
    root: Root,
) -> impl Iterator<Item = Result<(Key, Value), TreeError<N::Error>>> {
    Walk::new(nodes, root).filter_map(|visited| match visited {
        Ok((_, node)) => match node {
            Node::Leaf { key, value } => Some(Ok((key, value))),
            Node::Inner { .. } => None,
        },
        Err(error) => Some(Err(error)),
    })
}

/// Visits every node of a version: a parent before its children, left before right.
///
/// Recomputes each node's hash and checks that it stands where it must, as it is met; a version is whole
/// once the walk has ended without an error. After an error the walk is over. Memory is bounded by the
/// tree's depth (at most 257 entries), not by its size.
pub struct Walk<'a, N> {
    nodes: &'a N,
    pending: Vec<Pending>,
    last_key: Option<Key>,
    /// The bit of the inner node that has `last_key` on its left and what comes next on its right.
    parted_at: Option<u8>,
}

/// A node not visited yet.
struct Pending {
    child: Child,
    above: Option<u8>,
    is_right: bool,
}

impl<'a, N: NodeRead> Walk<'a, N> {
    /// A walk through the version at `root`.
    pub fn new(nodes: &'a N, root: Root) -> Self {
        let top = root.child.map(|child| Pending { child, above: None, is_right: false });
        Self { nodes, pending: top.into_iter().collect(), last_key: None, parted_at: None }
    }

    fn visit(&mut self, next: &Pending) -> Result<Node, TreeError<N::Error>> {
        let id = next.child.id;
        let node = read(self.nodes, id, next.above)?;
        if node.hash() != next.child.hash {
            return Err(Defect::HashMismatch.of(id));
        }
        if next.is_right {
            self.parted_at = next.above;
        }
        match &node {
            Node::Inner { bit, left, right } => {
                let above = Some(*bit);
                self.pending.push(Pending { child: *right, above, is_right: true });
                self.pending.push(Pending { child: *left, above, is_right: false });
            }
            Node::Leaf { key, .. } => {
                // If each two neighbouring leaves part, in order, at the bit of the inner node between
                // them, and bits grow downwards, then every key is on its right side of every inner node
                // above it, and shares with the others there all bits before.
                if let Some(last) = self.last_key
                    && (last > *key || last.first_difference(key) != self.parted_at)
                {
                    return Err(Defect::KeyMisplaced.of(id));
                }
                self.last_key = Some(*key);
            }
        }
        Ok(node)
    }
}

impl<N: NodeRead> Iterator for Walk<'_, N> {
    type Item = Result<(NodeId, Node), TreeError<N::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.pending.pop()?;
        let visited = self.visit(&next);
        if visited.is_err() {
            self.pending.clear();
        }
        Some(visited.map(|node| (next.child.id, node)))
    }
}
