//! What nodes stated to this client, held against what they stated before: a node that contradicts itself is
//! convicted, and counts no more.
//!
//! Every statement whose signature holds is taken down, whatever became of the answer that it came with: a
//! stale answer is convicted only against another one. The proof goes into the context's folder, one file for
//! each node, as `contradiction-node-N.json`; `chancery verify` reads it, and so does the next process that
//! uses the context.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chancery_ledger::evidence::{Contradiction, Conviction, StatementBook};
use chancery_ledger::head::Statement;
use chancery_ledger::trust::Trust;

use crate::files;

/// Statements of each node that are kept, in each order.
const KEPT_MAX: usize = 256;

/// Most files that are read from a context's folder.
const FILES_MAX: usize = 128;

const FILE_PREFIX: &str = "contradiction-node-";
const FILE_SUFFIX: &str = ".json";

/// A node that its own signatures convicted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Convicted {
    /// Which, and of what.
    pub conviction: Conviction,
    /// The signatures, which prove it to anybody.
    pub contradiction: Contradiction,
    /// Where they are kept; `None` if they could not be written.
    pub file: Option<PathBuf>,
}

impl std::fmt::Display for Convicted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.conviction)?;
        match &self.file {
            Some(file) => write!(f, "; the proof is in {}", file.display()),
            None => write!(f, "; the proof could not be written"),
        }
    }
}

/// The book, and whom it convicted.
#[derive(Debug)]
pub(crate) struct Convictions {
    folder: PathBuf,
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    book: StatementBook,
    /// What was taken down last: all answers of a round come with the same.
    last: Vec<Statement>,
    convicted: BTreeMap<u64, Arc<Convicted>>,
}

impl Convictions {
    /// Whom files in the folder convict already. One that convicts nobody is passed over: it proves nothing.
    pub(crate) fn open(folder: &Path, trust: &Trust) -> Self {
        let mut convicted = BTreeMap::new();
        for path in kept_files(folder) {
            match read(&path, trust) {
                Ok(one) => {
                    convicted.entry(one.conviction.voter.node).or_insert_with(|| Arc::new(one));
                }
                Err(error) => tracing::warn!(file = %path.display(), error, "it convicts nobody"),
            }
        }
        let heard = Mutex::new(Heard { book: StatementBook::new(KEPT_MAX), last: Vec::new(), convicted });
        Self { folder: folder.into(), heard }
    }

    /// Takes down those of `statements` that their nodes signed, and returns the first node that is newly
    /// convicted by one of them. `verified` says that all the signatures were verified already.
    pub(crate) async fn hear(
        &self,
        trust: &Trust,
        statements: Vec<Statement>,
        verified: bool,
    ) -> Option<Arc<Convicted>> {
        if verified && self.lock().last == statements {
            return None;
        }
        let mut first = None;
        for convicted in self.take_down(trust, &statements, verified) {
            let kept = self.keep(convicted).await;
            first = first.or(Some(kept));
        }
        if verified {
            self.lock().last = statements;
        }
        first
    }

    /// Whom `statements` convict that was not before.
    fn take_down(&self, trust: &Trust, statements: &[Statement], verified: bool) -> Vec<Arc<Convicted>> {
        let by_their_nodes = |statement: &&Statement| {
            verified || trust.voter(statement.node).is_some_and(|voter| statement.verify(voter).is_ok())
        };
        let signed = statements.iter().filter(by_their_nodes);
        signed.filter_map(|statement| self.lock().note(trust, statement)).collect()
    }

    /// A convicted one of `nodes` without which the others are no quorum.
    pub(crate) fn needed(
        &self,
        has_quorum: impl FnOnce(&BTreeSet<u64>) -> bool,
        nodes: impl IntoIterator<Item = u64>,
    ) -> Option<Arc<Convicted>> {
        let heard = self.lock();
        if heard.convicted.is_empty() {
            return None;
        }
        let (bad, good): (Vec<_>, Vec<_>) =
            nodes.into_iter().partition(|node| heard.convicted.contains_key(node));
        if has_quorum(&good.into_iter().collect()) {
            return None;
        }
        bad.first().and_then(|node| heard.convicted.get(node)).cloned()
    }

    /// Everybody who is convicted, by node.
    pub(crate) fn all(&self) -> Vec<Arc<Convicted>> {
        self.lock().convicted.values().cloned().collect()
    }

    /// Writes the proof into the folder.
    async fn keep(&self, convicted: Arc<Convicted>) -> Arc<Convicted> {
        let node = convicted.conviction.voter.node;
        let (file, text) = (path(&self.folder, node), convicted.contradiction.to_json());
        let written = {
            let file = file.clone();
            tokio::task::spawn_blocking(move || files::replace(&file, text.as_bytes())).await
        };
        let error = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let kept = Convicted { file: error.is_none().then_some(file), ..(*convicted).clone() };
        tracing::error!(convicted = %kept, error, "a node contradicts itself");
        let kept = Arc::new(kept);
        self.lock().convicted.insert(node, Arc::clone(&kept));
        kept
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        // INVARIANT: nothing panics while it is held, and each field is valid by itself.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// Takes `statement` down. Whom it convicts is convicted from here on, once.
    fn note(&mut self, trust: &Trust, statement: &Statement) -> Option<Arc<Convicted>> {
        let contradiction = self.book.note(trust, statement)?;
        // INVARIANT: what the book finds among verified statements verifies; but nobody is convicted without.
        let conviction = contradiction.verify(trust).ok()?;
        let Entry::Vacant(place) = self.convicted.entry(conviction.voter.node) else { return None };
        let convicted = Convicted { conviction, contradiction, file: None };
        Some(Arc::clone(place.insert(Arc::new(convicted))))
    }
}

/// The files that processes with this context wrote: at most one for each node.
fn kept_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(FILE_PREFIX) && name.ends_with(FILE_SUFFIX))
    };
    paths.filter(named).take(FILES_MAX).collect()
}

fn read(path: &Path, trust: &Trust) -> Result<Convicted, String> {
    let text = files::read_trusted(path).map_err(|error| error.to_string())?;
    let contradiction = Contradiction::from_json(text.as_bytes()).map_err(|error| error.to_string())?;
    let conviction = contradiction.verify(trust).map_err(|error| error.to_string())?;
    Ok(Convicted { conviction, contradiction, file: Some(path.into()) })
}

fn path(folder: &Path, node: u64) -> PathBuf {
    folder.join(format!("{FILE_PREFIX}{node}{FILE_SUFFIX}"))
}
