//! Recorded decisions: what an agent may do, decided and counted before it acts, and what became of it.
//!
//! The state keeps an agent's last decisions in a ring, so that it stays bounded; the log keeps all of them.
//! A decision is open while its execution may yet begin. An open one is never overwritten.

use super::Refusal;
use super::agents;
use super::decision_record::{DecisionRecord, RecordedOutcome};
use super::draft::{Effect, Stop, Writes};
use super::evaluate::Call;
use super::meters::{self, Slot, Spend};
use super::records::{AgentRecord, Place};
use super::verdict::{BoundTaken, Decided, Verdict};
use super::view::record;
use crate::command::{ActionOutcome, Authorize, DecisionId, DecisionRef, Name, OutcomeKind, Role};
use crate::decide::{Authority, Decision, Interval, decide};
use crate::state::Version;

/// How long after a decision's deadline a failure gives back what it spent, in milliseconds.
const GIVEN_BACK_WITHIN_MS: u64 = 60_000;

type Result<T, E> = std::result::Result<T, Stop<E>>;

/// Decides at the block's time, and records the decision: a denial as well as a permit.
pub(super) fn authorize<V: Version>(call: &Call<'_, V>, asked: &Authorize) -> Result<Effect, V::Error> {
    let agent = gated(call, &asked.agent)?;
    let max_ms = call.ledger.limits.execution_ms_max;
    if asked.execute_within_ms > max_ms {
        return Err(Refusal::ExecutionTooLate(max_ms).into());
    }
    if let Some(parent) = &asked.parent {
        kept(call, parent)?;
    }
    let time_ms = call.cause.time_ms;
    let number = agent.decisions.saturating_add(1);
    let place = place(call, &asked.agent, number);
    let oldest: Option<DecisionRecord> = record(call.draft, &place)?;
    if let Some(open) = oldest.filter(|oldest| oldest.is_open(time_ms)) {
        return Err(Refusal::TooManyOpenDecisions { agent: asked.agent.clone(), number: open.number }.into());
    }
    let at = Interval { low_ms: time_ms, high_ms: time_ms };
    let mut writes = Writes::default();
    let id = DecisionId::of(call.draft.ledger, call.signed.command_bytes());
    let (decided, spends) = match decide(call.draft, &asked.request(), at)? {
        Decision::Permit(authority) => reserve(call, asked, authority, id, &mut writes)?,
        Decision::Denied(denial) => (Decided::Denied(denial), Vec::new()),
    };
    let deadline_ms = match &decided {
        Decided::Permit { deadline_ms, .. } => Some(*deadline_ms),
        Decided::Denied(_) => None,
    };
    let recorded =
        DecisionRecord { number, id, decided: call.cause, deadline_ms, spends, outcomes: Vec::new() };
    let permits = agent.permits.saturating_add(u64::from(deadline_ms.is_some()));
    writes.put(&place, &recorded);
    writes.put(&Place::agent(&asked.agent), &AgentRecord { decisions: number, permits, ..agent });
    writes.verdict = Some(Verdict { number, decided });
    Ok(Effect::Writes(writes))
}

/// Records what became of a permitted call.
pub(super) fn record_outcome<V: Version>(
    call: &Call<'_, V>,
    said: &ActionOutcome,
) -> Result<Effect, V::Error> {
    let DecisionRef { agent, number, .. } = &said.decision;
    gated(call, agent)?;
    let mut decision = kept(call, &said.decision)?;
    if decision.deadline_ms.is_none() {
        return Err(Refusal::DecisionDenied { agent: agent.clone(), number: *number }.into());
    }
    let same =
        |first: &&RecordedOutcome| (first.kind, first.result_digest) == (said.kind, said.result_digest);
    if let Some(first) = decision.outcomes.iter().find(same) {
        return Ok(Effect::Before(first.recorded));
    }
    let mut writes = Writes::default();
    settle(call, said, &mut decision, &mut writes)?;
    writes.put(&place(call, agent, *number), &decision);
    Ok(Effect::Writes(writes))
}

