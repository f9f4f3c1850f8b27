//! Leaves, status, watching.

use chancery_client::{Failure, Options, ReadError, WatchError, WholeLogError};
use chancery_ledger::authority::Entry;
use chancery_ledger::command::{Body, Patterns, Terms};
use chancery_ledger::follow::FollowError;

use crate::fake::{Cluster, Fault, name, terms};

#[tokio::test]
async fn a_leaf_is_held_against_a_head() {
    let cluster = Cluster::start(2).await.with_grant();
    let ledger = cluster.connect().await;
    let head = ledger.retire_agent(name("bot")).await.unwrap().head.head;
    cluster.nodes[0].misbehave(Fault::Flip { at: 9, mask: 4 });
    let (leaf, entry) = ledger.leaf_in(&head, 2).await.unwrap();
    assert_eq!(leaf.index, 2);
    assert!(matches!(entry, Entry::Command { signed, .. }
        if matches!(signed.command().body, Body::RegisterAgent { .. })));
    assert_eq!(ledger.leaf(2, head.log_size).await.unwrap(), leaf);
    cluster.nodes[1].misbehave(Fault::Flip { at: 9, mask: 4 });
    let error = ledger.leaf_in(&head, 2).await.unwrap_err();
    assert!(matches!(error, ReadError::Unproven { .. }), "{error}");
}

#[tokio::test]
async fn evidence_is_verified_before_it_is_given() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect_with(Options { tries_max: 1, ..cluster.options() }).await;
    ledger.revoke_agent(name("bot"), "").await.unwrap();
    let Err(chancery_client::CheckError::Denied(denied)) = ledger.check("bot", "pay", "a", b"").await else {
        panic!()
    };
    assert_eq!(
        ledger.evidence(&denied.checked).await.unwrap().cause.unwrap().index,
        denied.cause().unwrap().index
    );
    cluster.nodes[0].misbehave(Fault::Flip { at: 30, mask: 1 });
    assert!(matches!(ledger.evidence(&denied.checked).await, Err(ReadError::Unproven { .. })));
}

#[tokio::test]
async fn the_status_of_each_endpoint_is_told() {
    let mut cluster = Cluster::start(3).await;
    let ledger = cluster.connect().await;
    cluster.nodes[1].stop().await;
    cluster.nodes[2].misbehave(Fault::Status(tonic::Code::Internal));
    let status = ledger.status().await;
    assert_eq!(status.len(), 3);
    assert_eq!(status[0].0, cluster.nodes[0].endpoint());
    let first = status[0].1.as_ref().unwrap();
    assert_eq!(first.head.unwrap().ledger, ledger.trust().ledger);
    assert_eq!((first.leader, first.silent_because.as_deref(), first.name.as_str()), (None, None, "node-1 "));
    // What it says of witnesses is no longer than there can be any.
    assert_eq!(first.witnesses.len(), chancery_ledger::trust::WITNESSES_MAX);
    let witness = &first.witnesses[0];
    assert_eq!((witness.name.as_str(), witness.size), ("w.example/1 ", None));
    assert!(witness.error.as_ref().is_some_and(|error| error.len() < 2_000));
    assert!(matches!(status[1].1, Err(Failure::Unreachable(_))));
    assert!(matches!(status[2].1, Err(Failure::Failed { code: tonic::Code::Internal, .. })));
}

#[tokio::test]
async fn watching_goes_on_over_broken_streams_without_a_gap() {
    let cluster = Cluster::start(2).await.with_grant();
    for number in 0..3 {
        let agent = name(&format!("agent-{number}"));
        cluster.apply(Body::RegisterAgent { agent, owner: name("ann"), key: None, lineage: None });
    }
    let leaves = cluster.world.lock().unwrap().leaves.clone();
    let mut watch = cluster.connect().await.watch(1).await.unwrap();
    for (index, leaf) in (0..).zip(&leaves).skip(1) {
        let event = watch.next_change().await.unwrap();
        assert_eq!((event.index, &event.entry.encode()), (index, leaf));
    }
    assert_eq!(watch.next_index(), leaves.len() as u64);
    let error = watch.next().await.unwrap_err();
    assert!(matches!(error, WatchError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_gap_is_an_error() {
    let cluster = Cluster::start(1).await.with_grant();
    cluster.nodes[0].misbehave(Fault::Gap);
    let mut watch = cluster.connect().await.watch(0).await.unwrap();
    let error = watch.next().await.unwrap_err();
    let WatchError::Untrue { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, FollowError::NotTheNext { found: 1, due: 0 }), "{error}");
}

#[tokio::test]
async fn who_was_granted_something_is_told_from_the_whole_log() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let (pay, account) = (name("pay"), name("account/7"));
    for agent in ["other", "third"] {
        cluster.apply(Body::RegisterAgent {
            agent: name(agent),
            owner: name("ann"),
            key: None,
            lineage: None,
        });
    }
    cluster.apply(Body::grant(Terms { agent: name("other"), ..terms() }));
    let narrow = Terms { agent: name("third"), actions: Patterns::collect(["read"]).unwrap(), ..terms() };
    cluster.apply(Body::grant(narrow));
    ledger.revoke_agent(name("bot"), "left").await.unwrap();
    let permit = ledger.check("other", "pay", "account/7", b"").await.unwrap();
    let head = permit.checked().verified.head;
    let agents = ledger.granted(&head, &pay, &account).await.unwrap();
    assert_eq!(agents.into_iter().collect::<Vec<_>>(), [name("bot"), name("other")]);
    // Of another log nothing is told.
    let other = chancery_ledger::head::Head { log_root: chancery_ledger::hash::Hash::ZERO, ..head };
    let error = ledger.granted(&other, &pay, &account).await.unwrap_err();
    assert!(matches!(error, WholeLogError::OtherLog { .. }), "{error}");
}
