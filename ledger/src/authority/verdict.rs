//! The verdict in the leaf of an Authorize: what `decide` said, for whoever reads the log.

use super::records::{Cause, GrantRef, cause, cause_to_wire};
use crate::command::{DELEGATION_DEPTH_MAX, MalformedCommand, Name, grant_ref_from_wire, grant_ref_to_wire};
use crate::decide::Denial;
use chancery_proto::v1 as wire;

/// What was decided as an Authorize was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Which of the agent's recorded decisions it is, from 1.
    pub number: u64,
    /// What it is.
    pub decided: Decided,
}

/// A recorded permit or denial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decided {
    /// The agent may act, once.
    Permit {
        /// The agent's grant, then its ancestors up to the root.
        chain: Vec<GrantRef>,
        /// Ledger time before which the execution must have begun: the earliest of the block's time and
        /// `execute_within_ms`, the block's time and the chain's staleness, and the chain's end.
        deadline_ms: u64,
    },
    /// It may not.
    Denied(Denial),
}

impl Verdict {
    /// Whether it is a permit.
    pub const fn is_permit(&self) -> bool {
        matches!(self.decided, Decided::Permit { .. })
    }

    pub(crate) fn to_wire(&self) -> wire::Verdict {
        use wire::verdict::Decision as W;
        let decision = match &self.decided {
            Decided::Permit { chain, deadline_ms } => W::Permit(wire::Permit {
                chain: chain.iter().copied().map(grant_ref_to_wire).collect(),
                deadline_ms: *deadline_ms,
            }),
            Decided::Denied(denial) => W::Denial(denial_to_wire(denial)),
        };
        wire::Verdict { number: self.number, decision: Some(decision) }
    }

    pub(crate) fn from_wire(w: wire::Verdict) -> Result<Self, MalformedCommand> {
        use wire::verdict::Decision as W;
        let decided = match w.decision.ok_or(MalformedCommand::Missing("the verdict's decision"))? {
            W::Permit(w) => Decided::Permit { chain: chain(&w.chain)?, deadline_ms: w.deadline_ms },
            W::Denial(w) => Decided::Denied(denial_from_wire(w)?),
        };
        if w.number == 0 {
            return Err(MalformedCommand::OutOfBounds("decision number"));
        }
        Ok(Self { number: w.number, decided })
    }
}

fn chain(links: &[wire::GrantRef]) -> Result<Vec<GrantRef>, MalformedCommand> {
    if links.is_empty() || links.len() > DELEGATION_DEPTH_MAX as usize + 1 {
        return Err(MalformedCommand::OutOfBounds("chain"));
    }
    links.iter().map(grant_ref_from_wire).collect()
}

fn denial_to_wire(denial: &Denial) -> wire::Denial {
    let w = wire::Denial {
        code: denial.code().into(),
        cause: denial.cause().map(cause_to_wire),
        ..wire::Denial::default()
    };
    match denial {
        Denial::UnknownAgent | Denial::NoGrant => w,
        Denial::Retired { agent, .. } | Denial::AllRevoked { agent, .. } => {
            wire::Denial { agent: agent.to_string(), ..w }
        }
        Denial::Revoked { grant, .. } => wire::Denial { grant: Some(grant_ref_to_wire(*grant)), ..w },
        Denial::Ended { not_after_ms: time_ms } | Denial::NotBegun { not_before_ms: time_ms } => {
            wire::Denial { time_ms: *time_ms, ..w }
        }
    }
}

fn denial_from_wire(w: wire::Denial) -> Result<Denial, MalformedCommand> {
    let cause = || -> Result<Cause, MalformedCommand> { cause(w.cause.clone()) };
    let agent = || {
        Name::new(w.agent.clone())
            .map_err(|source| MalformedCommand::Name { field: "denial's agent", source })
    };
    let denial = match w.code.as_str() {
        "unknown_agent" => Denial::UnknownAgent,
        "retired" => Denial::Retired { agent: agent()?, cause: cause()? },
        "revoked" => {
            let grant = w.grant.as_ref().ok_or(MalformedCommand::Missing("the denial's grant"))?;
            Denial::Revoked { grant: grant_ref_from_wire(grant)?, cause: cause()? }
        }
        "all_revoked" => Denial::AllRevoked { agent: agent()?, cause: cause()? },
        "ended" => Denial::Ended { not_after_ms: w.time_ms },
        "not_begun" => Denial::NotBegun { not_before_ms: w.time_ms },
        "no_grant" => Denial::NoGrant,
        _ => return Err(MalformedCommand::Unknown("denial")),
    };
    // A field that its code does not have would be lost.
    if denial_to_wire(&denial) == w { Ok(denial) } else { Err(MalformedCommand::NotCanonical) }
}
