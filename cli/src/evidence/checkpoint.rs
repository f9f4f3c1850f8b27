//! Where a cosigned checkpoint comes from: a node's tile log, or a file that was kept.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use chancery_ledger::checkpoint::{NOTE_BYTES_MAX, SignedCheckpoint};
use tokio::time::{Instant, sleep};

use crate::exit::{Exit, Failure, Result};
use crate::published;

/// For one request.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// For a checkpoint that covers a leaf: nodes publish one within a second or so.
const PATIENCE: Duration = Duration::from_secs(15);

const ASK_EVERY: Duration = Duration::from_millis(250);

/// A checkpoint that was kept, and has the leaf at `index`. Nothing of it is verified.
pub(super) fn kept_covering(path: &Path, index: u64) -> Result<SignedCheckpoint> {
    let checkpoint = published::kept_checkpoint(path)?;
    let size = checkpoint.checkpoint().size();
    if index < size {
        return Ok(checkpoint);
    }
    let why = format!("{}: its {size} leaves do not include {index}", path.display());
    Err(Failure::new(Exit::Denied, why).code("not_covered"))
}

/// The first checkpoint that any of these serves and that has the leaf at `index`. Nothing of it is verified.
pub(super) async fn served_covering(logs: &[String], index: u64) -> Result<SignedCheckpoint> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut said = Vec::new();
        for log in logs {
            match fetch(log).await {
                Ok(checkpoint) if index < checkpoint.checkpoint().size() => return Ok(checkpoint),
                Ok(checkpoint) => {
                    let size = checkpoint.checkpoint().size();
                    said.push(format!("{log}: a checkpoint of {size} leaves, which do not include {index}"));
                }
                Err(why) => said.push(format!("{log}: {why}")),
            }
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(Exit::Unknown, said.join("; ")).code("no_checkpoint"));
        }
        sleep(ASK_EVERY).await;
    }
}

async fn fetch(log: &str) -> std::result::Result<SignedCheckpoint, String> {
    let url = format!("{}/checkpoint", log.trim_end_matches('/'));
    let fetched = tokio::task::spawn_blocking(move || get(&url)).await;
    let note = fetched.map_err(|error| error.to_string())??;
    SignedCheckpoint::parse(&note).map_err(|error| error.to_string())
}

fn get(url: &str) -> std::result::Result<Vec<u8>, String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(FETCH_TIMEOUT)).max_redirects(0).build().into();
    let response = agent.get(url).call().map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // One more than there may be, which is then refused.
    let limit = u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let read = response.into_body().into_reader().take(limit).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    Ok(bytes)
}
