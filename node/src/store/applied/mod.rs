//! The applied store: what the committed blocks made of the ledger, on disk and in memory.
//!
//! It owns the RocksDB below `applied/`: state tree nodes, log entries and tiles, live deduplication
//! entries, a summary for each block. Contract: an entry is applied wholly, in one batch that carries its
//! log id, or not at all; the first fault is the last. Nothing here is synced: whoever applies an entry has
//! it in its own synced log, and after a power cut applies it again. What is in memory is bounded by the
//! live deduplication entries and the options, not by the log.

mod apply;
pub(in crate::store) mod database;
mod fault;
pub(in crate::store) mod folders;
mod founding;
mod history;
mod lately_used;
mod newest_values;
mod node_cache;
pub(in crate::store) mod record;
pub mod tables;
pub(in crate::store) mod view;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chancery_ledger::authority::{Outcome, State, Summary};
use chancery_ledger::command::VerifiedSignatures;
use chancery_ledger::head::{Head, Statement};
use chancery_ledger::state::Root;
use tokio::sync::watch;

pub use database::Column;
pub use fault::{AppliedDead, AppliedFault};
pub use founding::{Founding, FoundingError, LedgerBlocks, has_voters_of, voter_ids};
pub use view::AppliedView;

pub(in crate::store) use fault::with_causes;

/// Takes the deduplication entries out of the store at `path`.
#[cfg(feature = "sabotage")]
pub(crate) fn forget_dedup(path: &Path) -> Result<(), AppliedFault> {
    let database = Database::open(path)?;
    let mut batch = database.batch();
    batch.delete_range(Column::Dedup, &[], &[0xFF; 32])?;
    batch.write()?;
    database.flush()?;
    // A copy again, with no file but those that a copy has.
    let copy = path.with_extension("without");
    database.checkpoint(&copy)?;
    drop(database);
    std::fs::remove_dir_all(path)?;
    Ok(std::fs::rename(&copy, path)?)
}

use crate::raft::types::{Entry, LogId, StoredMembership};
use crate::rosters::Rosters;
use crate::store::Position;
use crate::store::snapshot::manifest::Manifest;
use database::Database;
use fault::Latch;
use view::Opened;

/// The bounds of an [`AppliedStore`].
#[derive(Clone, Copy, Debug)]
pub struct AppliedOptions {
    /// State tree nodes are kept in memory up to this size.
    pub cached_bytes_max: usize,
    /// The states of this many blocks before the last stay readable.
    pub history_blocks: u64,
}

impl Default for AppliedOptions {
    fn default() -> Self {
        Self { cached_bytes_max: 64 << 20, history_blocks: 65_536 }
    }
}

/// A handle to the store.
#[derive(Clone)]
pub struct AppliedStore {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    founding: Arc<Founding>,
    options: AppliedOptions,
    /// Replaced when a snapshot is installed.
    current: RwLock<AppliedView>,
    /// Held by whoever changes anything; says which generation is current.
    changing: Mutex<u64>,
    block: watch::Sender<u64>,
    rosters: watch::Sender<Arc<Rosters>>,
    latch: Latch,
    signatures: Arc<VerifiedSignatures>,
}

