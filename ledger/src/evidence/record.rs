//! Evidence of one leaf: that a command took effect, and what was decided, in the log that a quorum signed.
//!
//! It shows a recorded decision to who was not there: the gate's question, the verdict, and of a denial the
//! command that brought it about.

use super::EvidenceError;
use crate::authority::{Cause, Decided, Entry, Leaf, Verdict};
use crate::command::{Body, LedgerId, SignedCommand};
use crate::head::{Head, HeadQuorum, RosterChain};
use crate::trust::Trust;

/// The `format` of the file.
pub const RECORD_FORMAT: &str = "chancery-record/v1";

/// A command in the log, with everything that proves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Names the log.
    pub origin: String,
    /// The ledger.
    pub ledger: LedgerId,
    /// The command's leaf.
    pub leaf: Leaf,
    /// That of the command that brought a denial about.
    pub cause: Option<Leaf>,
    /// A head at or after the leaf's block, with the quorum that signed it.
    pub head: HeadQuorum,
    /// The roster chain from genesis to the head's roster.
    pub rosters: RosterChain,
}

/// A command that took effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// The command, with its verified signatures.
    pub signed: SignedCommand,
    /// By which leaf, in which block, and when.
    pub cause: Cause,
    /// What was decided, if the command asked for a decision.
    pub verdict: Option<Verdict>,
}

/// A record that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownRecord {
    /// The command.
    pub recorded: Recorded,
    /// What brought its denial about, if the file has it.
    pub cause: Option<SignedCommand>,
    /// The nodes that signed the head, in ascending order.
    pub nodes: Vec<u64>,
}

/// What took effect at `leaf` of the log that `head` commits to; its signatures are not verified yet.
pub(super) fn recorded(leaf: &Leaf, head: &Head) -> Result<Recorded, EvidenceError> {
    took_effect(leaf.index, leaf.verify(head)?)
}

/// What took effect at `index`, where `entry` is; its signatures are not verified yet.
pub(super) fn took_effect(index: u64, entry: Entry) -> Result<Recorded, EvidenceError> {
    let Entry::Command { block, time_ms, signed, verdict } = entry else {
        return Err(EvidenceError::OtherLeaf);
    };
    let cause = Cause { index, block, time_ms, signer: signed.command().signer };
    Ok(Recorded { signed, cause, verdict })
}

impl Recorded {
    /// Demands the command's signatures, in the log of `ledger`.
    pub(super) fn verify(self, ledger: LedgerId) -> Result<Self, EvidenceError> {
        let founds = matches!(self.signed.command().body, Body::Genesis(_));
        self.signed.verify(if founds { LedgerId::GENESIS } else { ledger })?;
        Ok(self)
    }
}

impl Record {
    /// Verifies everything, from the trust alone.
    pub fn verify(&self, trust: &Trust) -> Result<ShownRecord, EvidenceError> {
        let trust = super::trust_with(trust, &self.origin, self.ledger, &self.rosters, |newest| {
            newest == self.head.head.roster
        })?;
        let HeadQuorum { head, statements } = &self.head;
        trust.check_head(head)?;
        trust.voters_of(head)?.verify(head, statements).map_err(EvidenceError::Head)?;
        let recorded = recorded(&self.leaf, head)?.verify(head.ledger)?;
        let cause = match &self.cause {
            Some(leaf) => Some(self.caused(&recorded, leaf)?),
            None => None,
        };
        let nodes = statements.iter().map(|statement| statement.node).collect();
        Ok(ShownRecord { recorded, cause, nodes })
    }

    fn caused(&self, recorded: &Recorded, leaf: &Leaf) -> Result<SignedCommand, EvidenceError> {
        let Some(Verdict { decided: Decided::Denied(denial), .. }) = &recorded.verdict else {
            return Err(EvidenceError::OtherLeaf);
        };
        let found = self::recorded(leaf, &self.head.head)?;
        if denial.cause() != Some(&found.cause) {
            return Err(EvidenceError::OtherLeaf);
        }
        Ok(found.verify(self.ledger)?.signed)
    }
}
