//! Recorded decisions: decided and counted before the agent acts, in the log for ever, in the state for a
//! while; what becomes of them is recorded once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::answer::verify;
use chancery_ledger::authority::{Decided, Entry, Outcome, Verdict};
use chancery_ledger::command::{
    ActionOutcome, Authorize, Body, DecisionId, DecisionRef, Limits, OutcomeKind, SignedCommand, Traceparent,
};
use chancery_ledger::decide::Denial;
use chancery_ledger::hash::Hash;
use chancery_proto::v1 as wire;
use house::{House, authorize, name, nonce, request, terms};
use prost::Message;

const AGENT: &str = "team/a";

/// A house in which team/a may deploy to prod/* for an hour, at 5 s of staleness.
fn house(limits: Limits) -> House {
    let mut house = House::found_with(limits);
    house.register(AGENT);
    house.grant(terms(AGENT, &["deploy"], &["prod/*"], house.now_ms));
    house
}

fn deploy() -> Authorize {
    authorize(AGENT, "deploy", "prod/db")
}

fn deadline_ms(verdict: &Verdict) -> u64 {
    match &verdict.decided {
        Decided::Permit { deadline_ms, .. } => *deadline_ms,
        Decided::Denied(denial) => panic!("{denial:?}"),
    }
}

fn outcome(decision: &DecisionRef, kind: OutcomeKind, result: Option<&str>) -> Body {
    let result_digest = result.map(|result| Hash::of(&[result.as_bytes()]));
    Body::Outcome(ActionOutcome { decision: decision.clone(), kind, result_digest })
}

#[track_caller]
fn send(house: &mut House, body: Body) -> Outcome {
    let signed = house.signed("gate", body);
    house.send(&signed)
}

#[track_caller]
fn refused(house: &mut House, body: Body, code: &str) {
    let size = house.head().log_size;
    let Outcome::Refused(refusal) = send(house, body) else { panic!("not refused") };
    assert_eq!((refusal.code(), house.head().log_size), (code, size));
}

#[test]
fn permits_and_denials_are_recorded_and_counted() {
    let mut house = house(house::limits());
    let (first, verdict) = house.authorize(deploy());
    assert_eq!(verdict.number, 1);
    assert!(matches!(&verdict.decided, Decided::Permit { chain, .. } if chain.len() == 1));
    let (second, verdict) = house.authorize(authorize(AGENT, "pay", "prod/db"));
    assert_eq!(verdict, Verdict { number: 2, decided: Decided::Denied(Denial::NoGrant) });
    assert_ne!(first.id, second.id);
    house.applied("revoker", Body::RevokeAgent { agent: name(AGENT), reason: String::new() });
    let (_, verdict) = house.authorize(deploy());
    let Decided::Denied(Denial::AllRevoked { agent, cause }) = &verdict.decided else {
        panic!("{verdict:?}")
    };
    assert_eq!((agent.as_str(), cause.index, verdict.number), (AGENT, house.head().log_size - 4, 3));
    // Without a record nobody's decisions can be counted.
    refused(&mut house, Body::Authorize(authorize("nobody", "deploy", "prod/db")), "unknown_agent");
}

#[test]
fn that_no_decision_was_recorded_in_between_is_proven_by_the_same_counters() {
    let mut house = house(house::limits());
    let asked = request(AGENT, "deploy", "prod/db");
    let counted = |house: &House, label: &str| {
        let answer = house.answer(&asked, nonce(label));
        verify(&house.trust, &asked, nonce(label), &answer).unwrap().recorded.unwrap()
    };
    let before = counted(&house, "before");
    assert_eq!((before.decisions, before.permits), (0, 0));
    house.register("team/b");
    assert_eq!(counted(&house, "others act"), before);
    house.authorize(authorize(AGENT, "pay", "prod/db"));
    let denied = counted(&house, "a denial");
    assert_eq!((denied.decisions, denied.permits), (1, 0));
    let permitted = house.authorize(deploy()).0;
    let after = counted(&house, "a permit");
    assert_eq!((after.decisions, after.permits), (2, 1));
    // What becomes of a decision is none.
    assert!(matches!(
        send(&mut house, outcome(&permitted, OutcomeKind::Executed, None)),
        Outcome::Applied(_)
    ));
    house.applied("revoker", Body::RevokeAgent { agent: name(AGENT), reason: String::new() });
    assert_eq!(counted(&house, "another epoch"), after);
    let unknown = request("nobody", "deploy", "prod/db");
    let answer = house.answer(&unknown, nonce("unknown"));
    assert_eq!(verify(&house.trust, &unknown, nonce("unknown"), &answer).unwrap().recorded, None);
}

