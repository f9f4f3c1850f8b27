//! What was proven, and by whom: the part that every checked answer's output shares.

use chancery_ledger::answer::{Recorded, Verified, VerifiedPast};
use chancery_ledger::authority::{Allowance, BoundTaken, Cause, Decided, GenerationRef, Verdict};
use chancery_ledger::command::HaltScope;
use chancery_ledger::condition::LANGUAGE_VERSION;
use chancery_ledger::decide::{Authority, Decision, Denial};
use chancery_ledger::evidence::Proven;
use chancery_ledger::head::{Freshness, Head, Roster, Voter, VoterSet};
use chancery_ledger::trust::Trust;
use serde_json::{Value, json};

use super::commands::because;
use super::{Page, style, utc};
use crate::limits::{bound_words, duration_words};

/// The names of `nodes` as the rosters that are proven have them: a node keeps its name for ever.
pub(crate) fn node_names(trust: &Trust, nodes: &[u64]) -> Vec<String> {
    let name = |node: &u64| {
        voter(trust, *node).map_or_else(|| format!("node {node}"), |voter| voter.name.to_string())
    };
    nodes.iter().map(name).collect()
}

/// A voter of any roster that is proven.
fn voter(trust: &Trust, node: u64) -> Option<&Voter> {
    let rosters = trust.roster_chain().links.iter().map(|link| &link.roster);
    std::iter::once(&trust.genesis).chain(rosters).find_map(|roster| roster.voter(node))
}

/// Whose signatures suffice: `any 2 of 3 suffice`; of both halves while the voters change.
pub(crate) fn quorums(roster: &Roster) -> String {
    let quorum = |set: &VoterSet| format!("any {} of {}", set.quorum(), set.voters().len());
    let quorums: Vec<_> = roster.sets().iter().map(quorum).collect();
    format!("{} suffice", quorums.join(", with "))
}

/// Who signed which state, and when: the fields below a verdict.
pub(crate) fn proof(page: Page, trust: &Trust, verified: &Verified) -> Page {
    let head = &verified.head;
    let page = signers(page, trust, head, &verified.nodes)
        .field("from state", format!("block {}, {}", head.block, utc(head.time_ms)))
        .field("", style::dim(&format!("root {}, log of {} leaves", short(&head.state_root), head.log_size)));
    clocks(page, &verified.freshness)
}

/// The same of a verdict about the past.
pub(crate) fn past_proof(page: Page, trust: &Trust, past: &VerifiedPast) -> Page {
    let head = &past.head;
    let page = page
        .field("from state", format!("block {}, {}", past.block, utc(past.block_time_ms)))
        .field("", style::dim(&format!("root {}", short(&past.state_root))))
        .field("decided for", utc(past.time_ms));
    let page = signers(page, trust, head, &past.nodes)
        .field("in the log of", format!("block {}, {}", head.block, utc(head.time_ms)));
    clocks(page, &past.freshness)
}

/// The fields of either.
pub(crate) fn proven(page: Page, trust: &Trust, proven: &Proven) -> Page {
    match proven {
        Proven::Check(verified) => proof(page, trust, verified),
        Proven::Past(past) => past_proof(page, trust, past),
    }
}

fn signers(page: Page, trust: &Trust, head: &Head, nodes: &[u64]) -> Page {
    let names: Vec<_> = node_names(trust, nodes).iter().map(|name| style::name(name)).collect();
    let roster = trust.roster(head.roster).unwrap_or(&trust.genesis);
    page.field("proven by", format!("{} ({})", names.join(", "), quorums(roster)))
}

fn clocks(page: Page, fresh: &Freshness) -> Page {
    page.field("clocks", format!("{} to {}", utc(fresh.clock_min_ms), utc(fresh.clock_max_ms)))
        .field("decided", "here, over the proof alone; no node's verdict was taken")
}

/// A hash, short enough to read.
pub(crate) fn short(hash: &impl ToString) -> String {
    let mut text = hash.to_string();
    text.truncate(16);
    format!("{text}…")
}

