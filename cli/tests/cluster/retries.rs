//! The same command again returns the first outcome and adds no leaf; its request id with another command is
//! refused.

use chancery_client::{Context, Ledger, Receipt, SubmitError};
use chancery_ledger::command::{Body, Command, SignedCommand};

use crate::harness::{Cluster, NODES, commands, employ, name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_sent_again_is_done_once() {
    let mut cluster = Cluster::start().await;
    let issuer = cluster.connect("issuer").await;
    let signed = issuer.sign(registration("bot"), &[]).unwrap();
    let other = same_request(&cluster, &issuer, &signed, registration("another-bot"));

    let first = issuer.submit(&signed).await.unwrap();
    assert!(!first.before);
    again_everywhere(&cluster, &signed, &other, &first).await;

    let leader = cluster.leader().await;
    cluster.kill(leader);
    cluster.leader().await;
    again_everywhere(&cluster, &signed, &other, &first).await;

    cluster.start_node(leader);
    cluster.wait_until_serving(NODES).await;
    again_everywhere(&cluster, &signed, &other, &first).await;

    let leaves = cluster.settled_leaves().await;
    let found: Vec<_> = commands(&leaves).into_iter().skip(1).collect();
    assert_eq!(found, [(first.index, first.block, &signed)], "after genesis nothing but the one command");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_twice_and_being_refused_add_no_leaf() {
    let cluster = Cluster::start().await;
    let issuer = cluster.connect("issuer").await;
    let revoker = cluster.connect("revoker").await;
    let grant = employ(&issuer, "bot").await;
    let first = revoker.revoke(grant, "once").await.unwrap();
    let size = cluster.settled_head().await.log_size;

    // Another command with the same effect has the first one's place.
    let second = revoker.revoke(grant, "twice").await.unwrap();
    assert_eq!((second.index, second.block, second.before), (first.index, first.block, true));
    // What is refused stays refused, whoever is asked.
    let refused = issuer.sign(registration("bot"), &[]).unwrap();
    let mut codes = Vec::new();
    for node in 1..=NODES {
        let issuer = cluster.connect_to(node, "issuer").await;
        codes.push(refusal(issuer.submit(&refused).await));
    }
    assert_eq!(codes, vec![codes[0].clone(); codes.len()]);
    assert_eq!(cluster.settled_head().await.log_size, size, "{codes:?}");
}

/// The same bytes, and another command with the same request id, through every node that runs.
async fn again_everywhere(cluster: &Cluster, signed: &SignedCommand, other: &SignedCommand, first: &Receipt) {
    for node in cluster.running() {
        let issuer = cluster.connect_to(node, "issuer").await;
        let again = issuer.submit(signed).await.unwrap();
        assert!(again.before, "node {node}");
        assert_eq!((again.index, again.block, again.time_ms), (first.index, first.block, first.time_ms));
        assert_eq!(again.leaf.entry, first.leaf.entry);
        assert_eq!(again.head.head.log_size, first.head.head.log_size, "no leaf more");
        assert_eq!(again.head.head.log_root, first.head.head.log_root);
        assert_eq!(refusal(issuer.submit(other).await), "request_id_reused", "node {node}");
    }
}

fn registration(agent: &str) -> Body {
    Body::RegisterAgent { agent: name(agent), owner: name("ada@example.com"), key: None, lineage: None }
}

/// Another command under the request id of `signed`.
fn same_request(cluster: &Cluster, issuer: &Ledger, signed: &SignedCommand, body: Body) -> SignedCommand {
    let context = Context::open(cluster.ledger_folder().join("contexts/issuer")).unwrap();
    let command = Command { body, ..signed.command().clone() };
    SignedCommand::sign(issuer.trust().ledger, &command, &[&context.key.unwrap()]).unwrap()
}

fn refusal(answer: Result<Receipt, SubmitError>) -> String {
    match answer {
        Err(SubmitError::Refused { code, .. }) => code,
        answer => panic!("not refused: {answer:?}"),
    }
}
