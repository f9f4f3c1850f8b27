//! Founding, applying, opening again.

use chancery_ledger::authority::Outcome;
use chancery_ledger::log::TileRead;
use tempfile::tempdir;

use super::ledger::{Leader, founding, genesis, membership};
use super::{assert_same, open};
use crate::raft::types::{Payload, log_id};
use crate::store::applied::{AppliedFault, AppliedOptions, AppliedStore, Founding};

#[test]
fn an_empty_folder_holds_the_founded_ledger() {
    let folder = tempdir().unwrap();
    for _ in 0..2 {
        let store = open(folder.path());
        assert_same(&store, &Leader::new());
        assert_eq!(store.position(), (None, founding().log_genesis().position()));
        assert_eq!(store.applied(), None);
        assert_eq!(*store.membership().log_id(), None);
        assert_eq!(*store.block().borrow(), 0);
    }
}

#[test]
fn blocks_are_applied_and_found_again() {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let store = open(folder.path());
    let mut block = store.block();
    for entry in leader.some_entries(3) {
        store.apply(&entry).unwrap();
    }
    assert_eq!(*block.borrow_and_update(), 4);
    assert_same(&store, &leader);
    assert!(matches!(
        store.outcomes(2).unwrap()[..],
        [Outcome::Applied(_), Outcome::Applied(_), Outcome::Applied(_), Outcome::Applied(_)]
    ));
    assert!(matches!(store.outcomes(4).unwrap()[..], [Outcome::Refused(_)]));
    assert_eq!(store.outcomes(5), None);
    drop(store);

    let store = open(folder.path());
    assert_same(&store, &leader);
    assert_eq!(store.applied(), Some(log_id(1, 5)));
    assert_eq!(*store.membership().log_id(), Some(log_id(1, 0)));
    assert_eq!(store.membership().membership(), &membership(&[]));
    let entry = leader.entry(Payload::new(None, Some(membership(&[9]))));
    let position = store.apply(&entry).unwrap();
    assert_eq!(position, store.position().1);
    assert_eq!(position.block, 4);
    store.apply(&leader.busy_block()).unwrap();
    assert_same(&store, &leader);
}

#[test]
fn two_replicas_hold_the_same() {
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let mut leader = Leader::new();
    let entries = leader.some_entries(30);
    let whole = open(one.path());
    for entry in &entries {
        whole.apply(entry).unwrap();
    }
    let mut halting = open(two.path());
    for (entry, at) in entries.iter().zip(0..) {
        if at % 5 == 0 {
            drop(halting);
            halting = open(two.path());
        }
        halting.apply(entry).unwrap();
    }
    assert_same(&whole, &leader);
    assert_same(&halting, &leader);
    let all = |store: &AppliedStore| store.view().entries(0, usize::MAX).unwrap();
    assert_eq!(all(&whole), all(&halting));
    assert_eq!(whole.position(), halting.position());
}

#[test]
fn what_a_power_cut_takes_is_applied_again() {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let entries = leader.some_entries(8);
    let store = open(folder.path());
    let (kept, lost) = entries.split_at(5);
    for entry in kept {
        store.apply(entry).unwrap();
    }
    store.flush().unwrap();
    let at_flush = store.position();
    for entry in lost {
        store.apply(entry).unwrap();
    }
    let at_end = store.position();
    drop(store);
    let generation = folder.path().join("generation-0000000000");
    let newest_wal = std::fs::read_dir(&generation)
        .unwrap()
        .map(|found| found.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max()
        .unwrap();
    std::fs::remove_file(newest_wal).unwrap();

    let store = open(folder.path());
    assert_eq!(store.position(), at_flush);
    for entry in lost {
        store.apply(entry).unwrap();
    }
    assert_eq!(store.position(), at_end);
    assert_same(&store, &leader);
}

#[test]
fn a_torn_write_ahead_log_leaves_a_whole_block() {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let entries = leader.some_entries(6);
    let store = open(folder.path());
    let mut positions = vec![store.position()];
    for entry in &entries {
        store.apply(entry).unwrap();
        positions.push(store.position());
    }
    drop(store);
    let generation = folder.path().join("generation-0000000000");
    let wal = std::fs::read_dir(&generation)
        .unwrap()
        .map(|found| found.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max()
        .unwrap();
    let bytes = std::fs::read(&wal).unwrap();
    // A page in the middle never reached the disk, later ones did.
    let mut torn = bytes.clone();
    let middle = bytes.len() / 2 / 4096 * 4096;
    torn[middle..middle + 4096].fill(0);
    std::fs::write(&wal, torn).unwrap();

    let store = open(folder.path());
    let reached = positions.iter().position(|position| *position == store.position()).unwrap();
    assert!(0 < reached && reached < entries.len(), "{reached}");
    for entry in &entries[reached..] {
        store.apply(entry).unwrap();
    }
    assert_same(&store, &leader);
}

#[test]
fn dropped_buckets_are_gone_on_disk_too() {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let store = open(folder.path());
    for entry in leader.some_entries(2) {
        store.apply(&entry).unwrap();
    }
    leader.wait_ms(3 * 3_600_000);
    store.apply(&leader.busy_block()).unwrap();
    assert_eq!(store.read_state(|state| state.dedup().len()), 4);
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.read_state(|state| state.dedup().len()), 4);
    assert_same(&store, &leader);
}

#[test]
fn a_folder_of_another_ledger_is_refused() {
    let folder = tempdir().unwrap();
    drop(open(folder.path()));
    let other = Founding::new(&genesis("example.com/other")).unwrap();
    let refused = AppliedStore::open(folder.path(), other.into(), AppliedOptions::default()).err();
    assert!(matches!(refused, Some(AppliedFault::Corrupt { .. })), "{refused:?}");
}

#[test]
fn tiles_are_read_no_wider_than_they_are() {
    let folder = tempdir().unwrap();
    let store = open(folder.path());
    let tile = chancery_ledger::log::TileIndex { level: 0, index: 0 };
    assert_eq!(store.view().tile_hashes(tile, 2).unwrap().len(), 2);
    store.view().tile_hashes(tile, 3).unwrap_err();
}
