//! What the log says to others: block numbers, rosters, the floor; and what it refuses.

use chancery_ledger::head::RosterId;
use openraft::storage::RaftLogStorage;

use super::*;
use crate::raft::types::LogId;
use crate::store::{LogError, LogFault, Reconciliation, Refusal, Tail};

fn tail(log: &RaftLog) -> Tail {
    log.read_tail_with(|tail| *tail).unwrap()
}

/// Appends what must be refused, and returns the fault. The store must be dead after it.
async fn refused(log: &mut RaftLog, entries: Vec<Entry>) -> LogFault {
    let told = queue(log, entries).await.await.unwrap();
    told.unwrap_err();
    let fault = log.fault().borrow().clone().unwrap();
    let dead = LogError::Dead(Arc::clone(&fault));
    assert_eq!(log.read_tail_with(|tail| *tail), Err(dead.clone()));
    assert_eq!(log.wait_flushed(log_id(0, 0)).await, Err(dead));
    log.purge(log_id(0, 0)).await.unwrap_err();
    log.get_log_state().await.unwrap_err();
    log.append(vec![], callback().0).await.unwrap_err();
    (*fault).clone()
}

#[tokio::test]
async fn only_blocks_count_and_only_roster_blocks_change_the_roster() {
    let folder = Folder::new();
    let mut chain = Chain::new();
    let mut log = folder.open();
    assert_eq!(
        tail(&log),
        Tail {
            block: 0,
            block_hash: genesis().block_hash,
            roster: RosterId { block: 0, digest: genesis().roster_digest },
            log_id: None,
        }
    );
    // What `initialize` writes: the genesis voters.
    let initial = chain.entry(Payload::new(None, Some(membership(&[&[1, 2, 3]], &[]))));
    let blank = chain.blank();
    let learner = chain.entry(Payload::new(None, Some(membership(&[&[1, 2, 3]], &[4]))));
    append(&mut log, vec![initial, blank, learner]).await;
    assert_eq!((tail(&log).block, tail(&log).roster.block), (0, 0));

    append(&mut log, vec![chain.block(), chain.roster(&[&[1, 2, 3], &[2, 3, 4]])]).await;
    assert_eq!((tail(&log).block, tail(&log).roster.block), (2, 2));
    let joint = tail(&log).roster;
    append(&mut log, vec![chain.roster(&[&[2, 3, 4]]), chain.block()]).await;
    assert_eq!((tail(&log).block, tail(&log).roster.block), (4, 3));
    assert_ne!(tail(&log).roster.digest, joint.digest);
    assert_eq!(tail(&log).block_hash, chain.position.block_hash);
}

#[tokio::test]
async fn a_block_must_follow_the_last_one() {
    let folder = Folder::new();
    let mut log = folder.open();
    let mut chain = Chain::new();
    append(&mut log, chain.blocks(3)).await;
    let good = chain.block();
    let (expected, found) = (chain.position.block_hash, Hash([7; 32]));
    let bad = Entry { log_id: log_id(1, 4), payload: Payload::new(Some(block_after(found, &[])), None) };
    assert_eq!(refused(&mut log, vec![good, bad]).await, LogFault::Chain { index: 4, expected, found });
    drop(log);
    // Nothing of that batch was written.
    let tail = tail(&folder.open());
    assert_eq!((tail.block, tail.log_id), (3, Some(log_id(1, 2))));
}

#[tokio::test]
async fn a_block_that_is_none_is_refused() {
    let folder = Folder::new();
    let mut log = folder.open();
    let bad = Entry { log_id: log_id(1, 0), payload: Payload::new(Some(vec![1].into()), None) };
    assert!(matches!(refused(&mut log, vec![bad]).await, LogFault::Block { index: 0, .. }));
}

