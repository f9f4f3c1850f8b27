//! What is lost when the power goes.

use std::sync::Arc;
use std::time::Duration;

use chancery_client::Options;
use chancery_jepsen::checkers::{Finding, Verdict};
use chancery_jepsen::history::{Call, Outcome};
use chancery_ledger::command::Body;
use chancery_proto::v1::peer::{LogId, Vote, VoteRequest};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{NODES, PATIENCE, name};
use crate::house::{House, Setting};
use crate::record::{Record, agent};

const WRITES: usize = 1_000;
/// Writes under way at once.
const AT_ONCE: usize = 50;
/// The power goes once so many are acknowledged.
const CUT_AFTER: usize = 250;

/// The power of all nodes fails while writes are under way; whatever was not synced is gone.
pub(crate) async fn of_all_nodes(setting: Setting) -> Vec<Finding> {
    let mut house = House::start(setting, |_| {}).await;
    let record = Arc::new(Record::new());
    let acknowledged = Arc::new(Semaphore::new(0));
    let under_way = Arc::new(Semaphore::new(AT_ONCE));
    let mut writes = JoinSet::new();
    for node in 1..=NODES {
        let options = Options { tries_max: 1, submit_timeout: Duration::from_secs(10), ..Options::default() };
        let client = house.cluster.connect_with("issuer", Some(node), options).await;
        for number in (0..WRITES).filter(|number| *number as u64 % NODES + 1 == node) {
            let body = Body::RegisterAgent {
                agent: agent(number),
                owner: name("ada@example.com"),
                key: None,
                lineage: None,
            };
            let signed = client.sign(body, &[]).unwrap();
            let (client, record) = (client.clone(), Arc::clone(&record));
            let (acknowledged, under_way) = (Arc::clone(&acknowledged), Arc::clone(&under_way));
            writes.spawn(async move {
                let _turn = under_way.acquire().await.unwrap();
                let call = Call::Register { agent: agent(number).to_string(), lineage: None };
                if let Outcome::Acknowledged { .. } = record.submit(&client, &signed, call).await {
                    acknowledged.add_permits(1);
                }
            });
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while acknowledged.available_permits() < CUT_AFTER {
        assert!(Instant::now() < deadline, "the writes do not get on");
        sleep(Duration::from_millis(1)).await;
    }
    house.cluster.kill_all();
    writes.join_all().await;
    for node in 1..=NODES {
        house.cut_power(node);
    }
    house.start_all();
    house.cluster.wait_until_serving(NODES).await;
    let trust = house.cluster.connect("operator").await;
    record.judge(&house, &trust.trust().genesis).await
}

/// A term that no election comes to by itself.
const TERM: u64 = 1_000;

/// Who votes.
const VOTER: u64 = 3;

/// A node votes, loses its power, and is asked again in the same term, by another candidate.
pub(crate) async fn after_a_vote(setting: Setting) -> Vec<Finding> {
    let mut house = House::start(setting, |_| {}).await;
    house.cluster.kill(1);
    house.cluster.kill(2);
    let first = ask(&house, 1, None).await;
    house.cluster.kill(VOTER);
    house.cut_power(VOTER);
    house.start_node(VOTER);
    let second = ask(&house, 2, Some(REFUSALS)).await;
    assert!(first, "the first candidate is voted for");
    let verdict = if second {
        let what = format!("node {VOTER} voted for nodes 1 and 2 in term {TERM}");
        Verdict::Violation { checker: "votes", what, operations: Vec::new() }
    } else {
        Verdict::Valid
    };
    vec![Finding { checker: "votes", examined: 2, verdict }]
}

/// Refusals after which a node is believed that it does not vote. (One that heard from a leader of late does not.)
const REFUSALS: usize = 50;

/// Asks for a vote as `candidate` until it is granted, or refused so often. Whether it is granted.
async fn ask(house: &House, candidate: u64, refusals_max: Option<usize>) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let request = VoteRequest {
        vote: Some(Vote { term: TERM, node: candidate, committed: false }),
        last_log_id: Some(LogId { term: TERM - 1, index: 1_000_000 }),
        leadership_transfer: false,
    };
    let mut voter = house.peer_as(VOTER, candidate);
    let mut refusals = 0;
    loop {
        match voter.vote(request).await {
            Ok(reply) if reply.get_ref().granted => return true,
            Ok(_) => refusals += 1,
            Err(_) => {}
        }
        if refusals_max.is_some_and(|most| refusals >= most) {
            return false;
        }
        assert!(Instant::now() < deadline, "there is no vote");
        sleep(Duration::from_millis(20)).await;
    }
}
