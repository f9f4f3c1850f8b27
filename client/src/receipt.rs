//! Receipts: that a command took effect, proven.

use std::sync::Arc;

use chancery_ledger::authority::{Entry, EntryError, Verdict};
use chancery_ledger::command::{Body, EnvelopeError, GrantId, MalformedCommand, SignedCommand};
use chancery_ledger::evidence::Leaf;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, HeadQuorum, QuorumError, RosterId, StatementError, decode_statements};
use chancery_ledger::log::{VerifyError, leaf_hash, verify_inclusion};
use chancery_ledger::trust::{Newest, Trust, TrustError};
use chancery_proto::v1::api::Acknowledged;

use crate::convictions::Convicted;
use crate::rosters::NeedsRoster;

/// Most hashes in an inclusion proof.
pub(crate) const INCLUSION_HASHES_MAX: usize = 64;

/// A command that took effect: in the log at `index`, under a head that a quorum signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The grant that the command made, if it is a grant or a delegation.
    pub grant: Option<GrantId>,
    /// Index of its leaf in the log.
    pub index: u64,
    /// Its block.
    pub block: u64,
    /// The block's ledger time, in milliseconds since 1970: a lower bound of when it was committed.
    pub time_ms: u64,
    /// It took effect before it was sent this time: it was sent already, or its effect was there. Then
    /// `command` may be another one with the same effect.
    pub before: bool,
    /// The command at `index`.
    pub command: SignedCommand,
    /// What was decided, if the command is an Authorize; it is then the very one that was sent.
    pub verdict: Option<Verdict>,
    /// A head at or after the block, with the quorum that signed it.
    pub head: HeadQuorum,
    /// The leaf, with its place in that head's log.
    pub leaf: Leaf,
}

/// Why an acknowledgement is not believed. The command may have taken effect all the same.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The head or a statement is not one.
    #[error("malformed acknowledgement: {0}")]
    Malformed(#[from] StatementError),
    /// More or longer parts than there can be.
    #[error("malformed acknowledgement: {0}")]
    Bounds(&'static str),
    /// Too many statements, or they are not sorted.
    #[error("malformed acknowledgement: {0}")]
    Statements(#[from] MalformedCommand),
    /// The head is of another ledger, older than what is known, or of an unknown roster.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The head is not signed by a quorum.
    #[error("head: {0}")]
    Quorum(#[from] QuorumError),
    /// It needs the signature of a node that contradicted itself.
    #[error("it rests on a node that was convicted: {0}")]
    Convicted(Arc<Convicted>),
    /// The leaf is not in the head's log.
    #[error("the leaf is not in the log: {0}")]
    Inclusion(#[from] VerifyError),
    /// The leaf is no log entry.
    #[error("leaf: {0}")]
    Entry(#[from] EntryError),
    /// The leaf's command is not signed as it must be.
    #[error("the leaf's command: {0}")]
    Command(#[from] EnvelopeError),
    /// The leaf is not of the command that was sent, nor of one with its effect.
    #[error("the leaf is not of the command that was sent")]
    OtherCommand,
    /// The leaf says another block or time than the node does, or one after the head.
    #[error("the leaf is of block {block}, which is not what the node says, or after its head")]
    OtherBlock {
        /// The leaf's block.
        block: u64,
    },
}

impl NeedsRoster for ReceiptError {
    fn unknown_roster(&self) -> Option<RosterId> {
        match self {
            Self::Trust(error) => error.unknown_roster(),
            _ => None,
        }
    }
}

impl Receipt {
    /// Verifies that `reply` acknowledges `sent`. `newest` is what was known before it was sent.
    pub(crate) fn verify(
        trust: &Trust,
        newest: &Newest,
        sent: &SignedCommand,
        reply: &Acknowledged,
    ) -> Result<Self, ReceiptError> {
        let Acknowledged { index, block, time_ms, before, .. } = *reply;
        let head = Head::decode(&reply.head)?;
        // What took effect long ago may be shown under an old head: no freshness is claimed.
        trust.since_genesis().check_head(&head)?;
        if !before {
            newest.check(&head)?;
        }
        let head = head_quorum(trust, head, &reply.statements)?;
        let leaf = Leaf { index, entry: reply.entry.clone(), proof: hashes(&reply.inclusion)? };
        let entry = verify_leaf(&leaf, &head.head)?;
        let Entry::Command { block: found, time_ms: found_ms, signed: command, verdict } = entry else {
            return Err(ReceiptError::OtherCommand);
        };
        if (found, found_ms) != (block, time_ms) || found > head.head.block {
            return Err(ReceiptError::OtherBlock { block: found });
        }
        let same = command.command_bytes() == sent.command_bytes();
        let done = same || (before && has_effect_of(&command, sent));
        if !done {
            return Err(ReceiptError::OtherCommand);
        }
        command.verify(trust.ledger)?;
        let grants = matches!(sent.command().body, Body::Grant { .. } | Body::Delegate { .. });
        let grant = grants.then(|| GrantId::of(trust.ledger, sent.command_bytes()));
        Ok(Self { grant, index, block, time_ms, before, command, verdict, head, leaf })
    }
}

/// Demands that the leaf is in the log of `head`, and decodes it.
pub(crate) fn verify_leaf(leaf: &Leaf, head: &Head) -> Result<Entry, ReceiptError> {
    verify_inclusion(&leaf_hash(&leaf.entry), leaf.index, head.log_size, &leaf.proof, &head.log_root)?;
    Ok(Entry::decode(&leaf.entry)?)
}

/// The hashes of an inclusion proof.
pub(crate) fn hashes(proof: &[Vec<u8>]) -> Result<Vec<Hash>, ReceiptError> {
    if proof.len() > INCLUSION_HASHES_MAX {
        return Err(ReceiptError::Bounds("too many hashes"));
    }
    proof.iter().map(|bytes| Hash::from_slice(bytes).ok_or(ReceiptError::Bounds("a hash's length"))).collect()
}

fn head_quorum(trust: &Trust, head: Head, encoded: &[Vec<u8>]) -> Result<HeadQuorum, ReceiptError> {
    let statements = decode_statements::<ReceiptError>(encoded)?;
    trust.voters_of(&head)?.verify(&head, &statements)?;
    Ok(HeadQuorum { head, statements })
}

/// Whether `earlier`, another command, left nothing for `sent` to do.
fn has_effect_of(earlier: &SignedCommand, sent: &SignedCommand) -> bool {
    match (&earlier.command().body, &sent.command().body) {
        (Body::RevokeGrant { grant: earlier, .. }, Body::RevokeGrant { grant: sent, .. }) => earlier == sent,
        (Body::RetireAgent { agent: earlier }, Body::RetireAgent { agent: sent }) => earlier == sent,
        (Body::Outcome(earlier), Body::Outcome(sent)) => earlier == sent,
        _ => false,
    }
}