/// Why not, in one line.
pub(crate) fn denial(denial: &Denial) -> String {
    let by = |cause: &Cause| format!("at index {}, {}", cause.index, utc(cause.time_ms));
    match denial {
        Denial::Halted { scope, reason, cause } => {
            format!("{scope} was halted {}{}", by(cause), because(reason))
        }
        Denial::UnregisteredGeneration { lineage } => {
            format!("what it runs as is no generation of lineage {lineage}")
        }
        Denial::SupersededGeneration { lineage, number, cause } => {
            format!("generation {number} of lineage {lineage} was superseded {}", by(cause))
        }
        Denial::QuarantinedGeneration { lineage, number, cause } => {
            format!(
                "generation {number} of lineage {lineage} was registered {} and is not released",
                by(cause)
            )
        }
        Denial::LineageConstraint { lineage, outside, cause } => {
            format!("the {outside} is outside what lineage {lineage} keeps to, as set {}", by(cause))
        }
        Denial::UnknownAgent => "no agent of that name was ever registered".into(),
        Denial::Retired { agent, cause } => format!("agent {agent} was retired {}", by(cause)),
        Denial::Revoked { grant, cause } => {
            format!("grant {} was revoked {}", short(&grant.grant), by(cause))
        }
        Denial::AllRevoked { agent, cause } => {
            format!("everything that {agent} held was revoked {}", by(cause))
        }
        Denial::BoundExhausted { grant, name, limit, used, wanted: Some(wanted) } => format!(
            "bound {name} of grant {} has {} of {limit} left, and the request takes {wanted}",
            short(&grant.grant),
            limit.saturating_sub(*used)
        ),
        Denial::BoundExhausted { grant, name, wanted: None, .. } => format!(
            "bound {name} of grant {} adds up an argument that is not shown, or is no whole number of at least 0",
            short(&grant.grant)
        ),
        Denial::KnowledgeMissing { grant, template, source, max_age_ms, retrieved_at_ms } => {
            let required = format!("grant {} requires knowledge of {template}", short(&grant.grant));
            let age = duration_words(*max_age_ms);
            match (source, retrieved_at_ms) {
                (None, _) => format!("{required}, and the arguments that are shown name no such source"),
                (Some(source), None) => format!("{required}, and nothing of {source} is shown"),
                (Some(source), Some(time_ms)) => format!(
                    "{required} not older than {age}, and what is shown of {source} was retrieved {}",
                    utc(*time_ms)
                ),
            }
        }
        Denial::Ended { not_after_ms } => format!("the grant ended {}", utc(*not_after_ms)),
        Denial::NotBegun { not_before_ms } => format!("the grant begins {}", utc(*not_before_ms)),
        Denial::ConditionFailed { grant, reason } => {
            format!("the condition of grant {} does not hold: {reason}", short(&grant.grant))
        }
        Denial::NoGrant => "none of the agent's grants allows it; all of them were shown".into(),
    }
}

/// The verdict and its proof as JSON, for `check`, `evidence` and `verify`.
pub(crate) fn verdict_json(trust: &Trust, verified: &Verified) -> Value {
    json!({
        "decision": decision_json(&verified.decision),
        "proof": proof_json(trust, &verified.head, &verified.freshness, &verified.nodes),
        "recorded": counted_json(verified.recorded),
    })
}

/// The same of the past.
pub(crate) fn past_json(trust: &Trust, past: &VerifiedPast) -> Value {
    json!({
        "decision": decision_json(&past.decision),
        "proof": proof_json(trust, &past.head, &past.freshness, &past.nodes),
        "state": {
            "block": past.block,
            "block_time_ms": past.block_time_ms,
            "state_root": past.state_root.to_string(),
            "time_ms": past.time_ms,
        },
        "recorded": counted_json(past.recorded),
    })
}

/// The same of either.
pub(crate) fn proven_json(trust: &Trust, proven: &Proven) -> Value {
    match proven {
        Proven::Check(verified) => verdict_json(trust, verified),
        Proven::Past(past) => past_json(trust, past),
    }
}

fn generation_json(generation: Option<&GenerationRef>) -> Value {
    json!(
        generation.map(|generation| json!({ "number": generation.number, "id": generation.id.to_string() }))
    )
}

fn counted_json(recorded: Option<Recorded>) -> Value {
    json!(recorded.map(|recorded| json!({ "decisions": recorded.decisions, "permits": recorded.permits })))
}

fn decision_json(decision: &Decision) -> Value {
    match decision {
        Decision::Permit(authority) => permit_json(authority),
        Decision::Denied(denial) => denial_json(denial),
    }
}

fn proof_json(trust: &Trust, head: &Head, freshness: &Freshness, nodes: &[u64]) -> Value {
    json!({
        "nodes": node_names(trust, nodes),
        "clock_min_ms": freshness.clock_min_ms,
        "clock_max_ms": freshness.clock_max_ms,
        "head": head_json(head),
    })
}

fn permit_json(authority: &Authority) -> Value {
    let chain: Vec<_> = authority.chain.iter().map(|link| link.grant.to_string()).collect();
    json!({
        "verdict": if authority.bounds.is_empty() { "permit" } else { "must_be_recorded" },
        "chain": chain,
        "generation": generation_json(authority.generation.as_ref()),
        "max_staleness_ms": authority.max_staleness_ms,
        "not_after_ms": authority.not_after_ms,
        "bounds": authority.bounds.iter().map(allowance_json).collect::<Vec<_>>(),
    })
}

fn allowance_json(allowance: &Allowance) -> Value {
    json!({
        "grant": allowance.grant.grant.to_string(),
        "name": allowance.bound.name.as_str(),
        "bound": bound_words(&allowance.bound),
        "limit": allowance.bound.limit,
        "used": allowance.used,
        "left": allowance.left(),
        "wanted": allowance.wanted,
    })
}

