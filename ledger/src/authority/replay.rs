//! A log that is applied again from nothing but its leaves: what an auditor does, who has no node's state.
//!
//! A block left the commands that took effect, and a STATE leaf. What was refused left nothing, and did nothing.
//! So each command is verified, decided and applied again, in its order and at its block's time, upon the state
//! that all before it made; and the very leaves must come of it: with each recorded verdict, and each state root.
//! What is not so is a [`Finding`]. The values of the state are kept wherever a [`LeafKeep`] keeps them.

use super::apply::{ApplyError, Outcome, found};
use super::block::{BLOCK_COMMANDS_MAX, Block};
use super::dedup::{Dedup, DedupEntry};
use super::draft::Draft;
use super::entry::Entry;
use super::execute::{Before, Due, Executed};
use super::finding::{Finding, Place as LeafPlace};
use super::given::Given;
use super::records::{LedgerRecord, Place};
use super::verified_entry::{VerifiedCommand, VerifiedEntry};
use super::view::{View, ViewError, referred};
use super::{RULES_VERSION, Refusal, active_principal, rosters};
use crate::command::{LedgerId, VerifiedSignatures};
use crate::head::Head;
use crate::log::Frontier;
use crate::state::{HashTree, HashTreeError, Hashed, Key, LeafKeep, LeafRead, NextHashes, Value};

/// Most leaves of one block: its commands, and the STATE leaf.
pub const BLOCK_LEAVES_MAX: usize = BLOCK_COMMANDS_MAX + 1;

/// Why a replay cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError<E: std::error::Error + Send + Sync + 'static> {
    /// The log is not what its own commands make.
    #[error(transparent)]
    Finding(Box<Finding>),
    /// The replay's own state cannot be read or kept. That says nothing of the log.
    #[error("the replayed state: {0}")]
    Leaves(#[source] E),
    /// The replay's own state is not one that it made. That says nothing of the log.
    #[error("the replayed state is corrupt: {0}")]
    Corrupt(#[source] Box<ApplyError<HashTreeError<E>>>),
    /// The same: a record in it is not what it was.
    #[error("the replayed state is corrupt: {0}")]
    Record(String),
}

impl<E: std::error::Error + Send + Sync + 'static> From<Finding> for ReplayError<E> {
    fn from(finding: Finding) -> Self {
        Self::Finding(Box::new(finding))
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<Box<Finding>> for ReplayError<E> {
    fn from(finding: Box<Finding>) -> Self {
        Self::Finding(finding)
    }
}

/// A ledger's state, as its log makes it. It keeps the newest state alone.
#[derive(Clone, Debug)]
pub struct Replay<L> {
    progress: Progress,
    dedup: Dedup,
    tree: HashTree,
    leaves: L,
}

/// How far a replay has come: what to [`Replay::resume`] from, with the deduplication entries and the values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The head after the last block that was applied. A block after it that left no leaf is not known.
    pub head: Head,
    /// The right edge of the log.
    pub frontier: Frontier,
}

/// What a replayed block did besides the values.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// New deduplication entries, in the order of their chains.
    pub dedup: Vec<DedupEntry>,
    /// Buckets of which nothing is live any more.
    pub dedup_dropped: Vec<u64>,
}

impl<L: LeafKeep> Replay<L> {
    /// Founds the ledger `ledger` from the leaves of block 0, keeping values in `values`, which is empty, and
    /// about `tree_bytes_max` of hashes.
    ///
    /// # Errors
    /// They are not that block's, or of another ledger.
    pub fn genesis(
        ledger: LedgerId,
        mut values: L,
        tree_bytes_max: u64,
        leaves: &[VerifiedEntry],
    ) -> Result<Self, ReplayError<L::Error>> {
        let told = Told::read(0, leaves)?;
        let [command] = told.commands.as_slice() else {
            return Err(Finding::NotFounded { why: "block 0 is one command, of genesis".into() }.into());
        };
        let block = Block::genesis(told.place.time_ms, command.signed().clone());
        let its = LedgerId(block.hash());
        if its != ledger {
            return Err(Finding::OtherLedger { expected: ledger, found: its }.into());
        }
        let mut tree = HashTree::new(tree_bytes_max);
        let empty = Hashed { tree: &tree, leaves: &values };
        let executed = found(&empty, &block).map_err(|error| fault(0, error))?;
        compare(0, leaves, &executed.leaves)?;
        let Executed { head, frontier, next, .. } = executed;
        if let Some(next) = next {
            values.change(tree.take(next)).map_err(ReplayError::Leaves)?;
        }
        Ok(Self { progress: Progress { head, frontier }, dedup: Dedup::default(), tree, leaves: values })
    }

