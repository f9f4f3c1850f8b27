//! Checks by the nodes' clocks, checks of the past, and when a revocation has taken the last permit.

use std::time::Duration;

use chancery_client::{CheckError, CheckOptions, Failure, PastError, PermitError, SubmitError};
use chancery_ledger::answer::Moment;
use chancery_ledger::command::{Body, Digests, Generation, GenerationId, HaltScope};
use chancery_ledger::decide::{Decision, Denial, Request};
use chancery_ledger::evidence::{Evidence, Proof, Proven};
use chancery_ledger::hash::Hash;

use crate::fake::{Cluster, Fault, NOW_MS, name, terms};

fn question() -> Request {
    Request {
        agent: name("bot"),
        action: name("pay"),
        resource: name("account/7"),
        args_digest: Hash::of(&[b"100"]),
        args: None,
        generation: None,
        knowledge: None,
        hint: None,
    }
}

fn within(ledger: &chancery_client::Ledger, ms: u64) -> CheckOptions {
    CheckOptions { fresh_within: Some(Duration::from_millis(ms)), ..ledger.check_options() }
}

#[tokio::test]
async fn a_recent_permit_lives_from_the_quorums_oldest_clock_on() {
    let cluster = Cluster::start(1).await.with_grant();
    let (clock, ledger) = (cluster.clock.clone(), cluster.connect().await);
    cluster.nodes[0].misbehave(Fault::Skew(-1_500));
    let permit = ledger.check_with(question(), within(&ledger, 60_000)).await.unwrap();
    assert_eq!(permit.nonce(), None);
    assert!(cluster.nodes[0].shared.nonces.lock().unwrap().iter().all(Vec::is_empty), "no nonce was sent");
    let oldest_ms = permit.checked().verified.freshness.clock_min_ms;
    assert_eq!(permit.authority().max_staleness_ms, 5_000);
    let deadline = permit.deadline();
    // Less what this machine's clock may be off.
    assert_eq!(deadline.wall_ms, oldest_ms + 5_000 - 500);
    let evidence = permit.evidence();
    assert!(matches!(&evidence.proof, Proof::Recent { .. }));
    evidence.verify(&ledger.trust()).unwrap();
    assert_eq!(permit.run(b"100", || 42), Ok(42));

    // A wall clock that is set back afterwards prolongs nothing.
    let permit = ledger.check_with(question(), within(&ledger, 60_000)).await.unwrap();
    clock.pass(Duration::from_secs(6));
    clock.step_wall_ms(-60_000);
    assert_eq!(permit.run(b"100", || 42), Err(PermitError::Expired));
}

#[tokio::test]
async fn what_is_older_than_was_asked_for_is_refused() {
    let cluster = Cluster::start(2).await.with_grant();
    let ledger = cluster.connect().await;
    let options = within(&ledger, 60_000);
    cluster.nodes[0].misbehave(Fault::Skew(-600_000));
    // Another node has newer statements.
    let permit = ledger.check_with(question(), options).await.unwrap();
    let failed = &permit.failed_tries()[0].failure;
    assert!(matches!(failed, Failure::Stale { age_ms, .. } if *age_ms == 600_000), "{failed}");
    cluster.nodes[1].misbehave(Fault::Skew(-600_000));
    let error = ledger.check_with(question(), options).await.unwrap_err();
    assert!(matches!(error, CheckError::Stale { .. }), "{error}");
    // A denial too: it is not what was asked for.
    let denied = Request { agent: name("nobody"), ..question() };
    let error = ledger.check_with(denied, options).await.unwrap_err();
    assert!(matches!(error, CheckError::Stale { .. }), "{error}");
}

#[tokio::test]
async fn what_is_known_to_be_old_is_refused_however_recent_the_clocks() {
    let mut cluster = Cluster::start(1).await.with_grant();
    let old = cluster.world.lock().unwrap().clone();
    let ledger = cluster.connect().await;
    ledger.revoke_agent(name("bot"), "stolen").await.unwrap();
    cluster.world.lock().unwrap().forget_since(&old);
    let error = ledger.check_with(question(), within(&ledger, 60_000)).await.unwrap_err();
    assert!(matches!(error, CheckError::Unproven { .. } | CheckError::Contradiction { .. }), "{error}");
    cluster.nodes.clear();
}

