//! What principals sign: commands, and the envelope that carries them.
//!
//! Wire types stop here. A [`SignedCommand`] keeps the exact bytes that were signed; a [`Command`] is those
//! bytes decoded strictly, so that two different encodings never mean the same thing and every field of the
//! rest of the crate is already in its bounds.

mod batch;
mod bounds;
mod decisions;
mod envelope;
mod halts;
mod identifier;
mod invisible;
mod lineages;
mod names;
mod requirements;
mod wire;

pub use batch::{BatchPath, COMMANDS_SIGNED_AT_ONCE_MAX, VerifiedSignatures};
pub use bounds::{
    BOUNDS_MAX, Bound, BoundError, BoundKind, Bounds, CONCURRENCY_LIMIT_MAX, LIMIT_MAX, Per, RATE_LIMIT_MAX,
    RATE_WINDOW_MS_MAX,
};
pub use decisions::{ActionOutcome, Authorize, DecisionId, DecisionRef, OutcomeKind, Traceparent};
pub(crate) use decisions::{digest_to_wire, optional_digest};
pub(crate) use invisible::is_invisible;

pub use envelope::{EnvelopeError, SignedCommand};
pub use halts::HaltScope;
pub use identifier::{IDENTIFIER_SIZE_BYTES_MAX, Identifier, IdentifierError};
pub use lineages::{
    Digests, GENERATIONS_IN_SERVICE_MAX, Generation, GenerationId, LineageConstraints, LineagePolicy,
};
pub use names::{NAME_SIZE_BYTES_MAX, Name, NameError, PATTERNS_MAX, Pattern, Patterns};
pub use requirements::{
    Place as TemplatePlace, REQUIREMENTS_MAX, Requirement, RequirementError, Requirements, Template,
    TemplateError,
};
pub use wire::{MalformedCommand, decode_strict};
pub(crate) use wire::{
    grant_ref_from_wire, grant_ref_to_wire, limits_to_wire, reason, roles_from_wire, roles_to_wire,
    scope_from_wire, scope_to_wire, terms_from_wire, terms_to_wire, voter_from_wire, voter_to_wire,
};
pub use wire::{limits_from_wire, roster_from_wire, roster_to_wire};

use crate::condition::{Condition, Schema};
use crate::hash::{Hash, to_hex};
use crate::head::{Roster, RosterId, VoterSet};

/// Longest encoded [`Command`], in bytes.
pub const COMMAND_SIZE_BYTES_MAX: usize = 16 * 1024;

/// Longest time from a block to the `not_after_ms` of a command in it, in milliseconds (24 hours).
pub const COMMAND_LIFETIME_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Deepest delegation that any ledger may allow.
pub const DELEGATION_DEPTH_MAX: u32 = 8;

/// An Ed25519 public key, not yet known to be a valid point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

/// Chosen by a signer for each command; the same command sent again has the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub [u8; 16]);

/// Identifies a ledger for ever: the hash of its genesis block. All zero inside genesis itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LedgerId(pub Hash);

impl LedgerId {
    /// Stands for the ledger id in the signatures of a genesis command.
    pub const GENESIS: Self = Self(Hash::ZERO);
}

impl std::fmt::Display for LedgerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// `SHA-256("chancery/grant" ‖ 00 ‖ ledger id ‖ command bytes)`: names a grant or a delegation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GrantId(pub Hash);

impl GrantId {
    /// The id of what `command_bytes` (an encoded grant or delegation) grants.
    pub fn of(ledger: LedgerId, command_bytes: &[u8]) -> Self {
        Self(Hash::labelled("chancery/grant", &[ledger.0.as_bytes(), command_bytes]))
    }
}

impl std::fmt::Display for GrantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A decoded command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The key of the principal or agent that gives it.
    pub signer: PublicKey,
    /// The same for every retry.
    pub request_id: RequestId,
    /// No effect in a block whose time is later, in milliseconds since 1970.
    pub not_after_ms: u64,
    /// What is commanded.
    pub body: Body,
}

