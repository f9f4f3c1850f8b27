//! The newest head that this client verified: what is older is refused, also after a restart.
//!
//! `newest.toml` only ever grows, whichever processes share the context: who writes holds the lock on
//! `newest.lock`, reads what is there, and writes the greater. Writing is rate-limited, so that a crash can
//! forget at most the last second.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chancery_ledger::command::LedgerId;
use chancery_ledger::head::Head;
use chancery_ledger::trust::{Newest, Trust};

use crate::context::ContextError;
use crate::files;

/// Least time between two writes.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// The newest that is known, and its file.
#[derive(Debug)]
pub(crate) struct NewestStore {
    path: PathBuf,
    ledger: LedgerId,
    state: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    known: Newest,
    /// What the file is known to hold.
    written: Option<Newest>,
    written_at: Option<Instant>,
    /// A write is under way or waits for its turn.
    pending: bool,
}

impl NewestStore {
    /// What the folder's file says, or what the trust says if that is newer or there is no file.
    pub(crate) fn open(folder: &Path, trust: &Trust) -> Result<Self, ContextError> {
        let path = folder.join("newest.toml");
        let ledger = trust.ledger;
        let written = read(&path, ledger)?;
        let trusted = Newest { block: trust.minimum_block, roster: trust.minimum_roster };
        let known = written.filter(|written| written.block > trusted.block).unwrap_or(trusted);
        let state = Mutex::new(Progress { known, written, written_at: None, pending: false });
        Ok(Self { path, ledger, state })
    }

    /// The newest known.
    pub(crate) fn known(&self) -> Newest {
        self.lock().known
    }

    /// Remembers a verified head, and sees to it that it is written. Call it on a tokio runtime.
    pub(crate) fn note(self: &Arc<Self>, head: &Head) {
        let delay = {
            let mut state = self.lock();
            if head.block <= state.known.block {
                return;
            }
            state.known = Newest::of(head);
            if state.pending {
                return;
            }
            state.pending = true;
            state.written_at.map_or(Duration::ZERO, |at| WRITE_INTERVAL.saturating_sub(at.elapsed()))
        };
        let store = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // If it is gone, it was written when it was dropped.
            if let Some(store) = store.upgrade() {
                let _ = tokio::task::spawn_blocking(move || store.write()).await;
            }
        });
    }

    /// Writes what is known, unless the file has it or something newer.
    fn write(&self) {
        let known = {
            let mut state = self.lock();
            state.pending = false;
            if state.written.is_some_and(|written| written.block >= state.known.block) {
                return;
            }
            state.written_at = Some(Instant::now());
            state.known
        };
        match self.raise(known) {
            Ok(written) => {
                let mut state = self.lock();
                state.written = Some(written);
                // Another process may have verified something newer: what is asked from now on is newer too.
                if written.block > state.known.block {
                    state.known = written;
                }
            }
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "cannot keep the newest head"),
        }
    }

    /// Raises the file to `known`, and returns what it then holds.
    fn raise(&self, known: Newest) -> Result<Newest, ContextError> {
        let failed = |source| ContextError::Write { path: self.path.clone(), source };
        let lock = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.path.with_extension("lock"))
            .map_err(failed)?;
        lock.lock().map_err(failed)?;
        if let Some(there) = read(&self.path, self.ledger)?.filter(|there| there.block >= known.block) {
            return Ok(there);
        }
        let text = known.to_toml(self.ledger).map_err(|error| failed(std::io::Error::other(error)))?;
        files::replace(&self.path, text.as_bytes()).map_err(failed)?;
        Ok(known)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // INVARIANT: nothing panics while it is held, and each field is valid by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NewestStore {
    fn drop(&mut self) {
        self.write();
    }
}

fn read(path: &Path, ledger: LedgerId) -> Result<Option<Newest>, ContextError> {
    let text = match files::read_trusted(path) {
        Ok(text) => text,
        Err(ContextError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // A file that does not fit is an error, not a reason to begin anew: that would forget what was known.
    let newest = Newest::from_toml(&text, ledger)
        .map_err(|error| ContextError::Malformed { path: path.into(), reason: error.to_string() })?;
    Ok(Some(newest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chancery_ledger::command::{Name, PublicKey};
    use chancery_ledger::hash::Hash;
    use chancery_ledger::head::{Roster, RosterId, Voter, VoterSet};

    use super::*;

    fn trust() -> Trust {
        let voter = Voter { node: 1, name: Name::new("n").unwrap(), key: PublicKey([7; 32]) };
        let roster = Roster::new(vec![VoterSet::new(vec![voter], 1).unwrap()]).unwrap();
        Trust::new("o".into(), LedgerId(Hash::of(&[b"x"])), roster, 500)
    }

    fn newest(block: u64) -> Newest {
        Newest { block, roster: RosterId { block: 0, digest: Hash::ZERO } }
    }

    #[test]
    fn the_file_only_grows_whoever_writes() {
        let folder = tempfile::tempdir().unwrap();
        let writers: Vec<_> = (0..4).map(|_| NewestStore::open(folder.path(), &trust()).unwrap()).collect();
        std::thread::scope(|scope| {
            for (number, store) in (0..).zip(&writers) {
                scope.spawn(move || {
                    let mut last = 0;
                    for block in (1..=20).map(|step| step * 4 + number) {
                        let there = store.raise(newest(block)).unwrap().block;
                        assert!(there >= block && there >= last);
                        last = there;
                    }
                });
            }
        });
        assert_eq!(NewestStore::open(folder.path(), &trust()).unwrap().known().block, 83);
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn a_file_that_does_not_fit_is_an_error_and_not_a_new_beginning() {
        let folder = tempfile::tempdir().unwrap();
        NewestStore::open(folder.path(), &trust()).unwrap().raise(newest(9)).unwrap();
        let mut other = trust();
        other.ledger = LedgerId(Hash::of(&[b"y"]));
        assert!(matches!(NewestStore::open(folder.path(), &other), Err(ContextError::Malformed { .. })));
        std::fs::write(folder.path().join("newest.toml"), "block = 1").unwrap();
        assert!(matches!(NewestStore::open(folder.path(), &trust()), Err(ContextError::Malformed { .. })));
    }

    #[test]
    fn the_trust_files_minimum_counts_too() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(NewestStore::open(folder.path(), &trust().since(5)).unwrap().known().block, 5);
    }
}
