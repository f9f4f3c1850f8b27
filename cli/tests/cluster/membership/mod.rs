//! Nodes join, leave and take each other's place by the operator's commands, while agents are granted authority,
//! use it, and lose it.

mod handover;
mod refusals;
mod workload;

use std::time::Duration;

use chancery_client::{CheckError, Ledger, NodeStatus, Options};
use chancery_node::config::Tuning;

use crate::harness::{Cluster, NODES, employ, patient};
use crate::operator::voters;
use workload::{EMPLOYED, Workload};

const READER: &str = "reader";

/// Two nodes join, one leaves, one that is dead is replaced, leadership goes back and forth; nothing that was
/// asked for after an acknowledged revocation is permitted meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_change_while_the_ledger_works() {
    // New nodes catch up by a snapshot, too.
    let mut cluster = Cluster::start_with(|tuning: &mut Tuning| {
        tuning.snapshot_every_entries = 100;
        tuning.keep_log_entries = 20;
    })
    .await;
    let workload = Workload::start(&cluster).await;

    let added = cluster.join(4).await;
    assert_eq!((voters(&added), &added["sets"][0]["quorum"]), (vec![1, 2, 3, 4], &3.into()), "{added}");
    workload.goes_on().await;
    let added = cluster.join(5).await;
    assert_eq!((voters(&added), &added["sets"][0]["quorum"]), (vec![1, 2, 3, 4, 5], &3.into()), "{added}");

    workload.goes_on().await;
    let moved = cluster.transfer(Some("node-4")).await;
    assert_eq!(moved["leader"], 4, "{moved}");
    workload.goes_on().await;
    let removed = cluster.operate(&["member", "remove", "node-2"]).await.done();
    assert_eq!(voters(&removed), [1, 3, 4, 5]);
    let says_so =
        |status: &NodeStatus| status.silent_because.as_ref().is_some_and(|why| why.contains("removed"));
    cluster.wait_for_status(2, "that it is removed", says_so).await;

    workload.goes_on().await;
    // The leader itself goes: another has to take the command.
    let leader = cluster.leader_of_voters(&[1, 3, 4, 5]).await;
    let removed = cluster.operate(&["member", "remove", &leader.to_string()]).await.done();
    let left: Vec<u64> = [1, 3, 4, 5].into_iter().filter(|node| *node != leader).collect();
    assert_eq!(voters(&removed), left);

    workload.goes_on().await;

    let dead = left[0];
    cluster.kill(dead);
    let member = cluster.prepare(6).await;
    cluster.start_node(6);
    let replaced = cluster.operate(&["member", "replace", &dead.to_string(), &member]).await.done();
    assert_eq!(voters(&replaced), [left[1], left[2], 6]);
    workload.goes_on().await;
    cluster.transfer(None).await;
    workload.goes_on().await;

    let found = workload.end().await;
    println!("{found:?}");

    // Who knows the genesis trust alone follows five changes, two roster blocks each.
    let gate = cluster.connect("gate").await;
    let answer = gate.check("nobody", "read", "documents/1", b"").await;
    assert!(matches!(answer, Err(CheckError::Denied(_))), "{answer:?}");
    assert_eq!(gate.trust().roster_chain().links.len(), 10);
    evidence_outlives_the_changes(&cluster).await;
    let listed = cluster.operate(&["member", "list"]).await.done();
    assert_eq!(listed["sets"], replaced["sets"]);
    // A removed node proves nothing by itself.
    let options = Options { check_timeout: Duration::from_secs(3), ..Options::default() };
    let gate = cluster.connect_with("gate", Some(2), options).await;
    let answer = gate.check(READER, "read", "documents/1", b"").await;
    assert!(!matches!(answer, Ok(_) | Err(CheckError::Denied(_))), "{answer:?}");
}

/// What is decided under the newest roster is verified, offline, with the trust file of genesis; and the context
/// keeps the rosters that were proven to it.
async fn evidence_outlives_the_changes(cluster: &Cluster) {
    let folder = cluster.ledger_folder();
    let (file, trust) = (folder.join("permit.json"), folder.join("trust.toml"));
    let (file, trust) = (file.to_str().unwrap(), trust.to_str().unwrap());
    let check = ["check", EMPLOYED, "read", "documents/1", "--evidence", file];
    assert_eq!(cluster.run("gate", &check).await.done()["decision"]["verdict"], "permit");
    let verified = cluster.operate(&["verify", file, "--trust", trust]).await.done();
    assert_eq!(verified["files"][0]["outcome"], "verified", "{verified}");
    assert!(cluster.context_folder("gate").join("rosters").exists());
}

/// All nodes come back from before a change: who saw the new roster believes none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_saw_the_new_roster_refuses_the_old_one() {
    let mut cluster = Cluster::start().await;
    employ(&cluster.connect("issuer").await, READER).await;
    cluster.kill_all();
    for node in 1..=NODES {
        copy_folder(&cluster.data(node), &cluster.data(node).with_extension("before"));
    }
    cluster.start_all();
    cluster.wait_until_serving(NODES).await;
    cluster.join(4).await;
    // It is to fail soon, not to ask for as long as it may.
    let saw = cluster.connect_with("gate", None, Options { tries_max: 8, ..patient() }).await;
    permits(&saw).await;
    assert!(saw.trust().newest_roster().block > 0);

    cluster.kill_all();
    for node in 1..=NODES {
        std::fs::remove_dir_all(cluster.data(node)).unwrap();
        std::fs::rename(cluster.data(node).with_extension("before"), cluster.data(node)).unwrap();
    }
    cluster.start_all();
    // Who never saw it cannot know.
    cluster.wait_until_serving(NODES).await;
    let fresh = cluster.connect("gate").await;
    permits(&fresh).await;
    let answer = saw.check(READER, "read", "documents/1", b"").await;
    // The nodes also repeat themselves: their numbers were given before.
    let refused = matches!(answer, Err(CheckError::Unproven { .. } | CheckError::Contradiction { .. }));
    assert!(refused, "{answer:?}");
}

/// The leader dies when the new node has caught up and nobody has proposed yet that it votes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_dies_between_the_learner_and_its_vote() {
    let mut cluster = Cluster::start().await;
    let member = cluster.prepare(4).await;
    cluster.start_node(4);
    let operator = cluster.connect("operator").await;
    let address = peer_address(&member);
    let mut learner = operator.add_learner(4, "node-4", &address).await.unwrap();
    while !learner.next().await.unwrap().caught_up {}

    let leader = cluster.leader_of_voters(&[1, 2, 3]).await;
    cluster.kill(leader);
    let added = cluster.operate(&["member", "add", &member]).await.done();
    assert_eq!(voters(&added), [1, 2, 3, 4]);
    cluster.start_node(leader);
    cluster.wait_until_serving(4).await;
}

async fn permits(gate: &Ledger) {
    let answer = gate.check(READER, "read", "documents/1", b"").await;
    assert!(answer.is_ok(), "{answer:?}");
}

fn peer_address(member: &str) -> String {
    let text = std::fs::read_to_string(member).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    table["peer_address"].as_str().unwrap().to_owned()
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
