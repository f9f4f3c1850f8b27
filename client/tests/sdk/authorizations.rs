//! Recorded decisions: permits that are in the log before anything is run, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use chancery_client::{AuthorizeError, Authorized, Ended, Ledger, Options, PermitError, SubmitError};
use chancery_ledger::authority::{Cause, Decided, Entry, Verdict};
use chancery_ledger::command::{Body, DecisionRef, OutcomeKind, SignedCommand};
use chancery_ledger::decide::Denial;
use chancery_ledger::evidence::Record;
use chancery_ledger::hash::Hash;
use chancery_proto::v1 as wire;
use prost::Message;

use crate::fake::{Cluster, Fault, NOW_MS, TestClock, name};

async fn authorized() -> (Cluster, Ledger, Arc<TestClock>, Authorized) {
    let cluster = Cluster::start(1).await.with_grant();
    let (clock, ledger) = (Arc::clone(&cluster.clock), cluster.connect().await);
    let authorized = ledger.authorize("bot", "pay", "a", b"x").await.unwrap();
    (cluster, ledger, clock, authorized)
}

fn leaves(cluster: &Cluster) -> Vec<Entry> {
    cluster.world.lock().unwrap().leaves.iter().map(|leaf| Entry::decode(leaf).unwrap()).collect()
}

/// The last command in the log.
fn last(cluster: &Cluster) -> SignedCommand {
    let commands = leaves(cluster).into_iter().rev();
    let mut commands = commands.filter_map(|entry| match entry {
        Entry::Command { signed, .. } => Some(signed),
        Entry::State { .. } => None,
    });
    commands.next().unwrap()
}

#[tokio::test]
async fn a_call_is_run_after_its_decision_and_before_its_outcome_is_in_the_log() {
    let (cluster, ledger, _clock, authorized) = authorized().await;
    assert_eq!(authorized.decision().number, 1);
    let (index, time_ms) = (authorized.receipt().index, authorized.receipt().time_ms);
    // The grant's staleness is less than what the options allow, and half a second may be the clock's fault.
    assert_eq!((time_ms, authorized.deadline().wall_ms), (NOW_MS, NOW_MS + 5_000 - 500));
    let decided = leaves(&cluster)[usize::try_from(index).unwrap()].clone();
    assert!(matches!(decided, Entry::Command { verdict: Some(verdict), .. } if verdict.is_permit()));
    let ran = authorized
        .run(b"x", || async {
            assert!(matches!(last(&cluster).command().body, Body::Authorize(_)));
            Ended::executed(7, b"receipt 9")
        })
        .await
        .unwrap();
    assert_eq!((ran.value, ran.decision.number), (7, 1));
    assert!(!ran.outcome.unwrap().before);
    let Body::Outcome(said) = last(&cluster).command().body.clone() else { panic!() };
    assert_eq!(said.decision, ran.decision);
    let digest = Hash::of(&[b"receipt 9"]);
    assert_eq!((said.kind, said.result_digest), (OutcomeKind::Executed, Some(digest)));
    // Who says it again is shown the first.
    let again = ledger.outcome(ran.decision.clone(), OutcomeKind::Executed, Some(digest)).await.unwrap();
    assert!(again.before);
    let other = ledger.outcome(ran.decision, OutcomeKind::Failed, None).await;
    assert!(matches!(other, Err(SubmitError::Refused { code, .. }) if code == "outcome_recorded"));
}

#[tokio::test]
async fn what_was_recorded_is_shown_to_others() {
    let (cluster, ledger, _clock, authorized) = authorized().await;
    let trust = cluster.world.lock().unwrap().trust();
    let record = ledger.record(authorized.receipt()).await.unwrap();
    let record = Record::from_json(record.to_json().as_bytes()).unwrap();
    let shown = record.verify(&trust).unwrap();
    assert_eq!(shown.recorded.verdict, authorized.receipt().verdict);
    assert_eq!((shown.recorded.signed, shown.cause), (authorized.receipt().command.clone(), None));
    ledger.revoke_agent(name("bot"), "enough").await.unwrap();
    let Err(AuthorizeError::Denied(denied)) = ledger.authorize("bot", "pay", "a", b"x").await else {
        panic!()
    };
    let shown = ledger.record(&denied.receipt).await.unwrap().verify(&trust).unwrap();
    let cause = shown.cause.unwrap();
    assert!(matches!(&cause.command().body, Body::RevokeAgent { reason, .. } if reason == "enough"));
}

#[tokio::test]
async fn a_denial_is_recorded_too() {
    let (cluster, ledger, _clock, authorized) = authorized().await;
    drop(authorized);
    let Err(AuthorizeError::Denied(denied)) = ledger.authorize("bot", "steal", "a", b"x").await else {
        panic!()
    };
    assert_eq!((denied.denial.clone(), denied.decision.number), (Denial::NoGrant, 2));
    assert!(denied.to_string().starts_with("bot may not steal a: no_grant"), "{denied}");
    assert!(matches!(&denied.receipt.verdict, Some(Verdict { number: 2, decided: Decided::Denied(_) })));
    assert_eq!(last(&cluster), denied.receipt.command);
    let unknown = ledger.authorize("nobody", "pay", "a", b"x").await;
    assert!(
        matches!(unknown, Err(AuthorizeError::Submit(SubmitError::Refused { code, .. })) if code == "unknown_agent")
    );
    assert!(matches!(ledger.authorize("*", "pay", "a", b"x").await, Err(AuthorizeError::Name { .. })));
    let grant = cluster.world.lock().unwrap().leaves[4].clone();
    let Entry::Command { signed, .. } = Entry::decode(&grant).unwrap() else { panic!() };
    assert!(matches!(ledger.authorize_signed(&signed).await, Err(AuthorizeError::NotAuthorize)));
}

