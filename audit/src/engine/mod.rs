//! The engine: takes the entries of a log in their order, verifies each, applies it again, and compares what comes
//! of it with every leaf, byte for byte.
//!
//! Signatures are verified on threads of their own, ahead of the one that applies. Memory is bounded whatever the
//! log is; the state that is replayed is in a RocksDB in the engine's folder, which belongs to one ledger and one
//! engine. What was verified is written there now and then, in one atomic batch with the place to go on from: an
//! audit that is killed at any moment goes on from the last of them, and what it says in the end is the same.
//!
//! Nothing here believes a checkpoint. That the log's root is the one that nodes and witnesses signed, and that the
//! roster which signed it is the one that the log tells of, is compared by who has both: [`Engine::frontier`] and
//! [`Engine::rosters`].

mod ahead;
mod disk;
mod record;
mod value_cache;

use std::path::Path;

use chancery_ledger::authority::{self, BLOCK_LEAVES_MAX, Entry, Replay, ReplayError, VerifiedEntry};
use chancery_ledger::command::LedgerId;
use chancery_ledger::head::{Head, Roster, RosterId};
use chancery_ledger::log::Frontier;

use crate::finding::Finding;
use ahead::Ahead;
pub use disk::DiskError;
use disk::{Disk, DiskLeaves};

/// How much an engine may use.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that verify entries.
    pub threads: usize,
    /// Hashes of the state tree, which are in memory only, in bytes. What does not fit is made anew from the values.
    pub tree_bytes_max: u64,
    /// Values of the state kept in memory that are on the disk too, in bytes.
    pub cache_bytes_max: usize,
    /// Values of the state kept in memory that are not on the disk yet, in bytes. What was verified is written when
    /// they are more.
    pub unwritten_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, Into::into),
            tree_bytes_max: 72 << 20,
            cache_bytes_max: 20 << 20,
            unwritten_bytes_max: 12 << 20,
        }
    }
}

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The folder is of an audit of another ledger.
    #[error("the folder is of an audit of ledger {0}")]
    OtherLedger(LedgerId),
}

/// Why an audit ended before its end. Only a finding says anything of the log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError<E> {
    /// The log is wrong.
    #[error("{0}")]
    Finding(Finding),
    /// The entries could not be had.
    #[error("the entries could not be read: {0}")]
    Source(E),
    /// The source has no more entries, and should.
    #[error("the entries end at {size}, and should not")]
    Ended {
        /// How many there were.
        size: u64,
    },
    /// The engine's folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A thread that verifies ended for no reason of the log's.
    #[error("a thread that verifies ended")]
    Thread,
}

/// A roster that came into force, as the log tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RosterInForce {
    /// Its id: its block, and the digest of what it says.
    pub id: RosterId,
    /// Who votes.
    pub roster: Roster,
    /// Size of the log at the end of its block.
    pub log_size: u64,
}

/// An audit of one log, and how far it has come.
pub struct Engine {
    ledger: LedgerId,
    options: Options,
    progress: Progress,
    /// Every roster so far, the first that of genesis.
    rosters: Vec<RosterInForce>,
}

/// How far an engine has come.
enum Progress {
    /// Nowhere: the next entry is genesis.
    Begun(Disk),
    /// Some way.
    Founded(Box<Replay<DiskLeaves>>),
    /// Its disk failed in the middle of something.
    Lost,
}

impl Engine {
    /// Opens the engine in `folder`, or makes it, for the log of `ledger`. It goes on where it had come to.
    ///
    /// # Errors
    /// The folder cannot be used, or is of another ledger.
    pub fn open(folder: &Path, ledger: LedgerId, options: Options) -> Result<Self, EngineError> {
        let disk = Disk::open(folder)?;
        match disk.ledger()? {
            Some(found) if found != ledger => return Err(EngineError::OtherLedger(found)),
            Some(_) => {}
            None => disk.found(ledger)?,
        }
        let rosters = disk.rosters()?;
        let progress = match disk.progress()? {
            None => Progress::Begun(disk),
            Some(progress) => {
                let dedup = disk.dedup()?;
                let leaves = DiskLeaves::new(disk, options);
                let replay = Replay::resume(progress, dedup, leaves, options.tree_bytes_max);
                Progress::Founded(Box::new(replay.map_err(unusable)?))
            }
        };
        Ok(Self { ledger, options, progress, rosters })
    }

    /// The head after the last block that was verified, if there is one. Blocks after it that left no leaf are not
    /// in the log, and not counted.
    pub fn head(&self) -> Option<&Head> {
        match &self.progress {
            Progress::Founded(replay) => Some(replay.head()),
            Progress::Begun(_) | Progress::Lost => None,
        }
    }

    /// How many entries are verified: the index of the next one.
    pub fn size(&self) -> u64 {
        self.head().map_or(0, |head| head.log_size)
    }

