//! Sessions of checks: they prove what single calls prove, and what fails in one fails nobody who can ask elsewhere.
//! The other tests check in sessions too, as that is what a client does if it is not told otherwise.

use std::time::Duration;

use chancery_client::{CheckError, CheckOptions, Failure, Ledger, Options, Permit, ProofError};
use chancery_ledger::answer::{AnswerError, Nonce, decode_answer, verify};
use chancery_ledger::command::Body;
use chancery_ledger::decide::Request as Question;
use chancery_ledger::state::KeptError;

use crate::fake::{Cluster, Fault, PATIENCE, name, terms};

/// Checks for so many resources at once.
async fn all_at_once(ledger: &Ledger, count: usize) -> Vec<Result<Permit, CheckError>> {
    let mut checks = tokio::task::JoinSet::new();
    for number in 0..count {
        let ledger = ledger.clone();
        checks.spawn(async move { (number, ledger.check("bot", "pay", &number.to_string(), b"").await) });
    }
    let mut results = checks.join_all().await;
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[tokio::test]
async fn many_checks_share_a_session_and_each_has_a_proof_of_its_own() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    // More than one message has, and more than may wait at once.
    let permits = all_at_once(&ledger, 1_500).await;
    assert_eq!((cluster.nodes[0].sessions(), cluster.nodes[0].asked()), (1, 1_500));
    for (number, permit) in permits.into_iter().enumerate() {
        let permit = permit.unwrap();
        let checked = permit.checked();
        assert_eq!(checked.request.resource, name(&number.to_string()));
        // What is kept is whole: it verifies for whoever was not there.
        let answer = decode_answer(&checked.answer.encode(), usize::MAX).unwrap();
        let trust = cluster.world.lock().unwrap().trust();
        verify(&trust, &checked.request, Nonce(permit.nonce().unwrap().0), &answer).unwrap();
    }
}

#[tokio::test]
async fn who_wants_calls_of_their_own_begins_no_session() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect_with(Options { check_sessions: false, ..cluster.options() }).await;
    let _permit = ledger.check("bot", "pay", "a", b"").await.unwrap();
    assert_eq!((cluster.nodes[0].sessions(), cluster.nodes[0].asked()), (0, 1));
}

#[tokio::test]
async fn a_session_that_ends_fails_nobody_who_can_ask_another_node() {
    let cluster = Cluster::start(2).await.with_grant();
    let ledger = cluster.connect().await;
    let _permit = ledger.check("bot", "pay", "a", b"").await.unwrap();
    cluster.nodes[0].misbehave(Fault::EndSessions);
    for permit in all_at_once(&ledger, 20).await {
        let permit = permit.unwrap();
        let failed = permit.failed_tries();
        assert!(failed.iter().all(|one| matches!(one.failure, Failure::Failed { .. })), "{failed:?}");
    }
    // When there is nobody else, the same node gets another session.
    cluster.nodes[0].misbehave(Fault::None);
    cluster.nodes[1].misbehave(Fault::Status(tonic::Code::Unavailable));
    let before = cluster.nodes[0].sessions();
    let _permit = ledger.check("bot", "pay", "a", b"").await.unwrap();
    assert_eq!(cluster.nodes[0].sessions(), before + 1);
}

#[tokio::test]
async fn one_who_is_not_answered_keeps_nobody_waiting() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect_with(Options { tries_max: 1, ..cluster.options() }).await;
    cluster.nodes[0].misbehave(Fault::Silent);
    let options = CheckOptions { timeout: Duration::from_millis(200), ..ledger.check_options() };
    let mut checks = tokio::task::JoinSet::new();
    // As many as may wait at once, and more.
    for number in 0..1_100 {
        let (ledger, resource) = (ledger.clone(), name(&number.to_string()));
        let question = Question {
            agent: name("bot"),
            action: name("pay"),
            resource,
            args_digest: chancery_ledger::hash::Hash::of(&[b""]),
            args: None,
            knowledge: None,
            generation: None,
            hint: None,
        };
        checks.spawn(async move { ledger.check_with(question, options).await });
    }
    let ended = tokio::time::timeout(PATIENCE, checks.join_all()).await.expect("each ends at its timeout");
    assert!(ended.iter().all(|result| matches!(result, Err(CheckError::Unavailable { .. }))));
    // The session goes on: who does not wait any more takes no room.
    cluster.nodes[0].misbehave(Fault::None);
    let _permit = ledger.check("bot", "pay", "a", b"").await.unwrap();
    assert_eq!(cluster.nodes[0].sessions(), 1);
}

