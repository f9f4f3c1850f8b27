//! A log that is applied again from nothing but its leaves: what an auditor does, who has no node's state.
//!
//! A block left the commands that took effect, and a STATE leaf. What was refused left nothing, and did nothing.
//! So each command is verified, decided and applied again, in its order and at its block's time, upon the state
//! that all before it made; and the very leaves must come of it: with each recorded verdict, and each state root.
//! What is not so is a [`Finding`]. The nodes of the state are kept wherever a [`NodeKeep`] keeps them.

use super::apply::{Applied, ApplyError, Due, Outcome};
use super::block::{BLOCK_COMMANDS_MAX, Block};
use super::dedup::Dedup;
use super::draft::Draft;
use super::entry::Entry;
use super::finding::{Finding, Place as LeafPlace};
use super::given::Given;
use super::records::{LedgerRecord, Place};
use super::state::{State, Summary};
use super::verified_entry::{VerifiedCommand, VerifiedEntry};
use super::view::{ViewError, referred};
use super::{RULES_VERSION, Refusal, active_principal, rosters};
use crate::command::LedgerId;
use crate::hash::Hash;
use crate::head::Head;
use crate::state::{NodeKeep, Recording, TreeError};

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
    Nodes(#[source] E),
    /// The replay's own state is not one that it made. That says nothing of the log.
    #[error("the replayed state is corrupt: {0}")]
    Corrupt(#[source] Box<ApplyError<E>>),
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
pub struct Replay<N> {
    state: State,
    nodes: N,
}

impl<N: NodeKeep> Replay<N> {
    /// Founds the ledger `ledger` from the leaves of block 0, keeping nodes in `nodes`, which is empty.
    ///
    /// # Errors
    /// They are not that block's, or of another ledger.
    pub fn genesis(
        ledger: LedgerId,
        mut nodes: N,
        leaves: &[VerifiedEntry],
    ) -> Result<Self, ReplayError<N::Error>> {
        let told = Told::read(0, leaves)?;
        let [command] = told.commands.as_slice() else {
            return Err(Finding::NotFounded { why: "block 0 is one command, of genesis".into() }.into());
        };
        let block = Block::genesis(told.place.time_ms, command.signed().clone());
        let found = LedgerId(block.hash());
        if found != ledger {
            return Err(Finding::OtherLedger { expected: ledger, found }.into());
        }
        let (state, applied) = State::genesis(&nodes, &block).map_err(|error| fault(0, error))?;
        compare(0, leaves, &applied)?;
        nodes.replace(&applied.new_nodes, &applied.stale_nodes).map_err(ReplayError::Nodes)?;
        Ok(Self { state, nodes })
    }

    /// Goes on from what a replay had come to: its [`Replay::summary`], its live deduplication entries, and its
    /// nodes.
    pub fn resume(summary: Summary, dedup: Dedup, nodes: N) -> Self {
        Self { state: State::resume(summary, dedup, []), nodes }
    }

    /// Applies the next block of the log: its leaves, the STATE leaf last. Nothing is changed if it is a finding.
    ///
    /// # Errors
    /// The rules make something else of it.
    pub fn apply(&mut self, leaves: &[VerifiedEntry]) -> Result<Applied, ReplayError<N::Error>> {
        let head = *self.state.head();
        let index = head.log_size;
        let told = Told::read(index, leaves)?;
        let last = LeafPlace { block: head.block, time_ms: head.time_ms };
        // Blocks that left no leaf are counted all the same.
        if told.place.block <= last.block || told.place.time_ms < last.time_ms {
            return Err(Finding::NotAfter { index, last, found: told.place }.into());
        }
        let applied = self.execute(&told).map_err(|error| fault(index, error))?;
        for ((index, outcome), given) in (index..).zip(&applied.outcomes).zip(&told.commands) {
            match outcome {
                Outcome::Applied(_) => {}
                Outcome::Before(cause) => return Err(Finding::Before { index, first: cause.index }.into()),
                Outcome::Refused(refusal) => return Err(self.refused(index, given, refusal)?.into()),
            }
        }
        compare(index, leaves, &applied)?;
        // The heads of blocks that left no leaf are not known: those before are no row that could go on.
        self.state.take(&applied);
        self.state.heads.clear();
        self.state.remember(applied.summary.head);
        self.nodes.replace(&applied.new_nodes, &applied.stale_nodes).map_err(ReplayError::Nodes)?;
        Ok(applied)
    }

    /// What comes of the commands that took effect. The block itself, and who proposed it, is not in the log.
    fn execute(&self, told: &Told<'_>) -> Result<Applied, ApplyError<N::Error>> {
        let Summary { head, root, .. } = self.state.summary();
        if head.rules_version != RULES_VERSION {
            return Err(ApplyError::UnknownRules(head.rules_version));
        }
        let draft = Draft::new(&self.nodes, *root, head.ledger, head.roster);
        let ledger: LedgerRecord = referred(&draft, &Place::ledger())?;
        let roster = rosters::told_by(&ledger, &told.commands);
        rosters::check_block(&ledger, roster.as_ref())?;
        let due = Due { number: told.place.block, time_ms: told.place.time_ms, hash: Hash::ZERO };
        self.state.execute(draft, &ledger, due, &told.commands, roster.as_ref())
    }

    /// Says of a command that has no effect who gave it, and what he was when its block began.
    fn refused(
        &self,
        index: u64,
        given: &VerifiedCommand<'_>,
        refusal: &Refusal,
    ) -> Result<Finding, ReplayError<N::Error>> {
        let signer = given.signed().command().signer;
        let principal =
            active_principal(&self.view(), signer).map_err(|error| fault(index, ApplyError::State(error)))?;
        let roles = principal.map(|principal| principal.roles);
        Ok(Finding::Refused { index, signer, roles, refusal: refusal.clone() })
    }

    /// The head after the last block that was applied. A block after it that left no leaf is not known.
    pub const fn head(&self) -> &Head {
        self.state.head()
    }

    /// What to [`Replay::resume`] from, with the deduplication entries and the nodes.
    pub const fn summary(&self) -> &Summary {
        self.state.summary()
    }

    /// The live deduplication entries.
    pub const fn dedup(&self) -> &Dedup {
        self.state.dedup()
    }

    /// Where the nodes are kept.
    pub const fn nodes(&self) -> &N {
        &self.nodes
    }

    /// The same, to be written out.
    pub const fn nodes_mut(&mut self) -> &mut N {
        &mut self.nodes
    }

    /// What the state holds, to decide from.
    pub fn view(&self) -> Recording<'_, N> {
        Recording::new(&self.nodes, self.state.summary().root)
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
fn compare(index: u64, leaves: &[VerifiedEntry], applied: &Applied) -> Result<(), Box<Finding>> {
    for ((index, found), made) in (index..).zip(leaves).zip(&applied.leaves) {
        if found.bytes() != made {
            return Err(Finding::differs(index, made, found).into());
        }
    }
    if leaves.len() == applied.leaves.len() {
        return Ok(());
    }
    // INVARIANT: each command took effect, and left one leaf; the STATE leaf came after them.
    Err(Finding::NoState { index, leaves: leaves.len() }.into())
}

/// Tells what is wrong with the log from what is wrong with the replay's own state.
fn fault<E: std::error::Error + Send + Sync + 'static>(index: u64, error: ApplyError<E>) -> ReplayError<E> {
    match error {
        ApplyError::State(ViewError::Read(TreeError::Read(error)))
        | ApplyError::Tree(TreeError::Read(error)) => ReplayError::Nodes(error),
        ApplyError::Roster(fault) => Finding::Roster { index, fault }.into(),
        ApplyError::UnknownRules(version) => Finding::UnknownRules { index, version }.into(),
        ApplyError::Genesis(why) => Finding::NotFounded { why }.into(),
        error => ReplayError::Corrupt(Box::new(error)),
    }
}
