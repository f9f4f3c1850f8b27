//! Members that are removed: what is stated while it happens, and by whom it happened to.

use std::time::Duration;

use chancery_client::{Context, Ledger};
use chancery_jepsen::checkers::{Finding, Verdict};
use chancery_ledger::head::Statement;
use chancery_node::config::NodeConfig;
use chancery_proto::v1::peer::peer_client::PeerClient;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use crate::harness::NODES;
use crate::house::{House, Setting, head_statement, statement};
use crate::lies::{LIAR, listen, newest_block, patient};
use crate::record::{Record, agent};
use crate::restart::stopped;

/// What the late node waits for before it applies a block.
const LATE: &str = "applied-before-write=sleep(700)";

/// For a statement that may never come.
const STATEMENT_MAX: Duration = Duration::from_millis(300);

/// How long the rest of a change is listened to.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// Checks of a removed member, by each client.
const CHECKS: usize = 4;

/// One of three members is removed while another, whose vote is needed for it, applies late. Whatever is stated of a
/// log that has the roster block must name that roster.
pub(crate) async fn late_to_a_change(setting: Setting) -> Vec<Finding> {
    let mut house = House::start(setting, |_| {}).await;
    let record = Record::new();
    let issuer = house.cluster.connect("issuer").await;
    let revoker = house.cluster.connect("revoker").await;
    let gate = house.cluster.connect("gate").await;
    let agent = agent(0).to_string();
    record.register(&issuer, &agent).await;
    let (grant, _) = record.grant(&issuer, &agent).await;
    let leader = house.cluster.leader().await;
    record.check(&gate, leader, &agent).await;
    let late = leader % NODES + 1;
    let removed = late % NODES + 1;
    house.switch_on(late, LATE).await;

    remove_and_listen(&house, &record, removed, house.peer_as(late, leader)).await;
    let newest = newest_block(&record.revoke(&revoker, grant).await);
    record.check(&gate, leader, &agent).await;

    // The rosters, as the leader has them, who was never late.
    let mut heads = Vec::new();
    for block in 0..=newest {
        heads.extend(head_statement(&mut house.peer_as(leader, late), block).await);
    }
    let mut findings = vec![rosters(&record.seen(), &heads), stopped(&mut house)];
    house.cluster.kill(removed);
    house.switch_off(late).await;
    findings.extend(record.judge_without_statements(&mut house).await);
    findings
}

/// Has `removed` removed, and takes down what `peer` states until some time after.
async fn remove_and_listen(house: &House, record: &Record, removed: u64, mut peer: PeerClient<Channel>) {
    let number = removed.to_string();
    let command = ["member", "remove", number.as_str()];
    let change = house.cluster.operate(&command);
    tokio::pin!(change);
    let mut until = None;
    while until.is_none_or(|until| Instant::now() < until) {
        tokio::select! {
            changed = &mut change, if until.is_none() => {
                changed.done();
                until = Some(Instant::now() + AFTERWARDS);
            }
            () = sleep(Duration::from_millis(10)) => {
                record.saw(timeout(STATEMENT_MAX, statement(&mut peer)).await.ok().flatten());
            }
        }
    }
}

/// Demands of each statement that it names the roster which was in force at the end of its log, by `heads`.
fn rosters(statements: &[Statement], heads: &[Statement]) -> Finding {
    let (mut examined, mut late) = (0, 0);
    let mut wrong = None;
    for (one, fresh) in statements.iter().filter_map(|one| Some((one, one.fresh?))) {
        let Some(end) = heads.iter().find(|head| head.head.block == fresh.tail_block) else { continue };
        examined += 1;
        late += u64::from(one.head.roster != end.head.roster);
        if fresh.tail_roster != end.head.roster {
            let (node, block) = (one.node, fresh.tail_block);
            wrong = Some(format!(
                "node {node} names {} with a log up to block {block}, where {} is in force",
                fresh.tail_roster, end.head.roster
            ));
        }
    }
    let verdict = match wrong {
        Some(what) => Verdict::Violation { checker: "rosters", what, operations: Vec::new() },
        None if late == 0 => Verdict::Inconclusive { why: "no log was ahead of the applied roster".into() },
        None => Verdict::Valid,
    };
    Finding { checker: "rosters", examined, verdict }
}

