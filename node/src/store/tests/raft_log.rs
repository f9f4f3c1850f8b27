//! Durability, order and reading.

use openraft::storage::{RaftLogReader, RaftLogStorage};

use super::*;
use crate::raft::types::{LogId, Vote};
use crate::store::{LogError, LogFault, OpenError, SignedHead};

async fn read(log: &mut RaftLog, range: std::ops::Range<u64>) -> Vec<u64> {
    let entries = log.get_log_reader().await.try_get_log_entries(range).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

async fn log_state(log: &mut RaftLog) -> (Option<LogId>, Option<LogId>) {
    let state = log.get_log_state().await.unwrap();
    (state.last_purged_log_id, state.last_log_id)
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let folder = Folder::new();
    let mut chain = Chain::new();
    let mut log = folder.open();
    assert_eq!(log.boot_epoch(), 1);
    append(&mut log, vec![chain.blank(), chain.block(), chain.roster(&[&[1, 2, 3], &[2, 3, 4]])]).await;
    append(&mut log, chain.blocks(3)).await;
    let vote = Vote::new_committed(1, 2);
    log.save_vote(&vote).await.unwrap();
    log.save_committed(Some(log_id(1, 4))).await.unwrap();
    let signed = SignedHead { size: 5, root: Hash([5; 32]) };
    log.record_signed(signed).await.unwrap();
    let shorter = SignedHead { size: 4, root: Hash([4; 32]) };
    log.record_signed(shorter).await.unwrap();
    let entries = log.get_log_reader().await.try_get_log_entries(0..9).await.unwrap();
    let tail = log.read_tail_with(|tail| *tail).unwrap();
    drop(log);

    let mut log = folder.open();
    assert_eq!(log.boot_epoch(), 2);
    assert_eq!(log.get_log_reader().await.try_get_log_entries(0..9).await.unwrap(), entries);
    assert_eq!(log.get_log_reader().await.read_vote().await.unwrap(), Some(vote));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 4)));
    assert_eq!(log.last_signed(), Some(signed));
    assert_eq!(log.read_tail_with(|tail| *tail).unwrap(), tail);
    assert_eq!((tail.block, tail.roster.block, tail.log_id), (5, 2, Some(log_id(1, 5))));
    assert_eq!(log_state(&mut log).await, (None, Some(log_id(1, 5))));
    // The chain goes on where it was.
    append(&mut log, chain.blocks(1)).await;
}

