//! Checks that are answered.

use std::time::Duration;

use chancery_client::{CheckError, CheckOptions, Failure, Options};
use chancery_ledger::command::{Body, GrantId};
use chancery_ledger::decide::Denial;
use chancery_ledger::evidence::Proof;

use crate::fake::{Cluster, Fault, PATIENCE, name, terms};

#[tokio::test]
async fn a_permit_is_bound_to_what_was_checked() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let permit = ledger.check("bot", "pay", "account/7", b"100").await.unwrap();
    assert_eq!(permit.agent(), &name("bot"));
    assert_eq!(permit.action(), &name("pay"));
    assert_eq!(permit.resource(), &name("account/7"));
    assert_eq!(permit.generation(), None);
    assert_eq!(permit.block(), 2);
    assert_eq!(permit.authority().max_staleness_ms, 5_000);
    assert!(permit.failed_tries().is_empty());
    let evidence = permit.evidence();
    assert_eq!(permit.run(b"100", || 42), Ok(42));
    evidence.verify(&ledger.trust()).unwrap();
    let nonce = ledger.check("bot", "pay", "account/7", b"100").await.unwrap().nonce();
    let Proof::Check { nonce: first, .. } = evidence.proof else { panic!() };
    assert_ne!(nonce, Some(first));
}

#[tokio::test]
async fn a_denial_names_the_command_that_brought_it_about() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let receipt = ledger.grant(terms()).await.unwrap();
    ledger.check("bot", "pay", "a", b"").await.unwrap().run(b"", || ()).unwrap();
    let revoked = ledger.revoke_agent(name("bot"), "stolen").await.unwrap();
    let Err(CheckError::Denied(denied)) = ledger.check("bot", "pay", "a", b"").await else { panic!() };
    let cause = *denied.cause().unwrap();
    assert_eq!((cause.index, cause.block, cause.time_ms), (revoked.index, revoked.block, revoked.time_ms));
    assert!(matches!(&denied.denial, Denial::AllRevoked { agent, .. } if *agent == name("bot")));
    assert!(receipt.grant.is_some());
}

#[tokio::test]
async fn a_denial_of_a_revoked_grant_names_the_grant() {
    let cluster = Cluster::start(1).await;
    cluster.apply(Body::RegisterAgent { agent: name("bot"), owner: name("ann"), key: None, lineage: None });
    let ledger = cluster.connect().await;
    let grant: GrantId = ledger.grant(terms()).await.unwrap().grant.unwrap();
    let revoked = ledger.revoke(grant, "").await.unwrap();
    let Err(CheckError::Denied(denied)) = ledger.check("bot", "pay", "a", b"").await else { panic!() };
    assert!(matches!(&denied.denial, Denial::Revoked { grant: found, .. } if found.grant == grant));
    assert_eq!(denied.cause().unwrap().index, revoked.index);
    assert!(denied.to_string().contains("revoked"), "{denied}");
    // As evidence, with the revocation itself in it.
    let evidence = ledger.evidence(&denied.checked).await.unwrap();
    let shown = evidence.verify(&ledger.trust()).unwrap();
    assert!(
        matches!(&shown.cause.unwrap().command().body, Body::RevokeGrant { grant: g, .. } if *g == grant)
    );
    let file = evidence.to_json();
    chancery_ledger::evidence::Evidence::from_json(file.as_bytes()).unwrap().verify(&ledger.trust()).unwrap();
}

#[tokio::test]
async fn an_unknown_agent_is_denied_with_a_proof_and_without_a_cause() {
    let cluster = Cluster::start(1).await;
    let ledger = cluster.connect().await;
    let Err(CheckError::Denied(denied)) = ledger.check("nobody", "pay", "a", b"").await else { panic!() };
    assert_eq!(denied.denial, Denial::UnknownAgent);
    assert!(ledger.evidence(&denied.checked).await.unwrap().cause.is_none());
}

#[tokio::test]
async fn a_name_that_is_none_is_not_sent() {
    let cluster = Cluster::start(1).await;
    let error = cluster.connect().await.check("a bot", "pay", "a", b"").await.unwrap_err();
    assert!(matches!(error, CheckError::Name { field: "agent", .. }), "{error}");
    assert_eq!(cluster.nodes[0].asked(), 0);
}

#[tokio::test]
async fn a_dead_node_is_passed_over_and_then_avoided() {
    let mut cluster = Cluster::start(3).await.with_grant();
    let ledger = cluster.connect().await;
    cluster.nodes[0].stop().await;
    let permit = ledger.check("bot", "pay", "a", b"").await.unwrap();
    assert!(matches!(permit.failed_tries()[0].failure, Failure::Unreachable(_)), "{permit:?}");
    let permit = ledger.check("bot", "pay", "a", b"").await.unwrap();
    assert!(permit.failed_tries().is_empty(), "the endpoint that served is asked first");
    assert_eq!(cluster.nodes[1].asked(), 2);
}

#[tokio::test]
async fn a_slow_node_has_only_its_share_of_the_time() {
    let cluster = Cluster::start(2).await.with_grant();
    // Half of it goes by; the other node has the other half.
    let check_timeout = Duration::from_secs(20);
    let ledger = cluster.connect_with(Options { check_timeout, ..cluster.options() }).await;
    cluster.nodes[0].misbehave(Fault::Silent);
    let permit = ledger.check("bot", "pay", "a", b"").await.unwrap();
    assert!(matches!(permit.failed_tries()[0].failure, Failure::TimedOut));
    // A retry is a new question.
    let first = cluster.nodes[0].shared.nonces.lock().unwrap()[0].clone();
    assert_ne!(first, permit.nonce().unwrap().0);
}

#[tokio::test]
async fn without_an_answer_in_time_there_is_no_permit() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    cluster.nodes[0].misbehave(Fault::Silent);
    let options = CheckOptions { timeout: Duration::from_secs(1), ..ledger.check_options() };
    let question = chancery_ledger::decide::Request {
        agent: name("bot"),
        action: name("pay"),
        resource: name("a"),
        args_digest: chancery_ledger::hash::Hash::of(&[b""]),
        args: None,
        knowledge: None,
        generation: None,
        hint: None,
    };
    let ended = tokio::time::timeout(PATIENCE, ledger.check_with(question, options)).await;
    let error = ended.expect("it ends at its timeout").unwrap_err();
    assert!(matches!(error, CheckError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn tries_are_bounded() {
    let cluster = Cluster::start(2).await.with_grant();
    let ledger = cluster.connect_with(Options { tries_max: 3, ..cluster.options() }).await;
    for node in &cluster.nodes {
        node.misbehave(Fault::Status(tonic::Code::Unavailable));
    }
    let Err(CheckError::Unavailable { tries }) = ledger.check("bot", "pay", "a", b"").await else { panic!() };
    assert_eq!(tries.len(), 3);
    assert!(!tries[0].to_string().contains('\u{1b}'), "a node's words command no terminal");
}

#[tokio::test]
async fn a_client_that_may_not_ask_is_told_so_and_not_denied() {
    let cluster = Cluster::start(2).await.with_grant();
    let ledger = cluster.connect().await;
    for node in &cluster.nodes {
        node.misbehave(Fault::Status(tonic::Code::PermissionDenied));
    }
    let error = ledger.check("bot", "pay", "a", b"").await.unwrap_err();
    assert!(matches!(error, CheckError::Refused { .. }), "{error}");
    cluster.nodes[1].misbehave(Fault::None);
    assert!(ledger.check("bot", "pay", "a", b"").await.is_ok(), "one node's word does not keep from asking");
}
