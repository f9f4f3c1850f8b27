//! Grants, delegations, and the revocation of one of them.

use super::Refusal;
use super::agents;
use super::chain::Chain;
use super::draft::{Effect, Stop, Writes};
use super::evaluate::Call;
use super::halts::halts_in_force;
use super::records::{AgentRecord, Cause, GrantRecord, GrantRef, PAGE_GRANTS_MAX, Place};
use super::view::{record, referred};
use crate::command::{Bound, GrantId, Name, Per, Role, Terms};
use crate::condition::{self, Schema};
use crate::state::Version;

type Result<T, E> = std::result::Result<T, Stop<E>>;

pub(super) fn grant<V: Version>(
    call: &Call<'_, V>,
    terms: &Terms,
    schema: Option<&Schema>,
) -> Result<Effect, V::Error> {
    let signer = call.signer(&[Role::Issuer])?;
    if !signer.scope.agents.matches(&terms.agent) {
        return Err(Refusal::OutOfScope("agent").into());
    }
    if !signer.scope.actions.covers(&terms.actions) {
        return Err(Refusal::OutOfScope("actions").into());
    }
    if !signer.scope.resources.covers(&terms.resources) {
        return Err(Refusal::OutOfScope("resources").into());
    }
    // A key is named like a resource, so that nobody spends what is shared elsewhere.
    if !keys(terms).all(|(_, key)| signer.scope.resources.matches(key)) {
        return Err(Refusal::OutOfScope("a bound's key").into());
    }
    if terms.delegable_depth > call.ledger.limits.delegation_depth_max {
        return Err(Refusal::TooDeep.into());
    }
    check_condition(terms, schema)?;
    store(call, terms, None, 0, call.grant())
}

pub(super) fn delegate<V: Version>(
    call: &Call<'_, V>,
    parent: GrantId,
    terms: &Terms,
    schema: Option<&Schema>,
) -> Result<Effect, V::Error> {
    let root: GrantId = record(call.draft, &Place::locator(parent))?.ok_or(Refusal::UnknownGrant(parent))?;
    let parent = GrantRef { grant: parent, root };
    let held: GrantRecord = referred(call.draft, &Place::grant(parent))?;
    let holder: AgentRecord = referred(call.draft, &Place::agent(&held.terms.agent))?;
    if holder.key != Some(call.command.signer) {
        return Err(Refusal::NotTheHolder.into());
    }
    narrows(&held.terms, terms)?;
    let depth = held.depth.saturating_add(1);
    if depth > call.ledger.limits.delegation_depth_max {
        return Err(Refusal::TooDeep.into());
    }
    let chain = Chain::read(call.draft, parent, held)?;
    if chain.includes(&terms.agent) {
        return Err(Refusal::Loops(terms.agent.clone()).into());
    }
    // A holder spends what its own chain spends, and nothing that is shared elsewhere.
    let shared =
        |(bound, _): (&Bound, &Name)| chain.links.iter().any(|(_, link)| link.terms.bounds.shares(bound));
    if !keys(terms).all(shared) {
        return Err(Refusal::Widens("bounds").into());
    }
    let ended = chain.not_after_ms() <= call.cause.time_ms;
    if ended || chain.void(call.draft, &holder)?.is_some() {
        return Err(Refusal::ParentNotInForce.into());
    }
    if let Some(halt) = halts_in_force(call.draft)?.of_chain(call.draft, &chain)? {
        return Err(Refusal::Halted(halt).into());
    }
    check_condition(terms, schema)?;
    store(call, terms, Some(parent.grant), depth, root)
}

/// Revokes for good. A grant that has not been seen is revoked ahead of its coming.
pub(super) fn revoke<V: Version>(call: &Call<'_, V>, grant: GrantId) -> Result<Effect, V::Error> {
    let mut writes = Writes::default();
    let Some(root) = record::<_, GrantId>(call.draft, &Place::locator(grant))? else {
        // Whose it will be is not known: only who may revoke anybody's may revoke it.
        if !call.signer(&[Role::Revoker])?.scope.agents.is_everything() {
            return Err(Refusal::UnknownGrant(grant).into());
        }
        let place = Place::tombstone(grant);
        if let Some(first) = record::<_, Cause>(call.draft, &place)? {
            return Ok(Effect::Before(first));
        }
        writes.put(&place, &call.cause);
        return Ok(Effect::Writes(writes));
    };
    let place = Place::grant(GrantRef { grant, root });
    let mut revoked: GrantRecord = referred(call.draft, &place)?;
    let signer = call.signer(&[Role::Revoker, Role::Issuer])?;
    let own = revoked.granted.signer == call.command.signer;
    if !own && !signer.roles.contains(&Role::Revoker) {
        return Err(Refusal::WrongRole(vec![Role::Revoker]).into());
    }
    if !own && !signer.scope.agents.matches(&revoked.terms.agent) {
        return Err(Refusal::OutOfScope("agent").into());
    }
    if let Some(first) = revoked.revoked {
        return Ok(Effect::Before(first));
    }
    revoked.revoked = Some(call.cause);
    writes.put(&place, &revoked);
    Ok(Effect::Writes(writes))
}

