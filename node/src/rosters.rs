//! The rosters of a ledger, as far as they are applied, in the order in which they came into force.
//!
//! Each roster but the founding one has a link: the head of the block that brought it, and, once they are
//! gathered, the statements of the quorums that prove it. Everything that asks who votes asks here: for the
//! newest, for the one in force at a block, or for the one that a statement names.

use std::sync::Arc;

use chancery_ledger::head::{Head, HeadVoters, Roster, RosterId, RosterLink, Statement, Voter};

/// The rosters up to one block. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Rosters {
    genesis: Arc<Roster>,
    genesis_id: RosterId,
    /// Ascending by block. Without statements as long as it is not proven.
    links: Vec<Arc<RosterLink>>,
}

impl Rosters {
    /// The founding roster alone.
    pub fn founded(genesis: Roster) -> Self {
        let genesis_id = genesis.id(0);
        Self { genesis: Arc::new(genesis), genesis_id, links: Vec::new() }
    }

    /// The founding roster, and those of `links`, which ascend.
    pub fn with_links(genesis: Roster, links: impl IntoIterator<Item = RosterLink>) -> Self {
        Self { links: links.into_iter().map(Arc::new).collect(), ..Self::founded(genesis) }
    }

    /// With `link` as the newest.
    pub fn followed_by(&self, link: RosterLink) -> Self {
        let mut next = self.clone();
        next.links.push(Arc::new(link));
        next
    }

    /// With `statements` as what proves the roster of `block`.
    pub fn proven_by(&self, block: u64, statements: Vec<Statement>) -> Self {
        let mut next = self.clone();
        if let Some(place) = next.links.iter_mut().find(|link| link.head.block == block) {
            *place = Arc::new(RosterLink { statements, ..(**place).clone() });
        }
        next
    }

    /// The roster in force, and its id.
    pub fn newest(&self) -> (RosterId, &Roster) {
        self.links.last().map_or((self.genesis_id, &self.genesis), |link| (link.head.roster, &link.roster))
    }

    /// The roster in force after `block`, and its id.
    pub fn at(&self, block: u64) -> (RosterId, &Roster) {
        let before = self.links.partition_point(|link| link.head.block <= block).checked_sub(1);
        let link = before.and_then(|before| self.links.get(before));
        link.map_or((self.genesis_id, &self.genesis), |link| (link.head.roster, &link.roster))
    }

    /// The roster with this id.
    pub fn get(&self, id: RosterId) -> Option<&Roster> {
        let (found, roster) = self.at(id.block);
        (found == id).then_some(roster)
    }

    /// The link of the roster that `block` brought.
    pub fn link(&self, block: u64) -> Option<&Arc<RosterLink>> {
        let found = self.links.binary_search_by_key(&block, |link| link.head.block).ok()?;
        self.links.get(found)
    }

    /// Whose signatures the head of `block` needs.
    pub fn head_voters(&self, block: u64) -> HeadVoters<'_> {
        let roster = self.at(block).1;
        match block.checked_sub(1).filter(|_| self.link(block).is_some()) {
            Some(before) => HeadVoters::of_roster_block(self.at(before).1, roster),
            None => HeadVoters::of(roster),
        }
    }

    /// The voter with this id, in the roster in force.
    pub fn voter(&self, node: u64) -> Option<&Voter> {
        self.newest().1.voter(node)
    }

    /// Whether `node` was a voter and is none any more. Ids are never used again, so it never will be.
    pub fn is_removed(&self, node: u64) -> bool {
        self.voter(node).is_none()
            && (self.genesis.voter(node).is_some()
                || self.links.iter().any(|link| link.roster.voter(node).is_some()))
    }

    /// Whether the roster in force is joint: a change of voters is not finished.
    pub fn is_joint(&self) -> bool {
        self.newest().1.is_joint()
    }

    /// The head of the first roster block that is not proven yet.
    pub fn unproven(&self) -> Option<&Head> {
        self.links.iter().find(|link| link.statements.is_empty()).map(|link| &link.head)
    }

    /// The proven links after `block`, as far as they go without a gap.
    pub fn chain_since(&self, block: u64) -> Vec<RosterLink> {
        let proven = self.links.iter().take_while(|link| !link.statements.is_empty());
        proven.filter(|link| link.head.block > block).map(|link| (**link).clone()).collect()
    }
}
