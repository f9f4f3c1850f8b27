//! The log store when its disk fails, or its writer dies, at each step of a batch.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use chancery_ledger::hash::Hash;
use chancery_node::raft::types::{Entry, Payload, TypeConfig, Vote, log_id};
use chancery_node::store::{
    BlockFormat, BlockFormatError, BlockRoster, Genesis, LogError, LogFault, RaftLog, RaftLogOptions,
};
use fail::FailScenario;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

/// How long the writer may take to come to a failpoint, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A block is the hash of the previous one.
struct HashOnly;

impl BlockFormat for HashOnly {
    fn previous(&self, block: &[u8]) -> Result<Hash, BlockFormatError> {
        Hash::from_slice(block).ok_or_else(|| BlockFormatError("not a hash".to_owned()))
    }

    fn roster(&self, _: &[u8]) -> Result<Option<BlockRoster>, BlockFormatError> {
        Ok(None)
    }
}

fn open(folder: &Path) -> RaftLog {
    let genesis = Genesis { block_hash: Hash::ZERO, roster_digest: Hash::ZERO, voters: BTreeSet::from([1]) };
    RaftLog::open(folder, &genesis, Arc::new(HashOnly), RaftLogOptions::default()).unwrap()
}

/// Appends a block; what its callback was told.
async fn append(log: &mut RaftLog, index: u64) -> io::Result<()> {
    let previous = log.read_tail_with(|tail| tail.block_hash).unwrap();
    let block = previous.as_bytes().to_vec();
    let payload = Payload::new(Some(block.into()), None);
    let (done, flushed) = TypeConfig::oneshot();
    let entry = Entry { log_id: log_id(1, index), payload };
    log.append(vec![entry], IOFlushed::<TypeConfig>::signal(done)).await.unwrap();
    flushed.await.unwrap()
}

async fn assert_dead(log: &mut RaftLog, fault: &LogFault) {
    assert_eq!(log.fault().borrow().as_deref(), Some(fault));
    let dead = LogError::Dead(Arc::new(fault.clone()));
    assert_eq!(log.read_tail_with(|tail| *tail), Err(dead.clone()));
    assert_eq!(log.wait_flushed(log_id(1, 0)).await, Err(dead));
    log.save_vote(&Vote::new(9, 1)).await.unwrap_err();
    log.truncate_after(None).await.unwrap_err();
    log.purge(log_id(1, 0)).await.unwrap_err();
    log.save_committed(None).await.unwrap_err();
    log.get_log_reader().await.try_get_log_entries(0..1).await.unwrap_err();
}

/// Holds the writer at `failpoint` until told to go on; what says that it is there, and what lets it go on when it
/// is dropped.
fn hold_at(failpoint: &str) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((here, is_here), (go_on, held)) = (mpsc::channel(), mpsc::channel::<()>());
    let at = Mutex::new((here, held));
    fail::cfg_callback(failpoint, move || {
        let (here, held) = &*at.lock().unwrap();
        if here.send(()).is_ok() {
            let _ = held.recv();
        }
    })
    .unwrap();
    (is_here, go_on)
}

/// One acknowledged block, then a batch that fails at `failpoint`. Returns the blocks found after.
async fn blocks_after_failing_at(failpoint: &str, action: &str, fault: &LogFault) -> u64 {
    let scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    append(&mut log, 0).await.unwrap();

    fail::cfg(failpoint, action).unwrap();
    append(&mut log, 1).await.unwrap_err();
    fail::remove(failpoint);
    assert_dead(&mut log, fault).await;
    drop(log);

    let blocks = open(folder.path()).read_tail_with(|tail| tail.block).unwrap();
    // Whatever became of the batch, the store takes up its work again.
    append(&mut open(folder.path()), blocks).await.unwrap();
    scenario.teardown();
    blocks
}

