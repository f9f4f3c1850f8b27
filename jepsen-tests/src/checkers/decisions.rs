//! Recorded decisions: each decided again from the log before it, counted without a gap, and ended once.

use std::collections::HashMap;

use chancery_ledger::command::{ActionOutcome, Authorize, Body, DecisionId, DecisionRef, OutcomeKind};

use super::authority::{Authority, Question};
use super::{Finding, Leaf, Leaves, Verdict, replay};
use crate::history::{Call, Operation, Outcome, Told, ToldDecided};

/// The checker's name.
pub const NAME: &str = "decisions";

/// Replays the log through a plain model of authority. Demands of each recorded decision that its verdict is what the
/// log before it gives, that its number is one more than that of the agent's last, and that its client was told
/// just that; of each outcome, that it is of a recorded permit and follows what was recorded of it before. So what
/// becomes of a call is recorded once.
///
/// That what was acknowledged is in the log is for [`log`](super::log) to say; what bounds and halts have to do with
/// it, for [`bounds`](super::bounds) and [`halts`](super::halts).
pub fn check(operations: &[Operation], leaves: &Leaves) -> Finding {
    let recorded = |one: &&Operation| {
        let of_decisions = matches!(one.call, Call::Authorize { .. } | Call::Outcome { .. });
        of_decisions && matches!(one.outcome, Outcome::Acknowledged { .. })
    };
    let judged = judge(leaves).and_then(|()| judge_told(operations, leaves));
    Finding::of(NAME, operations.iter().filter(recorded).count(), judged)
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

/// That each client was told the verdict that is in the log.
fn judge_told(operations: &[Operation], leaves: &Leaves) -> Result<(), Verdict> {
    for operation in operations {
        let Call::Authorize { .. } = operation.call else { continue };
        let Outcome::Acknowledged { index, verdict, .. } = &operation.outcome else { continue };
        let recorded = leaves.at(*index).and_then(|leaf| leaf.verdict.as_ref()).map(Told::of);
        if *verdict != recorded {
            let what = format!("told another verdict than leaf {index} has");
            return Err(Verdict::violation(NAME, what, &[operation.id]));
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
    let verdict = Told::of(verdict);
    if u64::try_from(before).ok() != verdict.number.checked_sub(1) {
        return Err(wrong(leaf, format!("decision {} of {}, after {before}", verdict.number, asked.agent)));
    }
    let question = question(asked);
    match &verdict.decided {
        ToldDecided::Permit { chain, deadline_ms, .. } => {
            let first = chain.first().map_or("", String::as_str);
            if authority.chain(first, question).as_ref() != Some(chain) {
                return Err(wrong(leaf, "permitted, where the log gives no such authority"));
            }
            let due_ms = deadline(authority, leaf, asked, chain);
            if *deadline_ms != due_ms {
                return Err(wrong(leaf, format!("permitted until {deadline_ms}, not {due_ms}")));
            }
        }
        ToldDecided::Denied { halt: Some(_), .. } => {}
        ToldDecided::Denied { reason, .. } => {
            // A bound may be exhausted, whatever graver reason another grant gives.
            if !authority.chains(question).iter().all(|chain| authority.is_bounded(chain)) {
                return Err(wrong(leaf, format!("denied ({reason}), where the log permits it")));
            }
        }
    }
    Ok(Recorded { id: leaves.decision_id(leaf), permitted: verdict.is_permit(), last: None })
}

/// When the execution of what the leaf permits must have begun.
fn deadline(authority: &Authority, leaf: &Leaf, asked: &Authorize, chain: &[String]) -> u64 {
    let links = chain.iter().filter_map(|grant| authority.granted(grant));
    let lasts_ms = links.clone().map(|link| link.max_staleness_ms).chain([asked.execute_within_ms]).min();
    let until_ms = leaf.time_ms.saturating_add(lasts_ms.unwrap_or_default());
    links.map(|link| link.not_after_ms).chain([until_ms]).min().unwrap_or_default()
}

/// What an Authorize asks.
pub(super) fn question(asked: &Authorize) -> Question<'_> {
    let Authorize { agent, action, resource, .. } = asked;
    Question { agent: agent.as_str(), action: action.as_str(), resource: resource.as_str() }
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
