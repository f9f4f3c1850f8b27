//! Answers about the past: from the states that are kept, and the log, which commits to all of them.

use std::sync::Arc;

use chancery_ledger::answer::{HeadProof, Moment, PastAnswer};
use chancery_ledger::authority::{Leaf, Summary};
use chancery_ledger::condition::LANGUAGE_VERSION;
use chancery_ledger::decide::{Interval, Request};
use tokio::time::Instant;

use super::prove::{ReadSet, cut, read_set};
use super::recent::oldest_clock_ms;
use super::{CheckError, Checks, Rounds};
use crate::store::applied::AppliedView;

/// Oldest proof of a head that the past is shown by, in milliseconds: its quorum may have been replaced since.
const PROOF_AGE_MS_MAX: u64 = 10_000;

/// How often a state is looked for that may have been forgotten meanwhile.
const TRIES: usize = 3;

/// What is asked about the past.
#[derive(Clone, Debug)]
pub struct PastQuestion {
    /// The question.
    pub request: Request,
    /// When.
    pub moment: Moment,
    /// The newest block that the client has verified.
    pub since_block: u64,
}

/// Why there is no answer about the past.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PastError {
    /// As with any check.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The state is kept no more, or there was none yet.
    #[error("the oldest state that is kept is of block {oldest_block}, ledger time {oldest_time_ms}")]
    NotKept {
        /// The oldest block whose state is kept.
        oldest_block: u64,
        /// Its ledger time, in milliseconds since 1970.
        oldest_time_ms: u64,
    },
    /// The moment is after what is known.
    #[error("the newest block is {newest_block}, at {clock_ms} by the clocks of its quorum")]
    NotReached {
        /// The newest block.
        newest_block: u64,
        /// The oldest clock of its quorum, in milliseconds since 1970.
        clock_ms: u64,
    },
}

impl Checks {
    /// Answers a question about the past.
    pub async fn check_past(&self, asked: PastQuestion, deadline: Instant) -> Result<PastAnswer, PastError> {
        let PastQuestion { moment, since_block, .. } = asked;
        let least = match moment {
            Moment::Block(block) => since_block.max(block),
            Moment::Time(_) => since_block,
        };
        let mut proof = match self.recent.within(PROOF_AGE_MS_MAX, since_block, deadline).await {
            Ok(kept) if kept.head.block < least || !reaches(&kept, moment) => {
                self.recent.next(deadline).await
            }
            kept => kept,
        }?;
        if !reaches(&proof, moment) && matches!(moment, Moment::Time(_)) {
            // Clocks go on while a round lasts.
            proof = self.recent.next(deadline).await?;
        }
        if !reaches(&proof, moment) {
            let (newest_block, clock_ms) = (proof.head.block, oldest_clock_ms(&proof));
            return Err(PastError::NotReached { newest_block, clock_ms });
        }
        let (rounds, view) = (Arc::clone(&self.rounds), self.rounds.store.view());
        let answer = crate::blocking::spawn(move || rounds.prove_past(&proof, &view, &asked));
        answer.await.map_err(|error| CheckError::NoProof(error.to_string()))?
    }
}

fn reaches(proof: &HeadProof, moment: Moment) -> bool {
    match moment {
        Moment::Block(block) => block <= proof.head.block,
        Moment::Time(time_ms) => time_ms <= oldest_clock_ms(proof),
    }
}

impl Rounds {
    fn prove_past(
        &self,
        proof: &HeadProof,
        view: &AppliedView,
        asked: &PastQuestion,
    ) -> Result<PastAnswer, PastError> {
        // States may be forgotten while they are read: then it is looked at once more what is kept.
        for _ in 0..TRIES {
            let oldest = view.oldest_state();
            match self.prove_kept(proof, view, oldest, asked) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {
                    let oldest_time_ms = summary_of(view, oldest)?.head.time_ms;
                    return Err(PastError::NotKept { oldest_block: oldest, oldest_time_ms });
                }
                Err(error) if view.oldest_state() == oldest => return Err(error),
                Err(_) => {}
            }
        }
        Err(no_proof("what is kept went on while it was read"))
    }

    /// The answer, if the state is among those from `oldest` on.
    fn prove_kept(
        &self,
        proof: &HeadProof,
        view: &AppliedView,
        oldest: u64,
        asked: &PastQuestion,
    ) -> Result<Option<PastAnswer>, PastError> {
        let block = match asked.moment {
            Moment::Block(block) => Some(block).filter(|block| *block >= oldest),
            Moment::Time(time_ms) => {
                last_block(view, oldest, proof.head.block, |summary| summary.head.time_ms <= time_ms)?
            }
        };
        block.map(|block| self.prove_at(proof, view, block, asked)).transpose()
    }

    fn prove_at(
        &self,
        proof: &HeadProof,
        view: &AppliedView,
        block: u64,
        asked: &PastQuestion,
    ) -> Result<PastAnswer, PastError> {
        let summary = summary_of(view, block)?;
        let log_size = summary.head.log_size;
        let time_ms = match asked.moment {
            Moment::Block(_) => summary.head.time_ms,
            Moment::Time(time_ms) => time_ms,
        };
        let interval = Interval { low_ms: time_ms, high_ms: time_ms };
        let ReadSet { keys, hint } = read_set(view, summary.root, &asked.request, interval, None)?;
        let tree = cut(view, summary.root, &keys)?;
        // Whatever adds leaves ends with a STATE leaf: the last block that adds none to this log ends where the
        // next one's begin.
        let newest = proof.head.block;
        let unchanged = last_block(view, block, newest, |summary| summary.head.log_size <= log_size)?;
        let next = match unchanged.and_then(|last| last.checked_add(1)).filter(|next| *next <= newest) {
            Some(next) => Some(leaf(view, summary_of(view, next)?.head.log_size, proof)?),
            None => None,
        };
        let state = leaf(view, log_size, proof)?;
        let HeadProof { head, statements, head_statements } = proof.clone();
        let language = LANGUAGE_VERSION.into();
        let answer = PastAnswer { head, statements, head_statements, state, next, tree, hint, language };
        self.check_size(answer.encode().len())?;
        Ok(answer)
    }
}

/// The last leaf of the log when it had `size`, in the log of the proven head.
fn leaf(view: &AppliedView, size: u64, proof: &HeadProof) -> Result<Leaf, PastError> {
    let index = size.saturating_sub(1);
    let entry = view.entry(index).map_err(no_proof)?;
    let entry = entry.ok_or_else(|| no_proof(format!("leaf {index} is missing")))?;
    let proof = view.prove_inclusion(index, proof.head.log_size).map_err(no_proof)?;
    Ok(Leaf { index, entry, proof })
}

/// The last of the blocks from `first` to `last` that is as it is `before`, if the first is: those that are come
/// before those that are not.
fn last_block(
    view: &AppliedView,
    first: u64,
    last: u64,
    before: impl Fn(&Summary) -> bool,
) -> Result<Option<u64>, PastError> {
    if !before(&summary_of(view, first)?) {
        return Ok(None);
    }
    // `low` is as it is before; what is after `high` is not. At most 64 steps.
    let (mut low, mut high) = (first, last);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if before(&summary_of(view, middle)?) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(Some(low))
}

fn summary_of(view: &AppliedView, block: u64) -> Result<Summary, PastError> {
    let summary = view.summary_of(block).map_err(no_proof)?;
    summary.ok_or_else(|| no_proof(format!("the summary of block {block} is kept no more")))
}

fn no_proof(why: impl std::fmt::Display) -> PastError {
    CheckError::NoProof(why.to_string()).into()
}
