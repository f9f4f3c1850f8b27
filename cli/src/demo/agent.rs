//! An agent that calls a tool again and again, each call through the gate: checked, proven, and run only on
//! its own permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chancery_client::{CheckError, Checked, Ledger};
use chancery_ledger::decide::Denial;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::stage::Stage;

/// How often the agent calls its tool.
const CALL_EVERY: Duration = Duration::from_millis(200);

/// Calls that nobody has looked at yet; the agent waits beyond.
const UNSEEN_MAX: usize = 1024;

/// What the agent would do.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The agent.
    pub(crate) agent: &'static str,
    /// Its tool.
    pub(crate) action: &'static str,
    /// What it is used on.
    pub(crate) resource: &'static str,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    /// From 1.
    pub(crate) number: u64,
    /// When it was asked for.
    pub(crate) asked: Instant,
    /// How long the proven check took.
    pub(crate) took: Duration,
    /// What came of it.
    pub(crate) outcome: Outcome,
}

impl Call {
    /// It was permitted, and the tool ran.
    pub(crate) const fn ran(&self) -> bool {
        matches!(self.outcome, Outcome::Ran(_))
    }

    /// It was denied, with a proof.
    pub(crate) const fn was_denied(&self) -> bool {
        matches!(self.outcome, Outcome::Denied(..))
    }
}

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was permitted, and the tool ran.
    Ran(Box<Checked>),
    /// It was denied, with a proof; the tool did not run.
    Denied(Denial, Box<Checked>),
    /// There was no proof in time, or the permit had ended: the tool did not run.
    Closed(String),
}

/// An agent at work.
#[derive(Debug)]
pub(crate) struct Agent {
    calls: mpsc::Receiver<Call>,
    tool_runs: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Agent {
    /// Sets an agent to work on `stage`; `gate` checks for it.
    pub(crate) fn start(stage: &mut Stage, gate: Ledger, job: Job) -> Self {
        let (sender, calls) = mpsc::channel(UNSEEN_MAX);
        let tool_runs = Arc::new(AtomicU64::new(0));
        let task = stage.spawn(work(gate, job, tool_runs.clone(), sender));
        Self { calls, tool_runs, task }
    }

    /// The next call.
    pub(crate) async fn call(&mut self) -> Option<Call> {
        self.calls.recv().await
    }

    /// How often the tool ran.
    pub(crate) fn tool_runs(&self) -> u64 {
        self.tool_runs.load(Ordering::SeqCst)
    }

    /// Makes no further calls.
    pub(crate) fn stop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn work(gate: Ledger, job: Job, tool_runs: Arc<AtomicU64>, sender: mpsc::Sender<Call>) {
    let mut ticks = tokio::time::interval(CALL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1.. {
        ticks.tick().await;
        let call = once(&gate, &job, number, || {
            tool_runs.fetch_add(1, Ordering::SeqCst);
        })
        .await;
        if sender.send(call).await.is_err() {
            break;
        }
    }
}

/// One call of `tool`.
pub(crate) async fn once(gate: &Ledger, job: &Job, number: u64, tool: impl FnOnce()) -> Call {
    let args = format!("{{\"call\":{number}}}");
    let asked = Instant::now();
    let answer = gate.check(job.agent, job.action, job.resource, args.as_bytes()).await;
    let took = asked.elapsed();
    let outcome = match answer {
        Ok(permit) => {
            let checked = Box::new(permit.checked().clone());
            match permit.run(args.as_bytes(), tool) {
                Ok(()) => Outcome::Ran(checked),
                Err(error) => Outcome::Closed(error.to_string()),
            }
        }
        Err(CheckError::Denied(denied)) => Outcome::Denied(denied.denial, Box::new(denied.checked)),
        Err(error) => Outcome::Closed(error.to_string()),
    };
    Call { number, asked, took, outcome }
}
