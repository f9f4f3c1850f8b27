//! The genesis block, checked once, and what every store of a ledger derives from it.

use std::collections::BTreeSet;

use chancery_ledger::authority::{self, Block, BlockError, State};
use chancery_ledger::command::{Body, LedgerId};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::Roster;
use chancery_ledger::state::MemoryNodes;

use crate::raft::types::{Membership, NodeId};
use crate::store::{BlockFormat, BlockFormatError, BlockRoster, Genesis, voters_digest};

/// A ledger's founding: block 0, what it does to the empty state, and its roster.
#[derive(Clone, Debug)]
pub struct Founding {
    block_hash: Hash,
    origin: String,
    roster: Roster,
    state: State,
    applied: authority::Applied,
}

/// Why bytes found no ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoundingError {
    /// They are no block.
    #[error("the genesis block cannot be read: {0}")]
    Block(#[from] BlockError),
    /// The block founds nothing.
    #[error("{0}")]
    Refused(String),
}

impl Founding {
    /// Founds the ledger of an encoded genesis block.
    pub fn decode(bytes: &[u8]) -> Result<Self, FoundingError> {
        Self::new(&Block::decode(bytes)?)
    }

    /// Founds the ledger of `block`.
    pub fn new(block: &Block) -> Result<Self, FoundingError> {
        let refused = |reason: String| FoundingError::Refused(reason);
        let (state, applied) =
            State::genesis(&MemoryNodes::new(), block).map_err(|error| refused(error.to_string()))?;
        // INVARIANT: what `State::genesis` accepts holds one command, which is genesis.
        let roster = block.commands.first().and_then(|signed| match &signed.command().body {
            Body::Genesis(genesis) => Some((genesis.origin.clone(), genesis.roster.clone())),
            _ => None,
        });
        let (origin, roster) = roster.ok_or_else(|| refused("the genesis block names no roster".into()))?;
        if roster.sets().len() != 1 {
            return Err(refused("the genesis roster is joint".into()));
        }
        Ok(Self { block_hash: block.hash(), origin, roster, state, applied })
    }

    /// The ledger's id.
    pub fn ledger(&self) -> LedgerId {
        self.state.head().ledger
    }

    /// Names the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The first voters.
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Where the ledger's Raft logs start.
    pub fn log_genesis(&self) -> Genesis {
        Genesis {
            block_hash: self.block_hash,
            roster_digest: self.roster.digest(),
            voters: self.roster.voters().map(|voter| voter.node).collect(),
        }
    }

    /// The state after block 0, and what block 0 writes.
    pub(in crate::store) const fn effects(&self) -> (&State, &authority::Applied) {
        (&self.state, &self.applied)
    }
}

/// Whether `membership` has exactly the voter sets of `roster`.
pub fn has_voters_of(roster: &Roster, membership: &Membership) -> bool {
    voters_digest(&voter_ids(roster)) == voters_digest(membership.get_joint_config())
}

/// The node ids in each set of `roster`.
pub fn voter_ids(roster: &Roster) -> Vec<BTreeSet<NodeId>> {
    roster.sets().iter().map(|set| set.voters().iter().map(|voter| voter.node).collect()).collect()
}

/// Reads blocks for the log store.
#[derive(Clone, Copy, Debug, Default)]
pub struct LedgerBlocks;

impl BlockFormat for LedgerBlocks {
    /// The block's first field. A block is decoded whole, and strictly, when it is applied: in its one
    /// encoding that field comes first.
    fn previous(&self, block: &[u8]) -> Result<Hash, BlockFormatError> {
        const FIELD_1_OF_32_BYTES: [u8; 2] = [0x0a, 0x20];
        block
            .strip_prefix(&FIELD_1_OF_32_BYTES)
            .and_then(|rest| rest.get(..32))
            .and_then(Hash::from_slice)
            .ok_or_else(|| BlockFormatError("it does not start with the previous block's hash".into()))
    }

    fn roster(&self, block: &[u8]) -> Result<Option<BlockRoster>, BlockFormatError> {
        let roster = Block::roster_of(block).map_err(|error| BlockFormatError(error.to_string()))?;
        Ok(roster.map(|roster| BlockRoster {
            digest: roster.digest(),
            voters: voters_digest(&voter_ids(&roster)),
        }))
    }
}
