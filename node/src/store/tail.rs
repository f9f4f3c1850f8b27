//! The tail: how many blocks this node's log holds, and which roster is in force at its end.
//!
//! A block's number is the count of block entries by log position, so it is never carried inside; the
//! roster is a matter of log position likewise. [`Position::after`] is that rule, applied once as an
//! entry is appended. Its result is stored in the entry's record, so a truncation finds the right
//! value again and a start reads one record.
//!
//! What a node states to others is the maximum of the log's tail and a *floor*: what it knows to be
//! committed from applied state and registered snapshots. The floor only rises, whatever is truncated
//! or purged, so a node never un-knows a committed block or roster. A longer, not yet truncated tail may
//! end under an older roster than a snapshot proves, or under one that was never committed: the log's
//! roster counts only if its block is beyond the floor.

use std::collections::{BTreeMap, BTreeSet};

use chancery_ledger::hash::Hash;
use chancery_ledger::head::RosterId;

use crate::raft::types::{LogId, NodeId, Payload};
use crate::sabotage::{self, Sabotage};
use crate::store::fault::LogFault;

/// What a log position means: everything that depends on which entries come up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of block entries up to here.
    pub block: u64,
    /// The hash of the last of them; of genesis if there is none.
    pub block_hash: Hash,
    /// The roster in force.
    pub roster: RosterId,
    /// [`voters_digest`] of the voter sets in force.
    pub voters: Hash,
}

impl Position {
    /// The position after an entry with `payload` at `index`, if that entry may stand there: a block
    /// must name the last one as its predecessor, and a roster block must carry the membership with exactly
    /// its voters. Nothing else may change voters.
    pub fn after(&self, index: u64, payload: &Payload, format: &dyn BlockFormat) -> Result<Self, LogFault> {
        let refused = |reason: String| LogFault::Block { index, reason };
        let mut next = *self;
        if let Some(block) = payload.block() {
            let found = format.previous(block.bytes()).map_err(|error| refused(error.0))?;
            if found != self.block_hash {
                return Err(LogFault::Chain { index, expected: self.block_hash, found });
            }
            next.block = self.block.checked_add(1).ok_or_else(|| LogFault::Corrupt {
                what: "block number".to_owned(),
                reason: "no further block can be counted".to_owned(),
            })?;
            next.block_hash = format.hash(block.bytes());
        }
        match roster_of(payload, format).map_err(|error| refused(error.0))? {
            Some(roster) => {
                next.voters = roster.voters;
                next.roster = RosterId { block: next.block, digest: roster.digest };
            }
            None => {
                let voters =
                    payload.membership().map(|membership| voters_digest(membership.get_joint_config()));
                if voters.is_some_and(|voters| voters != self.voters) {
                    return Err(LogFault::VotersWithoutRoster { index });
                }
            }
        }
        Ok(next)
    }
}

/// The roster of a roster block, which must carry the membership with exactly its voters. No other block may
/// carry a membership.
pub(crate) fn roster_of(
    payload: &Payload,
    format: &dyn BlockFormat,
) -> Result<Option<BlockRoster>, BlockFormatError> {
    let Some(block) = payload.block() else { return Ok(None) };
    let refused = |reason: &str| Err(BlockFormatError(reason.to_owned()));
    let voters = payload.membership().map(|membership| voters_digest(membership.get_joint_config()));
    match (voters, format.roster(block.bytes())?) {
        (Some(voters), Some(roster)) if voters != roster.voters => {
            refused("its roster has other voters than its membership")
        }
        (None, Some(_)) => refused("it brings a roster without a membership"),
        (Some(_), None) => refused("it brings a membership without a roster"),
        (_, roster) => Ok(roster),
    }
}

/// The digest by which voter sets (one, or two while joint) are compared.
pub fn voters_digest(sets: &[BTreeSet<NodeId>]) -> Hash {
    let mut bytes = Vec::new();
    for set in sets {
        bytes.extend_from_slice(&(set.len() as u64).to_be_bytes());
        bytes.extend(set.iter().flat_map(|id| id.to_be_bytes()));
    }
    Hash::labelled("chancery/voters/v1", &[&bytes])
}

/// Where every log of a ledger starts: block 0, which is never a Raft entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The hash of the genesis block.
    pub block_hash: Hash,
    /// The digest of the genesis roster.
    pub roster_digest: Hash,
    /// The genesis roster's voters. `initialize` must be given exactly these.
    pub voters: BTreeSet<NodeId>,
}

impl Genesis {
    /// The position before the first entry.
    pub fn position(&self) -> Position {
        Position {
            block: 0,
            block_hash: self.block_hash,
            roster: RosterId { block: 0, digest: self.roster_digest },
            voters: voters_digest(std::slice::from_ref(&self.voters)),
        }
    }
}