    /// Goes on from what a replay had come to: its [`Replay::progress`], its live deduplication entries, and its
    /// values, which must be those of that head.
    ///
    /// # Errors
    /// They are not, or cannot be read.
    pub fn resume(
        progress: Progress,
        dedup: Dedup,
        leaves: L,
        tree_bytes_max: u64,
    ) -> Result<Self, ReplayError<L::Error>> {
        let tree = HashTree::over(&leaves, tree_bytes_max).map_err(ReplayError::Leaves)?;
        if tree.root_hash() != progress.head.state_root {
            let other = HashTreeError::OtherValues { near: Key([0; 32]) };
            return Err(ReplayError::Corrupt(Box::new(ApplyError::Tree(other))));
        }
        Ok(Self { progress, dedup, tree, leaves })
    }

    /// Applies the next block of the log: its leaves, the STATE leaf last. Nothing is changed if it is a finding.
    ///
    /// # Errors
    /// The rules make something else of it.
    pub fn apply(&mut self, leaves: &[VerifiedEntry]) -> Result<Replayed, ReplayError<L::Error>> {
        let head = &self.progress.head;
        let index = head.log_size;
        let told = Told::read(index, leaves)?;
        let last = LeafPlace { block: head.block, time_ms: head.time_ms };
        // Blocks that left no leaf are counted all the same.
        if told.place.block <= last.block || told.place.time_ms < last.time_ms {
            return Err(Finding::NotAfter { index, last, found: told.place }.into());
        }
        let executed = self.execute(&told).map_err(|error| fault(index, error))?;
        for ((index, outcome), given) in (index..).zip(&executed.outcomes).zip(&told.commands) {
            match outcome {
                Outcome::Applied(_) => {}
                Outcome::Before(cause) => return Err(Finding::Before { index, first: cause.index }.into()),
                Outcome::Refused(refusal) => return Err(self.refused(index, given, refusal)?.into()),
            }
        }
        compare(index, leaves, &executed.leaves)?;
        let Executed { head, frontier, next, dedup, dedup_dropped, .. } = executed;
        self.dedup.follow(&dedup, &dedup_dropped);
        self.progress = Progress { head, frontier };
        if let Some(next) = next {
            self.leaves.change(self.tree.take(next)).map_err(ReplayError::Leaves)?;
        }
        Ok(Replayed { dedup, dedup_dropped })
    }

    /// What comes of the commands that took effect. The block itself, and who proposed it, is not in the log.
    fn execute(&self, told: &Told<'_>) -> Result<Executed<NextHashes>, ApplyError<HashTreeError<L::Error>>> {
        let Progress { head, frontier } = &self.progress;
        if head.rules_version != RULES_VERSION {
            return Err(ApplyError::UnknownRules(head.rules_version));
        }
        let version = Hashed { tree: &self.tree, leaves: &self.leaves };
        let draft = Draft::new(&version, head.ledger, head.roster);
        let ledger: LedgerRecord = referred(&draft, &Place::ledger())?;
        let roster = rosters::told_by(&ledger, &told.commands);
        rosters::check_block(&ledger, roster.as_ref())?;
        let due = Due { number: told.place.block, time_ms: told.place.time_ms, roster: roster.as_ref() };
        let before = Before { head, frontier, dedup: &self.dedup };
        // They are verified: it is not asked.
        before.execute(draft, &ledger, due, &told.commands, &VerifiedSignatures::default())
    }