#[test]
fn the_deadline_is_the_earliest_of_three() {
    let mut house = house(house::limits());
    let (_, verdict) = house.authorize(deploy());
    assert_eq!(deadline_ms(&verdict), house.now_ms + 2_000);
    // The grant's staleness, so that a revocation is in force everywhere as soon as it would be without.
    let (_, verdict) = house.authorize(Authorize { execute_within_ms: 60_000, ..deploy() });
    assert_eq!(deadline_ms(&verdict), house.now_ms + 5_000);
    // The grant's end.
    house.register("team/b");
    let mut ending = terms("team/b", &["deploy"], &["prod/*"], house.now_ms);
    ending.not_after_ms = house.now_ms + 3_000;
    let end_ms = ending.not_after_ms;
    house.grant(ending);
    let (_, verdict) = house.authorize(authorize("team/b", "deploy", "prod/db"));
    assert_eq!((house.now_ms + 1_000, deadline_ms(&verdict)), (end_ms, end_ms));
    let (_, verdict) = house.authorize(authorize("team/b", "deploy", "prod/db"));
    assert_eq!(verdict.decided, Decided::Denied(Denial::Ended { not_after_ms: end_ms }));
    refused(
        &mut house,
        Body::Authorize(Authorize { execute_within_ms: 60_001, ..deploy() }),
        "execution_too_late",
    );
}

#[test]
fn an_open_decision_keeps_its_place() {
    let mut house = house(Limits { open_decisions_per_agent_max: 2, ..house::limits() });
    let long = || Authorize { execute_within_ms: 5_000, ..deploy() };
    let (first, _) = house.authorize(long());
    let (second, _) = house.authorize(authorize(AGENT, "pay", "prod/db"));
    refused(&mut house, Body::Authorize(long()), "too_many_open_decisions");
    // Others have a ring of their own.
    house.register("team/b");
    house.authorize(authorize("team/b", "deploy", "prod/db"));
    assert!(matches!(send(&mut house, outcome(&first, OutcomeKind::Failed, None)), Outcome::Applied(_)));
    let (third, _) = house.authorize(long());
    assert_eq!(third.number, 3);
    // The first is not kept any more; a denial takes no outcome, and gives up its place at once.
    refused(&mut house, outcome(&first, OutcomeKind::Failed, None), "unknown_decision");
    refused(&mut house, outcome(&second, OutcomeKind::Executed, None), "decision_denied");
    let (fourth, _) = house.authorize(long());
    // Once the deadline has passed an outcome may still come, until another takes the place.
    house.now_ms += 10_000;
    assert!(matches!(send(&mut house, outcome(&fourth, OutcomeKind::Executed, None)), Outcome::Applied(_)));
    house.authorize(long());
    refused(&mut house, outcome(&third, OutcomeKind::Executed, None), "unknown_decision");
}

