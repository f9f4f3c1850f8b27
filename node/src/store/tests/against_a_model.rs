//! Random operations and restarts against a plain list.

use openraft::storage::{RaftLogReader, RaftLogStorage};
use proptest::prelude::*;

use super::*;
use crate::raft::types::LogId;

#[derive(Clone, Debug)]
enum Step {
    /// Queue blocks, blanks and rosters; flush only if told.
    Append {
        kinds: Vec<u8>,
        wait: bool,
    },
    /// Cut off this many from the end, and go on in the next term.
    Truncate(usize),
    /// Purge this many from the start.
    Purge(usize),
    /// Take a snapshot from elsewhere that ends this far beyond the log.
    InstallSnapshot(u64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (prop::collection::vec(0_u8..4, 1..8), any::<bool>())
            .prop_map(|(kinds, wait)| Step::Append { kinds, wait }),
        2 => (0_usize..12).prop_map(Step::Truncate),
        2 => (1_usize..8).prop_map(Step::Purge),
        1 => (1_u64..4).prop_map(Step::InstallSnapshot),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

/// What the log must be: the purged entry, and those after it, each with its position.
struct Model {
    purged: Option<(LogId, Position)>,
    entries: Vec<(Entry, Position)>,
    term: u64,
}

impl Model {
    fn last(&self) -> Option<(LogId, Position)> {
        self.entries.last().map(|(entry, position)| (entry.log_id, *position)).or(self.purged)
    }

    fn chain(&self) -> Chain {
        match self.last() {
            None => Chain { term: self.term, ..Chain::new() },
            Some((last, position)) => Chain { position, index: last.index + 1, term: self.term },
        }
    }
}

async fn check(log: &mut RaftLog, model: &Model) {
    log.record_signed(crate::store::SignedHead { size: 0, root: Hash::ZERO }).await.unwrap();
    let position = model.last().map_or(genesis().position(), |(_, position)| position);
    let tail = log.read_tail_with(|tail| *tail).unwrap();
    assert_eq!(
        (tail.block, tail.block_hash, tail.roster),
        (position.block, position.block_hash, position.roster)
    );
    assert_eq!(tail.log_id, model.last().map(|(last, _)| last));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, tail.log_id);
    assert_eq!(state.last_purged_log_id, model.purged.map(|(purged, _)| purged));
    let entries = log.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    assert!(entries.iter().eq(model.entries.iter().map(|(entry, _)| entry)));
}

async fn run(steps: Vec<Step>, cached_bytes_max: usize) {
    let folder = Folder::with_cache(cached_bytes_max);
    let mut log = folder.open();
    let mut model = Model { purged: None, entries: Vec::new(), term: 1 };
    for step in steps {
        match step {
            Step::Append { kinds, wait } => {
                let mut chain = model.chain();
                let mut entries = Vec::new();
                for kind in kinds {
                    let entry = match kind {
                        0 => chain.blank(),
                        1 => chain.roster(&[&[1, 2, chain.index + 3]]),
                        _ => chain.block(),
                    };
                    model.entries.push((entry.clone(), chain.position));
                    entries.push(entry);
                }
                let flushed = queue(&mut log, entries).await;
                if !wait {
                    continue;
                }
                flushed.await.unwrap().unwrap();
            }
            Step::Truncate(count) => {
                // The floor is committed: only what was never purged is cut.
                model.entries.truncate(model.entries.len().saturating_sub(count));
                model.term += 1;
                log.truncate_after(model.last().map(|(last, _)| last)).await.unwrap();
            }
            Step::Purge(count) => {
                let count = count.min(model.entries.len());
                if let Some((entry, position)) = model.entries.drain(..count).next_back() {
                    model.purged = Some((entry.log_id, position));
                    log.purge(entry.log_id).await.unwrap();
                }
            }
            Step::InstallSnapshot(beyond) => {
                let mut chain = model.chain();
                chain.block();
                let upto = log_id(model.term, chain.index + beyond);
                log.register_snapshot(upto, chain.position);
                log.purge(upto).await.unwrap();
                model.entries.clear();
                model.purged = Some((upto, chain.position));
            }
            Step::Reopen => {
                drop(log);
                log = folder.open();
            }
        }
        check(&mut log, &model).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_what_was_done_to_it(
        steps in steps(),
        cached_bytes_max in prop_oneof![Just(0_usize), Just(1000), Just(usize::MAX)],
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(run(steps, cached_bytes_max));
    }
}
