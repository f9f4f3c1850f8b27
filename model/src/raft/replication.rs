//! Raft: elections, the log, what is committed, and membership.

use super::entry::{Content, Entry, Roster};
use super::node::Acknowledgement;
use super::world::{Violation, World};
use crate::node_set::{NODES_MAX, NodeSet};

impl World {
    pub(super) fn elect(&mut self, node: usize, voters: NodeSet) -> bool {
        let candidate = &self.nodes[node];
        let Some((_, roster)) = candidate.roster() else { return false };
        if !candidate.up || candidate.leader || candidate.installing.is_some() || !roster.has(node) {
            return false;
        }
        let (term, last) = (candidate.term + 1, candidate.last_log_id());
        self.nodes[node].step_down(term);
        self.nodes[node].voted = Some(node);
        self.flush(node);
        let mut granted = NodeSet::NONE.with(node);
        for voter in voters.nodes() {
            if voter == node || !self.reaches(node, voter) {
                continue;
            }
            self.nodes[voter].step_down(term);
            let grants = &self.nodes[voter];
            if grants.term == term && grants.voted.is_none() && last >= grants.last_log_id() {
                self.nodes[voter].voted = Some(node);
                self.flush(voter);
                granted = granted.with(voter);
            }
        }
        if roster.has_quorum(granted) {
            let leader = &mut self.nodes[node];
            leader.leader = true;
            leader.matched = [0; NODES_MAX];
            leader.log.entries.push(Entry { term, content: Content::Blank });
            leader.term_begins = leader.log.last();
        }
        true
    }

    pub(super) fn append(&mut self, node: usize, content: Content) -> bool {
        let leader = &mut self.nodes[node];
        let leads = leader.up && leader.leader;
        if leads {
            leader.log.entries.push(Entry { term: leader.term, content });
        }
        leads
    }

    /// The roster in force at a leader that may change it: the last one, and its own term's begin, are committed.
    fn changeable_roster(&self, node: usize) -> Option<Roster> {
        let leader = &self.nodes[node];
        let (position, roster) = leader.roster()?;
        (leader.up && leader.leader && position <= leader.commit && leader.term_begins <= leader.commit)
            .then_some(roster)
    }

    pub(super) fn propose_roster(&mut self, node: usize, voters: NodeSet) -> bool {
        match self.changeable_roster(node) {
            Some(Roster { old, new: None }) if voters != old && voters.count() >= 2 => {
                self.append(node, Content::Roster(Roster { old, new: Some(voters) }))
            }
            _ => false,
        }
    }

    pub(super) fn finish_roster(&mut self, node: usize) -> bool {
        match self.changeable_roster(node) {
            Some(Roster { new: Some(new), .. }) => {
                self.append(node, Content::Roster(Roster { old: new, new: None }))
            }
            _ => false,
        }
    }

    pub(super) fn replicate(
        &mut self,
        from: usize,
        to: usize,
        entries_max: usize,
    ) -> Result<bool, Violation> {
        let Some(common) = self.common_position(from, to) else { return Ok(false) };
        let leader = &self.nodes[from];
        if common < leader.log.purged {
            return Ok(false); // Only a snapshot helps.
        }
        let (term, end) = (leader.term, leader.log.last().min(common + entries_max));
        let entries: Vec<Entry> = (common + 1..=end).filter_map(|position| leader.get(position)).collect();
        let (commit, speaks_for_cluster) = (leader.commit, leader.commit >= leader.term_begins);
        let follower = &mut self.nodes[to];
        if follower.log.last() < common {
            return Ok(false);
        }
        if !entries.is_empty() && follower.log.last() > common {
            if common < follower.commit {
                return Err(Violation::TruncatesCommitted(to));
            }
            follower.log.truncate(common + 1);
            follower.unsent.clear();
        }
        follower.log.entries.extend(entries);
        follower.commit = follower.commit.max(commit.min(end));
        if speaks_for_cluster {
            follower.cluster_committed = follower.cluster_committed.max(commit);
        }
        follower.unsent.push(Acknowledgement { leader: from, term, position: end });
        Ok(true)
    }

