//! Denials.

use crate::authority::{Cause, GrantRef};
use crate::command::{HaltScope, Identifier, Name, Template};
use crate::condition::ConditionFault;

/// Why not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denial {
    /// It is halted: the call itself, or a grant that would allow it, or who delegated that.
    Halted {
        /// What was halted.
        scope: HaltScope,
        /// Why, for people.
        reason: String,
        /// By which command.
        cause: Cause,
    },
    /// No agent of that name was ever registered.
    UnknownAgent,
    /// The agent, or one that delegated to it, was retired.
    Retired {
        /// Which.
        agent: Name,
        /// By which command.
        cause: Cause,
    },
    /// The agent's lineage has generations, and the request names none of them; or it has none, and the request
    /// names one.
    UnregisteredGeneration {
        /// The lineage.
        lineage: Name,
    },
    /// The generation was in service, and is not any more.
    SupersededGeneration {
        /// The lineage.
        lineage: Name,
        /// The generation's number.
        number: u64,
        /// What last changed which generations are in service.
        cause: Cause,
    },
    /// The generation was not released yet.
    QuarantinedGeneration {
        /// The lineage.
        lineage: Name,
        /// The generation's number.
        number: u64,
        /// What registered it.
        cause: Cause,
    },
    /// The constraints of the agent's lineage do not allow it, or of the lineage of one that delegated to it.
    LineageConstraint {
        /// The lineage.
        lineage: Name,
        /// What they do not allow: the action or the resource.
        outside: &'static str,
        /// What set them.
        cause: Cause,
    },
    /// A grant that would allow it was revoked, or one that it was delegated from.
    Revoked {
        /// The revoked grant.
        grant: GrantRef,
        /// By which command.
        cause: Cause,
    },
    /// Everything that the agent held was revoked, or all that one held that delegated to it.
    AllRevoked {
        /// Whose.
        agent: Name,
        /// By which command.
        cause: Cause,
    },
    /// Too little is left of a bound.
    BoundExhausted {
        /// The grant that has the bound.
        grant: GrantRef,
        /// The bound's name.
        name: Identifier,
        /// How much there may be of it.
        limit: u64,
        /// What is spent.
        used: u64,
        /// What the request would spend; none if the argument that the bound adds up is not shown, or is no
        /// whole number of at least 0.
        wanted: Option<u64>,
    },
    /// A source that a grant requires is not among what is shown of the request's knowledge, or too old.
    KnowledgeMissing {
        /// The grant that requires it.
        grant: GrantRef,
        /// The source, as the grant names it.
        template: Template,
        /// The source for this request; none if an argument that names it is not shown, or names none.
        source: Option<Name>,
        /// How old it may be, in milliseconds.
        max_age_ms: u64,
        /// When the newest that is shown was retrieved, in ledger time.
        retrieved_at_ms: Option<u64>,
    },
    /// A grant that would allow it has ended.
    Ended {
        /// The chain's end, in ledger time.
        not_after_ms: u64,
    },
    /// A grant that would allow it has not begun.
    NotBegun {
        /// The chain's beginning, in ledger time.
        not_before_ms: u64,
    },
    /// A condition of a grant that would allow it does not hold, or one of a grant that it was delegated from.
    ConditionFailed {
        /// Whose condition.
        grant: GrantRef,
        /// Why it does not hold.
        reason: ConditionFault,
    },
    /// None of the agent's grants allows it.
    NoGrant,
}

impl Denial {
    /// A stable name for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Halted { .. } => "halted",
            Self::UnknownAgent => "unknown_agent",
            Self::UnregisteredGeneration { .. } => "unregistered_generation",
            Self::SupersededGeneration { .. } => "superseded_generation",
            Self::QuarantinedGeneration { .. } => "quarantined_generation",
            Self::LineageConstraint { .. } => "lineage_constraint",
            Self::Retired { .. } => "retired",
            Self::Revoked { .. } => "revoked",
            Self::AllRevoked { .. } => "all_revoked",
            Self::BoundExhausted { .. } => "bound_exhausted",
            Self::KnowledgeMissing { .. } => "knowledge_missing",
            Self::Ended { .. } => "ended",
            Self::NotBegun { .. } => "not_begun",
            Self::ConditionFailed { .. } => "condition_failed",
            Self::NoGrant => "no_grant",
        }
    }

    /// The command that brought it about, if one did.
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Halted { cause, .. }
            | Self::Retired { cause, .. }
            | Self::SupersededGeneration { cause, .. }
            | Self::QuarantinedGeneration { cause, .. }
            | Self::LineageConstraint { cause, .. }
            | Self::Revoked { cause, .. }
            | Self::AllRevoked { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// Which of several reasons is told: what somebody did before what merely is; the latest of its kind.
    pub(super) fn rank(&self) -> (u8, u64) {
        let index = self.cause().map_or(0, |cause| cause.index);
        match self {
            Self::Halted { .. } => (12, index),
            Self::Revoked { .. } => (11, index),
            Self::Retired { .. } => (10, index),
            Self::AllRevoked { .. } => (9, index),
            Self::BoundExhausted { .. } => (8, 0),
            Self::KnowledgeMissing { .. } => (7, 0),
            Self::ConditionFailed { .. } => (6, 0),
            Self::Ended { not_after_ms } => (5, *not_after_ms),
            Self::NotBegun { not_before_ms } => (4, u64::MAX - not_before_ms),
            Self::LineageConstraint { .. } => (3, index),
            // Told at once: no grant is looked at.
            Self::UnknownAgent
            | Self::UnregisteredGeneration { .. }
            | Self::SupersededGeneration { .. }
            | Self::QuarantinedGeneration { .. } => (2, 0),
            Self::NoGrant => (1, 0),
        }
    }
}
