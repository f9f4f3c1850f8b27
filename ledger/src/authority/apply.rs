//! `apply`: one block, in order, each command wholly or not at all.

use super::block::{Block, BlockError};
use super::dedup::{Dedup, DedupEntry};
use super::draft::{Draft, Effect, Stop};
use super::evaluate::{Pending, evaluate};
use super::execute::{Before, Close, Due, Executed, Leaves};
use super::given::Given;
use super::records::{Cause, LedgerRecord, Place};
use super::rosters::{self, RosterFault};
use super::state::{State, Summary};
use super::view::{ViewError, referred};
use super::{RULES_VERSION, Refusal, principals};
use crate::command::{Body, LedgerId, SignedCommand, VerifiedSignatures};
use crate::hash::Hash;
use crate::head::Head;
use crate::log::Frontier;
use crate::state::{Changes, Node, NodeId, NodeRead, Numbered, Root, TreeError, Update, Version};

/// Why a block cannot be applied. None of these is a client's doing: a replica that meets one must stop.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError<E: std::error::Error + Send + Sync + 'static> {
    /// The state cannot be read, or is corrupt.
    #[error("state: {0}")]
    State(#[from] ViewError<E>),
    /// The tree cannot be changed.
    #[error("state tree: {0}")]
    Tree(#[source] E),
    /// The block does not follow the last one.
    #[error("the block follows {claimed}, not this ledger's last block {expected}")]
    Chain {
        /// What the block says.
        claimed: Hash,
        /// What this replica has.
        expected: Hash,
    },
    /// The proposer is not a voter, or did not sign.
    #[error("proposer {proposer}: {source}")]
    Proposer {
        /// The node that the block names.
        proposer: u64,
        /// What is wrong.
        source: BlockError,
    },
    /// The proposer had another head than this replica: one of them is wrong.
    #[error("the proposer's head of block {block} is {claimed}, this replica's is {expected}")]
    HeadsDiffer {
        /// Of which block.
        block: u64,
        /// Its hash, as the proposer says.
        claimed: Hash,
        /// Its hash here.
        expected: Hash,
    },
    /// The proposer claims a head that nobody can have before this block: it could never be compared.
    #[error("the proposer claims a head of block {claimed}, this block follows block {newest}")]
    HeadAhead {
        /// The block that the proposer says it has applied.
        claimed: u64,
        /// The last block before this one.
        newest: u64,
    },
    /// The block's roster is not the one that must follow, or one must and it brings none.
    #[error("roster: {0}")]
    Roster(#[from] RosterFault),
    /// Its commands are not those that such a block holds.
    #[error(transparent)]
    Shape(BlockError),
    /// The state demands rules that this program does not have.
    #[error("rules version {0} is unknown to this program")]
    UnknownRules(u32),
    /// Genesis is not one, or is refused.
    #[error("genesis: {0}")]
    Genesis(String),
    /// A counter would overflow, or a record outgrow its bound.
    #[error("a bound of the state machine is exceeded: {0}")]
    Bound(&'static str),
}

/// What became of one command of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It took effect now.
    Applied(Cause),
    /// It took effect before: it was sent again, or revokes what was revoked. No leaf was added.
    Before(Cause),
    /// It has no effect.
    Refused(Refusal),
}

/// What one block does: everything that a store must write, in one batch.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The state's small part afterwards.
    pub summary: Summary,
    /// New leaves, encoded, in the order of their indices.
    pub leaves: Vec<Vec<u8>>,
    /// One for each command.
    pub outcomes: Vec<Outcome>,
    /// Tree nodes that came into being.
    pub new_nodes: Vec<(NodeId, Node)>,
    /// Tree nodes of the version before that this one does not use.
    pub stale_nodes: Vec<NodeId>,
    /// What became of each key of the state that was written.
    pub changes: Changes,
    /// New deduplication entries, in the order of their chains.
    pub dedup: Vec<DedupEntry>,
    /// Buckets of which nothing is live any more.
    pub dedup_dropped: Vec<u64>,
}

/// What is known of a command before it is put into a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It would take effect now.
    Admit,
    /// It took effect before.
    Before(Cause),
}

