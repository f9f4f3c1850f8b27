//! A ledger, as one principal sees it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chancery_ledger::command::{GenerationId, PublicKey};
use chancery_ledger::trust::{Newest, Trust};
use ed25519_dalek::SigningKey;
use tokio::time::Instant;

use crate::check::CheckOptions;
use crate::clock::{Clock, SystemClock};
use crate::context::Context;
use crate::convictions::{Convicted, Convictions};
use crate::endpoints::{ConnectError, Endpoints, Tries};
use crate::newest::NewestStore;
use crate::rosters::RosterStore;
use crate::signing::Signing;

/// How a [`Ledger`] does what it does.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a check may take, all tries together.
    pub check_timeout: Duration,
    /// How long a command may take to be acknowledged, all tries together.
    pub submit_timeout: Duration,
    /// How long everything else may take.
    pub read_timeout: Duration,
    /// Whether checks under a nonce share one stream to each node: what proves a round comes once for all of them, and what
    /// came of the state before is kept (of each node at most some twenty MiB of memory), so that many cost less. If not, each is
    /// a call of its own.
    pub check_sessions: bool,
    /// Most tries of one call, over all endpoints.
    pub tries_max: usize,
    /// For how long a command may take effect, in milliseconds: at most 24 hours.
    pub command_lifetime_ms: u64,
    /// How long after its decision an execution may begin; at most what the ledger's genesis allows. The grants'
    /// own staleness counts if it is less.
    pub execute_within: Duration,
    /// Longest proof that is read, in bytes: at least what the ledger's genesis allows.
    pub proof_size_bytes_max: usize,
    /// The generation as which the agents run that are checked for: what they are made of. None while their
    /// lineages have none.
    pub generation: Option<GenerationId>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            check_timeout: Duration::from_secs(5),
            submit_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(5),
            check_sessions: true,
            tries_max: 24,
            command_lifetime_ms: 60_000,
            execute_within: Duration::from_secs(30),
            proof_size_bytes_max: 4 * 1024 * 1024,
            generation: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A connection to a ledger. Cloning it is cheap, and clones share connections. Dropping the last clone writes
/// the newest head that was verified, if it is not written yet: who connects to the same context afterwards
/// takes nothing older.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    endpoints: Endpoints,
    rosters: Arc<RosterStore>,
    key: Option<SigningKey>,
    /// Started when it is first needed.
    signing: OnceLock<Signing>,
    clock_skew_ms: u64,
    newest: Arc<NewestStore>,
    convictions: Convictions,
    options: Options,
}

impl std::fmt::Debug for Shared {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("ledger", &self.rosters.trust().ledger).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    /// What was verified outlives the last clone of the ledger: who connects to the context next, finds it.
    fn drop(&mut self) {
        self.newest.write();
    }
}

impl Ledger {
    /// Prepares to speak to the nodes of `context`. Connections are made when they are used, and kept.
    ///
    /// # Errors
    /// The context cannot be used: an endpoint, a certificate, or what was verified before.
    pub async fn connect(context: Context) -> Result<Self, ConnectError> {
        Self::connect_with(context, Options::default()).await
    }

    /// [`Ledger::connect`] with options.
    ///
    /// # Errors
    /// As [`Ledger::connect`].
    // Async because connections belong to the runtime that it is called on.
    pub async fn connect_with(context: Context, options: Options) -> Result<Self, ConnectError> {
        let endpoints = Endpoints::new(&context)?;
        let newest = Arc::new(NewestStore::open(&context.folder, &context.trust)?);
        let rosters = Arc::new(RosterStore::open(&context.folder, &context.trust, &newest.known())?);
        let convictions = Convictions::open(&context.folder, &rosters.trust());
        let Context { key, clock_skew_ms, .. } = context;
        let signing = OnceLock::new();
        let shared = Shared { endpoints, rosters, key, signing, clock_skew_ms, newest, convictions, options };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whom this client believes now: the context's trust, and every roster that was proven since.
    pub fn trust(&self) -> Arc<Trust> {
        self.shared.rosters.trust()
    }

    /// The newest block and roster that were verified, here or by who shares the context.
    pub fn newest_verified(&self) -> Newest {
        self.shared.newest.known()
    }

    /// The nodes that their own signatures convicted, to this client or to who shares the context. What needs
    /// the signature of one of them proves nothing any more: they have to be replaced.
    pub fn convicted(&self) -> Vec<Arc<Convicted>> {
        self.convictions().all()
    }

    /// The key that commands are signed with, if the context has one.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.key().map(|key| PublicKey(key.verifying_key().to_bytes()))
    }

    /// What [`Ledger::check`] does with: the timeout of the options, and no staleness but the grants' own.
    pub fn check_options(&self) -> CheckOptions {
        CheckOptions { timeout: self.options().check_timeout, staleness_ms_max: u64::MAX, fresh_within: None }
    }

    /// The options.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.shared.endpoints
    }

    pub(crate) fn tries(&self, deadline: Instant) -> Tries<'_> {
        self.endpoints().tries(deadline, self.options().tries_max)
    }

    pub(crate) fn key(&self) -> Option<&SigningKey> {
        self.shared.key.as_ref()
    }

    /// Where commands of `key`, the context's own, are signed together.
    pub(crate) fn signing(&self, key: &SigningKey) -> &Signing {
        self.shared.signing.get_or_init(|| Signing::start(self.trust(), key.clone()))
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.options().clock
    }

    pub(crate) fn clock_skew_ms(&self) -> u64 {
        self.shared.clock_skew_ms
    }

    pub(crate) fn roster_store(&self) -> &Arc<RosterStore> {
        &self.shared.rosters
    }

    pub(crate) fn newest(&self) -> &Arc<NewestStore> {
        &self.shared.newest
    }

    pub(crate) fn convictions(&self) -> &Convictions {
        &self.shared.convictions
    }

    pub(crate) fn proof_size_bytes_max(&self) -> usize {
        self.options().proof_size_bytes_max
    }
}
