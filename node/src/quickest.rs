//! Whom to ask first: a quorum is enough as a rule, and each answer costs its node a signature and a message.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chancery_ledger::head::Voter;

/// How long those are waited for that were asked first, before the others are asked too.
pub(crate) const FIRST_PATIENCE: Duration = Duration::from_millis(20);

/// The node that answered last.
#[derive(Default)]
pub(crate) struct Quickest(AtomicU64);

impl Quickest {
    /// `node` answered.
    pub(crate) fn answered(&self, node: u64) {
        self.0.store(node, Ordering::Relaxed);
    }

    /// Of `voters` those to ask first, who are a quorum, and the others. Node `own` is the first, then the one that
    /// answered last, then those that come after this one: so that not all ask the same.
    pub(crate) fn first<'a>(
        &self,
        own: u64,
        voters: impl Iterator<Item = &'a Voter>,
        is_quorum: impl Fn(&BTreeSet<u64>) -> bool,
    ) -> (Vec<&'a Voter>, Vec<&'a Voter>) {
        let quickest = self.0.load(Ordering::Relaxed);
        let mut first: Vec<&Voter> = voters.collect();
        first.sort_by_key(|voter| (voter.node != own, voter.node != quickest, voter.node < own, voter.node));
        first.dedup_by_key(|voter| voter.node);
        let mut nodes = BTreeSet::new();
        let enough = first.iter().position(|voter| {
            nodes.insert(voter.node);
            is_quorum(&nodes)
        });
        let others = first.split_off(enough.map_or(first.len(), |last| last + 1));
        (first, others)
    }
}
