//! What was proven, and by whom: the part that every checked answer's output shares.

use chancery_ledger::answer::{Verified, VerifiedPast};
use chancery_ledger::authority::Cause;
use chancery_ledger::command::HaltScope;
use chancery_ledger::decide::{Authority, Decision, Denial};
use chancery_ledger::evidence::Proven;
use chancery_ledger::head::{Freshness, Head, Roster, Voter, VoterSet};
use chancery_ledger::trust::Trust;
use serde_json::{Value, json};

use super::commands::because;
use super::{Page, style, utc};

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
        Denial::Ended { not_after_ms } => format!("the grant ended {}", utc(*not_after_ms)),
        Denial::NotBegun { not_before_ms } => format!("the grant begins {}", utc(*not_before_ms)),
        Denial::NoGrant => "none of the agent's grants allows it; all of them were shown".into(),
    }
}

/// The verdict and its proof as JSON, for `check`, `evidence` and `verify`.
pub(crate) fn verdict_json(trust: &Trust, verified: &Verified) -> Value {
    json!({
        "decision": decision_json(&verified.decision),
        "proof": proof_json(trust, &verified.head, &verified.freshness, &verified.nodes),
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
    })
}

/// The same of either.
pub(crate) fn proven_json(trust: &Trust, proven: &Proven) -> Value {
    match proven {
        Proven::Check(verified) => verdict_json(trust, verified),
        Proven::Past(past) => past_json(trust, past),
    }
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
        "verdict": "permit",
        "chain": chain,
        "generation": authority
            .generation
            .map(|generation| json!({ "number": generation.number, "id": generation.id.to_string() })),
        "max_staleness_ms": authority.max_staleness_ms,
        "not_after_ms": authority.not_after_ms,
    })
}

fn denial_json(denial: &Denial) -> Value {
    let mut value = json!({ "verdict": "denied", "code": denial.code(), "message": self::denial(denial) });
    if let (Some(fields), Denial::Halted { scope, reason, .. }) = (value.as_object_mut(), denial) {
        fields.insert("scope".into(), scope_json(scope));
        fields.insert("reason".into(), json!(reason));
    }
    let lineage = match denial {
        Denial::UnregisteredGeneration { lineage } => json!({ "lineage": lineage.as_str() }),
        Denial::SupersededGeneration { lineage, number, .. }
        | Denial::QuarantinedGeneration { lineage, number, .. } => {
            json!({ "lineage": lineage.as_str(), "number": number })
        }
        Denial::LineageConstraint { lineage, outside, .. } => {
            json!({ "lineage": lineage.as_str(), "outside": outside })
        }
        _ => json!({}),
    };
    if let (Some(fields), Value::Object(lineage)) = (value.as_object_mut(), lineage) {
        fields.extend(lineage);
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