/// Writes a new grant of the tree `root`, and lists it with its subject.
fn store<V: Version>(
    call: &Call<'_, V>,
    terms: &Terms,
    parent: Option<GrantId>,
    depth: u32,
    root: GrantId,
) -> Result<Effect, V::Error> {
    let (id, limits) = (call.grant(), &call.ledger.limits);
    if terms.max_staleness_ms > limits.staleness_cap_ms {
        return Err(Refusal::StalenessAboveCap(limits.staleness_cap_ms).into());
    }
    if terms.not_after_ms <= call.cause.time_ms {
        return Err(Refusal::TermsEnded.into());
    }
    let mut agent = agents::known(call, &terms.agent)?;
    if agent.retired.is_some() {
        return Err(Refusal::AgentRetired(terms.agent.clone()).into());
    }
    if agent.grants >= limits.grants_per_agent_max {
        let (agent, max) = (terms.agent.clone(), limits.grants_per_agent_max);
        return Err(Refusal::TooManyGrants { agent, max }.into());
    }
    let locator = Place::locator(id);
    if record::<_, GrantId>(call.draft, &locator)?.is_some() {
        return Err(Refusal::GrantExists(id).into());
    }
    let reference = GrantRef { grant: id, root };
    let granted = GrantRecord {
        terms: terms.clone(),
        parent,
        depth,
        epoch: agent.epoch,
        granted: call.cause,
        revoked: record(call.draft, &Place::tombstone(id))?,
    };
    let mut page = Vec::new();
    let full = agent.grants as usize == agent.pages as usize * PAGE_GRANTS_MAX;
    if full {
        agent.pages = agent.pages.saturating_add(1);
    } else {
        page = referred(call.draft, &Place::page(&terms.agent, agent.epoch, agent.pages.saturating_sub(1)))?;
    }
    page.push(reference);
    agent.grants = agent.grants.saturating_add(1);

    let mut writes = Writes::default();
    writes.put(&Place::grant(reference), &granted);
    writes.put(&locator, &root);
    writes.put(&Place::page(&terms.agent, agent.epoch, agent.pages.saturating_sub(1)), &page);
    writes.put(&Place::agent(&terms.agent), &agent);
    Ok(Effect::Writes(writes))
}

/// The bounds that others share by a key, with it.
fn keys(terms: &Terms) -> impl Iterator<Item = (&Bound, &Name)> {
    terms.bounds.iter().filter_map(|bound| match &bound.per {
        Per::Key(key) => Some((bound, key)),
        Per::Grant | Per::Agent => None,
    })
}

/// A condition that Cedar does not understand would be a grant that nobody can judge.
fn check_condition(terms: &Terms, schema: Option<&Schema>) -> std::result::Result<(), Refusal> {
    match (&terms.condition, schema) {
        (Some(condition), schema) => Ok(condition::admit(condition, schema)?),
        (None, Some(_)) => Err(Refusal::SchemaWithoutCondition),
        (None, None) => Ok(()),
    }
}

/// A delegation only shrinks.
fn narrows(parent: &Terms, child: &Terms) -> std::result::Result<(), Refusal> {
    if !parent.actions.covers(&child.actions) {
        return Err(Refusal::Widens("actions"));
    }
    if !parent.resources.covers(&child.resources) {
        return Err(Refusal::Widens("resources"));
    }
    if child.not_before_ms < parent.not_before_ms || child.not_after_ms > parent.not_after_ms {
        return Err(Refusal::Widens("time"));
    }
    if child.max_staleness_ms > parent.max_staleness_ms {
        return Err(Refusal::Widens("staleness"));
    }
    // Also when the parent's is 0: then nothing may be delegated.
    if child.delegable_depth >= parent.delegable_depth {
        return Err(Refusal::TooDeep);
    }
    Ok(())
}
