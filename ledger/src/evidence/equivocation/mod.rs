//! Equivocation: two checkpoints that no one log has, and the nodes that cosigned both.
//!
//! Who cosigns a checkpoint says that it extends every one that he cosigned before. Of two with different roots at one
//! size, or of which the larger has another root at the smaller's size, an honest node cosigns at most one. The file
//! holds the two under the cosignatures of exactly those who cosigned both, and says nothing of its own: with a
//! [`Trust`], [`Equivocation::verify`] finds out who that is.

mod file;

use std::collections::BTreeMap;

use crate::checkpoint::{Checkpoint, NoteError, SignatureError, SignatureLine, SignedCheckpoint};
use crate::command::LedgerId;
use crate::hash::Hash;
use crate::head::{RosterChain, Voter};
use crate::log::{VerifyError, verify_consistency};
use crate::trust::{RosterChainError, Trust};

pub use file::EquivocationFileError;

/// The `format` of the file.
pub const EQUIVOCATION_FORMAT: &str = "chancery-equivocation/v1";

/// Longest file, in bytes: two of the longest notes and the longest roster chain in base64, and room for the rest.
pub const EQUIVOCATION_SIZE_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Two checkpoints of one origin that no one log has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Equivocation {
    /// Names the log.
    origin: String,
    /// The ledger.
    ledger: LedgerId,
    /// From genesis to the first roster with the last of the nodes; no link if genesis has them all.
    rosters: RosterChain,
    /// The lesser: by size, then by root.
    first: SignedCheckpoint,
    second: SignedCheckpoint,
    /// If the sizes differ.
    fork: Option<Fork>,
}

/// What shows that a tree does not extend a smaller one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fork {
    /// The larger tree's root when it had the smaller's size.
    pub root: Hash,
    /// The consistency proof from that root to the larger tree's.
    pub proof: Vec<Hash>,
}

/// A node that cosigned both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Equivocator {
    /// The node, as the roster has it.
    pub voter: Voter,
    /// When it cosigned the one and the other, by its own clock: seconds since 1970.
    pub times_s: [u64; 2],
}

