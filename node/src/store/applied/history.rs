//! Forgetting old states: nodes that no kept state uses are deleted, a bounded number with each block.

use chancery_ledger::head::Head;
use chancery_ledger::state::NodeId;

use super::AppliedOptions;
use super::database::{Batch, Column};
use super::fault::AppliedFault;
use super::record::{self, HistoryStart};
use super::view::Opened;

/// Blocks whose summaries are kept whatever the history is: a state is resumed with their heads.
const SUMMARIES_MIN: u64 = 1024;

/// What is deleted with one block.
pub(super) struct Step {
    stale: Vec<NodeId>,
    /// Keys of the records that say so of them.
    records: Vec<[u8; 16]>,
    summaries: std::ops::Range<u64>,
    was: HistoryStart,
    /// Where history starts once the step is made.
    pub(super) start: HistoryStart,
}

/// Finds nodes that no state of the last `history_blocks` before `head` uses: no more records of them than are needed for
/// `nodes_max`, if there are as many.
pub(super) fn plan(
    opened: &Opened,
    head: &Head,
    options: &AppliedOptions,
    nodes_max: usize,
) -> Result<Step, AppliedFault> {
    let was = opened.live().history;
    let keep_from = head.block.saturating_sub(options.history_blocks);
    let mut start = was;
    let (mut stale, mut records) = (Vec::new(), Vec::new());
    // While the ledger is younger than its history, nothing is too old, and nobody need look.
    if keep_from > 0 && keep_from >= was.state {
        start.state = keep_from;
        // A node stale since block b is used by states before b only: those of blocks up to b − 1.
        for found in opened.database.records_from(Column::Stale, &record::pair_key(was.state, 0))? {
            let (key, value) = found?;
            let (since, number) =
                record::decode_pair_key(&key).ok_or_else(|| AppliedFault::corrupt("stale nodes", "a key"))?;
            if since > keep_from {
                break;
            }
            if stale.len() >= nodes_max {
                // The state of `since` itself is whole: it does not use these nodes.
                start.state = since;
                break;
            }
            stale.extend(record::decode_stale(&value)?);
            records.push(record::pair_key(since, number));
        }
    }
    let unneeded = head.block.saturating_sub(SUMMARIES_MIN).min(start.state);
    let most = u64::try_from(nodes_max).unwrap_or(u64::MAX);
    start.summary = unneeded.clamp(was.summary, was.summary.saturating_add(most));
    Ok(Step { stale, records, summaries: was.summary..start.summary, was, start })
}

impl Step {
    pub(super) fn write(&self, batch: &mut Batch<'_>) -> Result<(), AppliedFault> {
        for node in &self.stale {
            batch.delete(Column::Nodes, node.0.to_be_bytes())?;
        }
        for record in &self.records {
            batch.delete(Column::Stale, record)?;
        }
        for block in self.summaries.clone() {
            batch.delete(Column::Summaries, block.to_be_bytes())?;
        }
        if self.start != self.was {
            batch.put(Column::Meta, record::HISTORY, record::encode_history(self.start))?;
        }
        Ok(())
    }

    /// How many nodes it deletes.
    pub(super) fn nodes(&self) -> usize {
        self.stale.len()
    }
}
