//! A head with what proves it, and how new it is.

use super::ProofError;
use crate::authority::RULES_VERSION;
use crate::hash::Hash;
use crate::head::{Freshness, Head, QuorumError, RosterId, Statement, verify_fresh};
use crate::trust::{Trust, TrustError};

/// A head, a quorum's statements that no log reached beyond it, and a quorum's signatures on it: what shows of
/// every head served without a nonce how new it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeadProof {
    /// The head.
    pub head: Head,
    /// A quorum's fresh statements, all of one round, sorted by node.
    pub statements: Vec<Statement>,
    /// Further signatures on `head`, sorted by node.
    pub head_statements: Vec<Statement>,
}

impl HeadProof {
    /// Verifies it. Nothing was acknowledged after the head that was acknowledged before
    /// [`Freshness::clock_min_ms`] less the clocks' bound.
    ///
    /// # Errors
    /// Each way in which it can fail has its own.
    pub fn verify(&self, trust: &Trust) -> Result<Freshness, ProofError> {
        check_head(trust, &self.head)?;
        verify_head_proof(trust, None, &self.head, &self.statements, &self.head_statements)
    }

    /// The newest roster that a verifier must know.
    pub fn newest_roster(&self) -> RosterId {
        newest_roster(&self.head, &self.statements)
    }
}

/// The head is of the trusted ledger, no older than what is known, and of rules that this program has.
pub(super) fn check_head(trust: &Trust, head: &Head) -> Result<(), ProofError> {
    trust.check_head(head)?;
    if head.rules_version == RULES_VERSION {
        Ok(())
    } else {
        Err(ProofError::UnknownRules(head.rules_version))
    }
}

/// Demands a quorum's fresh statements, none with a log beyond `head`, and a quorum's signatures on it. They are
/// over `nonce_root`, or if there is none, over the first one's.
pub(super) fn verify_head_proof(
    trust: &Trust,
    nonce_root: Option<Hash>,
    head: &Head,
    statements: &[Statement],
    head_statements: &[Statement],
) -> Result<Freshness, ProofError> {
    // Exactly one roster: the first statement's, which the trust must know, and all others must name.
    let first = statements.iter().find_map(|statement| statement.fresh);
    let first = first.ok_or(ProofError::Freshness(QuorumError::TooFew(0)))?;
    let named = first.tail_roster;
    let roster = trust.fresh_roster(named)?;
    if head.block < named.block {
        return Err(TrustError::UnknownRoster(named).into());
    }
    let nonce_root = nonce_root.unwrap_or(first.nonce_root);
    let freshness = verify_fresh(head.ledger, roster, named, nonce_root, head, statements, trust.seen())
        .map_err(ProofError::Freshness)?;
    // The head's signatures count under the roster in force at its block; a roster block's under two.
    let with_head = statements.iter().filter(|statement| statement.head == *head);
    let signatures: Vec<Statement> = with_head.chain(head_statements).copied().collect();
    let voters = trust.voters_of(head)?;
    voters.verify_with(head, &signatures, trust.seen()).map_err(ProofError::Head)?;
    Ok(freshness)
}

pub(super) fn newest_roster(head: &Head, statements: &[Statement]) -> RosterId {
    let fresh = statements.iter().find_map(|statement| statement.fresh);
    let named = fresh.map(|fresh| fresh.tail_roster);
    named.filter(|named| named.block > head.roster.block).unwrap_or(head.roster)
}
