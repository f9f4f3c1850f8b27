//! Old states are forgotten, recent ones stay.

use chancery_ledger::state::verify_whole;
use tempfile::tempdir;

use super::ledger::Leader;
use super::{assert_same, open, open_with};
use crate::store::applied::AppliedOptions;

#[test]
fn pruning_keeps_recent_roots_readable_and_takes_the_rest() {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let options = AppliedOptions { cached_bytes_max: 0, history_blocks: 10 };
    let store = open_with(folder.path(), options);
    for entry in leader.some_entries(40) {
        store.apply(&entry).unwrap();
        let view = store.view();
        let head = view.read_state(|state| state.head().block);
        assert_eq!(view.oldest_state(), head.saturating_sub(10));
        for block in view.oldest_state()..=head {
            verify_whole(&view, view.root_of(block).unwrap().unwrap()).unwrap();
        }
    }
    let view = store.view();
    for applied in &leader.history[..31] {
        let block = applied.summary.head.block;
        assert_eq!(view.root_of(block).unwrap(), None, "{block}");
        verify_whole(&view, applied.summary.root).unwrap_err();
        assert_eq!(view.head_of(block).unwrap(), Some(applied.summary.head), "heads stay longer");
    }
    assert_same(&store, &leader);
    drop((view, store));
    let store = open_with(folder.path(), options);
    assert_eq!(store.view().oldest_state(), 31);
    assert_same(&store, &leader);
}

#[test]
fn a_shorter_history_is_caught_up_with_in_bounded_steps() {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let store = open(folder.path());
    for entry in leader.some_entries(30) {
        store.apply(&entry).unwrap();
    }
    drop(store);
    let options = AppliedOptions { cached_bytes_max: 0, history_blocks: 5 };
    let store = open_with(folder.path(), options);
    let mut steps = 0;
    while store.prune_history(7).unwrap() > 0 {
        steps += 1;
        let view = store.view();
        for block in view.oldest_state()..=31 {
            verify_whole(&view, view.root_of(block).unwrap().unwrap()).unwrap();
        }
    }
    assert!(steps > 10, "{steps}");
    assert_eq!(store.view().oldest_state(), 26);
    assert_same(&store, &leader);
}

#[test]
fn summaries_beyond_the_heads_that_are_needed_go_too() {
    let folder = tempdir().unwrap();
    let mut leader = Leader::new();
    let store = open_with(folder.path(), AppliedOptions { cached_bytes_max: 1 << 20, history_blocks: 3 });
    store.apply(&leader.initialize()).unwrap();
    for _ in 0..1100 {
        store.apply(&leader.empty_block()).unwrap();
    }
    assert_eq!(store.summary_of(75).unwrap(), None);
    assert!(store.summary_of(76).unwrap().is_some());
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.read_state(|state| state.head_of(77).map(|head| head.block)), Some(77));
    assert_eq!(store.read_state(|state| state.summary().clone()), *leader.state.summary());
}
