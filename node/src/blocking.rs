//! The seam between node logic and threads: work that waits for the disk.
//!
//! A node runs such work on threads beside the async workers. A simulation runs it on the runtime itself, after
//! a time that it chooses, so that one seed has one order of events.

use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::oneshot;
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

/// The work ended without a result: it panicked, or the node is stopping.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the work ended without a result")]
pub(crate) struct Lost;

/// A line of work that may block and rarely does, such as what a command is admitted by and what a receipt shows. It comes in
/// bursts, and to wake a thread for each piece costs more than the piece: so few threads do one after the other.
#[derive(Clone, Default)]
pub(crate) struct Line(Arc<Mutex<Pieces>>);

type Piece = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Pieces {
    /// Bounded by who waits: each caller has one.
    waiting: VecDeque<Piece>,
    threads: usize,
}

impl Line {
    /// Runs `work` when those before it have begun.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Lost> {
        if simulated().is_some() {
            return spawn(work).await.map_err(|_| Lost);
        }
        let (done, result) = oneshot::channel();
        self.push(Box::new(move || {
            // Who waits no more is told nothing.
            let _ = done.send(work());
        }));
        result.await.map_err(|_| Lost)
    }

    fn push(&self, piece: Piece) {
        let mut pieces = self.pieces();
        pieces.waiting.push_back(piece);
        if pieces.threads < threads_max() {
            pieces.threads += 1;
            drop(pieces);
            let thread = Thread { line: self.clone(), has_ended: false };
            spawn(move || thread.run());
        }
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        // INVARIANT: nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As many as the runtime has workers: half of the processors.
fn threads_max() -> usize {
    static HALF: LazyLock<usize> =
        LazyLock::new(|| available_parallelism().map_or(1, NonZero::get).div_ceil(2));
    *HALF
}

/// A thread that does the work of a line, until there is none.
struct Thread {
    line: Line,
    has_ended: bool,
}

impl Thread {
    fn run(mut self) {
        loop {
            let mut pieces = self.line.pieces();
            let Some(piece) = pieces.waiting.pop_front() else {
                // Under the lock: what is pushed from here on begins another.
                pieces.threads -= 1;
                self.has_ended = true;
                return;
            };
            drop(pieces);
            // Whoever waits for a piece that panics is told by its end; those behind it are not concerned.
            let _ = catch_unwind(AssertUnwindSafe(piece));
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if !self.has_ended {
            // It never ran, since the runtime is stopping: so does what waits.
            let mut pieces = self.line.pieces();
            pieces.threads -= 1;
            let waiting = std::mem::take(&mut pieces.waiting);
            drop(pieces);
            drop(waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn each_piece_is_done_once_by_few_threads_and_none_stay() {
        let (line, at_once, most) =
            (Line::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let all: Vec<_> = (0..500)
            .map(|number| {
                let (line, at_once, most) = (line.clone(), Arc::clone(&at_once), Arc::clone(&most));
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        at_once.fetch_sub(1, Ordering::SeqCst);
                        number
                    };
                    line.run(work).await
                })
            })
            .collect();
        for (number, one) in all.into_iter().enumerate() {
            assert_eq!(one.await.ok().and_then(Result::ok), Some(number));
        }
        assert!((1..=threads_max()).contains(&most.load(Ordering::SeqCst)));
        // The last thread says that it ends after its last piece was answered.
        let ended = async {
            while line.pieces().threads > 0 {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), ended).await.is_ok());
        assert!(line.pieces().waiting.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_its_callers_alone() {
        let line = Line::default();
        assert!(line.run(|| assert_eq!(1, 2, "on purpose")).await.is_err());
        assert_eq!(line.run(|| 7).await.ok(), Some(7));
    }

    #[test]
    fn who_asks_when_the_runtime_has_stopped_is_told() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        let Ok(runtime) = runtime else { return assert!(runtime.is_ok()) };
        let handle = runtime.handle().clone();
        runtime.shutdown_background();
        let _inside = handle.enter();
        let line = Line::default();
        for _ in 0..2 {
            let (done, result) = oneshot::channel::<()>();
            line.push(Box::new(move || assert!(done.send(()).is_ok())));
            assert!(result.blocking_recv().is_err(), "and waits not for ever");
            assert_eq!(line.pieces().threads, 0);
        }
    }
}
