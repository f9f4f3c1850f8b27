//! Evidence: one JSON file that answers one question, offline, for ever.
//!
//! The file holds the question, the [`Answer`] or [`PastAnswer`] that proves it, and, when a command brought the
//! decision about, that command's leaf with its place in the log; and the rosters since genesis, if there were
//! others. [`Evidence::verify`] needs nothing but a [`Trust`]. A [`Record`] is the same for a command in the log,
//! and so for a decision that was recorded; [`RecordedBy`] says by when it was; and [`NoPermit`] that none was.

mod contradiction;
mod equivocation;
mod file;
mod no_permit;
mod record;
mod record_file;
mod recorded_by;
mod recorded_by_file;

use crate::answer::{
    Answer, Moment, Nonce, PastAnswer, ProofError, Verified, VerifiedPast, verify, verify_past, verify_recent,
};
use crate::authority::LeafError;
use crate::command::{EnvelopeError, LedgerId, SignedCommand};
use crate::decide::{Decision, Request};
use crate::head::{Head, QuorumError, RosterChain, RosterId};
use crate::trust::{RosterChainError, Trust, TrustError};
use record::recorded;

pub use crate::authority::Leaf;
pub use contradiction::{
    CONTRADICTION_FORMAT, CONTRADICTION_SIZE_BYTES_MAX, Charge, Contradiction, ContradictionError,
    ContradictionFileError, Conviction, Message, StatementBook,
};
pub use equivocation::{
    EQUIVOCATION_FORMAT, EQUIVOCATION_SIZE_BYTES_MAX, Equivocation, EquivocationError, EquivocationFileError,
    Equivocator, Fork,
};
pub use file::EvidenceFileError;
pub use no_permit::{
    Counted, NO_PERMIT_FORMAT, NO_PERMIT_SIZE_BYTES_MAX, NoPermit, NoPermitError, ShownNoPermit,
};
pub use record::{RECORD_FORMAT, Record, Recorded, ShownRecord};
pub use recorded_by::{RECORDED_BY_FORMAT, RecordedBy, RecordedByError, ShownRecordedBy};

/// The `format` of the file.
pub const EVIDENCE_FORMAT: &str = "chancery-evidence/v1";

/// Longest evidence file, in bytes.
pub const EVIDENCE_SIZE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What was decided, with everything that proves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// Names the log.
    pub origin: String,
    /// The ledger.
    pub ledger: LedgerId,
    /// What was asked.
    pub request: Request,
    /// How it was asked, and what proves the answer.
    pub proof: Proof,
    /// The roster chain from genesis to the newest roster that the answer names.
    pub rosters: RosterChain,
    /// The command that brought the decision about.
    pub cause: Option<Leaf>,
}

/// How a question was asked, and what proves the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Under a nonce: nothing is missing that was acknowledged before the nonce was made.
    Check {
        /// The nonce.
        nonce: Nonce,
        /// The answer.
        answer: Answer,
    },
    /// By the nodes' clocks: nothing is missing that was acknowledged before the oldest of them.
    Recent {
        /// The answer.
        answer: Answer,
    },
    /// About the past.
    Past {
        /// When.
        moment: Moment,
        /// The answer.
        answer: PastAnswer,
    },
}