#[test]
fn a_parent_is_a_decision_that_is_kept() {
    let mut house = house(Limits { open_decisions_per_agent_max: 1, ..house::limits() });
    let (parent, _) = house.authorize(authorize(AGENT, "pay", "prod/db"));
    let child = |parent: &DecisionRef| Authorize { parent: Some(parent.clone()), ..deploy() };
    house.register("team/b");
    house.authorize(Authorize { agent: name("team/b"), ..child(&parent) });
    let astray = DecisionRef { number: 2, ..parent.clone() };
    refused(&mut house, Body::Authorize(child(&astray)), "unknown_decision");
    let astray = DecisionRef { agent: name("team/c"), ..parent.clone() };
    refused(&mut house, Body::Authorize(child(&astray)), "unknown_decision");
    // It may be the one whose place is taken.
    house.authorize(child(&parent));
    refused(&mut house, Body::Authorize(child(&parent)), "unknown_decision");
}

#[test]
fn what_became_of_it_is_recorded_once() {
    use OutcomeKind::{Compensated, Executed, Failed, Unknown};
    // What is recorded, what is said, and what becomes of that.
    let cases: [(&[OutcomeKind], OutcomeKind, Option<&str>); 18] = [
        (&[], Executed, None),
        (&[], Failed, None),
        (&[], Unknown, None),
        (&[], Compensated, Some("not_executed")),
        (&[Unknown], Executed, None),
        (&[Unknown], Failed, None),
        (&[Unknown], Unknown, Some("outcome_recorded")),
        (&[Unknown], Compensated, Some("not_executed")),
        (&[Executed], Compensated, None),
        (&[Executed], Executed, Some("outcome_recorded")),
        (&[Executed], Failed, Some("outcome_recorded")),
        (&[Executed], Unknown, Some("outcome_recorded")),
        (&[Failed], Executed, Some("outcome_recorded")),
        (&[Failed], Compensated, Some("outcome_recorded")),
        (&[Unknown, Executed], Compensated, None),
        (&[Unknown, Failed], Executed, Some("outcome_recorded")),
        (&[Executed, Compensated], Executed, Some("outcome_recorded")),
        (&[Unknown, Executed, Compensated], Compensated, Some("outcome_recorded")),
    ];
    let mut house = house(house::limits());
    for (recorded, said, code) in cases {
        let (decision, _) = house.authorize(deploy());
        let mut first = None;
        for kind in recorded {
            let Outcome::Applied(cause) = send(&mut house, outcome(&decision, *kind, Some("recorded")))
            else {
                panic!("{recorded:?}")
            };
            first.get_or_insert(cause);
        }
        match code {
            None => {
                let became = send(&mut house, outcome(&decision, said, Some("said")));
                assert!(matches!(became, Outcome::Applied(_)), "{recorded:?} {said:?}: {became:?}");
            }
            Some(code) => refused(&mut house, outcome(&decision, said, Some("said")), code),
        }
        // The same again, under another request id, was done before: also when others followed.
        if let (Some(kind), Some(first)) = (recorded.first(), first) {
            let again = send(&mut house, outcome(&decision, *kind, Some("recorded")));
            assert_eq!(again, Outcome::Before(first));
        }
    }
}

#[test]
fn the_same_bytes_decide_once() {
    let mut house = house(house::limits());
    let signed = house.signed("gate", Body::Authorize(deploy()));
    let Outcome::Applied(cause) = house.send(&signed) else { panic!() };
    house.applied("revoker", Body::RevokeAgent { agent: name(AGENT), reason: String::new() });
    // Whatever is so by now: what was decided stays.
    assert_eq!(house.send(&signed), Outcome::Before(cause));
    assert!(
        matches!(house.entry(cause.index), Entry::Command { verdict: Some(verdict), .. } if verdict.is_permit())
    );
}

#[test]
fn only_a_gate_of_the_agent_asks_and_says() {
    let mut house = house(house::limits());
    let team = house::scope(&["team/b"], &["*"], &["*"]);
    let gate = house::principal("team-gate", &[chancery_ledger::command::Role::Gate], team);
    house.applied("operator-1", Body::AddPrincipal(gate));
    let (decision, _) = house.authorize(deploy());
    for body in [Body::Authorize(deploy()), outcome(&decision, OutcomeKind::Executed, None)] {
        for (signer, code) in
            [("team-gate", "out_of_scope"), ("issuer", "wrong_role"), ("stranger", "unknown_principal")]
        {
            let signed = house.signed(signer, body.clone());
            let Outcome::Refused(refusal) = house.send(&signed) else { panic!() };
            assert_eq!(refusal.code(), code);
        }
    }
}

