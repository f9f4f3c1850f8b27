//! Once a revocation is acknowledged, no permit that was asked for later verifies: on every node, whoever
//! leads, and while leaders are killed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chancery_client::{CheckError, Ledger, Options, SubmitError};
use chancery_ledger::command::GrantId;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use crate::harness::{Cluster, NODES, employ, patient};

const CHECKERS: u64 = 8;
const RUN: Duration = Duration::from_secs(20);
/// On a machine that is too slow for the counts below, the run goes on for as long as this.
const RUN_MAX: Duration = Duration::from_secs(300);
const REVOKE_EVERY: Duration = Duration::from_millis(50);
const KILL_AFTER: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(11)];
const DEAD_FOR: Duration = Duration::from_secs(2);

const REVOCATIONS_MIN: u64 = 100;
const PERMITS_BEFORE_MIN: u64 = 1_000;
const REQUESTS_AFTER_MIN: u64 = 1_000;

/// Agents, each with one grant that is revoked in its turn.
const AGENTS: u64 = 500;
/// Checks are about the agents next to the one whose turn it is: so many that were, and that will be.
const BEHIND: u64 = 4;
const AHEAD: u64 = 3;

/// What a revocation came to.
#[derive(Clone, Copy)]
pub(super) struct Revocation {
    pub(super) sent: Instant,
    /// When its acknowledgement was verified, and its leaf; `None` if the outcome is unknown.
    pub(super) acknowledged: Option<(Instant, u64)>,
}

/// One check of one nonce.
pub(super) struct Check {
    pub(super) agent: u64,
    pub(super) node: u64,
    /// Just before the nonce was made.
    pub(super) asked: Instant,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Permit,
    /// Proven, with the leaf that it names.
    Denied(Option<u64>),
    /// No proof in time.
    Closed,
}

/// Which agent's turn it is, what was counted so far, and whether the run is over.
#[derive(Default)]
struct Turn {
    agent: AtomicU64,
    /// Agents up to which revocations are acknowledged, or their outcome is unknown.
    revoked: AtomicU64,
    acknowledged: AtomicU64,
    permits: AtomicU64,
    /// Checks of an agent that was revoked before, on each node.
    after: Mutex<BTreeMap<u64, u64>>,
    over: AtomicBool,
}

impl Turn {
    /// Whether there is enough to judge; about, as the judge alone knows what counts.
    fn is_enough(&self) -> bool {
        let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let after = self.after.lock().unwrap();
        count(&self.acknowledged) >= REVOCATIONS_MIN
            && count(&self.permits) >= 2 * PERMITS_BEFORE_MIN
            && after.values().sum::<u64>() >= 2 * REQUESTS_AFTER_MIN
            && after.len() as u64 == NODES
    }

