//! One node: the product's own logic, on a simulated disk, clock and network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::answer::{Answer, Nonce, decode_answer};
use chancery_ledger::decide::Request;
use chancery_node::checks::{CheckError, Checks};
use chancery_node::config::Tuning;
use chancery_node::fault::Fault;
use chancery_node::membership::{MembershipError, Memberships};
use chancery_node::raft::types::RaftNode;
use chancery_node::roster_proofs::ProvenRosters;
use chancery_node::sequencer::Submitted;
use chancery_node::store::{StoreOptions, open_node_stores_on};
use chancery_node::submit::Submissions;
use chancery_node::{Assembled, Foundation};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use turmoil::net::TcpListener;

use crate::clock::SimulatedClock;
use crate::disk::SimulatedDisk;
use crate::founding::{self, Ledger, NODES, node_key};
use crate::monitor::{Monitor, Probe};
use crate::network::{PORT, SimulatedTransport, accept, address, host};
use crate::tables::SimulatedTables;
use crate::trace;

/// Calls of clients that a node takes before it begins to drop them.
const CALLS_MAX: usize = 256;

/// What a client asks of a node.
pub(crate) enum Call {
    /// To put a command into the ledger.
    Submit { command: Vec<u8>, patience: Duration, reply: oneshot::Sender<Submitted> },
    /// Whether an agent may do something.
    Check {
        request: Box<Request>,
        nonce: Nonce,
        patience: Duration,
        reply: oneshot::Sender<Result<Answer, CheckError>>,
    },
    /// To have `node` replicate without a vote.
    AddLearner { node: u64, reply: oneshot::Sender<Result<(), MembershipError>> },
    /// The proofs of rosters after that of block `since`, encoded.
    Rosters { since: u64, patience: Duration, reply: oneshot::Sender<Vec<u8>> },
}

/// What outlives a node's processes.
pub(crate) struct Machine {
    pub(crate) node: u64,
    pub(crate) folder: PathBuf,
    /// The Raft log's.
    pub(crate) disk: SimulatedDisk,
    /// The applied store's.
    pub(crate) tables: SimulatedTables,
    pub(crate) clock: SimulatedClock,
    pub(crate) tuning: Tuning,
}

/// Runs one process of the node, until it stops by itself.
pub(crate) async fn run(machine: Rc<Machine>, ledger: Rc<Ledger>, monitor: Rc<Monitor>) -> turmoil::Result {
    let node = machine.node;
    let life = monitor.starts(node);
    let why = match live(&machine, &ledger, &monitor, life).await {
        Ok(fault) => fault,
        Err(error) => format!("it did not start: {error}"),
    };
    monitor.stopped(node, &why);
    Ok(())
}

async fn live(
    machine: &Machine,
    ledger: &Ledger,
    monitor: &Rc<Monitor>,
    life: u64,
) -> Result<String, Box<dyn std::error::Error>> {
    let node = machine.node;
    let options = StoreOptions::default();
    let disk = Arc::new(machine.disk.clone());
    let founding = Arc::clone(&ledger.founding);
    let stores = open_node_stores_on(disk, &machine.folder, node, founding, options).await?;
    let fault = Fault::default();
    let (_stop, stopped) = watch::channel(false);
    let voter = founding::voter(node);
    // A node that joins knows the founders; the others hear of it when it is added.
    let known: BTreeSet<u64> = NODES.into_iter().chain([node]).collect();
    let addresses: BTreeMap<u64, String> = known.into_iter().map(|node| (node, address(node))).collect();
    let foundation = Foundation {
        founding: Arc::clone(&ledger.founding),
        voter,
        key: node_key(node),
        addresses,
        tuning: machine.tuning.clone(),
        stores,
        clock: Arc::new(machine.clock.clone()),
        transport: Arc::new(SimulatedTransport { node }),
    };
    let assembled = foundation.assemble(&fault, &stopped).await?;
    let Assembled { raft, log, applied, submissions, checks, memberships, rosters, .. } = &assembled;
    let (calls, called) = mpsc::channel(CALLS_MAX);
    let desk = Desk {
        submissions: submissions.clone(),
        checks: checks.clone(),
        memberships: Arc::clone(memberships),
        rosters: rosters.clone(),
    };
    tokio::spawn(answer_clients(called, desk));
    monitor
        .serves(node, Probe { life, raft: raft.clone(), log: log.clone(), applied: applied.clone(), calls });
    trace::line(&format!("node {node} serves, life {life}"));

    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let (accepted, streams) = mpsc::channel(16);
    tokio::spawn(accept(listener, accepted));
    tokio::select! {
        biased;
        why = fault.tripped() => Ok(why),
        served = assembled.serve_peers(streams) => Ok(format!("the peer server ended: {served:?}")),
    }
}

/// Where clients are answered.
#[derive(Clone)]
struct Desk {
    submissions: Submissions,
    checks: Checks,
    memberships: Arc<Memberships>,
    rosters: ProvenRosters,
}

async fn answer_clients(mut calls: mpsc::Receiver<Call>, desk: Desk) {
    while let Some(call) = calls.recv().await {
        tokio::spawn(desk.clone().answer(call));
    }
}

impl Desk {
    /// A client that waits no longer is told nothing.
    async fn answer(self, call: Call) {
        match call {
            Call::Submit { command, patience, reply } => {
                let _ = reply.send(self.submissions.submit(&command, Instant::now() + patience).await);
            }
            Call::Check { request, nonce, patience, reply } => {
                let answer = self.checks.check(*request, nonce, Instant::now() + patience).await;
                let decoded = answer.and_then(|bytes| {
                    decode_answer(&bytes, usize::MAX).map_err(|error| CheckError::NoProof(error.to_string()))
                });
                let _ = reply.send(decoded);
            }
            Call::AddLearner { node, reply } => {
                let at = RaftNode { address: address(node), name: host(node) };
                let _ = reply.send(self.memberships.add_learner(node, at).await);
            }
            Call::Rosters { since, patience, reply } => {
                self.rosters.settle(Instant::now() + patience).await;
                let _ = reply.send(self.rosters.chain_since(since));
            }
        }
    }
}