/// What is left of each bound, a line each.
pub(crate) fn allowances(bounds: &[Allowance]) -> String {
    let line = |allowance: &Allowance| {
        let (left, limit) = (allowance.left(), allowance.bound.limit);
        let own = bound_words(&allowance.bound);
        format!("{left} of {limit}  {}", style::dim(&format!("{own} in {}", short(&allowance.grant.grant))))
    };
    bounds.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is left of each bound after a recorded permit, a line each.
pub(crate) fn taken(bounds: &[BoundTaken]) -> String {
    let line = |taken: &BoundTaken| {
        let words = format!("{} in {}, {} taken", taken.name, short(&taken.grant.grant), taken.taken);
        format!("{} of {}  {}", taken.left(), taken.limit, style::dim(&words))
    };
    bounds.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn taken_json(taken: &BoundTaken) -> Value {
    json!({
        "grant": taken.grant.grant.to_string(),
        "name": taken.name.as_str(),
        "limit": taken.limit,
        "used": taken.used,
        "taken": taken.taken,
        "left": taken.left(),
    })
}

/// A recorded verdict in one line.
pub(crate) fn verdict(verdict: &Verdict) -> String {
    match &verdict.decided {
        Decided::Permit { deadline_ms, .. } => {
            format!("{} until {}, decision {}", style::good("permit"), utc(*deadline_ms), verdict.number)
        }
        Decided::Denied(denial) => {
            format!("{}: {}, decision {}", style::bad("denied"), self::denial(denial), verdict.number)
        }
    }
}

/// A recorded verdict as JSON.
pub(crate) fn recorded_json(verdict: &Verdict) -> Value {
    let mut value = match &verdict.decided {
        Decided::Permit { chain, generation, deadline_ms, bounds } => {
            let chain: Vec<_> = chain.iter().map(|link| link.grant.to_string()).collect();
            json!({
                "verdict": "permit",
                "chain": chain,
                "generation": generation_json(generation.as_ref()),
                "deadline_ms": deadline_ms,
                "bounds": bounds.iter().map(taken_json).collect::<Vec<_>>(),
            })
        }
        Decided::Denied(denial) => denial_json(denial),
    };
    if let Some(fields) = value.as_object_mut() {
        fields.insert("number".into(), json!(verdict.number));
    }
    value
}

/// Why not, as JSON.
pub(crate) fn denial_json(denial: &Denial) -> Value {
    let mut value = json!({ "verdict": "denied", "code": denial.code(), "message": self::denial(denial) });
    if let (Some(fields), Some(more)) = (value.as_object_mut(), demanded_json(denial)) {
        fields.extend(more);
    }
    if let (Some(fields), Some(cause)) = (value.as_object_mut(), denial.cause()) {
        fields.insert(
            "cause".into(),
            json!({
                "index": cause.index,
                "block": cause.block,
                "time_ms": cause.time_ms,
                "signer": cause.signer.to_string(),
            }),
        );
    }
    value
}

/// What is halted, as JSON.
pub(crate) fn scope_json(scope: &HaltScope) -> Value {
    json!({ "kind": scope.kind(), "subject": scope.subject() })
}

/// What a denial says besides its code and its cause.
fn demanded_json(denial: &Denial) -> Option<serde_json::Map<String, Value>> {
    let facts = match denial {
        Denial::BoundExhausted { grant, name, limit, used, wanted } => json!({
            "grant": grant.grant.to_string(),
            "bound": name.as_str(),
            "limit": limit,
            "used": used,
            "wanted": wanted,
        }),
        Denial::KnowledgeMissing { grant, template, source, max_age_ms, retrieved_at_ms } => json!({
            "grant": grant.grant.to_string(),
            "template": template.as_str(),
            "source": source.as_ref().map(ToString::to_string),
            "max_age_ms": max_age_ms,
            "retrieved_at_ms": retrieved_at_ms,
        }),
        Denial::ConditionFailed { grant, reason } => json!({
            "grant": grant.grant.to_string(),
            "reason": reason.code(),
            "policies": reason.policies(),
            "language": LANGUAGE_VERSION,
        }),
        Denial::Halted { scope, reason, .. } => json!({ "scope": scope_json(scope), "reason": reason }),
        Denial::UnregisteredGeneration { lineage } => json!({ "lineage": lineage.as_str() }),
        Denial::SupersededGeneration { lineage, number, .. }
        | Denial::QuarantinedGeneration { lineage, number, .. } => {
            json!({ "lineage": lineage.as_str(), "generation_number": number })
        }
        Denial::LineageConstraint { lineage, outside, .. } => {
            json!({ "lineage": lineage.as_str(), "outside": outside })
        }
        _ => return None,
    };
    facts.as_object().cloned()
}

/// A head as JSON.
pub(crate) fn head_json(head: &Head) -> Value {
    json!({
        "ledger": head.ledger.to_string(),
        "block": head.block,
        "time_ms": head.time_ms,
        "log_size": head.log_size,
        "log_root": head.log_root.to_string(),
        "state_root": head.state_root.to_string(),
        "roster": head.roster.to_string(),
        "rules_version": head.rules_version,
    })
}
