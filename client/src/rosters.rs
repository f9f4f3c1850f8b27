//! The rosters that were proven to this client: followed when an answer needs a newer one, kept across restarts.
//!
//! `rosters` in the context's folder holds the roster chain from genesis on, for whichever processes share the
//! context: who writes holds the lock on `rosters.lock` and keeps the longer chain. It is no secret and no
//! authority: it is verified when it is read, like any chain. That an *older* roster is refused is the doing of
//! `newest.toml`.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chancery_ledger::head::{
    ROSTER_CHAIN_SIZE_BYTES_MAX, RosterChain, RosterChainDecodeError, RosterId, RosterLink,
};
use chancery_ledger::trust::{Newest, RosterChainError, Trust, TrustError};
use chancery_proto::v1::api::RostersRequest;
use tokio::time::Instant;

use crate::Ledger;
use crate::context::ContextError;
use crate::endpoints::{Attempt, Failure, call};
use crate::files;
use crate::read::ReadError;

/// Room in a reply beside the chain, in bytes.
const REPLY_OVERHEAD_BYTES: usize = 16;

/// Why a node's roster chain is not believed.
#[derive(Debug, thiserror::Error)]
pub enum RostersError {
    /// It is not a roster chain.
    #[error(transparent)]
    Malformed(#[from] RosterChainDecodeError),
    /// It proves nothing.
    #[error(transparent)]
    Chain(#[from] RosterChainError),
    /// It proves other rosters than those that are known.
    #[error(transparent)]
    Forked(#[from] TrustError),
    /// It ends before the roster that the node itself named.
    #[error("the node does not show how roster {0} came about")]
    Missing(RosterId),
}

/// A verification that may need a newer roster than is known.
pub(crate) trait NeedsRoster {
    /// The roster, if that is why it failed.
    fn unknown_roster(&self) -> Option<RosterId>;
}

impl NeedsRoster for TrustError {
    fn unknown_roster(&self) -> Option<RosterId> {
        match self {
            Self::UnknownRoster(id) => Some(*id),
            _ => None,
        }
    }
}

/// What is proven, and its file.
#[derive(Debug)]
pub(crate) struct RosterStore {
    path: PathBuf,
    trust: Mutex<Arc<Trust>>,
}

impl RosterStore {
    /// What the folder's file proves beyond the genesis roster; `newest` was verified before.
    pub(crate) fn open(folder: &Path, trust: &Trust, newest: &Newest) -> Result<Self, ContextError> {
        let path = folder.join("rosters");
        let founded = trust.founding();
        let proven = read(&path, &founded)?.unwrap_or(founded);
        // Either file alone says what must not be rolled back.
        let minimum = later(later(trust.minimum_roster, newest.roster), proven.newest_roster());
        let trust = Arc::new(proven.since(trust.minimum_block).since_roster(minimum));
        Ok(Self { path, trust: Mutex::new(trust) })
    }

    /// Everything that is proven now.
    pub(crate) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.lock())
    }

    /// Believes what `chain` proves, which follows a roster that is known, and keeps it.
    pub(crate) fn extend(&self, base: &Trust, chain: &RosterChain) -> Result<Arc<Trust>, RostersError> {
        let extended = base.extend(chain)?;
        let joined = {
            let mut trust = self.lock();
            // Another call may have followed further meanwhile.
            let joined = trust.join(&extended)?;
            let minimum = later(joined.minimum_roster, joined.newest_roster());
            *trust = Arc::new(joined.since_roster(minimum));
            Arc::clone(&trust)
        };
        if let Err(error) = self.write(&joined) {
            // It is followed again after a restart.
            tracing::warn!(path = %self.path.display(), %error, "cannot keep the roster chain");
        }
        Ok(joined)
    }

    /// Replaces the file if it holds less.
    fn write(&self, trust: &Trust) -> Result<(), ContextError> {
        let failed = |source| ContextError::Write { path: self.path.clone(), source };
        let lock = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.path.with_extension("lock"))
            .map_err(failed)?;
        lock.lock().map_err(failed)?;
        let there = read(&self.path, &trust.founding())?;
        if there.is_some_and(|there| there.roster_chain().links.len() >= trust.roster_chain().links.len()) {
            return Ok(());
        }
        files::replace(&self.path, &trust.roster_chain().encode()).map_err(failed)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Trust>> {
        // INVARIANT: nothing panics while it is held, and what it guards is replaced whole.
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chain in the file, proven from the genesis roster of `founded`; none if there is no file. A file that
/// does not fit is an error: something is wrong with the folder.
fn read(path: &Path, founded: &Trust) -> Result<Option<Trust>, ContextError> {
    let bytes = match files::read_bytes(path, ROSTER_CHAIN_SIZE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(ContextError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let malformed = |reason: String| ContextError::Malformed { path: path.into(), reason };
    let chain = RosterChain::decode(&bytes).map_err(|error| malformed(error.to_string()))?;
    founded.extend(&chain).map(Some).map_err(|error| malformed(error.to_string()))
}

fn later(a: RosterId, b: RosterId) -> RosterId {
    if b.block > a.block { b } else { a }
}

impl Ledger {
    /// How the voters changed up to now, as the first node that answers proves it: the same as
    /// [`Ledger::trust`] from then on. The newest roster's id is what a change of the voters must name.
    ///
    /// # Errors
    /// No node gave a chain in time, or none that is proven.
    pub async fn rosters(&self) -> Result<Arc<Trust>, ReadError> {
        let mut tries = self.tries(Instant::now() + self.options().read_timeout);
        while let Some(attempt) = tries.next().await {
            match self.follow(&attempt, Instant::now() + attempt.time, None).await {
                Ok(trust) => {
                    tries.served(&attempt);
                    return Ok(trust);
                }
                Err(failure) => tries.failed(&attempt, failure),
            }
        }
        Err(ReadError::of(tries.into_failed()))
    }

    /// Runs `verify` on what one node answered; if that names a newer roster than is proven, asks the node how
    /// it came about, and runs `verify` once more.
    pub(crate) async fn verified<T, E: NeedsRoster>(
        &self,
        attempt: &Attempt<'_>,
        deadline: Instant,
        verify: impl Fn(&Trust) -> Result<T, E>,
    ) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        let trust = self.trust();
        let error = match verify(&trust) {
            Ok(verified) => return Ok(verified),
            Err(error) => error,
        };
        let newer = |id: &RosterId| id.block > trust.newest_roster().block;
        let Some(unknown) = error.unknown_roster().filter(newer) else { return Err(error.into()) };
        let trust = self.follow(attempt, deadline, Some(unknown)).await?;
        Ok(verify(&trust)?)
    }

    /// Follows the rosters that one node shows, until `wanted` is proven, or all that it has.
    async fn follow(
        &self,
        attempt: &Attempt<'_>,
        deadline: Instant,
        wanted: Option<RosterId>,
    ) -> Result<Arc<Trust>, Failure> {
        let mut client = attempt.endpoint.client(ROSTER_CHAIN_SIZE_BYTES_MAX + REPLY_OVERHEAD_BYTES);
        let mut trust = self.trust();
        // Ends: each turn proves a further roster, and there are boundedly many.
        loop {
            if wanted.is_some_and(|wanted| trust.roster(wanted).is_ok()) {
                return Ok(trust);
            }
            let time = deadline.saturating_duration_since(Instant::now());
            let since_block = trust.newest_roster().block;
            let reply = call(time, client.rosters(RostersRequest { since_block })).await?;
            let chain = RosterChain::decode(&reply.chain).map_err(RostersError::from)?;
            match (chain.links.last().map(RosterLink::id), wanted) {
                (Some(_), _) => {}
                (None, None) => return Ok(trust),
                (None, Some(wanted)) => return Err(RostersError::Missing(wanted).into()),
            }
            let (store, base) = (Arc::clone(self.roster_store()), trust);
            let extended = tokio::task::spawn_blocking(move || store.extend(&base, &chain)).await;
            trust = match extended {
                Ok(extended) => extended?,
                // The runtime is going down.
                Err(_) => return Err(Failure::TimedOut),
            };
        }
    }
}