/// Why two checkpoints convict nobody.
#[derive(Debug, thiserror::Error)]
pub enum EquivocationError {
    /// About another log.
    #[error("the equivocation is about {found:?}, the trust file about {expected:?}")]
    OtherOrigin {
        /// What it, or one of its checkpoints, says.
        found: String,
        /// The trusted one.
        expected: String,
    },
    /// About another ledger.
    #[error("the equivocation is about ledger {0}, which is not the trusted one")]
    OtherLedger(LedgerId),
    /// Its rosters are not proven.
    #[error("its rosters: {0}")]
    Rosters(#[from] RosterChainError),
    /// It shows more rosters than lead to the nodes.
    #[error("it shows rosters that nobody needs to be known by")]
    SurplusRosters,
    /// The proof does not lead to the larger tree's root.
    #[error("the proof of the larger tree: {0}")]
    Proof(#[from] VerifyError),
    /// One log has both.
    #[error("one log may have both checkpoints")]
    Consistent,
    /// A signature by no voter, not in the order of the nodes, or twice; or the two are not signed by the same.
    #[error("the two checkpoints are not cosigned by the same voters")]
    OtherSigners,
    /// A cosignature that is not its node's.
    #[error("a cosignature: {0}")]
    Signature(#[from] SignatureError),
}

impl Equivocation {
    /// What `a` and `b` show of the voters that `trust` proves: `None` if nobody cosigned both. `fork` shows, if the
    /// sizes differ, that the larger tree had another root at the smaller's size.
    ///
    /// # Errors
    /// The notes cannot be written with the cosignatures of these nodes alone.
    pub fn find(
        trust: &Trust,
        a: &SignedCheckpoint,
        b: &SignedCheckpoint,
        fork: Option<Fork>,
    ) -> Result<Option<Self>, NoteError> {
        let (a, b) = if order(a) <= order(b) { (a, b) } else { (b, a) };
        let both = |voter: &Voter| cosigned_at(a, voter).is_some() && cosigned_at(b, voter).is_some();
        let guilty: Vec<Voter> = voters_of(trust).into_values().filter(both).collect();
        let chains = guilty.iter().filter_map(|voter| trust.roster_chain_with(voter.node));
        let Some(rosters) = chains.max_by_key(|chain| chain.links.len()) else { return Ok(None) };
        let (first, second) = (only_by(a, &guilty)?, only_by(b, &guilty)?);
        let (origin, ledger) = (trust.origin.clone(), trust.ledger);
        Ok(Some(Self { origin, ledger, rosters, first, second, fork }))
    }

    /// The two, the lesser first: by size, then by root.
    pub fn checkpoints(&self) -> [&Checkpoint; 2] {
        [self.first.checkpoint(), self.second.checkpoint()]
    }

    /// What shows that the larger does not extend the smaller; `None` if they have one size.
    pub const fn fork(&self) -> Option<&Fork> {
        self.fork.as_ref()
    }

    /// Verifies everything, from the trust alone: who cosigned both, by node.
    ///
    /// # Errors
    /// Each way in which the checkpoints can fail to convict has its own.
    pub fn verify(&self, trust: &Trust) -> Result<Vec<Equivocator>, EquivocationError> {
        let origins = self.checkpoints().map(|checkpoint| checkpoint.origin().as_str());
        if let Some(found) = [self.origin.as_str()].iter().chain(&origins).find(|o| **o != trust.origin) {
            let (found, expected) = ((*found).to_owned(), trust.origin.clone());
            return Err(EquivocationError::OtherOrigin { found, expected });
        }
        if self.ledger != trust.ledger {
            return Err(EquivocationError::OtherLedger(self.ledger));
        }
        self.verify_fork()?;
        let proven = trust.founding().extend(&self.rosters)?;
        let voters = voters_of(&proven);
        let (first, second) = (signers(&self.first, &voters)?, signers(&self.second, &voters)?);
        if first.len() != second.len() {
            return Err(EquivocationError::OtherSigners);
        }
        let mut guilty = Vec::new();
        let mut needed = 0;
        for ((voter, first_s), (other, second_s)) in first.into_iter().zip(second) {
            if voter != other {
                return Err(EquivocationError::OtherSigners);
            }
            let links = proven.roster_chain_with(voter.node).map_or(0, |chain| chain.links.len());
            needed = needed.max(links);
            guilty.push(Equivocator { voter: voter.clone(), times_s: [first_s, second_s] });
        }
        if needed != self.rosters.links.len() {
            return Err(EquivocationError::SurplusRosters);
        }
        Ok(guilty)
    }

    fn verify_fork(&self) -> Result<(), EquivocationError> {
        let [first, second] = self.checkpoints();
        match &self.fork {
            None if first.size() == second.size() && first.root() < second.root() => Ok(()),
            Some(fork) if first.size() < second.size() => {
                let (old, new) = (first.size(), second.size());
                verify_consistency(old, &fork.root, new, &second.root(), &fork.proof)?;
                if fork.root == first.root() { Err(EquivocationError::Consistent) } else { Ok(()) }
            }
            _ => Err(EquivocationError::Consistent),
        }
    }
}

fn order(signed: &SignedCheckpoint) -> (u64, Hash) {
    (signed.checkpoint().size(), signed.checkpoint().root())
}

/// Everybody who ever voted, by node: ids, names and keys are never used again.
fn voters_of(trust: &Trust) -> BTreeMap<u64, Voter> {
    let later = trust.roster_chain().links.iter().map(|link| &link.roster);
    let rosters = std::iter::once(&trust.genesis).chain(later);
    rosters.flat_map(|roster| roster.voters()).map(|voter| (voter.node, voter.clone())).collect()
}

/// The same checkpoint under the cosignatures of these alone, in their order.
fn only_by(signed: &SignedCheckpoint, voters: &[Voter]) -> Result<SignedCheckpoint, NoteError> {
    let line = |voter: &Voter| signed.signatures().iter().find(|line| is_by(signed, line, voter)).cloned();
    SignedCheckpoint::new(signed.checkpoint().clone(), voters.iter().filter_map(line).collect())
}

fn is_by(signed: &SignedCheckpoint, line: &SignatureLine, voter: &Voter) -> bool {
    let key = voter.cosigner_key(signed.checkpoint().origin().as_str());
    key.is_ok_and(|key| *key.name() == *line.name() && key.id() == line.key_id())
}

/// When `voter` cosigned; `None` if it did not, or if what is there in its name does not verify.
fn cosigned_at(signed: &SignedCheckpoint, voter: &Voter) -> Option<u64> {
    let key = voter.cosigner_key(signed.checkpoint().origin().as_str()).ok()?;
    let cosignatures = signed.verify_cosignatures(std::slice::from_ref(&key)).ok()?;
    cosignatures.first().map(|cosignature| cosignature.time_s)
}

/// Who cosigned, and when: a voter for each line, in ascending order.
fn signers<'a>(
    signed: &SignedCheckpoint,
    voters: &'a BTreeMap<u64, Voter>,
) -> Result<Vec<(&'a Voter, u64)>, EquivocationError> {
    let mut signers: Vec<(&Voter, u64)> = Vec::new();
    for line in signed.signatures() {
        let after = signers.last().map_or(0, |(voter, _)| voter.node.saturating_add(1));
        let voter = voters.range(after..).map(|(_, voter)| voter).find(|voter| is_by(signed, line, voter));
        let voter = voter.ok_or(EquivocationError::OtherSigners)?;
        let time_s = cosigned_at(signed, voter).ok_or(SignatureError::Invalid)?;
        signers.push((voter, time_s));
    }
    Ok(signers)
}
