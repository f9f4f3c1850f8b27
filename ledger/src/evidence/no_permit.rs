//! Evidence that no permit was recorded for an agent between two heads: what its record counted at each.
//!
//! An agent's record counts its recorded decisions and the permits among them, and only grows. Two states, each proven as
//! any other evidence, that tell one number of permits have none between them.

use serde::{Deserialize, Serialize};

use super::file::{File, is_named, parse, text};
use super::{EVIDENCE_SIZE_BYTES_MAX, Evidence, EvidenceError, EvidenceFileError, Proof, Proven, Shown};
use crate::answer::{Moment, Recorded};
use crate::command::Name;
use crate::trust::Trust;

/// The `format` of the file.
pub const NO_PERMIT_FORMAT: &str = "chancery-no-permit/v1";

/// Longest such file, in bytes: two evidence files, and what is around them.
pub const NO_PERMIT_SIZE_BYTES_MAX: usize = 2 * EVIDENCE_SIZE_BYTES_MAX + 4096;

/// Two states of one agent, each with everything that proves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoPermit {
    /// From when on.
    pub from: Evidence,
    /// Until when.
    pub to: Evidence,
}

/// That no permit was recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownNoPermit {
    /// Whose.
    pub agent: Name,
    /// Permits that were recorded before `from`: as many as before `to`.
    pub permits: u64,
    /// Denials that were recorded between the two.
    pub denials: u64,
    /// From when on.
    pub from: Counted,
    /// Until when.
    pub to: Counted,
}

/// One end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The block after which the state was so; of a time, the last one with an effect by then.
    pub block: u64,
    /// The ledger time of that state, or the time that was asked about.
    pub time_ms: u64,
    /// What proves it.
    pub shown: Shown,
}

/// Why it is not shown that no permit was recorded.
#[derive(Debug, thiserror::Error)]
pub enum NoPermitError {
    /// One end shows nothing.
    #[error("{end}: {source}")]
    Evidence {
        /// Which: `from` or `to`.
        end: &'static str,
        /// Why not.
        source: EvidenceError,
    },
    /// They are about two agents.
    #[error("one end is about {from}, the other about {to}")]
    OtherAgent {
        /// That of the one.
        from: Name,
        /// That of the other.
        to: Name,
    },
    /// The later one is before the earlier one.
    #[error("block {to} is before block {from}, or its time is")]
    Order {
        /// The earlier one.
        from: u64,
        /// The later one.
        to: u64,
    },
    /// Some were.
    #[error("{0} permits were recorded between the two")]
    Permitted(u64),
    /// What only grows is less.
    #[error("the agent's record counts less than before")]
    Fell,
}

impl NoPermit {
    /// Verifies everything, from the trust alone.
    ///
    /// # Errors
    /// Each way in which it can fail has its own.
    pub fn verify(&self, trust: &Trust) -> Result<ShownNoPermit, NoPermitError> {
        let Self { from, to } = self;
        if from.request.agent != to.request.agent {
            return Err(NoPermitError::OtherAgent {
                from: from.request.agent.clone(),
                to: to.request.agent.clone(),
            });
        }
        // What the one shows of rosters, the other must not contradict.
        let known = join(trust, to).map_err(|source| NoPermitError::Evidence { end: "to", source })?;
        let from =
            Counted::of(from, &known).map_err(|source| NoPermitError::Evidence { end: "from", source })?;
        let known =
            join(trust, &self.from).map_err(|source| NoPermitError::Evidence { end: "from", source })?;
        let to = Counted::of(to, &known).map_err(|source| NoPermitError::Evidence { end: "to", source })?;
        if from.block > to.block || from.time_ms > to.time_ms {
            return Err(NoPermitError::Order { from: from.block, to: to.block });
        }
        let (before, after) = (from.recorded(), to.recorded());
        let permits = after.permits.checked_sub(before.permits).ok_or(NoPermitError::Fell)?;
        let decisions = after.decisions.checked_sub(before.decisions).ok_or(NoPermitError::Fell)?;
        if permits > 0 {
            return Err(NoPermitError::Permitted(permits));
        }
        let agent = self.to.request.agent.clone();
        Ok(ShownNoPermit { agent, permits: after.permits, denials: decisions, from, to })
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        let format = NO_PERMIT_FORMAT.into();
        text(&Pair { format, from: self.from.to_file(), to: self.to.to_file() })
    }

    /// Whether a file names this format, so that it should be read as one of it: for who is given a file of any
    /// kind.
    pub fn is_named_by(text: &[u8]) -> bool {
        is_named(text, NO_PERMIT_FORMAT)
    }

    /// Parses a file as strictly as evidence.
    ///
    /// # Errors
    /// The text is not exactly what [`NoPermit::to_json`] writes, but for white space, the order of members, and
    /// escapes in texts.
    pub fn from_json(text: &[u8]) -> Result<Self, EvidenceFileError> {
        let file: Pair = parse(text, NO_PERMIT_SIZE_BYTES_MAX)?;
        if file.format != NO_PERMIT_FORMAT {
            return Err(EvidenceFileError::Format(file.format));
        }
        Ok(Self { from: Evidence::from_file(file.from)?, to: Evidence::from_file(file.to)? })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    format: String,
    from: File,
    to: File,
}

/// `trust`, knowing also the rosters that `evidence` shows.
fn join(trust: &Trust, evidence: &Evidence) -> Result<Trust, EvidenceError> {
    let shown = trust.founding().extend(&evidence.rosters)?;
    trust.since_genesis().join(&shown).map_err(EvidenceError::Forked)
}

impl Counted {
    fn of(evidence: &Evidence, trust: &Trust) -> Result<Self, EvidenceError> {
        let shown = evidence.verify(trust)?;
        let (block, time_ms) = match (&shown.proven, &evidence.proof) {
            // Nothing had an effect between the state's block and the one that was asked about.
            (Proven::Past(past), Proof::Past { moment: Moment::Block(block), .. }) => (*block, past.time_ms),
            (Proven::Past(past), _) => (past.block, past.time_ms),
            (Proven::Check(check), _) => (check.head.block, check.head.time_ms),
        };
        Ok(Self { block, time_ms, shown })
    }

    /// Of an agent that was unknown, nothing was recorded.
    fn recorded(&self) -> Recorded {
        let recorded = match &self.shown.proven {
            Proven::Check(check) => check.recorded,
            Proven::Past(past) => past.recorded,
        };
        recorded.unwrap_or(Recorded { decisions: 0, permits: 0 })
    }
}
