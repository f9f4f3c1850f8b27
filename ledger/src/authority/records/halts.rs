//! What is halted: one record of all that is, which every decision reads, and one for each halt there ever was.

use super::{Body, Cause, RecordError, W, cause, cause_to_wire, optional_cause};
use crate::authority::{AgentRecord, Chain, Place, View, ViewError, referred};
use crate::command::{HaltScope, MalformedCommand, Name, reason};
use crate::decide::Request;
use crate::hash::Hash;
use chancery_proto::v1 as wire;

/// Longest encoded [`HaltsRecord`], in bytes: every proof has it.
pub const HALTS_RECORD_SIZE_BYTES_MAX: usize = 2_048;

/// Most bytes that the entry of a halt of everything takes, and that other halts leave free for one.
pub(crate) const EVERYTHING_SIZE_BYTES_MAX: usize = 17;

/// The halts in force.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HaltsRecord {
    /// By the index of their leaves, ascending.
    pub active: Vec<ActiveHalt>,
}

/// A halt in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActiveHalt {
    /// Index of its leaf.
    pub index: u64,
    /// What it stops.
    pub scope: HaltScope,
}

/// A halt, in force or ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HaltRecord {
    /// What it stops.
    pub scope: HaltScope,
    /// Why, for people.
    pub reason: String,
    /// What halted.
    pub cause: Cause,
    /// The hash of that command.
    pub command: Hash,
    /// Who said that it may end and still is a resumer, in the order of their leaves.
    pub resumed: Vec<Cause>,
    /// What ended it.
    pub ended: Option<Cause>,
}

impl HaltsRecord {
    /// The latest halt of what `request` asks for itself, whatever grants there are: of everything, of the
    /// agent, its lineage, the action or the resource.
    pub(crate) fn of_request(&self, request: &Request, lineage: &Name) -> Option<u64> {
        self.latest(|scope| match scope {
            HaltScope::Action(pattern) => pattern.matches(&request.action),
            HaltScope::Resource(pattern) => pattern.matches(&request.resource),
            scope => stops(scope, &request.agent, lineage),
        })
    }

    /// The latest halt of any link of `chain`: of the grant, of its subject, or of the subject's lineage. Reads
    /// the subjects, as [`Chain::void`] does.
    pub(crate) fn of_chain<V: View>(
        &self,
        view: &V,
        chain: &Chain,
    ) -> Result<Option<u64>, ViewError<V::Error>> {
        let mut latest = None;
        if self.active.is_empty() {
            return Ok(latest);
        }
        for (reference, link) in &chain.links {
            let agent = &link.terms.agent;
            let subject: AgentRecord = referred(view, &Place::agent(agent))?;
            let of_link = self.latest(|scope| match scope {
                HaltScope::Subtree(grant) => *grant == reference.grant,
                scope => stops(scope, agent, &subject.lineage),
            });
            latest = latest.max(of_link);
        }
        Ok(latest)
    }

    fn latest(&self, stops: impl Fn(&HaltScope) -> bool) -> Option<u64> {
        self.active.iter().rev().find(|halt| stops(&halt.scope)).map(|halt| halt.index)
    }
}

/// Whether a halt of `scope` stops the agent, whatever it does.
fn stops(scope: &HaltScope, agent: &Name, lineage: &Name) -> bool {
    match scope {
        HaltScope::Everything => true,
        HaltScope::Agent(name) => name == agent,
        HaltScope::Lineage(name) => name == lineage,
        HaltScope::Action(_) | HaltScope::Resource(_) | HaltScope::Subtree(_) => false,
    }
}

impl Body for HaltsRecord {
    fn to_wire(&self) -> W {
        let one =
            |halt: &ActiveHalt| wire::ActiveHalt { index: halt.index, scope: Some(halt.scope.to_wire()) };
        W::Halts(wire::HaltsRecord { active: self.active.iter().map(one).collect() })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Halts(w) = body else { return Err(RecordError::OtherRecord) };
        let one =
            |w: wire::ActiveHalt| Ok(ActiveHalt { index: w.index, scope: HaltScope::from_wire(w.scope)? });
        let active = w.active.into_iter().map(one).collect::<Result<Vec<_>, MalformedCommand>>()?;
        if !active.is_sorted_by(|a, b| a.index < b.index) {
            return Err(MalformedCommand::Unsorted("halts").into());
        }
        Ok(Self { active })
    }
}

impl Body for HaltRecord {
    fn to_wire(&self) -> W {
        W::Halt(wire::HaltRecord {
            scope: Some(self.scope.to_wire()),
            reason: self.reason.clone(),
            cause: Some(cause_to_wire(&self.cause)),
            command: self.command.0.to_vec(),
            resumed: self.resumed.iter().map(cause_to_wire).collect(),
            ended: self.ended.as_ref().map(cause_to_wire),
        })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Halt(w) = body else { return Err(RecordError::OtherRecord) };
        Ok(Self {
            scope: HaltScope::from_wire(w.scope)?,
            reason: reason(w.reason)?,
            cause: cause(w.cause)?,
            command: Hash::from_slice(&w.command).ok_or(MalformedCommand::Length("halt's command"))?,
            resumed: w.resumed.into_iter().map(|w| cause(Some(w))).collect::<Result<_, _>>()?,
            ended: optional_cause(w.ended)?,
        })
    }
}
