//! Following the log: every leaf once, in order, held against heads that a quorum signed; and the ends of grants,
//! which no command brings about.
//!
//! What a node streams is its word until a head comes: then the leaves up to there are the log's, or the stream is
//! refused. A [`ResumeToken`] says how far a follower has come, and holds what it needs to go on at any node,
//! after any gap, without missing a leaf or taking one twice. That a node tells every end of a grant is its word;
//! that each end that it tells is one, is proven.

mod token;

pub use token::{RESUME_TOKEN_TEXT_SIZE_MAX, ResumeToken, ResumeTokenError};

use crate::answer::{HeadProof, ProofError};
use crate::authority::{Entry, EntryError, Leaf, LeafError};
use crate::command::{Body, GrantId, LedgerId, SignedCommand};
use crate::head::{Freshness, Head};
use crate::log::{Frontier, leaf_hash};
use crate::trust::Trust;

/// Most ends of grants that come with one head.
pub const ENDS_MAX: usize = 256;

/// Up to where the ends of grants were told: ordered by time, then by the leaf of the grant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct EndMark {
    /// When the grant ended, in milliseconds since 1970.
    pub time_ms: u64,
    /// The leaf that granted it; `u64::MAX` once all that ended by then were told.
    pub index: u64,
}

/// What a leaf says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The leaf's index.
    pub index: u64,
    /// What it says.
    pub entry: Entry,
    /// It is a grant that had ended when it came: its end is not told again.
    pub ended: bool,
}

/// The end of a grant's time, whether or not it was revoked before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantEnd {
    /// The grant.
    pub grant: GrantId,
    /// The leaf that granted it.
    pub index: u64,
    /// When it ended, in milliseconds since 1970.
    pub not_after_ms: u64,
}

/// A head that proves every leaf up to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProvenHead {
    /// The head.
    pub head: Head,
    /// The clocks of its quorum: nothing is missing that was acknowledged before the oldest, less the clocks' bound.
    pub freshness: Freshness,
}

/// Why what a node streams is not believed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Another leaf than the next one.
    #[error("it sent leaf {found} where leaf {due} was due")]
    NotTheNext {
        /// What it sent.
        found: u64,
        /// What was due.
        due: u64,
    },
    /// A leaf that is none.
    #[error("leaf {index}: {source}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: EntryError,
    },
    /// A head of another size than what was sent.
    #[error("it sent a head of {log_size} leaves after {sent}")]
    OtherSize {
        /// The head's log size.
        log_size: u64,
        /// How many leaves there are.
        sent: u64,
    },
    /// The leaves that it sent are not those of the log that a quorum signed.
    #[error("the {0} leaves that were sent are not those of the log that was signed")]
    OtherLog(u64),
    /// The head is not proven.
    #[error(transparent)]
    Head(#[from] ProofError),
    /// The ends of grants are too many, or not after those told before, in their order.
    #[error("the ends of grants are not the next ones")]
    EndsUnsorted,
    /// An end that has not come, or that is of no grant.
    #[error("leaf {0} is no grant that has ended")]
    NoEnd(u64),
    /// An end's leaf is not in the log.
    #[error(transparent)]
    Leaf(#[from] LeafError),
}

/// Who follows: how far it has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Follower {
    ledger: LedgerId,
    frontier: Frontier,
    ends: EndMark,
}

impl Follower {
    /// Follows the log of `ledger` from its first leaf on.
    pub fn new(ledger: LedgerId) -> Self {
        Self { ledger, frontier: Frontier::new(), ends: EndMark::default() }
    }

    /// Follows from where `frontier` ends, which is believed only once a head proves it; the ends of grants from
    /// `ends` on.
    pub const fn since(ledger: LedgerId, frontier: Frontier, ends: EndMark) -> Self {
        Self { ledger, frontier, ends }
    }

    /// Goes on where `token` was taken.
    pub fn resume(token: ResumeToken) -> Self {
        let ResumeToken { ledger, frontier, ends } = token;
        Self { ledger, frontier, ends }
    }

