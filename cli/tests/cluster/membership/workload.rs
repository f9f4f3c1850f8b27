//! Grants, checks and revocations that go on while members change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chancery_client::{CheckError, Ledger, SubmitError};
use chancery_ledger::command::GrantId;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::harness::{Cluster, PATIENCE, employ, terms};
use crate::revocation::{Check, Found, Outcome, Revocation, judge};

/// The agent that is granted more and more, and loses nothing.
pub(super) const EMPLOYED: &str = "new/bot";

const CHECKERS: u64 = 3;
/// Agents, each with one grant that is revoked in its turn.
const AGENTS: u64 = 500;
/// Between two revocations; slower with each hundred, so that the agents last for as long as a slow machine needs.
const REVOKE_EVERY: Duration = Duration::from_millis(100);
const GRANT_EVERY: Duration = Duration::from_millis(100);
/// Between two checks of one checker: nothing here measures speed.
const CHECK_EVERY: Duration = Duration::from_millis(10);

/// Checks are about the agents next to the one whose turn it is: so many that were, and that will be.
const BEHIND: u64 = 4;
const AHEAD: u64 = 3;

/// Revocations, and grants, that are acknowledged after each change before the next begins.
const AFTER_EACH_MIN: u64 = 5;

/// What must have happened for the run to show anything.
const CHECKS_AFTER_MIN: u64 = 100;
const PERMITS_MIN: u64 = 100;

/// Everybody at work.
pub(super) struct Workload {
    turn: Arc<Turn>,
    checkers: JoinSet<Vec<Check>>,
    revoker: JoinHandle<Vec<Revocation>>,
    issuer: JoinHandle<()>,
}

/// Whose grant is revoked next, what was acknowledged, and whether the run is over.
#[derive(Default)]
struct Turn {
    agent: AtomicU64,
    revoked: AtomicU64,
    granted: AtomicU64,
    /// Checks that were answered with a proof.
    checked: AtomicU64,
    over: AtomicBool,
}

impl Workload {
    /// Puts everybody to work, each over all the endpoints that the contexts name now.
    pub(super) async fn start(cluster: &Cluster) -> Self {
        let turn = Arc::new(Turn::default());
        let (issuer, revoker) = (cluster.connect("issuer").await, cluster.connect("revoker").await);
        employ(&issuer, EMPLOYED).await;
        let mut employed = JoinSet::new();
        for agent in 0..AGENTS {
            let issuer = issuer.clone();
            employed.spawn(async move { (agent, employ(&issuer, &agent_name(agent)).await) });
        }
        let mut grants = employed.join_all().await;
        grants.sort_by_key(|(agent, _)| *agent);
        let grants = grants.into_iter().map(|(_, grant)| grant).collect();
        let mut checkers = JoinSet::new();
        for number in 0..CHECKERS {
            checkers.spawn(check_until_over(cluster.connect("gate").await, number, turn.clone()));
        }
        let revoker = tokio::spawn(revoke_in_turn(revoker, grants, turn.clone()));
        let issuer = tokio::spawn(grant_until_over(issuer, turn.clone()));
        Self { turn, checkers, revoker, issuer }
    }

    /// Waits until commands of both kinds that were given from now on are acknowledged.
    pub(super) async fn goes_on(&self) {
        let counts = || [&self.turn.revoked, &self.turn.granted].map(|count| count.load(Ordering::SeqCst));
        let (before, deadline) = (counts(), Instant::now() + PATIENCE);
        // One of each may have been under way.
        while counts().iter().zip(before).any(|(now, before)| *now <= before + AFTER_EACH_MIN) {
            assert!(Instant::now() < deadline, "since {before:?} only {:?} were acknowledged", counts());
            sleep(CHECK_EVERY).await;
        }
    }

    /// Ends the work and judges it: nothing asked for after an acknowledged revocation was permitted.
    pub(super) async fn end(self) -> Found {
        // Of each eight checks of a checker, at least three are of one or the other kind.
        let deadline = Instant::now() + PATIENCE;
        while self.turn.checked.load(Ordering::SeqCst) < 8 * (CHECKS_AFTER_MIN + PERMITS_MIN) {
            assert!(Instant::now() < deadline, "the checkers do not get on");
            sleep(CHECK_EVERY).await;
        }
        self.turn.over.store(true, Ordering::SeqCst);
        let revocations = self.revoker.await.unwrap();
        self.issuer.await.unwrap();
        let checks: Vec<Check> = self.checkers.join_all().await.into_iter().flatten().collect();
        let found = judge(&revocations, &checks);
        assert!(found.after >= CHECKS_AFTER_MIN, "{found:?}");
        assert!(found.permits_before >= PERMITS_MIN, "{found:?}");
        found
    }
}

fn agent_name(agent: u64) -> String {
    format!("bots/{agent}")
}

async fn check_until_over(gate: Ledger, number: u64, turn: Arc<Turn>) -> Vec<Check> {
    let mut checks = Vec::new();
    for step in number.. {
        if turn.over.load(Ordering::SeqCst) {
            break;
        }
        let ahead_of_behind = turn.agent.load(Ordering::SeqCst) + step % (BEHIND + AHEAD + 1);
        let agent = ahead_of_behind.saturating_sub(BEHIND).min(AGENTS - 1);
        let asked = Instant::now();
        let outcome = match gate.check(&agent_name(agent), "read", "documents/1", b"").await {
            Ok(permit) => permit.run(b"", || Outcome::Permit).unwrap_or(Outcome::Closed),
            Err(CheckError::Denied(denied)) => Outcome::Denied(denied.cause().map(|cause| cause.index)),
            // A node that was removed proves nothing.
            Err(_) => Outcome::Closed,
        };
        turn.checked.fetch_add(u64::from(!matches!(outcome, Outcome::Closed)), Ordering::SeqCst);
        checks.push(Check { agent, node: 0, asked, outcome });
        sleep(CHECK_EVERY).await;
    }
    checks
}

async fn revoke_in_turn(revoker: Ledger, grants: Vec<GrantId>, turn: Arc<Turn>) -> Vec<Revocation> {
    let mut revocations = Vec::new();
    for (agent, grant) in (0..).zip(grants) {
        if turn.over.load(Ordering::SeqCst) {
            break;
        }
        turn.agent.store(agent, Ordering::SeqCst);
        let sent = Instant::now();
        let acknowledged = acknowledged(revoker.revoke(grant, "its turn").await);
        let acknowledged = acknowledged.map(|receipt| (Instant::now(), receipt.index));
        turn.revoked.fetch_add(u64::from(acknowledged.is_some()), Ordering::SeqCst);
        revocations.push(Revocation { sent, acknowledged });
        sleep(REVOKE_EVERY * (1 + u32::try_from(agent / 100).unwrap())).await;
    }
    revocations
}

async fn grant_until_over(issuer: Ledger, turn: Arc<Turn>) {
    while !turn.over.load(Ordering::SeqCst) {
        let granted = acknowledged(issuer.grant(terms(EMPLOYED)).await).is_some();
        turn.granted.fetch_add(u64::from(granted), Ordering::SeqCst);
        sleep(GRANT_EVERY).await;
    }
}

/// What was acknowledged. A refusal would be a mistake of the test's, or of the ledger's.
fn acknowledged<T>(submitted: Result<T, SubmitError>) -> Option<T> {
    match submitted {
        Ok(receipt) => Some(receipt),
        Err(SubmitError::NotDone { .. } | SubmitError::Unknown { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}
