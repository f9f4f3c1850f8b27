//! Recorded decisions: what is asked before an agent acts, and what is said after.

use super::wire::{grant_ref_from_wire, grant_ref_to_wire, hash, name, required};
use super::{GenerationId, LedgerId, MalformedCommand, Name};
use crate::authority::GrantRef;
use crate::condition::ARGUMENTS_SIZE_BYTES_MAX;
use crate::hash::Hash;
use crate::knowledge::{Knowledge, knowledge_from_wire, knowledge_to_wire};
use chancery_proto::v1 as wire;

/// May this agent do this? The decision is recorded, be it a permit or a denial, before the agent acts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorize {
    /// Who would act.
    pub agent: Name,
    /// What it would do.
    pub action: Name,
    /// On what.
    pub resource: Name,
    /// SHA-256 of the call's arguments.
    pub args_digest: Hash,
    /// The arguments themselves, where a grant reads them.
    pub args: Option<Vec<u8>>,
    /// The generation that the agent runs as.
    pub generation: Option<GenerationId>,
    /// What the agent had in front of it, with what is shown of it.
    pub knowledge: Option<Knowledge>,
    /// The grant to try first.
    pub hint: Option<GrantRef>,
    /// The recorded decision that led to this one; still kept in the state.
    pub parent: Option<DecisionRef>,
    /// The trace that the call belongs to.
    pub traceparent: Option<Traceparent>,
    /// How long after the block's time the execution may begin, in milliseconds; at least 1.
    pub execute_within_ms: u64,
}

/// What became of a permitted call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActionOutcome {
    /// Of which decision.
    pub decision: DecisionRef,
    /// What became of it.
    pub kind: OutcomeKind,
    /// SHA-256 of the call's result, if it has one.
    pub result_digest: Option<Hash>,
}

/// What became of a permitted call, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// It was done.
    Executed = 1,
    /// It was not done.
    Failed = 2,
    /// Whether it was done is not known. Executed or failed may follow.
    Unknown = 3,
    /// It was done, and undone since. Only after executed.
    Compensated = 4,
}

impl OutcomeKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Executed, Self::Failed, Self::Unknown, Self::Compensated];

    /// The kind's name in commands and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Compensated => "compensated",
        }
    }

    pub(crate) fn from_wire(number: i32) -> Result<Self, MalformedCommand> {
        let kind = Self::ALL.into_iter().find(|kind| *kind as i32 == number);
        kind.ok_or(MalformedCommand::Unknown("outcome kind"))
    }
}

/// `SHA-256("chancery/decision" ‖ 00 ‖ ledger id ‖ command bytes)`: names a recorded decision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DecisionId(pub Hash);

impl DecisionId {
    /// The id of what `command_bytes` (an encoded Authorize) decides.
    pub fn of(ledger: LedgerId, command_bytes: &[u8]) -> Self {
        Self(Hash::labelled("chancery/decision", &[ledger.0.as_bytes(), command_bytes]))
    }

    /// The first 16 bytes.
    pub(crate) fn first_half(&self) -> [u8; 16] {
        let mut half = [0; 16];
        // INVARIANT: the id is longer.
        for (to, from) in half.iter_mut().zip(self.0.0) {
            *to = from;
        }
        half
    }
}

impl std::fmt::Display for DecisionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Finds a recorded decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecisionRef {
    /// Whose.
    pub agent: Name,
    /// Which of the agent's, from 1.
    pub number: u64,
    /// Its id.
    pub id: DecisionId,
}

/// `AGENT/NUMBER@ID`, which is read from its end: an agent's name may have any of these signs.
impl std::fmt::Display for DecisionRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}@{}", self.agent, self.number, self.id)
    }
}

impl DecisionRef {
    /// The decision that `text` names, as it is displayed; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, id) = text.rsplit_once('@')?;
        let (agent, number) = rest.rsplit_once('/')?;
        let decision = Self {
            agent: Name::new(agent).ok()?,
            number: number.parse().ok().filter(|number| *number > 0)?,
            id: DecisionId(Hash::from_hex(id)?),
        };
        // No sign, no leading zero.
        (decision.to_string() == text).then_some(decision)
    }
}

/// The `traceparent` of W3C Trace Context, version 00: 55 characters, lower case, no id all zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traceparent(String);