#[tokio::test]
async fn an_answer_put_together_of_what_is_kept_is_the_one_that_a_call_brings() {
    let cluster = Cluster::start(1).await.with_grant();
    let whole = cluster.connect_with(Options { check_sessions: false, ..cluster.options() }).await;
    let kept = cluster.connect().await;
    for round in 0..3 {
        let (one, other) = (
            whole.check("bot", "pay", "a", b"").await.unwrap(),
            kept.check("bot", "pay", "a", b"").await.unwrap(),
        );
        assert_eq!(one.checked().answer.tree, other.checked().answer.tree, "round {round}");
        // A denial shows what is not there.
        let denied = |result| match result {
            Err(CheckError::Denied(denied)) => denied.checked.answer.tree,
            other => panic!("{other:?}"),
        };
        let denials =
            [&whole, &kept].map(|ledger| async { denied(ledger.check("nobody", "pay", "a", b"").await) });
        let [one, other] = denials;
        assert_eq!(one.await, other.await, "round {round}");
        // Another state, most of which is kept.
        cluster.apply(Body::grant(terms()));
    }
    assert_eq!(cluster.nodes[0].sessions(), 1);
}

#[tokio::test]
async fn what_does_not_fit_what_is_kept_is_not_believed_and_ends_the_session() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect_with(Options { tries_max: 1, ..cluster.options() }).await;
    // Nothing is kept yet, and nothing comes.
    cluster.nodes[0].misbehave(Fault::NoNodes);
    let error = ledger.check("bot", "pay", "a", b"").await.unwrap_err();
    let CheckError::Unproven { source, .. } = error else { panic!("{error}") };
    let missing =
        |error: &ProofError| matches!(error, ProofError::Malformed(AnswerError::Kept(KeptError::Missing(_))));
    assert!(missing(&source), "{source}");
    // Another session begins with nothing, and then nothing more need come.
    cluster.nodes[0].misbehave(Fault::None);
    let _permit = ledger.check("bot", "pay", "a", b"").await.unwrap();
    assert_eq!(cluster.nodes[0].sessions(), 2);
    cluster.nodes[0].misbehave(Fault::NoNodes);
    let _permit = ledger.check("bot", "pay", "a", b"").await.unwrap();
    assert_eq!(cluster.nodes[0].sessions(), 2);
}

#[tokio::test]
async fn a_flipped_bit_of_what_is_kept_is_not_believed_or_changes_nothing() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect_with(Options { tries_max: 1, ..cluster.options() }).await;
    let answer = ledger.check("bot", "pay", "a", b"").await.unwrap().checked().answer.clone();
    let (mut refused, mut same) = (0, 0);
    // With all nodes it is larger than an answer by itself, and not twice as large.
    for at in 0..answer.encode().len() * 2 {
        // A session of its own, to which all nodes are sent.
        let ledger = cluster.connect_with(Options { tries_max: 1, ..cluster.options() }).await;
        cluster.nodes[0].misbehave(Fault::FlipKept { at, mask: 1 << (at % 8) });
        match ledger.check("bot", "pay", "a", b"").await {
            Err(CheckError::Unproven { .. }) => refused += 1,
            // A key that is not there, and another on the same way that is not there either, show the same.
            Ok(permit) => {
                assert_eq!(permit.checked().answer.tree, answer.tree, "byte {at}");
                same += 1;
            }
            other => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(refused > 10 * same && same > 0, "{refused} refused, {same} the same");
}