impl State {
    /// Founds a ledger with block 0. Its id is the block's hash.
    pub fn genesis<N: NodeRead>(
        nodes: &N,
        block: &Block,
    ) -> Result<(Self, Applied), ApplyError<TreeError<N::Error>>> {
        let executed = found(&Numbered { nodes, root: Root::EMPTY, next_id: NodeId(0) }, block)?;
        let applied = Applied::of(executed, (Root::EMPTY, NodeId(0)), block.hash());
        let state = Self::resume(applied.summary.clone(), Dedup::default(), []);
        Ok((state, applied))
    }

    /// Applies the next block. The state itself is changed by [`State::advance`], once the result is stored.
    pub fn apply<N: NodeRead>(
        &self,
        nodes: &N,
        block: &Block,
    ) -> Result<Applied, ApplyError<TreeError<N::Error>>> {
        self.apply_with(nodes, block, &VerifiedSignatures::default())
    }

    /// The same, but signatures that are in `seen` are not verified again, and those that are good come into it.
    pub fn apply_with<N: NodeRead>(
        &self,
        nodes: &N,
        block: &Block,
        seen: &VerifiedSignatures,
    ) -> Result<Applied, ApplyError<TreeError<N::Error>>> {
        let Summary { head, frontier, root, next_node, block_hash } = &self.summary;
        if head.rules_version != RULES_VERSION {
            return Err(ApplyError::UnknownRules(head.rules_version));
        }
        if block.previous_hash != *block_hash {
            return Err(ApplyError::Chain { claimed: block.previous_hash, expected: *block_hash });
        }
        let version = self.version(nodes);
        let draft = Draft::new(&version, head.ledger, head.roster);
        let ledger: LedgerRecord = referred(&draft, &Place::ledger())?;
        self.check_proposer(&ledger, block)?;
        block.check_roster().map_err(ApplyError::Shape)?;
        rosters::check_block(&ledger, block.roster.as_ref())?;
        let due = Due {
            number: head.block.checked_add(1).ok_or(ApplyError::Bound("block number"))?,
            time_ms: head.time_ms.max(block.stamp_ms),
            roster: block.roster.as_ref(),
        };
        let before = Before { head, frontier, dedup: &self.dedup };
        let executed = before.execute(draft, &ledger, due, &block.commands, seen)?;
        Ok(Applied::of(executed, (*root, *next_node), block.hash()))
    }

