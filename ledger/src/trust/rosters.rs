//! Which rosters a verifier believes: from the genesis roster on, each proven from the one before.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Trust, TrustError};
use crate::head::{
    Head, HeadVoters, ROSTER_LINKS_MAX, Roster, RosterChain, RosterId, RosterLink, RosterLinkError, Voter,
};

/// Why a roster chain proves nothing. None of its links then counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RosterChainError {
    /// One of its links does not follow the one before it, or the newest roster known.
    #[error("link {position} of the roster chain: {source}")]
    Link {
        /// Its place in the chain, from 0.
        position: usize,
        /// What is wrong.
        source: RosterLinkError,
    },
    /// More rosters than any ledger has.
    #[error("more than {ROSTER_LINKS_MAX} links from genesis on")]
    TooLong,
    /// It goes past the newest roster that was verified before, and by another way.
    #[error("the roster chain does not lead through roster {0}, which was verified before")]
    NotThroughMinimum(RosterId),
}

impl Trust {
    /// The newest roster that is proven.
    pub fn newest_roster(&self) -> RosterId {
        self.proven.links.last().map_or(self.genesis_id, RosterLink::id)
    }

    /// Everything that is proven, from the genesis roster on.
    pub fn roster_chain(&self) -> &RosterChain {
        &self.proven
    }

    /// The same, believing also the rosters of `chain`, whose first link follows the newest roster known.
    ///
    /// # Errors
    /// A link is not proven from the one before.
    pub fn extend(&self, chain: &RosterChain) -> Result<Self, RosterChainError> {
        let known = self.proven.links.len();
        if known.saturating_add(chain.links.len()) > ROSTER_LINKS_MAX as usize {
            return Err(RosterChainError::TooLong);
        }
        let (mut id, mut roster) = match self.proven.links.last() {
            Some(link) => (link.id(), &link.roster),
            None => (self.genesis_id, &self.genesis),
        };
        for (position, link) in chain.links.iter().enumerate() {
            link.verify(self.ledger, id, roster)
                .map_err(|source| RosterChainError::Link { position, source })?;
            (id, roster) = (link.id(), &link.roster);
        }
        let links = self.proven.links.iter().chain(&chain.links).cloned().collect();
        let extended = Self { proven: Arc::new(RosterChain { links }), ..self.clone() };
        let minimum = self.minimum_roster;
        if minimum.block <= id.block && extended.position(minimum).is_none() {
            return Err(RosterChainError::NotThroughMinimum(minimum));
        }
        Ok(extended)
    }

    /// The same, knowing also the rosters that `other` has proven from the same genesis.
    ///
    /// # Errors
    /// The two know different rosters of one block, or one of a block that brought none.
    pub fn join(&self, other: &Self) -> Result<Self, TrustError> {
        for (ours, theirs) in self.proven.links.iter().zip(&other.proven.links) {
            if ours.id() != theirs.id() {
                return Err(TrustError::Forked { known: ours.id(), found: theirs.id() });
            }
        }
        let longer = if self.proven.links.len() < other.proven.links.len() { other } else { self };
        Ok(Self { proven: Arc::clone(&longer.proven), ..self.clone() })
    }

    /// The chain from genesis up to the roster with this id, if it is proven: what evidence carries.
    pub fn roster_chain_to(&self, id: RosterId) -> Result<RosterChain, TrustError> {
        let position = self.position(id).ok_or(TrustError::UnknownRoster(id))?;
        Ok(RosterChain { links: self.proven.links.iter().take(position).cloned().collect() })
    }

    /// The voter with this node id in any roster that is proven: ids, names and keys are never used again, so
    /// there is at most one.
    pub fn voter(&self, node: u64) -> Option<&Voter> {
        let later = self.proven.links.iter().map(|link| &link.roster);
        std::iter::once(&self.genesis).chain(later).find_map(|roster| roster.voter(node))
    }