#[tokio::test]
async fn what_was_queued_when_the_store_closes_is_written() {
    let folder = Folder::new();
    let mut chain = Chain::new();
    let mut log = folder.open();
    let mut flushes = Vec::new();
    for _ in 0..50 {
        flushes.push(queue(&mut log, chain.blocks(2)).await);
    }
    log.save_committed(Some(log_id(1, 99))).await.unwrap();
    drop(log);
    for flushed in flushes {
        flushed.await.unwrap().unwrap();
    }
    let mut log = folder.open();
    assert_eq!(log_state(&mut log).await.1, Some(log_id(1, 99)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 99)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushes_are_reported_in_order_and_after_the_tail_moved() {
    let folder = Folder::new();
    let mut chain = Chain::new();
    let mut log = folder.open();
    let mut flushes = Vec::new();
    for _ in 0..400 {
        flushes.push(queue(&mut log, chain.blocks(1)).await);
        // Readable at once, flushed or not.
        assert_eq!(read(&mut log, chain.index - 1..chain.index).await, [chain.index - 1]);
    }
    // From the last to the first: when one is reported, all before it must be.
    for at in (0..flushes.len()).rev() {
        let block = at as u64 + 1;
        match flushes[at].try_recv() {
            Ok(flushed) => {
                flushed.unwrap();
                assert!(log.read_tail_with(|tail| tail.block).unwrap() >= block);
                for earlier in &mut flushes[..at] {
                    earlier.try_recv().unwrap().unwrap();
                }
                break;
            }
            Err(_) => continue,
        }
    }
    log.wait_flushed(log_id(1, 399)).await.unwrap();
    assert_eq!(log.read_tail_with(|tail| tail.block).unwrap(), 400);
}

#[tokio::test]
async fn reads_join_disk_and_memory() {
    let folder = Folder::with_cache(3 * 300);
    let mut chain = Chain::new();
    let mut log = folder.open();
    append(&mut log, chain.blocks(20)).await;
    let all: Vec<u64> = (0..20).collect();
    assert_eq!(read(&mut log, 0..100).await, all);
    assert_eq!(read(&mut log, 15..20).await, all[15..]);
    assert_eq!(read(&mut log, 3..5).await, [3, 4]);
    assert_eq!(read(&mut log, 25..30).await, Vec::<u64>::new());
    let mut reader = log.get_log_reader().await;
    log.truncate_after(Some(log_id(1, 9))).await.unwrap();
    assert_eq!(read(&mut log, 5..30).await, [5, 6, 7, 8, 9]);
    // A reader made before sees it too.
    assert_eq!(reader.try_get_log_entries(9..30).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_is_bounded_and_never_empty() {
    let mut folder = Folder::with_cache(0);
    folder.options.read_bytes_max = 3 * 300;
    let mut chain = Chain::new();
    let mut log = folder.open();
    append(&mut log, chain.blocks(20)).await;
    let mut reader = log.get_log_reader().await;
    assert_eq!(reader.limited_get_log_entries(2, 20).await.unwrap().len(), 3);
    folder.options.read_bytes_max = 1;
    drop((log, reader));
    let mut log = folder.open();
    let mut reader = log.get_log_reader().await;
    assert_eq!(reader.limited_get_log_entries(2, 20).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_while_the_log_is_cut_gives_one_moment() {
    let mut log = Folder::with_cache(0).open_leaked();
    let mut chain = Chain::new();
    append(&mut log, chain.blocks(200)).await;
    let kept = Chain { index: 100, position: log.position_at(99).unwrap().unwrap().1, ..chain };
    let mut reader = log.get_log_reader().await;
    let reading = tokio::spawn(async move {
        for _ in 0..200 {
            let entries = reader.try_get_log_entries(50..200).await.unwrap();
            let terms: Vec<u64> = entries.iter().skip(50).map(|entry| entry.log_id.leader_id.term).collect();
            assert!(entries.len() >= 50 && terms.windows(2).all(|pair| pair[0] == pair[1]), "{terms:?}");
        }
    });
    for term in 2..40 {
        log.truncate_after(Some(log_id(1, 99))).await.unwrap();
        let mut chain = Chain { term, ..kept };
        append(&mut log, chain.blocks(100)).await;
    }
    reading.await.unwrap();
}

#[tokio::test]
async fn a_flush_is_waited_for() {
    let folder = Folder::new();
    let mut chain = Chain::new();
    let mut log = folder.open();
    append(&mut log, chain.blocks(2)).await;
    log.wait_flushed(log_id(1, 1)).await.unwrap();
    let other = log.clone();
    let waiting = tokio::spawn(async move { other.wait_flushed(log_id(1, 2)).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    append(&mut log, chain.blocks(1)).await;
    waiting.await.unwrap().unwrap();
    // An older, longer tail does not stand for an entry of a later term.
    let other = log.clone();
    let waiting = tokio::spawn(async move { other.wait_flushed(log_id(2, 1)).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    // And a dead store ends the wait.
    assert!(log.save_vote(&Vote::new(5, 1)).await.is_ok());
    assert!(log.save_vote(&Vote::new(4, 1)).await.is_err());
    assert!(matches!(waiting.await.unwrap(), Err(LogError::Dead(_))));
}

#[tokio::test]
async fn votes_are_never_taken_back() {
    let refused = [
        (Vote::new(4, 1), Vote::new(3, 9)),
        (Vote::new(4, 1), Vote::new(4, 2)),
        (Vote::new_committed(4, 1), Vote::new(4, 1)),
    ];
    for (saved, next) in refused {
        let folder = Folder::new();
        let mut log = folder.open();
        log.save_vote(&saved).await.unwrap();
        log.save_vote(&saved).await.unwrap();
        log.save_vote(&next).await.unwrap_err();
        let fault = log.fault().borrow().clone().unwrap();
        assert_eq!(*fault, LogFault::Vote { saved, next });
        drop(log);
        let vote = folder.open().get_log_reader().await.read_vote().await.unwrap().unwrap();
        assert_eq!((vote, vote.is_committed()), (saved, saved.is_committed()));
    }
}

#[tokio::test]
async fn a_store_belongs_to_one_ledger() {
    let folder = Folder::new();
    drop(folder.open());
    let other = Genesis { block_hash: Hash::ZERO, ..genesis() };
    let opened = RaftLog::open(folder.path(), &other, Arc::new(TestFormat), folder.options);
    assert_eq!(opened.err(), Some(OpenError::OtherLedger));
}

#[tokio::test]
async fn a_corrupt_entry_kills_the_store_that_reads_it() {
    let folder = Folder::with_cache(0);
    let mut chain = Chain::new();
    let mut log = folder.open();
    append(&mut log, chain.blocks(5)).await;
    drop(log);
    let db = crate::store::database::open(folder.path()).unwrap();
    db.delete(crate::store::record::entry_key(2)).unwrap();
    drop(db);
    let mut log = folder.open();
    let mut reader = log.get_log_reader().await;
    assert_eq!(reader.try_get_log_entries(3..5).await.unwrap().len(), 2);
    reader.try_get_log_entries(0..5).await.unwrap_err();
    assert!(matches!(log.read_tail_with(|tail| *tail), Err(LogError::Dead(_))));
    log.save_vote(&Vote::new(1, 1)).await.unwrap_err();
}

impl Folder {
    /// A store whose folder stays until the process ends.
    fn open_leaked(self) -> RaftLog {
        let log = self.open();
        std::mem::forget(self);
        log
    }
}
