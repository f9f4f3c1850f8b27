//! A node put together on a disk, a clock and a network, which may be the machine's or a simulator's.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chancery_ledger::authority::ledger_record;
use chancery_ledger::command::Limits;
use chancery_ledger::command::VerifiedSignatures;
use chancery_ledger::head::{Roster, Voter};
use chancery_ledger::state::Recording;
use ed25519_dalek::SigningKey;
use openraft::{Config, SnapshotPolicy};
use tokio::sync::{mpsc, watch};

use crate::checks::{Checks, Hints, Rounds};
use crate::clock::{Clock, ClockWatch, compare_clocks};
use crate::config::Tuning;
use crate::fault::Fault;
use crate::heads::{HeadQuorums, SnapshotHeads};
use crate::membership::Memberships;
use crate::membership_upkeep::{Admission, dismiss_removed, follow_membership};
use crate::network::{self, LinkOptions, PeerServer, PeerStream, Peers, ServerOptions, Transport};
use crate::peer_calls::PeerCalls;
use crate::quickest::Quickest;
use crate::raft::Raft;
use crate::raft::snapshot_transfer::SnapshotTransfer;
use crate::raft::state_machine::StateMachine;
use crate::raft::types::{NodeId, RaftNode};
use crate::recovery::watch_recovery;
use crate::roster_proofs::{ProvenRosters, hear_of_missed, prove_applied};
use crate::sequencer::{Sequencer, Workshop};
use crate::serve::ServeError;
use crate::signer::Signer;
use crate::status::StatusReport;
use crate::store::applied::{AppliedStore, Founding};
use crate::store::snapshot::HeadQuorumSource;
use crate::store::{NodeStores, RaftLog};
use crate::submit::Submissions;

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
    /// Changes who replicates, while it leads.
    pub memberships: Arc<Memberships>,
    /// Proves to clients who votes.
    pub rosters: ProvenRosters,
    pub(crate) signer: Arc<Signer>,
    pub(crate) peers: Peers,
    pub(crate) status: Arc<StatusReport>,
    pub(crate) peer_server: PeerServer<StateMachine, PeerCalls, SnapshotTransfer>,
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
        let submissions = Submissions::new(
            founding.ledger(),
            node,
            raft.clone(),
            peers.clone(),
            sequencer,
            Arc::clone(applied.signatures()),
        );
        let checks = Checks::start(Rounds {
            signer: Arc::clone(&signer),
            peers: peers.clone(),
            heads,
            store: applied.clone(),
            timeout: request_timeout,
            proof_size_bytes_max: limits.proof_size_bytes_max as usize,
            clock: Arc::clone(clocks.clock()),
            keys: VerifiedSignatures::default(),
            quickest: Quickest::default(),
            hints: Hints::default(),
        });
        let status = Arc::new(StatusReport {
            raft: raft.clone(),
            log: log.clone(),
            store: applied.clone(),
            signer: Arc::clone(&signer),
            clocks: Arc::clone(&clocks),
            peers: peers.clone(),
            snapshots,
            witnesses: OnceLock::new(),
        });
        let peer_server = PeerServer {
            raft: raft.clone(),
            handler: Arc::new(PeerCalls {
                signer: Arc::clone(&signer),
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
        Ok(Assembled {
            raft,
            log,
            applied,
            submissions,
            checks,
            memberships,
            rosters,
            signer,
            peers,
            status,
            peer_server,
        })
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