/// What a command does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Founds the ledger; only in block 0.
    Genesis(Genesis),
    /// Admits a principal. By an operator.
    AddPrincipal(Principal),
    /// Ends a principal's future commands. By an operator.
    RemovePrincipal {
        /// Whose.
        key: PublicKey,
    },
    /// Replaces a principal's key. By the principal or an operator, and the new key.
    RotatePrincipal {
        /// The key that signs no more.
        old_key: PublicKey,
        /// The key that takes its place; it signs too.
        new_key: PublicKey,
    },
    /// Registers an agent. By an operator or an issuer whose scope covers it.
    RegisterAgent {
        /// Its name, never used again.
        agent: Name,
        /// The accountable person.
        owner: Name,
        /// The key that signs its delegations, if it may delegate.
        key: Option<PublicKey>,
        /// The lineage that it belongs to, which the signer's scope covers too; one of its own without.
        lineage: Option<Name>,
    },
    /// Retires an agent for good. By an operator or an issuer whose scope covers it.
    RetireAgent {
        /// Which.
        agent: Name,
    },
    /// Grants authority. By an issuer whose scope covers all of it.
    Grant {
        /// What is granted.
        terms: Terms,
        /// What the condition is checked against when the grant is admitted; kept in the log alone.
        schema: Option<Schema>,
    },
    /// Narrows a grant for another agent. By the key of the agent that holds the parent.
    Delegate {
        /// The grant that is narrowed.
        parent: GrantId,
        /// The narrower terms.
        terms: Terms,
        /// What the condition is checked against when the delegation is admitted; kept in the log alone.
        schema: Option<Schema>,
    },
    /// Revokes one grant, and with it every delegation below. By a revoker whose scope covers the agent.
    RevokeGrant {
        /// Which; it need not have been seen yet.
        grant: GrantId,
        /// Why, for people.
        reason: String,
    },
    /// Revokes everything an agent was granted so far. By a revoker whose scope covers the agent.
    RevokeAgent {
        /// Whose.
        agent: Name,
        /// Why, for people.
        reason: String,
    },
    /// Selects the rules of `apply` and `decide` from the next block on. By an operator.
    SetRules {
        /// The version.
        rules_version: u32,
    },
    /// Changes the voters; only in a joint roster block. By as many operators as the ledger's
    /// `operator_threshold` says, the signer among them.
    SetRoster {
        /// The voters from then on.
        voters: VoterSet,
        /// The roster in force, so that a change is made to what was seen, and once.
        replaces: RosterId,
        /// The operators that sign beside the signer; sorted, unique, without the signer.
        operators: Vec<PublicKey>,
    },
    /// Stops everything in a scope. By one halter whose scope covers it.
    Halt {
        /// What stops.
        scope: HaltScope,
        /// Why, for people.
        reason: String,
    },
    /// Says that a halt may end; it does once as many resumers have said so as the ledger's
    /// `resumer_threshold` says. By a resumer whose scope covers what was halted.
    Resume {
        /// The halt: the index of its leaf.
        halt: u64,
        /// The hash of its command, so that no other halt is meant than was seen.
        halt_command: Hash,
    },
    /// Sets what every generation of a lineage keeps to. To tighten takes an operator or issuer whose scope
    /// covers it; to loosen, as many such operators as the policy in force says.
    SetLineage {
        /// Whose.
        lineage: Name,
        /// How it changes.
        policy: LineagePolicy,
        /// What all of it keeps to.
        constraints: LineageConstraints,
        /// The operators that sign beside the signer; sorted, unique, without the signer.
        operators: Vec<PublicKey>,
    },
    /// Registers a version of the agents of a lineage. By an operator or issuer whose scope covers the lineage.
    RegisterGeneration(Box<Generation>),
    /// Has a generation act. By as many reviewers or operators whose scope covers the lineage as its policy says.
    ReleaseGeneration {
        /// Whose.
        lineage: Name,
        /// Which.
        generation: GenerationId,
        /// Those that sign beside the signer; sorted, unique, without the signer.
        reviewers: Vec<PublicKey>,
    },
    /// Goes back to an older generation that was released once; later ones act no more. By an operator or issuer
    /// whose scope covers the lineage.
    RollbackLineage {
        /// Whose.
        lineage: Name,
        /// To which.
        number: u64,
        /// Its id, so that no other one is meant than was seen.
        generation: GenerationId,
    },
    /// Decides whether an agent may act, and records the decision. By a gate whose scope covers the agent.
    Authorize(Authorize),
    /// Says what became of a permitted call. By a gate whose scope covers the agent.
    Outcome(ActionOutcome),
}

impl Body {
    /// Grants `terms`, whose condition, if there is one, is checked against no schema.
    pub const fn grant(terms: Terms) -> Self {
        Self::Grant { terms, schema: None }
    }

    /// Narrows the grant `parent` to `terms`, whose condition, if there is one, is checked against no schema.
    pub const fn delegate(parent: GrantId, terms: Terms) -> Self {
        Self::Delegate { parent, terms, schema: None }
    }
}

