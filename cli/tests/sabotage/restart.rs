//! Nodes that come back, and leaders that are left alone or slow.

use std::time::Duration;

use chancery_client::{Ledger, NodeStatus, Options};
use chancery_jepsen::checkers::{Finding, Verdict};
use chancery_jepsen::history::Outcome;
use tokio::time::{Instant, sleep};

use crate::harness::{NODES, PATIENCE};
use crate::house::{House, Setting, head_statement, statement};
use crate::lies::newest_block;
use crate::record::{Record, agent};

/// Entries between snapshots where one is to be sent.
const SNAPSHOT_EVERY: u64 = 4;

/// Nothing gets to the disk of a node's Raft log while this is on.
const HELD_DISK: &str = "raft-log-before-write=pause";

/// How long a leader is watched that could sign what it must not.
const WATCHED: Duration = Duration::from_secs(8);

/// Commands that a node misses.
const MISSED: usize = 24;

/// Statements of a leader whose log is ahead of what is committed.
const STATEMENTS: u64 = 20;

/// A node is killed right after a block, and comes back.
pub(crate) async fn after_a_block(setting: Setting) -> Vec<Finding> {
    comes_back(setting, 0).await
}

/// A node misses so much that it is sent a snapshot.
pub(crate) async fn with_a_snapshot(setting: Setting) -> Vec<Finding> {
    comes_back(setting, MISSED).await
}

async fn comes_back(setting: Setting, missed: usize) -> Vec<Finding> {
    let mut house = House::start(setting, |tuning| {
        if missed > 0 {
            tuning.snapshot_every_entries = SNAPSHOT_EVERY;
            tuning.keep_log_entries = 0;
        }
    })
    .await;
    let record = Record::new();
    // They may stop: a command that nobody takes is not waited for.
    let options = Options { submit_timeout: Duration::from_secs(4), ..Options::default() };
    let issuer = house.cluster.connect_with("issuer", None, options).await;
    let roster = issuer.trust().genesis.clone();
    let block = write(&record, &issuer, 0..5).await;
    let leader = house.cluster.leader().await;
    let away = leader % NODES + 1;
    let mut peer = house.peer(away);
    // It is applied there, and nothing comes after it.
    while statement(&mut peer).await.is_none_or(|statement| statement.head.block < block) {
        sleep(Duration::from_millis(5)).await;
    }
    house.cluster.kill(away);
    let has = house.last_index_in_log(away);
    let missed_to = write(&record, &issuer, 5..5 + missed).await.max(block);
    if missed > 0 {
        // Once the others have dropped what it needs next, it must be sent a snapshot.
        for node in house.cluster.running() {
            let dropped = |status: &NodeStatus| status.log.purged_index > has;
            house.cluster.wait_for_status(node, "that it dropped what its snapshot holds", dropped).await;
        }
    }
    house.start_node(away);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stated = statement(&mut peer).await;
        record.saw(stated);
        if stated.is_some_and(|statement| statement.head.block >= missed_to) || house.cluster.has_ended(away)
        {
            break;
        }
        assert!(Instant::now() < deadline, "node {away} does not come back");
        sleep(Duration::from_millis(20)).await;
    }
    // Each block's head from each node, as soon as it can be had: they may find each other out and stop.
    for number in 1_000..1_005 {
        let newest = write(&record, &issuer, number..number + 1).await;
        for node in 1..=NODES {
            let mut peer = house.peer(node);
            record.saw(statement(&mut peer).await);
            for block in newest.saturating_sub(3).max(1)..=newest + 1 {
                let asked =
                    tokio::time::timeout(Duration::from_millis(300), head_statement(&mut peer, block));
                record.saw(asked.await.ok().flatten());
            }
        }
    }
    let judged = record.statements(&roster);
    if !judged.verdict.is_valid() {
        return vec![judged];
    }
    let mut findings = vec![judged, stopped(&mut house)];
    if findings.iter().all(|finding| finding.verdict.is_valid()) {
        findings.extend(record.judge(&house, &roster).await);
    }
    findings
}

/// Registers agents, one after the other; the last block.
async fn write(record: &Record, issuer: &Ledger, numbers: std::ops::Range<usize>) -> u64 {
    let mut newest = 0;
    for number in numbers {
        if let Outcome::Acknowledged { block, .. } = record.register(issuer, agent(number).as_str()).await {
            newest = block;
        }
    }
    newest
}

/// Whether a node stopped by itself: it found something that cannot be.
pub(crate) fn stopped(house: &mut House) -> Finding {
    let running = house.cluster.running();
    let examined = running.len() as u64;
    let mut verdict = Verdict::Valid;
    for node in running {
        if house.cluster.has_ended(node) {
            let said = house.cluster.said(node);
            let why = said.lines().rev().find(|line| line.contains("the node stops")).unwrap_or_default();
            let what = format!("node {node} stopped: {why}");
            verdict = Verdict::Violation { checker: "node", what, operations: Vec::new() };
        }
    }
    Finding { checker: "node", examined, verdict }
}

