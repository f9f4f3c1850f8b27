//! After every start nothing is signed until this node has applied what was committed before.
//!
//! A node that comes back may have applied less than it once signed. It signs again once it has applied
//! all that the cluster has committed, and that is no less than the node's own log held when it started,
//! or holds now, whichever is shorter: an uncommitted tail may be cut, and a tail that grows must not keep
//! a busy node silent for ever.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::fault::Fault;
use crate::raft::Raft;
use crate::store::applied::AppliedStore;
use crate::store::{RaftLog, SignedHead};

/// How often it is looked at.
const PERIOD: Duration = Duration::from_millis(20);

/// How often the last signed head is put on record.
const RECORD_PERIOD: Duration = Duration::from_secs(1);

/// Watches `raft` until the node has recovered, then says so. `tail_at_start` is the index of the last log
/// entry when the store was opened.
pub fn watch_recovery(
    raft: Raft,
    log: RaftLog,
    store: AppliedStore,
    tail_at_start: u64,
    fault: Fault,
) -> watch::Receiver<bool> {
    let (said, recovered) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            match recovered_now(&raft, &log, tail_at_start) {
                Ok(true) => break,
                Ok(false) => {}
                Err(why) => return fault.trip(&why),
            }
            tokio::select! {
                () = sleep(PERIOD) => {}
                () = said.closed() => return,
            }
        }
        if let Err(why) = compare_last_signed(&log, store.clone()).await {
            return fault.trip(&why);
        }
        tracing::info!("recovered: the node signs");
        let _ = said.send(true);
        tokio::select! {
            () = record_signed(&log, &store) => {}
            // The receivers must not see the channel close before they are gone.
            () = said.closed() => {}
        }
    });
    recovered
}

/// What this node signed last before it stopped must follow from what it has now.
async fn compare_last_signed(log: &RaftLog, store: AppliedStore) -> Result<(), String> {
    let Some(signed) = log.last_signed() else { return Ok(()) };
    let view = store.view();
    let root = crate::blocking::spawn(move || view.log_root_at(signed.size))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    match root {
        Some(root) if root == signed.root => Ok(()),
        found => Err(format!(
            "this node signed root {} of its log at size {}, but has {found:?}",
            signed.root, signed.size
        )),
    }
}

/// Keeps on record what was signed last: rarely, because a head is re-derivable from the log.
async fn record_signed(log: &RaftLog, store: &AppliedStore) {
    let mut applied = store.block();
    loop {
        let head = store.read_state(|state| *state.head());
        if let Err(error) = log.record_signed(SignedHead { size: head.log_size, root: head.log_root }).await {
            // A dead log store stops the node by itself.
            tracing::warn!(%error, "the last signed head is not on record");
        }
        sleep(RECORD_PERIOD).await;
        if applied.changed().await.is_err() {
            return;
        }
    }
}

fn recovered_now(raft: &Raft, log: &RaftLog, tail_at_start: u64) -> Result<bool, String> {
    let tail = log.read_tail_with(|tail| *tail).map_err(|error| error.to_string())?;
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let index = |id: &Option<crate::raft::types::LogId>| id.as_ref().map_or(0, |id| id.index);
    // Of the cluster, as its leader says: what this node happens to know from before is not enough.
    let Some(committed) = metrics.cluster_committed.as_ref() else { return Ok(false) };
    let tail_now = index(&tail.log_id);
    Ok(index(&metrics.last_applied) >= committed.index && committed.index >= tail_at_start.min(tail_now))
}
