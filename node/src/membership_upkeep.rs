//! What follows from a change of Raft's membership: whom this node calls, whom it answers, and the end of
//! removed voters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::membership::Memberships;
use crate::network::{PeerRoster, Peers};
use crate::raft::Raft;
use crate::raft::types::NodeId;
use crate::roster_proofs::ProvenRosters;
use crate::store::applied::AppliedStore;

/// How often a leader looks for removed voters.
const PERIOD: Duration = Duration::from_millis(500);

/// How long a removed voter has to hear that it is removed, before it is replicated to no more.
const FAREWELL_MAX: Duration = Duration::from_secs(10);

/// Keeps `peers` in line with the membership at the end of this node's log, until `stopped`. A node that is
/// removed stops standing for election.
pub(crate) async fn follow_membership(
    raft: Raft,
    peers: Peers,
    proven: ProvenRosters,
    own: NodeId,
    mut stopped: watch::Receiver<bool>,
) {
    let mut metrics = raft.server_metrics();
    let (mut applied, mut heard) = (proven.watch_applied(), proven.watch_heard());
    let mut was_removed = false;
    loop {
        let membership = Arc::clone(&metrics.borrow_and_update().membership_config);
        applied.mark_unchanged();
        heard.mark_unchanged();
        for (node, at) in membership.nodes() {
            peers.add(*node, &at.address);
        }
        let rosters = proven.newest();
        let is_removed = |node| rosters.is_removed(node);
        for node in peers.ids() {
            if is_removed(node) && membership.get_node(&node).is_none() {
                peers.remove(node);
            }
        }
        if is_removed(own) && !was_removed {
            was_removed = true;
            raft.runtime_config().elect(false);
            let block = rosters.newest().0.block;
            tracing::warn!(
                block,
                "this node is removed from the roster: it signs no more, and can be shut down"
            );
        }
        let watched = tokio::select! {
            changed = metrics.changed() => changed.is_ok(),
            changed = applied.changed() => changed.is_ok(),
            changed = heard.changed() => changed.is_ok(),
            _ = stopped.wait_for(|stopped| *stopped) => false,
        };
        if !watched {
            return;
        }
    }
}

/// Has voters that are removed replicate no more, while this node leads: once they have the block that says
/// so, or had time enough.
pub(crate) async fn dismiss_removed(
    memberships: Arc<Memberships>,
    store: AppliedStore,
    raft: Raft,
    mut stopped: watch::Receiver<bool>,
) {
    let mut since: Option<(BTreeSet<NodeId>, Instant)> = None;
    loop {
        tokio::select! {
            () = sleep(PERIOD) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let (rosters, stored) = (store.rosters(), store.membership());
        let learners = stored.membership().learner_ids();
        let removed: BTreeSet<NodeId> = learners.filter(|node| rosters.is_removed(*node)).collect();
        if removed.is_empty() || !raft.is_leader() || rosters.is_joint() || rosters.unproven().is_some() {
            since = None;
            continue;
        }
        let (_, first_seen) = match since.take().filter(|(before, _)| *before == removed) {
            Some(seen) => since.insert(seen),
            None => since.insert((removed.clone(), Instant::now())),
        };
        let set_at = stored.log_id().as_ref().map_or(0, |id| id.index);
        let late = first_seen.elapsed() >= FAREWELL_MAX;
        for node in removed {
            let matched = memberships.progress(node).and_then(|progress| progress.matched_index);
            if matched.is_none_or(|matched| matched < set_at) && !late {
                continue;
            }
            match memberships.remove_learner(node).await {
                Ok(()) => tracing::info!(node, "the removed voter is replicated to no more"),
                Err(error) => tracing::debug!(node, %error, "the removed voter is still replicated to"),
            }
        }
    }
}

/// Which nodes' calls are answered: those of the membership at the end of the log, of the newest proven
/// roster, and of this node's configuration unless they are removed.
pub(crate) struct Admission {
    pub(crate) raft: Raft,
    pub(crate) rosters: ProvenRosters,
    pub(crate) configured: BTreeSet<NodeId>,
}

impl PeerRoster for Admission {
    fn admits(&self, id: NodeId) -> bool {
        let rosters = self.rosters.newest();
        let metrics = self.raft.server_metrics();
        let is_member = metrics.borrow_watched().membership_config.get_node(&id).is_some();
        is_member || rosters.voter(id).is_some() || (self.configured.contains(&id) && !rosters.is_removed(id))
    }
}