// ----------------------------------------------------------------------------------------------------
// Leaves.

#[test]
fn a_leaf_has_a_verdict_if_and_only_if_something_was_decided() {
    let mut house = house(house::limits());
    let (_, verdict) = house.authorize(deploy());
    let size = house.head().log_size;
    let leaf = |index: u64| {
        wire::Entry::decode(house.replicas[0].leaves[usize::try_from(index).unwrap()].as_slice()).unwrap()
    };
    let decoded = |mut entry: wire::Entry, change: &dyn Fn(&mut wire::CommandEntry)| {
        let Some(wire::entry::Body::Command(command)) = &mut entry.body else { panic!() };
        change(command);
        Entry::decode(&entry.encode_to_vec())
    };
    let decision = leaf(size - 2);
    let Ok(Entry::Command { verdict: found, .. }) = decoded(decision.clone(), &|_| {}) else { panic!() };
    assert_eq!(found, Some(verdict));
    let given = match &decision.body {
        Some(wire::entry::Body::Command(command)) => command.verdict.clone().unwrap(),
        _ => panic!(),
    };
    assert!(decoded(decision.clone(), &|command| command.verdict = None).is_err());
    let grant = leaf(size - 4);
    decoded(grant.clone(), &|_| {}).unwrap();
    assert!(decoded(grant, &|command| command.verdict = Some(given.clone())).is_err());
    // A denial has the fields of its code, and no others.
    let denial = |code: &str| wire::Denial { code: code.into(), ..wire::Denial::default() };
    let cases = [
        (denial("no_grant"), true),
        (denial("ended"), true),
        (denial("maybe"), false),
        (denial(""), false),
        (denial("revoked"), false),
        (denial("retired"), false),
        (wire::Denial { time_ms: 7, ..denial("ended") }, true),
        (wire::Denial { time_ms: 7, ..denial("no_grant") }, false),
        (wire::Denial { agent: "team/a".into(), ..denial("no_grant") }, false),
    ];
    for (denial, good) in cases {
        let verdict =
            wire::Verdict { number: 1, decision: Some(wire::verdict::Decision::Denial(denial.clone())) };
        let found = decoded(decision.clone(), &|command| command.verdict = Some(verdict.clone()));
        assert_eq!(found.is_ok(), good, "{denial:?}");
    }
    for broken in [
        wire::Verdict { number: 0, ..given.clone() },
        wire::Verdict { decision: None, ..given.clone() },
        wire::Verdict {
            decision: Some(wire::verdict::Decision::Permit(wire::Permit {
                deadline_ms: 7,
                ..wire::Permit::default()
            })),
            ..given.clone()
        },
    ] {
        assert!(decoded(decision.clone(), &|command| command.verdict = Some(broken.clone())).is_err());
    }
}

#[test]
fn a_traceparent_is_one() {
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(good.len(), 55);
    assert_eq!(Traceparent::new(good).unwrap().as_str(), good);
    for bad in [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
    ] {
        assert_eq!(Traceparent::new(bad), None, "{bad:?}");
    }
}

#[test]
fn a_decision_is_named_in_one_way() {
    let id = DecisionId(Hash::of(&[b"some"]));
    for agent in ["bot", "team/a", "a/7", "a@b", "a/7@0"] {
        let decision = DecisionRef { agent: name(agent), number: 7, id };
        assert_eq!(DecisionRef::parse(&decision.to_string()), Some(decision));
    }
    for bad in [
        String::new(),
        format!("bot/7@{}", "0".repeat(63)),
        format!("bot/0@{id}"),
        format!("bot/07@{id}"),
        format!("bot/+7@{id}"),
        format!("bot@{id}"),
        format!("/7@{id}"),
        format!("*/7@{id}"),
        format!("bot/7{id}"),
        format!("bot/18446744073709551616@{id}"),
    ] {
        assert_eq!(DecisionRef::parse(&bad), None, "{bad}");
    }
}