    fn count(&self, check: &Check) {
        if matches!(check.outcome, Outcome::Permit) {
            self.permits.fetch_add(1, Ordering::SeqCst);
        } else if check.agent + 1 < self.revoked.load(Ordering::SeqCst) {
            *self.after.lock().unwrap().entry(check.node).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_asked_for_after_an_acknowledged_revocation_is_permitted() {
    let mut cluster = Cluster::start().await;
    let grants = employ_all(&cluster).await;
    let turn = Arc::new(Turn::default());

    let began = Instant::now();
    let mut checkers = JoinSet::new();
    for number in 0..CHECKERS {
        let node = number % NODES + 1;
        let options = Options { tries_max: 1, check_timeout: Duration::from_secs(2), ..patient() };
        let gate = cluster.connect_with("gate", Some(node), options).await;
        checkers.spawn(check_until_over(gate, node, number, turn.clone()));
    }
    let revoker = cluster.connect("revoker").await;
    let revoker = tokio::spawn(revoke_in_turn(revoker, grants, turn.clone()));

    let mut killed = Vec::new();
    for after in KILL_AFTER {
        sleep_until((began + after).into()).await;
        let leader = cluster.leader().await;
        cluster.kill(leader);
        let successor = cluster.leader().await;
        assert_ne!(successor, leader);
        sleep(DEAD_FOR).await;
        cluster.start_node(leader);
        killed.push((leader, successor));
    }
    while began.elapsed() < RUN || (!turn.is_enough() && began.elapsed() < RUN_MAX) {
        assert!(!revoker.is_finished(), "the revoker has ended");
        sleep(REVOKE_EVERY).await;
    }
    turn.over.store(true, Ordering::SeqCst);
    let revocations = revoker.await.unwrap();
    let took = began.elapsed();
    let checks: Vec<Check> = checkers.join_all().await.into_iter().flatten().collect();

    let found = judge(&revocations, &checks);
    println!("{found:?} in {took:?}; killed and succeeded: {killed:?}");
    assert!(found.acknowledged >= REVOCATIONS_MIN, "{found:?}");
    assert!(found.permits_before >= PERMITS_BEFORE_MIN, "{found:?}");
    assert!(found.after >= REQUESTS_AFTER_MIN, "{found:?}");
    assert!(found.after_by_node.len() as u64 == NODES, "every node was asked: {found:?}");

    cluster.wait_until_serving(NODES).await;
    every_node_agrees(&cluster, &revocations).await;
}

/// Registers the agents and grants each its right, many at once.
async fn employ_all(cluster: &Cluster) -> Vec<GrantId> {
    const AT_ONCE: usize = 50;
    let issuer = cluster.connect("issuer").await;
    let mut grants = Vec::new();
    for first in (0..AGENTS).step_by(AT_ONCE) {
        let mut employed = JoinSet::new();
        for agent in (first..AGENTS).take(AT_ONCE) {
            let issuer = issuer.clone();
            employed.spawn(async move { (agent, employ(&issuer, &agent_name(agent)).await) });
        }
        grants.extend(employed.join_all().await);
    }
    grants.sort_by_key(|(agent, _)| *agent);
    grants.into_iter().map(|(_, grant)| grant).collect()
}

fn agent_name(agent: u64) -> String {
    format!("bots/{agent}")
}

async fn check_until_over(gate: Ledger, node: u64, number: u64, turn: Arc<Turn>) -> Vec<Check> {
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
            Err(CheckError::Unproven { endpoint, source, .. }) => panic!("{endpoint}: {source}"),
            Err(_) => Outcome::Closed,
        };
        if matches!(outcome, Outcome::Closed) {
            // A dead node refuses at once: it is not asked in a tight loop.
            sleep(Duration::from_millis(20)).await;
        }
        let check = Check { agent, node, asked, outcome };
        turn.count(&check);
        checks.push(check);
    }
    checks
}

/// One revoker: each agent in its turn, until the run is over. The last few agents keep what they have, so that
/// there is always one to permit something to.
async fn revoke_in_turn(revoker: Ledger, grants: Vec<GrantId>, turn: Arc<Turn>) -> Vec<Revocation> {
    let mut ticks = interval(REVOKE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut revocations: Vec<Revocation> = Vec::new();
    let mut grants = (0..AGENTS - AHEAD - 1).zip(grants);
    while !turn.over.load(Ordering::SeqCst) {
        ticks.tick().await;
        let Some((agent, grant)) = grants.next() else { continue };
        turn.agent.store(agent, Ordering::SeqCst);
        let sent = Instant::now();
        let acknowledged = match revoker.revoke(grant, "its turn").await {
            Ok(receipt) => Some((Instant::now(), receipt.index)),
            Err(SubmitError::NotDone { .. } | SubmitError::Unknown { .. }) => None,
            Err(error) => panic!("revocation of agent {agent}: {error}"),
        };
        turn.acknowledged.fetch_add(u64::from(acknowledged.is_some()), Ordering::SeqCst);
        turn.revoked.store(agent + 1, Ordering::SeqCst);
        revocations.push(Revocation { sent, acknowledged });
    }
    revocations
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) acknowledged: u64,
    unknown: u64,
    pub(super) permits_before: u64,
    pub(super) after: u64,
    after_by_node: BTreeMap<u64, u64>,
    closed_after: u64,
    closed: u64,
    /// Asked for before the acknowledgement, and after the revocation was sent: either answer is right.
    meanwhile: u64,
}

/// Holds every check against the revocation of its agent.
pub(super) fn judge(revocations: &[Revocation], checks: &[Check]) -> Found {
    let mut found = Found::default();
    for revocation in revocations {
        match revocation.acknowledged {
            Some(_) => found.acknowledged += 1,
            None => found.unknown += 1,
        }
    }
    for check in checks {
        let Check { agent, node, asked, outcome } = check;
        found.closed += u64::from(matches!(outcome, Outcome::Closed));
        let revocation = revocations.get(usize::try_from(*agent).unwrap());
        let sent = revocation.map(|revocation| revocation.sent);
        if sent.is_none_or(|sent| *asked < sent) {
            match outcome {
                Outcome::Permit => found.permits_before += 1,
                // It may have been decided after the revocation.
                Outcome::Denied(cause) => assert!(sent.is_some() && cause.is_some(), "agent {agent}"),
                Outcome::Closed => {}
            }
            continue;
        }
        match revocation.and_then(|revocation| revocation.acknowledged) {
            Some((acknowledged, leaf)) if *asked > acknowledged => {
                found.after += 1;
                *found.after_by_node.entry(*node).or_default() += 1;
                match outcome {
                    Outcome::Permit => panic!(
                        "node {node}: agent {agent} was permitted; asked {:?} after the acknowledgement",
                        asked.duration_since(acknowledged)
                    ),
                    Outcome::Denied(cause) => assert_eq!(*cause, Some(leaf), "agent {agent} on node {node}"),
                    Outcome::Closed => found.closed_after += 1,
                }
            }
            // What became of the revocation is not known yet, or never: the check counts as neither.
            _ => found.meanwhile += 1,
        }
    }
    found
}

/// When all is quiet: every node denies who was revoked, and permits the others.
async fn every_node_agrees(cluster: &Cluster, revocations: &[Revocation]) {
    const SAMPLES: usize = 20;
    let revoked = (0..).zip(revocations).filter(|(_, one)| one.acknowledged.is_some());
    let revoked: Vec<u64> = revoked.map(|(agent, _)| agent).collect();
    for node in 1..=NODES {
        let gate = cluster.connect_to(node, "gate").await;
        for agent in revoked.iter().step_by(revoked.len().div_ceil(SAMPLES)) {
            let answer = gate.check(&agent_name(*agent), "read", "documents/1", b"").await;
            assert!(matches!(answer, Err(CheckError::Denied(_))), "node {node}: agent {agent}: {answer:?}");
        }
        let answer = gate.check(&agent_name(AGENTS - 1), "read", "documents/1", b"").await;
        assert!(answer.is_ok(), "node {node}: {answer:?}");
    }
}

/// The judge itself: what it must not let pass.
mod judged {
    use super::*;

    fn judge_one(asked_after_ms: u64, outcome: Outcome) -> Found {
        let sent = Instant::now();
        let acknowledged = Some((sent + Duration::from_millis(10), 7));
        let asked = sent + Duration::from_millis(asked_after_ms);
        judge(&[Revocation { sent, acknowledged }], &[Check { agent: 0, node: 1, asked, outcome }])
    }

    #[test]
    #[should_panic(expected = "was permitted")]
    fn a_permit_that_was_asked_for_after_the_acknowledgement() {
        judge_one(11, Outcome::Permit);
    }

    #[test]
    #[should_panic(expected = "agent 0 on node 1")]
    fn a_denial_that_names_another_leaf() {
        judge_one(11, Outcome::Denied(Some(6)));
    }

    #[test]
    fn what_is_right_counts() {
        assert_eq!(judge_one(11, Outcome::Denied(Some(7))).after, 1);
        assert_eq!(judge_one(5, Outcome::Permit).meanwhile, 1);
        assert_eq!(judge_one(5, Outcome::Denied(Some(7))).meanwhile, 1);
    }
}
