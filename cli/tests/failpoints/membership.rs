//! A leader that dies in the middle of a change of the voters: the change is finished by the others, and the
//! operator's command says so.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chancery_client::Ledger;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::SIGABRT;
use crate::harness::{Cluster, NODES, PATIENCE, name};
use crate::operator::voters;

/// Who leads, and dies.
const VICTIM: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_outlives_the_leader_that_began_it() {
    let mut cluster = Cluster::start().await;
    for node in [4, 5] {
        cluster.prepare(node).await;
    }
    let member =
        |cluster: &Cluster, node| cluster.node_folder(node).join("member.toml").to_str().unwrap().to_owned();
    let (fourth, fifth) = (member(&cluster, 4), member(&cluster, 5));
    // Between the joint block and the uniform one; after both; when both are proven; and before that.
    let rounds: [(&str, &[&str], &[u64]); 4] = [
        ("applied-roster-block", &["member", "add", &fourth], &[1, 2, 3, 4]),
        ("applied-roster-block:2", &["member", "remove", "4"], &[1, 2, 3]),
        ("roster-change-before-answer", &["member", "add", &fifth], &[1, 2, 3, 5]),
        ("applied-before-roster-proof", &["member", "remove", "5"], &[1, 2, 3]),
    ];
    for (point, command, after) in rounds {
        cluster.kill(VICTIM);
        cluster.start_node_with(VICTIM, &[("CHANCERY_ABORT_AT", point)]);
        if let Some(new) = after.iter().find(|node| **node > NODES) {
            cluster.start_node(*new);
        }
        let signing = |status: &chancery_client::NodeStatus| status.silent_because.is_none();
        cluster.wait_for_status(VICTIM, "that it signs", signing).await;
        cluster.transfer(Some("1")).await;

        let changed = cluster.operate(command).await.done();
        assert_eq!(voters(&changed), after, "{point}: {changed}");
        let ended = cluster.wait_for_exit(VICTIM).await;
        assert_eq!(ended.signal(), Some(SIGABRT), "{point}");

        cluster.start_node(VICTIM);
        cluster.leader_of_voters(after).await;
        for node in after {
            cluster.wait_for_status(*node, "that it signs", signing).await;
        }
        let listed = cluster.operate(&["member", "list"]).await.done();
        assert_eq!((voters(&listed), &listed["joint"]), (after.to_vec(), &false.into()), "{point}: {listed}");
        for removed in cluster.running().into_iter().filter(|node| !after.contains(node)) {
            cluster.kill(removed);
        }
    }
}

/// A leader dies when the first half of a change is in the others' logs. The next one leads before it has
/// applied that half, and is given commands meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_between_the_halves_of_a_change() {
    const ISSUERS: u64 = 8;
    let mut cluster = Cluster::start().await;
    cluster.prepare(4).await;
    cluster.kill_all();
    let failpoints = cluster.ledger_folder().join("failpoints");
    std::fs::write(&failpoints, "applied-roster-block=sleep(2000)\n").unwrap();
    cluster.start_node_with(VICTIM, &[("CHANCERY_ABORT_AT", "applied-roster-block")]);
    for node in [2, 3, 4] {
        cluster.start_node_with(node, &[("CHANCERY_FAILPOINTS_FILE", failpoints.to_str().unwrap())]);
    }
    let signing = |status: &chancery_client::NodeStatus| status.silent_because.is_none();
    for node in [1, 2, 3] {
        cluster.wait_for_status(node, "that it signs", signing).await;
    }
    cluster.transfer(Some("1")).await;

    let work = Arc::new(Work::default());
    let issuer = cluster.connect("issuer").await;
    let mut issuers = JoinSet::new();
    for number in 0..ISSUERS {
        issuers.spawn(register_until_over(issuer.clone(), number, Arc::clone(&work)));
    }
    let member = cluster.node_folder(4).join("member.toml").to_str().unwrap().to_owned();
    let changed = cluster.operate(&["member", "add", &member]).await.done();
    assert_eq!(voters(&changed), [1, 2, 3, 4], "{changed}");
    // Commands go on after the change.
    let (before, deadline) = (work.done.load(Ordering::SeqCst), Instant::now() + PATIENCE);
    while work.done.load(Ordering::SeqCst) < before + ISSUERS {
        assert!(Instant::now() < deadline, "nothing is done after the change");
        sleep(Duration::from_millis(20)).await;
    }
    work.over.store(true, Ordering::SeqCst);
    issuers.join_all().await;

    assert_eq!(cluster.wait_for_exit(VICTIM).await.signal(), Some(SIGABRT));
    for node in [2, 3, 4] {
        assert!(!cluster.has_ended(node), "node {node} said: {}", cluster.said(node));
    }
}

/// What the issuers did, and whether they are to end.
#[derive(Default)]
struct Work {
    done: AtomicU64,
    over: AtomicBool,
}

async fn register_until_over(issuer: Ledger, number: u64, work: Arc<Work>) {
    for step in 0_u64.. {
        if work.over.load(Ordering::SeqCst) {
            break;
        }
        let agent = name(&format!("between/{number}/{step}"));
        // While nobody leads it is not done, or not known to be.
        if issuer.register_agent(agent, name("ann"), None).await.is_ok() {
            work.done.fetch_add(1, Ordering::SeqCst);
        }
    }
}
