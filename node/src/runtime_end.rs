//! The end of a node for good, with its stores closed.

use std::convert::Infallible;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;

/// The end of a runtime on which a node runs or ran.
///
/// A node's stores are shared by its tasks and its threads, and close when the last of these lets go of them.
/// That is not yet so when [`serve`](crate::serve) returns, and nothing but the end of the runtime says when it
/// is. A process must wait for it before it ends: RocksDB's globals go when `main` returns, and a thread that
/// closes a store after that aborts the process.
pub struct RuntimeEnd {
    ended: mpsc::Receiver<Infallible>,
}

impl RuntimeEnd {
    /// Has each task be dropped where it waits, while blocking work that has begun goes on until it is done.
    /// Waits for none of that.
    pub fn begin(runtime: Runtime) -> Self {
        let (at_the_end, ended) = mpsc::channel();
        let end = move || {
            drop(runtime);
            drop(at_the_end);
        };
        // If there is no thread to be had, `end` and with it the runtime is dropped, and waited for, here.
        let _ = thread::Builder::new().name("runtime-end".into()).spawn(end);
        Self { ended }
    }

    /// Blocks until all has ended, at most for `wait_max`. Whether it has: then the stores are closed.
    pub fn wait(&self, wait_max: Duration) -> bool {
        matches!(self.ended.recv_timeout(wait_max), Err(RecvTimeoutError::Disconnected))
    }
}
