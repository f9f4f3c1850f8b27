//! One node: the product's own logic, on a simulated disk, clock and network.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::answer::{Answer, Nonce};
use chancery_ledger::decide::Request;
use chancery_node::checks::{CheckError, Checks};
use chancery_node::config::Tuning;
use chancery_node::fault::Fault;
use chancery_node::sequencer::Submitted;
use chancery_node::store::{StoreOptions, open_node_stores_on};
use chancery_node::submit::Submissions;
use chancery_node::{Assembled, Foundation};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use turmoil::net::TcpListener;

use crate::clock::SimulatedClock;
use crate::disk::SimulatedDisk;
use crate::founding::{Ledger, NODES, node_key};
use crate::monitor::{Monitor, Probe};
use crate::network::{PORT, SimulatedTransport, accept, host};
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
    let voter = ledger.founding.roster().voter(node).ok_or("no such voter")?.clone();
    let addresses: BTreeMap<u64, String> =
        NODES.iter().map(|node| (*node, format!("{}:{PORT}", host(*node)))).collect();
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
    let Assembled { raft, log, applied, submissions, checks, .. } = &assembled;
    let (calls, called) = mpsc::channel(CALLS_MAX);
    tokio::spawn(answer_clients(called, submissions.clone(), checks.clone()));
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

async fn answer_clients(mut calls: mpsc::Receiver<Call>, submissions: Submissions, checks: Checks) {
    while let Some(call) = calls.recv().await {
        let (submissions, checks) = (submissions.clone(), checks.clone());
        tokio::spawn(async move {
            match call {
                Call::Submit { command, patience, reply } => {
                    let _ = reply.send(submissions.submit(&command, Instant::now() + patience).await);
                }
                Call::Check { request, nonce, patience, reply } => {
                    let _ = reply.send(checks.check(*request, nonce, Instant::now() + patience).await);
                }
            }
        });
    }
}
