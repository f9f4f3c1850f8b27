//! When statements count.

use std::collections::BTreeSet;

use super::{Head, Roster, RosterId, Statement, StatementError};
use crate::command::LedgerId;
use crate::hash::Hash;

/// Why statements prove nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuorumError {
    /// The statements there are, all good, are not a quorum.
    #[error("{0} statements are not a quorum of the roster")]
    TooFew(usize),
    /// A statement of a node that the roster does not have.
    #[error("node {0} is not in the roster")]
    OutsideRoster(u64),
    /// Two statements of one node.
    #[error("node {0} is counted twice")]
    Twice(u64),
    /// A statement that is not its node's.
    #[error("the statement of node {node}: {source}")]
    Statement {
        /// The node that it names.
        node: u64,
        /// What is wrong.
        source: StatementError,
    },
    /// A statement that answers no nonce where one must.
    #[error("the statement of node {0} answers no nonce")]
    NotFresh(u64),
    /// A statement about another ledger.
    #[error("the statement of node {0} is about another ledger")]
    WrongLedger(u64),
    /// A statement over another nonce.
    #[error("the statement of node {0} is over another nonce")]
    WrongNonce(u64),
    /// A statement that names another roster than the one in force.
    #[error("the statement of node {0} names another roster")]
    WrongRoster(u64),
    /// A statement whose log reaches beyond the head that is to be proven fresh.
    #[error("node {node} had block {tail_block} in its log, beyond the head's block {block}")]
    TailAboveHead {
        /// The node.
        node: u64,
        /// The last block in its log.
        tail_block: u64,
        /// The head's block.
        block: u64,
    },
    /// A signature on another head.
    #[error("node {0} signed another head")]
    OtherHead(u64),
}

/// What a quorum of fresh statements shows about a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Freshness {
    /// Least clock among them, in milliseconds since 1970.
    pub clock_min_ms: u64,
    /// Greatest clock among them.
    pub clock_max_ms: u64,
}

/// A head, and the signatures of a quorum on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadQuorum {
    /// The head.
    pub head: Head,
    /// Statements with that head.
    pub statements: Vec<Statement>,
}

/// Demands a quorum of `roster` among `statements`, each over `nonce_root`, each naming the roster `id`, and
/// none with a block beyond `head`.
///
/// Then no block after `head.block` was acknowledged before the nonce was made. Every statement must hold:
/// a surplus one that does not is an error, since its clock would count.
pub fn verify_fresh(
    ledger: LedgerId,
    roster: &Roster,
    id: RosterId,
    nonce_root: Hash,
    head: &Head,
    statements: &[Statement],
) -> Result<Freshness, QuorumError> {
    let nodes = verify_each(ledger, roster, statements)?;
    let mut freshness = Freshness { clock_min_ms: u64::MAX, clock_max_ms: 0 };
    for statement in statements {
        let node = statement.node;
        let fresh = statement.fresh.ok_or(QuorumError::NotFresh(node))?;
        if fresh.nonce_root != nonce_root {
            return Err(QuorumError::WrongNonce(node));
        }
        if fresh.tail_roster != id {
            return Err(QuorumError::WrongRoster(node));
        }
        if fresh.tail_block > head.block {
            return Err(QuorumError::TailAboveHead { node, tail_block: fresh.tail_block, block: head.block });
        }
        freshness.clock_min_ms = freshness.clock_min_ms.min(fresh.clock_ms);
        freshness.clock_max_ms = freshness.clock_max_ms.max(fresh.clock_ms);
    }
    if roster.has_quorum(&nodes) { Ok(freshness) } else { Err(QuorumError::TooFew(statements.len())) }
}

/// Demands a quorum of `roster` among `statements`, each with exactly `head`.
pub fn verify_head(roster: &Roster, head: &Head, statements: &[Statement]) -> Result<(), QuorumError> {
    let nodes = verify_each(head.ledger, roster, statements)?;
    if let Some(other) = statements.iter().find(|statement| statement.head != *head) {
        return Err(QuorumError::OtherHead(other.node));
    }
    if roster.has_quorum(&nodes) { Ok(()) } else { Err(QuorumError::TooFew(statements.len())) }
}

fn verify_each(
    ledger: LedgerId,
    roster: &Roster,
    statements: &[Statement],
) -> Result<BTreeSet<u64>, QuorumError> {
    let mut nodes = BTreeSet::new();
    for statement in statements {
        let node = statement.node;
        let voter = roster.voter(node).ok_or(QuorumError::OutsideRoster(node))?;
        if !nodes.insert(node) {
            return Err(QuorumError::Twice(node));
        }
        if statement.head.ledger != ledger {
            return Err(QuorumError::WrongLedger(node));
        }
        statement.verify(voter).map_err(|source| QuorumError::Statement { node, source })?;
    }
    Ok(nodes)
}
