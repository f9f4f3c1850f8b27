//! The seam between node logic and threads: work that waits for the disk.
//!
//! A node runs such work on threads beside the async workers. A simulation runs it on the runtime itself, after
//! a time that it chooses, so that one seed has one order of events.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::task::JoinHandle;

/// How long each piece of work takes, once this process simulates nodes.
static SIMULATED: OnceLock<fn() -> Duration> = OnceLock::new();

/// From now on, in the whole process, work runs on the runtime that asks for it, `takes` later, and the Raft
/// log's writer is a task of that runtime.
pub fn simulate(takes: fn() -> Duration) {
    // INVARIANT: a simulation is a process of its own, and says so once.
    let _ = SIMULATED.set(takes);
}

/// How long work takes, in a simulation.
pub(crate) fn simulated() -> Option<fn() -> Duration> {
    SIMULATED.get().copied()
}

/// Runs `work`, which may block.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let Some(takes) = simulated() else { return tokio::task::spawn_blocking(work) };
    tokio::spawn(async move {
        tokio::time::sleep(takes()).await;
        work()
    })
}
