//! A node that dies at any step of its start, of taking a snapshot, or of a write: started again, it states no
//! less than it did, catches up, and serves.
//!
//! One ledger, many rounds: one node is kept away while the others write past what they keep of the log, and
//! dies at the named steps, one start after the other, as by `kill -9`. All the while it is asked what it
//! knows. A step at which it does not die fails the round.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "shared with tests that use the rest")]
#[path = "../cluster/harness.rs"]
mod harness;
mod lagging;
mod membership;
#[allow(dead_code, reason = "shared with tests that use the rest")]
#[path = "../cluster/operator.rs"]
mod operator;
#[allow(dead_code, reason = "shared with tests that use the rest")]
#[path = "../bad_input/wire.rs"]
mod wire;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use chancery_client::{Ledger, Options, SubmitError};
use chancery_ledger::head::{Number, RosterId, Statement};
use chancery_proto::v1::peer::StatementRequest;
use chancery_proto::v1::peer::peer_client::PeerClient;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use harness::{Cluster, NODES, PATIENCE, employ, looking, name, patient};
use wire::{Papers, peer};

/// Who dies.
const VICTIM: u64 = 3;

const READER: &str = "reader";

/// Entries between snapshots, and kept behind one.
const SNAPSHOT_EVERY: u64 = 20;
const KEPT: u64 = 2;

/// Commands while the victim is away: the others have purged what it has not.
const COMMANDS_AWAY: u64 = 2 * SNAPSHOT_EVERY + 2 * KEPT;

/// Commands given while the victim runs until it dies.
const COMMANDS_TO_DEATH_MAX: u64 = 400;

const ASK_EVERY: Duration = Duration::from_millis(20);

/// What an aborted process ends with: it runs nothing more of its own, as after `kill -9`.
const SIGABRT: i32 = 6;

/// On an empty folder.
const FIRST_STARTS: &[&str] = &[
    "start-before-identity",
    "start-before-restore",
    "applied-before-founding",
    "start-before-raft-log",
    "start-before-reconcile",
    "start-after-reconcile",
];

