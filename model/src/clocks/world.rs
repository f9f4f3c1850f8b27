//! The clocks, and what is done by them.

use super::{Agreement, MEASUREMENT_AGE_MS_MAX, RIGHT_MS_MAX, Rules, SKEW_MS_MAX, STEP_MS_MAX, Setting};
use crate::node_set::{NODES_MAX, NodeSet};

/// What can happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Time passes.
    Pass {
        /// Milliseconds.
        ms: i64,
    },
    /// A clock is set: from now on it is `offset_ms` ahead of true time.
    Set {
        /// The node.
        node: usize,
        /// Milliseconds.
        offset_ms: i64,
    },
    /// A clock drifts, and the monotonic one with it: no step is to be seen.
    Drift {
        /// The node.
        node: usize,
        /// Millionths.
        ppm: i64,
    },
    /// A node asks its peers for their clocks, all at once.
    Measure {
        /// Who asks.
        node: usize,
        /// Who answers.
        peers: NodeSet,
        /// How long the question takes to arrive, in milliseconds.
        there_ms: i64,
        /// How long the answer takes.
        back_ms: i64,
    },
    /// A leader stamps a block.
    Stamp {
        /// The leader.
        leader: usize,
        /// How much it adds to its clock, in milliseconds; not 0 only for a leader that lies.
        ahead_ms: i64,
        /// Who is asked to append it.
        followers: NodeSet,
    },
    /// These nodes are asked for statements over a nonce.
    Check {
        /// Who.
        nodes: NodeSet,
    },
    /// A revocation is committed, and a node tells when it is certain to be effective.
    Revoke {
        /// Who tells.
        replier: usize,
    },
}

/// A claim that does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// A permit past its end.
    #[error("a permit verifies {0} ms after its end")]
    PastItsEnd(i64),
    /// A permit before its start.
    #[error("a permit verifies {0} ms before its start")]
    BeforeItsStart(i64),
    /// `dead_at` was too early.
    #[error("a check passes {0} ms after dead_at")]
    AfterDeadAt(i64),
}

#[derive(Clone, Copy, Debug)]
struct Measurement {
    /// The peer's clock less the own one, as measured, in milliseconds.
    difference_ms: i64,
    /// Half the round trip, rounded up.
    error_ms: i64,
    /// True time.
    taken_ms: i64,
    /// Wall less monotonic clock then.
    base_ms: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// Ahead of true time.
    offset_ms: i64,
    /// Sum of its steps: wall less monotonic clock.
    base_ms: i64,
    drift_ppm: i64,
    measured: [Option<Measurement>; NODES_MAX],
}

/// The world.
#[derive(Clone, Debug)]
pub struct World {
    setting: Setting,
    now_ms: i64,
    clocks: [Clock; NODES_MAX],
    /// The last block's time.
    block_ms: Option<i64>,
    /// The greatest least clock of a proof that was signed so far.
    proven_ms: Option<i64>,
}

impl World {
    /// All clocks are right.
    pub fn new(setting: Setting) -> Self {
        Self { setting, now_ms: 0, clocks: [Clock::default(); NODES_MAX], block_ms: None, proven_ms: None }
    }

    /// Takes one step; whether anything happened.
    pub fn step(&mut self, event: Event, rules: &Rules) -> Result<bool, Violation> {
        match event {
            Event::Pass { ms } => self.pass(ms),
            Event::Set { node, offset_ms } => {
                if !self.setting.wrong.has(node) && offset_ms.abs() > RIGHT_MS_MAX {
                    return Ok(false);
                }
                let clock = &mut self.clocks[node];
                clock.base_ms += offset_ms - clock.offset_ms;
                clock.offset_ms = offset_ms;
            }
            Event::Drift { node, ppm } => {
                if !self.setting.wrong.has(node) {
                    return Ok(false);
                }
                self.clocks[node].drift_ppm = ppm;
            }
            Event::Measure { node, peers, there_ms, back_ms } => self.measure(node, peers, there_ms, back_ms),
            Event::Stamp { leader, ahead_ms, followers } => {
                return Ok(self.stamp(leader, ahead_ms, followers, rules));
            }
            Event::Check { nodes } => return self.check(nodes, rules),
            Event::Revoke { replier } => return self.revoke(replier, rules),
        }
        Ok(true)
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        for clock in &mut self.clocks {
            clock.offset_ms += ms * clock.drift_ppm / 1_000_000;
        }
    }

