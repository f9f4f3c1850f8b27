//! Applying, snapshots, and their installation, which truncates the log first.

use super::node::{Acknowledgement, InstallStage, Installing};
use super::rules::Rules;
use super::world::World;

impl World {
    pub(super) fn apply(&mut self, node: usize, entries_max: usize, rules: &Rules) -> bool {
        let applying = &mut self.nodes[node];
        if !applying.up || applying.installing.is_some() {
            return false;
        }
        let synced = if rules.apply_after_flush { applying.flushed() } else { applying.log.last() };
        let begin = applying.applied.len();
        let end = applying.commit.min(applying.log.last()).min(synced).min(begin + entries_max);
        for position in begin + 1..=end {
            if let Some(entry) = applying.get(position) {
                applying.applied.push(entry);
            }
        }
        let heard = applying.cluster_committed;
        let owed = applying.tail_at_start.min(applying.log.last());
        let newly = !applying.recovered && heard > 0 && heard >= owed && applying.applied.len() >= heard;
        applying.recovered |= newly;
        end > begin || newly
    }

    pub(super) fn take_snapshot(&mut self, node: usize) -> bool {
        let taking = &mut self.nodes[node];
        if !taking.up || taking.installing.is_some() || taking.applied_synced >= taking.applied.len() {
            return false;
        }
        taking.applied_synced = taking.applied.len();
        true
    }

    pub(super) fn purge(&mut self, node: usize) -> bool {
        let purging = &mut self.nodes[node];
        let end = purging.applied_synced;
        let can = purging.up
            && purging.installing.is_none()
            && end > purging.log.purged
            && end <= purging.log.last();
        if can {
            purging.log.purge(end);
        }
        can
    }

    pub(super) fn send_snapshot(&mut self, from: usize, to: usize, rules: &Rules) -> bool {
        let Some(common) = self.common_position(from, to) else { return false };
        let leader = &self.nodes[from];
        let end = leader.applied_synced;
        let follower = &self.nodes[to];
        if common >= leader.log.purged || end <= follower.commit {
            return false;
        }
        let (snapshot, term) = (leader.applied[..end].to_vec(), leader.term);
        let follower = &mut self.nodes[to];
        if rules.snapshot_registered_first {
            follower.registered = Some(snapshot.clone());
        }
        follower.installing =
            Some(Installing { snapshot, stage: InstallStage::HandedOver, leader: from, term });
        true
    }

    pub(super) fn install(&mut self, node: usize) -> bool {
        let receiving = &mut self.nodes[node];
        if !receiving.up {
            return false;
        }
        let Some(mut installing) = receiving.installing.take() else { return false };
        let end = installing.snapshot.len();
        match installing.stage {
            InstallStage::HandedOver => {
                let ours = receiving.log.get(end);
                if ours.is_some() && ours.as_ref() != installing.snapshot.last() {
                    receiving.log.truncate(receiving.commit + 1);
                    receiving.sync_log();
                    self.truncated += 1;
                }
                installing.stage = InstallStage::LogTruncated;
                receiving.installing = Some(installing);
            }
            InstallStage::LogTruncated => {
                receiving.applied.clone_from(&installing.snapshot);
                receiving.applied_synced = end;
                receiving.commit = receiving.commit.max(end);
                receiving.cluster_committed = receiving.cluster_committed.max(end);
                installing.stage = InstallStage::StateReplaced;
                receiving.installing = Some(installing);
            }
            InstallStage::StateReplaced => {
                if receiving.log.last() <= end {
                    receiving.log.restart_after(end);
                } else {
                    receiving.log.purge(end);
                }
                receiving.sync_log();
                receiving.registered = None;
                let Installing { leader, term, .. } = installing;
                self.in_flight.push((node, Acknowledgement { leader, term, position: end }));
            }
        }
        true
    }
}
