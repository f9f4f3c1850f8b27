//! A log that is applied again from nothing but its leaves: what an auditor does, who has no node's state.
//!
//! A block left the commands that took effect, and a STATE leaf. What was refused left nothing, and did nothing.
//! So each command is verified, decided and applied again, in its order and at its block's time, upon the state
//! that all before it made; and the very leaves must come of it: with each recorded verdict, and each state root.

use super::apply::{Applied, ApplyError, Due, Outcome};
use super::block::Block;
use super::draft::Draft;
use super::entry::Entry;
use super::records::{LedgerRecord, Place};
use super::state::{State, Summary};
use super::view::referred;
use super::{RULES_VERSION, Refusal, rosters};
use crate::command::{LedgerId, SignedCommand};
use crate::hash::Hash;
use crate::head::Head;
use crate::state::{MemoryNodes, MissingNode, Recording, Update};

/// Why a log is not what its own commands make.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The leaves are not those of one block, or not of a block that may come now.
    #[error("the leaves from index {index} on are not those of the next block: {why}")]
    NotABlock {
        /// Of the first leaf.
        index: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// It is the log of another ledger.
    #[error("the log is that of ledger {0}")]
    OtherLedger(LedgerId),
    /// The block cannot be applied.
    #[error("block {block}: {source}")]
    Apply {
        /// Its number.
        block: u64,
        /// Why not.
        source: Box<ApplyError<MissingNode>>,
    },
    /// A command in the log has no effect by the rules.
    #[error("leaf {index} is a command that is refused: {refusal}")]
    Refused {
        /// Its index.
        index: u64,
        /// Why.
        refusal: Refusal,
    },
    /// A command is in the log twice, or had nothing left to do.
    #[error("leaf {index} is a command that took effect at index {first}")]
    Before {
        /// Its index.
        index: u64,
        /// Where it did.
        first: u64,
    },
    /// Another leaf comes of it: another verdict, another state.
    #[error("leaf {index} is another than comes of applying the log again")]
    Differs {
        /// Its index.
        index: u64,
    },
}

/// A ledger's state, as its log makes it. It keeps the newest state alone.
#[derive(Clone, Debug)]
pub struct Replay {
    state: State,
    nodes: MemoryNodes,
}

impl Replay {
    /// Founds the ledger `ledger` from the leaves of block 0.
    ///
    /// # Errors
    /// They are not that block's, or of another ledger.
    pub fn genesis(ledger: LedgerId, leaves: &[Entry]) -> Result<Self, ReplayError> {
        let told = Told::read(0, leaves)?;
        let [signed] = told.commands.as_slice() else {
            return Err(ReplayError::NotABlock { index: 0, why: "genesis is one command" });
        };
        let block = Block::genesis(told.time_ms, signed.clone());
        let found = LedgerId(block.hash());
        if found != ledger {
            return Err(ReplayError::OtherLedger(found));
        }
        let mut nodes = MemoryNodes::new();
        let (state, applied) = State::genesis(&nodes, &block).map_err(|error| told.fault(error))?;
        compare(0, leaves, &applied)?;
        keep(&mut nodes, &applied);
        Ok(Self { state, nodes })
    }

    /// Applies the next block of the log: its leaves, the STATE leaf last. Nothing is changed if it fails.
    ///
    /// # Errors
    /// The rules make something else of it.
    pub fn apply(&mut self, leaves: &[Entry]) -> Result<(), ReplayError> {
        let head = *self.state.head();
        let index = head.log_size;
        let told = Told::read(index, leaves)?;
        // Blocks that left no leaf are counted all the same.
        if told.number <= head.block || told.time_ms < head.time_ms {
            return Err(ReplayError::NotABlock { index, why: "it is not after the last one" });
        }
        let applied = self.execute(&told).map_err(|error| told.fault(error))?;
        for (index, outcome) in (index..).zip(&applied.outcomes) {
            match outcome {
                Outcome::Applied(_) => {}
                Outcome::Before(cause) => return Err(ReplayError::Before { index, first: cause.index }),
                Outcome::Refused(refusal) => {
                    return Err(ReplayError::Refused { index, refusal: refusal.clone() });
                }
            }
        }
        compare(index, leaves, &applied)?;
        // The heads of blocks that left no leaf are not known: those before are no row that could go on.
        self.state.take(&applied);
        self.state.heads.clear();
        self.state.remember(applied.summary.head);
        keep(&mut self.nodes, &applied);
        Ok(())
    }

    /// What comes of the commands that took effect. The block itself, and who proposed it, is not in the log.
    fn execute(&self, told: &Told) -> Result<Applied, ApplyError<MissingNode>> {
        let Summary { head, root, .. } = self.state.summary();
        if head.rules_version != RULES_VERSION {
            return Err(ApplyError::UnknownRules(head.rules_version));
        }
        let draft = Draft::new(&self.nodes, *root, head.ledger, head.roster);
        let ledger: LedgerRecord = referred(&draft, &Place::ledger())?;
        let roster = rosters::told_by(&ledger, &told.commands);
        rosters::check_block(&ledger, roster.as_ref())?;
        let due = Due { number: told.number, time_ms: told.time_ms, hash: Hash::ZERO };
        self.state.execute(draft, &ledger, due, &told.commands, roster.as_ref())
    }

    /// The head after the last block that was applied. A block after it that left no leaf is not known.
    pub const fn head(&self) -> &Head {
        self.state.head()
    }

    /// What the state holds, to decide from.
    pub fn view(&self) -> Recording<'_, MemoryNodes> {
        Recording::new(&self.nodes, self.state.summary().root)
    }
}

/// A block as its leaves tell it.
struct Told {
    number: u64,
    time_ms: u64,
    commands: Vec<SignedCommand>,
}

impl Told {
    fn read(index: u64, leaves: &[Entry]) -> Result<Self, ReplayError> {
        let wrong = |why| ReplayError::NotABlock { index, why };
        let Some((Entry::State { block: number, time_ms, .. }, before)) = leaves.split_last() else {
            return Err(wrong("the last leaf is no STATE leaf"));
        };
        let command = |entry: &Entry| match entry {
            Entry::Command { block, time_ms: stated_ms, signed, .. } => {
                ((block, stated_ms) == (number, time_ms)).then(|| signed.clone())
            }
            Entry::State { .. } => None,
        };
        let commands: Option<Vec<_>> = before.iter().map(command).collect();
        let commands = commands.ok_or_else(|| wrong("one of them is no command of the block"))?;
        Ok(Self { number: *number, time_ms: *time_ms, commands })
    }

    fn fault(&self, source: ApplyError<MissingNode>) -> ReplayError {
        ReplayError::Apply { block: self.number, source: Box::new(source) }
    }
}

/// Demands that the leaves are those that came of it.
fn compare(index: u64, leaves: &[Entry], applied: &Applied) -> Result<(), ReplayError> {
    let same = leaves.iter().zip(&applied.leaves).take_while(|(told, made)| told.encode() == **made).count();
    if same == leaves.len() && same == applied.leaves.len() {
        return Ok(());
    }
    // INVARIANT: a block has at most 4,096 commands.
    Err(ReplayError::Differs { index: index.saturating_add(u64::try_from(same).unwrap_or(0)) })
}

fn keep(nodes: &mut MemoryNodes, applied: &Applied) {
    nodes.insert(&Update {
        root: applied.summary.root,
        new: applied.new_nodes.clone(),
        stale: applied.stale_nodes.clone(),
        next_id: applied.summary.next_node,
    });
    nodes.forget(&applied.stale_nodes);
}
