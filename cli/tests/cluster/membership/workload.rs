//! Grants, checks and revocations that go on while members change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chancery_client::{CheckError, Ledger, SubmitError};
use chancery_ledger::command::GrantId;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::harness::{Cluster, employ, terms};
use crate::revocation::{Check, Found, Outcome, Revocation, judge};

const CHECKERS: u64 = 3;
/// Agents, each with one grant that is revoked in its turn.
const AGENTS: u64 = 300;
const REVOKE_EVERY: Duration = Duration::from_millis(200);
const GRANT_EVERY: Duration = Duration::from_millis(200);
/// Between two checks of one checker: nothing here measures speed.
const CHECK_EVERY: Duration = Duration::from_millis(10);

/// Checks are about the agents next to the one whose turn it is: so many that were, and that will be.
const BEHIND: u64 = 4;
const AHEAD: u64 = 3;

/// What must have happened while members changed, for the run to show anything.
const ACKNOWLEDGED_MIN: u64 = 20;
const CHECKS_AFTER_MIN: u64 = 100;
const PERMITS_MIN: u64 = 100;
const GRANTS_MIN: u64 = 20;

/// Everybody at work.
pub(super) struct Workload {
    turn: Arc<Turn>,
    checkers: JoinSet<Vec<Check>>,
    revoker: JoinHandle<Vec<Revocation>>,
    issuer: JoinHandle<u64>,
}

/// Whose grant is revoked next, and whether the run is over.
#[derive(Default)]
struct Turn {
    agent: AtomicU64,
    over: AtomicBool,
}

impl Workload {
    /// Puts everybody to work, each over all the endpoints that the contexts name now.
    pub(super) async fn start(cluster: &Cluster) -> Self {
        let turn = Arc::new(Turn::default());
        let (issuer, revoker) = (cluster.connect("issuer").await, cluster.connect("revoker").await);
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

    /// Ends the work and judges it: nothing asked for after an acknowledged revocation was permitted.
    pub(super) async fn end(self) -> Found {
        self.turn.over.store(true, Ordering::SeqCst);
        let (revocations, granted) = (self.revoker.await.unwrap(), self.issuer.await.unwrap());
        let checks: Vec<Check> = self.checkers.join_all().await.into_iter().flatten().collect();
        let found = judge(&revocations, &checks);
        assert!(granted >= GRANTS_MIN, "{granted} grants: {found:?}");
        assert!(found.acknowledged >= ACKNOWLEDGED_MIN, "{found:?}");
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
        revocations.push(Revocation { sent, acknowledged });
        sleep(REVOKE_EVERY).await;
    }
    revocations
}

/// How many grants were acknowledged.
async fn grant_until_over(issuer: Ledger, turn: Arc<Turn>) -> u64 {
    let agent = "new/bot";
    employ(&issuer, agent).await;
    let mut granted = 0;
    while !turn.over.load(Ordering::SeqCst) {
        granted += u64::from(acknowledged(issuer.grant(terms(agent)).await).is_some());
        sleep(GRANT_EVERY).await;
    }
    granted
}

/// What was acknowledged. A refusal would be a mistake of the test's, or of the ledger's.
fn acknowledged<T>(submitted: Result<T, SubmitError>) -> Option<T> {
    match submitted {
        Ok(receipt) => Some(receipt),
        Err(SubmitError::NotDone { .. } | SubmitError::Unknown { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}