/// A member is removed and goes on, with its key and its lie. It is asked by who followed the change, by who was
/// connected before it, and by who knows the first roster only: none may believe it.
pub(crate) async fn after_removal(setting: Setting) -> Vec<Finding> {
    let mut house = House::start_honestly(setting).await;
    let record = Record::new();
    let issuer = house.cluster.connect("issuer").await;
    let trust = issuer.trust();
    let revoker = house.cluster.connect("revoker").await;
    let agent = agent(0).to_string();
    record.register(&issuer, &agent).await;
    let (grant, granted) = record.grant(&issuer, &agent).await;
    house.cluster.kill(LIAR);
    house.start_node(LIAR);
    house.cluster.wait_until_serving(NODES).await;
    let remaining: Vec<u64> = (1..=NODES).filter(|node| *node != LIAR).collect();
    if house.cluster.leader().await == LIAR {
        // Who leads may be busy with its own removal: the lie is told by a follower.
        house.cluster.operate(&["transfer", "--to", &remaining[0].to_string()]).await.done();
    }
    let connected = house.cluster.connect_with("gate", Some(LIAR), patient()).await;
    for _ in 0..CHECKS {
        // Idle, so that one round has all that an answer needs: it may be kept.
        record.check(&connected, LIAR, &agent).await;
    }
    listen(&house, &record, newest_block(&granted)).await;

    house.cluster.operate(&["member", "remove", &LIAR.to_string()]).await.done();
    let removed = |status: &chancery_client::NodeStatus| {
        status.head.is_some_and(|head| head.roster.block > 0) || status.silent_because.is_some()
    };
    house.cluster.wait_for_status(LIAR, "that it is removed", removed).await;
    let newest = newest_block(&record.revoke(&revoker, grant).await);
    let followed = follower(&house, &record, &remaining, &agent).await;
    let fresh = house.cluster.connect_with("gate", Some(LIAR), patient()).await;
    for client in [&followed, &connected, &fresh] {
        for _ in 0..CHECKS {
            record.check(client, LIAR, &agent).await;
        }
    }
    listen(&house, &record, newest).await;
    let mut findings = vec![stopped(&mut house), record.statements(&trust.genesis)];
    house.end_all().await;
    findings.push(record.convictions(&house, &trust, &[]).await);
    house.be_honest();
    for node in &remaining {
        house.start_node(*node);
    }
    house.cluster.wait_until_serving(NODES - 1).await;
    findings.extend(record.judge_without_statements(&mut house).await);
    findings
}

/// A client that verified the new roster by the nodes that remain, and from then on asks the one that left.
async fn follower(house: &House, record: &Record, remaining: &[u64], agent: &str) -> Ledger {
    let address =
        |node: u64| NodeConfig::load(&house.cluster.config(node)).unwrap().client_listen.to_string();
    let mut context = Context::open(house.cluster.context_folder("gate")).unwrap();
    let folder = house.cluster.context_folder("follower");
    context.folder.clone_from(&folder);
    context.endpoints = remaining.iter().map(|node| address(*node)).collect();
    context.save().unwrap();
    let gate = Ledger::connect_with(context, patient()).await.unwrap();
    record.check(&gate, remaining[0], agent).await;
    assert!(gate.trust().newest_roster().block > 0, "it did not follow the change");
    drop(gate);
    let mut context = Context::open(folder).unwrap();
    context.endpoints = vec![address(LIAR)];
    context.save().unwrap();
    let gate = Ledger::connect_with(context, patient()).await.unwrap();
    assert!(gate.trust().newest_roster().block > 0, "its context has forgotten the change");
    gate
}