    fn measure(&mut self, node: usize, peers: NodeSet, there_ms: i64, back_ms: i64) {
        let sent_ms = self.wall_ms(node);
        self.pass(there_ms);
        let answers: Vec<_> =
            peers.nodes().filter(|peer| *peer != node).map(|peer| (peer, self.wall_ms(peer))).collect();
        self.pass(back_ms);
        let error_ms = (there_ms + back_ms + 1) / 2;
        let (taken_ms, base_ms) = (self.now_ms, self.clocks[node].base_ms);
        for (peer, peer_ms) in answers {
            let difference_ms = peer_ms - (sent_ms + (there_ms + back_ms) / 2);
            let measurement = Measurement { difference_ms, error_ms, taken_ms, base_ms };
            self.clocks[node].measured[peer] = Some(measurement);
        }
    }

    fn stamp(&mut self, leader: usize, ahead_ms: i64, followers: NodeSet, rules: &Rules) -> bool {
        let lies = ahead_ms != 0;
        if lies && !self.setting.wrong.has(leader) {
            return false;
        }
        if !lies && rules.leader_checks_its_clock && !self.agrees(leader, SKEW_MS_MAX / 2, rules) {
            return false;
        }
        let stamp_ms = self.wall_ms(leader) + ahead_ms;
        let appends = |node: &usize| {
            *node == leader
                || !rules.follower_refuses_late_stamp
                || stamp_ms <= self.wall_ms(*node) + SKEW_MS_MAX
        };
        let held = followers.with(leader).nodes().filter(appends).fold(NodeSet::NONE, NodeSet::with);
        if !self.voters().has_majority(held) {
            return false;
        }
        self.block_ms = Some(self.block_ms.map_or(stamp_ms, |block_ms| block_ms.max(stamp_ms)));
        true
    }

    fn check(&mut self, nodes: NodeSet, rules: &Rules) -> Result<bool, Violation> {
        let signs = |node: &usize| self.agrees(*node, SKEW_MS_MAX, rules);
        let signers = nodes.and(self.voters()).nodes().filter(signs).fold(NodeSet::NONE, NodeSet::with);
        if !self.voters().has_majority(signers) {
            return Ok(false);
        }
        let clocks = || signers.nodes().map(|node| self.wall_ms(node));
        let (Some(least), Some(greatest)) = (clocks().min(), clocks().max()) else { return Ok(false) };
        let late = if rules.every_clock_counts { greatest } else { least };
        let early = if rules.every_clock_counts { least } else { greatest };
        let (low, high) = match self.block_ms {
            Some(block_ms) => (early.max(block_ms), late.max(block_ms)),
            None => (early, late),
        };
        if self.now_ms - high > SKEW_MS_MAX {
            return Err(Violation::PastItsEnd(self.now_ms - high));
        }
        if low - self.now_ms > 2 * SKEW_MS_MAX {
            return Err(Violation::BeforeItsStart(low - self.now_ms));
        }
        self.proven_ms = Some(self.proven_ms.map_or(early, |proven_ms| proven_ms.max(early)));
        Ok(true)
    }

    fn revoke(&mut self, replier: usize, rules: &Rules) -> Result<bool, Violation> {
        if !self.agrees(replier, SKEW_MS_MAX, rules) {
            return Ok(false);
        }
        // Both sides of the comparison gain the staleness and the client's ε.
        let dead_ms = self.wall_ms(replier) + 2 * SKEW_MS_MAX;
        match self.proven_ms.take() {
            Some(proven_ms) if proven_ms > dead_ms => Err(Violation::AfterDeadAt(proven_ms - dead_ms)),
            _ => Ok(true),
        }
    }

    /// Whether `node` may use its clock: other clocks agree with it to `limit_ms`, measured lately, and it has not
    /// stepped since.
    fn agrees(&self, node: usize, limit_ms: i64, rules: &Rules) -> bool {
        if rules.agreement == Agreement::None {
            return true;
        }
        let clock = &self.clocks[node];
        let counts =
            |m: &&Measurement| !rules.measurements_age || self.now_ms - m.taken_ms <= MEASUREMENT_AGE_MS_MAX;
        let mut differences = vec![(0, 0)];
        for measured in clock.measured.iter().flatten().filter(counts) {
            if rules.steps_are_seen && (clock.base_ms - measured.base_ms).abs() > STEP_MS_MAX {
                return false;
            }
            differences.push((measured.difference_ms, measured.error_ms));
        }
        differences.sort_unstable();
        let near = |(difference_ms, error_ms): &&(i64, i64)| difference_ms.abs() + error_ms <= limit_ms;
        let quorum = self.setting.nodes / 2 + 1;
        match rules.agreement {
            Agreement::None => true,
            Agreement::Quorum => differences.iter().filter(near).count() >= quorum,
            Agreement::Median => {
                let middle = [(differences.len() - 1) / 2, differences.len() / 2];
                differences.len() >= quorum && middle.iter().all(|at| near(&&differences[*at]))
            }
        }
    }

    fn wall_ms(&self, node: usize) -> i64 {
        self.now_ms + self.clocks[node].offset_ms
    }

    const fn voters(&self) -> NodeSet {
        NodeSet::first(self.setting.nodes)
    }
}