    /// From where to go on.
    pub fn token(&self) -> ResumeToken {
        ResumeToken { ledger: self.ledger, frontier: self.frontier.clone(), ends: self.ends }
    }

    /// Index of the leaf that comes next.
    pub fn next_index(&self) -> u64 {
        self.frontier.size()
    }

    /// Up to where the ends of grants were told.
    pub const fn ends(&self) -> EndMark {
        self.ends
    }

    /// Takes the next leaf.
    ///
    /// # Errors
    /// It is not the next one, or none at all; then nothing was taken.
    pub fn leaf(&mut self, index: u64, entry: &[u8]) -> Result<Change, FollowError> {
        let due = self.frontier.size();
        if index != due {
            return Err(FollowError::NotTheNext { found: index, due });
        }
        let decoded = Entry::decode(entry).map_err(|source| FollowError::Entry { index, source })?;
        self.frontier.append(leaf_hash(entry));
        let end = grant_end(self.ledger, index, &decoded);
        let ended = end.is_some_and(|end| end.mark() <= self.ends);
        Ok(Change { index, entry: decoded, ended })
    }

    /// Demands that the leaves up to here are those of a head that a quorum signed.
    ///
    /// # Errors
    /// They are not, or it did not sign it.
    pub fn head(&self, trust: &Trust, proof: &HeadProof) -> Result<ProvenHead, FollowError> {
        let (head, sent) = (proof.head, self.frontier.size());
        let freshness = proof.verify(trust)?;
        if head.log_size != sent {
            return Err(FollowError::OtherSize { log_size: head.log_size, sent });
        }
        if head.log_root != self.frontier.root() {
            return Err(FollowError::OtherLog(sent));
        }
        Ok(ProvenHead { head, freshness })
    }

    /// Verifies the ends that come with a head: grants in its log that ended by its quorum's oldest clock, each
    /// after the one before.
    ///
    /// # Errors
    /// One is no such end.
    pub fn ends_with(&self, proven: &ProvenHead, leaves: &[Leaf]) -> Result<Vec<GrantEnd>, FollowError> {
        if leaves.len() > ENDS_MAX {
            return Err(FollowError::EndsUnsorted);
        }
        let mut last = self.ends;
        let mut ends = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            let entry = leaf.verify(&proven.head)?;
            let end = grant_end(self.ledger, leaf.index, &entry).ok_or(FollowError::NoEnd(leaf.index))?;
            if end.not_after_ms > proven.freshness.clock_min_ms {
                return Err(FollowError::NoEnd(leaf.index));
            }
            if end.mark() <= last {
                return Err(FollowError::EndsUnsorted);
            }
            last = end.mark();
            ends.push(end);
        }
        Ok(ends)
    }

    /// `end` was told.
    pub fn told(&mut self, end: &GrantEnd) {
        self.ends = self.ends.max(end.mark());
    }

    /// All that ended by the clock of `proven` were told.
    pub fn told_until(&mut self, proven: &ProvenHead) {
        self.ends = self.ends.max(EndMark { time_ms: proven.freshness.clock_min_ms, index: u64::MAX });
    }
}

impl GrantEnd {
    const fn mark(&self) -> EndMark {
        EndMark { time_ms: self.not_after_ms, index: self.index }
    }
}

/// When what `entry`, the leaf at `index`, grants ends; none if it grants nothing.
pub fn grant_end(ledger: LedgerId, index: u64, entry: &Entry) -> Option<GrantEnd> {
    let Entry::Command { signed, .. } = entry else { return None };
    let not_after_ms = end_of(signed)?;
    Some(GrantEnd { grant: GrantId::of(ledger, signed.command_bytes()), index, not_after_ms })
}

/// When what the command grants ends, in milliseconds since 1970; none if it grants nothing.
pub fn end_of(signed: &SignedCommand) -> Option<u64> {
    match &signed.command().body {
        Body::Grant { terms, .. } | Body::Delegate { terms, .. } => Some(terms.not_after_ms),
        _ => None,
    }
}
