//! When statements count.

use std::collections::BTreeSet;

use super::{Head, Roster, RosterId, Statement, StatementError, VOTERS_MAX, Voter};
use crate::command::{LedgerId, MalformedCommand, VerifiedSignatures};
use crate::hash::Hash;

/// Most statements that prove one thing: those of two disjoint voter sets.
pub const STATEMENTS_MAX: usize = 2 * VOTERS_MAX;

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
/// a surplus one that does not is an error, since its clock would count. What is `seen` is not verified again.
pub fn verify_fresh(
    ledger: LedgerId,
    roster: &Roster,
    id: RosterId,
    nonce_root: Hash,
    head: &Head,
    statements: &[Statement],
    seen: &VerifiedSignatures,
) -> Result<Freshness, QuorumError> {
    let nodes = verify_each(ledger, |node| roster.voter(node), statements, seen)?;
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

/// Demands a quorum of `roster` among `statements`, each with exactly `head`, which is not a roster block's:
/// those need more, see [`HeadVoters`].
pub fn verify_head(roster: &Roster, head: &Head, statements: &[Statement]) -> Result<(), QuorumError> {
    HeadVoters::of(roster).verify(head, statements)
}

/// Whose signatures a head needs: a quorum of the roster in force after its block; and if it is a roster
/// block's, a quorum of the roster before too.
#[derive(Clone, Copy, Debug)]
pub struct HeadVoters<'a> {
    roster: &'a Roster,
    before: Option<&'a Roster>,
}

impl<'a> HeadVoters<'a> {
    /// For the head of a block that changed no roster.
    pub const fn of(roster: &'a Roster) -> Self {
        Self { roster, before: None }
    }

    /// For the head of the block that brought `roster` into force after `previous`.
    pub const fn of_roster_block(previous: &'a Roster, roster: &'a Roster) -> Self {
        Self { roster, before: Some(previous) }
    }

    /// The voter with this node id.
    pub fn voter(&self, node: u64) -> Option<&'a Voter> {
        self.rosters().find_map(|roster| roster.voter(node))
    }

    /// Everybody whose signature counts, each once.
    pub fn voters(&self) -> impl Iterator<Item = &'a Voter> {
        let mut seen = BTreeSet::new();
        self.rosters().flat_map(Roster::voters).filter(move |voter| seen.insert(voter.node))
    }

    /// Whether signatures of `nodes` are enough.
    pub fn has_quorum(&self, nodes: &BTreeSet<u64>) -> bool {
        self.rosters().all(|roster| roster.has_quorum(nodes))
    }

    /// Demands that `statements` are enough, each of a voter and each with exactly `head`.
    pub fn verify(&self, head: &Head, statements: &[Statement]) -> Result<(), QuorumError> {
        self.verify_with(head, statements, &VerifiedSignatures::default())
    }

    /// The same, but for what was found good before.
    pub fn verify_with(
        &self,
        head: &Head,
        statements: &[Statement],
        seen: &VerifiedSignatures,
    ) -> Result<(), QuorumError> {
        let nodes = verify_each(head.ledger, |node| self.voter(node), statements, seen)?;
        if let Some(other) = statements.iter().find(|statement| statement.head != *head) {
            return Err(QuorumError::OtherHead(other.node));
        }
        if self.has_quorum(&nodes) { Ok(()) } else { Err(QuorumError::TooFew(statements.len())) }
    }

    fn rosters(&self) -> impl Iterator<Item = &'a Roster> + use<'a> {
        [Some(self.roster), self.before].into_iter().flatten()
    }
}

/// Statements in their wire form: at most [`STATEMENTS_MAX`], sorted by node, none of one node twice.
pub fn decode_statements<E: From<MalformedCommand> + From<StatementError>>(
    list: &[Vec<u8>],
) -> Result<Vec<Statement>, E> {
    if list.len() > STATEMENTS_MAX {
        return Err(MalformedCommand::OutOfBounds("statements").into());
    }
    let statements = list.iter().map(|bytes| Statement::decode(bytes)).collect::<Result<Vec<_>, _>>()?;
    if !statements.is_sorted_by(|a, b| a.node < b.node) {
        return Err(MalformedCommand::Unsorted("statements").into());
    }
    Ok(statements)
}

fn verify_each<'a>(
    ledger: LedgerId,
    voter: impl Fn(u64) -> Option<&'a Voter>,
    statements: &[Statement],
    seen: &VerifiedSignatures,
) -> Result<BTreeSet<u64>, QuorumError> {
    let mut nodes = BTreeSet::new();
    for statement in statements {
        let node = statement.node;
        let voter = voter(node).ok_or(QuorumError::OutsideRoster(node))?;
        if !nodes.insert(node) {
            return Err(QuorumError::Twice(node));
        }
        if statement.head.ledger != ledger {
            return Err(QuorumError::WrongLedger(node));
        }
        statement.verify_with(voter, seen).map_err(|source| QuorumError::Statement { node, source })?;
    }
    Ok(nodes)
}
