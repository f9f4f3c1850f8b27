//! One node, from its configuration to its end.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::command::{Name, PublicKey};
use chancery_ledger::hash::from_hex;
use chancery_ledger::head::{Roster, Voter};
use ed25519_dalek::SigningKey;
use openraft::async_runtime::WatchReceiver as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::{ApiServer, LedgerService, ServiceBounds};
use crate::assembly::{Assembled, Foundation};
use crate::clock::{Clock, SystemClock};
use crate::config::{ConfigError, NodeConfig, Tuning, read};
use crate::fault::Fault;
use crate::membership::Memberships;
use crate::network::{PeerTls, TlsError, server_from_pem};
use crate::raft::Raft;
use crate::sabotage;
use crate::store::applied::{AppliedOptions, Founding, FoundingError};
use crate::store::{RaftLogOptions, StartError, StoreOptions, open_node_stores};
use crate::tile_log::{Checkpoints, TileServer, Witnesses};

/// How long a leader that shuts down waits for another to take over.
const HANDOVER_MAX: Duration = Duration::from_secs(5);

/// Why a node does not start, or why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration, or a file that it names.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that it names holds something else than it should.
    #[error("{what}: {reason}")]
    File {
        /// What the file should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The genesis block.
    #[error("genesis: {0}")]
    Founding(#[from] FoundingError),
    /// This node has another key than the genesis roster says.
    #[error("node {node} has key {key}, which is not its key in the genesis roster")]
    OtherKey {
        /// Its id.
        node: u64,
        /// Its key.
        key: PublicKey,
    },
    /// The stores do not fit together, or cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The ledger's record cannot be read.
    #[error("state: {0}")]
    State(String),
    /// Certificates and keys.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// A port cannot be listened on.
    #[error("listen on {address}: {source}")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Raft does not start.
    #[error("raft: {0}")]
    Raft(String),
    /// Something went wrong that the node must not go on with.
    #[error("stopped by a fault: {0}")]
    Fault(String),
}

/// Runs the node of `config` until `shutdown`, or until a fault that it must not go on with. A leader hands
/// over first. It serves nobody any more when this returns, but its stores are closed, and its folder is free,
/// only once the runtime has ended: see [`RuntimeEnd`](crate::RuntimeEnd).
pub async fn serve(
    config: NodeConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    #[cfg(feature = "failpoints")]
    crate::injected_failpoints::follow_file();
    let fault = Fault::default();
    let (stop, stopped) = watch::channel(false);
    let node = Node::start(config, &fault, stopped).await?;
    let end = tokio::select! {
        () = shutdown => Ok(()),
        why = fault.tripped() => Err(ServeError::Fault(why)),
    };
    if end.is_ok() {
        node.hand_over().await;
    }
    let _ = stop.send(true);
    node.stop().await;
    end
}

struct Node {
    id: u64,
    raft: Raft,
    memberships: Arc<Memberships>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

impl Node {
    async fn start(
        config: NodeConfig,
        fault: &Fault,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, ServeError> {
        let founding = Arc::new(Founding::decode(&read(&config.genesis)?)?);
        let (voter, key) = identity(&config, founding.roster())?;
        sabotage::arm(&voter, &key);
        let (tuning, ledger) = (config.tuning.clone(), founding.ledger());
        let peer_listener = listen(config.peer_listen).await?;
        let client_listener = listen(config.client_listen).await?;
        let stores =
            open_node_stores(&config.data, config.node, Arc::clone(&founding), options(&tuning)).await?;
        let chain = read(&config.tls.certificate)?;
        let tls_key = read(&config.tls.key)?;
        let tls = PeerTls::from_pem(config.node, &read(&config.tls.node_ca)?, &chain, &tls_key)?;
        let client_tls = server_from_pem(&read(&config.tls.client_ca)?, &chain, &tls_key)?;
        let foundation = Foundation {
            founding,
            voter,
            key,
            addresses: config.peers.iter().map(|peer| (peer.node, peer.address.clone())).collect(),
            tuning: tuning.clone(),
            stores,
            clock: clock(),
            transport: Arc::new(tls.clone()),
        };
        let assembled = foundation.assemble(fault, &stopped).await?;
        let Assembled {
            raft,
            applied,
            submissions,
            checks,
            status,
            memberships,
            rosters,
            signer,
            peers,
            peer_server,
            ..
        } = assembled;
        let mut servers = Vec::new();
        if let Some(tiles_config) = config.tiles.clone() {
            let listener = listen(tiles_config.listen).await?;
            let log_key = signing_key("log key", &tiles_config.log_key)?;
            let (publish, published) = watch::channel(None);
            let checkpoints = Checkpoints { log_key, signer, peers, store: applied.clone() };
            let witnesses = tiles_config.witnesses.as_ref().map(Witnesses::configured).transpose()?;
            let witnessed = witnesses.map(|witnesses| {
                status.witnesses.get_or_init(|| witnesses.book());
                let (witness, witnessed) = watch::channel(None);
                tokio::spawn(witnesses.run(applied.clone(), publish.clone(), witness, stopped.clone()));
                witnessed
            });
            tokio::spawn(checkpoints.run(publish, stopped.clone()));
            let tiles = TileServer { store: applied.clone(), published, witnessed };
            let stop = until_stopped(stopped.clone());
            servers.push(tokio::spawn(async move { tiles.serve(&tiles_config, listener, stop).await }));
        }
        let request_timeout = Duration::from_millis(tuning.request_timeout_ms);
        let api = ApiServer {
            service: LedgerService::new(
                applied,
                submissions,
                checks,
                status,
                Arc::clone(&memberships),
                rosters,
                ServiceBounds {
                    call: request_timeout,
                    watch: Duration::from_millis(tuning.watch_patience_ms),
                },
            ),
            tls: client_tls,
            connections_max: tuning.client_connections_max,
        };
        let (peer_fault, api_fault) = (fault.clone(), fault.clone());
        let (peer_stop, api_stop) = (until_stopped(stopped.clone()), until_stopped(stopped));
        servers.extend([
            tokio::spawn(async move {
                if let Err(error) = peer_server.serve(tls, peer_listener, peer_stop).await {
                    peer_fault.trip(&error);
                }
            }),
            tokio::spawn(async move {
                if let Err(error) = api.serve(client_listener, api_stop).await {
                    api_fault.trip(&error);
                }
            }),
        ]);
        tracing::info!(
            node = config.node,
            ledger = %ledger,
            peers = %config.peer_listen,
            clients = %config.client_listen,
            "serving"
        );
        Ok(Self { id: config.node, raft, memberships, servers })
    }
}

impl Node {
    /// A leader that goes lets another lead first, so that nobody waits for an election.
    async fn hand_over(&self) {
        if !self.raft.is_leader() {
            return;
        }
        let next = self.memberships.successor();
        let Some(next) = next else { return };
        if self.raft.trigger().transfer_leader(next).await.is_err() {
            return;
        }
        let mut metrics = self.raft.server_metrics();
        let handed_over = async {
            while metrics.borrow_and_update().current_leader == Some(self.id) {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
            // What this node proposed last is settled by its successor's entries: whoever waits for it is
            // answered only if the peer port takes these first.
            let mut data = self.raft.data_metrics();
            let tail = data.borrow_watched().last_log.as_ref().map(|id| id.index);
            while data.borrow_and_update().last_applied.as_ref().map(|id| id.index) < tail {
                if data.changed().await.is_err() {
                    return;
                }
            }
        };
        if timeout(HANDOVER_MAX, handed_over).await.is_err() {
            tracing::warn!(to = next, "the handover was not finished in time");
        }
    }

    async fn stop(self) {
        for server in self.servers {
            // Each server bounds its own end.
            let _ = server.await;
        }
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not end well");
        }
    }
}

/// This node as the voter that it is, or is to become, and its key.
fn identity(config: &NodeConfig, genesis: &Roster) -> Result<(Voter, SigningKey), ServeError> {
    let key = signing_key("node key", &config.key)?;
    let public = PublicKey(key.verifying_key().to_bytes());
    let node = config.node;
    if let Some(voter) = genesis.voter(node) {
        return if voter.key == public {
            Ok((voter.clone(), key))
        } else {
            Err(ServeError::OtherKey { node, key: public })
        };
    }
    let unnamed = |reason: String| ServeError::File { what: "node.toml", reason };
    let name = config.name.clone().ok_or_else(|| {
        unnamed(format!("node {node} is not in the genesis roster, so its `name` must stand here"))
    })?;
    let name = Name::new(name).map_err(|error| unnamed(format!("name {error}")))?;
    Ok((Voter { node, name, key: public }, key))
}

/// The key whose seed is in a file.
fn signing_key(what: &'static str, path: &Path) -> Result<SigningKey, ServeError> {
    let malformed = || ServeError::File { what, reason: "it is not 64 hex digits".into() };
    let text = String::from_utf8(read(path)?).map_err(|_| malformed())?;
    let mut seed = [0; 32];
    from_hex(text.trim_end(), &mut seed).ok_or_else(malformed)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The machine's clocks; in a build for fault tests, as wrong as a file says.
fn clock() -> Arc<dyn Clock> {
    #[cfg(feature = "failpoints")]
    if let Some(clock) = crate::injected_clock::InjectedClock::from_environment() {
        return Arc::new(clock);
    }
    Arc::new(SystemClock::default())
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

fn options(tuning: &Tuning) -> StoreOptions {
    let cached_bytes_max = usize::try_from(tuning.node_cache_size_bytes).unwrap_or(usize::MAX);
    StoreOptions {
        log: RaftLogOptions::default(),
        applied: AppliedOptions { cached_bytes_max, history_blocks: tuning.history_blocks },
    }
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
