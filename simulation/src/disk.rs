//! Disks that lose, tear, fail and delay what was not synced.
//!
//! The Raft log's records are a map. A batch that was synced is durable. One that was not is lost when the
//! power is cut, or is there as a whole: a torn batch fails its checksum, and recovery drops it. Cuts at the
//! moment of a write decide by chance which.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chancery_node::store::{Change, Disks, LogBatch, LogDisk, OpenError, Record};

use crate::random::Random;

type Map = BTreeMap<Box<[u8]>, Vec<u8>>;

/// Where a vote is kept.
const VOTE: &[u8] = b"m/vote";

/// What a disk says is durable, and is not: a deliberate bug.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    /// None.
    #[default]
    None,
    /// Any batch.
    EverySync,
    /// A batch with a vote.
    Votes,
}

/// One node's disk. Handles share it, and it outlives the node's processes.
#[derive(Clone)]
pub(crate) struct SimulatedDisk {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    random: Random,
    lie: Lie,
    /// What a power cut leaves.
    durable: Map,
    /// What reads see.
    current: Map,
    /// Written since, in order.
    unsynced: Vec<LogBatch>,
    /// Grows with each power cut: what ran before has no disk any more.
    powered: u64,
    /// The next write fails.
    fails: bool,
    /// The power is cut by the write after so many others.
    cut_after: Option<u64>,
    /// Votes that it was given.
    votes: u64,
}

impl SimulatedDisk {
    pub(crate) fn new(random: Random, lie: Lie) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Shared {
                random,
                lie,
                durable: Map::new(),
                current: Map::new(),
                unsynced: Vec::new(),
                powered: 0,
                fails: false,
                cut_after: None,
                votes: 0,
            })),
        }
    }

    /// Loses what was not synced, or any later part of it.
    pub(crate) fn cut_power(&self) {
        self.shared().cut_power();
    }

    /// The next write fails, and how much of it stays is left to chance.
    pub(crate) fn fail_next_write(&self) {
        self.shared().fails = true;
    }

    /// The power is cut in the midst of the write after `writes` others.
    pub(crate) fn cut_power_after(&self, writes: u64) {
        self.shared().cut_after = Some(writes);
    }

    /// How many votes it was given to keep.
    pub(crate) fn votes(&self) -> u64 {
        self.shared().votes
    }

    /// Nothing more is to happen to it. Returns whether something was still to happen.
    pub(crate) fn heal(&self) -> bool {
        let mut shared = self.shared();
        let (fails, cut) = (std::mem::take(&mut shared.fails), shared.cut_after.take());
        fails || cut.is_some()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disks for SimulatedDisk {
    fn open_log(&self, path: &Path) -> Result<Box<dyn LogDisk>, OpenError> {
        // The node's start looks whether there is such a folder.
        std::fs::create_dir_all(path.join("simulated"))
            .map_err(|error| OpenError::Disk(error.to_string()))?;
        Ok(Box::new(Opened { powered: self.shared().powered, disk: self.clone() }))
    }
}

impl Shared {
    fn cut_power(&mut self) {
        let kept = self.random.below(self.unsynced.len() as u64 + 1);
        let unsynced = std::mem::take(&mut self.unsynced);
        for batch in unsynced.iter().take(usize::try_from(kept).unwrap_or(0)) {
            apply(&mut self.durable, batch);
        }
        self.current = self.durable.clone();
        self.powered += 1;
        self.fails = false;
        self.cut_after = None;
    }

    fn write(&mut self, batch: LogBatch) -> Result<(), String> {
        if std::mem::take(&mut self.fails) {
            if self.random.one_in(2) {
                self.unsynced.push(batch);
            }
            return Err("input/output error (simulated)".into());
        }
        let is_vote = |change: &Change| matches!(change, Change::Put(key, _) if **key == *VOTE);
        let votes = batch.changes.iter().any(is_vote);
        self.votes += u64::from(votes);
        let synced = match self.lie {
            Lie::None => true,
            // It gets around to it.
            Lie::EverySync => self.random.one_in(8),
            Lie::Votes => !votes,
        };
        apply(&mut self.current, &batch);
        self.unsynced.push(batch);
        match &mut self.cut_after {
            Some(0) => {
                self.cut_power();
                return Err("the power was cut (simulated)".into());
            }
            Some(writes) => *writes -= 1,
            None => {}
        }
        if synced {
            for batch in std::mem::take(&mut self.unsynced) {
                apply(&mut self.durable, &batch);
            }
        }
        Ok(())
    }
}

fn apply(map: &mut Map, batch: &LogBatch) {
    for change in &batch.changes {
        match change {
            Change::Put(key, value) => {
                map.insert(key.clone(), value.clone());
            }
            Change::Delete(key) => {
                map.remove(key);
            }
            Change::DeleteRange(from, to) => map.retain(|key, _| key < from || key >= to),
        }
    }
}

/// The disk, as a process that runs until the power is cut has it.
struct Opened {
    disk: SimulatedDisk,
    powered: u64,
}

impl Opened {
    fn shared(&self) -> Result<MutexGuard<'_, Shared>, String> {
        let shared = self.disk.shared();
        if shared.powered == self.powered { Ok(shared) } else { Err("the power is off (simulated)".into()) }
    }
}

impl LogDisk for Opened {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(self.shared()?.current.get(key).cloned())
    }

    fn range<'a>(&'a self, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Result<Record, String>> + 'a> {
        let found: Vec<Result<Record, String>> = match self.shared() {
            Ok(shared) => records(&shared.current, from, to).map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        Box::new(found.into_iter())
    }

    fn last_in(&self, from: &[u8], to: &[u8]) -> Result<Option<Record>, String> {
        Ok(records(&self.shared()?.current, from, to).next_back())
    }

    // Whether it syncs is this disk's doing.
    fn write(&self, batch: LogBatch, _sync: bool) -> Result<(), String> {
        self.shared()?.write(batch)
    }
}

fn records<'a>(map: &'a Map, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = Record> + use<'a> {
    let found = map.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Excluded(to)));
    found.map(|(key, value)| (key.clone(), value.clone().into_boxed_slice()))
}
