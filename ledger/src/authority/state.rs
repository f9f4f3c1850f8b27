//! What a replica keeps in memory between blocks: everything else is in the tree.

use std::collections::VecDeque;

use super::dedup::Dedup;
use crate::hash::Hash;
use crate::head::Head;
use crate::log::Frontier;
use crate::state::{NodeId, Root};

/// Heads kept so that one can be signed while later blocks flow, and compared with what leaders claim.
const HEADS_KEPT: usize = 1024;

/// The state after one block.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) summary: Summary,
    pub(super) dedup: Dedup,
    pub(super) heads: VecDeque<Head>,
}

/// The part of a [`State`] that is small and of fixed shape; a store keeps one for each block it can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What the quorum signs.
    pub head: Head,
    /// The right edge of the log.
    pub frontier: Frontier,
    /// The root of the state tree.
    pub root: Root,
    /// The next number for a tree node.
    pub next_node: NodeId,
    /// Hash of the block itself, which the next one repeats.
    pub block_hash: Hash,
}

impl State {
    /// The state that a store kept: a summary, the live deduplication entries, and the heads before.
    pub fn resume(summary: Summary, dedup: Dedup, earlier: impl IntoIterator<Item = Head>) -> Self {
        let mut state = Self { heads: VecDeque::with_capacity(HEADS_KEPT), summary, dedup };
        for head in earlier {
            state.remember(head);
        }
        if state.heads.back() != Some(&state.summary.head) {
            state.remember(state.summary.head);
        }
        state
    }

    /// The head after the last block.
    pub const fn head(&self) -> &Head {
        &self.summary.head
    }

    /// The small part.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The live deduplication entries.
    pub const fn dedup(&self) -> &Dedup {
        &self.dedup
    }

    /// The head after `block`, if it is among the last 1,024.
    pub fn head_of(&self, block: u64) -> Option<&Head> {
        let oldest = self.heads.front()?.block;
        self.heads.get(usize::try_from(block.checked_sub(oldest)?).ok()?)
    }

    pub(super) fn remember(&mut self, head: Head) {
        assert!(self.heads.back().is_none_or(|last| last.block + 1 == head.block), "heads have no gaps");
        if self.heads.len() == HEADS_KEPT {
            self.heads.pop_front();
        }
        self.heads.push_back(head);
    }
}
