//! Between the wire and checked types, strictly.

use prost::Message;

use super::{
    ActionOutcome, Authorize, Body, BoundError, Bounds, COMMAND_SIZE_BYTES_MAX, Command,
    DELEGATION_DEPTH_MAX, Generation, GenerationId, Genesis, GrantId, HaltScope, IdentifierError, Limits,
    LineageConstraints, LineagePolicy, Name, NameError, Pattern, Patterns, Principal, PublicKey, RequestId,
    RequirementError, Requirements, Role, Scope, Terms,
};
use crate::authority::GrantRef;
use crate::condition::{Condition, Schema, TextError};
use crate::hash::Hash;
use crate::head::{Roster, RosterId, VOTERS_MAX, Voter, VoterSet};
use crate::knowledge::KnowledgeError;
use chancery_proto::v1 as wire;

/// Longest reason of a revocation or a halt, in bytes.
const REASON_SIZE_BYTES_MAX: usize = 512;

/// Longest origin, in bytes.
const ORIGIN_SIZE_BYTES_MAX: usize = 255;

/// Most principals in genesis.
const GENESIS_PRINCIPALS_MAX: usize = 64;

/// Most resumers that may be needed to end a halt: its record lists them.
const RESUMER_THRESHOLD_MAX: u64 = 64;

/// Most operators or reviewers that sign a command beside its signer.
const COSIGNERS_MAX: usize = 63;

