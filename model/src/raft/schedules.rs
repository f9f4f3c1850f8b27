//! Scripted runs into what random search meets too seldom.
//!
//! Each is written for the rules that it defeats. With those rules in force the same events go on: a step that a rule
//! forbids does nothing.

use super::event::Event;
use crate::node_set::NodeSet;

/// A script.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The voters of genesis.
    pub voters: NodeSet,
    /// What happens, in order.
    pub events: Vec<Event>,
}

impl Schedule {
    const fn new(voters: NodeSet) -> Self {
        Self { voters, events: Vec::new() }
    }

    fn then(&mut self, events: &[Event]) -> &mut Self {
        self.events.extend_from_slice(events);
        self
    }

    /// `node` is elected by `voters`.
    fn elect(&mut self, node: usize, voters: &[usize]) -> &mut Self {
        self.then(&[Event::Elect { node, voters: NodeSet::of(voters) }])
    }

    /// `leader` appends a block that is not sent yet.
    fn append(&mut self, leader: usize) -> &mut Self {
        self.then(&[Event::Append { node: leader }])
    }

    /// `leader`'s log is sent to `follower`, which does not sync it yet.
    fn send(&mut self, leader: usize, follower: usize) -> &mut Self {
        self.then(&[Event::Replicate { from: leader, to: follower, entries_max: 16 }])
    }

    /// `leader`'s log is synced by itself and by `follower`, whose acknowledgement is on its way.
    fn store(&mut self, leader: usize, follower: usize) -> &mut Self {
        self.then(&[Event::Flush { node: leader }])
            .send(leader, follower)
            .then(&[Event::Flush { node: follower }])
    }

    /// `leader`'s log is synced by itself and by each follower, and acknowledged: committed, if that is a quorum.
    fn commit(&mut self, leader: usize, followers: &[usize]) -> &mut Self {
        for follower in followers {
            self.store(leader, *follower).then(&[Event::Acknowledge { from: *follower, to: leader }]);
        }
        self
    }

    /// `node` applies all that it may.
    fn apply(&mut self, node: usize) -> &mut Self {
        self.then(&[Event::Apply { node, entries_max: 16 }])
    }

    /// `leader` snapshots all that it applied, purges its log, and sends the snapshot to `follower`.
    fn snapshot(&mut self, leader: usize, follower: usize) -> &mut Self {
        self.apply(leader).then(&[
            Event::TakeSnapshot { node: leader },
            Event::Purge { node: leader },
            Event::SendSnapshot { from: leader, to: follower },
        ])
    }

    /// `node` loses its power and every unsynced byte, and starts again.
    fn power_cycle(&mut self, node: usize) -> &mut Self {
        let cut = Event::PowerCut { node, log_survives: false, applied_survives: 0 };
        self.then(&[cut, Event::Start { node }])
    }

    fn sign(&mut self, node: usize) -> &mut Self {
        self.then(&[Event::Sign { node }])
    }
}

/// A follower that acknowledged a revocation but has not heard that it is committed, and whose log goes on in a dead
/// branch, is sent a snapshot. Raft truncates its log down to what it knows to be committed.
///
/// Ends with n0's log truncated and the snapshot not in place; n2 has signed as the laggard that it was. n0 signs
/// next, or loses its power first.
fn truncated_by_a_snapshot() -> Schedule {
    let mut run = Schedule::new(NodeSet::first(3));
    run.elect(1, &[0, 1, 2]); // Term 1 begins at 2.
    run.commit(1, &[0]);
    run.append(1).append(1); // Blocks 3 and 4, the revocation.
    run.store(1, 0); // n0 has them synced, its acknowledgement is on its way.
    run.append(1); // Block 5: n1 has not synced it, n0 will.
    run.send(1, 0).then(&[Event::Flush { node: 0 }]);
    run.then(&[Event::Acknowledge { from: 0, to: 1 }]); // 4 is committed; n0 has not heard of it.
    run.then(&[Event::MakeNonce]);
    run.sign(2); // A laggard, and it says so.
    run.power_cycle(1); // n1 loses block 5.
    run.elect(1, &[1, 2]); // Term 2 begins at 5.
    run.commit(1, &[2]);
    run.snapshot(1, 0);
    run.then(&[Event::Install { node: 0 }]); // n0's 5 is of another term: its log is cut to 2.
    run
}

