//! The newest head that a round proved, kept for whoever need not ask under a nonce.
//!
//! It is refreshed while it is asked for: who finds it older than half of what he accepts has a round begin
//! behind his back, and only who finds it too old waits for one. An idle node makes no rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chancery_ledger::answer::HeadProof;
use chancery_ledger::decide::Request;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::queue::Queue;
use super::{CheckError, Checks, Waiting, root_of};
use crate::clock::Clock;

/// The newest proven head.
pub struct Recent {
    queue: Queue,
    newest: watch::Receiver<Option<Arc<HeadProof>>>,
    clock: Arc<dyn Clock>,
    /// A round was asked for that nobody waits for.
    refreshing: Arc<AtomicBool>,
}

impl Recent {
    pub(super) fn new(
        queue: Queue,
        newest: watch::Receiver<Option<Arc<HeadProof>>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { queue, newest, clock, refreshing: Arc::default() }
    }

    /// A proven head at or after `since_block`, whose oldest clock is at most `within_ms` before this node's.
    pub async fn within(
        &self,
        within_ms: u64,
        since_block: u64,
        deadline: Instant,
    ) -> Result<Arc<HeadProof>, CheckError> {
        let kept = self.newest.borrow().clone();
        if let Some(kept) = kept.filter(|kept| kept.head.block >= since_block) {
            let age_ms = self.clock.wall_ms().saturating_sub(oldest_clock_ms(&kept));
            if age_ms <= within_ms {
                if age_ms > within_ms / 2 {
                    self.refresh(deadline);
                }
                return Ok(kept);
            }
        }
        self.next(deadline).await
    }

    /// A head proven by a round that starts after this is called.
    pub async fn next(&self, deadline: Instant) -> Result<Arc<HeadProof>, CheckError> {
        next(&self.queue, deadline).await
    }

    /// Has a round begin, unless one was asked for so already.
    fn refresh(&self, deadline: Instant) {
        if self.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (queue, refreshing) = (self.queue.clone(), Arc::clone(&self.refreshing));
        tokio::spawn(async move {
            // Nobody waits: if it fails, who finds the kept one too old is told why the next one does.
            let _ = next(&queue, deadline).await;
            refreshing.store(false, Ordering::Release);
        });
    }
}

impl Checks {
    /// The encoded answer to `request` by a kept proof whose oldest clock is at most `within_ms` before this node's, and whose
    /// head is at or after `since_block`.
    pub async fn check_recent(
        &self,
        request: Request,
        within_ms: u64,
        since_block: u64,
        deadline: Instant,
    ) -> Result<Vec<u8>, CheckError> {
        let proof = self.recent.within(within_ms, since_block, deadline).await?;
        let rounds = Arc::clone(&self.rounds);
        let view = rounds.store.view();
        let answer = crate::blocking::spawn(move || {
            let root = root_of(&view, proof.head.block)?;
            rounds.encoded(&rounds.prove_now(&proof, (&view, root), None, &request)?)
        });
        answer.await.map_err(|error| CheckError::NoProof(error.to_string()))?
    }

    /// This node's clock, in milliseconds since 1970.
    pub fn clock_ms(&self) -> u64 {
        self.rounds.clock.wall_ms()
    }
}

/// The oldest clock of the quorum, in milliseconds since 1970.
pub(super) fn oldest_clock_ms(proof: &HeadProof) -> u64 {
    proof.statements.iter().filter_map(|statement| Some(statement.fresh?.clock_ms)).min().unwrap_or(0)
}

async fn next(queue: &Queue, deadline: Instant) -> Result<Arc<HeadProof>, CheckError> {
    let (reply, proof) = oneshot::channel();
    queue.push(Waiting::Head { reply })?;
    match timeout_at(deadline, proof).await {
        Ok(Ok(proof)) => proof,
        Ok(Err(_)) | Err(_) => Err(CheckError::NoQuorum("the round did not end in time".into())),
    }
}
