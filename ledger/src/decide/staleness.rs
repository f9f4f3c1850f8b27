//! How long what was permitted before a command may still be used after it.

use crate::authority::{GrantRecord, GrantRef, LedgerRecord, Place, View, ViewError, record, referred};
use crate::command::{Body, GrantId};

/// The greatest staleness, in milliseconds, of permits that `body` takes away: of the revoked grant itself, or the
/// ledger's cap for whatever else is taken away. None if it takes nothing away.
///
/// # Errors
/// The view cannot tell, or holds records that contradict one another.
pub fn staleness_after<V: View>(view: &V, body: &Body) -> Result<Option<u64>, ViewError<V::Error>> {
    match body {
        Body::Genesis(_)
        | Body::AddPrincipal(_)
        | Body::RegisterAgent { .. }
        | Body::Grant { .. }
        | Body::Delegate { .. }
        | Body::Resume { .. }
        | Body::Authorize(_)
        | Body::Outcome(_) => return Ok(None),
        // A permit by it, or by a delegation below it, is of no greater staleness: both only narrow, as lineages do.
        Body::RevokeGrant { grant, .. } => {
            if let Some(root) = record::<_, GrantId>(view, &Place::locator(*grant))? {
                let revoked: GrantRecord = referred(view, &Place::grant(GrantRef { grant: *grant, root }))?;
                return Ok(Some(revoked.terms.max_staleness_ms));
            }
        }
        _ => {}
    }
    let ledger: LedgerRecord = referred(view, &Place::ledger())?;
    Ok(Some(ledger.limits.staleness_cap_ms))
}