impl Traceparent {
    /// The trace context in `text`, if it is one.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let field = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let id = |text: &str, digits| field(text, digits) && text.bytes().any(|byte| byte != b'0');
        let mut fields = text.split('-');
        let well_formed = fields.next() == Some("00")
            && fields.next().is_some_and(|trace| id(trace, 32))
            && fields.next().is_some_and(|parent| id(parent, 16))
            && fields.next().is_some_and(|flags| field(flags, 2))
            && fields.next().is_none();
        well_formed.then_some(Self(text))
    }

    /// The 55 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Traceparent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Authorize {
    pub(super) fn to_wire(&self) -> wire::Authorize {
        wire::Authorize {
            agent: self.agent.to_string(),
            action: self.action.to_string(),
            resource: self.resource.to_string(),
            args_digest: self.args_digest.0.to_vec(),
            args: self.args.clone().unwrap_or_default(),
            generation: digest_to_wire(self.generation.map(|id| id.0)),
            knowledge: self.knowledge.as_ref().map(knowledge_to_wire),
            hint: self.hint.map(grant_ref_to_wire),
            parent: self.parent.as_ref().map(DecisionRef::to_wire),
            traceparent: self.traceparent.as_ref().map(ToString::to_string).unwrap_or_default(),
            execute_within_ms: self.execute_within_ms,
        }
    }

    pub(super) fn from_wire(w: wire::Authorize) -> Result<Self, MalformedCommand> {
        let traceparent = (!w.traceparent.is_empty()).then_some(w.traceparent);
        let traceparent = traceparent
            .map(|text| Traceparent::new(text).ok_or(MalformedCommand::OutOfBounds("traceparent")))
            .transpose()?;
        if w.args.len() > ARGUMENTS_SIZE_BYTES_MAX {
            return Err(MalformedCommand::OutOfBounds("args"));
        }
        if w.execute_within_ms == 0 {
            return Err(MalformedCommand::OutOfBounds("execute_within_ms"));
        }
        Ok(Self {
            agent: name("agent", w.agent)?,
            action: name("action", w.action)?,
            resource: name("resource", w.resource)?,
            args_digest: hash("args_digest", &w.args_digest)?,
            args: (!w.args.is_empty()).then_some(w.args),
            generation: optional_digest("generation", &w.generation)?.map(GenerationId),
            knowledge: w.knowledge.map(knowledge_from_wire).transpose()?,
            hint: w.hint.as_ref().map(grant_ref_from_wire).transpose()?,
            parent: w.parent.map(DecisionRef::from_wire).transpose()?,
            traceparent,
            execute_within_ms: w.execute_within_ms,
        })
    }
}

impl ActionOutcome {
    pub(super) fn to_wire(&self) -> wire::Outcome {
        wire::Outcome {
            decision: Some(self.decision.to_wire()),
            kind: self.kind as i32,
            result_digest: digest_to_wire(self.result_digest),
        }
    }

    pub(super) fn from_wire(w: wire::Outcome) -> Result<Self, MalformedCommand> {
        Ok(Self {
            decision: DecisionRef::from_wire(required("decision", w.decision)?)?,
            kind: OutcomeKind::from_wire(w.kind)?,
            result_digest: optional_digest("result_digest", &w.result_digest)?,
        })
    }
}

impl DecisionRef {
    fn to_wire(&self) -> wire::DecisionRef {
        wire::DecisionRef { agent: self.agent.to_string(), number: self.number, id: self.id.0.0.to_vec() }
    }

    fn from_wire(w: wire::DecisionRef) -> Result<Self, MalformedCommand> {
        if w.number == 0 {
            return Err(MalformedCommand::OutOfBounds("decision number"));
        }
        Ok(Self {
            agent: name("agent", w.agent)?,
            number: w.number,
            id: DecisionId(hash("decision id", &w.id)?),
        })
    }
}

pub(crate) fn digest_to_wire(digest: Option<Hash>) -> Vec<u8> {
    digest.map(|digest| digest.0.to_vec()).unwrap_or_default()
}

pub(crate) fn optional_digest(field: &'static str, bytes: &[u8]) -> Result<Option<Hash>, MalformedCommand> {
    if bytes.is_empty() { Ok(None) } else { hash(field, bytes).map(Some) }
}