#[tokio::test]
async fn voters_change_only_in_a_roster_block_that_names_them() {
    let other = || membership(&[&[1, 2, 4]], &[]);
    let entry = |payload| vec![Entry { log_id: log_id(1, 0), payload }];

    let folder = Folder::new();
    let fault = refused(&mut folder.open(), entry(Payload::new(None, Some(other())))).await;
    assert_eq!(fault, LogFault::VotersWithoutRoster { index: 0 });

    // A learner made voter beside the same voters is a change as well.
    let folder = Folder::new();
    let joint = membership(&[&[1, 2, 3], &[1, 2, 3]], &[]);
    let fault = refused(&mut folder.open(), entry(Payload::new(None, Some(joint)))).await;
    assert_eq!(fault, LogFault::VotersWithoutRoster { index: 0 });

    let folder = Folder::new();
    let names_others = roster_block_after(genesis().block_hash, &membership(&[&[1, 2, 5]], &[]));
    let fault = refused(&mut folder.open(), entry(Payload::new(Some(names_others), Some(other())))).await;
    assert!(matches!(fault, LogFault::Block { index: 0, .. }));
}

#[tokio::test]
async fn a_truncation_brings_back_what_was_true_there() {
    let folder = Folder::with_cache(0);
    let mut log = folder.open();
    let mut chain = Chain::new();
    let mut before: Vec<(LogId, Position)> = Vec::new();
    for step in 0..12 {
        let entry = match step % 4 {
            0 => chain.blank(),
            3 => chain.roster(&[&[1, 2, 3 + step]]),
            _ => chain.block(),
        };
        before.push((entry.log_id, chain.position));
        append(&mut log, vec![entry]).await;
    }
    for (at, position) in before.into_iter().rev() {
        log.truncate_after(Some(at)).await.unwrap();
        let now = tail(&log);
        assert_eq!((now.block, now.block_hash), (position.block, position.block_hash));
        assert_eq!((now.roster, now.log_id), (position.roster, Some(at)));
    }
    log.truncate_after(None).await.unwrap();
    assert_eq!((tail(&log).block, tail(&log).log_id), (0, None));
    append(&mut log, Chain::new().blocks(2)).await;
    drop(log);
    assert_eq!(tail(&folder.open()).block, 2);
}

#[tokio::test]
async fn truncations_and_appends_queued_together_keep_their_order() {
    let folder = Folder::new();
    let mut log = folder.open();
    let mut chain = Chain::new();
    append(&mut log, chain.blocks(2)).await;
    let fork = Chain { term: 2, ..chain };
    let mut flushes = vec![queue(&mut log, chain.blocks(5)).await];
    let mut truncating = log.clone();
    truncating.truncate_after(Some(log_id(1, 1))).await.unwrap();
    flushes.push(queue(&mut log, { fork }.blocks(3)).await);
    for flushed in flushes {
        flushed.await.unwrap().unwrap();
    }
    assert_eq!((tail(&log).block, tail(&log).log_id), (5, Some(log_id(2, 4))));
    drop((log, truncating));
    assert_eq!(folder.open().position_at(4).unwrap().unwrap().0, log_id(2, 4));
    assert_eq!(folder.open().position_at(5).unwrap(), None);
}