// ----------------------------------------------------------------------------------------------------
// Batches.

/// `count` commands, signed at once.
fn signed_at_once(house: &mut House, count: usize) -> Vec<SignedCommand> {
    let asked = || Body::Authorize(authorize("team/b", "deploy", "prod/db"));
    let commands: Vec<_> = (0..count).map(|_| house.command("gate", asked())).collect();
    SignedCommand::sign_batch(house.ledger, &commands, &house::key("gate")).unwrap()
}

#[test]
fn one_signature_covers_many_and_each_stands_alone() {
    let mut house = house(Limits { dedup_entries_per_signer_max: 10_000, ..house::limits() });
    house.register("team/b");
    for count in [1, 2, 3, 5, 64, 1_000, 1_024] {
        let signed = signed_at_once(&mut house, count);
        for one in &signed {
            one.verify(house.ledger).unwrap();
            assert_eq!(SignedCommand::decode(&one.encode()).unwrap(), *one);
        }
        // In any order, in any block.
        let outcomes = house.block(signed.into_iter().rev().collect()).outcomes;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied(_))));
    }
}

#[test]
fn a_signature_over_a_batch_is_verified_once() {
    let mut house = house(house::limits());
    let known = chancery_ledger::command::VerifiedSignatures::default();
    let signed = signed_at_once(&mut house, 100);
    for one in &signed {
        one.verify_with(house.ledger, &known).unwrap();
    }
    assert_eq!(known.len(), 1);
    // What is known does not excuse what is not of it.
    let other = signed_at_once(&mut house, 100);
    let astray = swap_signature(&other[0], &signed[0]);
    assert!(astray.verify_with(house.ledger, &known).is_err());
    let elsewhere = chancery_ledger::command::LedgerId(Hash::of(&[b"another ledger"]));
    assert!(signed[0].verify_with(elsewhere, &known).is_err());
    assert_eq!(known.len(), 1);
}

#[test]
fn what_is_signed_here_is_known_and_covers_no_other() {
    let mut house = house(house::limits());
    let (ledger, key) = (house.ledger, house::key("gate"));
    let commands: Vec<_> = signed_at_once(&mut house, 4).iter().map(|one| one.command().clone()).collect();
    let made = chancery_ledger::command::VerifiedSignatures::with_singles();
    let elsewhere = chancery_ledger::command::LedgerId(Hash::of(&[b"another ledger"]));

    let alone = |command| SignedCommand::sign_known(ledger, command, &[&key], &made).unwrap();
    let [one, other, ..] = commands.as_slice() else { panic!("four") };
    let signed = alone(one);
    assert_eq!(made.len(), 1, "without a verification");
    signed.verify_with(ledger, &made).unwrap();
    assert_eq!(signed, SignedCommand::sign(ledger, one, &[&key]).unwrap());
    assert!(swap_signature(&alone(other), &signed).verify_with(ledger, &made).is_err());
    assert!(signed.verify_with(elsewhere, &made).is_err());
    assert_eq!(made.len(), 2);

    let together = SignedCommand::sign_batch_known(ledger, &commands, &key, &made).unwrap();
    assert_eq!(made.len(), 3);
    for signed in &together {
        signed.verify(ledger).unwrap();
        signed.verify_with(ledger, &made).unwrap();
        assert!(signed.verify_with(elsewhere, &made).is_err());
    }
    assert!(swap_signature(&together[0], &together[1]).verify_with(ledger, &made).is_err());
    assert_eq!(made.len(), 3);
}

