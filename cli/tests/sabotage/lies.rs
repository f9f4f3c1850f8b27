//! One of three nodes lies. Clients must not believe it; what they cannot tell must leave signatures that convict.

use std::sync::Arc;
use std::time::Duration;

use chancery_client::Options;
use chancery_jepsen::checkers::Finding;
use chancery_jepsen::history::Outcome;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{NODES, PATIENCE};
use crate::house::{House, Setting, head_statement, statement};
use crate::record::{Record, agent};
use crate::restart::stopped;

/// Who lies.
pub(crate) const LIAR: u64 = 2;

/// Agents that are granted something and lose it again.
const ROUNDS: usize = 8;

/// Between them: what is stale must have been true for a while.
const PAUSE: Duration = Duration::from_millis(500);

/// For a statement that may never come.
const STATEMENT_MAX: Duration = Duration::from_millis(300);

/// A follower, or whoever it is, begins to lie.
pub(crate) async fn of_a_member(setting: Setting) -> Vec<Finding> {
    lying(setting, false).await
}

/// The leader lies.
pub(crate) async fn of_the_leader(setting: Setting) -> Vec<Finding> {
    lying(setting, true).await
}

/// Agents are granted something and lose it again, over every node, while one lies. Then all are honest again, and
/// their log is the witness.
async fn lying(setting: Setting, as_leader: bool) -> Vec<Finding> {
    let mut house = House::start_honestly(setting).await;
    let record = Arc::new(Record::new());
    let issuer = house.cluster.connect("issuer").await;
    let trust = issuer.trust();
    let before = newest_block(&record.register(&issuer, "bots/before").await);
    // What it signs while it is honest binds it.
    listen(&house, &record, before).await;
    house.cluster.kill(LIAR);
    house.start_node(LIAR);
    // What it signs of the same block now. Some lies stop whoever hears them: nobody may be left to go on with.
    hear(&house, &record, before).await;
    if as_leader {
        house.cluster.operate(&["transfer", "--to", &LIAR.to_string()]).await.done();
    }
    let mut clients = Vec::new();
    for node in 1..=NODES {
        let connect = async |principal| house.cluster.connect_with(principal, Some(node), patient()).await;
        let (issuer, revoker) = (connect("issuer").await, connect("revoker").await);
        clients.push((node, issuer, revoker, connect("gate").await, connect("gate").await));
    }
    for number in 0..ROUNDS {
        let agent = agent(number).to_string();
        let (_, issuer, revoker, ..) = &clients[number % clients.len()];
        record.register(issuer, &agent).await;
        let (grant, _) = record.grant(issuer, &agent).await;
        for (node, _, _, before, _) in &clients {
            record.check(before, *node, &agent).await;
        }
        let newest = newest_block(&record.revoke(revoker, grant).await);
        for (node, _, _, _, after) in &clients {
            record.check(after, *node, &agent).await;
        }
        listen(&house, &record, newest).await;
        sleep(PAUSE).await;
    }
    let mut findings = vec![stopped(&mut house), record.statements(&trust.genesis)];
    // Nobody lies any more: what is in the log is what was done.
    house.end_all().await;
    let mut logs = Vec::new();
    for node in 1..=NODES {
        logs.push(house.blocks_in_log(node).await);
    }
    findings.push(record.convictions(&house, &trust, &logs).await);
    house.be_honest();
    // A node that was sent another block than the others cannot come back: the others are enough.
    for node in (1..=NODES).filter(|node| !as_leader || *node != LIAR % NODES + 1) {
        house.start_node(node);
    }
    house.cluster.wait_until_serving(NODES - u64::from(as_leader)).await;
    findings.extend(record.judge_without_statements(&mut house).await);
    findings
}

/// What the liar says of `block` as soon as it says anything.
async fn hear(house: &House, record: &Record, block: u64) {
    let mut peer = house.peer(LIAR);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = timeout(STATEMENT_MAX, head_statement(&mut peer, block)).await.ok().flatten();
        if said.is_some() {
            record.saw(said);
            return;
        }
        assert!(Instant::now() < deadline, "the liar says nothing");
        sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn newest_block(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Acknowledged { block, .. } => *block,
        _ => 0,
    }
}

pub(crate) fn patient() -> Options {
    Options {
        tries_max: 1,
        check_timeout: Duration::from_millis(1_500),
        submit_timeout: Duration::from_secs(3),
        ..Options::default()
    }
}

/// What every node says to its peers.
pub(crate) async fn listen(house: &House, record: &Record, newest: u64) {
    for node in 1..=NODES {
        let mut peer = house.peer(node);
        for _ in 0..2 {
            record.saw(timeout(STATEMENT_MAX, statement(&mut peer)).await.ok().flatten());
        }
        for block in newest.saturating_sub(1).max(1)..=newest {
            record.saw(timeout(STATEMENT_MAX, head_statement(&mut peer, block)).await.ok().flatten());
        }
    }
}
