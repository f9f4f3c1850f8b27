//! One node, from its configuration to its end.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::authority::ledger_record;
use chancery_ledger::command::{Limits, Name, PublicKey};
use chancery_ledger::hash::from_hex;
use chancery_ledger::head::{Roster, Voter};
use chancery_ledger::state::Recording;
use ed25519_dalek::SigningKey;
use openraft::async_runtime::WatchReceiver as _;
use openraft::{Config, SnapshotPolicy};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::api::{ApiServer, LedgerService};
use crate::checks::{Checks, Rounds};
use crate::clock::{Clock, ClockWatch, SystemClock, compare_clocks};
use crate::config::{ConfigError, NodeConfig, Tuning, read};
use crate::fault::Fault;
use crate::heads::{HeadQuorums, SnapshotHeads};
use crate::membership::Memberships;
use crate::membership_upkeep::{Admission, dismiss_removed, follow_membership};
use crate::network::{
    self, LinkOptions, PeerServer, PeerStream, PeerTls, Peers, ServerOptions, TlsError, Transport,
    server_from_pem,
};
use crate::peer_calls::PeerCalls;
use crate::raft::Raft;
use crate::raft::snapshot_transfer::SnapshotTransfer;
use crate::raft::state_machine::StateMachine;
use crate::raft::types::{NodeId, RaftNode};
use crate::recovery::watch_recovery;
use crate::roster_proofs::{ProvenRosters, hear_of_missed, prove_applied};
use crate::sabotage;
use crate::sequencer::{Sequencer, Workshop};
use crate::signer::Signer;
use crate::status::StatusReport;
use crate::store::applied::{AppliedOptions, AppliedStore, Founding, FoundingError};
use crate::store::snapshot::HeadQuorumSource;
use crate::store::{NodeStores, RaftLog, RaftLogOptions, StartError, StoreOptions, open_node_stores};
use crate::submit::Submissions;

/// How long a leader that shuts down waits for another to take over.
const HANDOVER_MAX: Duration = Duration::from_secs(2);

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
/// over first.
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

/// What a node is made of: who it is, and what stands between its logic and the machine.
pub struct Foundation {
    /// The ledger.
    pub founding: Arc<Founding>,
    /// Which voter it is.
    pub voter: Voter,
    /// The voter's key.
    pub key: SigningKey,
    /// Where each node, this one included, is reached by the others.
    pub addresses: BTreeMap<u64, String>,
    /// Its timing and bounds.
    pub tuning: Tuning,
    /// The disk.
    pub stores: NodeStores,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The network.
    pub transport: Arc<dyn Transport>,
}

/// A node that runs, and is to be served to its peers and to clients.
pub struct Assembled {
    /// Its Raft.
    pub raft: Raft,
    /// Its Raft log.
    pub log: RaftLog,
    /// What it has applied.
    pub applied: AppliedStore,
    /// Takes commands.
    pub submissions: Submissions,
    /// Answers checks.
    pub checks: Checks,
    status: Arc<StatusReport>,
    memberships: Arc<Memberships>,
    rosters: ProvenRosters,
    peer_server: PeerServer<StateMachine, PeerCalls, SnapshotTransfer>,
}

impl Assembled {
    /// Serves peers whom the transport identified, until there are no more.
    pub async fn serve_peers(
        self,
        streams: mpsc::Receiver<(NodeId, PeerStream)>,
    ) -> Result<(), network::ServeError> {
        self.peer_server.serve_streams(streams).await
    }
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
            raft, applied, submissions, checks, status, memberships, rosters, peer_server, ..
        } = assembled;
        let request_timeout = Duration::from_millis(tuning.request_timeout_ms);
        let api = ApiServer {
            service: LedgerService::new(
                applied,
                submissions,
                checks,
                status,
                Arc::clone(&memberships),
                rosters,
                request_timeout,
            ),
            tls: client_tls,
            connections_max: tuning.client_connections_max,
        };
        let (peer_fault, api_fault) = (fault.clone(), fault.clone());
        let (peer_stop, api_stop) = (until_stopped(stopped.clone()), until_stopped(stopped));
        let servers = vec![
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
        ];
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