/// `to` under the signatures of `from`.
fn swap_signature(to: &SignedCommand, from: &SignedCommand) -> SignedCommand {
    let mut to = wire::SignedCommand::decode(to.encode().as_slice()).unwrap();
    to.signatures = wire::SignedCommand::decode(from.encode().as_slice()).unwrap().signatures;
    SignedCommand::decode(&to.encode_to_vec()).unwrap()
}

#[test]
fn a_signature_over_one_command_is_remembered_where_it_is_met_again_and_covers_no_other() {
    let mut house = House::found();
    let mut signed = |agent: &str| {
        let asked = authorize(agent, "deploy", "prod/web");
        house.signed("gate", Body::Authorize(asked))
    };
    let (one, other) = (signed("team/a"), signed("team/b"));
    let forgets = chancery_ledger::command::VerifiedSignatures::default();
    one.verify_with(house.ledger, &forgets).unwrap();
    assert_eq!(forgets.len(), 0);
    let seen = chancery_ledger::command::VerifiedSignatures::with_singles();
    for _ in 0..2 {
        one.verify_with(house.ledger, &seen).unwrap();
        assert_eq!(seen.len(), 1);
    }
    // Every byte of what is sent matters, whatever was seen: it is refused, or is no command at all.
    let bytes = one.encode();
    for at in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[at] ^= 1;
        if let Ok(forged) = SignedCommand::decode(&forged) {
            assert!(forged.verify_with(house.ledger, &seen).is_err(), "byte {at}");
        }
    }
    let elsewhere = chancery_ledger::command::LedgerId(Hash::of(&[b"another ledger"]));
    one.verify_with(elsewhere, &seen).unwrap_err();
    assert_eq!(seen.len(), 1);
    other.verify_with(house.ledger, &seen).unwrap();
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_place_in_a_batch_is_exact() {
    let mut house = house(house::limits());
    let signed = signed_at_once(&mut house, 5);
    // As a signature over one command alone it is none, nor at another place, nor with another path.
    let change = |place: usize, change: &dyn Fn(&mut Option<wire::CommandBatch>)| {
        let mut w = wire::SignedCommand::decode(signed[place].encode().as_slice()).unwrap();
        change(&mut w.signatures[0].batch);
        SignedCommand::decode(&w.encode_to_vec()).ok().filter(|one| one.verify(house.ledger).is_ok())
    };
    for place in 0..5 {
        assert!(change(place, &|_| {}).is_some());
        assert!(change(place, &|batch| *batch = None).is_none());
        assert!(change(place, &|batch| batch.as_mut().unwrap().index ^= 1).is_none());
        for count in [0, 1, 4, 6, 7, 8, 1_025] {
            assert!(
                change(place, &|batch| batch.as_mut().unwrap().count = count).is_none(),
                "{place} {count}"
            );
        }
        assert!(change(place, &|batch| batch.as_mut().unwrap().hashes.push(vec![0; 32])).is_none());
        assert!(change(place, &|batch| drop(batch.as_mut().unwrap().hashes.pop())).is_none());
        assert!(change(place, &|batch| batch.as_mut().unwrap().hashes[0][31] ^= 1).is_none());
        assert!(change(place, &|batch| batch.as_mut().unwrap().hashes[0].truncate(31)).is_none());
    }
    assert!(SignedCommand::sign_batch(house.ledger, &[], &house::key("gate")).is_err());
    let command = signed[0].command().clone();
    assert!(
        SignedCommand::sign_batch(house.ledger, &vec![command.clone(); 1_025], &house::key("gate")).is_err()
    );
    assert!(SignedCommand::sign_batch(house.ledger, &[command], &house::key("issuer")).is_err());
    let new_key = house::public("somebody");
    let rotate = Body::RotatePrincipal { old_key: house::public("gate"), new_key };
    let rotate = house.command("gate", rotate);
    assert!(SignedCommand::sign_batch(house.ledger, &[rotate], &house::key("gate")).is_err());
}