/// Reads of a block what the log store must know.
pub trait BlockFormat: Send + Sync + 'static {
    /// The hash of the previous block, from the block's header.
    fn previous(&self, block: &[u8]) -> Result<Hash, BlockFormatError>;

    /// The roster that the block brings into force, if it is a roster block.
    fn roster(&self, block: &[u8]) -> Result<Option<BlockRoster>, BlockFormatError>;

    /// The block's hash.
    fn hash(&self, block: &[u8]) -> Hash {
        Hash::labelled("chancery/block/v1", &[block])
    }
}

/// What a roster block says of its roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRoster {
    /// The roster's digest: with the block's number, its id.
    pub digest: Hash,
    /// [`voters_digest`] of its sets.
    pub voters: Hash,
}

/// A block that is none, or not the one that belongs here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BlockFormatError(pub String);

/// What a head statement says about this node's log. Read it under the log's lock, with
/// [`RaftLog::read_tail_with`](crate::store::RaftLog::read_tail_with); a copy of it is stale at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The number of the last block that this node holds durably, in its log or below.
    pub block: u64,
    /// The hash of that block.
    pub block_hash: Hash,
    /// The newest roster that this node holds durably.
    pub roster: RosterId,
    /// The last entry flushed in the log, or the last one purged from it.
    pub log_id: Option<LogId>,
}

/// How many registered snapshots are remembered for a purge that passes the log's end.
const ANCHORS_MAX: usize = 16;

/// The guarded state behind [`Tail`].
pub(super) struct TailState {
    /// The log's last durable entry, or the last purged.
    log_id: Option<LogId>,
    /// The position there. Falls when the log is truncated.
    log: Position,
    /// Committed block and hash. Only rises.
    floor_block: (u64, Hash),
    /// Committed roster. Only rises.
    floor_roster: RosterId,
    /// Where registered snapshots end, beyond what is purged.
    anchors: BTreeMap<u64, (LogId, Position)>,
}

impl TailState {
    pub(super) fn new(log_id: Option<LogId>, log: Position, committed: Position) -> Self {
        Self {
            log_id,
            log,
            floor_block: (committed.block, committed.block_hash),
            floor_roster: committed.roster,
            anchors: BTreeMap::new(),
        }
    }

    /// What a statement may say now.
    pub(super) fn tail(&self) -> Tail {
        let (floor_block, floor_hash) = self.floor_block;
        let (block, block_hash) = if self.log.block > floor_block {
            (self.log.block, self.log.block_hash)
        } else {
            (floor_block, floor_hash)
        };
        // Up to the floor's block the committed log has the floor's roster: another one that this log names for
        // there is of a tail that a snapshot went past, and that will be cut.
        let roster = if self.log.roster.block > floor_block { self.log.roster } else { self.floor_roster };
        Tail { block, block_hash, roster, log_id: self.log_id }
    }

    /// The hash of the last block in the log itself, if that ends at `at`.
    pub(super) fn block_hash_at_end(&self, at: Option<LogId>) -> Option<Hash> {
        (self.log_id == at).then_some(self.log.block_hash)
    }

    /// The log now durably ends at `log_id`, with `log` as its position.
    pub(super) fn set_log(&mut self, log_id: Option<LogId>, log: Position) {
        self.log_id = log_id;
        self.log = log;
    }

    /// `committed` is known to be committed, and durable here or re-derivable from what is.
    pub(super) fn raise_floor(&mut self, committed: &Position) {
        if sabotage::active(Sabotage::NoFloor) {
            return;
        }
        if committed.block > self.floor_block.0 {
            self.floor_block = (committed.block, committed.block_hash);
        }
        if committed.roster.block > self.floor_roster.block {
            self.floor_roster = committed.roster;
        }
    }

    /// A snapshot that ends at `log_id` is registered.
    pub(super) fn anchor(&mut self, log_id: LogId, position: Position) {
        self.raise_floor(&position);
        self.anchors.insert(log_id.index, (log_id, position));
        if self.anchors.len() > ANCHORS_MAX {
            self.anchors.pop_first();
        }
    }

    /// The position at `log_id`, if a registered snapshot ends there.
    pub(super) fn anchored(&self, log_id: LogId) -> Option<Position> {
        self.anchors.get(&log_id.index).filter(|(id, _)| *id == log_id).map(|(_, position)| *position)
    }

    /// Forgets where snapshots end up to `index`: everything up to there is purged.
    pub(super) fn forget_anchors(&mut self, index: u64) {
        self.anchors.retain(|anchored, _| *anchored > index);
    }
}