    /// The last position up to which a leader's and a follower's log agree, if the leader's message arrives.
    pub(super) fn common_position(&mut self, from: usize, to: usize) -> Option<usize> {
        let term = self.nodes[from].term;
        if from == to
            || !self.nodes[from].leader
            || !self.reaches(from, to)
            || self.nodes[to].term > term
            || self.nodes[to].installing.is_some()
        {
            return None;
        }
        self.nodes[to].step_down(term);
        let (leader, follower) = (&self.nodes[from], &self.nodes[to]);
        let shorter = leader.log.last().min(follower.log.last().max(follower.applied.len()));
        let agree = |position: &usize| {
            let theirs = follower.get(*position);
            theirs.is_some() && leader.get(*position).map(|e| e.term) == theirs.map(|e| e.term)
        };
        Some((1..=shorter).rev().find(agree).unwrap_or(0))
    }

    pub(super) fn flush(&mut self, node: usize) -> bool {
        let flushing = &mut self.nodes[node];
        if !flushing.up {
            return false;
        }
        flushing.sync_log();
        if flushing.leader {
            flushing.matched[node] = flushing.log.last();
        }
        let sent = std::mem::take(&mut flushing.unsent);
        self.in_flight.extend(sent.into_iter().map(|acknowledgement| (node, acknowledgement)));
        true
    }

    /// Takes the newest acknowledgement on its way, and the older ones, which say nothing more.
    pub(super) fn take_acknowledgement(&mut self, from: usize, to: usize) -> Option<Acknowledgement> {
        let theirs = |(sender, sent): &(usize, Acknowledgement)| *sender == from && sent.leader == to;
        let (_, newest) = self.in_flight.iter().rfind(|sent| theirs(sent)).copied()?;
        self.in_flight.retain(|sent| !theirs(sent) || sent.1.term > newest.term);
        Some(newest)
    }

    pub(super) fn acknowledge(&mut self, from: usize, to: usize) -> Result<bool, Violation> {
        let Some(acknowledgement) = self.take_acknowledgement(from, to) else { return Ok(false) };
        // What is already on its way arrives even if its sender is down by now.
        let leader = &mut self.nodes[to];
        if !leader.up || !leader.leader || leader.term != acknowledgement.term {
            return Ok(false);
        }
        leader.matched[from] = leader.matched[from].max(acknowledgement.position);
        self.advance_commit(to)
    }

    fn advance_commit(&mut self, node: usize) -> Result<bool, Violation> {
        let leader = &self.nodes[node];
        let Some((_, roster)) = leader.roster() else { return Ok(false) };
        // Only entries of the leader's own term are committed by counting.
        let of_own_term = (leader.commit + 1..=leader.log.last())
            .rev()
            .take_while(|position| leader.term_at(*position) == leader.term);
        let held = |position: &usize| {
            let nodes = NodeSet::ALL.nodes().filter(|other| leader.matched[*other] >= *position);
            roster.has_quorum(nodes.fold(NodeSet::NONE, NodeSet::with))
        };
        let Some(commit) = of_own_term.into_iter().find(held) else { return Ok(true) };
        let committed: Vec<Entry> = (1..=commit).filter_map(|position| leader.get(position)).collect();
        if committed.iter().zip(&self.committed).any(|(now, before)| now != before) {
            return Err(Violation::TwoHistories(node));
        }
        self.acknowledged = self.acknowledged.max(leader.last_block_upto(commit));
        if committed.len() > self.committed.len() {
            self.committed = committed;
        }
        let leader = &mut self.nodes[node];
        leader.commit = commit;
        leader.cluster_committed = commit;
        Ok(true)
    }
}
