//! Why a command has no effect.

use crate::command::{EnvelopeError, GenerationId, GrantId, Name, OutcomeKind, PublicKey, Role};
use crate::condition::ConditionError;
use crate::head::RosterId;

/// A command that is understood, and refused: it leaves no leaf and changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The envelope does not verify.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// More signatures than genesis allows.
    #[error("more than {0} signatures")]
    TooManySignatures(u32),
    /// `not_after_ms` has passed.
    #[error("expired: the ledger's time is {time_ms}, the command ends at {not_after_ms}")]
    Expired {
        /// The block's time.
        time_ms: u64,
        /// The command's end.
        not_after_ms: u64,
    },
    /// `not_after_ms` is more than 24 hours ahead.
    #[error("not_after is more than 24 hours ahead of the ledger's time {time_ms}")]
    TooFarAhead {
        /// The block's time.
        time_ms: u64,
    },
    /// The signer used this request id for another command.
    #[error("the request id was used for another command, at index {index}")]
    RequestIdReused {
        /// Where.
        index: u64,
    },
    /// The signer has too many commands whose `not_after_ms` has not passed.
    #[error("the signer has {0} commands that have not expired, the most there may be")]
    TooManyPending(u32),
    /// Genesis, but not in block 0.
    #[error("a ledger has one genesis")]
    NotGenesis,
    /// The signer is no principal, or no longer.
    #[error("key {0} is not an active principal")]
    UnknownPrincipal(PublicKey),
    /// The signer's roles do not allow it.
    #[error("the signer is not {}", .0.iter().map(|role| role.name()).collect::<Vec<_>>().join(" or "))]
    WrongRole(Vec<Role>),
    /// The signer's scope does not extend to it.
    #[error("outside the signer's scope: {0}")]
    OutOfScope(&'static str),
    /// The key is a principal already, or was.
    #[error("key {0} is or was a principal")]
    PrincipalExists(PublicKey),
    /// Without it too few would be left to change the voters.
    #[error("{0} operators must remain")]
    OperatorsNeeded(u32),
    /// The name is taken, for ever.
    #[error("agent {0} is registered")]
    AgentExists(Name),
    /// No agent of that name was registered.
    #[error("agent {0} is not registered")]
    UnknownAgent(Name),
    /// The agent was retired.
    #[error("agent {0} is retired")]
    AgentRetired(Name),
    /// The agent has as many grants in this epoch as genesis allows.
    #[error("agent {agent} has {max} grants, the most there may be until all of its grants are revoked")]
    TooManyGrants {
        /// The agent.
        agent: Name,
        /// The bound.
        max: u32,
    },
    /// The terms end before they could begin to count.
    #[error("the terms have ended by the ledger's time")]
    TermsEnded,
    /// `max_staleness_ms` is above genesis' cap.
    #[error("max_staleness_ms is above the ledger's cap of {0}")]
    StalenessAboveCap(u64),
    /// Delegation deeper than genesis, or the parent, allows.
    #[error("delegation is deeper than allowed")]
    TooDeep,
    /// The same command was granted before.
    #[error("grant {0} exists")]
    GrantExists(GrantId),
    /// There is no such grant.
    #[error("grant {0} does not exist")]
    UnknownGrant(GrantId),
    /// The parent, or a grant above it, is revoked or void.
    #[error("the parent grant is not in force")]
    ParentNotInForce,
    /// The signer is not the key of the agent that holds the parent.
    #[error("the signer's key is not that of the agent that holds the parent grant")]
    NotTheHolder,
    /// The terms are wider than the parent's.
    #[error("the delegation widens its parent's {0}")]
    Widens(&'static str),
    /// Cedar does not understand the condition, or it is too deep, or not valid under its schema.
    #[error(transparent)]
    BadCondition(#[from] ConditionError),
    /// There is a schema, and nothing to check against it.
    #[error("a schema without a condition")]
    SchemaWithoutCondition,
    /// The subject already holds a grant of the chain.
    #[error("the delegation loops: agent {0} is in its own chain")]
    Loops(Name),
    /// These rules are in force.
    #[error("rules version {0} is in force")]
    RulesInForce(u32),
    /// Not every node of the roster has said that it knows these rules.
    #[error("rules version {0} has not been advertised by every node of the roster")]
    RulesNotAdvertised(u32),
    /// A key that signs as an operator is none, or no longer.
    #[error("key {0} is not an active operator")]
    UnknownOperator(PublicKey),
    /// Too few operators signed a change of the voters, or a loosening of a lineage.
    #[error("{signed} operators signed, it needs {threshold}")]
    TooFewOperators {
        /// How many did, the signer included.
        signed: u32,
        /// How many must.
        threshold: u32,
    },
    /// The voters are being changed.
    #[error("a change of the voters is under way")]
    RosterChangeUnderWay,
    /// The change is to another roster than the one in force.
    #[error("the change replaces roster {replaces}, but {in_force} is in force")]
    OtherRoster {
        /// What the command says.
        replaces: RosterId,
        /// What is.
        in_force: RosterId,
    },
    /// These are the voters.
    #[error("the voters would be the same")]
    SameVoters,
    /// The ledger had as many rosters as a verifier follows.
    #[error("the ledger had {0} roster blocks, the most there may be")]
    TooManyRosters(u32),
    /// The node id is or was another voter's.
    #[error("node id {0} is or was another voter's")]
    NodeIdUsed(u64),
    /// The name is or was another voter's.
    #[error("the name {0} is or was another voter's")]
    NodeNameUsed(Name),
    /// The key is or was another voter's.
    #[error("key {0} is or was another voter's")]
    NodeKeyUsed(PublicKey),
    /// The record of the halts in force would be too large.
    #[error("too many halts are in force: one of everything would still be taken")]
    TooManyHalts,
    /// There is no halt at that index.
    #[error("leaf {0} is no halt")]
    UnknownHalt(u64),
    /// The halt at that index is of another command.
    #[error("the halt at index {0} is another one")]
    OtherHalt(u64),
    /// The halt has ended.
    #[error("the halt has ended, at index {0}")]
    HaltEnded(u64),
    /// More signatures than a command may have would be needed to loosen the lineage again.
    #[error("no command has more than {0} signatures: the threshold could never be met")]
    ThresholdOutOfReach(u32),
    /// The lineage is so already.
    #[error("the lineage is so already")]
    LineageUnchanged,
    /// There is no such generation in the lineage.
    #[error("generation {0} is not registered in the lineage")]
    UnknownGeneration(GenerationId),
    /// The generation with that number is another one.
    #[error("generation {0} has another id")]
    OtherGeneration(u64),
    /// A generation that is not a lineage's first names none that it was made from.
    #[error("the lineage has generations: a further one names its parent")]
    ParentNeeded,
    /// A key that signs as a reviewer is neither that nor an operator, or no longer.
    #[error("key {0} is not an active reviewer or operator")]
    UnknownReviewer(PublicKey),
    /// Too few signed a release.
    #[error("{signed} reviewers or operators signed, the lineage's policy needs {threshold}")]
    TooFewReviewers {
        /// How many did, the signer included.
        signed: u32,
        /// How many must.
        threshold: u32,
    },
    /// The generation is in service.
    #[error("generation {0} is in service")]
    InService(u64),
    /// The generation is older than all in service, and there is no room for one more.
    #[error("generation {0} is older than those in service")]
    Superseded(u64),
    /// The generation was never released.
    #[error("generation {0} was never released")]
    NotReleased(u64),
    /// The generation is not older than the newest in service.
    #[error("generation {0} is not older than the newest in service")]
    NotOlder(u64),
    /// The parent grant is under a halt.
    #[error("the parent grant is halted, at index {0}")]
    Halted(u64),
    /// A change of the voters in a block that is no roster block.
    #[error("a change of the voters stands in a roster block of its own")]
    NotInRosterBlock,
    /// The execution would begin later than genesis allows.
    #[error("execute_within_ms is above the ledger's {0}")]
    ExecutionTooLate(u64),
    /// The decision whose place the next one takes is still open.
    #[error(
        "decision {number} of agent {agent} is open: permitted, without an outcome, its deadline to come"
    )]
    TooManyOpenDecisions {
        /// The agent.
        agent: Name,
        /// The oldest decision that is kept.
        number: u64,
    },
    /// No such decision was recorded, or later ones took its place.
    #[error("decision {number} of agent {agent} is not among those that are kept")]
    UnknownDecision {
        /// The agent.
        agent: Name,
        /// Which of its decisions.
        number: u64,
    },
    /// The decision was a denial: nothing may come of it.
    #[error("decision {number} of agent {agent} was a denial")]
    DecisionDenied {
        /// The agent.
        agent: Name,
        /// Which of its decisions.
        number: u64,
    },
    /// Something else is recorded to have become of it.
    #[error("the outcome is recorded: {}", .0.name())]
    OutcomeRecorded(OutcomeKind),
    /// What was not executed cannot be compensated.
    #[error("nothing to compensate: no execution is recorded")]
    NotExecuted,
}

