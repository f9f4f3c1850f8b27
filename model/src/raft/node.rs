//! One node: what it durably holds, what it only remembers, and what it would say.

use super::entry::{Content, Entry, Roster, last_block, last_roster};
use super::rules::{NamedRoster, Rules, Tail};
use crate::node_set::NODES_MAX;

/// A Raft log from which a prefix may have been purged. Positions begin at 1.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Log {
    /// The last position that was purged, or 0.
    pub(super) purged: usize,
    /// What follows it.
    pub(super) entries: Vec<Entry>,
}

impl Log {
    pub(super) const fn last(&self) -> usize {
        self.purged + self.entries.len()
    }

    pub(super) fn get(&self, position: usize) -> Option<Entry> {
        let at = position.checked_sub(self.purged + 1)?;
        self.entries.get(at).copied()
    }

    /// Keeps what is before `position`.
    pub(super) fn truncate(&mut self, position: usize) {
        self.entries.truncate(position.saturating_sub(self.purged + 1));
    }

    /// Forgets everything up to `position`.
    pub(super) fn purge(&mut self, position: usize) {
        let count = position.saturating_sub(self.purged).min(self.entries.len());
        self.entries.drain(..count);
        self.purged = self.purged.max(position);
    }

    /// Forgets everything, and begins after `position`.
    pub(super) fn restart_after(&mut self, position: usize) {
        self.entries.clear();
        self.purged = position;
    }
}

/// An acknowledgement: this node's log reaches `position`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Acknowledgement {
    pub(super) leader: usize,
    pub(super) term: u32,
    pub(super) position: usize,
}

/// How far the installation of a received snapshot got.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum InstallStage {
    /// Handed to Raft, which truncates a conflicting log first.
    HandedOver,
    /// The applied state comes next.
    LogTruncated,
    /// The log is purged last.
    StateReplaced,
}

/// A snapshot being installed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Installing {
    pub(super) snapshot: Vec<Entry>,
    pub(super) stage: InstallStage,
    pub(super) leader: usize,
    pub(super) term: u32,
}

/// What a node says of itself: the last block in its log and the roster that is in force there, each by
/// position.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Body {
    pub(super) tail: usize,
    pub(super) roster: usize,
}

/// A node.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Node {
    // Durable. Term and vote are synced with each change, and so is what was written to the log before them.
    pub(super) term: u32,
    pub(super) voted: Option<usize>,
    /// The log as synced.
    pub(super) disk: Log,
    /// The last position of `applied` that a power cut cannot take.
    pub(super) applied_synced: usize,
    /// A received snapshot, synced and registered before it was handed to Raft.
    pub(super) registered: Option<Vec<Entry>>,

    // Not durable, or not yet.
    /// The log as written.
    pub(super) log: Log,
    /// What was applied, from position 1.
    pub(super) applied: Vec<Entry>,
    pub(super) up: bool,
    pub(super) leader: bool,
    /// What this node knows to be committed.
    pub(super) commit: usize,
    /// As leader: how far each node's log is known to match.
    pub(super) matched: [usize; NODES_MAX],
    /// As leader: where its own term begins.
    pub(super) term_begins: usize,
    /// Acknowledgements that wait for the log to be synced.
    pub(super) unsent: Vec<Acknowledgement>,
    pub(super) installing: Option<Installing>,
    pub(super) high_water: usize,
    pub(super) recovered: bool,
    pub(super) tail_at_start: usize,
    /// What a leader of its own term said to be committed, since the start.
    pub(super) cluster_committed: usize,
    pub(super) prepared: Option<Body>,
    pub(super) watched_roster: usize,

    // What an observer remembers.
    /// The highest head that this node ever signed.
    pub(super) head_signed: usize,
}

impl Node {
    /// A node that starts with `log`, synced.
    pub(super) fn new(log: Log) -> Self {
        Self { up: true, recovered: true, watched_roster: 1, disk: log.clone(), log, ..Self::default() }
    }

    /// The entry at `position`: of the log, or else of the applied state.
    pub(super) fn get(&self, position: usize) -> Option<Entry> {
        self.log.get(position).or_else(|| self.applied.get(position.checked_sub(1)?).copied())
    }

    /// The term of the entry at `position`.
    pub(super) fn term_at(&self, position: usize) -> u32 {
        self.get(position).map_or(0, |entry| entry.term)
    }

    /// The last entry by which Raft compares logs. A snapshot counts as soon as Raft has been handed it, unless the
    /// log goes on from it.
    pub(super) fn last_log_id(&self) -> (u32, usize) {
        if let Some(installing) = &self.installing {
            let end = installing.snapshot.len();
            let extends = self.log.last() > end && self.get(end).as_ref() == installing.snapshot.last();
            if !extends {
                return (installing.snapshot.last().map_or(0, |entry| entry.term), end);
            }
        }
        (self.term_at(self.log.last()), self.log.last())
    }

    /// The roster that the log says is in force, and its position.
    pub(super) fn roster(&self) -> Option<(usize, Roster)> {
        (1..=self.log.last()).rev().find_map(|position| match self.get(position)?.content {
            Content::Roster(roster) => Some((position, roster)),
            Content::Blank | Content::Block => None,
        })
    }

    /// How far the written log is synced.
    pub(super) fn flushed(&self) -> usize {
        let synced = |position: &usize| {
            *position <= self.disk.purged || self.disk.get(*position) == self.get(*position)
        };
        (self.log.purged + 1..=self.log.last()).take_while(synced).last().unwrap_or(self.log.purged)
    }

    /// The last block up to `end`, in the log or the applied state.
    pub(super) fn last_block_upto(&self, end: usize) -> usize {
        let block =
            |position: &usize| self.get(*position).is_some_and(|entry| entry.content == Content::Block);
        (1..=end).rev().find(block).unwrap_or(0)
    }

    /// What this node would sign now.
    pub(super) fn body(&self, rules: &Rules) -> Body {
        let applied_block = last_block(&self.applied);
        let mut tail = match rules.tail {
            Tail::Written => self.last_block_upto(self.log.last()).max(applied_block),
            Tail::Flushed => self.last_block_upto(self.flushed()).max(applied_block),
            Tail::Applied => applied_block,
            Tail::HighWaterMark => {
                self.last_block_upto(self.log.last()).max(applied_block).max(self.high_water)
            }
        };
        let applied_roster = last_roster(&self.applied);
        let mut roster = match rules.named_roster {
            NamedRoster::Log => self.roster().map_or(0, |(position, _)| position).max(applied_roster),
            // Genesis is known before anything is applied.
            NamedRoster::Applied => applied_roster.max(1),
            NamedRoster::Watch => self.watched_roster,
        };
        // A roster that is deliberately read from elsewhere would be mended by the floor.
        if rules.floor {
            let handed_over = self.installing.as_ref().map(|installing| &installing.snapshot);
            for snapshot in handed_over.into_iter().chain(&self.registered) {
                tail = tail.max(last_block(snapshot));
                if rules.named_roster == NamedRoster::Log {
                    roster = roster.max(last_roster(snapshot));
                }
            }
        }
        Body { tail, roster }
    }

    /// Adopts a higher term.
    pub(super) fn step_down(&mut self, term: u32) {
        if term > self.term {
            self.term = term;
            self.voted = None;
            self.leader = false;
        }
    }

    /// Replaces the durable log by the written one.
    pub(super) fn sync_log(&mut self) {
        self.disk.clone_from(&self.log);
    }
}