    const fn version<'a, N>(&self, nodes: &'a N) -> Numbered<'a, N> {
        Numbered { nodes, root: self.summary.root, next_id: self.summary.next_node }
    }

    /// Moves on to what [`State::apply`] made of a block.
    pub fn advance(&mut self, applied: &Applied) {
        self.dedup.follow(&applied.dedup, &applied.dedup_dropped);
        self.summary = applied.summary.clone();
        self.remember(self.summary.head);
    }

    /// Whether `signed` would take effect in a block stamped `stamp_ms`: what a node asks before it puts a
    /// command into a block. The answer binds nobody; [`State::apply`] decides. A change of the voters is put
    /// into a roster block. `batches` is what the node verified lately.
    ///
    /// # Errors
    /// `Ok(Err(_))` is a refusal; `Err(_)` means that the state could not be read.
    pub fn admit<N: NodeRead>(
        &self,
        nodes: &N,
        signed: &SignedCommand,
        stamp_ms: u64,
        batches: &VerifiedSignatures,
    ) -> Result<Result<Admission, Refusal>, ApplyError<TreeError<N::Error>>> {
        let head = &self.summary.head;
        let version = self.version(nodes);
        let draft = Draft::new(&version, head.ledger, head.roster);
        let ledger: LedgerRecord = referred(&draft, &Place::ledger())?;
        let dedup = Pending::new(&self.dedup);
        let cause = Cause {
            index: self.summary.frontier.size(),
            block: self.summary.head.block.saturating_add(1),
            time_ms: self.summary.head.time_ms.max(stamp_ms),
            signer: signed.command().signer,
        };
        match evaluate(&draft, &ledger, &dedup, batches, signed, cause) {
            Ok(Effect::Writes(_)) => Ok(Ok(Admission::Admit)),
            Ok(Effect::Before(cause)) => Ok(Ok(Admission::Before(cause))),
            Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
            Err(Stop::Fault(fault)) => Err(fault.into()),
        }
    }

    fn check_proposer<E>(&self, ledger: &LedgerRecord, block: &Block) -> Result<(), ApplyError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let proposer = block.proposer;
        let fault = |source| ApplyError::Proposer { proposer, source };
        let voter = ledger.roster.voter(proposer).ok_or_else(|| fault(BlockError::BadSignature))?;
        block.verify(self.summary.head.ledger, &voter.key).map_err(fault)?;
        let (claimed, newest) = (block.head_block, self.summary.head.block);
        if claimed > newest {
            return Err(ApplyError::HeadAhead { claimed, newest });
        }
        // Older heads than those kept were compared when they were newer.
        if let Some(expected) = self.head_of(block.head_block).map(Head::hash)
            && expected != block.head_hash
        {
            let (block, claimed) = (block.head_block, block.head_hash);
            return Err(ApplyError::HeadsDiffer { block, claimed, expected });
        }
        Ok(())
    }
}

/// What founding a ledger by block 0 does to the empty version `empty`.
pub(super) fn found<V: Version>(empty: &V, block: &Block) -> Result<Executed<V::Next>, ApplyError<V::Error>> {
    let refuse = |why: &str| ApplyError::Genesis(why.into());
    let [signed] = block.commands.as_slice() else { return Err(refuse("must hold one command")) };
    let Body::Genesis(genesis) = &signed.command().body else {
        return Err(refuse("its command is not genesis"));
    };
    if *block != Block::genesis(block.stamp_ms, signed.clone()) {
        return Err(refuse("block 0 has no predecessor, proposer or signature"));
    }
    signed.verify(LedgerId::GENESIS).map_err(|error| ApplyError::Genesis(error.to_string()))?;
    if genesis.rules_version != RULES_VERSION {
        return Err(ApplyError::UnknownRules(genesis.rules_version));
    }
    let roster = genesis.roster.id(0);
    let mut draft = Draft::new(empty, LedgerId(block.hash()), roster);
    let time_ms = block.stamp_ms;
    let cause = Cause { index: 0, block: 0, time_ms, signer: signed.command().signer };
    principals::found(&mut draft, genesis, cause)?;
    let mut leaves = Leaves::after(Frontier::default());
    leaves.push(signed.leaf(0, time_ms, None))?;
    let rules_version = genesis.rules_version;
    let executed = Close { block: 0, time_ms, roster, rules_version, previous: None }.seal(draft, leaves)?;
    Ok(Executed { outcomes: vec![Outcome::Applied(cause)], ..executed })
}

impl Applied {
    /// What was executed, upon the tree at a root and the first free number for its nodes.
    fn of(executed: Executed<(Update, Changes)>, before: (Root, NodeId), block_hash: Hash) -> Self {
        let Executed { head, frontier, next, leaves, outcomes, dedup, dedup_dropped } = executed;
        let (root, next_id) = before;
        let unchanged = || (Update { root, new: Vec::new(), stale: Vec::new(), next_id }, Changes::new());
        let (next, changes) = next.unwrap_or_else(unchanged);
        let Update { root, new: new_nodes, stale: stale_nodes, next_id: next_node } = next;
        let summary = Summary { head, frontier, root, next_node, block_hash };
        Self { summary, leaves, outcomes, new_nodes, stale_nodes, changes, dedup, dedup_dropped }
    }
}