#[tokio::test]
async fn the_floor_never_falls() {
    let folder = Folder::new();
    let mut log = folder.open();
    let mut chain = Chain::new();
    append(&mut log, chain.blocks(3)).await;
    let mut ahead = chain;
    let committed = {
        ahead.roster(&[&[1, 2, 4]]);
        ahead.position
    };
    let mut diverged = Chain { term: 2, ..chain };
    append(&mut log, diverged.blocks(4)).await;
    assert_eq!((tail(&log).block, tail(&log).roster.block), (7, 0));

    // A snapshot with a newer roster but fewer blocks than the not yet truncated tail: both are kept.
    log.register_snapshot(log_id(3, 10), committed);
    assert_eq!((tail(&log).block, tail(&log).roster), (7, committed.roster));
    log.truncate_after(Some(log_id(1, 2))).await.unwrap();
    assert_eq!((tail(&log).block, tail(&log).block_hash), (4, committed.block_hash));
    assert_eq!(tail(&log).roster, committed.roster);
    log.truncate_after(None).await.unwrap();
    assert_eq!((tail(&log).block, tail(&log).roster), (4, committed.roster));
    // An older floor changes nothing.
    log.raise_floor(&genesis().position());
    assert_eq!((tail(&log).block, tail(&log).roster), (4, committed.roster));

    // Raft installs it: the purge goes beyond the log's end, and the log counts on from there.
    log.purge(log_id(3, 10)).await.unwrap();
    assert_eq!((tail(&log).block, tail(&log).log_id), (4, Some(log_id(3, 10))));
    let mut chain = Chain { position: committed, index: 11, term: 3 };
    append(&mut log, chain.blocks(2)).await;
    assert_eq!((tail(&log).block, tail(&log).roster), (6, committed.roster));
    drop(log);
    assert_eq!(tail(&folder.open()).block, 6);
}

#[tokio::test]
async fn a_roster_that_was_never_committed_gives_way_to_a_snapshot_that_is_past_it() {
    let folder = Folder::new();
    let mut log = folder.open();
    let chain = Chain::new();
    let (mut committed, mut diverged) = (chain, Chain { term: 2, ..chain });
    append(&mut log, vec![diverged.block(), diverged.roster(&[&[1, 2, 4]])]).await;
    let uncommitted = diverged.position.roster;
    assert_eq!((tail(&log).block, tail(&log).roster), (2, uncommitted));
    // Up to block 1 nothing is known of block 2.
    committed.blocks(1);
    log.register_snapshot(log_id(3, 9), committed.position);
    assert_eq!((tail(&log).block, tail(&log).roster), (2, uncommitted));
    // Past it: block 2 is no roster block. Before Raft cuts this log, the node may sign the snapshot's head.
    committed.blocks(2);
    log.register_snapshot(log_id(3, 10), committed.position);
    assert_eq!((tail(&log).block, tail(&log).roster), (3, genesis().position().roster));
}

#[tokio::test]
async fn a_purge_keeps_the_count() {
    let folder = Folder::new();
    let mut log = folder.open();
    let mut chain = Chain::new();
    append(&mut log, vec![chain.blank(), chain.block(), chain.roster(&[&[1, 2]]), chain.block()]).await;
    let before = tail(&log);
    log.purge(log_id(1, 2)).await.unwrap();
    assert_eq!(tail(&log), before);
    drop(log);

    let mut log = folder.open();
    assert_eq!(tail(&log), before);
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 2)), Some(log_id(1, 3))));
    assert_eq!(log.position_at(1).unwrap(), None);
    assert_eq!(log.position_at(2).unwrap().unwrap().0, log_id(1, 2));
    // Back to the purged entry, whose own record is gone.
    log.truncate_after(Some(log_id(1, 2))).await.unwrap();
    assert_eq!((tail(&log).block, tail(&log).roster.block), (2, 2));
    log.purge(log_id(1, 2)).await.unwrap();
    drop(log);

    let mut log = folder.open();
    assert_eq!((tail(&log).block, tail(&log).log_id), (2, Some(log_id(1, 2))));
    let fault = log.truncate_after(Some(log_id(1, 1))).await.unwrap_err();
    assert!(fault.to_string().contains("it is purged"), "{fault}");
}