impl Refusal {
    /// A stable name for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Envelope(EnvelopeError::Malformed(_)) => "malformed",
            Self::Envelope(
                EnvelopeError::WrongSigners { .. }
                | EnvelopeError::NotASigner(_)
                | EnvelopeError::SignedBySeveral
                | EnvelopeError::BatchSize { .. },
            ) => "wrong_signers",
            Self::Envelope(EnvelopeError::BadSignature(_)) => "bad_signature",
            Self::TooManySignatures(_) => "too_many_signatures",
            Self::Expired { .. } => "expired",
            Self::TooFarAhead { .. } => "too_far_ahead",
            Self::RequestIdReused { .. } => "request_id_reused",
            Self::TooManyPending(_) => "too_many_pending",
            Self::NotGenesis => "not_genesis",
            Self::UnknownPrincipal(_) => "unknown_principal",
            Self::WrongRole(_) => "wrong_role",
            Self::OutOfScope(_) => "out_of_scope",
            Self::PrincipalExists(_) => "principal_exists",
            Self::OperatorsNeeded(_) => "operators_needed",
            Self::AgentExists(_) => "agent_exists",
            Self::UnknownAgent(_) => "unknown_agent",
            Self::AgentRetired(_) => "agent_retired",
            Self::TooManyGrants { .. } => "too_many_grants",
            Self::TermsEnded => "terms_ended",
            Self::StalenessAboveCap(_) => "staleness_above_cap",
            Self::TooDeep => "too_deep",
            Self::GrantExists(_) => "grant_exists",
            Self::UnknownGrant(_) => "unknown_grant",
            Self::ParentNotInForce => "parent_not_in_force",
            Self::NotTheHolder => "not_the_holder",
            Self::Widens(_) => "widens",
            Self::BadCondition(_) => "bad_condition",
            Self::SchemaWithoutCondition => "schema_without_condition",
            Self::Loops(_) => "loops",
            Self::RulesInForce(_) => "rules_in_force",
            Self::RulesNotAdvertised(_) => "rules_not_advertised",
            Self::UnknownOperator(_) => "unknown_operator",
            Self::TooFewOperators { .. } => "too_few_operators",
            Self::RosterChangeUnderWay => "roster_change_under_way",
            Self::OtherRoster { .. } => "other_roster",
            Self::SameVoters => "same_voters",
            Self::TooManyRosters(_) => "too_many_rosters",
            Self::NodeIdUsed(_) => "node_id_used",
            Self::NodeNameUsed(_) => "node_name_used",
            Self::NodeKeyUsed(_) => "node_key_used",
            Self::TooManyHalts => "too_many_halts",
            Self::UnknownHalt(_) => "unknown_halt",
            Self::OtherHalt(_) => "other_halt",
            Self::ThresholdOutOfReach(_) => "threshold_out_of_reach",
            Self::LineageUnchanged => "lineage_unchanged",
            Self::UnknownGeneration(_) => "unknown_generation",
            Self::OtherGeneration(_) => "other_generation",
            Self::ParentNeeded => "parent_needed",
            Self::UnknownReviewer(_) => "unknown_reviewer",
            Self::TooFewReviewers { .. } => "too_few_reviewers",
            Self::InService(_) => "in_service",
            Self::Superseded(_) => "superseded",
            Self::NotReleased(_) => "not_released",
            Self::NotOlder(_) => "not_older",
            Self::HaltEnded(_) => "halt_ended",
            Self::Halted(_) => "halted",
            Self::NotInRosterBlock => "not_in_roster_block",
            Self::ExecutionTooLate(_) => "execution_too_late",
            Self::TooManyOpenDecisions { .. } => "too_many_open_decisions",
            Self::UnknownDecision { .. } => "unknown_decision",
            Self::DecisionDenied { .. } => "decision_denied",
            Self::OutcomeRecorded(_) => "outcome_recorded",
            Self::NotExecuted => "not_executed",
        }
    }
}
