//! All that a round leaves, brought before the checkers.

use std::path::PathBuf;

use chancery_client::chancery_ledger::trust::Trust;

use crate::checkers::{Finding, Verdict};
use crate::history::{NodeLog, Operation};

/// What a round leaves.
pub struct Record {
    /// Whom its clients believed.
    pub trust: Trust,
    /// What they did.
    pub operations: Vec<Operation>,
    /// The proofs that they were given, one a line.
    pub proofs: PathBuf,
    /// The log as each node served it in the end.
    pub logs: Vec<NodeLog>,
    /// Proofs that the SDK did not believe.
    pub refused_proofs: Vec<String>,
}

/// What all checkers say of it.
pub fn judge(record: &Record) -> Vec<Finding> {
    let mut findings = vec![refused_proofs(record)];
    findings.push(logs(record));
    findings
}

/// That no node's proof was refused.
fn refused_proofs(record: &Record) -> Finding {
    const NAME: &str = "refused-proofs";
    let verdict = match record.refused_proofs.first() {
        None => Verdict::Valid,
        Some(first) => {
            let what = format!("{} proofs did not verify, the first: {first}", record.refused_proofs.len());
            Verdict::Violation { checker: NAME, what, operations: Vec::new() }
        }
    };
    let examined = u64::try_from(record.operations.len()).unwrap_or(u64::MAX);
    Finding { checker: NAME, examined, verdict }
}

fn logs(record: &Record) -> Finding {
    const NAME: &str = "equal-logs";
    let equal = record.logs.windows(2).all(|two| matches!(two, [a, b] if a.leaves == b.leaves));
    let verdict = if equal {
        Verdict::Valid
    } else {
        Verdict::Violation { checker: NAME, what: "the nodes' logs differ".into(), operations: Vec::new() }
    };
    let examined = record.logs.first().map_or(0, |log| u64::try_from(log.leaves.len()).unwrap_or(u64::MAX));
    Finding { checker: NAME, examined, verdict }
}