#[tokio::test]
async fn what_was_not_there_cannot_be_purged_or_truncated_to() {
    async fn dies(cut: impl AsyncFnOnce(&mut RaftLog) -> io::Result<()>) -> LogFault {
        let folder = Folder::new();
        let mut log = folder.open();
        append(&mut log, Chain::new().blocks(3)).await;
        cut(&mut log).await.unwrap_err();
        let fault = log.fault().borrow().clone().unwrap();
        drop(log);
        assert_eq!(tail(&folder.open()).block, 3);
        (*fault).clone()
    }
    let purged = |upto| dies(async move |log: &mut RaftLog| log.purge(upto).await);
    assert!(matches!(purged(log_id(1, 9)).await, LogFault::Purge { .. }));
    assert!(matches!(purged(log_id(2, 1)).await, LogFault::Purge { .. }));
    let truncated = |after| dies(async move |log: &mut RaftLog| log.truncate_after(Some(after)).await);
    assert!(matches!(truncated(log_id(2, 1)).await, LogFault::Truncate { .. }));
}

#[tokio::test]
async fn what_is_committed_is_never_truncated() {
    for restart in [false, true] {
        let folder = Folder::new();
        let mut log = folder.open();
        let mut chain = Chain::new();
        append(&mut log, chain.blocks(3)).await;
        log.save_committed(Some(log_id(1, 1))).await.unwrap();
        append(&mut log, chain.blocks(1)).await;
        if restart {
            drop(log);
            log = folder.open();
        }
        log.truncate_after(Some(log_id(1, 1))).await.unwrap();
        log.truncate_after(Some(log_id(1, 0))).await.unwrap_err();
        let fault = log.fault().borrow().clone().unwrap();
        assert!(matches!(*fault, LogFault::Truncate { .. }));
    }
}

#[tokio::test]
async fn entries_must_follow_each_other() {
    for next in [log_id(1, 2), log_id(1, 4), log_id(0, 3)] {
        let folder = Folder::new();
        let mut log = folder.open();
        append(&mut log, Chain::new().blocks(3)).await;
        let entry = Entry { log_id: next, payload: Payload::default() };
        log.append(vec![entry], callback().0).await.unwrap_err();
        let fault = log.fault().borrow().clone().unwrap();
        assert_eq!(*fault, LogFault::Order { last: Some(log_id(1, 2)), next });
    }
}

#[tokio::test]
async fn a_start_brings_log_and_applied_state_together() {
    let folder = Folder::new();
    let mut chain = Chain::new();
    let mut log = folder.open();
    append(&mut log, chain.blocks(3)).await;
    let applied = (log_id(1, 2), chain.position);
    append(&mut log, chain.blocks(3)).await;

    assert_eq!(log.reconcile(None).await, Ok(Reconciliation::Keep));
    assert_eq!(log.reconcile(Some(applied)).await, Ok(Reconciliation::Keep));
    let miscounted = Position { block: 9, ..applied.1 };
    let refusal = Reconciliation::Refuse(Refusal::PositionDiffers { applied: log_id(1, 2) });
    assert_eq!(log.reconcile(Some((log_id(1, 2), miscounted))).await, Ok(refusal));
    assert_eq!(tail(&log).block, 6);

    // A snapshot was restored that ends beyond the log: the log is dropped, and stays so.
    let ahead = Position { block: 20, roster: RosterId { block: 15, digest: Hash([1; 32]) }, ..applied.1 };
    let dropped = Reconciliation::DropLogAndSetPurged(log_id(4, 30));
    assert_eq!(log.reconcile(Some((log_id(4, 30), ahead))).await, Ok(dropped));
    drop(log);
    let mut log = folder.open();
    assert_eq!((tail(&log).block, tail(&log).roster.block), (20, 15));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(4, 30)));
    assert_eq!(state.last_log_id, Some(log_id(4, 30)));
    assert_eq!(log.position_at(3).unwrap(), None);
    assert_eq!(log.reconcile(Some((log_id(4, 30), ahead))).await, Ok(Reconciliation::Keep));
    assert!(matches!(log.reconcile(Some(applied)).await, Ok(Reconciliation::Refuse(_))));
    append(&mut log, Chain { position: ahead, index: 31, term: 4 }.blocks(2)).await;
    assert_eq!(tail(&log).block, 22);
}
