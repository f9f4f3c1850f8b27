//! The newest head that this client verified: what is older is refused, also after a restart.
//!
//! `newest.toml` only ever grows, whichever processes share the context: who writes holds the lock on
//! `newest.lock`, reads what is there, and writes the greater. Writing is rate-limited, so that a crash can
//! forget at most the last second; a ledger that is dropped forgets nothing.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use chancery_ledger::command::LedgerId;
use chancery_ledger::head::Head;
use chancery_ledger::trust::{Newest, Trust};

use crate::context::ContextError;
use crate::files;

/// Least time between the end of a write and the beginning of the next.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// The newest that is known, and its file. Who owns it calls [`NewestStore::write`] before it goes.
#[derive(Debug)]
pub(crate) struct NewestStore {
    path: PathBuf,
    ledger: LedgerId,
    state: Mutex<Progress>,
    /// Held while the file is written, so that one write follows the other. Taken before `state`.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct Progress {
    known: Newest,
    /// What the file is known to hold.
    written: Option<Newest>,
    /// When the last write ended, whether it succeeded or not.
    written_at: Option<Instant>,
    /// A task sees to it that what is known is written.
    pending: bool,
}

impl Progress {
    /// How long after `now` to write; `None` if the file has what is known, or something newer.
    fn due_in(&self, now: Instant) -> Option<Duration> {
        if self.written.is_some_and(|written| written.block >= self.known.block) {
            return None;
        }
        let since = self.written_at.map(|at| now.saturating_duration_since(at));
        Some(since.map_or(Duration::ZERO, |since| WRITE_INTERVAL.saturating_sub(since)))
    }
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
        Ok(Self { path, ledger, state, writing: Mutex::new(()) })
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
            let Some(delay) = state.due_in(Instant::now()) else { return };
            state.pending = true;
            delay
        };
        tokio::spawn(keep(Arc::downgrade(self), delay));
    }

    /// Writes what is known, unless the file has it or something newer; waits for a write that is under way.
    /// Returns whether the file has it now.
    pub(crate) fn write(&self) -> bool {
        // INVARIANT: it guards no data that a panic could leave half changed.
        let _one_by_one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = {
            let state = self.lock();
            if state.due_in(Instant::now()).is_none() {
                return true;
            }
            state.known
        };
        let raised = self.raise(known);
        let mut state = self.lock();
        state.written_at = Some(Instant::now());
        match raised {
            Ok(written) => {
                state.written = Some(written);
                // Another process may have verified something newer: what is asked from now on is newer too.
                if written.block > state.known.block {
                    state.known = written;
                }
                true
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot keep the newest head");
                false
            }
        }
    }

    /// [`NewestStore::write`] by the task that sees to it; returns after how long it has to write again,
    /// because more was verified meanwhile. After a failure it is for the next head to try again.
    fn write_pending(&self) -> Option<Duration> {
        let written = self.write();
        let mut state = self.lock();
        let next = if written { state.due_in(Instant::now()) } else { None };
        state.pending = next.is_some();
        next
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

/// Writes what `store` knows after `delay`, and what it gets to know meanwhile, until there is nothing more.
async fn keep(store: Weak<NewestStore>, mut delay: Duration) {
    // Ends once nothing was verified since the last write; else a turn takes a second.
    loop {
        tokio::time::sleep(delay).await;
        // If it is gone, it was written before.
        let Some(store) = store.upgrade() else { return };
        match tokio::task::spawn_blocking(move || store.write_pending()).await {
            Ok(Some(next)) => delay = next,
            // The runtime is going down; who owns the store writes.
            Ok(None) | Err(_) => return,
        }
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
pub(crate) mod tests {
    use chancery_ledger::command::{Name, PublicKey};
    use chancery_ledger::hash::Hash;
    use chancery_ledger::head::{Roster, RosterId, Voter, VoterSet};

    use super::*;

    pub(crate) fn trust() -> Trust {
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

    async fn until(mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "it does not come about");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn head(block: u64) -> Head {
        Head {
            ledger: trust().ledger,
            block,
            roster: newest(block).roster,
            rules_version: 1,
            time_ms: 0,
            state_root: Hash::ZERO,
            log_size: block + 1,
            log_root: Hash::ZERO,
        }
    }

    #[test]
    fn the_next_write_is_due_a_second_after_the_last() {
        let ended = Instant::now();
        let mut state = Progress { known: newest(2), written: None, written_at: None, pending: false };
        assert_eq!(state.due_in(ended), Some(Duration::ZERO));
        state.written_at = Some(ended);
        assert_eq!(state.due_in(ended), Some(WRITE_INTERVAL));
        assert_eq!(state.due_in(ended + Duration::from_millis(400)), Some(Duration::from_millis(600)));
        assert_eq!(state.due_in(ended + Duration::from_secs(9)), Some(Duration::ZERO));
        state.written = Some(newest(2));
        assert_eq!(state.due_in(ended + Duration::from_secs(9)), None);
    }

    #[tokio::test]
    async fn writes_follow_each_other_a_second_apart_while_heads_flow() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(NewestStore::open(folder.path(), &trust()).unwrap());
        let (mut ends, mut block) = (Vec::new(), 0);
        until(|| {
            block += 1;
            store.note(&head(block));
            ends.extend(store.lock().written_at.filter(|end| ends.last() != Some(end)));
            ends.len() == 3
        })
        .await;
        assert!(ends.windows(2).all(|pair| pair[1] - pair[0] >= WRITE_INTERVAL), "{ends:?}");
        // The last head is written too, though none follows.
        until(|| !store.lock().pending).await;
        assert_eq!(read(&store.path, store.ledger).unwrap(), Some(newest(block)));
    }

    #[tokio::test]
    async fn a_write_that_failed_is_tried_again_with_the_next_head() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(NewestStore::open(folder.path(), &trust()).unwrap());
        // A folder in the place of the lock.
        std::fs::create_dir(folder.path().join("newest.lock")).unwrap();
        store.note(&head(1));
        until(|| !store.lock().pending).await;
        assert_eq!(read(&store.path, store.ledger).unwrap(), None);
        std::fs::remove_dir(folder.path().join("newest.lock")).unwrap();
        store.note(&head(2));
        until(|| !store.lock().pending).await;
        assert_eq!(read(&store.path, store.ledger).unwrap(), Some(newest(2)));
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
