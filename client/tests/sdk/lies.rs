//! Answers that prove nothing: never a permit, never a denial.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chancery_client::{CheckError, Failure, Ledger, Options, ProofError};
use chancery_ledger::answer::ProofError as AnswerProofError;
use chancery_ledger::head::QuorumError;
use chancery_ledger::trust::TrustError;

use crate::fake::{Authority, Cluster, Fault, Node, World, name};

/// What is wrong with the answer, asked for by itself and in a session.
async fn unproven(cluster: &Cluster, fault: Fault) -> ProofError {
    let mut found = Vec::new();
    for check_sessions in [false, true] {
        let options = Options { tries_max: 1, check_sessions, ..cluster.options() };
        let ledger = cluster.connect_with(options).await;
        cluster.nodes[0].misbehave(fault.clone());
        match ledger.check("bot", "pay", "a", b"").await {
            Err(CheckError::Unproven { source, .. }) => found.push(*source),
            other => panic!("{other:?}"),
        }
    }
    let (in_session, alone) = (found.pop().unwrap(), found.pop().unwrap());
    assert_eq!(std::mem::discriminant(&in_session), std::mem::discriminant(&alone), "{in_session}, {alone}");
    alone
}

#[tokio::test]
async fn no_flipped_bit_is_believed() {
    let cluster = Cluster::start(1).await.with_grant();
    for check_sessions in [false, true] {
        cluster.nodes[0].misbehave(Fault::None);
        let options = Options { tries_max: 1, check_sessions, ..cluster.options() };
        let ledger = cluster.connect_with(options).await;
        let size = ledger.check("bot", "pay", "a", b"").await.unwrap().checked().answer.encode().len();
        for at in 0..size {
            let mask = 1 << (at % 8);
            cluster.nodes[0].misbehave(Fault::Flip { at, mask });
            let result = ledger.check("bot", "pay", "a", b"").await;
            assert!(matches!(result, Err(CheckError::Unproven { .. })), "byte {at}: {result:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_to_another_nonce_or_question_is_none() {
    let cluster = Cluster::start(1).await.with_grant();
    let error = unproven(&cluster, Fault::WrongNonce).await;
    let wrong = AnswerProofError::Freshness(QuorumError::WrongNonce(1));
    assert_eq!(error.to_string(), ProofError::Answer(wrong).to_string());
    let error = unproven(&cluster, Fault::OtherQuestion).await;
    assert!(matches!(error, ProofError::Answer(AnswerProofError::Undecided(_))), "{error}");
    let error = unproven(&cluster, Fault::Trailing).await;
    assert!(matches!(error, ProofError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn what_is_too_large_is_not_even_read() {
    let cluster = Cluster::start(1).await.with_grant();
    cluster.nodes[0].misbehave(Fault::Huge(8 << 20));
    let ledger = cluster.connect_with(Options { tries_max: 1, ..cluster.options() }).await;
    let error = ledger.check("bot", "pay", "a", b"").await.unwrap_err();
    let CheckError::Unavailable { tries } = error else { panic!("{error}") };
    assert!(matches!(tries[0].failure, Failure::Failed { code: tonic::Code::OutOfRange, .. }), "{tries:?}");
}

async fn is_rolled_back(ledger: &Ledger) {
    let Err(CheckError::Unproven { source, .. }) = ledger.check("bot", "pay", "a", b"").await else {
        panic!("a rolled back ledger was believed")
    };
    let rolled_back = AnswerProofError::Trust(TrustError::RolledBack { found: 2, minimum: 3 });
    assert_eq!(source.to_string(), rolled_back.to_string());
}

#[tokio::test]
async fn a_ledger_rolled_back_by_all_its_voters_is_refused_after_a_restart_too() {
    let cluster = Cluster::start(1).await.with_grant();
    let old = cluster.world.lock().unwrap().clone();
    let ledger = cluster.connect().await;
    ledger.revoke_agent(name("bot"), "").await.unwrap();
    assert!(matches!(ledger.check("bot", "pay", "a", b"").await, Err(CheckError::Denied(_))));

    cluster.world.lock().unwrap().forget_since(&old);
    // Who saw both has the proof of who lied; who did not still does not believe it.
    let error = ledger.check("bot", "pay", "a", b"").await.unwrap_err();
    assert!(matches!(error, CheckError::Contradiction { .. }), "{error}");
    is_rolled_back(&ledger).await;
    drop(ledger);
    is_rolled_back(&cluster.connect().await).await;
}

#[tokio::test]
async fn another_ledger_is_not_believed() {
    let mut cluster = Cluster::start(1).await.with_grant();
    // Another founder, another ledger.
    let other = Arc::new(Mutex::new(World::found("other.example/log")));
    cluster.nodes.push(Node::start(other, &cluster.authority).await);
    cluster.nodes.swap(0, 1);
    let ledger = cluster.connect().await;
    // The other endpoint serves; what the first one did is told.
    let permit = ledger.check("bot", "pay", "a", b"").await.unwrap();
    let Failure::Unproven(error) = &permit.failed_tries()[0].failure else { panic!("{permit:?}") };
    assert!(matches!(error, ProofError::Answer(AnswerProofError::Trust(TrustError::OtherLedger { .. }))));
    // With none that proves, there is no permit.
    cluster.nodes[1].misbehave(Fault::Status(tonic::Code::Unavailable));
    drop(permit);
    let error = ledger.check("bot", "pay", "a", b"").await.unwrap_err();
    assert!(matches!(error, CheckError::Unproven { .. }), "{error}");
}

#[tokio::test]
async fn a_node_with_a_certificate_of_another_authority_is_not_spoken_to() {
    let mut cluster = Cluster::start(1).await.with_grant();
    cluster.nodes[0] = Node::start(Arc::clone(&cluster.world), &Authority::new()).await;
    let ledger = cluster.connect().await;
    let error = ledger.check("bot", "pay", "a", b"").await.unwrap_err();
    let CheckError::Unavailable { tries } = error else { panic!("{error}") };
    assert!(matches!(tries[0].failure, Failure::Unreachable(_)), "{tries:?}");
    assert_eq!(cluster.nodes[0].asked(), 0);
}

#[tokio::test]
async fn a_client_without_the_right_certificate_is_not_served() {
    let cluster = Cluster::start(1).await.with_grant();
    let mut context = cluster.context();
    let (certificate, key) = Authority::new().client(&cluster.world.lock().unwrap().operator);
    (context.certificate, context.tls_key) = (certificate, key.into());
    let ledger = cluster.connect_as(context).await;
    let error = ledger.check("bot", "pay", "a", b"").await.unwrap_err();
    assert!(matches!(error, CheckError::Unavailable { .. }), "{error}");
    assert_eq!(cluster.nodes[0].asked(), 0);
}

#[tokio::test]
async fn an_answer_that_comes_after_its_deadline_is_no_permit() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect_with(Options { tries_max: 2, ..cluster.options() }).await;
    // Grants allow 5 s; the client's clock may be off by 0.5 s.
    cluster.nodes[0].misbehave(Fault::Skew(-4_600));
    let error = ledger.check("bot", "pay", "a", b"").await.unwrap_err();
    assert!(matches!(error, CheckError::Expired { .. }), "{error}");
    cluster.nodes[0].misbehave(Fault::Skew(-3_000));
    ledger.check("bot", "pay", "a", b"").await.unwrap().run(b"", || ()).unwrap();
}

#[tokio::test]
async fn checks_that_overtake_each_other_are_no_rollback() {
    let cluster = Cluster::start(2).await.with_grant();
    let ledger = cluster.connect().await;
    let slow = ledger.clone();
    cluster.nodes[0].misbehave(Fault::Slow(Duration::from_millis(1)));
    // Many at once, while blocks flow.
    let checks = (0..20).map(|_| async { slow.check("bot", "pay", "a", b"").await.map(drop) });
    let writes = async {
        for number in 0..10 {
            let agent = name(&format!("agent-{number}"));
            ledger.register_agent(agent, name("ann"), None).await.unwrap();
        }
    };
    let (checks, ()) = tokio::join!(futures_util::future::join_all(checks), writes);
    for check in checks {
        check.unwrap();
    }
}