/// Why evidence shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// It is about another log.
    #[error("the evidence is about {found:?}, the trust file about {expected:?}")]
    OtherOrigin {
        /// The evidence's origin.
        found: String,
        /// The trusted one.
        expected: String,
    },
    /// It is about another ledger.
    #[error("the evidence is about ledger {0}, which is not the trusted one")]
    OtherLedger(LedgerId),
    /// Its rosters are not proven.
    #[error(transparent)]
    Rosters(#[from] RosterChainError),
    /// Its rosters are proven, and so are others that are known.
    #[error(transparent)]
    Forked(TrustError),
    /// Its roster chain does not end at the newest roster that the answer names.
    #[error("the roster chain does not end at the newest roster that the answer names")]
    OtherRosters,
    /// The answer proves nothing.
    #[error(transparent)]
    Answer(#[from] ProofError),
    /// The record's head is of another ledger, or of a roster whose voters are not known.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The record's head is not signed by a quorum.
    #[error("head: {0}")]
    Head(#[source] QuorumError),
    /// The leaf is not in the log, or is no log entry.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The leaf's command is not signed as it must be.
    #[error("the leaf's command: {0}")]
    Command(#[from] EnvelopeError),
    /// There is a leaf, but not of the command that the decision names; or the decision names none; or it is of
    /// no command.
    #[error("the leaf is not the command that it must be")]
    OtherLeaf,
}

/// Evidence that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// What is proven.
    pub proven: Proven,
    /// The command that brought the decision about, with its verified signatures, if the file has it.
    pub cause: Option<SignedCommand>,
}

/// What evidence proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proven {
    /// Of a check, in the interval of its clocks.
    Check(Verified),
    /// Of the past.
    Past(VerifiedPast),
}

impl Proven {
    /// The decision.
    pub const fn decision(&self) -> &Decision {
        match self {
            Self::Check(Verified { decision, .. }) | Self::Past(VerifiedPast { decision, .. }) => decision,
        }
    }

    /// The head whose quorum proves it.
    pub const fn head(&self) -> &Head {
        match self {
            Self::Check(Verified { head, .. }) | Self::Past(VerifiedPast { head, .. }) => head,
        }
    }
}

impl Proof {
    /// The newest roster that a verifier must know.
    pub fn newest_roster(&self) -> RosterId {
        match self {
            Self::Check { answer, .. } | Self::Recent { answer } => answer.newest_roster(),
            Self::Past { answer, .. } => answer.newest_roster(),
        }
    }

    fn verify(&self, trust: &Trust, request: &Request) -> Result<Proven, ProofError> {
        match self {
            Self::Check { nonce, answer } => verify(trust, request, *nonce, answer).map(Proven::Check),
            Self::Recent { answer } => verify_recent(trust, request, answer).map(Proven::Check),
            Self::Past { moment, answer } => verify_past(trust, request, *moment, answer).map(Proven::Past),
        }
    }
}

impl Evidence {
    /// Verifies everything, from the trust alone.
    pub fn verify(&self, trust: &Trust) -> Result<Shown, EvidenceError> {
        let newest = self.proof.newest_roster();
        let trust = trust_with(trust, &self.origin, self.ledger, &self.rosters, |shown| shown == newest)?;
        let proven = self.proof.verify(&trust, &self.request)?;
        let cause = self.cause.as_ref().map(|leaf| self.verify_leaf(leaf, &proven)).transpose()?;
        Ok(Shown { proven, cause })
    }

    fn verify_leaf(&self, leaf: &Leaf, proven: &Proven) -> Result<SignedCommand, EvidenceError> {
        let Decision::Denied(denial) = proven.decision() else { return Err(EvidenceError::OtherLeaf) };
        let cause = denial.cause().ok_or(EvidenceError::OtherLeaf)?;
        let found = recorded(leaf, proven.head())?;
        if found.cause != *cause {
            return Err(EvidenceError::OtherLeaf);
        }
        Ok(found.verify(self.ledger)?.signed)
    }
}

/// `trust` with the rosters that a file shows, if it is about this ledger and they are all that `newest` demands.
fn trust_with(
    trust: &Trust,
    origin: &str,
    ledger: LedgerId,
    rosters: &RosterChain,
    newest: impl FnOnce(RosterId) -> bool,
) -> Result<Trust, EvidenceError> {
    if origin != trust.origin {
        return Err(EvidenceError::OtherOrigin { found: origin.into(), expected: trust.origin.clone() });
    }
    if ledger != trust.ledger {
        return Err(EvidenceError::OtherLedger(ledger));
    }
    let shown = trust.founding().extend(rosters)?;
    if !newest(shown.newest_roster()) {
        return Err(EvidenceError::OtherRosters);
    }
    // Old evidence stays true: what was verified since then does not make it a rollback. But whoever knows
    // later rosters than it shows believes nobody who had left.
    trust.since_genesis().join(&shown).map_err(EvidenceError::Forked)
}
