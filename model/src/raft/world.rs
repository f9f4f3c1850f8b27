//! All nodes, the network between them, and the observer who judges.

use super::entry::{Content, Entry, Roster, last_block};
use super::event::Event;
use super::node::{Acknowledgement, Log, Node};
use super::rules::{Rules, Tail};
use super::statement::{Nonce, Statement};
use crate::node_set::{NODES_MAX, NodeSet};

/// Most nonces that statements are signed over: the oldest is dropped for a new one.
const NONCES_MAX: usize = 4;

/// What must not happen.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Violation {
    /// A stale proof.
    #[error(
        "roster@{roster}: {statements:?} are all below block {acknowledged}, acknowledged before the nonce"
    )]
    StaleProof {
        /// The position of the roster that the statements are counted by.
        roster: usize,
        /// The statements.
        statements: Vec<Statement>,
        /// The block that none of them knows.
        acknowledged: usize,
    },
    /// Two leaders committed different entries at one position.
    #[error("n{0} commits what contradicts what was committed")]
    TwoHistories(usize),
    /// A node was told to truncate what it knows to be committed.
    #[error("n{0} truncates below what it knows to be committed")]
    TruncatesCommitted(usize),
    /// An honest node signs a tail below a head that it signed before: by rule 11 it convicts itself.
    #[error("n{node} signs tail {tail} after head {head}")]
    ConvictsItself {
        /// The node.
        node: usize,
        /// What it signs now.
        tail: usize,
        /// What it signed before.
        head: usize,
    },
}

/// The world.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    pub(super) nodes: Vec<Node>,
    /// Acknowledgements on their way, each with its sender.
    pub(super) in_flight: Vec<(usize, Acknowledgement)>,
    /// What was committed, by any leader.
    pub(super) committed: Vec<Entry>,
    /// The highest acknowledged block.
    pub(super) acknowledged: usize,
    pub(super) nonces: Vec<Nonce>,
    /// How many logs were truncated for a snapshot.
    pub(super) truncated: u64,
    /// One side of the partition.
    side: NodeSet,
}

impl World {
    /// A cluster whose genesis roster is `voters`; the other nodes are there but have no vote.
    pub fn new(voters: NodeSet) -> Self {
        let roster = Roster { old: voters, new: None };
        let genesis = vec![Entry { term: 0, content: Content::Roster(roster) }];
        let node = Node::new(Log { purged: 0, entries: genesis.clone() });
        Self {
            nodes: vec![node; NODES_MAX],
            in_flight: Vec::new(),
            committed: genesis,
            acknowledged: 0,
            nonces: Vec::new(),
            truncated: 0,
            side: NodeSet::NONE,
        }
    }

    /// The highest acknowledged block.
    pub const fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// Takes one step; whether anything happened.
    pub fn step(&mut self, event: Event, rules: &Rules) -> Result<bool, Violation> {
        if rules.tail == Tail::HighWaterMark {
            for node in &mut self.nodes {
                node.high_water = node.high_water.max(node.last_block_upto(node.log.last()));
            }
        }
        match event {
            Event::Elect { node, voters } => Ok(self.elect(node, voters)),
            Event::Append { node } => Ok(self.append(node, Content::Block)),
            Event::ProposeRoster { node, voters } => Ok(self.propose_roster(node, voters)),
            Event::FinishRoster { node } => Ok(self.finish_roster(node)),
            Event::Replicate { from, to, entries_max } => self.replicate(from, to, entries_max),
            Event::SendSnapshot { from, to } => Ok(self.send_snapshot(from, to, rules)),
            Event::Flush { node } => Ok(self.flush(node)),
            Event::Acknowledge { from, to } => self.acknowledge(from, to),
            Event::LoseAcknowledgement { from, to } => Ok(self.take_acknowledgement(from, to).is_some()),
            Event::Apply { node, entries_max } => Ok(self.apply(node, entries_max, rules)),
            Event::TakeSnapshot { node } => Ok(self.take_snapshot(node)),
            Event::Purge { node } => Ok(self.purge(node)),
            Event::Install { node } => Ok(self.install(node)),
            Event::PowerCut { node, log_survives, applied_survives } => {
                Ok(self.power_cut(node, log_survives, applied_survives, rules))
            }
            Event::Start { node } => Ok(self.start(node, rules)),
            Event::Partition { side } => {
                self.side = side;
                Ok(true)
            }
            Event::MakeNonce => {
                if self.nonces.len() >= NONCES_MAX {
                    self.nonces.remove(0);
                }
                self.nonces.push(Nonce { acknowledged: self.acknowledged, statements: Vec::new() });
                Ok(true)
            }
            Event::Sign { node } => self.sign(node, rules),
            Event::UpdateWatch { node } => {
                let node = &mut self.nodes[node];
                node.watched_roster = node.roster().map_or(0, |(position, _)| position);
                Ok(true)
            }
        }
    }

    /// Whether a message passes between two nodes.
    pub(super) fn reaches(&self, a: usize, b: usize) -> bool {
        self.nodes[a].up && self.nodes[b].up && self.side.has(a) == self.side.has(b)
    }

    fn sign(&mut self, node: usize, rules: &Rules) -> Result<bool, Violation> {
        let signer = &mut self.nodes[node];
        if !signer.up || self.nonces.is_empty() || (rules.recover_before_signing && !signer.recovered) {
            return Ok(false);
        }
        let now = signer.body(rules);
        let body = if rules.read_after_nonce {
            now
        } else {
            let Some(prepared) = signer.prepared.replace(now) else { return Ok(false) };
            prepared
        };
        if body.tail < signer.head_signed {
            return Err(Violation::ConvictsItself { node, tail: body.tail, head: signer.head_signed });
        }
        signer.head_signed = last_block(&signer.applied);
        let statement = Statement { node, tail: body.tail, roster: body.roster };
        for nonce in &mut self.nonces {
            // What a node says twice over one nonce proves nothing more.
            if !nonce.statements.contains(&statement) {
                nonce.statements.push(statement);
            }
        }
        for nonce in &self.nonces {
            if let Some((roster, statements)) = nonce.stale_proof(&self.committed, rules) {
                let acknowledged = nonce.acknowledged;
                return Err(Violation::StaleProof { roster, statements, acknowledged });
            }
        }
        Ok(true)
    }
}
