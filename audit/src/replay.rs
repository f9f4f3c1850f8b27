//! The log applied again, in memory.

use chancery_ledger::authority::{Entry, Replay, ReplayError};
use chancery_ledger::command::LedgerId;
use chancery_ledger::head::Head;
use chancery_ledger::log::{Frontier, leaf_hash};

use crate::finding::{Code, Finding};

/// Who applies a log's leaves again, in order, and keeps what comes of them.
pub trait Replayer {
    /// The right edge of the log that was applied: whole blocks.
    fn frontier(&self) -> Frontier;

    /// The head after it; none before block 0.
    fn head(&self) -> Option<Head>;

    /// Applies what `leaves` has, which begin after those that were applied. A block whose STATE leaf does not come is
    /// left out.
    ///
    /// # Errors
    /// The state cannot be kept.
    fn apply(&mut self, leaves: &mut dyn Iterator<Item = Vec<u8>>) -> Result<Option<Finding>, ReplayFault>;
}

/// Why a state cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("the state: {0}")]
pub struct ReplayFault(pub Box<dyn std::error::Error + Send + Sync>);

/// Keeps everything in memory.
#[derive(Debug)]
pub struct InMemory {
    ledger: LedgerId,
    replay: Option<Replay>,
    frontier: Frontier,
}

impl InMemory {
    /// Nothing of `ledger` yet.
    pub fn new(ledger: LedgerId) -> Self {
        Self { ledger, replay: None, frontier: Frontier::new() }
    }

    fn block(&mut self, leaves: &[Entry]) -> Result<(), ReplayError> {
        match &mut self.replay {
            Some(replay) => replay.apply(leaves),
            None => {
                self.replay = Some(Replay::genesis(self.ledger, leaves)?);
                Ok(())
            }
        }
    }
}

impl Replayer for InMemory {
    fn frontier(&self) -> Frontier {
        self.frontier.clone()
    }

    fn head(&self) -> Option<Head> {
        self.replay.as_ref().map(|replay| *replay.head())
    }

    fn apply(&mut self, leaves: &mut dyn Iterator<Item = Vec<u8>>) -> Result<Option<Finding>, ReplayFault> {
        let mut frontier = self.frontier.clone();
        let mut block = Vec::new();
        for bytes in leaves {
            let index = frontier.size();
            frontier.append(leaf_hash(&bytes));
            match Entry::decode(&bytes) {
                Ok(entry) => block.push(entry),
                Err(error) => {
                    return Ok(Some(Finding::new(Code::Entry, "entries", "a canonical entry", error).at(index)));
                }
            }
            if block.len() > BLOCK_LEAVES_MAX {
                let found = format!("{} leaves without one", block.len());
                return Ok(Some(Finding::new(Code::Block, "entries", "a STATE leaf", found).at(index)));
            }
            if matches!(block.last(), Some(Entry::State { .. })) {
                if let Err(error) = self.block(&block) {
                    return Ok(Some(finding(self.frontier.size(), self.ledger, &error)));
                }
                block.clear();
                self.frontier = frontier.clone();
            }
        }
        Ok(None)
    }
}

/// Most commands of a block, and its STATE leaf.
const BLOCK_LEAVES_MAX: usize = 4096 + 1;

/// What the block after the first `applied` leaves shows.
fn finding(applied: u64, ledger: LedgerId, error: &ReplayError) -> Finding {
    let entry = |code, expected: &str, found: String, index| Finding::new(code, "entries", expected, found).at(index);
    match error {
        ReplayError::NotABlock { index, why } => {
            entry(Code::Block, "the leaves of the next block", (*why).to_owned(), *index)
        }
        ReplayError::OtherLedger(found) => Finding::new(Code::Ledger, "entries", ledger, found).at(0),
        ReplayError::Apply { source, .. } => {
            entry(Code::Refused, "a block that can be applied", source.to_string(), applied)
        }
        ReplayError::Refused { index, refusal } => {
            entry(Code::Refused, "a command that has effect", refusal.to_string(), *index)
        }
        ReplayError::Before { index, first } => {
            entry(Code::Twice, "a new command", format!("the one of leaf {first}"), *index)
        }
        ReplayError::Differs { index } => {
            entry(Code::Differs, "the leaf that comes of the log before it", "another".into(), *index)
        }
    }
}
