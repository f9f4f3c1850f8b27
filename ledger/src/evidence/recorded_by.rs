//! Evidence of one leaf by a time: that a command had taken effect by then, in a checkpoint that a quorum of nodes
//! cosigned.
//!
//! A record says *that* something is in the log; a cosignature says by when it was. The time is no claim of the file: it
//! follows from the cosignatures, and is that by which a quorum had made them, by their own clocks. The checkpoint's
//! last leaf is a STATE leaf, which tells whose quorum it takes.

use std::collections::BTreeSet;

use super::record::{Recorded, took_effect};
use super::{EvidenceError, Leaf};
use crate::authority::Entry;
use crate::checkpoint::{
    Cosignature, KeyError, NoteError, SignatureError, SignatureLine, SignedCheckpoint, VerifierKey,
};
use crate::command::LedgerId;
use crate::head::{Roster, RosterChain, RosterId, Voter};
use crate::trust::{Trust, TrustError};

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
    /// With the cosignatures of nodes alone, sorted by node.
    pub checkpoint: SignedCheckpoint,
    /// The roster chain from genesis to the roster of the last leaf.
    pub rosters: RosterChain,
}

/// What is shown to have been recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownRecordedBy {
    /// The command.
    pub recorded: Recorded,
    /// By when it had taken effect, in milliseconds since 1970: a quorum had cosigned by then.
    pub by_ms: u64,
    /// Who cosigned, and when, sorted by node.
    pub cosigned: Vec<Cosigned>,
    /// The checkpoint's last block with an effect.
    pub block: u64,
    /// Its ledger time.
    pub block_time_ms: u64,
}

/// A node's cosignature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cosigned {
    /// The node.
    pub node: u64,
    /// When, by its clock, in whole seconds since 1970: it may have been a second later.
    pub time_s: u64,
}

/// Why nothing is shown to have been recorded by then.
#[derive(Debug, thiserror::Error)]
pub enum RecordedByError {
    /// It is of another ledger, or what is in the checkpoint's log is not what it must be.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The checkpoint's last leaf is none that a block ends with.
    #[error("leaf {0} is not the state that the checkpoint of {1} leaves ends with")]
    NotTheState(u64, u64),
    /// A signature by nobody whose word counts, or a second one, or one out of order.
    #[error("{0} is no voter, or cosigned twice, or is out of order")]
    NoVoter(String),
    /// A voter's name is none of a key.
    #[error("a voter's key: {0}")]
    Key(#[from] KeyError),
    /// A cosignature does not verify.
    #[error("checkpoint: {0}")]
    Signature(#[from] SignatureError),
    /// Fewer than a quorum.
    #[error("{0} nodes cosigned, which is no quorum")]
    TooFew(usize),
    /// Without any of them it is no checkpoint.
    #[error("checkpoint: {0}")]
    Note(#[from] NoteError),
}

impl Cosigned {
    /// By when it was surely made, in milliseconds since 1970.
    pub const fn by_ms(&self) -> u64 {
        self.time_s.saturating_add(1).saturating_mul(1000)
    }
}

impl RecordedBy {
    /// That `leaf` was in the log of `checkpoint` when it was cosigned; `state` is the checkpoint's last leaf. Signatures
    /// that nobody needs are left out, such as the log's own.
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
        let voters = Voters::of(&trust, trust.roster_after(block, roster)?)?;
        let lines: Vec<_> = voters.lines_of(checkpoint).cloned().collect();
        if lines.is_empty() {
            return Err(RecordedByError::TooFew(0));
        }
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
        let checkpoint = self.checkpoint.checkpoint();
        if checkpoint.origin().as_str() != self.origin {
            let (found, expected) = (checkpoint.origin().to_string(), self.origin.clone());
            return Err(EvidenceError::OtherOrigin { found, expected }.into());
        }
        let (block, roster, block_time_ms) = last_state(&self.state, &self.checkpoint)?;
        let trust =
            super::trust_with(trust, &self.origin, self.ledger, &self.rosters, |newest| newest == roster)?;
        let roster = trust.roster_after(block, roster)?;
        let voters = Voters::of(&trust, roster)?;
        voters.are_all_of(&self.checkpoint)?;
        let cosigned = voters.cosigned(&self.checkpoint)?;
        let by_ms = voters.earliest(&cosigned).ok_or(RecordedByError::TooFew(cosigned.len()))?;
        let entry =
            self.leaf.verify_in(checkpoint.size(), &checkpoint.root()).map_err(EvidenceError::from)?;
        let recorded = took_effect(self.leaf.index, entry)?.verify(self.ledger)?;
        Ok(ShownRecordedBy { recorded, by_ms, cosigned, block, block_time_ms })
    }
}

/// Block, roster and time of the STATE leaf that a checkpoint ends with.
fn last_state(state: &Leaf, checkpoint: &SignedCheckpoint) -> Result<(u64, RosterId, u64), RecordedByError> {
    let (size, root) = (checkpoint.checkpoint().size(), checkpoint.checkpoint().root());
    let entry = state.verify_in(size, &root).map_err(EvidenceError::from)?;
    match entry {
        Entry::State { block, roster, time_ms, .. } if state.index.saturating_add(1) == size => {
            Ok((block, roster, time_ms))
        }
        Entry::State { .. } | Entry::Command { .. } => Err(RecordedByError::NotTheState(state.index, size)),
    }
}

/// The voters of a roster, sorted by node, and the keys that they cosign with.
struct Voters<'a> {
    roster: &'a Roster,
    voters: Vec<&'a Voter>,
    keys: Vec<VerifierKey>,
}

impl<'a> Voters<'a> {
    fn of(trust: &Trust, roster: &'a Roster) -> Result<Self, KeyError> {
        let mut voters: Vec<_> = roster.voters().collect();
        voters.sort_unstable_by_key(|voter| voter.node);
        let key = |voter: &&Voter| VerifierKey::of_voter(&trust.origin, voter);
        let keys = voters.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self { roster, voters, keys })
    }

