//! Power cuts, and what a node does with what they leave.

use super::node::Node;
use super::rules::Rules;
use super::world::World;
use crate::node_set::NODES_MAX;

impl World {
    pub(super) fn power_cut(
        &mut self,
        node: usize,
        log_survives: bool,
        applied_survives: usize,
        rules: &Rules,
    ) -> bool {
        let cut = &mut self.nodes[node];
        if !cut.up {
            return false;
        }
        cut.up = false;
        cut.leader = false;
        cut.unsent.clear();
        cut.installing = None;
        cut.matched = [0; NODES_MAX];
        cut.high_water = 0;
        cut.prepared = None;
        if !log_survives {
            cut.log.clone_from(&cut.disk);
        }
        let kept = cut.applied_synced.max(cut.log.purged) + applied_survives;
        cut.applied.truncate(kept);
        // What reached the disk is what the next start reads.
        cut.sync_log();
        reconcile(cut, rules);
        true
    }

    pub(super) fn start(&mut self, node: usize, rules: &Rules) -> bool {
        let starting = &mut self.nodes[node];
        if starting.up {
            return false;
        }
        if let Some(snapshot) = starting.registered.take()
            && snapshot.len() > starting.applied.len()
        {
            starting.applied_synced = snapshot.len();
            starting.applied = snapshot;
            reconcile(starting, rules);
        }
        starting.up = true;
        starting.recovered = false;
        starting.cluster_committed = 0;
        starting.commit = starting.applied.len();
        starting.tail_at_start = starting.log.last().max(starting.applied.len());
        starting.watched_roster = starting.roster().map_or(0, |(position, _)| position);
        true
    }
}

/// Rule 1, before Raft sees the log: one that does not hold the applied entry is a dead branch.
///
/// Without the rule, a log that ends before the applied entry is replaced all the same: openraft does that by itself.
fn reconcile(node: &mut Node, rules: &Rules) {
    let applied = node.applied.len();
    if applied <= node.log.purged {
        return;
    }
    let absent = node.log.last() < applied;
    let another = node.log.get(applied) != node.applied.last().copied();
    if absent || (another && rules.reconcile_at_start) {
        node.log.restart_after(applied);
        node.applied_synced = applied;
        node.sync_log();
    }
}
