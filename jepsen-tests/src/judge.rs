//! All that a round leaves, brought before the checkers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chancery_client::chancery_ledger::trust::Trust;

use crate::checkers::porcupine::{self, Porcupine};
use crate::checkers::{Finding, Verdict, following, heads, linearizability, proofs, witnessed};
use crate::edn;
use crate::fault::HarnessError;
use crate::follower::Followed;
use crate::history::{NodeLog, Operation, Proof};

/// Configurations that the search for an order may look at, all questions of a round together.
const STEPS_MAX: u64 = 20_000_000;

/// How long the other program may search.
const PORCUPINE_TIMEOUT: Duration = Duration::from_secs(300);

/// What a round leaves.
pub struct Record {
    /// Whom its clients believed.
    pub trust: Trust,
    /// What they did.
    pub operations: Vec<Operation>,
    /// The same, one a line.
    pub history: PathBuf,
    /// The proofs that they were given, one a line.
    pub proofs: PathBuf,
    /// The log as each node served it in the end.
    pub logs: Vec<NodeLog>,
    /// What followers of the log were told.
    pub followed: Vec<Followed>,
    /// Proofs that the SDK did not believe.
    pub refused_proofs: Vec<String>,
    /// The program that others wrote, where it could be built.
    pub porcupine: Option<Porcupine>,
}

/// What all checkers say of it.
///
/// # Errors
/// What was recorded cannot be read again.
pub fn judge(record: &Record) -> Result<Vec<Finding>, HarnessError> {
    let proofs = read_proofs(&record.proofs)?;
    let operations = &record.operations;
    let mut findings = vec![refused_proofs(record)];
    findings.extend(witnessed(record.trust.ledger, operations, &record.logs));
    findings.push(proofs::check(&record.trust, operations, &proofs));
    let later = record.trust.roster_chain().links.iter().map(|link| link.roster.clone());
    let rosters: Vec<_> = std::iter::once(record.trust.genesis.clone()).chain(later).collect();
    let log = record.logs.first().map_or(&[][..], |log| &log.leaves);
    findings.push(heads::check(&rosters, log, &proofs));
    findings.push(following::check(record.trust.ledger, &record.followed, &record.logs));
    findings.push(linearizability::check(operations, STEPS_MAX));
    if let Some(porcupine) = &record.porcupine {
        let found = porcupine.check(&record.history, PORCUPINE_TIMEOUT);
        findings.push(found.unwrap_or_else(|error| Finding {
            checker: porcupine::NAME,
            examined: 0,
            verdict: Verdict::Inconclusive { why: error.to_string() },
        }));
    }
    Ok(findings)
}

/// Writes the history of each workload as Jepsen does, `WORKLOAD.edn`, for who has tools for that. `workloads`
/// says which one each process works on.
///
/// # Errors
/// A file cannot be written.
pub fn write_edn(
    operations: &[Operation],
    workloads: &BTreeMap<u32, &'static str>,
    folder: &Path,
) -> Result<(), HarnessError> {
    let mut histories: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        if let Some(workload) = workloads.get(&operation.process) {
            histories.entry(workload).or_default().push(operation);
        }
    }
    for (workload, history) in histories {
        let path = folder.join(format!("{workload}.edn"));
        let mut file = BufWriter::new(File::create(&path).map_err(HarnessError::at(&path))?);
        edn::write(&history, &mut file).map_err(HarnessError::at(&path))?;
        file.flush().map_err(HarnessError::at(&path))?;
    }
    Ok(())
}

fn read_proofs(path: &Path) -> Result<Vec<Proof>, HarnessError> {
    let file = BufReader::new(File::open(path).map_err(HarnessError::at(path))?);
    let malformed = |error: serde_json::Error| HarnessError::Setup(format!("{}: {error}", path.display()));
    file.lines()
        .map(|line| serde_json::from_str(&line.map_err(HarnessError::at(path))?).map_err(malformed))
        .collect()
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