    /// Demands that each signature is a voter's, each of another, sorted by node.
    fn are_all_of(&self, checkpoint: &SignedCheckpoint) -> Result<(), RecordedByError> {
        let mut keys = self.keys.iter();
        for line in checkpoint.signatures() {
            if !keys.any(|key| is_by(line, key)) {
                return Err(RecordedByError::NoVoter(line.name().to_string()));
            }
        }
        Ok(())
    }

    fn cosigned(&self, checkpoint: &SignedCheckpoint) -> Result<Vec<Cosigned>, SignatureError> {
        let cosignatures = checkpoint.verify_cosignatures(&self.keys)?;
        let of = |cosignature: Cosignature| {
            let voter = self.voters.get(cosignature.cosigner)?;
            Some(Cosigned { node: voter.node, time_s: cosignature.time_s })
        };
        // INVARIANT: `cosigner` is a place in `keys`, which has as many as `voters`.
        Ok(cosignatures.into_iter().filter_map(of).collect())
    }

    /// By when a quorum had cosigned; `None` if none did.
    fn earliest(&self, cosigned: &[Cosigned]) -> Option<u64> {
        let mut by_time = cosigned.to_vec();
        by_time.sort_unstable_by_key(|cosigned| cosigned.time_s);
        let mut nodes = BTreeSet::new();
        by_time.iter().find_map(|cosigned| {
            nodes.insert(cosigned.node);
            self.roster.has_quorum(&nodes).then(|| cosigned.by_ms())
        })
    }

    /// Their signatures, sorted by node; of somebody's two, the first.
    fn lines_of<'c>(&self, checkpoint: &'c SignedCheckpoint) -> impl Iterator<Item = &'c SignatureLine> {
        let line = |key| checkpoint.signatures().iter().find(|line| is_by(line, key));
        self.keys.iter().filter_map(line)
    }
}

fn is_by(line: &SignatureLine, key: &VerifierKey) -> bool {
    line.name() == key.name() && line.key_id() == key.id()
}

impl From<TrustError> for RecordedByError {
    fn from(error: TrustError) -> Self {
        EvidenceError::from(error).into()
    }
}
