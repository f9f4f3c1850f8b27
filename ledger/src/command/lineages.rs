//! Lineages and their generations: what an agent is made of, and what every version of it keeps to.

use std::fmt;

use prost::Message;

use super::wire::{hash, name, patterns, texts};
use super::{LedgerId, MalformedCommand, Name, Patterns};
use crate::hash::Hash;
use chancery_proto::v1 as wire;

/// Most generations of a lineage that may be in service at once.
pub const GENERATIONS_IN_SERVICE_MAX: u32 = 8;

/// Most signatures that a lineage's policy may ask for.
const THRESHOLD_MAX: u32 = 64;

/// `SHA-256("chancery/generation" ‖ 00 ‖ ledger id ‖ encoded RegisterGeneration)`: names a version of an agent by
/// what it is made of, so that whoever runs it can compute it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GenerationId(pub Hash);

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A version of the agents of a lineage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Generation {
    /// Whose.
    pub lineage: Name,
    /// The generation that it was made from; none for a lineage's first.
    pub parent: Option<GenerationId>,
    /// What it is made of.
    pub digests: Digests,
}

/// What a generation is made of: each is SHA-256 of something that its makers know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digests {
    /// The model.
    pub model: Hash,
    /// The prompt.
    pub prompt: Hash,
    /// The tools that it is given.
    pub tools: Hash,
    /// The parameters that the model is run with.
    pub parameters: Hash,
    /// The memory that it begins with.
    pub memory: Hash,
}

impl Digests {
    /// Each with its name.
    pub const fn named(&self) -> [(&'static str, Hash); 5] {
        let Self { model, prompt, tools, parameters, memory } = *self;
        [
            ("model", model),
            ("prompt", prompt),
            ("tools", tools),
            ("parameters", parameters),
            ("memory", memory),
        ]
    }
}

impl Generation {
    /// Its id in `ledger`.
    pub fn id(&self, ledger: LedgerId) -> GenerationId {
        let encoded = self.to_wire().encode_to_vec();
        GenerationId(Hash::labelled("chancery/generation", &[ledger.0.as_bytes(), &encoded]))
    }

    pub(crate) fn to_wire(&self) -> wire::RegisterGeneration {
        let bytes = |hash: Hash| hash.0.to_vec();
        wire::RegisterGeneration {
            lineage: self.lineage.to_string(),
            parent: self.parent.map(|parent| bytes(parent.0)).unwrap_or_default(),
            model: bytes(self.digests.model),
            prompt: bytes(self.digests.prompt),
            tools: bytes(self.digests.tools),
            parameters: bytes(self.digests.parameters),
            memory: bytes(self.digests.memory),
        }
    }

    pub(crate) fn from_wire(w: wire::RegisterGeneration) -> Result<Self, MalformedCommand> {
        let parent = if w.parent.is_empty() { None } else { Some(GenerationId(hash("parent", &w.parent)?)) };
        let digests = Digests {
            model: hash("model", &w.model)?,
            prompt: hash("prompt", &w.prompt)?,
            tools: hash("tools", &w.tools)?,
            parameters: hash("parameters", &w.parameters)?,
            memory: hash("memory", &w.memory)?,
        };
        Ok(Self { lineage: name("lineage", w.lineage)?, parent, digests })
    }
}

/// How a lineage changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineagePolicy {
    /// A new generation may do nothing until it is released.
    pub quarantine: bool,
    /// How many must sign a release, and a loosening of the policy or the constraints.
    pub threshold: u32,
    /// How many generations are in service at once: the newest that were released.
    pub in_service_max: u32,
}

impl LineagePolicy {
    pub(crate) const fn to_wire(self) -> wire::LineagePolicy {
        let Self { quarantine, threshold, in_service_max } = self;
        wire::LineagePolicy { quarantine, threshold, in_service_max }
    }

    pub(crate) fn from_wire(w: Option<wire::LineagePolicy>) -> Result<Self, MalformedCommand> {
        let wire::LineagePolicy { quarantine, threshold, in_service_max } =
            w.ok_or(MalformedCommand::Missing("policy"))?;
        if !(1..=THRESHOLD_MAX).contains(&threshold) {
            return Err(MalformedCommand::OutOfBounds("threshold"));
        }
        if !(1..=GENERATIONS_IN_SERVICE_MAX).contains(&in_service_max) {
            return Err(MalformedCommand::OutOfBounds("in_service_max"));
        }
        Ok(Self { quarantine, threshold, in_service_max })
    }

    /// Whether all that this one demands is demanded by `next` too.
    pub(crate) const fn is_kept_by(&self, next: &Self) -> bool {
        (next.quarantine || !self.quarantine)
            && next.threshold >= self.threshold
            && next.in_service_max <= self.in_service_max
    }
}

/// What every generation of a lineage keeps to, whatever its agents are granted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LineageConstraints {
    /// The actions that it may do; any, if there is none.
    pub actions: Patterns,
    /// On what; anything, if there is none.
    pub resources: Patterns,
    /// How old an answer may be when it acts; as the grants say, if it is 0.
    pub max_staleness_ms: u64,
}

impl LineageConstraints {
    pub(crate) fn to_wire(&self) -> wire::LineageConstraints {
        wire::LineageConstraints {
            actions: texts(&self.actions),
            resources: texts(&self.resources),
            max_staleness_ms: self.max_staleness_ms,
        }
    }

    pub(crate) fn from_wire(w: Option<wire::LineageConstraints>) -> Result<Self, MalformedCommand> {
        let w = w.ok_or(MalformedCommand::Missing("constraints"))?;
        Ok(Self {
            actions: patterns("actions", w.actions)?,
            resources: patterns("resources", w.resources)?,
            max_staleness_ms: w.max_staleness_ms,
        })
    }

    /// Whether whatever `next` lets pass, this one lets pass too.
    pub(crate) fn is_kept_by(&self, next: &Self) -> bool {
        let kept =
            |mine: &Patterns, next: &Patterns| mine.is_empty() || (!next.is_empty() && mine.covers(next));
        let staleness =
            self.max_staleness_ms == 0 || (1..=self.max_staleness_ms).contains(&next.max_staleness_ms);
        kept(&self.actions, &next.actions) && kept(&self.resources, &next.resources) && staleness
    }

    /// What of a call is outside: its action or its resource.
    pub fn forbids(&self, action: &Name, resource: &Name) -> Option<&'static str> {
        let outside = |patterns: &Patterns, name: &Name| !patterns.is_empty() && !patterns.matches(name);
        if outside(&self.actions, action) {
            return Some("action");
        }
        outside(&self.resources, resource).then_some("resource")
    }
}
