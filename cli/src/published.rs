//! A published log, for who has a trust file and no certificate: `--from URL|DIR --trust FILE`.

use std::path::Path;

use chancery_audit::{Fault, Finding, Proofs, ProofsError, Published, source};
use chancery_ledger::checkpoint::SignedCheckpoint;
use serde_json::json;

use crate::exit::{Exit, Failure, Result};
use crate::files;

/// The log that is published at a URL or in a folder.
pub(crate) fn open(from: &str) -> Result<Published> {
    let source = source::open(from).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Published::new(source))
}

/// Reads a checkpoint that was kept. Nothing of it is verified.
pub(crate) fn kept_checkpoint(path: &Path) -> Result<SignedCheckpoint> {
    SignedCheckpoint::parse(&files::read(path)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// Proofs from what is published, up to a checkpoint that was kept or the newest.
pub(crate) fn proofs(from: &str, trust: &Path, kept: Option<&Path>) -> Result<Proofs> {
    let trust = crate::verify::load_trust(trust)?;
    let kept = kept.map(kept_checkpoint).transpose()?;
    Proofs::open(&open(from)?, &trust, kept).map_err(proofs_failure)
}

/// A leaf that the checkpoint does not have is a no; what does not fit is invalid, and what cannot be read is nobody's guilt.
pub(crate) fn proofs_failure(error: ProofsError) -> Failure {
    match error {
        ProofsError::Fault(fault) => failure(fault),
        error @ ProofsError::Beyond { .. } => {
            Failure::new(Exit::Denied, error.to_string()).code("not_covered")
        }
        error @ ProofsError::Behind { .. } => Failure::local(error.to_string()).code("behind"),
    }
}

/// Why something published is of no use.
pub(crate) fn failure(fault: Fault) -> Failure {
    match fault {
        Fault::Source(error) => Failure::local(error.to_string()).code("unread"),
        Fault::Wrong(finding) => wrong(&finding),
    }
}

/// What is published is not the log that the trusted nodes cosigned.
pub(crate) fn wrong(finding: &Finding) -> Failure {
    let failure = Failure::new(Exit::Invalid, finding.to_string()).code(finding.code.name());
    match finding.index {
        Some(index) => failure.fact("index", json!(index)),
        None => failure,
    }
}