#[tokio::test]
async fn the_past_is_what_was_and_no_permit() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let granted = ledger.grant(terms()).await.unwrap();
    let revoked = ledger.revoke_agent(name("bot"), "stolen").await.unwrap();
    let before = ledger.check_past(question(), Moment::Block(granted.block)).await.unwrap();
    assert!(matches!(before.verified.decision, Decision::Permit(_)));
    assert_eq!((before.verified.block, before.verified.time_ms), (granted.block, granted.time_ms));
    let after = ledger.check_past(question(), Moment::Block(revoked.block)).await.unwrap();
    let Decision::Denied(Denial::AllRevoked { cause, .. }) = &after.verified.decision else { panic!() };
    assert_eq!(cause.index, revoked.index);
    for (past, shows_cause) in [(&before, false), (&after, true)] {
        let evidence = ledger.past_evidence(past).await.unwrap();
        let read = Evidence::from_json(evidence.to_json().as_bytes()).unwrap();
        let shown = read.verify(&ledger.trust()).unwrap();
        assert!(matches!(&shown.proven, Proven::Past(shown) if *shown == past.verified));
        assert_eq!(shown.cause.is_some(), shows_cause);
    }
}

#[tokio::test]
async fn a_halt_is_seen_by_the_clocks_and_at_its_time() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let halted = ledger.halt(HaltScope::Agent(name("bot")), "wrong payments").await.unwrap();
    let cap = chancery_ledger::command::Limits::default().staleness_cap_ms;
    assert_eq!(halted.dead.unwrap().staleness_ms, cap);
    let recent = ledger.check_with(question(), within(&ledger, 60_000)).await;
    let Err(CheckError::Denied(denied)) = recent else { panic!("{recent:?}") };
    assert!(
        matches!(&denied.denial, Denial::Halted { cause, .. } if cause.index == halted.index),
        "{denied}"
    );
    let resumed = ledger.resume(halted.index, halted.command.command_hash()).await.unwrap();
    assert_eq!(resumed.dead, None, "it takes nothing away");
    drop(ledger.check_with(question(), within(&ledger, 60_000)).await.unwrap());
    for (block, is_permitted) in [(halted.block - 1, true), (halted.block, false), (resumed.block, true)] {
        let past = ledger.check_past(question(), Moment::Block(block)).await.unwrap();
        assert_eq!(matches!(past.verified.decision, Decision::Permit(_)), is_permitted, "{block}");
        let shown = ledger.past_evidence(&past).await.unwrap().verify(&ledger.trust()).unwrap();
        assert_eq!(shown.cause.is_some(), !is_permitted, "{block}");
    }
}

#[tokio::test]
async fn the_generation_is_part_of_every_question() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let digest = Hash::of(&[b"the same"]);
    let digests =
        Digests { model: digest, prompt: digest, tools: digest, parameters: digest, memory: digest };
    let generation = Generation { lineage: name("bot"), parent: None, digests };
    let id = generation.id(ledger.trust().ledger);
    let registered = ledger.register_generation(generation).await.unwrap();
    let release = Body::ReleaseGeneration { lineage: name("bot"), generation: id, reviewers: vec![] };
    let released = ledger.command(release).await.unwrap();
    let named = Request { generation: Some(id), ..question() };
    let other = Request { generation: Some(GenerationId(digest)), ..question() };

    let permit = ledger.check_with(named.clone(), within(&ledger, 60_000)).await.unwrap();
    assert_eq!(permit.generation().unwrap().id, id);
    permit.evidence().verify(&ledger.trust()).unwrap();
    for unnamed in [question(), other] {
        let denied = ledger.check_with(unnamed, within(&ledger, 60_000)).await;
        let Err(CheckError::Denied(denied)) = denied else { panic!("{denied:?}") };
        assert_eq!(denied.denial.code(), "unregistered_generation");
    }
    let at = async |request: &Request, block| {
        ledger.check_past(request.clone(), Moment::Block(block)).await.unwrap().verified.decision
    };
    assert!(matches!(at(&question(), registered.block - 1).await, Decision::Permit(_)));
    let quarantined = at(&named, registered.block).await;
    assert!(matches!(&quarantined, Decision::Denied(Denial::QuarantinedGeneration { number: 1, .. })));
    assert!(matches!(at(&named, released.block).await, Decision::Permit(_)));
}