/// Why bytes are not a canonical message in its bounds.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MalformedCommand {
    /// More bytes than any valid message has.
    #[error("{size} bytes, more than the {max} allowed")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The bound.
        max: usize,
    },
    /// Not protobuf at all, or cut short.
    #[error("not a protobuf message: {0}")]
    Protobuf(String),
    /// Protobuf, but not as a canonical encoder writes it: an unknown field, a field out of order or twice,
    /// or a default value written out.
    #[error("not canonical: an unknown, repeated, misplaced or defaulted field")]
    NotCanonical,
    /// A required field is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A byte field is not of its one length.
    #[error("{0} has the wrong length")]
    Length(&'static str),
    /// An enum value or command that this version does not know.
    #[error("{0} has an unknown value")]
    Unknown(&'static str),
    /// A list is not strictly ascending.
    #[error("{0} are not sorted, or one is there twice")]
    Unsorted(&'static str),
    /// A number or a count is out of its range.
    #[error("{0} is out of bounds")]
    OutOfBounds(&'static str),
    /// The bounds of a grant are not.
    #[error("bounds: {0}")]
    Bounds(#[from] BoundError),
    /// An identifier is not one.
    #[error("{field} {source}")]
    Identifier {
        /// Which.
        field: &'static str,
        /// Why not.
        source: IdentifierError,
    },
    /// The requirements of a grant are not.
    #[error("knowledge: {0}")]
    Requirements(#[from] RequirementError),
    /// Knowledge is not shown to be what it says.
    #[error("knowledge: {0}")]
    Knowledge(#[from] KnowledgeError),
    /// A text is too long, or holds what is not seen.
    #[error("{field} {source}")]
    Text {
        /// Which.
        field: &'static str,
        /// What is wrong.
        source: TextError,
    },
    /// A name or pattern is not well formed.
    #[error("{field} {source}")]
    Name {
        /// Which.
        field: &'static str,
        /// Why not.
        source: NameError,
    },
}

/// Decodes `bytes` as `M`, refusing whatever `M` would not encode to exactly the same bytes.
///
/// Protobuf decoders skip unknown fields and accept many encodings of one value; comparing with what the
/// decoded value encodes to leaves just one.
pub fn decode_strict<M: Message + Default>(
    bytes: &[u8],
    size_bytes_max: usize,
) -> Result<M, MalformedCommand> {
    if bytes.len() > size_bytes_max {
        return Err(MalformedCommand::TooLarge { size: bytes.len(), max: size_bytes_max });
    }
    let message = M::decode(bytes).map_err(|error| MalformedCommand::Protobuf(error.to_string()))?;
    if message.encoded_len() != bytes.len() || message.encode_to_vec() != bytes {
        return Err(MalformedCommand::NotCanonical);
    }
    Ok(message)
}

impl Command {
    /// Decodes a canonical `Command` in its bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedCommand> {
        let command = decode_strict::<wire::Command>(bytes, COMMAND_SIZE_BYTES_MAX)?;
        let signer = key("signer", &command.signer)?;
        let body = body_from_wire(command.body.ok_or(MalformedCommand::Missing("the command's body"))?)?;
        if body.co_signers().contains(&signer) {
            return Err(MalformedCommand::OutOfBounds("co-signers"));
        }
        Ok(Self {
            signer,
            request_id: RequestId(array("request_id", &command.request_id)?),
            not_after_ms: command.not_after_ms,
            body,
        })
    }

    pub(crate) fn to_wire(&self) -> wire::Command {
        wire::Command {
            signer: self.signer.0.to_vec(),
            request_id: self.request_id.0.to_vec(),
            not_after_ms: self.not_after_ms,
            body: Some(body_to_wire(&self.body)),
        }
    }
}

fn body_from_wire(body: wire::command::Body) -> Result<Body, MalformedCommand> {
    use wire::command::Body as W;
    Ok(match body {
        W::Genesis(w) => Body::Genesis(genesis_from_wire(w)?),
        W::AddPrincipal(w) => Body::AddPrincipal(principal_from_wire(required("principal", w.principal)?)?),
        W::RemovePrincipal(w) => Body::RemovePrincipal { key: key("key", &w.key)? },
        W::RotatePrincipal(w) => Body::RotatePrincipal {
            old_key: key("old_key", &w.old_key)?,
            new_key: key("new_key", &w.new_key)?,
        },
        W::RegisterAgent(w) => Body::RegisterAgent {
            agent: name("agent", w.agent)?,
            owner: name("owner", w.owner)?,
            key: if w.key.is_empty() { None } else { Some(key("agent key", &w.key)?) },
            lineage: if w.lineage.is_empty() { None } else { Some(name("lineage", w.lineage)?) },
        },
        W::RetireAgent(w) => Body::RetireAgent { agent: name("agent", w.agent)? },
        W::Grant(w) => Body::Grant {
            terms: terms_from_wire(required("terms", w.terms)?)?,
            schema: optional_text("schema", w.schema, Schema::new)?,
        },
        W::Delegate(w) => Body::Delegate {
            parent: GrantId(hash("parent", &w.parent)?),
            terms: terms_from_wire(required("terms", w.terms)?)?,
            schema: optional_text("schema", w.schema, Schema::new)?,
        },
        W::RevokeGrant(w) => {
            Body::RevokeGrant { grant: GrantId(hash("grant", &w.grant)?), reason: reason(w.reason)? }
        }
        W::RevokeAgent(w) => Body::RevokeAgent { agent: name("agent", w.agent)?, reason: reason(w.reason)? },
        W::SetRules(w) => Body::SetRules { rules_version: w.rules_version },
        W::SetRoster(w) => Body::SetRoster {
            voters: voter_set_from_wire(required("voters", w.voters)?)?,
            replaces: RosterId {
                block: w.replaces_block,
                digest: hash("replaces_digest", &w.replaces_digest)?,
            },
            operators: co_signers("operators", &w.operators)?,
        },
        W::Halt(w) => Body::Halt { scope: HaltScope::from_wire(w.scope)?, reason: reason(w.reason)? },
        W::Resume(w) => Body::Resume { halt: w.halt, halt_command: hash("halt_command", &w.halt_command)? },
        W::SetLineage(w) => Body::SetLineage {
            lineage: name("lineage", w.lineage)?,
            policy: LineagePolicy::from_wire(w.policy)?,
            constraints: LineageConstraints::from_wire(w.constraints)?,
            operators: co_signers("operators", &w.operators)?,
        },
        W::RegisterGeneration(w) => Body::RegisterGeneration(Box::new(Generation::from_wire(w)?)),
        W::ReleaseGeneration(w) => Body::ReleaseGeneration {
            lineage: name("lineage", w.lineage)?,
            generation: GenerationId(hash("generation", &w.generation)?),
            reviewers: co_signers("reviewers", &w.reviewers)?,
        },
        W::RollbackLineage(w) => Body::RollbackLineage {
            lineage: name("lineage", w.lineage)?,
            number: w.number,
            generation: GenerationId(hash("generation", &w.generation)?),
        },
        W::Authorize(w) => Body::Authorize(Authorize::from_wire(w)?),
        W::Outcome(w) => Body::Outcome(ActionOutcome::from_wire(w)?),
    })
}

fn co_signers(field: &'static str, keys: &[Vec<u8>]) -> Result<Vec<PublicKey>, MalformedCommand> {
    if keys.len() > COSIGNERS_MAX {
        return Err(MalformedCommand::OutOfBounds(field));
    }
    let keys = keys.iter().map(|bytes| key(field, bytes)).collect::<Result<Vec<_>, _>>()?;
    if keys.is_sorted_by(|a, b| a < b) { Ok(keys) } else { Err(MalformedCommand::Unsorted(field)) }
}

fn body_to_wire(body: &Body) -> wire::command::Body {
    use wire::command::Body as W;
    match body {
        Body::Genesis(genesis) => W::Genesis(wire::Genesis {
            origin: genesis.origin.clone(),
            roster: Some(roster_to_wire(&genesis.roster)),
            principals: genesis.principals.iter().map(principal_to_wire).collect(),
            limits: Some(limits_to_wire(&genesis.limits)),
            rules_version: genesis.rules_version,
        }),
        Body::AddPrincipal(principal) => {
            W::AddPrincipal(wire::AddPrincipal { principal: Some(principal_to_wire(principal)) })
        }
        Body::RemovePrincipal { key } => W::RemovePrincipal(wire::RemovePrincipal { key: key.0.to_vec() }),
        Body::RotatePrincipal { old_key, new_key } => W::RotatePrincipal(wire::RotatePrincipal {
            old_key: old_key.0.to_vec(),
            new_key: new_key.0.to_vec(),
        }),
        Body::RegisterAgent { agent, owner, key, lineage } => W::RegisterAgent(wire::RegisterAgent {
            agent: agent.to_string(),
            owner: owner.to_string(),
            key: key.map(|key| key.0.to_vec()).unwrap_or_default(),
            lineage: lineage.as_ref().map(ToString::to_string).unwrap_or_default(),
        }),
        Body::RetireAgent { agent } => W::RetireAgent(wire::RetireAgent { agent: agent.to_string() }),
        Body::Grant { terms, schema } => {
            W::Grant(wire::Grant { terms: Some(terms_to_wire(terms)), schema: schema_to_wire(schema) })
        }
        Body::Delegate { parent, terms, schema } => W::Delegate(wire::Delegate {
            parent: parent.0.0.to_vec(),
            terms: Some(terms_to_wire(terms)),
            schema: schema_to_wire(schema),
        }),
        Body::RevokeGrant { grant, reason } => {
            W::RevokeGrant(wire::RevokeGrant { grant: grant.0.0.to_vec(), reason: reason.clone() })
        }
        Body::RevokeAgent { agent, reason } => {
            W::RevokeAgent(wire::RevokeAgent { agent: agent.to_string(), reason: reason.clone() })
        }
        Body::SetRules { rules_version } => W::SetRules(wire::SetRules { rules_version: *rules_version }),
        Body::SetRoster { voters, replaces, operators } => W::SetRoster(wire::SetRoster {
            voters: Some(voter_set_to_wire(voters)),
            replaces_block: replaces.block,
            replaces_digest: replaces.digest.0.to_vec(),
            operators: operators.iter().map(|key| key.0.to_vec()).collect(),
        }),
        Body::Halt { scope, reason } => {
            W::Halt(wire::Halt { scope: Some(scope.to_wire()), reason: reason.clone() })
        }
        Body::Resume { halt, halt_command } => {
            W::Resume(wire::Resume { halt: *halt, halt_command: halt_command.0.to_vec() })
        }
        Body::SetLineage { lineage, policy, constraints, operators } => W::SetLineage(wire::SetLineage {
            lineage: lineage.to_string(),
            policy: Some(policy.to_wire()),
            constraints: Some(constraints.to_wire()),
            operators: operators.iter().map(|key| key.0.to_vec()).collect(),
        }),
        Body::RegisterGeneration(generation) => W::RegisterGeneration(generation.to_wire()),
        Body::ReleaseGeneration { lineage, generation, reviewers } => {
            W::ReleaseGeneration(wire::ReleaseGeneration {
                lineage: lineage.to_string(),
                generation: generation.0.0.to_vec(),
                reviewers: reviewers.iter().map(|key| key.0.to_vec()).collect(),
            })
        }
        Body::RollbackLineage { lineage, number, generation } => W::RollbackLineage(wire::RollbackLineage {
            lineage: lineage.to_string(),
            number: *number,
            generation: generation.0.0.to_vec(),
        }),
        Body::Authorize(authorize) => W::Authorize(authorize.to_wire()),
        Body::Outcome(outcome) => W::Outcome(outcome.to_wire()),
    }
}

fn genesis_from_wire(w: wire::Genesis) -> Result<Genesis, MalformedCommand> {
    if w.origin.is_empty() || w.origin.len() > ORIGIN_SIZE_BYTES_MAX {
        return Err(MalformedCommand::OutOfBounds("origin"));
    }
    // As a key name in a signed note, and as the first line of a checkpoint.
    if w.origin.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
        return Err(MalformedCommand::OutOfBounds("origin"));
    }
    if w.principals.len() > GENESIS_PRINCIPALS_MAX {
        return Err(MalformedCommand::OutOfBounds("principals"));
    }
    let principals = w.principals.into_iter().map(principal_from_wire).collect::<Result<Vec<_>, _>>()?;
    if !principals.is_sorted_by(|a, b| a.key < b.key) {
        return Err(MalformedCommand::Unsorted("principals"));
    }
    let operators = principals.iter().filter(|p| p.roles.contains(&Role::Operator)).count();
    if operators == 0 {
        return Err(MalformedCommand::Missing("an operator"));
    }
    let limits = limits_from_wire(required("limits", w.limits)?)?;
    if limits.operator_threshold as usize > operators {
        return Err(MalformedCommand::OutOfBounds("operator_threshold"));
    }
    let roster = roster_from_wire(required("roster", w.roster)?)?;
    if roster.is_joint() {
        return Err(MalformedCommand::OutOfBounds("roster"));
    }
    Ok(Genesis { origin: w.origin, roster, principals, limits, rules_version: w.rules_version })
}

fn principal_to_wire(principal: &Principal) -> wire::Principal {
    wire::Principal {
        key: principal.key.0.to_vec(),
        name: principal.name.to_string(),
        roles: roles_to_wire(&principal.roles),
        scope: Some(scope_to_wire(&principal.scope)),
    }
}

fn principal_from_wire(w: wire::Principal) -> Result<Principal, MalformedCommand> {
    Ok(Principal {
        key: key("principal key", &w.key)?,
        name: name("principal name", w.name)?,
        roles: roles_from_wire(&w.roles)?,
        scope: scope_from_wire(required("scope", w.scope)?)?,
    })
}

pub(crate) fn roles_to_wire(roles: &[Role]) -> Vec<i32> {
    roles.iter().map(|role| *role as i32).collect()
}

pub(crate) fn roles_from_wire(roles: &[i32]) -> Result<Vec<Role>, MalformedCommand> {
    let known = |number: &i32| Role::ALL.into_iter().find(|role| *role as i32 == *number);
    let roles =
        roles.iter().map(known).collect::<Option<Vec<_>>>().ok_or(MalformedCommand::Unknown("role"))?;
    if roles.is_empty() {
        return Err(MalformedCommand::Missing("a role"));
    }
    if !roles.is_sorted_by(|a, b| a < b) {
        return Err(MalformedCommand::Unsorted("roles"));
    }
    Ok(roles)
}

pub(crate) fn scope_to_wire(scope: &Scope) -> wire::Scope {
    wire::Scope {
        agents: texts(&scope.agents),
        actions: texts(&scope.actions),
        resources: texts(&scope.resources),
    }
}

pub(crate) fn scope_from_wire(w: wire::Scope) -> Result<Scope, MalformedCommand> {
    Ok(Scope {
        agents: patterns("scope agents", w.agents)?,
        actions: patterns("scope actions", w.actions)?,
        resources: patterns("scope resources", w.resources)?,
    })
}

pub(crate) fn terms_to_wire(terms: &Terms) -> wire::Terms {
    wire::Terms {
        agent: terms.agent.to_string(),
        actions: texts(&terms.actions),
        resources: texts(&terms.resources),
        not_before_ms: terms.not_before_ms,
        not_after_ms: terms.not_after_ms,
        max_staleness_ms: terms.max_staleness_ms,
        delegable_depth: terms.delegable_depth,
        condition: terms.condition.as_ref().map(|condition| condition.as_str().into()).unwrap_or_default(),
        knowledge: terms.knowledge.to_wire(),
        bounds: terms.bounds.to_wire(),
    }
}

pub(crate) fn terms_from_wire(w: wire::Terms) -> Result<Terms, MalformedCommand> {
    let terms = Terms {
        agent: name("agent", w.agent)?,
        actions: patterns("actions", w.actions)?,
        resources: patterns("resources", w.resources)?,
        not_before_ms: w.not_before_ms,
        not_after_ms: w.not_after_ms,
        max_staleness_ms: w.max_staleness_ms,
        delegable_depth: w.delegable_depth,
        condition: optional_text("condition", w.condition, Condition::new)?,
        knowledge: Requirements::from_wire(w.knowledge)?,
        bounds: Bounds::from_wire(w.bounds)?,
    };
    if terms.actions.is_empty() || terms.resources.is_empty() {
        return Err(MalformedCommand::Missing("an action or a resource"));
    }
    if terms.not_before_ms >= terms.not_after_ms {
        return Err(MalformedCommand::OutOfBounds("not_before_ms"));
    }
    if terms.max_staleness_ms == 0 {
        return Err(MalformedCommand::OutOfBounds("max_staleness_ms"));
    }
    if terms.delegable_depth > DELEGATION_DEPTH_MAX {
        return Err(MalformedCommand::OutOfBounds("delegable_depth"));
    }
    Ok(terms)
}

pub(crate) fn limits_to_wire(limits: &Limits) -> wire::Limits {
    wire::Limits {
        signatures_per_command_max: limits.signatures_per_command_max,
        grants_per_agent_max: limits.grants_per_agent_max,
        dedup_entries_per_signer_max: limits.dedup_entries_per_signer_max,
        delegation_depth_max: limits.delegation_depth_max,
        proof_size_bytes_max: limits.proof_size_bytes_max,
        staleness_cap_ms: limits.staleness_cap_ms,
        clock_skew_ms_max: limits.clock_skew_ms_max,
        operator_threshold: limits.operator_threshold,
        resumer_threshold: limits.resumer_threshold,
        open_decisions_per_agent_max: limits.open_decisions_per_agent_max,
        execution_ms_max: limits.execution_ms_max,
    }
}

/// Checked limits from the wire.
pub fn limits_from_wire(w: wire::Limits) -> Result<Limits, MalformedCommand> {
    let bound = |field, value: u64, range: std::ops::RangeInclusive<u64>| {
        if range.contains(&value) { Ok(()) } else { Err(MalformedCommand::OutOfBounds(field)) }
    };
    bound("signatures_per_command_max", w.signatures_per_command_max.into(), 2..=64)?;
    bound("grants_per_agent_max", w.grants_per_agent_max.into(), 1..=4096)?;
    bound("dedup_entries_per_signer_max", w.dedup_entries_per_signer_max.into(), 1..=10_000_000)?;
    bound("delegation_depth_max", w.delegation_depth_max.into(), 0..=DELEGATION_DEPTH_MAX.into())?;
    bound("proof_size_bytes_max", w.proof_size_bytes_max.into(), 65_536..=16 << 20)?;
    bound("staleness_cap_ms", w.staleness_cap_ms, 1..=3_600_000)?;
    bound("clock_skew_ms_max", w.clock_skew_ms_max, 1..=60_000)?;
    // More than may sign one command could never change the voters.
    bound("operator_threshold", w.operator_threshold.into(), 1..=w.signatures_per_command_max.into())?;
    bound("resumer_threshold", w.resumer_threshold.into(), 1..=RESUMER_THRESHOLD_MAX)?;
    bound("open_decisions_per_agent_max", w.open_decisions_per_agent_max.into(), 1..=65_536)?;
    bound("execution_ms_max", w.execution_ms_max, 1..=3_600_000)?;
    Ok(Limits {
        signatures_per_command_max: w.signatures_per_command_max,
        grants_per_agent_max: w.grants_per_agent_max,
        dedup_entries_per_signer_max: w.dedup_entries_per_signer_max,
        delegation_depth_max: w.delegation_depth_max,
        proof_size_bytes_max: w.proof_size_bytes_max,
        staleness_cap_ms: w.staleness_cap_ms,
        clock_skew_ms_max: w.clock_skew_ms_max,
        operator_threshold: w.operator_threshold,
        resumer_threshold: w.resumer_threshold,
        open_decisions_per_agent_max: w.open_decisions_per_agent_max,
        execution_ms_max: w.execution_ms_max,
    })
}

pub(crate) fn grant_ref_to_wire(reference: GrantRef) -> wire::GrantRef {
    wire::GrantRef { grant: reference.grant.0.0.to_vec(), root: reference.root.0.0.to_vec() }
}

pub(crate) fn grant_ref_from_wire(w: &wire::GrantRef) -> Result<GrantRef, MalformedCommand> {
    Ok(GrantRef { grant: GrantId(hash("grant", &w.grant)?), root: GrantId(hash("root", &w.root)?) })
}

/// The wire form of a roster.
pub fn roster_to_wire(roster: &Roster) -> wire::Roster {
    wire::Roster { sets: roster.sets().iter().map(voter_set_to_wire).collect() }
}

fn voter_set_to_wire(set: &VoterSet) -> wire::VoterSet {
    wire::VoterSet { voters: set.voters().iter().map(voter_to_wire).collect(), quorum: set.quorum() }
}

pub(crate) fn voter_to_wire(voter: &Voter) -> wire::Voter {
    wire::Voter { node: voter.node, name: voter.name.to_string(), key: voter.key.0.to_vec() }
}

/// A checked roster from the wire.
pub fn roster_from_wire(w: wire::Roster) -> Result<Roster, MalformedCommand> {
    if w.sets.len() > 2 {
        return Err(MalformedCommand::OutOfBounds("voter sets"));
    }
    let sets = w.sets.into_iter().map(voter_set_from_wire).collect::<Result<Vec<_>, _>>()?;
    Roster::new(sets).ok_or(MalformedCommand::OutOfBounds("roster"))
}

fn voter_set_from_wire(w: wire::VoterSet) -> Result<VoterSet, MalformedCommand> {
    if w.voters.len() > VOTERS_MAX {
        return Err(MalformedCommand::OutOfBounds("voters"));
    }
    let voters = w.voters.into_iter().map(voter_from_wire).collect::<Result<Vec<_>, _>>()?;
    VoterSet::new(voters, w.quorum).ok_or(MalformedCommand::OutOfBounds("voter set"))
}

pub(crate) fn voter_from_wire(w: wire::Voter) -> Result<Voter, MalformedCommand> {
    Ok(Voter { node: w.node, name: name("voter name", w.name)?, key: key("voter key", &w.key)? })
}

pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, MalformedCommand> {
    value.ok_or(MalformedCommand::Missing(field))
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], MalformedCommand> {
    bytes.try_into().map_err(|_| MalformedCommand::Length(field))
}

fn key(field: &'static str, bytes: &[u8]) -> Result<PublicKey, MalformedCommand> {
    Ok(PublicKey(array(field, bytes)?))
}

pub(super) fn hash(field: &'static str, bytes: &[u8]) -> Result<Hash, MalformedCommand> {
    Ok(Hash(array(field, bytes)?))
}

fn schema_to_wire(schema: &Option<Schema>) -> String {
    schema.as_ref().map(|schema| schema.as_str().into()).unwrap_or_default()
}

/// A text that may be absent, checked by `new`.
fn optional_text<T>(
    field: &'static str,
    text: String,
    new: impl Fn(String) -> Result<T, TextError>,
) -> Result<Option<T>, MalformedCommand> {
    if text.is_empty() {
        return Ok(None);
    }
    new(text).map(Some).map_err(|source| MalformedCommand::Text { field, source })
}

pub(super) fn name(field: &'static str, text: String) -> Result<Name, MalformedCommand> {
    Name::new(text).map_err(|source| MalformedCommand::Name { field, source })
}

pub(super) fn pattern(field: &'static str, text: String) -> Result<Pattern, MalformedCommand> {
    Pattern::new(text).map_err(|source| MalformedCommand::Name { field, source })
}

pub(super) fn patterns(field: &'static str, texts: Vec<String>) -> Result<Patterns, MalformedCommand> {
    texts
        .into_iter()
        .map(Pattern::new)
        .collect::<Result<Vec<_>, _>>()
        .and_then(Patterns::new)
        .map_err(|source| MalformedCommand::Name { field, source })
}

pub(crate) fn reason(text: String) -> Result<String, MalformedCommand> {
    if text.len() > REASON_SIZE_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(MalformedCommand::OutOfBounds("reason"));
    }
    Ok(text)
}

pub(super) fn texts(patterns: &Patterns) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}
