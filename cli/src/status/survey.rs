//! What all nodes said, put together. Where they differ, the leader of the newest term knows best.

use std::collections::BTreeMap;

use chancery_client::{Failure, LearnerStatus, NodeStatus, PeerStatus};
use chancery_ledger::head::{Roster, RosterId};

/// What one endpoint said, or why it did not.
pub(super) type Said = (String, Result<NodeStatus, Failure>);

/// What all said.
#[derive(Debug)]
pub(super) struct Survey {
    /// In the context's order.
    pub(super) all: Vec<Said>,
    /// How far the nodes' clocks may be off, in milliseconds.
    pub(super) clock_skew_ms_max: u64,
}

impl Survey {
    pub(super) fn new(all: Vec<Said>, clock_skew_ms_max: u64) -> Self {
        Self { all, clock_skew_ms_max }
    }

    /// The nodes that answered.
    pub(super) fn answers(&self) -> impl Iterator<Item = &NodeStatus> {
        self.all.iter().filter_map(|(_, said)| said.as_ref().ok())
    }

    /// What the node with this number said.
    pub(super) fn node(&self, node: u64) -> Option<&NodeStatus> {
        self.answers().find(|status| status.node == node)
    }

    /// The node that says that it leads, in the newest term if several do.
    pub(super) fn leader(&self) -> Option<&NodeStatus> {
        self.answers().filter(|status| status.leader == Some(status.node)).max_by_key(|status| status.term)
    }

    /// The newest roster that a node names.
    pub(super) fn roster(&self) -> Option<&(RosterId, Roster)> {
        self.answers().filter_map(|status| status.roster.as_ref()).max_by_key(|(id, _)| id.block)
    }

    /// Whether it is in that roster.
    pub(super) fn votes(&self, node: u64) -> bool {
        self.roster().is_some_and(|(_, roster)| roster.voter(node).is_some())
    }

    /// Who replicates without a vote, as the leader says; without one, whoever has most of the log.
    pub(super) fn learners(&self) -> &[LearnerStatus] {
        let best = self.leader().or_else(|| self.answers().max_by_key(|status| status.log.last_index));
        best.map(|status| status.learners.as_slice()).unwrap_or_default()
    }

    /// What the leader says of another node.
    pub(super) fn peer(&self, node: u64) -> Option<&PeerStatus> {
        self.leader()?.peers.iter().find(|peer| peer.node == node)
    }

    /// Entries that the leader knows it to lack.
    pub(super) fn lag(&self, node: u64) -> Option<u64> {
        self.peer(node)?.lag_entries
    }

    /// Voters and their names that did not answer here: no endpoint of the context is theirs, or they are down.
    pub(super) fn not_asked(&self) -> Vec<(u64, String)> {
        let Some((_, roster)) = self.roster() else { return Vec::new() };
        let voters: BTreeMap<u64, String> =
            roster.voters().map(|voter| (voter.node, voter.name.to_string())).collect();
        voters.into_iter().filter(|(node, _)| self.node(*node).is_none()).collect()
    }
}
