//! Lineages: their constraints, and the generations that may act.

use super::Refusal;
use super::draft::{Effect, Stop, Writes};
use super::evaluate::Call;
use super::principals::active_principal;
use super::records::{GenerationRecord, GenerationRef, LineageRecord, Place, PrincipalRecord};
use super::view::{View, ViewError, record};
use crate::command::{Generation, GenerationId, LineageConstraints, LineagePolicy, Name, PublicKey, Role};
use crate::state::Version;

type Result<T, E> = std::result::Result<T, Stop<E>>;

/// Sets policy and constraints. To tighten takes one; to loosen, as many operators as the policy in force says.
pub(super) fn set<V: Version>(
    call: &Call<'_, V>,
    lineage: &Name,
    policy: LineagePolicy,
    constraints: &LineageConstraints,
    operators: &[PublicKey],
) -> Result<Effect, V::Error> {
    let signer = call.signer(&[Role::Operator, Role::Issuer])?;
    within(&signer, lineage)?;
    for key in operators {
        co_signer(call, *key, &[Role::Operator], lineage)?.ok_or(Refusal::UnknownOperator(*key))?;
    }
    if policy.threshold > call.ledger.limits.signatures_per_command_max {
        return Err(Refusal::ThresholdOutOfReach(call.ledger.limits.signatures_per_command_max).into());
    }
    let mut record = known(call, lineage)?;
    if (record.policy, &record.constraints) == (policy, constraints) {
        return Err(Refusal::LineageUnchanged.into());
    }
    let tightens = record.policy.is_kept_by(&policy) && record.constraints.is_kept_by(constraints);
    let signed = signatures(operators) - u32::from(!signer.roles.contains(&Role::Operator));
    let threshold = record.policy.threshold;
    if !tightens && signed < threshold {
        return Err(Refusal::TooFewOperators { signed, threshold }.into());
    }
    if record.in_service.len() > policy.in_service_max as usize {
        record.moved = Some(call.cause);
    }
    (record.policy, record.constraints, record.set) = (policy, constraints.clone(), Some(call.cause));
    record.keep_newest();
    let mut writes = Writes::default();
    writes.put(&Place::lineage(lineage), &record);
    Ok(Effect::Writes(writes))
}

pub(super) fn register<V: Version>(call: &Call<'_, V>, generation: &Generation) -> Result<Effect, V::Error> {
    let lineage = &generation.lineage;
    within(&call.signer(&[Role::Operator, Role::Issuer])?, lineage)?;
    let id = generation.id(call.draft.ledger);
    let place = Place::generation(lineage, id);
    if let Some(GenerationRecord { registered, .. }) = record(call.draft, &place)? {
        return Ok(Effect::Before(registered));
    }
    let mut known = known(call, lineage)?;
    match generation.parent {
        Some(parent) => {
            registered(call, lineage, parent)?;
        }
        None if known.count > 0 => return Err(Refusal::ParentNeeded.into()),
        None => {}
    }
    known.count = known.count.saturating_add(1);
    let number = known.count;
    let released = (!known.policy.quarantine).then_some(call.cause);
    if released.is_some() {
        known.enter(GenerationRef { number, id }, call.cause);
    }
    let Generation { parent, digests, .. } = *generation;
    let mut writes = Writes::default();
    writes.put(&place, &GenerationRecord { number, parent, digests, registered: call.cause, released });
    writes.put(&Place::lineage(lineage), &known);
    Ok(Effect::Writes(writes))
}

