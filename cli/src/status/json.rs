//! The status for machines.

use chancery_client::{LearnerStatus, LogStatus, NodeStatus, PeerStatus, WitnessStatus};
use serde_json::{Value, json};

use super::survey::{Said, Survey};
use super::trouble::Trouble;
use crate::output::head_json;

/// What each endpoint said.
pub(super) fn nodes(survey: &Survey) -> Vec<Value> {
    let node = |(endpoint, said): &Said| match said {
        Ok(status) => node(endpoint, status),
        Err(failure) => json!({ "endpoint": endpoint, "error": failure.to_string() }),
    };
    survey.all.iter().map(node).collect()
}

fn node(endpoint: &str, node: &NodeStatus) -> Value {
    let peers: Vec<_> = node.peers.iter().map(peer).collect();
    let sets = node.roster.as_ref().map(|(id, roster)| crate::member::roster_json(*id, roster));
    json!({
        "endpoint": endpoint,
        "node": node.node,
        "name": node.name,
        "leader": node.leader,
        "term": node.term,
        "head": node.head.as_ref().map(head_json),
        "tail_block": node.tail_block,
        "silent_because": node.silent_because,
        "roster": sets,
        "learners": learners(&node.learners),
        "log": log(&node.log),
        "peers": peers,
        "version": node.version,
        "witnesses": node.witnesses.iter().map(witness).collect::<Vec<_>>(),
    })
}

fn peer(peer: &PeerStatus) -> Value {
    json!({
        "node": peer.node,
        "name": peer.name,
        "address": peer.address,
        "reachable": peer.reachable,
        "silent_ms": peer.silent_ms,
        "clock_offset_ms": peer.clock_offset_ms,
        "clock_error_ms": peer.clock_error_ms,
        "lag_entries": peer.lag_entries,
    })
}

fn witness(witness: &WitnessStatus) -> Value {
    json!({
        "name": witness.name,
        "size": witness.size,
        "cosigned_ms": witness.cosigned_ms,
        "error": witness.error,
    })
}

fn log(log: &LogStatus) -> Value {
    json!({
        "last_index": log.last_index,
        "committed_index": log.committed_index,
        "applied_index": log.applied_index,
        "snapshot_index": log.snapshot_index,
        "snapshot_block": log.snapshot_block,
        "purged_index": log.purged_index,
    })
}

/// Who replicates without a vote.
pub(super) fn learners(learners: &[LearnerStatus]) -> Vec<Value> {
    let learner = |learner: &LearnerStatus| json!({ "node": learner.node, "name": learner.name, "address": learner.address });
    learners.iter().map(learner).collect()
}

/// What is wrong.
pub(super) fn troubles(troubles: &[Trouble]) -> Vec<Value> {
    let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
    let trouble = |trouble: &Trouble| {
        json!({
            "code": trouble.code,
            "node": trouble.node,
            "message": plain(&trouble.message),
            "is_grave": trouble.is_grave,
        })
    };
    troubles.iter().map(trouble).collect()
}