    /// The chain from genesis up to the first roster that has this node; `None` if no proven one has it.
    pub fn roster_chain_with(&self, node: u64) -> Option<RosterChain> {
        if self.genesis.voter(node).is_some() {
            return Some(RosterChain::default());
        }
        let first = self.proven.links.iter().position(|link| link.roster.voter(node).is_some())?;
        Some(RosterChain { links: self.proven.links.iter().take(first.saturating_add(1)).cloned().collect() })
    }

    /// The roster with this id, if it is proven.
    pub fn roster(&self, id: RosterId) -> Result<&Roster, TrustError> {
        self.position(id).and_then(|position| self.at(position)).ok_or(TrustError::UnknownRoster(id))
    }

    /// The roster that fresh statements name, if it is proven and not older than the minimum.
    pub fn fresh_roster(&self, named: RosterId) -> Result<&Roster, TrustError> {
        if named.block < self.minimum_roster.block {
            return Err(TrustError::RosterRolledBack { found: named, minimum: self.minimum_roster });
        }
        self.roster(named)
    }

    /// Whose signatures `head` needs.
    ///
    /// # Errors
    /// The roster that it names is not proven, or was not the one in force at its block.
    pub fn voters_of(&self, head: &Head) -> Result<HeadVoters<'_>, TrustError> {
        self.voters_after(head.block, head.roster)
    }

    /// Whose signatures what was after `block` needs, where `found` was in force.
    ///
    /// # Errors
    /// That roster is not proven, or was not the one in force then.
    pub fn voters_after(&self, block: u64, found: RosterId) -> Result<HeadVoters<'_>, TrustError> {
        let unknown = TrustError::UnknownRoster(found);
        let position = self.position(found).filter(|_| found.block <= block).ok_or(unknown.clone())?;
        // Who left may sign heads of later blocks under the roster that had him in it: these do not count.
        if let Some(next) = self.proven.links.get(position).filter(|next| next.head.block <= block) {
            return Err(TrustError::RosterReplaced { block, found, by: next.id() });
        }
        let roster = self.at(position).ok_or(unknown)?;
        let previous = position.checked_sub(1).and_then(|before| self.at(before));
        Ok(match previous.filter(|_| block == found.block) {
            Some(previous) => HeadVoters::of_roster_block(previous, roster),
            None => HeadVoters::of(roster),
        })
    }

    /// Who cosigns a checkpoint whose last leaf names `block` and the roster `found`: its voters alone. Those before them
    /// signed the head that brought it, which is in the roster chain.
    ///
    /// # Errors
    /// That roster is not proven, or was not the one in force then.
    pub fn cosigners_after(&self, block: u64, found: RosterId) -> Result<HeadVoters<'_>, TrustError> {
        self.voters_after(block, found)?;
        self.roster(found).map(HeadVoters::of)
    }

    /// Refuses a head of another ledger, or from before what was verified already.
    pub fn check_head(&self, head: &Head) -> Result<(), TrustError> {
        if head.ledger != self.ledger {
            return Err(TrustError::OtherLedger { found: head.ledger, expected: self.ledger });
        }
        if head.block < self.minimum_block {
            return Err(TrustError::RolledBack { found: head.block, minimum: self.minimum_block });
        }
        Ok(())
    }

    /// How many links lead to the roster with this id.
    fn position(&self, id: RosterId) -> Option<usize> {
        if id == self.genesis_id {
            return Some(0);
        }
        let order = |link: &RosterLink| match link.head.block.cmp(&id.block) {
            Ordering::Equal => link.id().cmp(&id),
            order => order,
        };
        // INVARIANT: a proven link's block is after that of the link before.
        self.proven.links.binary_search_by(order).ok().map(|before| before.saturating_add(1))
    }

    fn at(&self, position: usize) -> Option<&Roster> {
        match position.checked_sub(1) {
            Some(link) => self.proven.links.get(link).map(|link| &link.roster),
            None => Some(&self.genesis),
        }
    }
}
