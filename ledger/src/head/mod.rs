//! Heads, the signed statements about them, and the quorums that make them count.
//!
//! A [`Head`] commits to everything up to one block. A [`Statement`] is one node's signature on its newest
//! head and, when it answers a nonce, on how far its Raft log reaches: the fresh kind is what makes a check
//! provably fresh without a trusted clock or leader.

mod chain;
mod quorum;
mod roster;
mod statement;

pub use chain::{
    ROSTER_CHAIN_SIZE_BYTES_MAX, ROSTER_LINKS_MAX, RosterChain, RosterChainDecodeError, RosterLink,
    RosterLinkError,
};
pub use quorum::{
    Freshness, HeadQuorum, HeadVoters, QuorumError, STATEMENTS_MAX, decode_statements, verify_fresh,
    verify_head,
};
pub use roster::{Roster, RosterId, VOTERS_MAX, Voter, VoterSet};
pub use statement::{Fresh, HEAD_SIZE_BYTES, Number, STATEMENT_PREFIX, Statement, StatementError};

use crate::command::LedgerId;
use crate::hash::Hash;

/// What a ledger is after one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Which ledger.
    pub ledger: LedgerId,
    /// Number of the block: the count of block entries in the Raft log, rejected ones included.
    pub block: u64,
    /// Ledger time: the greatest stamp of a block with leaves so far, in milliseconds since 1970.
    pub time_ms: u64,
    /// Leaves in the log.
    pub log_size: u64,
    /// Root of the log at that size.
    pub log_root: Hash,
    /// Root of the state tree.
    pub state_root: Hash,
    /// The roster in force after the block.
    pub roster: RosterId,
    /// The rules that the next block is applied by, and this state is decided by.
    pub rules_version: u32,
}

impl Head {
    /// The fixed layout: ledger id 32, block 8, time 8, log size 8, log root 32, state root 32, roster block
    /// 8, roster digest 32, rules version 4; integers big-endian.
    pub fn encode(&self) -> [u8; HEAD_SIZE_BYTES] {
        statement::encode_head(self)
    }

    /// The head in exactly [`HEAD_SIZE_BYTES`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        statement::decode_head(bytes)
    }

    /// Names the head in a block proposal.
    pub fn hash(&self) -> Hash {
        Hash::labelled("chancery/head-hash/v1", &[&self.encode()])
    }
}
