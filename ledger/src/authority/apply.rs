//! `apply`: one block, in order, each command wholly or not at all.

use std::collections::BTreeMap;

use super::block::{Block, BlockError};
use super::dedup::{self, Dedup, DedupEntry};
use super::draft::{Draft, Effect, Stop, Writes};
use super::entry::{ENTRY_SIZE_BYTES_MAX, Entry};
use super::evaluate::{Pending, dedup_entry, evaluate};
use super::given::Given;
use super::records::{self, Cause, LedgerRecord, Place};
use super::rosters::{self, RosterFault};
use super::state::{State, Summary};
use super::view::{ViewError, referred};
use super::{RULES_VERSION, Refusal, principals};
use crate::command::{Body, LedgerId, SignedCommand, VerifiedBatches};
use crate::hash::Hash;
use crate::head::{Head, Roster, RosterId};
use crate::log::{Frontier, leaf_hash};
use crate::state::{self as tree, NodeId, NodeRead, Root, TreeError, Update};

/// Why a block cannot be applied. None of these is a client's doing: a replica that meets one must stop.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError<E: std::error::Error + Send + Sync + 'static> {
    /// The state cannot be read, or is corrupt.
    #[error("state: {0}")]
    State(#[from] ViewError<TreeError<E>>),
    /// The tree cannot be changed.
    #[error("state tree: {0}")]
    Tree(#[from] TreeError<E>),
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
    pub new_nodes: Vec<(NodeId, std::sync::Arc<tree::Node>)>,
    /// Tree nodes of the version before that this one does not use.
    pub stale_nodes: Vec<NodeId>,
    /// New deduplication entries, in the order of their chains.
    pub dedup: Vec<DedupEntry>,
    /// Buckets of which nothing is live any more.
    pub dedup_dropped: Vec<u64>,
}

/// What a block is that its commands do not say.
pub(super) struct Due {
    pub(super) number: u64,
    pub(super) time_ms: u64,
    /// What the next block repeats; zero where the block is known from its leaves alone, and no block follows.
    pub(super) hash: Hash,
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
    pub fn genesis<N: NodeRead>(nodes: &N, block: &Block) -> Result<(Self, Applied), ApplyError<N::Error>> {
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
        let block_hash = block.hash();
        let roster = genesis.roster.id(0);
        let mut draft = Draft::new(nodes, Root::EMPTY, LedgerId(block_hash), roster);
        let cause = Cause { index: 0, block: 0, time_ms: block.stamp_ms, signer: signed.command().signer };
        principals::found(&mut draft, genesis, cause)?;
        let mut leaves = Leaves { frontier: Frontier::default(), encoded: Vec::new() };
        let time_ms = block.stamp_ms;
        leaves.push(signed.leaf(0, time_ms, None))?;
        let rules_version = genesis.rules_version;
        let close = Close { block: 0, time_ms, roster, rules_version, previous: None };
        let mut applied = close.seal(draft, leaves, NodeId(0), block_hash)?;
        applied.outcomes = vec![Outcome::Applied(cause)];
        let state = Self::resume(applied.summary.clone(), Dedup::default(), []);
        Ok((state, applied))
    }

    /// Applies the next block. The state itself is changed by [`State::advance`], once the result is stored.
    pub fn apply<N: NodeRead>(&self, nodes: &N, block: &Block) -> Result<Applied, ApplyError<N::Error>> {
        let head = &self.summary.head;
        if head.rules_version != RULES_VERSION {
            return Err(ApplyError::UnknownRules(head.rules_version));
        }
        if block.previous_hash != self.summary.block_hash {
            let expected = self.summary.block_hash;
            return Err(ApplyError::Chain { claimed: block.previous_hash, expected });
        }
        let draft = Draft::new(nodes, self.summary.root, head.ledger, head.roster);
        let ledger: LedgerRecord = referred(&draft, &Place::ledger())?;
        self.check_proposer(&ledger, block)?;
        block.check_roster().map_err(ApplyError::Shape)?;
        rosters::check_block(&ledger, block.roster.as_ref())?;
        let due = Due {
            number: head.block.checked_add(1).ok_or(ApplyError::Bound("block number"))?,
            time_ms: head.time_ms.max(block.stamp_ms),
            hash: block.hash(),
        };
        self.execute(draft, &ledger, due, &block.commands, block.roster.as_ref())
    }

    /// Each command in order, then the STATE leaf.
    pub(super) fn execute<N: NodeRead>(
        &self,
        mut draft: Draft<'_, N>,
        ledger: &LedgerRecord,
        due: Due,
        commands: &[impl Given],
        roster: Option<&Roster>,
    ) -> Result<Applied, ApplyError<N::Error>> {
        let head = &self.summary.head;
        let Due { number, time_ms, hash: block_hash } = due;
        let mut leaves = Leaves { frontier: self.summary.frontier.clone(), encoded: Vec::new() };
        let mut outcomes = Vec::with_capacity(commands.len());
        let mut dedup = Pending::new(&self.dedup);
        let batches = VerifiedBatches::default();
        for given in commands {
            let signed = given.signed();
            let cause = Cause {
                index: leaves.frontier.size(),
                block: number,
                time_ms,
                signer: signed.command().signer,
            };
            let outcome = match evaluate(&draft, ledger, &dedup, &batches, given, cause) {
                Ok(Effect::Before(first)) => Outcome::Before(first),
                Ok(Effect::Writes(_)) if roster.is_none() && changes_voters(signed) => {
                    Outcome::Refused(Refusal::NotInRosterBlock)
                }
                Ok(Effect::Writes(writes)) => {
                    // INVARIANT: a command's writes are complete before any is made: wholly or not at all.
                    let Writes { records, verdict } = writes;
                    draft.changes.extend(records.into_iter().map(|(key, value)| (key, Some(value))));
                    leaves.push(given.leaf(number, time_ms, verdict.as_ref()))?;
                    dedup.push(dedup_entry(given, cause));
                    Outcome::Applied(cause)
                }
                Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
                Err(Stop::Fault(fault)) => return Err(fault.into()),
            };
            outcomes.push(outcome);
        }
        let entries = dedup.entries;
        let roster_id = match roster {
            Some(roster) => {
                bring_roster(&mut draft, ledger, roster, &outcomes)?;
                roster.id(number)
            }
            None => head.roster,
        };
        if leaves.encoded.is_empty() && roster.is_none() {
            let head = Head { block: number, ..*head };
            let summary = Summary { head, block_hash, ..self.summary.clone() };
            return Ok(Applied { outcomes, ..Applied::nothing(summary) });
        }
        let dropped = self.seal_dedup(&mut draft, &entries, time_ms);
        let close = Close {
            block: number,
            time_ms,
            roster: roster_id,
            rules_version: head.rules_version,
            // The last leaf of a log is always a STATE leaf.
            previous: head.log_size.checked_sub(1),
        };
        let applied = close.seal(draft, leaves, self.summary.next_node, block_hash)?;
        Ok(Applied { outcomes, dedup: entries, dedup_dropped: dropped, ..applied })
    }

    /// Moves on to what [`State::apply`] made of a block.
    pub fn advance(&mut self, applied: &Applied) {
        self.take(applied);
        self.remember(self.summary.head);
    }

    /// Moves on, but for the row of heads.
    pub(super) fn take(&mut self, applied: &Applied) {
        for bucket in &applied.dedup_dropped {
            self.dedup.drop_bucket(*bucket);
        }
        for entry in &applied.dedup {
            self.dedup.insert(*entry);
        }
        self.summary = applied.summary.clone();
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
        batches: &VerifiedBatches,
    ) -> Result<Result<Admission, Refusal>, ApplyError<N::Error>> {
        let head = &self.summary.head;
        let draft = Draft::new(nodes, self.summary.root, head.ledger, head.roster);
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

    /// Writes the chains of the buckets that `entries` extend, deletes those that ended; returns these.
    fn seal_dedup<N: NodeRead>(
        &self,
        draft: &mut Draft<'_, N>,
        entries: &[DedupEntry],
        time_ms: u64,
    ) -> Vec<u64> {
        let dropped: Vec<u64> = self.dedup.expired(time_ms).collect();
        for bucket in &dropped {
            draft.changes.insert(Place::dedup_bucket(*bucket).key(), None);
        }
        let mut chains = BTreeMap::new();
        for entry in entries {
            let chain = chains.entry(entry.bucket()).or_insert_with(|| self.dedup.bucket(entry.bucket()));
            *chain = dedup::extend(*chain, entry);
        }
        for (bucket, chain) in chains {
            let place = Place::dedup_bucket(bucket);
            draft.changes.insert(place.key(), Some(records::encode(&place, &chain)));
        }
        dropped
    }
}

fn changes_voters(signed: &SignedCommand) -> bool {
    matches!(signed.command().body, Body::SetRoster { .. })
}

/// Sees to it that a roster block did what Raft's membership did: its command took effect, or, in a uniform
/// block, the roster is written here.
fn bring_roster<N: NodeRead>(
    draft: &mut Draft<'_, N>,
    ledger: &LedgerRecord,
    roster: &Roster,
    outcomes: &[Outcome],
) -> Result<(), RosterFault> {
    match outcomes {
        [] => {
            draft.put(&Place::ledger(), &rosters::with_roster(ledger, roster.clone()));
            Ok(())
        }
        [Outcome::Refused(refusal), ..] => Err(RosterFault::Refused(refusal.clone())),
        [Outcome::Before(cause), ..] => Err(RosterFault::Before(*cause)),
        [Outcome::Applied(_), ..] => Ok(()),
    }
}

impl Applied {
    fn nothing(summary: Summary) -> Self {
        Self {
            summary,
            leaves: Vec::new(),
            outcomes: Vec::new(),
            new_nodes: Vec::new(),
            stale_nodes: Vec::new(),
            dedup: Vec::new(),
            dedup_dropped: Vec::new(),
        }
    }
}

struct Leaves {
    frontier: Frontier,
    encoded: Vec<Vec<u8>>,
}

impl Leaves {
    /// Adds an encoded leaf, given with its hash.
    fn push<E>(&mut self, (bytes, hash): (Vec<u8>, Hash)) -> Result<(), ApplyError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        // INVARIANT: a command is at most 16 KiB, its signatures 64 × 464 bytes, its verdict less than 2 KiB.
        if bytes.len() > ENTRY_SIZE_BYTES_MAX {
            return Err(ApplyError::Bound("entry size"));
        }
        self.frontier.append(hash);
        self.encoded.push(bytes);
        Ok(())
    }
}

/// What a block's STATE leaf says besides the root.
struct Close {
    block: u64,
    time_ms: u64,
    roster: RosterId,
    rules_version: u32,
    previous: Option<u64>,
}

impl Close {
    /// Updates the tree, appends the STATE leaf, makes the head.
    fn seal<N: NodeRead>(
        self,
        draft: Draft<'_, N>,
        mut leaves: Leaves,
        next_node: NodeId,
        block_hash: Hash,
    ) -> Result<Applied, ApplyError<N::Error>> {
        let Self { block, time_ms, roster, rules_version, previous } = self;
        let Update { root, new, stale, next_id } =
            tree::update(draft.nodes, draft.root, next_node, &draft.changes)?;
        let state_root = root.hash();
        let state = Entry::State { block, time_ms, state_root, roster, rules_version, previous }.encode();
        let hash = leaf_hash(&state);
        leaves.push((state, hash))?;
        let head = Head {
            ledger: draft.ledger,
            block,
            time_ms,
            log_size: leaves.frontier.size(),
            log_root: leaves.frontier.root(),
            state_root,
            roster,
            rules_version,
        };
        let summary = Summary { head, frontier: leaves.frontier, root, next_node: next_id, block_hash };
        let leaves = leaves.encoded;
        Ok(Applied { leaves, new_nodes: new, stale_nodes: stale, ..Applied::nothing(summary) })
    }
}
