//! Roster chains: how the rosters since genesis came about, proven by who voted.
//!
//! A [`RosterLink`] is one roster block: the roster that it brought into force, its head, which names that
//! roster, and signatures on the head of a quorum of the roster before *and* of the new one. Who knows one
//! roster can so follow all changes since, and needs nobody's word. Changes come in pairs: a joint roster, and
//! in the very next block the uniform one.

use prost::Message;

use super::{Head, HeadVoters, QuorumError, Roster, RosterId, Statement, StatementError, decode_statements};
use crate::command::{LedgerId, MalformedCommand, decode_strict, roster_from_wire, roster_to_wire};
use chancery_proto::v1 as wire;

/// Most links from genesis on: a ledger has no more roster blocks.
pub const ROSTER_LINKS_MAX: u32 = 4096;

/// Longest encoded chain, in bytes.
pub const ROSTER_CHAIN_SIZE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A roster block, as a verifier sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RosterLink {
    /// The roster that it brought into force.
    pub roster: Roster,
    /// The head after it.
    pub head: Head,
    /// Statements with that head, sorted by node.
    pub statements: Vec<Statement>,
}

/// Consecutive links, the oldest first. What they say is known only after
/// [`Trust::extend`](crate::trust::Trust::extend).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RosterChain {
    /// In the order of their blocks.
    pub links: Vec<RosterLink>,
}

/// Why a link does not follow a roster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RosterLinkError {
    /// A head of another ledger.
    #[error("its head is of another ledger")]
    OtherLedger,
    /// The head names another roster than the link's, or another block than its own.
    #[error("its head does not bring its roster into force")]
    NotNamed,
    /// Not after the roster before; or a uniform roster that is not in the block after the joint one.
    #[error("block {block} cannot follow the roster of block {before}")]
    OtherBlock {
        /// The link's block.
        block: u64,
        /// The block of the roster before.
        before: u64,
    },
    /// A change that does not begin at the roster before, or that does not end as it began.
    #[error("its roster does not follow the one before")]
    OtherRoster,
    /// Not signed by a quorum of both rosters.
    #[error("its head: {0}")]
    Quorum(#[from] QuorumError),
}

/// Why bytes are not a roster chain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RosterChainDecodeError {
    /// Not a canonical message in its bounds.
    #[error("malformed roster chain: {0}")]
    Malformed(#[from] MalformedCommand),
    /// A head or a statement is not one.
    #[error("malformed roster chain: {0}")]
    Statement(#[from] StatementError),
}

impl RosterLink {
    /// Names the roster, once the link is verified.
    pub const fn id(&self) -> RosterId {
        self.head.roster
    }

    /// Demands that the link follows `previous`, which `before` names and which is proven.
    ///
    /// # Errors
    /// Each way in which it can fail has its own.
    pub fn verify(
        &self,
        ledger: LedgerId,
        before: RosterId,
        previous: &Roster,
    ) -> Result<(), RosterLinkError> {
        let head = &self.head;
        if head.ledger != ledger {
            return Err(RosterLinkError::OtherLedger);
        }
        if head.roster != self.roster.id(head.block) {
            return Err(RosterLinkError::NotNamed);
        }
        let block = head.block;
        let (next_block, follows) = match (previous.completed(), self.roster.sets()) {
            // Nothing comes between the two blocks of one change.
            (Some(completed), _) => (before.block.checked_add(1) == Some(block), self.roster == completed),
            (None, [_, next]) => {
                (before.block < block, previous.joint_with(next).as_ref() == Some(&self.roster))
            }
            (None, _) => (true, false),
        };
        if !next_block {
            return Err(RosterLinkError::OtherBlock { block, before: before.block });
        }
        if !follows {
            return Err(RosterLinkError::OtherRoster);
        }
        Ok(HeadVoters::of_roster_block(previous, &self.roster).verify(head, &self.statements)?)
    }
}

impl RosterChain {
    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        let link = |link: &RosterLink| wire::RosterLink {
            roster: Some(roster_to_wire(&link.roster)),
            head: link.head.encode().to_vec(),
            statements: link.statements.iter().map(Statement::encode).collect(),
        };
        wire::RosterChain { links: self.links.iter().map(link).collect() }.encode_to_vec()
    }

    /// Decodes a chain strictly.
    ///
    /// # Errors
    /// The bytes are not the one encoding of a chain in its bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, RosterChainDecodeError> {
        let w = decode_strict::<wire::RosterChain>(bytes, ROSTER_CHAIN_SIZE_BYTES_MAX)?;
        if w.links.len() > ROSTER_LINKS_MAX as usize {
            return Err(MalformedCommand::OutOfBounds("links").into());
        }
        let link = |w: wire::RosterLink| {
            Ok(RosterLink {
                roster: roster_from_wire(w.roster.ok_or(MalformedCommand::Missing("roster"))?)?,
                head: Head::decode(&w.head)?,
                statements: decode_statements::<RosterChainDecodeError>(&w.statements)?,
            })
        };
        Ok(Self { links: w.links.into_iter().map(link).collect::<Result<_, RosterChainDecodeError>>()? })
    }
}
