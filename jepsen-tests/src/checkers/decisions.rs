//! Recorded decisions: each decided again from the log before it, counted without a gap, and ended once.

use std::collections::HashMap;

use chancery_ledger::authority::Decided;
use chancery_ledger::command::{ActionOutcome, Authorize, Body, DecisionId, DecisionRef, OutcomeKind};

use super::authority::Authority;
use super::{Finding, Leaf, Leaves, Verdict, replay};
use crate::history::{Call, Operation, Outcome};

/// The checker's name.
pub const NAME: &str = "decisions";

/// Replays the log through a plain model of authority. Demands of each recorded decision that its verdict is what the
/// log before it gives, and that its number is one more than that of the agent's last; of each outcome, that it is of
/// a recorded permit and follows what was recorded of it before. So what becomes of a call is recorded once.
///
/// That what was acknowledged is in the log is for [`log`](super::log) to say.
pub fn check(operations: &[Operation], leaves: &Leaves) -> Finding {
    let recorded = |one: &&Operation| {
        let of_decisions = matches!(one.call, Call::Authorize { .. } | Call::Outcome { .. });
        of_decisions && matches!(one.outcome, Outcome::Acknowledged { .. })
    };
    Finding::of(NAME, operations.iter().filter(recorded).count(), judge(leaves))
}

/// What the log says of an agent's decisions.
#[derive(Default)]
struct Agent {
    /// In the order of their numbers, from 1.
    decisions: Vec<Recorded>,
}

struct Recorded {
    id: DecisionId,
    permitted: bool,
    last: Option<OutcomeKind>,
}

fn judge(leaves: &Leaves) -> Result<(), Verdict> {
    let mut authority = Authority::default();
    let mut agents: HashMap<&str, Agent> = HashMap::new();
    for leaf in leaves.commands() {
        match &leaf.signed.command().body {
            Body::Authorize(asked) => {
                let agent = agents.entry(asked.agent.as_str()).or_default();
                agent.decisions.push(decided(&authority, agent.decisions.len(), leaves, leaf, asked)?);
            }
            Body::Outcome(said) => ended(&mut agents, leaf, said)?,
            _ => replay::apply(&mut authority, leaves, leaf),
        }
    }
    Ok(())
}

fn wrong(leaf: &Leaf, what: impl std::fmt::Display) -> Verdict {
    Verdict::violation(NAME, format!("leaf {}: {what}", leaf.index), &[])
}

fn decided(
    authority: &Authority,
    before: usize,
    leaves: &Leaves,
    leaf: &Leaf,
    asked: &Authorize,
) -> Result<Recorded, Verdict> {
    let Some(verdict) = &leaf.verdict else { return Err(wrong(leaf, "a decision without a verdict")) };
    if u64::try_from(before).ok() != verdict.number.checked_sub(1) {
        return Err(wrong(leaf, format!("decision {} of {}, after {before}", verdict.number, asked.agent)));
    }
    let (agent, action, resource) = (asked.agent.as_str(), asked.action.as_str(), asked.resource.as_str());
    let permitted = match &verdict.decided {
        Decided::Permit { chain, .. } => {
            let chain: Vec<String> = chain.iter().map(|link| link.grant.to_string()).collect();
            let first = chain.first().map_or("", String::as_str);
            if authority.chain(first, agent, action, resource).as_ref() != Some(&chain) {
                return Err(wrong(leaf, "permitted, where the log gives no such authority"));
            }
            true
        }
        Decided::Denied(denial) => {
            if authority.permits(agent, action, resource) {
                return Err(wrong(leaf, format!("denied ({}), where the log permits it", denial.code())));
            }
            false
        }
    };
    Ok(Recorded { id: leaves.decision_id(leaf), permitted, last: None })
}

fn ended(agents: &mut HashMap<&str, Agent>, leaf: &Leaf, said: &ActionOutcome) -> Result<(), Verdict> {
    use OutcomeKind::{Compensated, Executed, Failed, Unknown};
    let DecisionRef { agent, number, id } = &said.decision;
    let place = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let decision = agents.get_mut(agent.as_str()).and_then(|agent| agent.decisions.get_mut(place));
    let Some(decision) = decision.filter(|decision| decision.id == *id && decision.permitted) else {
        return Err(wrong(leaf, format!("an outcome of {}, which is no permit", said.decision)));
    };
    let follows = matches!(
        (decision.last, said.kind),
        (None, Executed | Failed | Unknown)
            | (Some(Unknown), Executed | Failed)
            | (Some(Executed), Compensated)
    );
    if !follows {
        let what = format!("{} is {} after {:?}", said.decision, said.kind.name(), decision.last);
        return Err(wrong(leaf, what));
    }
    decision.last = Some(said.kind);
    Ok(())
}