/// Ends the quarantine of a generation, or brings one back. By as many reviewers or operators as the policy says.
pub(super) fn release<V: Version>(
    call: &Call<'_, V>,
    lineage: &Name,
    id: GenerationId,
    reviewers: &[PublicKey],
) -> Result<Effect, V::Error> {
    const ROLES: [Role; 2] = [Role::Operator, Role::Reviewer];
    within(&call.signer(&ROLES)?, lineage)?;
    for key in reviewers {
        co_signer(call, *key, &ROLES, lineage)?.ok_or(Refusal::UnknownReviewer(*key))?;
    }
    let mut generation = registered(call, lineage, id)?;
    let mut known = known(call, lineage)?;
    let (signed, threshold) = (signatures(reviewers), known.policy.threshold);
    if signed < threshold {
        return Err(Refusal::TooFewReviewers { signed, threshold }.into());
    }
    let number = generation.number;
    let full = known.in_service.len() >= known.policy.in_service_max as usize;
    if known.in_service.iter().any(|other| other.id == id) {
        return Err(Refusal::InService(number).into());
    }
    if full && known.in_service.iter().all(|other| other.number > number) {
        return Err(Refusal::Superseded(number).into());
    }
    known.enter(GenerationRef { number, id }, call.cause);
    generation.released = Some(call.cause);
    let mut writes = Writes::default();
    writes.put(&Place::generation(lineage, id), &generation);
    writes.put(&Place::lineage(lineage), &known);
    Ok(Effect::Writes(writes))
}

/// Back to a generation that was released once: it is the newest in service from then on.
pub(super) fn roll_back<V: Version>(
    call: &Call<'_, V>,
    lineage: &Name,
    number: u64,
    id: GenerationId,
) -> Result<Effect, V::Error> {
    within(&call.signer(&[Role::Operator, Role::Issuer])?, lineage)?;
    let generation = registered(call, lineage, id)?;
    if generation.number != number {
        return Err(Refusal::OtherGeneration(number).into());
    }
    if generation.released.is_none() {
        return Err(Refusal::NotReleased(number).into());
    }
    let mut known = known(call, lineage)?;
    if known.in_service.last().is_some_and(|newest| newest.number <= number) {
        return Err(Refusal::NotOlder(number).into());
    }
    known.in_service.retain(|other| other.number < number);
    known.enter(GenerationRef { number, id }, call.cause);
    let mut writes = Writes::default();
    writes.put(&Place::lineage(lineage), &known);
    Ok(Effect::Writes(writes))
}

/// What was said of a lineage, if anything was.
pub fn lineage_record<V: View>(
    view: &V,
    lineage: &Name,
) -> std::result::Result<Option<LineageRecord>, ViewError<V::Error>> {
    record(view, &Place::lineage(lineage))
}

/// The lineage's record; of one that has none, what holds until something is said of it.
fn known<V: Version>(call: &Call<'_, V>, lineage: &Name) -> Result<LineageRecord, V::Error> {
    let threshold = call.ledger.limits.operator_threshold;
    Ok(record(call.draft, &Place::lineage(lineage))?.unwrap_or_else(|| LineageRecord::new(threshold)))
}

fn registered<V: Version>(
    call: &Call<'_, V>,
    lineage: &Name,
    id: GenerationId,
) -> Result<GenerationRecord, V::Error> {
    Ok(record(call.draft, &Place::generation(lineage, id))?.ok_or(Refusal::UnknownGeneration(id))?)
}

/// The active principal with that key, one of these roles, and the lineage in its scope.
fn co_signer<V: Version>(
    call: &Call<'_, V>,
    key: PublicKey,
    roles: &[Role],
    lineage: &Name,
) -> Result<Option<PrincipalRecord>, V::Error> {
    let principal = active_principal(call.draft, key)?;
    let may = |principal: &PrincipalRecord| principal.roles.iter().any(|role| roles.contains(role));
    let Some(principal) = principal.filter(may) else { return Ok(None) };
    within(&principal, lineage)?;
    Ok(Some(principal))
}

fn within(principal: &PrincipalRecord, lineage: &Name) -> std::result::Result<(), Refusal> {
    let covered = principal.scope.agents.matches(lineage);
    if covered { Ok(()) } else { Err(Refusal::OutOfScope("lineage")) }
}

/// Who signs: the signer, and these.
fn signatures(others: &[PublicKey]) -> u32 {
    // INVARIANT: a command has at most 64 signatures.
    u32::try_from(others.len()).unwrap_or(u32::MAX).saturating_add(1)
}