#[tokio::test]
async fn a_write_that_fails_is_never_acknowledged() {
    let fault = LogFault::Write("disk full".to_owned());
    assert_eq!(blocks_after_failing_at("raft-log-before-write", "return(disk full)", &fault).await, 1);
}

#[tokio::test]
async fn a_sync_that_reports_an_error_leaves_the_outcome_open() {
    let fault = LogFault::Write("io error".to_owned());
    assert_eq!(blocks_after_failing_at("raft-log-after-sync", "return(io error)", &fault).await, 2);
}

#[tokio::test]
async fn a_writer_that_dies_before_the_write_leaves_nobody_waiting() {
    let blocks = blocks_after_failing_at("raft-log-before-write", "panic", &LogFault::WriterGone).await;
    assert_eq!(blocks, 1);
}

#[tokio::test]
async fn what_was_synced_before_the_writer_died_is_kept() {
    let blocks = blocks_after_failing_at("raft-log-after-sync", "panic", &LogFault::WriterGone).await;
    assert_eq!(blocks, 2);
    let blocks = blocks_after_failing_at("raft-log-before-answers", "panic", &LogFault::WriterGone).await;
    assert_eq!(blocks, 2);
}

#[tokio::test]
async fn no_callback_runs_before_the_sync() {
    let scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    for held_at in ["raft-log-before-write", "raft-log-after-sync"] {
        let blocks = log.read_tail_with(|tail| tail.block).unwrap();
        let (is_here, go_on) = hold_at(held_at);
        let mut appending = log.clone();
        let appended = tokio::spawn(async move { append(&mut appending, blocks).await });
        tokio::task::spawn_blocking(move || is_here.recv_timeout(PATIENCE)).await.unwrap().unwrap();
        assert!(!appended.is_finished());
        assert_eq!(log.read_tail_with(|tail| tail.block).unwrap(), blocks);
        fail::remove(held_at);
        drop(go_on);
        appended.await.unwrap().unwrap();
        assert_eq!(log.read_tail_with(|tail| tail.block).unwrap(), blocks + 1);
    }
    // The tail moves before the callback is told.
    let blocks = log.read_tail_with(|tail| tail.block).unwrap();
    fail::cfg("raft-log-before-answers", "pause").unwrap();
    let mut appending = log.clone();
    let appended = tokio::spawn(async move { append(&mut appending, blocks).await });
    while log.read_tail_with(|tail| tail.block).unwrap() == blocks {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!appended.is_finished());
    fail::remove("raft-log-before-answers");
    appended.await.unwrap().unwrap();
    scenario.teardown();
}

#[tokio::test]
async fn what_waits_behind_a_failed_batch_fails_with_it() {
    for (action, fault) in
        [("return(gone)", LogFault::Write("gone".to_owned())), ("panic", LogFault::WriterGone)]
    {
        let scenario = FailScenario::setup();
        let folder = tempfile::tempdir().unwrap();
        let mut log = open(folder.path());
        let (is_here, go_on) = hold_at("raft-log-before-write");
        let mut answers = Vec::new();
        for index in 0..900 {
            if index == 1 {
                // The first is a batch by itself, and on its way.
                is_here.recv_timeout(PATIENCE).unwrap();
                fail::cfg("raft-log-before-write", action).unwrap();
            }
            let (done, flushed) = TypeConfig::oneshot();
            let entry = Entry { log_id: log_id(1, index), payload: Payload::default() };
            log.append(vec![entry], IOFlushed::<TypeConfig>::signal(done)).await.unwrap();
            answers.push(flushed);
        }
        drop(go_on);
        let mut told = Vec::new();
        for answer in answers {
            told.push(answer.await.unwrap().is_ok());
        }
        // The first batch is durable, all that came behind it failed.
        assert!(told[0] && !told[1..].contains(&true));
        assert_dead(&mut log, &fault).await;
        drop(log);
        let last = open(folder.path()).read_tail_with(|tail| tail.log_id).unwrap();
        assert_eq!(last, Some(log_id(1, 0)));
        scenario.teardown();
    }
}
