//! What the clients of one round did, as they do it: the history that the checkers judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chancery_client::chancery_ledger::hash::to_hex;
use chancery_client::{Checked, Receipt};
use serde::Serialize;

use crate::fault::HarnessError;
use crate::history::{Call, Operation, Outcome, Proof};
use crate::workload::Kind;

/// Operations of one round, at most: a round is ended before it fills the memory.
pub const OPERATIONS_MAX: usize = 400_000;

/// Operations that are looked through for one that ended just now.
const RECENT: usize = 1_000;

/// Records the operations and the proofs of one round.
pub struct Recorder {
    began: Instant,
    folder: PathBuf,
    operations: Mutex<Vec<Operation>>,
    /// Which workload each process works on.
    processes: Mutex<BTreeMap<u32, &'static str>>,
    /// Processes that have done something, and those that were denied something, with a proof.
    did: Mutex<BTreeSet<u32>>,
    denied: Mutex<BTreeSet<u32>>,
    next_id: AtomicU64,
    next_process: AtomicU32,
    /// Commands under way, of each workload.
    writes_open: Mutex<BTreeMap<&'static str, u64>>,
    proofs: Mutex<BufWriter<File>>,
}

/// An operation that has begun.
pub struct Open {
    id: u64,
    process: u32,
    node: Option<u64>,
    invoked_us: u64,
    command: Option<String>,
    call: Call,
}

impl Recorder {
    /// A recorder whose files are in `folder`.
    ///
    /// # Errors
    /// A file cannot be made.
    pub fn new(folder: &Path) -> Result<Self, HarnessError> {
        let path = folder.join("proofs.jsonl");
        let proofs = File::create(&path).map_err(HarnessError::at(&path))?;
        Ok(Self {
            began: Instant::now(),
            folder: folder.to_owned(),
            operations: Mutex::default(),
            processes: Mutex::default(),
            did: Mutex::default(),
            denied: Mutex::default(),
            next_id: AtomicU64::new(0),
            next_process: AtomicU32::new(0),
            writes_open: Mutex::default(),
            proofs: Mutex::new(BufWriter::new(proofs)),
        })
    }

    /// The number of a new client process that works on `workload`.
    pub fn process(&self, workload: &'static str) -> u32 {
        let process = self.next_process.fetch_add(1, Ordering::Relaxed);
        locked(&self.processes).insert(process, workload);
        process
    }

    /// Which workload each process works on.
    pub fn workloads(&self) -> BTreeMap<u32, &'static str> {
        locked(&self.processes).clone()
    }

    /// The workloads of which a command is under way now.
    pub fn busy(&self) -> BTreeSet<&'static str> {
        let open = locked(&self.writes_open);
        open.iter().filter(|(_, open)| **open > 0).map(|(workload, _)| *workload).collect()
    }

    /// Counts a command of `process` that is under way, or is no more.
    fn count_open(&self, process: u32, change: impl FnOnce(&mut u64)) {
        let workload = locked(&self.processes).get(&process).copied();
        if let Some(workload) = workload {
            change(locked(&self.writes_open).entry(workload).or_default());
        }
    }

    /// Whether a workload has come to what shows anything: something was done, and where it asks for it, something
    /// was denied.
    pub fn shows(&self, kind: Kind) -> bool {
        let processes = self.workloads();
        let of_it = |process: &u32| processes.get(process) == Some(&kind.name());
        let did = locked(&self.did).iter().any(of_it);
        did && (!kind.is_denied() || locked(&self.denied).iter().any(of_it))
    }

    /// How many operations have ended.
    pub fn ended(&self) -> usize {
        locked(&self.operations).len()
    }

    /// Begins an operation. To be called before the request, or its nonce, is made.
    pub fn begin(&self, process: u32, node: Option<u64>, command: Option<String>, call: Call) -> Open {
        if command.is_some() {
            self.count_open(process, |open| *open += 1);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Open { id, process, node, invoked_us: self.now_us(), command, call }
    }

    /// Ends it. An unknown outcome stays open.
    pub fn end(&self, open: Open, outcome: Outcome) {
        let returned_us = (!matches!(outcome, Outcome::Unknown { .. })).then(|| self.now_us());
        let Open { id, process, node, invoked_us, command, call } = open;
        if command.is_some() {
            // INVARIANT: it was counted when it began.
            self.count_open(process, |open| *open = open.saturating_sub(1));
        }
        let shows = match &outcome {
            Outcome::Acknowledged { verdict: Some(verdict), .. } if !verdict.is_permit() => {
                Some(&self.denied)
            }
            Outcome::Acknowledged { .. } | Outcome::Permitted { .. } => Some(&self.did),
            Outcome::Denied { .. } => Some(&self.denied),
            _ => None,
        };
        if let Some(shown) = shows {
            locked(shown).insert(process);
        }
        let operation = Operation { id, process, node, invoked_us, returned_us, command, call, outcome };
        locked(&self.operations).push(operation);
    }

    /// Keeps the answer to a check under a nonce: another one has no question to be judged by.
    pub fn keep_answer(&self, open: &Open, checked: &Checked) {
        let Some(nonce) = checked.nonce else { return };
        self.keep(&Proof::Answer {
            operation: open.id,
            args_digest: to_hex(&checked.request.args_digest.0),
            nonce: to_hex(&nonce.0),
            answer: to_hex(&checked.answer.encode()),
        });
    }

    /// Keeps what proves an acknowledgement.
    pub fn keep_receipt(&self, open: &Open, receipt: &Receipt) {
        self.keep(&Proof::Receipt {
            operation: open.id,
            head: to_hex(&receipt.head.head.encode()),
            statements: receipt.head.statements.iter().map(|one| to_hex(&one.encode())).collect(),
        });
    }

    fn keep(&self, proof: &Proof) {
        // What cannot be written is missed when the files are finished.
        let _ = write_line(&mut *locked(&self.proofs), proof);
    }

    /// The operations in the order of their ids; the file that they are written to, one a line; the file of the
    /// proofs.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn finish(&self) -> Result<(Vec<Operation>, PathBuf, PathBuf), HarnessError> {
        let mut operations = std::mem::take(&mut *locked(&self.operations));
        operations.sort_by_key(|operation| operation.id);
        let history = self.folder.join("history.jsonl");
        let mut file = BufWriter::new(File::create(&history).map_err(HarnessError::at(&history))?);
        for operation in &operations {
            write_line(&mut file, operation).map_err(HarnessError::at(&history))?;
        }
        file.flush().map_err(HarnessError::at(&history))?;
        let proofs = self.folder.join("proofs.jsonl");
        locked(&self.proofs).flush().map_err(HarnessError::at(&proofs))?;
        Ok((operations, history, proofs))
    }

    /// Whether a command was acknowledged and a check answered that began at `since_us` or later.
    pub fn serves_since(&self, since_us: u64) -> bool {
        let operations = locked(&self.operations);
        // They end nearly in the order in which they began.
        let recent = || operations.iter().rev().take(RECENT).filter(|one| one.invoked_us >= since_us);
        let acknowledged = recent().any(|one| matches!(one.outcome, Outcome::Acknowledged { .. }));
        acknowledged
            && recent().any(|one| matches!(one.outcome, Outcome::Permitted { .. } | Outcome::Denied { .. }))
    }

    /// Microseconds since the recorder was made.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

fn write_line(to: &mut impl Write, record: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *to, record)?;
    to.write_all(b"\n")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // INVARIANT: nothing panics while it is held, and each record is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
