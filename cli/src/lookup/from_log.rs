//! What an agent was granted, from the whole log: where no denial shows it.

use std::collections::BTreeMap;

use chancery_client::{Checked, Ledger};
use chancery_ledger::authority::{Entry, agent_record};
use chancery_ledger::command::{Body, GrantId, Name};
use chancery_ledger::state::PrunedView;

use super::{Held, Holding};
use crate::exit::{Exit, Failure, Result};
use crate::ledger;

/// Every grant of `agent`, which `checked` shows to be registered.
pub(super) async fn grants(ledger: &Ledger, agent: &Name, checked: Checked) -> Result<Holding> {
    let invalid = |what: &str| Failure::new(Exit::Invalid, what);
    let registered = agent_record(&PrunedView::new(&checked.answer.tree), agent);
    let registered = registered.ok().flatten().ok_or_else(|| invalid("the proof does not show the agent"))?;
    let id = ledger.trust().ledger;
    let mut grants: Vec<Held> = Vec::new();
    // A revocation may come before what it revokes, and the first one counts.
    let mut revoked: BTreeMap<GrantId, (u64, u64)> = BTreeMap::new();
    let read = ledger.read_whole_log(&checked.verified.head, |index, entry| {
        let Entry::Command { time_ms, signed, .. } = entry else { return };
        let (terms, parent) = match &signed.command().body {
            Body::Grant { terms, .. } => (terms, None),
            Body::Delegate { parent, terms, .. } => (terms, Some(*parent)),
            Body::RevokeGrant { grant, .. } => {
                revoked.entry(*grant).or_insert((index, time_ms));
                return;
            }
            Body::RevokeAgent { agent: whose, .. } if whose == agent => return grants.clear(),
            _ => return,
        };
        if terms.agent == *agent {
            let id = GrantId::of(id, signed.command_bytes());
            grants.push(Held { id, terms: terms.clone(), parent, revoked: None });
        }
    });
    read.await.map_err(|error| ledger::whole_log_failure(&error))?;
    if grants.len() as u64 != u64::from(registered.grants) {
        return Err(invalid("the log has other grants of the agent than the state counts"));
    }
    for held in &mut grants {
        held.revoked = revoked.get(&held.id).copied();
    }
    let (owner, lineage) = (registered.owner.to_string(), registered.lineage.to_string());
    Ok(Holding { grants, owner, lineage, checked })
}
