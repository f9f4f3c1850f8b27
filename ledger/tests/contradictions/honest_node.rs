//! A plain model of an honest node: a log whose committed part is never cut, while the rest may be anything.

use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, RosterId, Statement};
use proptest::prelude::*;

use super::{fresh, sign};
use crate::house::House;

/// The node that signs.
pub(crate) const NODE: u64 = 2;

/// Blocks that the cluster will ever commit.
const BLOCKS: u64 = 24;

/// What happens to the node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// It appends the next block that will be committed.
    Append,
    /// It appends a block of a leader that will be deposed, which perhaps changes the roster.
    AppendDoomed { roster: bool },
    /// What it does not know to be committed is cut, down to this many blocks above it.
    Truncate { left: u64 },
    /// It learns how far the log is committed, and applies that.
    Apply { blocks: u64 },
    /// It installs a snapshot that is so many blocks ahead of what it applied.
    Snapshot { ahead: u64 },
    /// It starts again; a start may also fail before it signs anything.
    Restart { failed: u64 },
    /// It answers a nonce. Its head was read `behind` blocks before the log was.
    Fresh { behind: u64 },
    /// It signs the head of an earlier block that it was asked for.
    Head { behind: u64 },
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => Just(Event::Append),
        2 => any::<bool>().prop_map(|roster| Event::AppendDoomed { roster }),
        2 => (0..4_u64).prop_map(|left| Event::Truncate { left }),
        4 => (1..4_u64).prop_map(|blocks| Event::Apply { blocks }),
        1 => (0..6_u64).prop_map(|ahead| Event::Snapshot { ahead }),
        1 => (0..2_u64).prop_map(|failed| Event::Restart { failed }),
        8 => (0..3_u64).prop_map(|behind| Event::Fresh { behind }),
        4 => (0..9_u64).prop_map(|behind| Event::Head { behind }),
    ];
    proptest::collection::vec(event, 1..120)
}

/// What each committed block does: nothing, add leaves, or change the roster.
pub(crate) fn chain() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![2 => Just(0_u8), 6 => Just(1), 2 => Just(2)], BLOCKS as usize)
}

/// Everything that an honest node signs while `events` happen.
pub(crate) fn statements(house: &House, chain: &[u8], events: &[Event]) -> Vec<Statement> {
    let heads = heads(house, chain);
    let mut node = Node { heads, log: 0, doomed: Vec::new(), applied: 0, epoch: 1, counter: 0 };
    events.iter().filter_map(|event| node.meet(*event)).collect()
}

fn heads(house: &House, chain: &[u8]) -> Vec<Head> {
    let mut heads = vec![*house.head()];
    for (block, effect) in (1..).zip(chain) {
        let last = *heads.last().unwrap();
        let mut head = Head { block, ..last };
        if *effect > 0 {
            head.log_size += 1 + block % 3;
            head.time_ms += block % 2;
            head.log_root = Hash::of(&[b"log", &block.to_be_bytes()]);
            head.state_root = Hash::of(&[b"state", &block.to_be_bytes()]);
        }
        if *effect > 1 {
            head.roster = RosterId { block, digest: Hash::of(&[b"roster", &block.to_be_bytes()]) };
        }
        heads.push(head);
    }
    heads
}

struct Node {
    /// What will be committed.
    heads: Vec<Head>,
    /// The last block of that in its log.
    log: u64,
    /// Further blocks in its log, which will not be committed: the roster of each that changes it.
    doomed: Vec<Option<RosterId>>,
    /// What it applied, and so never un-knows.
    applied: u64,
    epoch: u64,
    counter: u64,
}

impl Node {
    fn meet(&mut self, event: Event) -> Option<Statement> {
        match event {
            Event::Append if self.doomed.is_empty() => self.log = BLOCKS.min(self.log + 1),
            Event::Append => {}
            Event::AppendDoomed { roster } => {
                let block = self.tail_block() + 1;
                // No two doomed leaders propose the same roster.
                let digest = Hash::of(&[b"doomed", &self.counter.to_be_bytes(), &block.to_be_bytes()]);
                self.doomed.push(roster.then_some(RosterId { block, digest }));
            }
            Event::Truncate { left } => {
                self.doomed.clear();
                self.log = self.log.min(self.applied + left);
            }
            Event::Apply { blocks } => self.applied = self.log.min(self.applied + blocks),
            Event::Snapshot { ahead } => {
                self.applied = BLOCKS.min(self.applied + ahead);
                self.log = self.log.max(self.applied);
                self.doomed.clear();
            }
            Event::Restart { failed } => (self.epoch, self.counter) = (self.epoch + 1 + failed, 0),
            Event::Fresh { behind } => {
                let (log, head) = (fresh(self.tail_block(), self.tail_roster()), self.head(behind));
                return Some(sign(NODE, self.next_number(), log, head));
            }
            Event::Head { behind } => {
                let head = self.head(behind);
                return Some(sign(NODE, self.next_number(), None, head));
            }
        }
        None
    }

    fn head(&self, behind: u64) -> Head {
        self.heads[usize::try_from(self.applied.saturating_sub(behind)).unwrap()]
    }

    fn tail_block(&self) -> u64 {
        self.log + self.doomed.len() as u64
    }

    fn tail_roster(&self) -> RosterId {
        let committed = self.heads[usize::try_from(self.log).unwrap()].roster;
        self.doomed.iter().rev().find_map(|roster| *roster).unwrap_or(committed)
    }

    fn next_number(&mut self) -> (u64, u64) {
        self.counter += 1;
        (self.epoch, self.counter)
    }
}
