//! Halts, by one; and their end, by several.

use super::Refusal;
use super::draft::{Effect, Stop, Writes};
use super::evaluate::Call;
use super::principals::active_principal;
use super::records::{
    self, ActiveHalt, EVERYTHING_SIZE_BYTES_MAX, GrantRecord, GrantRef, HALTS_RECORD_SIZE_BYTES_MAX,
    HaltRecord, HaltsRecord, Place,
};
use super::view::{View, ViewError, record, referred};
use crate::command::{GrantId, HaltScope, Name, Role};
use crate::hash::Hash;
use crate::state::Version;

type Result<T, E> = std::result::Result<T, Stop<E>>;

pub(super) fn halt<V: Version>(
    call: &Call<'_, V>,
    scope: &HaltScope,
    reason: &str,
) -> Result<Effect, V::Error> {
    let signer = call.signer(&[Role::Halter])?;
    if !scope.is_within(&signer.scope, holder(call, scope)?.as_ref()) {
        return Err(Refusal::OutOfScope("halt").into());
    }
    let mut halts = halts_in_force(call.draft)?;
    // INVARIANT: a later leaf has a greater index.
    halts.active.push(ActiveHalt { index: call.cause.index, scope: scope.clone() });
    if !fits(&halts) {
        return Err(Refusal::TooManyHalts.into());
    }
    let halt = HaltRecord {
        scope: scope.clone(),
        reason: reason.into(),
        cause: call.cause,
        command: call.signed.command_hash(),
        resumed: Vec::new(),
        ended: None,
    };
    let mut writes = Writes::default();
    writes.put(&Place::halts(), &halts);
    writes.put(&Place::halt(call.cause.index), &halt);
    Ok(Effect::Writes(writes))
}

/// Counts the signer; ends the halt if it is the last who was needed. Who is no principal any more does not
/// count: a key that was taken away, or that took another's place, is no second voice.
pub(super) fn resume<V: Version>(call: &Call<'_, V>, index: u64, command: Hash) -> Result<Effect, V::Error> {
    let signer = call.signer(&[Role::Resumer])?;
    let place = Place::halt(index);
    let mut halt = halt_record(call.draft, index)?.ok_or(Refusal::UnknownHalt(index))?;
    if halt.command != command {
        return Err(Refusal::OtherHalt(index).into());
    }
    if !halt.scope.is_within(&signer.scope, holder(call, &halt.scope)?.as_ref()) {
        return Err(Refusal::OutOfScope("halt").into());
    }
    if let Some(first) = halt.resumed.iter().find(|cause| cause.signer == call.cause.signer) {
        return Ok(Effect::Before(*first));
    }
    if let Some(ended) = halt.ended {
        return Err(Refusal::HaltEnded(ended.index).into());
    }
    let mut resumed = Vec::with_capacity(halt.resumed.len().saturating_add(1));
    for earlier in halt.resumed {
        if active_principal(call.draft, earlier.signer)?.is_some() {
            resumed.push(earlier);
        }
    }
    resumed.push(call.cause);
    let mut writes = Writes::default();
    if resumed.len() >= call.ledger.limits.resumer_threshold as usize {
        halt.ended = Some(call.cause);
        let mut halts = halts_in_force(call.draft)?;
        halts.active.retain(|active| active.index != index);
        writes.put(&Place::halts(), &halts);
    }
    halt.resumed = resumed;
    writes.put(&place, &halt);
    Ok(Effect::Writes(writes))
}

/// Who holds the grant of a subtree.
fn holder<V: Version>(call: &Call<'_, V>, scope: &HaltScope) -> Result<Option<Name>, V::Error> {
    let HaltScope::Subtree(grant) = scope else { return Ok(None) };
    let root: GrantId = record(call.draft, &Place::locator(*grant))?.ok_or(Refusal::UnknownGrant(*grant))?;
    let held: GrantRecord = referred(call.draft, &Place::grant(GrantRef { grant: *grant, root }))?;
    Ok(Some(held.terms.agent))
}

/// The halts in force: every decision reads them.
pub fn halts_in_force<V: View>(view: &V) -> std::result::Result<HaltsRecord, ViewError<V::Error>> {
    referred(view, &Place::halts())
}

/// The halt of the leaf at `index`, in force or ended, if that leaf is one.
pub fn halt_record<V: View>(
    view: &V,
    index: u64,
) -> std::result::Result<Option<HaltRecord>, ViewError<V::Error>> {
    record(view, &Place::halt(index))
}

/// Whether the record keeps to its size, and leaves room for a halt of everything.
fn fits(halts: &HaltsRecord) -> bool {
    let size = |halts: &HaltsRecord| records::encode(&Place::halts(), halts).len();
    let mut others = halts.clone();
    others.active.retain(|halt| halt.scope != HaltScope::Everything);
    size(halts) <= HALTS_RECORD_SIZE_BYTES_MAX
        && size(&others) <= HALTS_RECORD_SIZE_BYTES_MAX - EVERYTHING_SIZE_BYTES_MAX
}