impl AppliedStore {
    /// Opens the store in the folder at `path`; founds the ledger if the folder is empty. Blocks on the
    /// disk.
    pub fn open(path: &Path, founding: Arc<Founding>, options: AppliedOptions) -> Result<Self, AppliedFault> {
        let (generation, folder) = match folders::newest(path)? {
            Some(newest) => newest,
            None => (0, folders::create(path, 0)?),
        };
        let opened = Opened::load(Database::open(&folder)?, &founding, &options)?;
        let view = AppliedView { opened: Arc::new(opened) };
        let block = view.read_state(|state| state.head().block);
        let rosters = view.rosters();
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.into(),
                founding,
                options,
                current: RwLock::new(view),
                changing: Mutex::new(generation),
                block: watch::Sender::new(block),
                rosters: watch::Sender::new(rosters),
                latch: Latch::new(),
                signatures: Arc::new(VerifiedSignatures::with_singles()),
            }),
        })
    }

    /// Applies the next log entry, which this node has synced. Blocks on the disk.
    pub fn apply(&self, entry: &Entry) -> Result<Position, AppliedDead> {
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.latch.check()?;
        let view = self.view();
        let applied = apply::apply(&view, &self.shared.options, &self.shared.signatures, entry);
        let position = applied.map_err(|fault| self.shared.latch.trip(fault))?;
        // The rosters first: whoever waits for a block finds the roster that it brought.
        if position.roster.block == position.block {
            self.shared.rosters.send_replace(view.rosters());
        }
        if entry.payload.block().is_some() {
            self.shared.block.send_replace(position.block);
        }
        Ok(position)
    }

    /// Keeps `statements`, which are verified, as what proves the roster of `block`. Blocks on the disk.
    pub fn prove_roster(&self, block: u64, statements: Vec<Statement>) -> Result<(), AppliedDead> {
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.latch.check()?;
        let view = self.view();
        apply::prove_roster(&view.opened, block, statements)
            .map_err(|fault| self.shared.latch.trip(fault))?;
        self.shared.rosters.send_replace(view.rosters());
        Ok(())
    }

    /// Deletes `nodes_max` nodes of states that are no longer kept, and what else the last record lists that names one of
    /// them, or fewer if there are no more; says how many it found.
    /// [`AppliedStore::apply`] does so too; this catches up after the option was lowered.
    pub fn prune_history(&self, nodes_max: usize) -> Result<usize, AppliedDead> {
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.latch.check()?;
        let prune = || {
            let view = self.view();
            let head = view.read_state(|state| *state.head());
            let step = history::plan(&view.opened, &head, &self.shared.options, nodes_max)?;
            let mut batch = view.opened.database.batch();
            step.write(&mut batch)?;
            view.opened.change().history = step.start;
            batch.write()?;
            Ok(step.nodes())
        };
        prune().map_err(|fault| self.shared.latch.trip(fault))
    }

    /// Replaces everything by the registered snapshot whose database is in the folder `snapshot`. Views
    /// taken before stay with what they have. Blocks on the disk.
    pub(crate) fn install(&self, snapshot: &Path, manifest: &Manifest) -> Result<(), AppliedDead> {
        let mut generation = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.latch.check()?;
        let install = || {
            let next = generation.saturating_add(1);
            let folder = folders::install(&self.shared.path, next, snapshot, manifest.files())?;
            let database = Database::open(&folder)?;
            let opened = Opened::load(database, &self.shared.founding, &self.shared.options)?;
            let view = AppliedView { opened: Arc::new(opened) };
            if view.position() != (Some(manifest.log_id()), manifest.position()) {
                return Err(AppliedFault::corrupt("snapshot", "it does not hold what its manifest says"));
            }
            fail::fail_point!("install-before-switch", AppliedFault::injected);
            Ok((next, view))
        };
        let (next, view) = install().map_err(|fault| self.shared.latch.trip(fault))?;
        let block = view.read_state(|state| state.head().block);
        *generation = next;
        let mut current = self.shared.current.write().unwrap_or_else(PoisonError::into_inner);
        let rosters = view.rosters();
        std::mem::replace(&mut *current, view).opened.database.retire();
        drop(current);
        self.shared.rosters.send_replace(rosters);
        self.shared.block.send_replace(block);
        Ok(())
    }

    /// Signatures of commands that this node found good lately: a command that was looked at when it came is not verified
    /// again when it is applied.
    pub fn signatures(&self) -> &Arc<VerifiedSignatures> {
        &self.shared.signatures
    }

    /// What is applied now, to read from. See [`AppliedView`] for the reads that are not repeated here.
    pub fn view(&self) -> AppliedView {
        self.shared.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the last applied block, whenever it changes.
    pub fn block(&self) -> watch::Receiver<u64> {
        self.shared.block.subscribe()
    }

    /// The rosters up to the last applied block, whenever they change, or one of them is proven.
    pub fn watch_rosters(&self) -> watch::Receiver<Arc<Rosters>> {
        self.shared.rosters.subscribe()
    }

    /// [`AppliedView::rosters`].
    pub fn rosters(&self) -> Arc<Rosters> {
        self.view().rosters()
    }

    /// Why the store is dead, once it is. The node is to be stopped then.
    pub fn fault(&self) -> watch::Receiver<Option<Arc<AppliedFault>>> {
        self.shared.latch.watch()
    }

    /// The ledger's founding.
    pub fn founding(&self) -> &Arc<Founding> {
        &self.shared.founding
    }

    /// Latches `fault`: for what goes wrong around applying.
    pub(crate) fn trip(&self, fault: AppliedFault) -> AppliedDead {
        self.shared.latch.trip(fault)
    }

    /// Makes all that is applied durable. Blocks on the disk.
    pub fn sync(&self) -> Result<(), AppliedDead> {
        self.view().opened.database.sync().map_err(|fault| self.shared.latch.trip(fault))
    }

    /// Writes what is in memory to table files. Blocks on the disk.
    pub fn flush(&self) -> Result<(), AppliedDead> {
        self.view().opened.database.flush().map_err(|fault| self.shared.latch.trip(fault))
    }

    /// [`AppliedView::read_state`].
    pub fn read_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        self.view().read_state(read)
    }

    /// [`AppliedView::applied`].
    pub fn applied(&self) -> Option<LogId> {
        self.view().applied()
    }

    /// [`AppliedView::membership`].
    pub fn membership(&self) -> StoredMembership {
        self.view().membership()
    }

    /// [`AppliedView::position`].
    pub fn position(&self) -> (Option<LogId>, Position) {
        self.view().position()
    }

    /// [`AppliedView::outcomes`].
    pub fn outcomes(&self, block: u64) -> Option<Arc<Vec<Outcome>>> {
        self.view().outcomes(block)
    }

    /// [`AppliedView::summary_of`].
    pub fn summary_of(&self, block: u64) -> Result<Option<Summary>, AppliedFault> {
        self.view().summary_of(block)
    }

    /// [`AppliedView::head_of`].
    pub fn head_of(&self, block: u64) -> Result<Option<Head>, AppliedFault> {
        self.view().head_of(block)
    }

    /// [`AppliedView::root_of`].
    pub fn root_of(&self, block: u64) -> Result<Option<Root>, AppliedFault> {
        self.view().root_of(block)
    }

    /// [`AppliedView::entry`].
    pub fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, AppliedFault> {
        self.view().entry(index)
    }
}
