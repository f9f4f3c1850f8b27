//! Checks by the nodes' clocks, and of the past: over what the nodes keep, on whichever node, and no further.

use std::time::{Duration, Instant};

use chancery_client::{CheckError, CheckOptions, Event, Options, PastError};
use chancery_ledger::answer::Moment;
use chancery_ledger::authority::Entry;
use chancery_ledger::command::{Body, HaltScope, Pattern, Terms};
use chancery_ledger::decide::{Decision, Denial, Request};
use chancery_ledger::evidence::{Evidence, Record};
use chancery_ledger::hash::Hash;

use tokio::time::timeout;

use crate::harness::{Cluster, NODES, PATIENCE, employ, name, register, terms};

/// Blocks of history that the nodes keep here.
const HISTORY_BLOCKS: u64 = 24;

fn question() -> Request {
    Request {
        agent: name("bot"),
        action: name("read"),
        resource: name("documents/7"),
        args_digest: Hash::of(&[b""]),
        args: None,
        generation: None,
        knowledge: None,
        hint: None,
    }
}

fn patient() -> Options {
    Options {
        check_timeout: PATIENCE,
        submit_timeout: PATIENCE,
        read_timeout: PATIENCE,
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_kept_as_long_as_the_configuration_says_and_no_longer() {
    let mut cluster = Cluster::start_with(|tuning| tuning.history_blocks = HISTORY_BLOCKS).await;
    let issuer = cluster.connect_with("issuer", None, patient()).await;
    let revoker = cluster.connect_with("revoker", None, patient()).await;
    let grant = employ(&issuer, "bot").await;
    let granted = register(&issuer, "early").await.block;
    let revoked = revoker.revoke(grant, "no longer").await.unwrap();
    // One of each, asked of every node, whatever it was that served the commands.
    for node in 1..=NODES {
        let gate = cluster.connect_with("gate", Some(node), patient()).await;
        let before = gate.check_past(question(), Moment::Block(granted)).await.unwrap();
        assert!(matches!(before.verified.decision, Decision::Permit(_)), "node {node}: {before:?}");
        let before = gate.check_past(question(), Moment::Time(revoked.time_ms - 1)).await.unwrap();
        assert!(matches!(before.verified.decision, Decision::Permit(_)), "node {node}: {before:?}");
        for moment in [Moment::Block(revoked.block), Moment::Time(revoked.time_ms)] {
            let past = gate.check_past(question(), moment).await.unwrap();
            let Decision::Denied(Denial::Revoked { cause, .. }) = past.verified.decision else { panic!() };
            assert_eq!(cause.index, revoked.index, "node {node}");
        }
        let future = gate.check_past(question(), Moment::Block(revoked.block + 1_000)).await;
        assert!(matches!(future, Err(PastError::NotReached { .. })), "node {node}: {future:?}");
    }

    // Blocks go on until the revocation is beyond what is kept; what is asked meanwhile is right or said to be gone.
    let gate = cluster.connect_with("gate", None, patient()).await;
    let before = gate.check_past(question(), Moment::Block(revoked.block - 1)).await.unwrap();
    let before = gate.past_evidence(&before).await.unwrap().to_json();
    let Err(CheckError::Denied(denied)) = gate.check_with(question(), gate.check_options()).await else {
        panic!("it is revoked")
    };
    let denied = gate.evidence(&denied.checked).await.unwrap().to_json();
    let record = revoker.record(&revoked).await.unwrap().to_json();
    let mut newest = revoked.block;
    let mut number = 0;
    while newest <= revoked.block + HISTORY_BLOCKS {
        newest = register(&issuer, &format!("more/{number}")).await.block;
        number += 1;
        match gate.check_past(question(), Moment::Block(revoked.block - 1)).await {
            Ok(past) => assert!(matches!(past.verified.decision, Decision::Permit(_))),
            Err(PastError::NotKept { oldest_block, .. }) => assert!(oldest_block >= revoked.block),
            Err(error) => panic!("{error}"),
        }
    }
    // Restarted, they keep as much as before and no more.
    for node in 1..=NODES {
        cluster.terminate(node);
        cluster.wait_for_exit(node).await;
    }
    cluster.start_all();
    cluster.wait_until_serving(NODES).await;
    let gate = cluster.connect_with("gate", None, patient()).await;
    let newest = register(&issuer, "last").await.block;
    let error = gate.check_past(question(), Moment::Block(revoked.block - 1)).await.unwrap_err();
    let PastError::NotKept { oldest_block, oldest_time_ms, .. } = &error else { panic!("{error}") };
    assert!(*oldest_block > revoked.block - 1 && *oldest_block <= newest - HISTORY_BLOCKS, "{error}");
    assert!(*oldest_time_ms >= revoked.time_ms);
    let error = gate.check_past(question(), Moment::Time(revoked.time_ms - 1)).await.unwrap_err();
    assert!(matches!(error, PastError::NotKept { .. }), "{error}");
    // The oldest that is kept is shown.
    let past = gate.check_past(question(), Moment::Block(newest - HISTORY_BLOCKS)).await.unwrap();
    assert!(matches!(past.verified.decision, Decision::Denied(_)));
    let evidence = gate.past_evidence(&past).await.unwrap();
    let trust = gate.trust().founding();
    evidence.verify(&trust).unwrap();

    // Evidence of what is forgotten says what it said: it is whole by itself. And the log forgets nothing.
    let shown = Evidence::from_json(before.as_bytes()).unwrap().verify(&trust).unwrap();
    assert!(matches!(shown.proven.decision(), Decision::Permit(_)), "{shown:?}");
    let shown = Evidence::from_json(denied.as_bytes()).unwrap().verify(&trust).unwrap();
    let Decision::Denied(Denial::Revoked { cause, .. }) = shown.proven.decision() else {
        panic!("{shown:?}")
    };
    assert_eq!(cause.index, revoked.index);
    Record::from_json(record.as_bytes()).unwrap().verify(&trust).unwrap();
    let (leaf, _) = gate.leaf_in(&past.verified.head, revoked.index).await.unwrap();
    assert_eq!(leaf.entry, revoked.leaf.entry);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_is_of_its_time_and_followers_are_told_of_it() {
    let cluster = Cluster::start().await;
    let issuer = cluster.connect_with("issuer", None, patient()).await;
    let halter = cluster.connect_with("halter", None, patient()).await;
    let resumer = cluster.connect_with("resumer", None, patient()).await;
    employ(&issuer, "bot").await;
    let before = register(&issuer, "early").await.block;
    let scope = HaltScope::Action(Pattern::new("read").unwrap());
    let halted = halter.halt(scope.clone(), "ticket 1404").await.unwrap();
    let resumed = resumer.resume(halted.index, halted.command.command_hash()).await.unwrap();
    for node in 1..=NODES {
        let gate = cluster.connect_with("gate", Some(node), patient()).await;
        let moments = [
            (Moment::Block(before), true),
            (Moment::Time(halted.time_ms - 1), true),
            (Moment::Block(halted.block), false),
            (Moment::Time(halted.time_ms), false),
            (Moment::Block(resumed.block), true),
        ];
        for (moment, is_permitted) in moments {
            match gate.check_past(question(), moment).await.unwrap().verified.decision {
                Decision::Permit(_) => assert!(is_permitted, "node {node}, {moment:?}"),
                Decision::Denied(Denial::Halted { scope: by, cause, .. }) => {
                    assert!(!is_permitted, "node {node}, {moment:?}");
                    assert_eq!((by, cause.index), (scope.clone(), halted.index), "node {node}");
                }
                denied @ Decision::Denied(_) => panic!("node {node}, {moment:?}: {denied:?}"),
            }
        }
        // Each node's followers have the halt, its end, and the head that proves both.
        let (mut watch, mut told) = (gate.watch(halted.index).await.unwrap(), Vec::new());
        loop {
            match timeout(PATIENCE, watch.next()).await.expect("an event in time").unwrap() {
                Event::Change(change) => told.push(*change),
                Event::Head(proven) if proven.head.log_size > resumed.index => break,
                Event::Head(_) | Event::Ended(_) => {}
            }
        }
        let bodies = told.iter().filter_map(|change| match &change.entry {
            Entry::Command { signed, .. } => Some((change.index, &signed.command().body)),
            Entry::State { .. } => None,
        });
        let [(halt, Body::Halt { scope: by, .. }), (resume, Body::Resume { halt: of, .. })] =
            bodies.collect::<Vec<_>>()[..]
        else {
            panic!("node {node}: {told:?}")
        };
        assert_eq!((halt, by, *of, resume), (halted.index, &scope, halted.index, resumed.index));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recent_permit_never_outlives_dead_at() {
    let cluster = Cluster::start().await;
    let issuer = cluster.connect_with("issuer", None, patient()).await;
    let revoker = cluster.connect_with("revoker", None, patient()).await;
    register(&issuer, "bot").await;
    let grant =
        issuer.grant(Terms { max_staleness_ms: 10_000, ..terms("bot") }).await.unwrap().grant.unwrap();
    let gate = cluster.connect_with("gate", None, patient()).await;
    let knowing = cluster.connect_with("gate", None, patient()).await;
    let options = CheckOptions { fresh_within: Some(Duration::from_secs(30)), ..gate.check_options() };
    // Now; and from here on nothing from before the grant, which would be recent enough.
    drop(gate.check_with(question(), gate.check_options()).await.unwrap());
    drop(gate.check_with(question(), options).await.unwrap());

    let revoked = revoker.revoke(grant, "no longer").await.unwrap();
    let (acknowledged, dead) = (Instant::now(), revoked.dead.unwrap());
    // Who knows of it is denied at once, by whichever node: nothing older than what it verified is believed.
    let seen = knowing.check(question().agent.as_str(), "read", "documents/7", b"").await;
    assert!(matches!(seen, Err(CheckError::Denied(_))), "{seen:?}");
    let recent = knowing.check_with(question(), options).await;
    assert!(matches!(recent, Err(CheckError::Denied(_))), "{recent:?}");
    // Who does not may still be permitted, but no such permit is used after `dead_at`, by either clock.
    let mut permits = Vec::new();
    while acknowledged.elapsed() < Duration::from_millis(dead.after_ms) {
        match gate.check_with(question(), options).await {
            Ok(permit) => permits.push(permit),
            Err(CheckError::Denied(denied)) => {
                assert!(matches!(&denied.denial, Denial::Revoked { .. }), "{denied}");
            }
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(permits.iter().all(chancery_client::Permit::is_expired), "{} permits", permits.len());
    assert!(permits.iter().all(|permit| permit.deadline().wall_ms <= dead.at_ms), "{dead:?}");
    // What is recent enough for 30 s may be too old for the grant: then something newer is asked for.
    let denied = gate.check_with(question(), options).await;
    assert!(matches!(denied, Err(CheckError::Denied(_))), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recent_checks_share_a_round() {
    let cluster = Cluster::start().await;
    let gate = cluster.connect_with("gate", Some(1), patient()).await;
    let options = CheckOptions { fresh_within: Some(Duration::from_secs(600)), ..gate.check_options() };
    let mut numbers = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let Err(CheckError::Denied(denied)) = gate.check_with(question(), options).await else { panic!() };
        numbers.insert(denied.checked.answer.statements[0].number.counter);
    }
    // It is far from half as old as was accepted.
    assert_eq!(numbers.len(), 1, "{numbers:?}");
}
