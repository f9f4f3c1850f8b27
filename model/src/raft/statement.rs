//! Nonces, the statements over them, and what a verifier makes of those.

use super::entry::{Content, Entry};
use super::rules::Rules;
use crate::node_set::NodeSet;

/// What a node signed over a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Statement {
    /// The node.
    pub node: usize,
    /// The last block in its log.
    pub tail: usize,
    /// The position of the roster that it names.
    pub roster: usize,
}

/// A client's nonce.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Nonce {
    /// The highest block that was acknowledged before it was made.
    pub acknowledged: usize,
    /// The statements over it.
    pub statements: Vec<Statement>,
}

impl Nonce {
    /// The statements of a quorum that are all below what was acknowledged before the nonce was made, and the
    /// position of the roster that they are counted by: a proof that must not exist.
    ///
    /// A verifier knows the rosters among `committed`: the roster chain proves them.
    pub(super) fn stale_proof(&self, committed: &[Entry], rules: &Rules) -> Option<(usize, Vec<Statement>)> {
        let below = || self.statements.iter().filter(|statement| statement.tail < self.acknowledged);
        below().next()?;
        for (at, entry) in committed.iter().enumerate() {
            let Content::Roster(mut roster) = entry.content else { continue };
            if !rules.joint_needs_both {
                roster.new = None;
            }
            let position = at + 1;
            let counted =
                || below().filter(|statement| statement.roster == position || !rules.demand_named_roster);
            let nodes = counted().fold(NodeSet::NONE, |nodes, statement| nodes.with(statement.node));
            if roster.has_quorum(nodes) {
                return Some((position, counted().copied().collect()));
            }
        }
        None
    }
}