#[tokio::test]
async fn a_recorded_permit_ends_by_either_clock() {
    let (_cluster, ledger, clock, permit) = authorized().await;
    clock.suspend_without_wall(Duration::from_millis(5_000));
    let ended = permit.run(b"x", || async { panic!("it ran") }).await.map(|ran| ran.value);
    assert!(matches!(ended, Err::<(), _>(PermitError::Expired)));
    let permit = ledger.authorize("bot", "pay", "a", b"x").await.unwrap();
    clock.step_wall_ms(4_500);
    assert!(permit.is_expired());
    assert!(matches!(permit.start(b"x"), Err(PermitError::Expired)));
    // A clock that is beyond every deadline when the acknowledgement comes: nothing may be run.
    clock.step_wall_ms(60_000);
    let late = ledger.authorize("bot", "pay", "a", b"x").await;
    assert!(matches!(&late, Err(AuthorizeError::Expired(decision)) if decision.number == 3), "{late:?}");
}

#[tokio::test]
async fn a_recorded_permit_is_for_the_arguments_that_were_named() {
    let (_cluster, _ledger, _clock, permit) = authorized().await;
    assert!(matches!(permit.start(b"y"), Err(PermitError::OtherArguments { .. })));
}

#[tokio::test]
async fn what_is_given_again_is_decided_once() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    cluster.nodes[0].misbehave(Fault::Unknown(1));
    let permit = ledger.authorize("bot", "pay", "a", b"x").await.unwrap();
    assert!(permit.receipt().before, "the first try did it");
    let again = ledger.authorize_signed(&permit.receipt().command).await.unwrap();
    assert_eq!((again.decision(), again.receipt().index), (permit.decision(), permit.receipt().index));
}

/// A node that says what is not so: another decision's leaf, or a permit where there is a denial.
#[tokio::test]
async fn a_verdict_is_believed_from_the_log_alone() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect_with(Options { tries_max: 1, ..cluster.options() }).await;
    fn permit_instead(reply: &mut chancery_proto::v1::api::Acknowledged) {
        let mut entry = wire::Entry::decode(reply.entry.as_slice()).unwrap();
        let Some(wire::entry::Body::Command(command)) = &mut entry.body else { panic!() };
        let link = wire::GrantRef { grant: vec![1; 32], root: vec![1; 32] };
        let permit =
            wire::Permit { chain: vec![link], generation: None, deadline_ms: u64::MAX, bounds: vec![] };
        let decision = Some(wire::verdict::Decision::Permit(permit));
        command.verdict = Some(wire::Verdict { number: 1, decision });
        reply.entry = entry.encode_to_vec();
    }
    cluster.nodes[0].misbehave(Fault::Forge(permit_instead));
    let forged = ledger.authorize("bot", "steal", "a", b"x").await;
    assert!(matches!(forged, Err(AuthorizeError::Submit(SubmitError::Unproven { .. }))), "{forged:?}");

    cluster.nodes[0].misbehave(Fault::None);
    let permit = ledger.authorize("bot", "pay", "a", b"x").await.unwrap();
    let receipt = permit.receipt().clone();
    let signer = receipt.command.command().signer;
    let cause = Cause { index: receipt.index, block: receipt.block, time_ms: receipt.time_ms, signer };
    let reply = cluster.world.lock().unwrap().acknowledge(cause, true);
    *REPLY.lock().unwrap() = Some(reply);
    fn another_decision(reply: &mut chancery_proto::v1::api::Acknowledged) {
        *reply = REPLY.lock().unwrap().clone().unwrap();
    }
    cluster.nodes[0].misbehave(Fault::Forge(another_decision));
    let other = ledger.authorize("bot", "pay", "a", b"x").await;
    assert!(matches!(other, Err(AuthorizeError::Submit(SubmitError::Unproven { .. }))), "{other:?}");
}

static REPLY: std::sync::Mutex<Option<chancery_proto::v1::api::Acknowledged>> = std::sync::Mutex::new(None);

/// Many at once: all are decided, each once, and few signatures cover them.
#[tokio::test]
async fn under_load_one_signature_covers_many_decisions() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let ledger = ledger.clone();
        calls.spawn(
            async move { ledger.authorize("bot", "pay", "a", b"x").await.unwrap().decision().clone() },
        );
    }
    let decisions: Vec<DecisionRef> = calls.join_all().await;
    let mut numbers: Vec<u64> = decisions.iter().map(|decision| decision.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=64).collect::<Vec<_>>());
    let sent = cluster.nodes[0].shared.commands.lock().unwrap().clone();
    let signatures: std::collections::BTreeSet<Vec<u8>> = sent
        .iter()
        .map(|bytes| wire::SignedCommand::decode(bytes.as_slice()).unwrap().signatures[0].signature.clone())
        .collect();
    // All 64 ask before any is signed: this runtime has one thread. A lone one has a signature of its own.
    assert!(signatures.len() <= 2, "{} signatures", signatures.len());
    let alone = ledger.authorize("bot", "pay", "a", b"x").await.unwrap();
    let alone = wire::SignedCommand::decode(alone.receipt().command.encode().as_slice()).unwrap();
    assert_eq!(alone.signatures[0].batch, None);
    assert!(decisions.iter().all(|decision| decision.agent.as_str() == "bot"));
}
