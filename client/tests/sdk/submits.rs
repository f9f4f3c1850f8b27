//! Commands: acknowledged with a proof, refused, not done, or unknown.

use std::time::Duration;

use chancery_client::{Failure, Ledger, Options, ReceiptError, SigningKey, SubmitError};
use chancery_ledger::command::{Body, Name, Principal, PublicKey, Role, Scope, Terms};
use chancery_proto::v1::api::Acknowledged;

use crate::fake::{Cluster, Fault, name, terms};

async fn register(ledger: &Ledger, agent: &str) -> Result<chancery_client::Receipt, SubmitError> {
    ledger.register_agent(name(agent), name("ann"), None).await
}

#[tokio::test]
async fn every_command_comes_back_with_its_place_in_the_log() {
    let cluster = Cluster::start(1).await;
    let ledger = cluster.connect().await;
    let agent_key = SigningKey::from_bytes(&[9; 32]);
    let public = |key: &SigningKey| PublicKey(key.verifying_key().to_bytes());
    let first = ledger.register_agent(name("bot"), name("ann"), Some(public(&agent_key))).await.unwrap();
    assert_eq!((first.block, first.index, first.before, first.grant), (1, 2, false, None));
    register(&ledger, "helper").await.unwrap();
    let grant = ledger.grant(terms()).await.unwrap().grant.unwrap();
    let end = terms().not_after_ms - 60_000;
    let narrowed = Terms { agent: name("helper"), not_after_ms: end, delegable_depth: 0, ..terms() };
    let delegated = ledger.delegate(grant, narrowed, &agent_key).await;
    assert!(delegated.unwrap().grant.is_some());
    assert!(ledger.check("helper", "pay", "a", b"").await.is_ok());

    let (old, new) = (SigningKey::from_bytes(&[10; 32]), SigningKey::from_bytes(&[11; 32]));
    let scope = Scope::default();
    let principal = Principal { key: public(&old), name: name("p"), roles: vec![Role::Gate], scope };
    ledger.add_principal(principal).await.unwrap();
    ledger.rotate_principal(public(&old), &new).await.unwrap();
    ledger.remove_principal(public(&new)).await.unwrap();
    ledger.revoke_agent(name("helper"), "done").await.unwrap();
    let last = ledger.retire_agent(name("helper")).await.unwrap();
    assert_eq!(last.head.head.block, last.block);
    assert_eq!(last.head.statements.len(), 2);
    assert_eq!(ledger.newest_verified().block, last.block);
}

#[tokio::test]
async fn what_was_revoked_before_is_shown_by_the_first_revocation() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let grant = ledger.grant(Terms { delegable_depth: 0, ..terms() }).await.unwrap().grant.unwrap();
    let first = ledger.revoke(grant, "once").await.unwrap();
    let second = ledger.revoke(grant, "twice").await.unwrap();
    assert!(!first.before && second.before);
    assert_eq!((first.index, first.block), (second.index, second.block));
    assert!(matches!(&second.command.command().body, Body::RevokeGrant { reason, .. } if reason == "once"));
}

#[tokio::test]
async fn a_command_that_was_not_done_is_sent_again_unchanged() {
    let cluster = Cluster::start(2).await;
    let ledger = cluster.connect().await;
    cluster.nodes[0].misbehave(Fault::NotDone(1));
    cluster.nodes[1].misbehave(Fault::NotDone(1));
    let receipt = register(&ledger, "bot").await.unwrap();
    assert!(!receipt.before);
    let sent = |node: usize| cluster.nodes[node].shared.commands.lock().unwrap().clone();
    assert_eq!(sent(0).len(), 2);
    assert!(sent(0).iter().chain(&sent(1)).all(|bytes| *bytes == sent(0)[0]));
}

#[tokio::test]
async fn a_command_whose_outcome_is_unknown_is_done_once() {
    let cluster = Cluster::start(1).await;
    let ledger = cluster.connect().await;
    cluster.nodes[0].misbehave(Fault::Unknown(1));
    let receipt = register(&ledger, "bot").await.unwrap();
    assert!(receipt.before, "the first try did it");
    let commands = cluster.nodes[0].shared.commands.lock().unwrap().clone();
    assert!(commands.len() == 2 && commands[0] == commands[1]);
    assert_eq!(cluster.world.lock().unwrap().leaves.len(), 4);
}

#[tokio::test]
async fn not_done_and_unknown_are_told_apart_and_carry_what_to_send_again() {
    let mut cluster = Cluster::start(2).await;
    let ledger = cluster.connect_with(Options { tries_max: 2, ..cluster.options() }).await;
    cluster.nodes[0].misbehave(Fault::NotDone(9));
    cluster.nodes[1].stop().await;
    let Err(SubmitError::NotDone { signed, tries }) = register(&ledger, "bot").await else { panic!() };
    assert!(matches!(tries[1].failure, Failure::Unreachable(_)), "{tries:?}");

    cluster.nodes[0].misbehave(Fault::Unknown(9));
    let Err(SubmitError::Unknown { signed: again, .. }) = ledger.submit(&signed).await else { panic!() };
    assert_eq!(signed, again);
    // A node that then says that it refuses does not make it known; nor does one that says "not done".
    cluster.nodes[0].misbehave(Fault::None);
    assert!(ledger.submit(&again).await.unwrap().before);
}

