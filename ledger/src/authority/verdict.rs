//! The verdict in the leaf of an Authorize: what `decide` said, for whoever reads the log.

use super::meters::Allowance;
use super::records::{Cause, GenerationRef, GrantRef, cause, cause_to_wire};
use crate::command::{
    BOUNDS_MAX, DELEGATION_DEPTH_MAX, HaltScope, Identifier, MalformedCommand, Name, RequirementError,
    Template, grant_ref_from_wire, grant_ref_to_wire, reason,
};
use crate::condition::ConditionFault;
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
        /// The generation that may act; none if the agent's lineage has none.
        generation: Option<GenerationRef>,
        /// Ledger time before which the execution must have begun: the earliest of the block's time and
        /// `execute_within_ms`, the block's time and the chain's staleness, and the chain's end.
        deadline_ms: u64,
        /// What it takes of the chain's bounds, from the agent's grant up.
        bounds: Vec<BoundTaken>,
    },
    /// It may not.
    Denied(Denial),
}

/// What a permit takes of one bound of its chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BoundTaken {
    /// The grant that has the bound.
    pub grant: GrantRef,
    /// The bound's name.
    pub name: Identifier,
    /// How much there may be of it.
    pub limit: u64,
    /// What was spent before.
    pub used: u64,
    /// What the permit takes.
    pub taken: u64,
}

impl BoundTaken {
    pub(super) fn of(allowance: &Allowance) -> Self {
        Self {
            grant: allowance.grant,
            name: allowance.bound.name.clone(),
            limit: allowance.bound.limit,
            used: allowance.used,
            taken: allowance.wanted,
        }
    }

    /// What is left of it after the permit.
    pub const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used).saturating_sub(self.taken)
    }

    fn to_wire(&self) -> wire::BoundTaken {
        wire::BoundTaken {
            grant: Some(grant_ref_to_wire(self.grant)),
            name: self.name.to_string(),
            limit: self.limit,
            used: self.used,
            taken: self.taken,
        }
    }

    fn from_wire(w: wire::BoundTaken) -> Result<Self, MalformedCommand> {
        let grant = w.grant.as_ref().ok_or(MalformedCommand::Missing("a bound's grant"))?;
        Ok(Self {
            grant: grant_ref_from_wire(grant)?,
            name: identifier(w.name)?,
            limit: w.limit,
            used: w.used,
            taken: w.taken,
        })
    }
}

impl Verdict {
    /// Whether it is a permit.
    pub const fn is_permit(&self) -> bool {
        matches!(self.decided, Decided::Permit { .. })
    }

    pub(crate) fn to_wire(&self) -> wire::Verdict {
        use wire::verdict::Decision as W;
        let decision = match &self.decided {
            Decided::Permit { chain, generation, deadline_ms, bounds } => W::Permit(wire::Permit {
                chain: chain.iter().copied().map(grant_ref_to_wire).collect(),
                generation: generation.map(GenerationRef::to_wire),
                deadline_ms: *deadline_ms,
                bounds: bounds.iter().map(BoundTaken::to_wire).collect(),
            }),
            Decided::Denied(denial) => W::Denial(denial_to_wire(denial)),
        };
        wire::Verdict { number: self.number, decision: Some(decision) }
    }

