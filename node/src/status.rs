//! What a node says of itself when an operator asks. It proves nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use chancery_ledger::command::roster_to_wire;
use chancery_ledger::head::Roster;
use chancery_proto::v1::api;
use openraft::RaftMetrics;

use crate::clock::ClockWatch;
use crate::membership::Progress;
use crate::network::Peers;
use crate::raft::Raft;
use crate::raft::types::{LogId, RaftNode, TypeConfig};
use crate::signer::Signer;
use crate::store::applied::AppliedStore;
use crate::store::snapshot::Snapshots;
use crate::store::{LogError, RaftLog};
use crate::tile_log::WitnessBook;
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
    /// Where the peers are.
    pub peers: Peers,
    /// How far they reach.
    pub snapshots: Snapshots,
    /// What the witnesses do that this node asks; nothing, if it asks none.
    pub witnesses: OnceLock<Arc<WitnessBook>>,
}

impl StatusReport {
    /// The status now.
    pub fn reply(&self) -> Result<api::StatusReply, LogError> {
        let (head, tail) =
            (self.store.read_state(|state| *state.head()), self.log.read_tail_with(|tail| *tail)?);
        let rosters = self.store.rosters();
        let (roster_id, roster) = rosters.newest();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let own = self.signer.voter();
        let not_signing = self.signer.ready().err();
        let not_signing_because = not_signing.as_ref().map(ToString::to_string).unwrap_or_default();
        let membership = metrics.membership_config.membership();
        let learners = membership.nodes().filter(|(node, _)| roster.voter(**node).is_none());
        let learner = |(node, at): (&u64, &RaftNode)| api::Learner {
            node: *node,
            name: at.name.clone(),
            address: at.address.clone(),
        };
        let index = |id: &Option<LogId>| id.as_ref().map(|id| id.index);
        Ok(api::StatusReply {
            node: own.node,
            name: own.name.to_string(),
            leader: metrics.current_leader.unwrap_or(0),
            term: metrics.current_term,
            head: head.encode().to_vec(),
            tail_block: tail.block,
            signing: not_signing.is_none(),
            not_signing_because,
            peers: self.peer_statuses(roster, &metrics),
            version: env!("CARGO_PKG_VERSION").into(),
            roster: Some(roster_to_wire(roster)),
            roster_block: roster_id.block,
            roster_digest: roster_id.digest.0.to_vec(),
            learners: learners.map(learner).collect(),
            log: Some(api::LogStatus {
                last_index: metrics.last_log_index,
                committed_index: index(&metrics.cluster_committed),
                applied_index: index(&metrics.last_applied),
                snapshot_index: self.snapshots.current().map(|current| current.manifest().log_id().index),
                snapshot_block: self.snapshots.current().map(|current| current.manifest().head().block),
                purged_index: index(&metrics.purged),
            }),
            witnesses: self.witnesses.get().map(|book| book.statuses()).unwrap_or_default(),
        })
    }

    /// Voters and learners, but this node.
    fn peer_statuses(&self, roster: &Roster, metrics: &RaftMetrics<TypeConfig>) -> Vec<api::PeerStatus> {
        let mut names: BTreeMap<u64, String> =
            roster.voters().map(|voter| (voter.node, voter.name.to_string())).collect();
        for (node, at) in metrics.membership_config.membership().nodes() {
            names.entry(*node).or_insert_with(|| at.name.clone());
        }
        names.remove(&self.signer.voter().node);
        let (offsets, heard) = (self.clocks.offsets(), self.clocks.last_heard());
        let lag = |node: u64| {
            let matched = metrics.replication.as_ref()?.get(&node)?.as_ref().map(|id| id.index);
            Some(Progress { matched_index: matched, last_index: metrics.last_log_index? }.lag_entries())
        };
        let peer = |(node, name)| {
            let offset = offsets.get(&node);
            api::PeerStatus {
                node,
                name,
                reachable: offset.is_some(),
                clock_offset_ms: offset.map_or(0, |offset| offset.offset_ms),
                clock_error_ms: offset.map_or(0, |offset| offset.error_ms),
                lag_entries: lag(node),
                address: self.peers.address(node).map(|address| address.to_string()).unwrap_or_default(),
                silent_ms: heard.get(&node).and_then(|since| u64::try_from(since.as_millis()).ok()),
            }
        };
        names.into_iter().map(peer).collect()
    }
}
