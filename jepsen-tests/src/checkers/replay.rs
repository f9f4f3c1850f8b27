//! Every check's result, from the log up to the block that it was decided from. What halts have to do with it is for
//! [`halts`](super::halts) to say.

use chancery_ledger::command::{Body, Name, Patterns, Terms};

use super::authority::{Authority, Granted, Question, Scope};
use super::{Finding, Leaf, Leaves, Verdict};
use crate::history::{Call, Operation, Outcome};

/// The checker's name.
pub const NAME: &str = "replay";

/// Replays the log through a plain model of authority, and demands of each check that a permit is one, by the
/// chain that it names, and a denial is none.
pub fn check(operations: &[Operation], leaves: &Leaves) -> Finding {
    let mut checks: Vec<(u64, &Operation)> = operations
        .iter()
        .filter_map(|one| match one.outcome {
            Outcome::Permitted { block, .. } | Outcome::Denied { block, .. } => Some((block, one)),
            _ => None,
        })
        .collect();
    checks.sort_by_key(|(block, _)| *block);
    Finding::of(NAME, checks.len(), judge(&checks, leaves))
}

fn judge(checks: &[(u64, &Operation)], leaves: &Leaves) -> Result<(), Verdict> {
    let mut authority = Authority::default();
    let mut log = leaves.commands().iter().peekable();
    for (block, check) in checks {
        while let Some(leaf) = log.next_if(|leaf| leaf.block <= *block) {
            apply(&mut authority, leaves, leaf);
        }
        judge_one(&authority, *block, check)?;
    }
    Ok(())
}

fn judge_one(authority: &Authority, block: u64, check: &Operation) -> Result<(), Verdict> {
    let wrong = |what: String| Err(Verdict::violation(NAME, what, &[check.id]));
    let Call::Check { agent, action, resource } = &check.call else {
        return wrong("a command with the outcome of a check".into());
    };
    let asked = Question { agent, action, resource };
    match &check.outcome {
        Outcome::Denied { halt: Some(_), .. } => {}
        Outcome::Permitted { chain, .. } => {
            let leaf = chain.first().map_or("", String::as_str);
            if authority.chain(leaf, asked).as_ref() != Some(chain) {
                return wrong(format!("permitted at block {block}, where the log gives no such authority"));
            }
        }
        Outcome::Denied { reason, .. } => {
            if !authority.chains(asked).is_empty() {
                return wrong(format!("denied at block {block} ({reason}), where the log permits it"));
            }
            if (reason == "unknown_agent") == authority.is_registered(agent) {
                return wrong(format!("denied at block {block} for {reason}, which the log contradicts"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// What the leaf does to authority.
pub(super) fn apply(authority: &mut Authority, leaves: &Leaves, leaf: &Leaf) {
    let texts = |patterns: &Patterns| patterns.iter().map(|one| one.as_str().to_owned()).collect();
    let granted = |terms: &Terms, parent: Option<String>| Granted {
        agent: terms.agent.to_string(),
        actions: texts(&terms.actions),
        resources: texts(&terms.resources),
        parent,
        not_after_ms: terms.not_after_ms,
        max_staleness_ms: terms.max_staleness_ms,
        bounded: !terms.bounds.is_empty(),
    };
    match &leaf.signed.command().body {
        Body::Genesis(genesis) => {
            let threshold = usize::try_from(genesis.limits.resumer_threshold);
            authority.found(threshold.unwrap_or(usize::MAX));
        }
        Body::RegisterAgent { agent, lineage, .. } => {
            authority.register(agent.as_str(), lineage.as_ref().map(Name::as_str));
        }
        Body::RetireAgent { agent } => authority.retire(agent.as_str()),
        Body::Grant { terms, .. } => authority.grant(leaves.grant_id(leaf), granted(terms, None)),
        Body::Delegate { parent, terms, .. } => {
            authority.grant(leaves.grant_id(leaf), granted(terms, Some(parent.to_string())));
        }
        Body::RevokeGrant { grant, .. } => authority.revoke(&grant.to_string()),
        Body::RevokeAgent { agent, .. } => authority.revoke_all(agent.as_str()),
        Body::Halt { scope, .. } => {
            let scope = Scope { kind: scope.kind().into(), subject: scope.subject() };
            authority.halt(leaf.index, scope);
        }
        Body::Resume { halt, .. } => authority.resume(*halt, leaf.signed.command().signer.to_string()),
        _ => {}
    }
}