    pub(crate) fn from_wire(w: wire::Verdict) -> Result<Self, MalformedCommand> {
        use wire::verdict::Decision as W;
        let decided = match w.decision.ok_or(MalformedCommand::Missing("the verdict's decision"))? {
            W::Permit(w) => Decided::Permit {
                chain: chain(&w.chain)?,
                generation: w.generation.map(GenerationRef::from_wire).transpose()?,
                deadline_ms: w.deadline_ms,
                bounds: taken(w.bounds)?,
            },
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

fn taken(bounds: Vec<wire::BoundTaken>) -> Result<Vec<BoundTaken>, MalformedCommand> {
    if bounds.len() > BOUNDS_MAX * (DELEGATION_DEPTH_MAX as usize + 1) {
        return Err(MalformedCommand::OutOfBounds("bounds"));
    }
    bounds.into_iter().map(BoundTaken::from_wire).collect()
}

fn identifier(text: String) -> Result<Identifier, MalformedCommand> {
    Identifier::new(text).map_err(|source| MalformedCommand::Identifier { field: "a bound's name", source })
}

fn denial_to_wire(denial: &Denial) -> wire::Denial {
    let w = wire::Denial {
        code: denial.code().into(),
        cause: denial.cause().map(cause_to_wire),
        ..wire::Denial::default()
    };
    match denial {
        Denial::UnknownAgent | Denial::NoGrant => w,
        Denial::Halted { scope, reason, .. } => {
            wire::Denial { halted: Some(scope.to_wire()), reason: reason.clone(), ..w }
        }
        Denial::UnregisteredGeneration { lineage } => wire::Denial { lineage: lineage.to_string(), ..w },
        Denial::SupersededGeneration { lineage, number, .. }
        | Denial::QuarantinedGeneration { lineage, number, .. } => {
            wire::Denial { lineage: lineage.to_string(), generation: *number, ..w }
        }
        Denial::LineageConstraint { lineage, outside, .. } => {
            wire::Denial { lineage: lineage.to_string(), outside: (*outside).into(), ..w }
        }
        Denial::Retired { agent, .. } | Denial::AllRevoked { agent, .. } => {
            wire::Denial { agent: agent.to_string(), ..w }
        }
        Denial::Revoked { grant, .. } => wire::Denial { grant: Some(grant_ref_to_wire(*grant)), ..w },
        Denial::BoundExhausted { grant, name, limit, used, wanted } => wire::Denial {
            grant: Some(grant_ref_to_wire(*grant)),
            bound: Some(wire::ExhaustedBound {
                name: name.to_string(),
                limit: *limit,
                used: *used,
                wanted: *wanted,
            }),
            ..w
        },
        Denial::KnowledgeMissing { grant, template, source, max_age_ms, retrieved_at_ms } => wire::Denial {
            grant: Some(grant_ref_to_wire(*grant)),
            knowledge: Some(wire::MissingKnowledge {
                template: template.to_string(),
                source: source.as_ref().map(ToString::to_string).unwrap_or_default(),
                max_age_ms: *max_age_ms,
                retrieved_at_ms: *retrieved_at_ms,
            }),
            ..w
        },
        Denial::ConditionFailed { grant, reason } => wire::Denial {
            grant: Some(grant_ref_to_wire(*grant)),
            condition: Some(wire::FailedCondition {
                reason: reason.code().into(),
                policies: reason.policies().iter().copied().map(u32::from).collect(),
            }),
            ..w
        },
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
    let grant =
        || grant_ref_from_wire(w.grant.as_ref().ok_or(MalformedCommand::Missing("the denial's grant"))?);
    let lineage = || {
        Name::new(w.lineage.clone())
            .map_err(|source| MalformedCommand::Name { field: "denial's lineage", source })
    };
    let denial = match w.code.as_str() {
        "halted" => Denial::Halted {
            scope: HaltScope::from_wire(w.halted.clone())?,
            reason: reason(w.reason.clone())?,
            cause: cause()?,
        },
        "unregistered_generation" => Denial::UnregisteredGeneration { lineage: lineage()? },
        "superseded_generation" => {
            Denial::SupersededGeneration { lineage: lineage()?, number: w.generation, cause: cause()? }
        }
        "quarantined_generation" => {
            Denial::QuarantinedGeneration { lineage: lineage()?, number: w.generation, cause: cause()? }
        }
        "lineage_constraint" => {
            let outside = ["action", "resource"].into_iter().find(|outside| *outside == w.outside);
            let outside = outside.ok_or(MalformedCommand::Unknown("what is outside"))?;
            Denial::LineageConstraint { lineage: lineage()?, outside, cause: cause()? }
        }
        "unknown_agent" => Denial::UnknownAgent,
        "retired" => Denial::Retired { agent: agent()?, cause: cause()? },
        "revoked" => Denial::Revoked { grant: grant()?, cause: cause()? },
        "bound_exhausted" => {
            let bound = w.bound.clone().ok_or(MalformedCommand::Missing("the denial's bound"))?;
            let wire::ExhaustedBound { name, limit, used, wanted } = bound;
            Denial::BoundExhausted { grant: grant()?, name: identifier(name)?, limit, used, wanted }
        }
        "knowledge_missing" => {
            let missing = w.knowledge.clone().ok_or(MalformedCommand::Missing("the denial's knowledge"))?;
            let source = (!missing.source.is_empty()).then_some(missing.source).map(Name::new).transpose();
            Denial::KnowledgeMissing {
                grant: grant()?,
                template: Template::new(missing.template).map_err(RequirementError::from)?,
                source: source
                    .map_err(|source| MalformedCommand::Name { field: "denial's source", source })?,
                max_age_ms: missing.max_age_ms,
                retrieved_at_ms: missing.retrieved_at_ms,
            }
        }
        "condition_failed" => {
            let failed = w.condition.clone().ok_or(MalformedCommand::Missing("the denial's condition"))?;
            Denial::ConditionFailed { grant: grant()?, reason: condition_fault(failed)? }
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

fn condition_fault(w: wire::FailedCondition) -> Result<ConditionFault, MalformedCommand> {
    let unknown = || MalformedCommand::Unknown("reason of a condition");
    let policies = w.policies.into_iter().map(u16::try_from).collect::<Result<Vec<_>, _>>();
    let policies = policies.map_err(|_| MalformedCommand::OutOfBounds("policy"))?;
    if !policies.is_sorted_by(|a, b| a < b) {
        return Err(MalformedCommand::Unsorted("policies"));
    }
    ConditionFault::of_code(&w.reason, policies).ok_or_else(unknown)
}
