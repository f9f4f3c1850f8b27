//! `chancery node`: one node of the cluster, until it is told to stop.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use chancery_node::RuntimeEnd;
use chancery_node::config::NodeConfig;
use clap::Args;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Failure, Result};
use crate::log;
use crate::output::{Page, Report};

/// How long the stores may take to close after the node has stopped.
const STORES_CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs one node until SIGTERM or SIGINT; a leader hands over first.
#[derive(Debug, Args)]
pub(crate) struct Node {
    /// The node's configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Stop, too, when standard input ends: a child process ends with its parent, however that ended.
    #[arg(long)]
    stop_on_stdin_close: bool,
}

impl Node {
    /// Runs `chancery node`.
    pub(crate) async fn run(&self) -> Result<Report> {
        let _until_the_end = log::start()?;
        #[cfg(feature = "failpoints")]
        end_at_failpoint()?;
        #[cfg(feature = "sabotage")]
        chancery_node::sabotage::choose().map_err(Failure::usage)?;
        let config = NodeConfig::load(&self.config)
            .map_err(|error| Failure::usage(format!("configuration: {error}")))?;
        let node = config.node;
        let stop = stop_signal(self.stop_on_stdin_close)?;
        chancery_node::serve(config, stop).await.map_err(|error| Failure::local(error.to_string()))?;
        Ok(Report::done(
            Page::new(format!("node {node} has stopped")),
            json!({ "outcome": "done", "node": node }),
        ))
    }
}

/// Ends `runtime`, on which the node ran, and waits until its stores are closed. If they do not close, what
/// holds them open uses them still.
pub(crate) fn close_stores(runtime: Runtime) -> Result<()> {
    if RuntimeEnd::begin(runtime).wait(STORES_CLOSE_TIMEOUT) {
        return Ok(());
    }
    let waited = STORES_CLOSE_TIMEOUT.as_secs();
    Err(Failure::local(format!("the node has stopped, but after {waited} s its stores are still in use")))
}

/// For tests: this process ends, as by `kill -9`, when it comes to the failpoint that `CHANCERY_ABORT_AT` names;
/// `NAME:N` lets it pass N - 1 times.
#[cfg(feature = "failpoints")]
fn end_at_failpoint() -> Result<()> {
    use std::sync::atomic::{AtomicU64, Ordering};

    let Ok(setting) = std::env::var("CHANCERY_ABORT_AT") else { return Ok(()) };
    let invalid = |reason: &str| Failure::usage(format!("CHANCERY_ABORT_AT: {reason}"));
    let (name, times) = setting.split_once(':').unwrap_or((&setting, "1"));
    let times: u64 = times.parse().map_err(|_| invalid("not NAME or NAME:NUMBER"))?;
    let left = AtomicU64::new(times);
    fail::cfg_callback(name, move || {
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    })
    .map_err(|reason| invalid(&reason))
}

/// Resolves when the process should stop.
pub(crate) fn stop_signal(and_stdin: bool) -> Result<impl Future<Output = ()> + Send + 'static> {
    let failed = |error: std::io::Error| Failure::local(format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stdin_closed(), if and_stdin => {}
        }
    })
}

/// Resolves when nobody can write to our standard input any more. What is written is not looked at.
///
/// Read by a thread of its own, which nobody waits for: a read that never ends must not keep the process.
async fn stdin_closed() {
    let (closed, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut unread = [0; 64];
        while std::io::stdin().read(&mut unread).is_ok_and(|count| count > 0) {}
        // Nobody listens once the node stops for another reason.
        let _ = closed.send(());
    });
    let _ = told.await;
}