impl Foundation {
    /// Starts the node on what it is made of.
    pub async fn assemble(
        self,
        fault: &Fault,
        stopped: &watch::Receiver<bool>,
    ) -> Result<Assembled, ServeError> {
        let Self { founding, voter, key, addresses, tuning, stores, clock, transport } = self;
        fault.watch_stores(&stores);
        let limits = limits(&stores)?;
        let peers = Peers::over(transport, LinkOptions::default());
        for (peer, address) in addresses.iter().filter(|(peer, _)| **peer != voter.node) {
            peers.configure(*peer, address);
        }

        let node = voter.node;
        let clocks =
            Arc::new(ClockWatch::new(clock, node, stores.applied.watch_rosters(), limits.clock_skew_ms_max));
        tokio::spawn(compare_clocks(peers.clone(), Arc::clone(&clocks), stopped.clone()));

        let tail_at_start = stores.log.read_tail_with(|tail| tail.log_id.map_or(0, |id| id.index));
        let tail_at_start = tail_at_start.map_err(|error| ServeError::Raft(error.to_string()))?;
        let snapshot_heads = Arc::new(SnapshotHeads::default());
        let transfer = SnapshotTransfer::new(stores.snapshots.clone());
        let machine = StateMachine::new(&stores, Arc::clone(&snapshot_heads) as Arc<dyn HeadQuorumSource>);
        let raft = Raft::new(
            node,
            Arc::new(raft_config(&tuning, &founding.ledger().to_string())?),
            peers.raft_network(transfer.clone()),
            stores.log.clone(),
            machine,
        )
        .await
        .map_err(|error| ServeError::Raft(error.to_string()))?;
        initialize(&raft, node, &addresses, founding.roster()).await?;

        let NodeStores { log, applied, snapshots } = stores;
        let recovered =
            watch_recovery(raft.clone(), log.clone(), applied.clone(), tail_at_start, fault.clone());
        let rosters = ProvenRosters::new(applied.clone());
        let signer = Arc::new(Signer::new(
            voter,
            key,
            log.clone(),
            applied.clone(),
            rosters.clone(),
            Arc::clone(&clocks),
            recovered,
        ));
        let heads =
            Arc::new(HeadQuorums::new(Arc::clone(&signer), peers.clone(), applied.clone(), fault.clone()));
        snapshot_heads.set(Arc::clone(&heads));
        let memberships = Arc::new(Memberships::new(node, raft.clone(), applied.clone()));
        tokio::spawn(follow_membership(raft.clone(), peers.clone(), rosters.clone(), node, stopped.clone()));
        tokio::spawn(dismiss_removed(
            Arc::clone(&memberships),
            applied.clone(),
            raft.clone(),
            stopped.clone(),
        ));
        tokio::spawn(prove_applied(
            applied.clone(),
            Arc::clone(&heads),
            peers.clone(),
            fault.clone(),
            stopped.clone(),
        ));
        tokio::spawn(hear_of_missed(rosters.clone(), peers.clone(), stopped.clone()));
        let request_timeout = Duration::from_millis(tuning.request_timeout_ms);
        let sequencer = Sequencer::start(Workshop {
            raft: raft.clone(),
            log: log.clone(),
            store: applied.clone(),
            signer: Arc::clone(&signer),
            memberships: Arc::clone(&memberships),
            heads: Arc::clone(&heads),
            clocks: Arc::clone(&clocks),
            timeout: request_timeout,
        });
        let submissions = Submissions::new(founding.ledger(), node, raft.clone(), peers.clone(), sequencer);
        let checks = Checks::start(Rounds {
            signer: Arc::clone(&signer),
            peers: peers.clone(),
            heads,
            store: applied.clone(),
            timeout: request_timeout,
            proof_size_bytes_max: limits.proof_size_bytes_max as usize,
            clock: Arc::clone(clocks.clock()),
        });
        let status = Arc::new(StatusReport {
            raft: raft.clone(),
            log: log.clone(),
            store: applied.clone(),
            signer: Arc::clone(&signer),
            clocks: Arc::clone(&clocks),
            peers,
            snapshots,
        });
        let peer_server = PeerServer {
            raft: raft.clone(),
            handler: Arc::new(PeerCalls {
                signer,
                log: log.clone(),
                clocks,
                rosters: rosters.clone(),
                submissions: submissions.clone(),
                timeout: request_timeout,
            }),
            sink: Arc::new(transfer),
            roster: Arc::new(Admission {
                raft: raft.clone(),
                rosters: rosters.clone(),
                configured: addresses.keys().copied().collect(),
            }),
            options: ServerOptions::default(),
        };
        fault.watch_raft(&raft, stopped.clone());
        Ok(Assembled { raft, log, applied, submissions, checks, status, memberships, rosters, peer_server })
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
    let malformed = || ServeError::File { what: "node key", reason: "it is not 64 hex digits".into() };
    let text = String::from_utf8(read(&config.key)?).map_err(|_| malformed())?;
    let mut seed = [0; 32];
    from_hex(text.trim_end(), &mut seed).ok_or_else(malformed)?;
    let key = SigningKey::from_bytes(&seed);
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

fn limits(stores: &NodeStores) -> Result<Limits, ServeError> {
    let view = stores.applied.view();
    let root = view.read_state(|state| state.summary().root);
    let record = ledger_record(&Recording::new(&view, root));
    Ok(record.map_err(|error| ServeError::State(error.to_string()))?.limits)
}

fn raft_config(tuning: &Tuning, ledger: &str) -> Result<Config, ServeError> {
    let (election_timeout_min, election_timeout_max) = tuning.election_timeout_ms;
    let config = Config {
        cluster_name: ledger.to_owned(),
        heartbeat_interval: tuning.heartbeat_ms,
        election_timeout_min,
        election_timeout_max,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(tuning.snapshot_every_entries),
        max_in_snapshot_log_to_keep: tuning.keep_log_entries,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate().map_err(|error| ServeError::Raft(error.to_string()))
}

/// The first membership is the genesis roster; every node of it writes the same, so none waits for another.
/// A node that is not in it waits to be added.
async fn initialize(
    raft: &Raft,
    node: NodeId,
    addresses: &BTreeMap<u64, String>,
    genesis: &Roster,
) -> Result<(), ServeError> {
    let failed = |error: &dyn std::fmt::Display| ServeError::Raft(error.to_string());
    if genesis.voter(node).is_none() || raft.is_initialized().await.map_err(|error| failed(&error))? {
        return Ok(());
    }
    let mut members = BTreeMap::new();
    for voter in genesis.voters() {
        let address = addresses.get(&voter.node).cloned().ok_or_else(|| ServeError::File {
            what: "node.toml",
            reason: format!("voter {} of the genesis roster is not among the peers", voter.node),
        })?;
        members.insert(voter.node, RaftNode { address, name: voter.name.to_string() });
    }
    raft.initialize(members).await.map_err(|error| failed(&error))
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
