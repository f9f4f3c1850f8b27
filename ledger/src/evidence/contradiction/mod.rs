//! Contradictions: signatures of one node that no honest node gives, in a file that convicts it.
//!
//! Statement numbers only grow, so that a node that forgets, or tells two clients two histories, leaves two
//! signatures that cannot both be honest. Whoever holds both holds the proof: a [`Contradiction`] needs
//! nothing but a [`Trust`] to be verified, and says nothing of its own: not what the node did, which
//! [`Contradiction::verify`] finds out, nor which key is the node's, which the trust knows.

mod book;
mod charge;
mod file;

use std::cmp::Ordering;
use std::fmt;

use crate::authority::{Block, BlockError};
use crate::command::LedgerId;
use crate::head::{RosterChain, Statement, StatementError, Voter};
use crate::trust::{RosterChainError, Trust};

pub use book::StatementBook;
pub use charge::Charge;
pub use file::ContradictionFileError;

/// The `format` of the file.
pub const CONTRADICTION_FORMAT: &str = "chancery-contradiction/v1";

/// Longest file, in bytes: two of the longest blocks and the longest roster chain in base64, and room for the
/// rest.
pub const CONTRADICTION_SIZE_BYTES_MAX: usize = 34 * 1024 * 1024;

/// What a node signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A statement about its head, and its log.
    Statement(Box<Statement>),
    /// A block that it proposed as a leader.
    Block(Box<Block>),
}

/// One or two messages of one node that convict it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// Names the log.
    origin: String,
    /// The ledger.
    ledger: LedgerId,
    /// How the first roster with the node came about, from genesis on; no link if genesis has it.
    rosters: RosterChain,
    /// In ascending order: see [`Message::order`].
    messages: Messages,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Messages {
    One(Message),
    Two(Message, Message),
}

/// A node, and what it did by its own signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conviction {
    /// The node, as the roster has it.
    pub voter: Voter,
    /// What it did.
    pub charge: Charge,
}

/// Why messages convict nobody.
#[derive(Debug, thiserror::Error)]
pub enum ContradictionError {
    /// They are about another log.
    #[error("the contradiction is about {found:?}, the trust file about {expected:?}")]
    OtherOrigin {
        /// Its origin.
        found: String,
        /// The trusted one.
        expected: String,
    },
    /// They are about another ledger.
    #[error("the contradiction is about ledger {0}, which is not the trusted one")]
    OtherLedger(LedgerId),
    /// No roster that the trust proves has the node.
    #[error("node {0} is in no roster that the trust proves")]
    UnknownNode(u64),
    /// Its rosters are not proven.
    #[error("its rosters: {0}")]
    Rosters(#[from] RosterChainError),
    /// It shows more rosters than lead to the first one with the node.
    #[error("it shows rosters that node {0} needs not to be known by")]
    SurplusRosters(u64),
    /// They are of two nodes.
    #[error("one message is of node {0}, the other of node {1}")]
    TwoNodes(u64, u64),
    /// A statement is not the node's.
    #[error("a statement: {0}")]
    Statement(#[from] StatementError),
    /// A block is not the node's.
    #[error("a block: {0}")]
    Block(#[from] BlockError),
    /// An honest node may have signed all of it.
    #[error("an honest node may have signed this")]
    Nothing,
}

impl Contradiction {
    /// What `a` and `b` show of one node: one of them by itself, or both together; `None` if nothing, or if no
    /// roster that `trust` proves has the node. No signature is verified: that is [`Contradiction::verify`].
    pub fn find(trust: &Trust, a: &Message, b: &Message) -> Option<Self> {
        let made = |messages, node| {
            let rosters = trust.roster_chain_with(node)?;
            Some(Self { origin: trust.origin.clone(), ledger: trust.ledger, rosters, messages })
        };
        let alone = [a, b].into_iter().find(|message| charge::alone(message).is_some());
        if let Some(message) = alone {
            return made(Messages::One(message.clone()), message.node());
        }
        if a.node() != b.node() {
            return None;
        }
        charge::between(a, b)?;
        let (first, second) = if a.order(b).is_gt() { (b, a) } else { (a, b) };
        made(Messages::Two(first.clone(), second.clone()), first.node())
    }

    /// The messages, the earlier first: one or two.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        let (first, second) = match &self.messages {
            Messages::One(first) => (first, None),
            Messages::Two(first, second) => (first, Some(second)),
        };
        std::iter::once(first).chain(second)
    }

    /// Verifies everything, from the trust alone.
    ///
    /// # Errors
    /// Each way in which the messages can fail to convict has its own.
    pub fn verify(&self, trust: &Trust) -> Result<Conviction, ContradictionError> {
        if self.origin != trust.origin {
            let (found, expected) = (self.origin.clone(), trust.origin.clone());
            return Err(ContradictionError::OtherOrigin { found, expected });
        }
        if self.ledger != trust.ledger {
            return Err(ContradictionError::OtherLedger(self.ledger));
        }
        let (node, charge) = match &self.messages {
            Messages::One(message) => (message.node(), charge::alone(message)),
            Messages::Two(first, second) => {
                if first.node() != second.node() {
                    return Err(ContradictionError::TwoNodes(first.node(), second.node()));
                }
                (first.node(), charge::between(first, second))
            }
        };
        let proven = trust.founding().extend(&self.rosters)?;
        let voter = proven.voter(node).ok_or(ContradictionError::UnknownNode(node))?;
        if proven.roster_chain_with(node).is_some_and(|needed| needed != self.rosters) {
            return Err(ContradictionError::SurplusRosters(node));
        }
        for message in self.messages() {
            message.verify(self.ledger, voter)?;
        }
        let charge = charge.ok_or(ContradictionError::Nothing)?;
        Ok(Conviction { voter: voter.clone(), charge })
    }
}

impl Message {
    /// Who is to have signed it.
    pub fn node(&self) -> u64 {
        match self {
            Self::Statement(statement) => statement.node,
            Self::Block(block) => block.proposer,
        }
    }

    /// Verifies as a message of `voter` about `ledger`.
    fn verify(&self, ledger: LedgerId, voter: &Voter) -> Result<(), ContradictionError> {
        match self {
            Self::Statement(statement) if statement.head.ledger != ledger => {
                Err(ContradictionError::OtherLedger(statement.head.ledger))
            }
            Self::Statement(statement) => Ok(statement.verify(voter)?),
            // The ledger's id is in what is signed.
            Self::Block(block) => Ok(block.verify(ledger, &voter.key)?),
        }
    }

    /// The one order of two messages in a file: statements before blocks, statements by number, blocks by
    /// term, and equals by their bytes.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Statement(a), Self::Statement(b)) => {
                a.number.cmp(&b.number).then_with(|| a.encode().cmp(&b.encode()))
            }
            (Self::Block(a), Self::Block(b)) => a.term.cmp(&b.term).then_with(|| a.encode().cmp(&b.encode())),
            (Self::Statement(_), Self::Block(_)) => Ordering::Less,
            (Self::Block(_), Self::Statement(_)) => Ordering::Greater,
        }
    }
}

impl From<Statement> for Message {
    fn from(statement: Statement) -> Self {
        Self::Statement(Box::new(statement))
    }
}

impl From<Block> for Message {
    fn from(block: Block) -> Self {
        Self::Block(Box::new(block))
    }
}

impl fmt::Display for Conviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Voter { node, name, .. } = &self.voter;
        write!(f, "{name} (node {node}) signed {}", self.charge)
    }
}
