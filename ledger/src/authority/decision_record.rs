//! What the state keeps of a recorded decision, until a later one of the agent takes its place.

use super::meters::Spend;
use super::records::{Body, Cause, RecordError, cause, cause_to_wire};
use crate::command::{
    BOUNDS_MAX, DELEGATION_DEPTH_MAX, DecisionId, MalformedCommand, OutcomeKind, digest_to_wire,
    optional_digest,
};
use crate::hash::Hash;
use chancery_proto::v1 as wire;

use wire::record::Body as W;

/// Most outcomes that follow each other: unknown, executed, compensated.
const OUTCOMES_MAX: usize = 3;

/// Most meters that one decision spends on: every bound of every link.
const SPENDS_MAX: usize = BOUNDS_MAX * (DELEGATION_DEPTH_MAX as usize + 1);

/// A recorded decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecisionRecord {
    /// Which of the agent's, from 1.
    pub number: u64,
    /// Its id.
    pub id: DecisionId,
    /// The Authorize.
    pub decided: Cause,
    /// Ledger time before which the execution must have begun; none if it was denied.
    pub deadline_ms: Option<u64>,
    /// What it spent of bounds.
    pub spends: Vec<Spend>,
    /// What is recorded to have become of it, in order.
    pub outcomes: Vec<RecordedOutcome>,
}

/// What is recorded to have become of a permitted call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedOutcome {
    /// In one word.
    pub kind: OutcomeKind,
    /// SHA-256 of the call's result.
    pub result_digest: Option<Hash>,
    /// What recorded it.
    pub recorded: Cause,
}

impl DecisionRecord {
    /// Whether its execution may yet begin, or be under way with nobody having said so: permitted, without an
    /// outcome, its deadline to come.
    pub fn is_open(&self, time_ms: u64) -> bool {
        self.outcomes.is_empty() && self.deadline_ms.is_some_and(|deadline_ms| time_ms < deadline_ms)
    }
}

impl Body for DecisionRecord {
    fn to_wire(&self) -> W {
        let outcome = |outcome: &RecordedOutcome| wire::OutcomeRecord {
            kind: outcome.kind as i32,
            result_digest: digest_to_wire(outcome.result_digest),
            recorded: Some(cause_to_wire(&outcome.recorded)),
        };
        W::Decision(wire::DecisionRecord {
            number: self.number,
            id: self.id.0.0.to_vec(),
            decided: Some(cause_to_wire(&self.decided)),
            deadline_ms: self.deadline_ms,
            spends: self.spends.iter().map(Spend::to_wire).collect(),
            outcomes: self.outcomes.iter().map(outcome).collect(),
        })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Decision(w) = body else { return Err(RecordError::OtherRecord) };
        if w.outcomes.len() > OUTCOMES_MAX {
            return Err(MalformedCommand::OutOfBounds("outcomes of a decision").into());
        }
        if w.spends.len() > SPENDS_MAX {
            return Err(MalformedCommand::OutOfBounds("what a decision spent").into());
        }
        let outcome = |w: wire::OutcomeRecord| {
            Ok::<_, MalformedCommand>(RecordedOutcome {
                kind: OutcomeKind::from_wire(w.kind)?,
                result_digest: optional_digest("result_digest", &w.result_digest)?,
                recorded: cause(w.recorded)?,
            })
        };
        Ok(Self {
            number: w.number,
            id: DecisionId(Hash::from_slice(&w.id).ok_or(MalformedCommand::Length("decision id"))?),
            decided: cause(w.decided)?,
            deadline_ms: w.deadline_ms,
            spends: w.spends.into_iter().map(Spend::from_wire).collect(),
            outcomes: w.outcomes.into_iter().map(outcome).collect::<Result<_, _>>()?,
        })
    }
}
