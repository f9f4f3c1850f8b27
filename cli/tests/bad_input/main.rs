//! Bad input on a node's ports: each gets a typed error, leaves no leaf, and never stops a node.
//!
//! One ledger for all of it. After each case every node still gives a proven answer, the log is no longer than
//! it was, and a command is acknowledged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod authority;
mod callers;
mod commands;
mod connections;
mod full_disk;
#[allow(dead_code, reason = "shared with tests that use the rest")]
#[path = "../cluster/harness.rs"]
mod harness;
mod questions;
mod spelling;
mod wire;

use chancery_client::{CheckError, Ledger};
use tokio::time::Instant;

use harness::{Cluster, NODES, PATIENCE, employ, name};

/// An agent that may read documents.
const READER: &str = "reader";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_and_changes_nothing() {
    let mut house = House::open().await;
    commands::refused(&mut house).await;
    spelling::malformed(&mut house).await;
    authority::refused(&mut house).await;
    questions::refused(&mut house).await;
    callers::not_let_in(&mut house).await;
    connections::bounded(&mut house).await;
    full_disk::stops_the_node_alone(&mut house).await;
}

/// A ledger at work, and what is known of it.
struct House {
    cluster: Cluster,
    operator: Ledger,
    issuer: Ledger,
    revoker: Ledger,
    /// As gate at each node.
    gates: Vec<Ledger>,
    /// Leaves in the log.
    leaves: u64,
    /// Agents that were registered to see that commands still work.
    witnesses: u64,
}

impl House {
    async fn open() -> Self {
        let cluster = Cluster::start().await;
        let mut gates = Vec::new();
        for node in 1..=NODES {
            gates.push(cluster.connect_to(node, "gate").await);
        }
        let (operator, issuer) = (cluster.connect("operator").await, cluster.connect("issuer").await);
        let revoker = cluster.connect("revoker").await;
        employ(&issuer, READER).await;
        let mut house = Self { cluster, operator, issuer, revoker, gates, leaves: 0, witnesses: 0 };
        house.count_leaves().await;
        house.unharmed("nothing").await;
        house
    }

    /// Takes the log as long as it is now: for who gave commands that count.
    async fn count_leaves(&mut self) {
        self.leaves = log_size(&self.gates[0]).await;
    }

    /// Demands that `case` left no trace, and that the ledger still works through every node.
    async fn unharmed(&mut self, case: &str) {
        for gate in &self.gates {
            assert_eq!(log_size(gate).await, self.leaves, "{case} left a leaf");
            permit(gate, case).await;
        }
        let witness = format!("witness/{}", self.witnesses);
        let registered = self.issuer.register_agent(name(&witness), name("ada@example.com"), None).await;
        let receipt = registered.unwrap_or_else(|error| panic!("after {case}: {error}"));
        self.witnesses += 1;
        // The command's, and the state's.
        self.leaves += 2;
        assert_eq!(receipt.head.head.log_size, self.leaves, "{case} left a leaf");
        println!("unharmed by {case}");
    }
}

/// How many leaves the log has, proven.
async fn log_size(gate: &Ledger) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match gate.check("nobody", "read", "documents/1", b"").await {
            Err(CheckError::Denied(denied)) => return denied.checked.verified.head.log_size,
            answer => assert!(Instant::now() < deadline, "no proven denial: {answer:?}"),
        }
    }
}

async fn permit(gate: &Ledger, case: &str) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = gate.check(READER, "read", "documents/1", b"").await {
        assert!(!matches!(error, CheckError::Denied(_)), "after {case}: {error}");
        assert!(Instant::now() < deadline, "after {case}: no permit: {error}");
    }
}