/// A leader is left alone with a block that no other disk gets, and comes back to a cluster that went on without it.
pub(crate) async fn leader_alone(setting: Setting) -> Vec<Finding> {
    let mut house = House::start(setting, |_| {}).await;
    let record = Record::new();
    let issuer = house.cluster.connect("issuer").await;
    record.register(&issuer, "bots/before").await;
    let leader = house.cluster.leader().await;
    let others: Vec<u64> = (1..=NODES).filter(|node| *node != leader).collect();
    let alone = house.cluster.connect_with("issuer", Some(leader), hasty()).await;
    let operator = house.cluster.connect_with("operator", Some(leader), hasty()).await;
    let mut peer = house.peer(leader);
    let first = statement(&mut peer).await.expect("a leader that serves states");
    record.saw([first]);
    let before = first.head.block;
    // They hear the leader and tell it the time, but acknowledge nothing, and vote for nobody.
    for node in &others {
        house.switch_on(*node, HELD_DISK).await;
    }
    let mut examined = 0;
    let mut short = None;
    let watching = async {
        let deadline = Instant::now() + PATIENCE;
        let mut after = 0;
        while after < STATEMENTS {
            assert!(Instant::now() < deadline, "the leader takes no block when it is alone");
            let tail_block = match operator.status().await.pop() {
                Some((_, Ok(status))) => status.tail_block,
                _ => 0,
            };
            if let Some(stated) = statement(&mut peer).await {
                record.saw([stated]);
                examined += 1;
                after += u64::from(tail_block > before);
                if stated.fresh.is_some_and(|fresh| fresh.tail_block < tail_block) {
                    short = Some((tail_block, stated));
                }
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(watching, record.register(&alone, "bots/alone"));
    for node in &others {
        house.cluster.kill(*node);
        house.forget_failpoints(*node);
    }
    house.cluster.kill(leader);
    for node in &others {
        house.start_node(*node);
    }
    house.cluster.wait_until_serving(NODES - 1).await;
    // Another command than the one that was left behind, so that its block cannot be the same.
    let newest = match record.register(&issuer, "bots/after").await {
        Outcome::Acknowledged { block, .. } => block,
        other => panic!("not acknowledged: {other:?}"),
    };
    house.start_node(leader);
    house.cluster.wait_until_serving(NODES).await;
    for node in 1..=NODES {
        for block in before..=newest {
            record.saw(head_statement(&mut house.peer(node), block).await);
        }
    }
    let verdict = match short {
        Some((tail_block, stated)) => {
            let stated = stated.fresh.map_or(0, |fresh| fresh.tail_block);
            let what = format!("its log had block {tail_block} when it stated block {stated}");
            Verdict::Violation { checker: "tail", what, operations: Vec::new() }
        }
        None => Verdict::Valid,
    };
    let mut findings =
        vec![Finding { checker: "tail", examined, verdict }, record.statements(&issuer.trust().genesis)];
    findings.extend(record.judge(&house, &issuer.trust().genesis).await);
    findings
}

/// A block of the leader is on the others' disks, and applied there, before it is on its own. Then its power fails.
/// Whatever it signed, its own log must hold.
pub(crate) async fn leader_with_a_slow_disk(setting: Setting) -> Vec<Finding> {
    let mut house = House::start(setting, |_| {}).await;
    let record = Record::new();
    let issuer = house.cluster.connect("issuer").await;
    let before = newest_block(&record.register(&issuer, "bots/before").await);
    let leader = house.cluster.leader().await;
    let mut peer = house.peer(leader);
    let mut other = house.peer(leader % NODES + 1);
    house.switch_on(leader, HELD_DISK).await;
    let hasty = house.cluster.connect_with("issuer", Some(leader), hasty()).await;
    let (mut signed, mut examined) = (0, 0);
    let watching = async {
        let deadline = Instant::now() + PATIENCE;
        while statement(&mut other).await.is_none_or(|stated| stated.head.block <= before) {
            assert!(Instant::now() < deadline, "the others do not apply the block");
            sleep(Duration::from_millis(5)).await;
        }
        // It is committed. The leader may know, and must not sign.
        let until = Instant::now() + WATCHED;
        while Instant::now() < until && signed <= before {
            if let Some(stated) = statement(&mut peer).await {
                signed = stated.head.block.max(signed);
                examined += 1;
                record.saw([stated]);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(watching, record.register(&hasty, "bots/hasty"));
    house.cluster.kill(leader);
    house.forget_failpoints(leader);
    house.cut_power(leader);
    let held = house.block_in_log(leader);
    let verdict = if held < signed {
        let what = format!("node {leader} signed the head of block {signed}, its log holds block {held}");
        Verdict::Violation { checker: "durability", what, operations: Vec::new() }
    } else {
        Verdict::Valid
    };
    house.start_node(leader);
    house.cluster.wait_until_serving(NODES).await;
    let mut findings = vec![Finding { checker: "durability", examined, verdict }];
    findings.extend(record.judge(&house, &issuer.trust().genesis).await);
    findings
}

/// For a command that will not be acknowledged.
fn hasty() -> Options {
    Options { tries_max: 1, submit_timeout: Duration::from_millis(1_500), ..Options::default() }
}
