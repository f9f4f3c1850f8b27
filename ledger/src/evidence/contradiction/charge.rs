//! What convicts a node: rules that an honest one keeps whatever happens to it.
//!
//! All of them rest on what a node does before it signs: it takes its numbers in order, under the lock of its
//! log, never one twice, across restarts too; what it applied was committed and flushed in its own log first;
//! and it never un-knows a committed block or roster. What is *not* committed may be truncated: a tail block
//! or roster that falls is no contradiction by itself, only one that falls below a head that was signed
//! before.

use std::fmt;

use super::Message;
use crate::authority::Block;
use crate::head::{Head, Number, RosterId, Statement};

/// What a node's own signatures show it to have done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Charge {
    /// One number under two different statements. A number is taken from a counter that only grows, under a
    /// boot epoch that is synced before the first is used.
    NumberTwice {
        /// The number.
        number: Number,
    },
    /// A fresh statement whose log ends before a head that the node signed under an earlier number, or in the
    /// same statement. It applies only what is flushed in its own log and committed, and that is never cut.
    TailBelowHead {
        /// Where the log ended, as it said later.
        tail_block: u64,
        /// The block of the head, which it had applied before.
        head_block: u64,
    },
    /// A fresh statement that names a roster other than the one in force at the head that the node signed
    /// under an earlier number, or in the same statement, and no later one: its log held that head's roster
    /// by then, and all blocks up to the head.
    RosterBelowHead {
        /// The roster that its log said was in force, as it said later.
        tail_roster: RosterId,
        /// The one in force after the head's block.
        head_roster: RosterId,
    },
    /// A roster from a block beyond the end of the log, or of the head, that it is to be in force at.
    RosterAhead {
        /// The block that is to have brought it into force.
        roster_block: u64,
        /// Where the log or the head ends.
        block: u64,
    },
    /// Two different heads of one block. A head is what the one state machine makes of the one committed
    /// sequence of blocks; and another sequence is another ledger.
    HeadTwice {
        /// The block.
        block: u64,
    },
    /// Two heads with logs of one size that differ in more than their block. Every change adds a leaf.
    SizeTwice {
        /// Leaves in both logs.
        log_size: u64,
    },
    /// A log that is smaller at the later of two blocks. Leaves are only added.
    LogShrank {
        /// The earlier block.
        block: u64,
        /// The later one.
        later_block: u64,
    },
    /// A ledger time that is earlier at the later of two blocks. It is the greatest stamp so far.
    TimeFell {
        /// The earlier block.
        block: u64,
        /// The later one.
        later_block: u64,
    },
    /// Two heads of which the later says that its roster was in force at the earlier one already, which names
    /// another. A roster is replaced only by a block, whose number is in the new one's id.
    RosterRewritten {
        /// The earlier block.
        block: u64,
        /// The later one.
        later_block: u64,
    },
    /// Two different blocks proposed in one term after one predecessor. In its term only a leader appends, one
    /// block at a time, and it cuts nothing; after a restart it can lead only in a later term. (It may sign
    /// one block that its own Raft refuses before it is appended, and then another; but the first never
    /// leaves its memory, so nobody can show it.)
    ProposalTwice {
        /// The term.
        term: u64,
    },
}

impl Charge {
    /// A stable name for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NumberTwice { .. } => "number_twice",
            Self::TailBelowHead { .. } => "tail_below_head",
            Self::RosterBelowHead { .. } => "roster_below_head",
            Self::RosterAhead { .. } => "roster_ahead",
            Self::HeadTwice { .. } => "head_twice",
            Self::SizeTwice { .. } => "size_twice",
            Self::LogShrank { .. } => "log_shrank",
            Self::TimeFell { .. } => "time_fell",
            Self::RosterRewritten { .. } => "roster_rewritten",
            Self::ProposalTwice { .. } => "proposal_twice",
        }
    }
}

impl fmt::Display for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NumberTwice { number: Number { epoch, counter } } => {
                write!(f, "two statements under one number, {epoch}.{counter}")
            }
            Self::TailBelowHead { tail_block, head_block } => {
                write!(
                    f,
                    "a log that ends at block {tail_block}, when the head of block {head_block} was signed"
                )
            }
            Self::RosterBelowHead { tail_roster, head_roster } => {
                write!(f, "roster {tail_roster} at the log's end, after a head under roster {head_roster}")
            }
            Self::RosterAhead { roster_block, block } => {
                write!(f, "a roster of block {roster_block} in force at block {block}")
            }
            Self::HeadTwice { block } => write!(f, "two heads of block {block}"),
            Self::SizeTwice { log_size } => write!(f, "two ledgers whose logs have {log_size} leaves"),
            Self::LogShrank { block, later_block } => {
                write!(f, "a log that is smaller at block {later_block} than at block {block}")
            }
            Self::TimeFell { block, later_block } => {
                write!(f, "a ledger time that is earlier at block {later_block} than at block {block}")
            }
            Self::RosterRewritten { block, later_block } => {
                write!(
                    f,
                    "two rosters in force at block {block}, by the heads of it and of block {later_block}"
                )
            }
            Self::ProposalTwice { term } => {
                write!(f, "two blocks proposed after one predecessor in term {term}")
            }
        }
    }
}

