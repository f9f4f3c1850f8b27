//! Principals, and the ledger's own record.

use super::draft::{Draft, Effect, Stop, Writes};
use super::evaluate::Call;
use super::records::{Cause, HaltsRecord, LedgerRecord, Place, PrincipalRecord};
use super::view::{ViewError, record};
use super::{RULES_VERSION, Refusal, rosters};
use crate::command::{Genesis, Principal, PublicKey, Role, Scope};
use crate::state::Version;

type Result<T, E> = std::result::Result<T, Stop<E>>;

/// Writes what genesis founds.
pub(super) fn found<V: Version>(
    draft: &mut Draft<'_, V>,
    genesis: &Genesis,
    cause: Cause,
) -> std::result::Result<(), ViewError<V::Error>> {
    let mut operators = 0;
    for principal in &genesis.principals {
        operators += u32::from(principal.roles.contains(&Role::Operator));
        draft.put(&Place::principal(principal.key), &admitted(principal, cause));
    }
    let ledger = LedgerRecord {
        origin: genesis.origin.clone(),
        limits: genesis.limits,
        rules_version: genesis.rules_version,
        roster: genesis.roster.clone(),
        operators,
        roster_blocks: 0,
    };
    draft.put(&Place::ledger(), &ledger);
    draft.put(&Place::halts(), &HaltsRecord::default());
    rosters::found(draft, &genesis.roster, cause);
    Ok(())
}

pub(super) fn add<V: Version>(call: &Call<'_, V>, principal: &Principal) -> Result<Effect, V::Error> {
    let signer = call.signer(&[Role::Operator])?;
    within(&signer.scope, &principal.scope)?;
    let place = Place::principal(principal.key);
    if record::<_, PrincipalRecord>(call.draft, &place)?.is_some() {
        return Err(Refusal::PrincipalExists(principal.key).into());
    }
    let mut writes = Writes::default();
    writes.put(&place, &admitted(principal, call.cause));
    if principal.roles.contains(&Role::Operator) {
        count_operators(call, &mut writes, |count| count.checked_add(1))?;
    }
    Ok(Effect::Writes(writes))
}

pub(super) fn remove<V: Version>(call: &Call<'_, V>, key: PublicKey) -> Result<Effect, V::Error> {
    let signer = call.signer(&[Role::Operator])?;
    let mut principal = active(call, key)?;
    within(&signer.scope, &principal.scope)?;
    let mut writes = Writes::default();
    if principal.roles.contains(&Role::Operator) {
        count_operators(call, &mut writes, |count| count.checked_sub(1))?;
    }
    principal.ended = Some(call.cause);
    writes.put(&Place::principal(key), &principal);
    Ok(Effect::Writes(writes))
}

pub(super) fn rotate<V: Version>(
    call: &Call<'_, V>,
    old: PublicKey,
    new: PublicKey,
) -> Result<Effect, V::Error> {
    let mut principal = active(call, old)?;
    if call.command.signer != old {
        let signer = call.signer(&[Role::Operator])?;
        within(&signer.scope, &principal.scope)?;
    }
    if record::<_, PrincipalRecord>(call.draft, &Place::principal(new))?.is_some() {
        return Err(Refusal::PrincipalExists(new).into());
    }
    let successor = PrincipalRecord { added: call.cause, ..principal.clone() };
    principal.ended = Some(call.cause);
    principal.successor = Some(new);
    let mut writes = Writes::default();
    writes.put(&Place::principal(old), &principal);
    writes.put(&Place::principal(new), &successor);
    Ok(Effect::Writes(writes))
}

pub(super) fn set_rules<V: Version>(call: &Call<'_, V>, rules_version: u32) -> Result<Effect, V::Error> {
    call.signer(&[Role::Operator])?;
    // There is one version. A second one comes with the nodes' advertisement of what they know.
    Err(if rules_version == RULES_VERSION {
        Refusal::RulesInForce(rules_version).into()
    } else {
        Refusal::RulesNotAdvertised(rules_version).into()
    })
}

fn admitted(principal: &Principal, cause: Cause) -> PrincipalRecord {
    PrincipalRecord {
        name: principal.name.clone(),
        roles: principal.roles.clone(),
        scope: principal.scope.clone(),
        added: cause,
        ended: None,
        successor: None,
    }
}

fn active<V: Version>(call: &Call<'_, V>, key: PublicKey) -> Result<PrincipalRecord, V::Error> {
    let principal: Option<PrincipalRecord> = record(call.draft, &Place::principal(key))?;
    Ok(principal.filter(|p| p.ended.is_none()).ok_or(Refusal::UnknownPrincipal(key))?)
}

/// An operator can neither give nor take what its own scope does not have.
fn within(signer: &Scope, other: &Scope) -> std::result::Result<(), Refusal> {
    let covered = signer.agents.covers(&other.agents)
        && signer.actions.covers(&other.actions)
        && signer.resources.covers(&other.resources);
    if covered { Ok(()) } else { Err(Refusal::OutOfScope("the principal's scope")) }
}

fn count_operators<V: Version>(
    call: &Call<'_, V>,
    writes: &mut Writes,
    change: impl FnOnce(u32) -> Option<u32>,
) -> Result<(), V::Error> {
    // The block may have changed the record already: read it, do not take the call's copy.
    let mut ledger: LedgerRecord = super::referred(call.draft, &Place::ledger())?;
    let threshold = ledger.limits.operator_threshold;
    let operators = change(ledger.operators).filter(|operators| *operators >= threshold);
    ledger.operators = operators.ok_or(Refusal::OperatorsNeeded(threshold))?;
    writes.put(&Place::ledger(), &ledger);
    Ok(())
}

/// The active principal that signs with `key`, if there is one: what a node asks about who connects.
pub fn active_principal<V: super::View>(
    view: &V,
    key: PublicKey,
) -> std::result::Result<Option<PrincipalRecord>, ViewError<V::Error>> {
    let principal: Option<PrincipalRecord> = record(view, &Place::principal(key))?;
    Ok(principal.filter(|principal| principal.ended.is_none()))
}

impl PrincipalRecord {
    /// Whether it may ask about `agent`: as a gate, or because it may command about it.
    pub fn may_check(&self, agent: &crate::command::Name) -> bool {
        self.scope.agents.matches(agent)
    }
}

/// The ledger's own record: its limits, rules and roster.
pub fn ledger_record<V: super::View>(view: &V) -> std::result::Result<LedgerRecord, ViewError<V::Error>> {
    super::referred(view, &Place::ledger())
}
