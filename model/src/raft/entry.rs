//! What stands in a Raft log.

use crate::node_set::NodeSet;

/// The voters: one set, or two while a change is joint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Roster {
    /// The set in force, or the one before the change.
    pub old: NodeSet,
    /// The one after the change, while it is joint.
    pub new: Option<NodeSet>,
}

impl Roster {
    /// Whether `nodes` are a quorum: while the change is joint, of both halves.
    pub fn has_quorum(self, nodes: NodeSet) -> bool {
        self.old.has_majority(nodes) && self.new.is_none_or(|new| new.has_majority(nodes))
    }

    /// Whether `node` votes.
    pub fn has(self, node: usize) -> bool {
        self.old.or(self.new.unwrap_or_default()).has(node)
    }
}

/// What an entry carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Content {
    /// What a new leader appends first.
    Blank,
    /// A block.
    Block,
    /// A membership change.
    Roster(Roster),
}

/// An entry. At one position, entries of one term are the same entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The term of the leader that appended it.
    pub term: u32,
    /// What it carries.
    pub content: Content,
}

/// The position of the last block among `entries`, which begin at position 1; 0 if there is none.
pub(super) fn last_block(entries: &[Entry]) -> usize {
    entries.iter().rposition(|entry| entry.content == Content::Block).map_or(0, |at| at + 1)
}

/// The position of the last membership entry among `entries`, which begin at position 1; 0 if there is none.
pub(super) fn last_roster(entries: &[Entry]) -> usize {
    entries.iter().rposition(|entry| matches!(entry.content, Content::Roster(_))).map_or(0, |at| at + 1)
}
