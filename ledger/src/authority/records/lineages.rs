//! Lineages and generations in the state.

use super::{Body, Cause, RecordError, W, cause, cause_to_wire, optional_cause};
use crate::command::{
    Digests, GENERATIONS_IN_SERVICE_MAX, GenerationId, LineageConstraints, LineagePolicy, MalformedCommand,
};
use crate::hash::Hash;
use chancery_proto::v1 as wire;

/// A generation, by its number in its lineage and by what it is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GenerationRef {
    /// 1 for the first that was registered.
    pub number: u64,
    /// Its id.
    pub id: GenerationId,
}

/// A lineage of which something was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineageRecord {
    /// How it changes.
    pub policy: LineagePolicy,
    /// What all of it keeps to.
    pub constraints: LineageConstraints,
    /// Generations that were registered.
    pub count: u64,
    /// Those that may act, by their numbers.
    pub in_service: Vec<GenerationRef>,
    /// What set the policy and the constraints.
    pub set: Option<Cause>,
    /// What last said which generations may act.
    pub moved: Option<Cause>,
}

impl LineageRecord {
    /// One of which nothing was said yet.
    pub(crate) fn new(threshold: u32) -> Self {
        Self {
            policy: LineagePolicy { quarantine: true, threshold, in_service_max: 1 },
            constraints: LineageConstraints::default(),
            count: 0,
            in_service: Vec::new(),
            set: None,
            moved: None,
        }
    }

    /// Has `generation` in service, and the oldest not any more if they are too many.
    pub(crate) fn enter(&mut self, generation: GenerationRef, cause: Cause) {
        self.in_service.push(generation);
        self.in_service.sort_by_key(|generation| generation.number);
        self.keep_newest();
        self.moved = Some(cause);
    }

    /// Drops from service what the policy does not keep.
    pub(crate) fn keep_newest(&mut self) {
        let surplus = self.in_service.len().saturating_sub(self.policy.in_service_max as usize);
        self.in_service.drain(..surplus);
    }
}

/// A generation that was registered. Its lineage and its id are its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GenerationRecord {
    /// 1 for a lineage's first.
    pub number: u64,
    /// The generation that it was made from.
    pub parent: Option<GenerationId>,
    /// What it is made of.
    pub digests: Digests,
    /// What registered it.
    pub registered: Cause,
    /// What last released it.
    pub released: Option<Cause>,
}

impl GenerationRef {
    pub(crate) fn to_wire(self) -> wire::GenerationRef {
        wire::GenerationRef { number: self.number, id: self.id.0.0.to_vec() }
    }

    pub(crate) fn from_wire(w: wire::GenerationRef) -> Result<Self, MalformedCommand> {
        let id = Hash::from_slice(&w.id).ok_or(MalformedCommand::Length("generation"))?;
        Ok(Self { number: w.number, id: GenerationId(id) })
    }
}

impl Body for LineageRecord {
    fn to_wire(&self) -> W {
        W::Lineage(wire::LineageRecord {
            policy: Some(self.policy.to_wire()),
            constraints: Some(self.constraints.to_wire()),
            count: self.count,
            in_service: self.in_service.iter().copied().map(GenerationRef::to_wire).collect(),
            set: self.set.as_ref().map(cause_to_wire),
            moved: self.moved.as_ref().map(cause_to_wire),
        })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Lineage(w) = body else { return Err(RecordError::OtherRecord) };
        if w.in_service.len() > GENERATIONS_IN_SERVICE_MAX as usize {
            return Err(MalformedCommand::OutOfBounds("generations in service").into());
        }
        let in_service =
            w.in_service.into_iter().map(GenerationRef::from_wire).collect::<Result<Vec<_>, _>>()?;
        if !in_service.is_sorted_by(|a, b| a.number < b.number) {
            return Err(MalformedCommand::Unsorted("generations in service").into());
        }
        Ok(Self {
            policy: LineagePolicy::from_wire(w.policy)?,
            constraints: LineageConstraints::from_wire(w.constraints)?,
            count: w.count,
            in_service,
            set: optional_cause(w.set)?,
            moved: optional_cause(w.moved)?,
        })
    }
}

impl Body for GenerationRecord {
    fn to_wire(&self) -> W {
        let bytes = |hash: Hash| hash.0.to_vec();
        W::Generation(wire::GenerationRecord {
            number: self.number,
            parent: self.parent.map(|parent| bytes(parent.0)).unwrap_or_default(),
            model: bytes(self.digests.model),
            prompt: bytes(self.digests.prompt),
            tools: bytes(self.digests.tools),
            parameters: bytes(self.digests.parameters),
            memory: bytes(self.digests.memory),
            registered: Some(cause_to_wire(&self.registered)),
            released: self.released.as_ref().map(cause_to_wire),
        })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Generation(w) = body else { return Err(RecordError::OtherRecord) };
        let hash = |field, bytes: &[u8]| Hash::from_slice(bytes).ok_or(MalformedCommand::Length(field));
        let parent = if w.parent.is_empty() { None } else { Some(GenerationId(hash("parent", &w.parent)?)) };
        Ok(Self {
            number: w.number,
            parent,
            digests: Digests {
                model: hash("model", &w.model)?,
                prompt: hash("prompt", &w.prompt)?,
                tools: hash("tools", &w.tools)?,
                parameters: hash("parameters", &w.parameters)?,
                memory: hash("memory", &w.memory)?,
            },
            registered: cause(w.registered)?,
            released: optional_cause(w.released)?,
        })
    }
}
