//! The audit: the log from genesis, as a node serves it, applied again upon a state of the auditor's own.
//!
//! Nothing of a node's state is read, and no verdict is believed: each recorded decision is made again from the
//! commands before it, and the leaves must come out the same, byte for byte, up to the head that a quorum signed.

use std::collections::BTreeMap;
use std::time::Duration;

use chancery_client::{Ledger, WatchError};
use chancery_ledger::authority::{BLOCK_LEAVES_MAX, Decided, Entry, Replay, Verdict, VerifiedEntry};
use chancery_ledger::command::{Authorize, Body, VerifiedSignatures};
use chancery_ledger::decide::{Decision, Denial, Interval, Request, decide, explain};
use chancery_ledger::head::Head;
use chancery_ledger::state::MemoryLeaves;

use super::readings::Readings;

use super::words::{Explained, explained};
use crate::exit::{Failure, Result};

/// How long a node may take for one leaf, on a machine that has other work.
const LEAF_TIMEOUT: Duration = Duration::from_secs(30);

/// What the auditor found.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Blocks whose leaves came out the same.
    pub(super) blocks: u64,
    /// Their leaves.
    pub(super) leaves: u64,
    /// Recorded decisions among them.
    pub(super) decisions: u64,
    /// Why each denial, by its leaf: told from the state that it was decided from.
    pub(super) denials: BTreeMap<u64, Explained>,
    /// Permitted calls that required knowledge.
    pub(super) informed: u64,
    /// Of these, those whose knowledge is the result of a reading that the log has.
    pub(super) read: u64,
    /// Of these, those that are denied when they are asked again later than the knowledge may be old.
    pub(super) stale: u64,
    /// Whether the last leaf is at the head that a quorum signed, with its roots.
    pub(super) at_head: bool,
    /// What did not come out the same.
    pub(super) differs: Option<String>,
    readings: Readings,
}

/// Hashes of the replayed state's tree, in bytes: more than a replay has.
const TREE_BYTES_MAX: u64 = 64 << 20;

/// Reads the log up to `head` from a node and applies it again.
pub(super) async fn run(ledger: &Ledger, head: &Head) -> Result<Audit> {
    let unread = |why: String| Failure::local(format!("the log: {why}"));
    let mut audit = Audit::default();
    let mut replay: Option<Replay<MemoryLeaves>> = None;
    let batches = VerifiedSignatures::default();
    let mut watch = ledger.watch(0).await.map_err(|error| unread(error.to_string()))?;
    let mut block = Vec::new();
    let mut index = 0;
    while index < head.log_size {
        let next = tokio::time::timeout(LEAF_TIMEOUT, watch.next_change()).await;
        let entry = match next.map_err(|_| unread(format!("leaf {index} did not come in time")))? {
            Ok(change) => change.entry,
            // Deciding took its time: nothing is lost by going on.
            Err(WatchError::TooSlow { .. }) => continue,
            Err(error) => return Err(unread(error.to_string())),
        };
        index += 1;
        let last = matches!(entry, Entry::State { .. });
        match VerifiedEntry::of(head.ledger, entry, &batches) {
            Ok(entry) => block.push(entry),
            Err(error) => {
                audit.differs = Some(format!("leaf {}: {error}", index - 1));
                return Ok(audit);
            }
        }
        if block.len() > BLOCK_LEAVES_MAX {
            return Err(unread(format!("the block before leaf {index} has no end")));
        }
        if last {
            let leaves = std::mem::take(&mut block);
            let (blocks, first) = (audit.blocks, audit.leaves);
            let applied = match &mut replay {
                None => Replay::genesis(head.ledger, MemoryLeaves::default(), TREE_BYTES_MAX, &leaves)
                    .map(|founded| replay = Some(founded)),
                Some(replay) => {
                    audit.look_at(replay, first, &leaves)?;
                    replay.apply(&leaves).map(drop)
                }
            };
            if let Err(error) = applied {
                audit.differs = Some(error.to_string());
                return Ok(audit);
            }
            audit.blocks = blocks.saturating_add(1);
            audit.leaves = index;
            audit.decisions += leaves.iter().filter(|leaf| asked(leaf.entry()).is_some()).count() as u64;
        }
    }
    // Blocks that left no leaf are counted in the head, and in no log.
    audit.at_head = replay.is_some_and(|replay| Head { block: head.block, ..*replay.head() } == *head);
    Ok(audit)
}

impl Audit {
    /// Explains the denials of a block that comes next, and asks again later what rested on knowledge.
    fn look_at(&mut self, replay: &Replay<MemoryLeaves>, first: u64, leaves: &[VerifiedEntry]) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| Failure::local(format!("the audit: {error}"));
        for (index, leaf) in (first..).zip(leaves.iter().map(VerifiedEntry::entry)) {
            self.readings.learn(replay.head().ledger, leaf);
            let Some((asked, verdict, time_ms)) = asked(leaf) else { continue };
            let request = asked.request();
            let at = |time_ms| Interval { low_ms: time_ms, high_ms: time_ms };
            match &verdict.decided {
                Decided::Denied(denial) => {
                    let explanation =
                        explain(&replay.view(), &request, at(time_ms)).map_err(|error| failed(&error))?;
                    // Only the first decision of a block is made from the state before it.
                    if explanation.decision == Decision::Denied(denial.clone()) {
                        self.denials.insert(index, explained(denial, &explanation));
                    }
                }
                Decided::Permit { .. } => {
                    let Some(too_late_ms) = too_late(replay, &request, time_ms)? else { continue };
                    self.informed += 1;
                    self.read += u64::from(self.readings.hold(&request));
                    let later =
                        decide(&replay.view(), &request, at(too_late_ms)).map_err(|error| failed(&error))?;
                    let denied = matches!(
                        later,
                        Decision::Denied(Denial::KnowledgeMissing { retrieved_at_ms: Some(_), .. })
                    );
                    self.stale += u64::from(denied);
                }
            }
        }
        Ok(())
    }
}

/// When the knowledge that a permitted call required is too old, if it required any: one millisecond after.
fn too_late(replay: &Replay<MemoryLeaves>, request: &Request, time_ms: u64) -> Result<Option<u64>> {
    let interval = Interval { low_ms: time_ms, high_ms: time_ms };
    let explanation = explain(&replay.view(), request, interval)
        .map_err(|error| Failure::local(format!("the audit: {error}")))?;
    let links = explanation.grants.iter().flat_map(|considered| &considered.links);
    let ages = links.flat_map(|link| link.grant.terms.knowledge.iter()).map(|required| required.max_age_ms);
    let shown = request.knowledge.iter().flat_map(|knowledge| knowledge.shown());
    let newest_ms = shown.map(|placed| placed.item.retrieved_at_ms).max();
    Ok(ages
        .min()
        .zip(newest_ms)
        .map(|(age_ms, newest_ms)| newest_ms.saturating_add(age_ms).saturating_add(1)))
}

/// The decision in a leaf, and when it was made.
fn asked(leaf: &Entry) -> Option<(&Authorize, &Verdict, u64)> {
    let Entry::Command { signed, verdict: Some(verdict), time_ms, .. } = leaf else { return None };
    match &signed.command().body {
        Body::Authorize(asked) => Some((asked, verdict, *time_ms)),
        _ => None,
    }
}
