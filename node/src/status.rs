//! What a node says of itself when an operator asks. It proves nothing.

use std::sync::Arc;

use chancery_ledger::head::Roster;
use chancery_proto::v1::api;

use crate::clock::ClockWatch;
use crate::raft::Raft;
use crate::signer::Signer;
use crate::store::applied::AppliedStore;
use crate::store::{LogError, RaftLog};
use openraft::async_runtime::WatchReceiver as _;

/// Gathers a node's status.
pub struct StatusReport {
    /// Who leads, and who lags.
    pub raft: Raft,
    /// Where the log ends.
    pub log: RaftLog,
    /// The newest head.
    pub store: AppliedStore,
    /// Whether the node signs.
    pub signer: Arc<Signer>,
    /// The peers' clocks.
    pub clocks: Arc<ClockWatch>,
    /// The voters.
    pub roster: Roster,
}

impl StatusReport {
    /// The status now.
    pub fn reply(&self) -> Result<api::StatusReply, LogError> {
        let head = self.store.read_state(|state| *state.head());
        let tail = self.log.read_tail_with(|tail| *tail)?;
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let offsets = self.clocks.offsets();
        let not_signing = self.signer.ready().err();
        let lag = |node: u64| {
            let matched = metrics.replication.as_ref()?.get(&node)?.as_ref().map_or(0, |id| id.index);
            Some(metrics.last_log_index?.saturating_sub(matched))
        };
        let own = self.signer.voter();
        let peer = |voter: &chancery_ledger::head::Voter| {
            let offset = offsets.get(&voter.node);
            api::PeerStatus {
                node: voter.node,
                name: voter.name.to_string(),
                reachable: offset.is_some(),
                clock_offset_ms: offset.map_or(0, |offset| offset.offset_ms),
                clock_error_ms: offset.map_or(0, |offset| offset.error_ms),
                lag_entries: lag(voter.node),
                ..api::PeerStatus::default()
            }
        };
        Ok(api::StatusReply {
            node: own.node,
            name: own.name.to_string(),
            leader: metrics.current_leader.unwrap_or(0),
            term: metrics.current_term,
            head: head.encode().to_vec(),
            tail_block: tail.block,
            signing: not_signing.is_none(),
            not_signing_because: not_signing.map(|error| error.to_string()).unwrap_or_default(),
            peers: self.roster.voters().filter(|voter| voter.node != own.node).map(peer).collect(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..api::StatusReply::default()
        })
    }
}
