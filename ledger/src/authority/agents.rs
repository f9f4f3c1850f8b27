//! Agents: registered, revoked of everything, retired.

use super::Refusal;
use super::draft::{Effect, Stop, Writes};
use super::evaluate::Call;
use super::records::{AgentRecord, Place};
use super::view::{View, ViewError, record};
use crate::command::{Name, PublicKey, Role};
use crate::state::Version;

type Result<T, E> = std::result::Result<T, Stop<E>>;

pub(super) fn register<V: Version>(
    call: &Call<'_, V>,
    agent: &Name,
    owner: &Name,
    key: Option<PublicKey>,
    lineage: Option<&Name>,
) -> Result<Effect, V::Error> {
    let signer = call.signer(&[Role::Operator, Role::Issuer])?;
    if !signer.scope.agents.matches(agent) {
        return Err(Refusal::OutOfScope("agent").into());
    }
    let lineage = lineage.unwrap_or(agent);
    if !signer.scope.agents.matches(lineage) {
        return Err(Refusal::OutOfScope("lineage").into());
    }
    let place = Place::agent(agent);
    if record::<_, AgentRecord>(call.draft, &place)?.is_some() {
        return Err(Refusal::AgentExists(agent.clone()).into());
    }
    let registered = AgentRecord {
        owner: owner.clone(),
        key,
        lineage: lineage.clone(),
        retired: None,
        epoch: 1,
        epoch_began: None,
        grants: 0,
        pages: 0,
        decisions: 0,
        permits: 0,
    };
    let mut writes = Writes::default();
    writes.put(&place, &registered);
    Ok(Effect::Writes(writes))
}

pub(super) fn retire<V: Version>(call: &Call<'_, V>, agent: &Name) -> Result<Effect, V::Error> {
    let signer = call.signer(&[Role::Operator, Role::Issuer])?;
    if !signer.scope.agents.matches(agent) {
        return Err(Refusal::OutOfScope("agent").into());
    }
    let mut record = known(call, agent)?;
    if let Some(first) = record.retired {
        return Ok(Effect::Before(first));
    }
    record.retired = Some(call.cause);
    let mut writes = Writes::default();
    writes.put(&Place::agent(agent), &record);
    Ok(Effect::Writes(writes))
}

/// Begins a new epoch: every grant of an earlier one is void, without a further write.
pub(super) fn revoke_all<V: Version>(call: &Call<'_, V>, agent: &Name) -> Result<Effect, V::Error> {
    let signer = call.signer(&[Role::Revoker])?;
    if !signer.scope.agents.matches(agent) {
        return Err(Refusal::OutOfScope("agent").into());
    }
    let mut record = known(call, agent)?;
    record.epoch = record.epoch.saturating_add(1);
    record.epoch_began = Some(call.cause);
    (record.grants, record.pages) = (0, 0);
    let mut writes = Writes::default();
    writes.put(&Place::agent(agent), &record);
    Ok(Effect::Writes(writes))
}

/// An agent that is registered: what every decision about it reads, whatever else it does.
pub fn agent_record<V: View>(
    view: &V,
    agent: &Name,
) -> std::result::Result<Option<AgentRecord>, ViewError<V::Error>> {
    record(view, &Place::agent(agent))
}

pub(super) fn known<V: Version>(call: &Call<'_, V>, agent: &Name) -> Result<AgentRecord, V::Error> {
    Ok(record(call.draft, &Place::agent(agent))?.ok_or_else(|| Refusal::UnknownAgent(agent.clone()))?)
}
