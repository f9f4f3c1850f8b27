//! Receipts: that a command took effect, proven.

use std::sync::Arc;

use chancery_ledger::authority::{Entry, INCLUSION_HASHES_MAX, LeafError, Verdict, ViewError};
use chancery_ledger::command::{Body, EnvelopeError, GrantId, MalformedCommand, SignedCommand};
use chancery_ledger::decide::staleness_after;
use chancery_ledger::evidence::Leaf;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, HeadQuorum, QuorumError, RosterId, StatementError, decode_statements};
use chancery_ledger::state::{PrunedDecodeError, PrunedReadError, PrunedTree, PrunedView, UnusedError};
use chancery_ledger::trust::{Newest, Trust, TrustError};
use chancery_proto::v1::api::Acknowledged;

use crate::convictions::Convicted;
use crate::rosters::NeedsRoster;

/// Longest proof of how long what a command takes away may still be used, in bytes: two records and their paths.
const STALENESS_TREE_SIZE_BYTES_MAX: usize = 160 * 1024;

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
    /// When the last use of what the command takes away has begun, if it takes anything away.
    pub dead: Option<Dead>,
}

/// The end of what a revocation takes away: permits from before it can start no call any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dead {
    /// The greatest staleness of such a permit, in milliseconds: proven from the state.
    pub staleness_ms: u64,
    /// So long after the receipt, in milliseconds by a clock that does not jump, the last one is dead.
    pub after_ms: u64,
    /// The same by any wall clock that is in its bounds, in milliseconds since 1970: `dead_at`.
    pub at_ms: u64,
}

/// The clocks that say when a revocation has taken the last permit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// This machine's, after the acknowledgement came, in milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// How far it may be off.
    pub(crate) own_skew_ms: u64,
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
    /// The leaf is not in the head's log, or is no log entry.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// What should show how long permits from before live is no pruned tree.
    #[error("how long permits from before live: {0}")]
    StalenessTree(#[from] PrunedDecodeError),
    /// It is of another state than the head's.
    #[error("how long permits from before live is shown of another state than the head's")]
    StalenessRoot,
    /// It does not show it.
    #[error("how long permits from before live: {0}")]
    Staleness(#[from] ViewError<PrunedReadError>),
    /// It shows more.
    #[error("how long permits from before live: {0}")]
    StalenessUnused(#[from] UnusedError),
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
        clocks: Clocks,
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
        // What this client signed, and a batch that it met before, is known to be good.
        command.verify_with(trust.ledger, trust.seen())?;
        let grants = matches!(sent.command().body, Body::Grant { .. } | Body::Delegate { .. });
        let grant = grants.then(|| GrantId::of(trust.ledger, sent.command_bytes()));
        let staleness_ms = staleness(&head.head, &sent.command().body, &reply.staleness_tree)?;
        let dead = staleness_ms.map(|staleness_ms| Dead::new(staleness_ms, trust, reply.clock_ms, clocks));
        Ok(Self { grant, index, block, time_ms, before, command, verdict, head, leaf, dead })
    }
}

impl Dead {
    /// By the later of the node's clock and this machine's, both after the acknowledgement: this machine's alone
    /// is enough, so that a node cannot say an earlier time; nor does it say a later one than its bound allows.
    fn new(staleness_ms: u64, trust: &Trust, node_clock_ms: u64, clocks: Clocks) -> Self {
        let (nodes, own) = (trust.clock_skew_ms_max, clocks.own_skew_ms);
        let latest_ms = clocks.now_ms.saturating_add(nodes).saturating_add(own);
        let acknowledged_ms = node_clock_ms.clamp(clocks.now_ms, latest_ms);
        let after_ms = staleness_ms.saturating_add(nodes).saturating_add(own);
        Self { staleness_ms, after_ms, at_ms: acknowledged_ms.saturating_add(after_ms).saturating_add(nodes) }
    }
}

/// How long what `body` takes away may still be used, as the part of the state after `head` in `encoded` shows.
fn staleness(head: &Head, body: &Body, encoded: &[u8]) -> Result<Option<u64>, ReceiptError> {
    if encoded.is_empty() {
        // Whatever takes something away needs the state; the empty one answers for what does not.
        let nothing = PrunedTree::decode(&[5], 1)?;
        return Ok(staleness_after(&PrunedView::new(&nothing), body)?);
    }
    let tree = PrunedTree::decode(encoded, STALENESS_TREE_SIZE_BYTES_MAX)?;
    if tree.root_hash() != head.state_root {
        return Err(ReceiptError::StalenessRoot);
    }
    let view = PrunedView::new(&tree);
    let staleness_ms = staleness_after(&view, body)?;
    view.finish()?;
    staleness_ms.map(Some).ok_or(ReceiptError::Bounds("a part of the state that nothing needs"))
}

/// Demands that the leaf is in the log of `head`, and decodes it.
pub(crate) fn verify_leaf(leaf: &Leaf, head: &Head) -> Result<Entry, ReceiptError> {
    Ok(leaf.verify(head)?)
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
    // Those of a block's head come with the receipt of each of its commands.
    trust.voters_of(&head)?.verify_with(&head, &statements, trust.seen())?;
    Ok(HeadQuorum { head, statements })
}

/// Whether `earlier`, another command, left nothing for `sent` to do.
fn has_effect_of(earlier: &SignedCommand, sent: &SignedCommand) -> bool {
    match (&earlier.command().body, &sent.command().body) {
        (Body::RevokeGrant { grant: earlier, .. }, Body::RevokeGrant { grant: sent, .. }) => earlier == sent,
        (Body::RetireAgent { agent: earlier }, Body::RetireAgent { agent: sent }) => earlier == sent,
        (Body::Outcome(earlier), Body::Outcome(sent)) => earlier == sent,
        (Body::RegisterGeneration(earlier), Body::RegisterGeneration(sent)) => earlier == sent,
        // One voice, once; another resumer's word is none of this one.
        (Body::Resume { .. }, Body::Resume { .. }) => {
            earlier.command().body == sent.command().body && earlier.command().signer == sent.command().signer
        }
        _ => false,
    }
}