#[tokio::test]
async fn a_refusal_after_an_unknown_outcome_leaves_it_unknown() {
    for second in [Fault::Refuse, Fault::NotDone(9), Fault::Status(tonic::Code::PermissionDenied)] {
        let cluster = Cluster::start(2).await;
        let ledger = cluster.connect_with(Options { tries_max: 2, ..cluster.options() }).await;
        cluster.nodes[0].misbehave(Fault::Unknown(1));
        cluster.nodes[1].misbehave(second.clone());
        let error = register(&ledger, "bot").await.unwrap_err();
        assert!(matches!(error, SubmitError::Unknown { .. }), "{second:?}: {error}");
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_leaves_it_unknown() {
    let cluster = Cluster::start(1).await;
    let submit_timeout = Duration::from_secs(1);
    let ledger = cluster.connect_with(Options { submit_timeout, ..cluster.options() }).await;
    cluster.nodes[0].misbehave(Fault::Silent);
    let error = register(&ledger, "bot").await.unwrap_err();
    assert!(matches!(error, SubmitError::Unknown { .. }), "{error}");
}

#[tokio::test]
async fn a_refusal_is_told_with_its_code() {
    let cluster = Cluster::start(2).await;
    let ledger = cluster.connect().await;
    register(&ledger, "bot").await.unwrap();
    let Err(SubmitError::Refused { code, .. }) = register(&ledger, "bot").await else { panic!() };
    assert_eq!(code, "agent_exists");
    for node in &cluster.nodes {
        node.misbehave(Fault::Status(tonic::Code::PermissionDenied));
    }
    let Err(SubmitError::Refused { code, .. }) = register(&ledger, "other").await else { panic!() };
    assert_eq!(code, "not_permitted");
}

#[tokio::test]
async fn a_context_without_a_key_gives_no_command() {
    let cluster = Cluster::start(1).await;
    let mut context = cluster.context();
    context.key = None;
    let ledger = cluster.connect_as(context).await;
    assert!(matches!(register(&ledger, "bot").await, Err(SubmitError::NoKey)));
    assert!(cluster.nodes[0].shared.commands.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_forged_receipt_is_believed() {
    let forgeries: [fn(&mut Acknowledged); 14] = [
        |reply| reply.index ^= 1,
        |reply| reply.block += 1,
        |reply| reply.time_ms += 1,
        |reply| reply.head[40] ^= 1,
        |reply| reply.head.push(0),
        |reply| reply.head[0] ^= 1,
        |reply| drop(reply.statements.pop()),
        |reply| reply.statements.reverse(),
        |reply| reply.statements[0][30] ^= 1,
        |reply| reply.statements[1] = reply.statements[0].clone(),
        |reply| drop(reply.inclusion.pop()),
        |reply| reply.inclusion[0][0] ^= 1,
        |reply| reply.entry[20] ^= 1,
        |reply| reply.inclusion.push(vec![0; 32]),
    ];
    let cluster = Cluster::start(1).await;
    let ledger = cluster.connect_with(Options { tries_max: 1, ..cluster.options() }).await;
    for (number, forge) in forgeries.into_iter().enumerate() {
        cluster.nodes[0].misbehave(Fault::Forge(forge));
        let error = register(&ledger, &format!("bot-{number}")).await.unwrap_err();
        let SubmitError::Unproven { signed, .. } = error else { panic!("{number}: {error}") };
        cluster.nodes[0].misbehave(Fault::None);
        assert!(ledger.submit(&signed).await.unwrap().before);
    }
}

#[tokio::test]
async fn anothers_command_is_no_receipt() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect_with(Options { tries_max: 1, ..cluster.options() }).await;
    // The world's acknowledgement of the registration, for whatever is sent; with and without `before`.
    for before in [true, false] {
        let world = std::sync::Arc::clone(&cluster.world);
        let registration = {
            let mut world = world.lock().unwrap();
            let (entry, _) = world.leaf(2, world.head().log_size);
            let chancery_ledger::authority::Entry::Command { block, time_ms, signed } =
                chancery_ledger::authority::Entry::decode(&entry).unwrap()
            else {
                panic!()
            };
            let signer = signed.command().signer;
            world.acknowledge(chancery_ledger::authority::Cause { index: 2, block, time_ms, signer }, before)
        };
        *LATEST.lock().unwrap() = Some(registration);
        cluster.nodes[0].misbehave(Fault::Forge(|reply| *reply = LATEST.lock().unwrap().clone().unwrap()));
        let error = ledger.retire_agent(Name::new("bot").unwrap()).await.unwrap_err();
        let SubmitError::Unproven { source, .. } = error else { panic!("{error}") };
        let stale = matches!(*source, ReceiptError::Trust(_) | ReceiptError::OtherCommand);
        assert!(stale, "{source}");
    }
}

static LATEST: std::sync::Mutex<Option<Acknowledged>> = std::sync::Mutex::new(None);
