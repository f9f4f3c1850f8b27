//! Evidence of one leaf by a time: that a command had taken effect by then, in a checkpoint that was cosigned.
//!
//! A record says *that* something is in the log; a cosignature says by when it was. The time is no claim of the file: it
//! follows from the cosignatures, and is that by which a quorum of the nodes had made them, and as many witnesses as the
//! reader's trust file demands, each by its own clock. The checkpoint's last leaf is a STATE leaf, which tells whose
//! quorum it takes.

use super::record::{Recorded, took_effect};
use super::{EvidenceError, Leaf};
use crate::authority::Entry;
use crate::checkpoint::{NoteError, SignatureLine, SignedCheckpoint, VerifierKey};
use crate::command::LedgerId;
use crate::head::{HeadVoters, RosterChain, RosterId};
use crate::trust::{Cosigned, CosignedError, Trust, TrustError, Witnesses};

/// The `format` of the file.
pub const RECORDED_BY_FORMAT: &str = "chancery-recorded-by/v1";

/// A command in the log of a checkpoint, with everything that proves when at the latest it was there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedBy {
    /// Names the log.
    pub origin: String,
    /// The ledger.
    pub ledger: LedgerId,
    /// The command's leaf, in the log of the checkpoint.
    pub leaf: Leaf,
    /// The last leaf of the checkpoint.
    pub state: Leaf,
    /// The checkpoint with its cosignatures. Lines by keys that nobody knows count for nothing.
    pub checkpoint: SignedCheckpoint,
    /// The roster chain from genesis to the roster of the last leaf.
    pub rosters: RosterChain,
}

/// What is shown to have been recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownRecordedBy {
    /// The command.
    pub recorded: Recorded,
    /// By when it had taken effect, in milliseconds since 1970: enough had cosigned by then.
    pub by_ms: u64,
    /// Who cosigned, and when.
    pub cosigned: Cosigned,
    /// The checkpoint's last block with an effect.
    pub block: u64,
    /// Its ledger time.
    pub block_time_ms: u64,
}

/// Why nothing is shown to have been recorded by then.
#[derive(Debug, thiserror::Error)]
pub enum RecordedByError {
    /// It is of another ledger, or what is in the checkpoint's log is not what it must be.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The checkpoint's last leaf is none that a block ends with.
    #[error("leaf {index} is not the state that the checkpoint of {size} leaves ends with")]
    NotTheState {
        /// The leaf's index.
        index: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// The checkpoint is not trusted.
    #[error(transparent)]
    Cosigned(#[from] CosignedError),
    /// None of its lines counts, or together they are too long.
    #[error("checkpoint: {0}")]
    Note(#[from] NoteError),
}

impl RecordedBy {
    /// That `leaf` was in the log of `checkpoint` when it was cosigned; `state` is the checkpoint's last leaf. Lines
    /// that count for nothing are left out, such as the log's own.
    ///
    /// # Errors
    /// It is not shown.
    pub fn new(
        trust: &Trust,
        checkpoint: &SignedCheckpoint,
        [leaf, state]: [Leaf; 2],
    ) -> Result<Self, RecordedByError> {
        let trust = trust.since_genesis();
        let (block, roster, _) = last_state(&state, checkpoint)?;
        let lines = known_lines(&trust, checkpoint, &trust.cosigners_after(block, roster)?)?;
        let recorded = Self {
            origin: trust.origin.clone(),
            ledger: trust.ledger,
            leaf,
            state,
            checkpoint: SignedCheckpoint::new(checkpoint.checkpoint().clone(), lines)?,
            rosters: trust.roster_chain_to(roster)?,
        };
        recorded.verify(&trust)?;
        Ok(recorded)
    }

    /// Verifies everything, from the trust alone.
    ///
    /// # Errors
    /// Each way in which it can fail has its own.
    pub fn verify(&self, trust: &Trust) -> Result<ShownRecordedBy, RecordedByError> {
        let (block, roster, block_time_ms) = last_state(&self.state, &self.checkpoint)?;
        let trust =
            super::trust_with(trust, &self.origin, self.ledger, &self.rosters, |newest| newest == roster)?;
        let cosigned = trust.verify_checkpoint(&self.checkpoint, &trust.cosigners_after(block, roster)?)?;
        let log = self.checkpoint.checkpoint();
        let entry = self.leaf.verify_in(log.size(), &log.root()).map_err(EvidenceError::from)?;
        let recorded = took_effect(self.leaf.index, entry)?.verify(self.ledger)?;
        // It may have been cosigned at the very end of that second.
        let by_ms = cosigned.enough_by_s.saturating_add(1).saturating_mul(1000);
        Ok(ShownRecordedBy { recorded, by_ms, cosigned, block, block_time_ms })
    }
}

/// Block, roster and time of the STATE leaf that a checkpoint ends with.
fn last_state(state: &Leaf, checkpoint: &SignedCheckpoint) -> Result<(u64, RosterId, u64), RecordedByError> {
    let (size, root) = (checkpoint.checkpoint().size(), checkpoint.checkpoint().root());
    let index = state.index;
    match state.verify_in(size, &root).map_err(EvidenceError::from)? {
        Entry::State { block, roster, time_ms, .. } if index.saturating_add(1) == size => {
            Ok((block, roster, time_ms))
        }
        Entry::State { .. } | Entry::Command { .. } => Err(RecordedByError::NotTheState { index, size }),
    }
}

/// The lines of voters, and of witnesses that the trust knows.
fn known_lines(
    trust: &Trust,
    checkpoint: &SignedCheckpoint,
    voters: &HeadVoters<'_>,
) -> Result<Vec<SignatureLine>, CosignedError> {
    let mut keys: Vec<VerifierKey> = Vec::new();
    for voter in voters.voters() {
        let key = voter.cosigner_key(&trust.origin);
        keys.push(key.map_err(|source| CosignedError::Voter { node: voter.node, source })?);
    }
    keys.extend(trust.witnesses.iter().flat_map(Witnesses::keys).cloned());
    let is_known =
        |line: &&SignatureLine| keys.iter().any(|key| line.name() == key.name() && line.key_id() == key.id());
    Ok(checkpoint.signatures().iter().filter(is_known).cloned().collect())
}

impl From<TrustError> for RecordedByError {
    fn from(error: TrustError) -> Self {
        EvidenceError::from(error).into()
    }
}