    /// Says of a command that has no effect who gave it, and what he was when its block began.
    fn refused(
        &self,
        index: u64,
        given: &VerifiedCommand<'_>,
        refusal: &Refusal,
    ) -> Result<Finding, ReplayError<L::Error>> {
        let signer = given.signed().command().signer;
        let principal = active_principal(&self.view(), signer).map_err(|error| match error {
            ViewError::Read(error) => ReplayError::Leaves(error),
            error => ReplayError::Record(error.to_string()),
        })?;
        let roles = principal.map(|principal| principal.roles);
        Ok(Finding::Refused { index, signer, roles, refusal: refusal.clone() })
    }

    /// The head after the last block that was applied. A block after it that left no leaf is not known.
    pub const fn head(&self) -> &Head {
        &self.progress.head
    }

    /// How far it has come.
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The live deduplication entries.
    pub const fn dedup(&self) -> &Dedup {
        &self.dedup
    }

    /// Where the values are kept.
    pub const fn leaves(&self) -> &L {
        &self.leaves
    }

    /// The same, to be written out.
    pub const fn leaves_mut(&mut self) -> &mut L {
        &mut self.leaves
    }

    /// What the state holds, to decide from.
    pub const fn view(&self) -> Newest<'_, L> {
        Newest(&self.leaves)
    }
}

/// What the newest state of a [`Replay`] holds.
#[derive(Clone, Copy, Debug)]
pub struct Newest<'a, L>(&'a L);

impl<L: LeafRead> View for Newest<'_, L> {
    type Error = L::Error;

    fn read(&self, key: &Key) -> Result<Option<Value>, Self::Error> {
        self.0.value(key)
    }
}

/// A block as its leaves tell it.
struct Told<'a> {
    place: LeafPlace,
    commands: Vec<VerifiedCommand<'a>>,
}

impl<'a> Told<'a> {
    /// Reads the leaves from `index` on, which must be those of one block.
    fn read(index: u64, leaves: &'a [VerifiedEntry]) -> Result<Self, Box<Finding>> {
        let Some(first) = leaves.first() else { return Err(Finding::NoState { index, leaves: 0 }.into()) };
        let place = LeafPlace::of(first.entry());
        let mut commands = Vec::with_capacity(leaves.len());
        for (at, leaf) in (index..).zip(leaves) {
            let found = LeafPlace::of(leaf.entry());
            if found != place {
                return Err(Finding::OtherBlock { index: at, expected: place, found }.into());
            }
            commands.extend(leaf.command());
        }
        match leaves.split_last() {
            Some((last, before))
                if leaves.len() <= BLOCK_LEAVES_MAX
                    && matches!(last.entry(), Entry::State { .. })
                    && before.len() == commands.len() =>
            {
                Ok(Self { place, commands })
            }
            _ => Err(Finding::NoState { index, leaves: leaves.len() }.into()),
        }
    }
}

/// Demands that the leaves are those that came of it.
fn compare(index: u64, leaves: &[VerifiedEntry], made: &[Vec<u8>]) -> Result<(), Box<Finding>> {
    let all = made.len();
    for ((index, found), made) in (index..).zip(leaves).zip(made) {
        if found.bytes() != made {
            return Err(Finding::differs(index, made, found).into());
        }
    }
    if leaves.len() == all {
        return Ok(());
    }
    // INVARIANT: each command took effect, and left one leaf; the STATE leaf came after them.
    Err(Finding::NoState { index, leaves: leaves.len() }.into())
}

/// Tells what is wrong with the log from what is wrong with the replay's own state.
fn fault<E: std::error::Error + Send + Sync + 'static>(
    index: u64,
    error: ApplyError<HashTreeError<E>>,
) -> ReplayError<E> {
    match error {
        ApplyError::State(ViewError::Read(HashTreeError::Read(error)))
        | ApplyError::Tree(HashTreeError::Read(error)) => ReplayError::Leaves(error),
        ApplyError::Roster(fault) => Finding::Roster { index, fault }.into(),
        ApplyError::UnknownRules(version) => Finding::UnknownRules { index, version }.into(),
        ApplyError::Genesis(why) => Finding::NotFounded { why }.into(),
        error => ReplayError::Corrupt(Box::new(error)),
    }
}