/// `truncated_by_a_snapshot`, and n0 signs at once.
pub fn signs_while_truncated() -> Schedule {
    let mut run = truncated_by_a_snapshot();
    run.sign(0);
    run
}

/// `truncated_by_a_snapshot`, and n0 loses its power before the snapshot is in place: what it kept in memory is gone.
pub fn power_cut_while_truncated() -> Schedule {
    let mut run = truncated_by_a_snapshot();
    run.power_cycle(0).sign(0);
    run
}

/// A snapshot's truncation, then a power cut, make a node forget a membership change. A node that the change removed is
/// elected under the old roster, by that node's vote.
pub fn removed_node_is_elected() -> Schedule {
    let mut run = Schedule::new(NodeSet::of(&[0, 1, 2]));
    let next = NodeSet::of(&[0, 1, 4]);
    run.elect(0, &[0, 1, 2]).commit(0, &[1, 2]); // Term 1 begins at 2, and everyone has it.
    run.apply(0).then(&[Event::TakeSnapshot { node: 0 }]);
    run.append(0).commit(0, &[1]); // Block 3, the revocation.
    run.then(&[Event::ProposeRoster { node: 0, voters: next }]).commit(0, &[1, 4]);
    run.then(&[Event::FinishRoster { node: 0 }]).commit(0, &[1, 4]); // 4 and 5: n4 instead of n2.
    run.append(0).then(&[Event::Flush { node: 0 }]); // Block 6, at n0 alone.
    run.power_cycle(0); // n0 now knows of nothing after 2 that it is committed.
    run.elect(1, &[1, 4]).commit(1, &[4]); // Term 2 begins at 6.
    run.snapshot(1, 0).then(&[Event::Install { node: 0 }]); // n0's log is cut to 2: the old roster.
    run.power_cycle(0);
    run.elect(2, &[0, 2]).elect(2, &[0, 2]).commit(2, &[0]); // n2, which was removed; its first term is taken.
    run
}

/// A registered snapshot is restored at a start, and the log goes on in a dead branch at its position.
pub fn dead_branch_under_a_snapshot() -> Schedule {
    let mut run = truncated_by_a_snapshot();
    run.events.pop(); // The snapshot is registered, the log not truncated yet.
    run.power_cycle(0);
    run.elect(2, &[1, 2]).send(2, 0);
    run
}

/// A leader signs the head of a block that it has applied but not synced, loses its power, and signs again.
pub fn head_lost_with_the_power() -> Schedule {
    let mut run = Schedule::new(NodeSet::first(3));
    run.elect(0, &[0, 1, 2]).commit(0, &[1, 2]);
    run.append(0).send(0, 1).send(0, 2); // Block 3, synced by the followers only.
    run.then(&[Event::Flush { node: 1 }, Event::Flush { node: 2 }]);
    run.then(&[Event::Acknowledge { from: 1, to: 0 }, Event::Acknowledge { from: 2, to: 0 }]);
    run.apply(0).then(&[Event::MakeNonce]).sign(0);
    run.power_cycle(0).sign(0);
    run
}

/// The roster changes from n0, n1 and n2 to n2, n3 and n4, and a block is acknowledged by the new one. n0 and n1 hold the
/// joint roster in their logs, but have applied nothing and know of nothing later.
pub fn removed_nodes_answer() -> Schedule {
    let mut run = Schedule::new(NodeSet::first(3));
    let next = NodeSet::of(&[2, 3, 4]);
    run.elect(2, &[0, 1, 2]).commit(2, &[0, 1]);
    run.then(&[Event::ProposeRoster { node: 2, voters: next }]).commit(2, &[0, 1, 3, 4]);
    run.then(&[Event::FinishRoster { node: 2 }]).commit(2, &[3, 4]);
    run.append(2).commit(2, &[3, 4]);
    run.then(&[Event::MakeNonce]).sign(0).sign(1);
    run
}