#[tokio::test]
async fn what_is_not_kept_or_not_reached_is_said() {
    let cluster = Cluster::start(2).await.with_grant();
    let ledger = cluster.connect().await;
    for (node, oldest) in [(0, 2), (1, 1)] {
        cluster.nodes[node].misbehave(Fault::Keeps(oldest));
    }
    // Another node may keep more.
    assert!(ledger.check_past(question(), Moment::Block(1)).await.is_ok());
    let error = ledger.check_past(question(), Moment::Block(0)).await.unwrap_err();
    let PastError::NotKept { oldest_block, oldest_time_ms, tries } = &error else { panic!("{error}") };
    assert_eq!((*oldest_block, *oldest_time_ms, tries.len()), (1, 7, 2), "each was asked once");
    let error = ledger.check_past(question(), Moment::Block(99)).await.unwrap_err();
    assert!(matches!(error, PastError::NotReached { newest_block: 2, .. }), "{error}");
}

#[tokio::test]
async fn another_past_proves_nothing() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    for fault in [Fault::OtherPast(1), Fault::Flip { at: 300, mask: 1 }] {
        cluster.nodes[0].misbehave(fault);
        let error = ledger.check_past(question(), Moment::Block(2)).await.unwrap_err();
        assert!(matches!(error, PastError::Unproven { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_receipt_says_when_the_last_permit_is_dead() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let grant = ledger.grant(terms()).await.unwrap();
    assert_eq!(grant.dead, None);
    let revoked = ledger.revoke(grant.grant.unwrap(), "").await.unwrap().dead.unwrap();
    // The grant's own 5 s, the nodes' bound and this machine's; in wall time the nodes' bound twice.
    assert_eq!((revoked.staleness_ms, revoked.after_ms), (5_000, 6_000));
    assert_eq!(revoked.at_ms, NOW_MS + 6_500);
    let cap = chancery_ledger::command::Limits::default().staleness_cap_ms;
    assert_eq!(ledger.revoke_agent(name("bot"), "").await.unwrap().dead.unwrap().staleness_ms, cap);
}

#[tokio::test]
async fn a_node_cannot_say_that_permits_die_sooner() {
    let cluster = Cluster::start(1).await.with_grant();
    let ledger = cluster.connect().await;
    let grant = ledger.grant(terms()).await.unwrap().grant.unwrap();
    cluster.nodes[0].misbehave(Fault::Forge(|reply| reply.clock_ms = 1));
    let dead = ledger.revoke(grant, "").await.unwrap().dead.unwrap();
    assert_eq!(dead.at_ms, NOW_MS + 6_500);
    cluster.nodes[0].misbehave(Fault::Forge(|reply| reply.clock_ms = u64::MAX));
    let dead = ledger.revoke(grant, "").await.unwrap().dead.unwrap();
    assert_eq!(dead.at_ms, NOW_MS + 7_500, "no later than its clock may be ahead");
    let forgeries: [fn(&mut chancery_proto::v1::api::Acknowledged); 3] = [
        |reply| reply.staleness_tree.clear(),
        |reply| reply.staleness_tree = vec![5],
        |reply| *reply.staleness_tree.last_mut().unwrap() ^= 1,
    ];
    for forge in forgeries {
        cluster.nodes[0].misbehave(Fault::Forge(forge));
        let error = ledger.revoke(grant, "").await.unwrap_err();
        assert!(matches!(error, SubmitError::Unproven { .. }), "{error}");
    }
}