/// What one message shows by itself. A block by itself shows nothing.
pub(super) fn alone(message: &Message) -> Option<Charge> {
    let Message::Statement(statement) = message else { return None };
    let Statement { head, fresh, .. } = statement.as_ref();
    let ahead = |roster: RosterId, block| {
        (roster.block > block).then_some(Charge::RosterAhead { roster_block: roster.block, block })
    };
    let tail = || fresh.and_then(|fresh| ahead(fresh.tail_roster, fresh.tail_block));
    ahead(head.roster, head.block).or_else(tail).or_else(|| log_below(head, statement))
}

/// What two messages of one node, about one ledger, show together. The order of the two does not matter.
pub(super) fn between(a: &Message, b: &Message) -> Option<Charge> {
    match (a, b) {
        (Message::Statement(a), Message::Statement(b)) => between_statements(a, b),
        (Message::Block(a), Message::Block(b)) => between_blocks(a, b),
        (Message::Statement(statement), Message::Block(block))
        | (Message::Block(block), Message::Statement(statement)) => {
            let head = &statement.head;
            let differ = block.head_block == head.block && block.head_hash != head.hash();
            differ.then_some(Charge::HeadTwice { block: head.block })
        }
    }
}

pub(super) fn between_statements(a: &Statement, b: &Statement) -> Option<Charge> {
    if a.number == b.number {
        // Two signatures on the same words are no contradiction.
        return (!says_same(a, b)).then_some(Charge::NumberTwice { number: a.number });
    }
    let (earlier, later) = if a.number < b.number { (a, b) } else { (b, a) };
    between_heads(&a.head, &b.head).or_else(|| log_below(&earlier.head, later))
}

/// Whether two statements say the same, whatever their signatures are.
pub(super) fn says_same(a: &Statement, b: &Statement) -> bool {
    (a.node, a.number, a.fresh, a.head) == (b.node, b.number, b.fresh, b.head)
}

/// Whether the log that `later` states lacks what was committed when `head` was signed, under the number of
/// `later` or an earlier one.
fn log_below(head: &Head, later: &Statement) -> Option<Charge> {
    let fresh = later.fresh?;
    if fresh.tail_block < head.block {
        return Some(Charge::TailBelowHead { tail_block: fresh.tail_block, head_block: head.block });
    }
    // A roster of a block beyond the head may be in the uncommitted part, and come and go.
    let known = fresh.tail_roster == head.roster || fresh.tail_roster.block > head.block;
    (!known).then_some(Charge::RosterBelowHead { tail_roster: fresh.tail_roster, head_roster: head.roster })
}

/// Whether two heads are not of one ledger. If no two neighbours by block in a list of heads are, then no two
/// of the list are.
fn between_heads(a: &Head, b: &Head) -> Option<Charge> {
    let (early, late) = if a.block <= b.block { (a, b) } else { (b, a) };
    let (block, later_block) = (early.block, late.block);
    if block == later_block {
        return (early != late).then_some(Charge::HeadTwice { block });
    }
    if early.log_size > late.log_size {
        return Some(Charge::LogShrank { block, later_block });
    }
    if early.log_size == late.log_size {
        let same = *late == Head { block: later_block, ..*early };
        return (!same).then_some(Charge::SizeTwice { log_size: late.log_size });
    }
    if early.time_ms > late.time_ms {
        return Some(Charge::TimeFell { block, later_block });
    }
    let kept = late.roster == early.roster || late.roster.block > block;
    (!kept).then_some(Charge::RosterRewritten { block, later_block })
}

fn between_blocks(a: &Block, b: &Block) -> Option<Charge> {
    if (a.term, a.previous_hash) == (b.term, b.previous_hash) && !a.proposes_same(b) {
        return Some(Charge::ProposalTwice { term: a.term });
    }
    let differ = a.head_block == b.head_block && a.head_hash != b.head_hash;
    differ.then_some(Charge::HeadTwice { block: a.head_block })
}