/// The founding command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Genesis {
    /// Names the log in checkpoints.
    pub origin: String,
    /// The first voters.
    pub roster: Roster,
    /// The first principals, sorted by key; at least one operator. All operators sign genesis.
    pub principals: Vec<Principal>,
    /// The ledger's bounds.
    pub limits: Limits,
    /// The first rules.
    pub rules_version: u32,
}

/// Bounds that genesis sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Signatures on one command.
    pub signatures_per_command_max: u32,
    /// Grants that one agent may be given in one epoch.
    pub grants_per_agent_max: u32,
    /// Live deduplication entries of one signer.
    pub dedup_entries_per_signer_max: u32,
    /// Levels of delegation, at most [`DELEGATION_DEPTH_MAX`].
    pub delegation_depth_max: u32,
    /// Size of one answer's proof.
    pub proof_size_bytes_max: u32,
    /// Greatest `max_staleness_ms` of a grant.
    pub staleness_cap_ms: u64,
    /// Greatest offset of a node's clock from a quorum's median at which it signs.
    pub clock_skew_ms_max: u64,
    /// Operators that must sign a change of the voters. So many must remain.
    pub operator_threshold: u32,
    /// Resumers that must each sign the end of a halt.
    pub resumer_threshold: u32,
    /// Recorded decisions that the state keeps for each agent: the next one takes the place of the oldest, once
    /// that one is no longer open.
    pub open_decisions_per_agent_max: u32,
    /// Greatest `execute_within_ms` of an [`Authorize`].
    pub execution_ms_max: u64,
}

impl Limits {
    /// The operators that should sign a change of the voters where `operators` are founded: a majority.
    pub const fn operator_majority(operators: u32) -> u32 {
        operators / 2 + 1
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            signatures_per_command_max: 8,
            grants_per_agent_max: 1024,
            dedup_entries_per_signer_max: 1_000_000,
            delegation_depth_max: DELEGATION_DEPTH_MAX,
            proof_size_bytes_max: 4 * 1024 * 1024,
            staleness_cap_ms: 10_000,
            clock_skew_ms_max: 500,
            operator_threshold: 1,
            resumer_threshold: 1,
            open_decisions_per_agent_max: 1024,
            execution_ms_max: 60_000,
        }
    }
}

/// What a principal may sign.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Principals, agents, rules, membership.
    Operator = 1,
    /// Grants, agents.
    Issuer = 2,
    /// Revocations.
    Revoker = 3,
    /// Halts.
    Halter = 4,
    /// The end of halts.
    Resumer = 5,
    /// Reviews.
    Reviewer = 6,
    /// Checks and recorded decisions, for the agents in its scope.
    Gate = 7,
}

impl Role {
    /// Every role, in the order of its number.
    pub const ALL: [Self; 7] = [
        Self::Operator,
        Self::Issuer,
        Self::Revoker,
        Self::Halter,
        Self::Resumer,
        Self::Reviewer,
        Self::Gate,
    ];

    /// The role's name in commands and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Issuer => "issuer",
            Self::Revoker => "revoker",
            Self::Halter => "halter",
            Self::Resumer => "resumer",
            Self::Reviewer => "reviewer",
            Self::Gate => "gate",
        }
    }
}

/// A key that may sign commands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// The key.
    pub key: PublicKey,
    /// For people.
    pub name: Name,
    /// Sorted, unique, at least one.
    pub roles: Vec<Role>,
    /// What its roles extend to.
    pub scope: Scope,
}

/// What a principal's roles extend to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// Agents it may command about or check for.
    pub agents: Patterns,
    /// Actions it may grant.
    pub actions: Patterns,
    /// Resources it may grant.
    pub resources: Patterns,
}

/// The authority that a grant or a delegation conveys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The subject.
    pub agent: Name,
    /// What it may do; at least one.
    pub actions: Patterns,
    /// On what; at least one.
    pub resources: Patterns,
    /// From when, in ledger time; inclusive.
    pub not_before_ms: u64,
    /// Until when, in ledger time; exclusive.
    pub not_after_ms: u64,
    /// How old an answer may be when the agent acts on it.
    pub max_staleness_ms: u64,
    /// How many levels of delegation may follow.
    pub delegable_depth: u32,
    /// What each call must satisfy besides; a delegation's own, its ancestors' hold as well.
    pub condition: Option<Condition>,
    /// What the agent must have had in front of it.
    pub knowledge: Requirements,
    /// How much of it may be used. A grant with bounds allows what is recorded, and no mere check.
    pub bounds: Bounds,
}