/// What a permit takes: the time in which the execution may begin, and its part of every bound of the chain. A
/// later revocation does not take it back, so the time is no longer than that of a permit that was not recorded.
fn reserve<V: Version>(
    call: &Call<'_, V>,
    asked: &Authorize,
    authority: Authority,
    id: DecisionId,
    writes: &mut Writes,
) -> Result<(Decided, Vec<Spend>), V::Error> {
    let lasts_ms = asked.execute_within_ms.min(authority.max_staleness_ms);
    let deadline_ms = call.cause.time_ms.saturating_add(lasts_ms).min(authority.not_after_ms);
    let slot = Slot { ends_ms: deadline_ms, decision: id.first_half() };
    let spends = meters::reserve(call.draft, writes, &authority.bounds, call.cause.time_ms, slot)?;
    let bounds = authority.bounds.iter().map(BoundTaken::of).collect();
    let Authority { chain, generation, .. } = authority;
    Ok((Decided::Permit { chain, generation, deadline_ms, bounds }, spends))
}

/// Appends an outcome to those of a permitted decision: the first; after unknown the one that it was; after
/// executed that it was undone. Its calls are under way no longer, and what it spent is kept or given back.
fn settle<V: Version>(
    call: &Call<'_, V>,
    said: &ActionOutcome,
    decision: &mut DecisionRecord,
    writes: &mut Writes,
) -> Result<(), V::Error> {
    use OutcomeKind::{Compensated, Executed, Failed, Unknown};
    match (decision.outcomes.last().map(|outcome| outcome.kind), said.kind) {
        (None, Executed | Failed | Unknown)
        | (Some(Unknown), Executed | Failed)
        | (Some(Executed), Compensated) => {}
        (None | Some(Unknown), Compensated) => return Err(Refusal::NotExecuted.into()),
        (Some(recorded), _) => return Err(Refusal::OutcomeRecorded(recorded).into()),
    }
    // What failed in time was not spent. Without a word, or with one that comes late, it was.
    let until_ms = decision.deadline_ms.unwrap_or_default().saturating_add(GIVEN_BACK_WITHIN_MS);
    let kept = said.kind != Failed || call.cause.time_ms >= until_ms;
    let (decided_ms, half) = (decision.decided.time_ms, decision.id.first_half());
    meters::settle(call.draft, writes, &decision.spends, kept, decided_ms, half)?;
    let (kind, result_digest) = (said.kind, said.result_digest);
    decision.outcomes.push(RecordedOutcome { kind, result_digest, recorded: call.cause });
    Ok(())
}

/// The agent, if the signer is a gate for it.
fn gated<V: Version>(call: &Call<'_, V>, agent: &Name) -> Result<AgentRecord, V::Error> {
    if !call.signer(&[Role::Gate])?.scope.agents.matches(agent) {
        return Err(Refusal::OutOfScope("agent").into());
    }
    agents::known(call, agent)
}

/// The decision, if the state has kept it.
fn kept<V: Version>(call: &Call<'_, V>, reference: &DecisionRef) -> Result<DecisionRecord, V::Error> {
    let DecisionRef { agent, number, id } = reference;
    let found: Option<DecisionRecord> = record(call.draft, &place(call, agent, *number))?;
    let found = found.filter(|found| found.number == *number && found.id == *id);
    Ok(found.ok_or_else(|| Refusal::UnknownDecision { agent: agent.clone(), number: *number })?)
}

/// Where an agent's decision of this number is kept, in turn with others.
fn place<V: Version>(call: &Call<'_, V>, agent: &Name, number: u64) -> Place {
    let kept_max = u64::from(call.ledger.limits.open_decisions_per_agent_max);
    // INVARIANT: genesis has at least 1.
    Place::decision(agent, number.checked_rem(kept_max).unwrap_or(0))
}
