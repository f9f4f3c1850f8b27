//! The replay of recorded tool calls: the product's own `demo --replay`, over and over, as a user would run it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::timeout;

use crate::fault::{BenchError, Result};

const SYSTEM: &str = "replay";

/// Longest replay.
const REPLAY_MAX: Duration = Duration::from_secs(180);

/// What one came to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Replay {
    /// All of it, with three nodes started, the log audited and every record verified from its file, in seconds.
    pub(crate) seconds: f64,
    /// A recorded decision, from the question to the verified receipt, in milliseconds.
    pub(crate) decision_p50_ms: f64,
    pub(crate) decision_p99_ms: f64,
}

/// Replays `recording` once.
pub(crate) async fn run(program: &Path, folder: &Path, recording: &Path) -> Result<Replay> {
    let began = Instant::now();
    let child = Command::new(program)
        .env("HOME", folder)
        .args(["--output", "json", "demo", "--replay"])
        .arg(recording)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        // Its nodes end with it.
        .kill_on_drop(true)
        .spawn()
        .map_err(BenchError::at(program))?;
    let ended = timeout(REPLAY_MAX, child.wait_with_output()).await;
    let output =
        ended.map_err(|_| BenchError::of(SYSTEM)("it does not end"))?.map_err(BenchError::of(SYSTEM))?;
    let seconds = began.elapsed().as_secs_f64();
    let (said, words) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(BenchError::of(SYSTEM)(format!("{}: {words}", output.status)));
    }
    let field = |name: &str| {
        let values = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let mut found = values.filter_map(|value| {
            let inside = value.as_object()?.values().find_map(|inner| inner.get(name)?.as_f64());
            value.get(name).and_then(serde_json::Value::as_f64).or(inside)
        });
        found.next_back().map(|us| us / 1e3)
    };
    match (field("decision_p50_us"), field("decision_p99_us")) {
        (Some(decision_p50_ms), Some(decision_p99_ms)) => {
            Ok(Replay { seconds, decision_p50_ms, decision_p99_ms })
        }
        _ => Err(BenchError::of(SYSTEM)("it does not say how long a decision took")),
    }
}