/// What it dies at in each round, start after start.
const ROUNDS: &[&[&str]] = &[
    &["snapshot-receive-begin", "start-before-restore"],
    &["snapshot-receive-chunk", "start-before-raft-log"],
    &["snapshot-receive-chunk:3", "start-before-reconcile"],
    &["snapshot-receive-before-verify", "start-after-reconcile"],
    &["snapshot-receive-before-sync", "snapshot-receive-before-sync"],
    &["snapshot-before-rename", "snapshot-before-rename"],
    // Registered: from here on the start installs it.
    &[
        "snapshot-after-rename",
        "start-before-restore",
        "install-before-files",
        "install-before-sync",
        "install-before-rename",
        "install-after-rename",
        "start-before-raft-log",
        "start-before-reconcile",
        "start-after-reconcile",
    ],
    &["snapshot-after-rename", "install-before-switch", "start-before-reconcile"],
    &["snapshot-before-removal"],
    // While it runs, when Raft asks for it.
    &["install-before-files", "install-before-sync"],
    &["install-before-sync", "start-before-raft-log"],
    &["install-before-rename", "install-before-switch"],
    &["install-after-rename", "start-before-reconcile"],
    &["install-before-switch", "start-after-reconcile"],
    // Once it has caught up.
    &["applied-before-write"],
    &["applied-after-write"],
    &["raft-log-before-write:4"],
    &["raft-log-after-sync:4"],
    &["raft-log-before-answers:4"],
    &["snapshot-build-before-copy"],
    &["snapshot-build-after-copy"],
    &["snapshot-build-before-sync"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_at_any_step_never_states_less() {
    let tune = |tuning: &mut chancery_node::config::Tuning| {
        tuning.snapshot_every_entries = SNAPSHOT_EVERY;
        tuning.keep_log_entries = KEPT;
    };
    let mut cluster = Cluster::found(tune).await;
    for node in (1..=NODES).filter(|node| *node != VICTIM) {
        cluster.start_node(node);
    }
    cluster.wait_until_serving(NODES - 1).await;
    let issuer = cluster.connect("issuer").await;
    employ(&issuer, READER).await;
    let witness = Witness::of(&cluster).await;
    let mut house = House { cluster, issuer, witness, commands: 0, newest_block: 0 };

    for point in FIRST_STARTS {
        house.die_at(point).await;
    }
    house.come_back("its first start").await;
    for points in ROUNDS {
        let began = Instant::now();
        let last_index = house.last_index().await;
        house.cluster.kill(VICTIM);
        for _ in 0..COMMANDS_AWAY {
            house.command().await;
        }
        house.purged_past(last_index).await;
        for point in *points {
            house.die_at(point).await;
        }
        house.come_back(&points.join(", ")).await;
        println!("{:?}: {}", began.elapsed(), points.join(", "));
    }
}

struct House {
    cluster: Cluster,
    issuer: Ledger,
    witness: Witness,
    commands: u64,
    /// The last block that was acknowledged.
    newest_block: u64,
}

impl House {
    /// Gives a command until it is acknowledged.
    async fn command(&mut self) {
        let agent = format!("away/{}", self.commands);
        self.commands += 1;
        let body = chancery_ledger::command::Body::RegisterAgent {
            agent: name(&agent),
            owner: name("ada@example.com"),
            key: None,
            lineage: None,
        };
        let signed = self.issuer.sign(body, &[]).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.issuer.submit(&signed).await {
                Ok(receipt) => {
                    self.newest_block = self.newest_block.max(receipt.block);
                    return;
                }
                Err(SubmitError::NotDone { .. } | SubmitError::Unknown { .. }) => {}
                Err(error) => panic!("{agent}: {error}"),
            }
            assert!(Instant::now() < deadline, "{agent} is not acknowledged");
        }
    }

    /// The index at which the longest log ends.
    async fn last_index(&self) -> u64 {
        let operator = self.cluster.connect("operator").await;
        let ends = operator.status().await.into_iter().filter_map(|(_, status)| status.ok()?.log.last_index);
        ends.max().expect("a node tells where its log ends")
    }

    /// Waits until the others have purged all up to `index`. Raft does that only when nothing of it is on its way
    /// to a peer, even one that is away.
    async fn purged_past(&self, index: u64) {
        let operator = self.cluster.connect_with("operator", None, looking()).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = operator.status().await;
            let purged = all.iter().filter_map(|(_, status)| status.as_ref().ok()?.log.purged_index);
            if purged.filter(|purged| *purged > index).count() as u64 == NODES - 1 {
                return;
            }
            assert!(Instant::now() < deadline, "what the victim has not is not purged: {all:?}");
            sleep(ASK_EVERY).await;
        }
    }

    /// Starts the victim, which dies at `point`; until then commands go on, as what it does may need them.
    async fn die_at(&mut self, point: &str) {
        self.cluster.start_node_with(VICTIM, &[("CHANCERY_ABORT_AT", point)]);
        let deadline = Instant::now() + PATIENCE;
        let mut given = 0;
        while !self.cluster.has_ended(VICTIM) {
            let caught_up = self.witness.look(point).await >= self.newest_block;
            if caught_up && given < COMMANDS_TO_DEATH_MAX {
                self.command().await;
                given += 1;
            }
            assert!(Instant::now() < deadline, "the victim does not come to {point}");
            sleep(ASK_EVERY).await;
        }
        let status = self.cluster.wait_for_exit(VICTIM).await;
        assert_eq!(status.signal(), Some(SIGABRT), "before {point} it ended by itself: {status}");
    }

    /// Starts the victim for good: it catches up, knows no less than ever before, and serves.
    async fn come_back(&mut self, died_at: &str) {
        self.cluster.start_node(VICTIM);
        let deadline = Instant::now() + PATIENCE;
        while self.witness.state(died_at).await.is_none_or(|head_block| head_block < self.newest_block) {
            self.witness.look(died_at).await;
            assert!(
                Instant::now() < deadline && !self.cluster.has_ended(VICTIM),
                "after {died_at} the victim does not catch up with block {}: it knows {:?}",
                self.newest_block,
                self.witness.known
            );
            sleep(ASK_EVERY).await;
        }
        let gate = self.cluster.connect_to(VICTIM, "gate").await;
        let permit = loop {
            match gate.check(READER, "read", "documents/1", b"").await {
                Ok(permit) => break permit,
                Err(error) => assert!(Instant::now() < deadline, "after {died_at}: {error}"),
            }
        };
        assert!(permit.block() >= self.newest_block, "after {died_at} it serves block {}", permit.block());
        for statement in &permit.checked().answer.statements {
            if statement.node == VICTIM {
                self.witness.note_statement(statement, died_at);
            }
        }
        self.agree(died_at).await;
    }

    /// All nodes have the same newest head, or will have.
    async fn agree(&self, died_at: &str) {
        let operator = self.cluster.connect_with("operator", None, looking()).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = operator.status().await;
            let heads: Vec<_> =
                all.iter().filter_map(|(_, status)| status.as_ref().ok().and_then(|s| s.head)).collect();
            if heads.len() as u64 == NODES && heads.iter().all(|head| *head == heads[0]) {
                return;
            }
            // Of one block there is one head.
            for (one, other) in heads.iter().flat_map(|one| heads.iter().map(move |other| (one, other))) {
                assert!(one.block != other.block || one == other, "after {died_at}: {one:?}, {other:?}");
            }
            assert!(Instant::now() < deadline, "after {died_at} the nodes do not agree: {all:?}");
            sleep(ASK_EVERY).await;
        }
    }
}