    /// The right edge of the log's tree over these entries. Its root is what a checkpoint of that size says.
    pub fn frontier(&self) -> Frontier {
        match &self.progress {
            Progress::Founded(replay) => replay.progress().frontier.clone(),
            Progress::Begun(_) | Progress::Lost => Frontier::new(),
        }
    }

    /// Every roster that the log tells of so far, in their order, the first that of genesis.
    pub fn rosters(&self) -> &[RosterInForce] {
        &self.rosters
    }

    /// Verifies the entries from [`Engine::size`] up to `until_size`, which `entries` gives in their order, and tells
    /// `progress` the size after each block. What was verified is kept, however it ends.
    ///
    /// # Errors
    /// The first thing that is wrong with the log; or the entries could not be had, or the folder not used.
    pub fn run<E: Send>(
        &mut self,
        entries: impl Iterator<Item = Result<Vec<u8>, E>> + Send,
        until_size: u64,
        progress: &dyn Fn(u64),
    ) -> Result<(), AuditError<E>> {
        let (first, ledger) = (self.size(), self.ledger);
        let wanted = until_size.saturating_sub(first);
        let ran = ahead::verified(ledger, first, wanted, entries, self.options.threads, |ahead| {
            self.replay(ahead, until_size, progress)
        });
        // Also when the source failed: nothing has to be verified again for that.
        let written = self.write();
        ran?;
        Ok(written?)
    }

    /// Takes verified entries, and applies them block by block.
    fn replay<E>(
        &mut self,
        mut ahead: Ahead<'_, E>,
        until_size: u64,
        progress: &dyn Fn(u64),
    ) -> Result<(), AuditError<E>> {
        let mut block = Vec::new();
        let mut size = self.size();
        while size < until_size {
            let entry = ahead.next_entry()?.ok_or(AuditError::Ended { size })?;
            size += 1;
            let ends = matches!(entry.entry(), Entry::State { .. });
            block.push(entry);
            if ends || block.len() >= BLOCK_LEAVES_MAX || size == until_size {
                self.apply(&block)?;
                block.clear();
                progress(size);
            }
        }
        Ok(())
    }

    fn apply<E>(&mut self, leaves: &[VerifiedEntry]) -> Result<(), AuditError<E>> {
        match &mut self.progress {
            Progress::Founded(replay) => {
                let before = replay.head().roster;
                let replayed = replay.apply(leaves).map_err(failed)?;
                let changed = replay.head().roster != before;
                replay.leaves_mut().remember(replayed);
                if changed {
                    self.remember_roster()?;
                }
            }
            Progress::Begun(_) => {
                let Progress::Begun(disk) = std::mem::replace(&mut self.progress, Progress::Lost) else {
                    return Err(DiskError::Lost.into());
                };
                let values = DiskLeaves::new(disk.clone(), self.options);
                match Replay::genesis(self.ledger, values, self.options.tree_bytes_max, leaves) {
                    Ok(replay) => self.progress = Progress::Founded(Box::new(replay)),
                    Err(error) => {
                        self.progress = Progress::Begun(disk);
                        return Err(failed(error));
                    }
                }
                self.remember_roster()?;
            }
            Progress::Lost => return Err(DiskError::Lost.into()),
        }
        let Progress::Founded(replay) = &self.progress else { return Ok(()) };
        if replay.leaves().is_full() { Ok(self.write()?) } else { Ok(()) }
    }

    /// Reads the roster in force from the replayed state.
    fn remember_roster<E>(&mut self) -> Result<(), AuditError<E>> {
        let Progress::Founded(replay) = &mut self.progress else { return Ok(()) };
        let record = authority::ledger_record(&replay.view())
            .map_err(|error| DiskError::Corrupt { what: "the ledger's record", why: error.to_string() })?;
        let Head { roster: id, log_size, .. } = *replay.head();
        let roster = RosterInForce { id, roster: record.roster, log_size };
        replay.leaves_mut().remember_roster(&roster);
        self.rosters.push(roster);
        Ok(())
    }

    /// Writes what was verified since the last time, in one batch.
    fn write(&mut self) -> Result<(), DiskError> {
        let Progress::Founded(replay) = &mut self.progress else { return Ok(()) };
        let progress = replay.progress().clone();
        replay.leaves_mut().write(&progress)
    }
}

/// What keeps a replay from going on that does not read the log.
fn unusable(error: ReplayError<DiskError>) -> DiskError {
    match error {
        ReplayError::Leaves(error) => error,
        error => DiskError::Corrupt { what: "the replayed state", why: error.to_string() },
    }
}

fn failed<E>(error: ReplayError<DiskError>) -> AuditError<E> {
    match error {
        ReplayError::Finding(finding) => AuditError::Finding(Finding::from(&*finding)),
        error => AuditError::Disk(unusable(error)),
    }
}
