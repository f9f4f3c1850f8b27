//! One command: what it would do now.

use std::collections::HashMap;

use super::dedup::{Dedup, DedupEntry};
use super::draft::{Draft, Effect, Stop};
use super::given::Given;
use super::records::{Cause, LedgerRecord, Place, PrincipalRecord};
use super::view::record;
use super::{Refusal, agents, decisions, grants, halts, lineages, principals, rosters};
use crate::command::{
    Body, COMMAND_LIFETIME_MS_MAX, Command, GrantId, PublicKey, RequestId, Role, SignedCommand,
    VerifiedSignatures,
};
use crate::state::Version;

/// Live entries, and those of the block so far.
pub(super) struct Pending<'a> {
    live: &'a Dedup,
    pub(super) entries: Vec<DedupEntry>,
    positions: HashMap<(PublicKey, RequestId), usize>,
    per_signer: HashMap<PublicKey, u32>,
}

impl<'a> Pending<'a> {
    pub(super) fn new(live: &'a Dedup) -> Self {
        Self { live, entries: Vec::new(), positions: HashMap::new(), per_signer: HashMap::new() }
    }

    fn get(&self, signed: &SignedCommand) -> Option<DedupEntry> {
        let key = signed.dedup_key();
        self.live.get(&key).or_else(|| self.entries.get(*self.positions.get(&key)?).copied())
    }

    fn count(&self, signer: &PublicKey) -> u32 {
        self.live.count(signer).saturating_add(self.per_signer.get(signer).copied().unwrap_or(0))
    }

    pub(super) fn push(&mut self, entry: DedupEntry) {
        self.positions.insert((entry.signer, entry.request_id), self.entries.len());
        // INVARIANT: a block has at most 4,096 commands.
        *self.per_signer.entry(entry.signer).or_default() += 1;
        self.entries.push(entry);
    }
}

/// What `signed` would do now.
pub(super) fn evaluate<V: Version>(
    draft: &Draft<'_, V>,
    ledger: &LedgerRecord,
    dedup: &Pending<'_>,
    batches: &VerifiedSignatures,
    given: &impl Given,
    cause: Cause,
) -> Result<Effect, Stop<V::Error>> {
    let (limits, signed) = (&ledger.limits, given.signed());
    if signed.signature_count() > limits.signatures_per_command_max as usize {
        return Err(Refusal::TooManySignatures(limits.signatures_per_command_max).into());
    }
    given.verify(draft.ledger, batches).map_err(Refusal::from)?;
    let command = signed.command();
    if let Some(first) = dedup.get(signed) {
        if first.command_hash != given.command_hash() {
            return Err(Refusal::RequestIdReused { index: first.index }.into());
        }
        let (index, block, time_ms) = (first.index, first.block, first.time_ms);
        return Ok(Effect::Before(Cause { index, block, time_ms, signer: first.signer }));
    }
    check_lifetime(command, cause.time_ms)?;
    if dedup.count(&command.signer) >= limits.dedup_entries_per_signer_max {
        return Err(Refusal::TooManyPending(limits.dedup_entries_per_signer_max).into());
    }
    let call = Call { draft, ledger, signed, command, cause };
    match &command.body {
        Body::Genesis(_) => Err(Refusal::NotGenesis.into()),
        Body::AddPrincipal(principal) => principals::add(&call, principal),
        Body::RemovePrincipal { key } => principals::remove(&call, *key),
        Body::RotatePrincipal { old_key, new_key } => principals::rotate(&call, *old_key, *new_key),
        Body::RegisterAgent { agent, owner, key, lineage } => {
            agents::register(&call, agent, owner, *key, lineage.as_ref())
        }
        Body::RetireAgent { agent } => agents::retire(&call, agent),
        Body::Grant { terms, schema } => grants::grant(&call, terms, schema.as_ref()),
        Body::Delegate { parent, terms, schema } => grants::delegate(&call, *parent, terms, schema.as_ref()),
        Body::RevokeGrant { grant, .. } => grants::revoke(&call, *grant),
        Body::RevokeAgent { agent, .. } => agents::revoke_all(&call, agent),
        Body::SetRules { rules_version } => principals::set_rules(&call, *rules_version),
        Body::SetRoster { voters, replaces, operators } => rosters::set(&call, voters, *replaces, operators),
        Body::Halt { scope, reason } => halts::halt(&call, scope, reason),
        Body::Resume { halt, halt_command } => halts::resume(&call, *halt, *halt_command),
        Body::SetLineage { lineage, policy, constraints, operators } => {
            lineages::set(&call, lineage, *policy, constraints, operators)
        }
        Body::RegisterGeneration(generation) => lineages::register(&call, generation),
        Body::ReleaseGeneration { lineage, generation, reviewers } => {
            lineages::release(&call, lineage, *generation, reviewers)
        }
        Body::RollbackLineage { lineage, number, generation } => {
            lineages::roll_back(&call, lineage, *number, *generation)
        }
        Body::Authorize(authorize) => decisions::authorize(&call, authorize),
        Body::Outcome(outcome) => decisions::record_outcome(&call, outcome),
    }
}

/// One command, and everything that it may look at.
pub(super) struct Call<'a, V> {
    pub(super) draft: &'a Draft<'a, V>,
    pub(super) ledger: &'a LedgerRecord,
    pub(super) signed: &'a SignedCommand,
    pub(super) command: &'a Command,
    pub(super) cause: Cause,
}

impl<V: Version> Call<'_, V> {
    /// The id of what it grants, if it grants.
    pub(super) fn grant(&self) -> GrantId {
        GrantId::of(self.draft.ledger, self.signed.command_bytes())
    }

    /// The signer, if it is an active principal with one of `roles`.
    pub(super) fn signer(&self, roles: &[Role]) -> Result<PrincipalRecord, Stop<V::Error>> {
        let key = self.command.signer;
        let principal: Option<PrincipalRecord> = record(self.draft, &Place::principal(key))?;
        let principal = principal.filter(|p| p.ended.is_none()).ok_or(Refusal::UnknownPrincipal(key))?;
        if principal.roles.iter().any(|role| roles.contains(role)) {
            Ok(principal)
        } else {
            Err(Refusal::WrongRole(roles.to_vec()).into())
        }
    }
}

fn check_lifetime(command: &Command, time_ms: u64) -> Result<(), Refusal> {
    let not_after_ms = command.not_after_ms;
    if not_after_ms < time_ms {
        return Err(Refusal::Expired { time_ms, not_after_ms });
    }
    if not_after_ms - time_ms > COMMAND_LIFETIME_MS_MAX {
        return Err(Refusal::TooFarAhead { time_ms });
    }
    Ok(())
}

pub(super) fn dedup_entry(given: &impl Given, cause: Cause) -> DedupEntry {
    let signed = given.signed();
    let (signer, request_id) = signed.dedup_key();
    DedupEntry {
        signer,
        request_id,
        command_hash: given.command_hash(),
        not_after_ms: signed.command().not_after_ms,
        index: cause.index,
        block: cause.block,
        time_ms: cause.time_ms,
    }
}