/// What the victim said that it knows: asked by an operator, and as a peer asks.
struct Witness {
    operator: Ledger,
    peer: PeerClient<Channel>,
    voter: chancery_ledger::head::Voter,
    known: Known,
}

#[derive(Debug)]
struct Known {
    /// The last block in its log, and where it had that from.
    tail_block: u64,
    tail_block_of: String,
    roster: Option<RosterId>,
    number: Option<Number>,
}

impl Witness {
    async fn of(cluster: &Cluster) -> Self {
        let options = Options { read_timeout: Duration::from_millis(500), ..patient() };
        let operator = cluster.connect_with("operator", Some(VICTIM), options).await;
        let voter = operator.trust().genesis.voter(VICTIM).unwrap().clone();
        let known = Known { tail_block: 0, tail_block_of: "genesis".into(), roster: None, number: None };
        Self { operator, peer: peer(cluster, VICTIM, &Papers::of_node(cluster, 1)), voter, known }
    }

    /// Asks for the victim's status and a statement; the last block that it is known to have had.
    async fn look(&mut self, during: &str) -> u64 {
        if let Some((_, Ok(status))) = self.operator.status().await.pop() {
            self.note(status.tail_block, &format!("status, {during}"));
        }
        self.state(during).await;
        self.known.tail_block
    }

    /// Asks for a statement as a peer does; the block of its head.
    async fn state(&mut self, during: &str) -> Option<u64> {
        let mut nonce_root = vec![0; 32];
        getrandom::fill(&mut nonce_root).unwrap();
        let request = StatementRequest { nonce_root: nonce_root.clone() };
        let reply = timeout(Duration::from_secs(1), self.peer.state(request)).await.ok()?.ok()?;
        let statement = Statement::decode(&reply.into_inner().statement).unwrap();
        statement.verify(&self.voter).unwrap();
        assert_eq!(statement.fresh.unwrap().nonce_root.as_bytes()[..], nonce_root[..]);
        assert!(self.known.number < Some(statement.number), "{statement:?} after {:?}", self.known);
        self.known.number = Some(statement.number);
        self.note_statement(&statement, during);
        Some(statement.head.block)
    }

    fn note_statement(&mut self, statement: &Statement, during: &str) {
        let fresh = statement.fresh.expect("a statement over a nonce");
        assert!(fresh.tail_block >= statement.head.block, "{statement:?}");
        self.note(fresh.tail_block, &format!("statement, {during}"));
        let roster = *self.known.roster.get_or_insert(fresh.tail_roster);
        assert_eq!(fresh.tail_roster, roster, "voters do not change here");
    }

    fn note(&mut self, tail_block: u64, of: &str) {
        let known = &mut self.known;
        assert!(tail_block >= known.tail_block, "{of}: it states block {tail_block} after {known:?}");
        if tail_block > known.tail_block {
            known.tail_block = tail_block;
            known.tail_block_of = of.to_owned();
        }
    }
}
