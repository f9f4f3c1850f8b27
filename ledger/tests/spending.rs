//! Recorded decisions spend bounds: along the whole chain, once, and give back what failed in time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use chancery_ledger::answer::verify;
use chancery_ledger::authority::{Allowance, Decided, Outcome, Verdict};
use chancery_ledger::command::{
    ActionOutcome, Authorize, Body, Bound, BoundKind, Bounds, DecisionRef, OutcomeKind, Per, SignedCommand,
    Terms,
};
use chancery_ledger::decide::{Decision, Denial, Interval, Request};
use chancery_ledger::hash::Hash;
use house::{House, bound, identifier, name, nonce, request, terms};

fn pay(agent: &str, amount: u64) -> Authorize {
    let args = format!("{{\"amount\":{amount}}}").into_bytes();
    Authorize {
        args_digest: Hash::of(&[&args]),
        args: Some(args),
        ..house::authorize(agent, "pay", "account/1")
    }
}

fn sum(limit: u64, per: Per) -> Bound {
    bound("money", BoundKind::Sum { argument: identifier("amount") }, limit, per)
}

fn granting(agent: &str, bounds: Vec<Bound>, now_ms: u64) -> Terms {
    let bounds = Bounds::collect(bounds).unwrap();
    Terms { bounds, ..terms(agent, &["pay"], &["account/*"], now_ms) }
}

/// A house in which `a` may pay within these bounds.
fn house(bounds: Vec<Bound>) -> House {
    let mut house = House::found();
    house.register("a");
    house.grant(granting("a", bounds, house.now_ms));
    house
}

fn outcome(house: &mut House, decision: &DecisionRef, kind: OutcomeKind) -> Outcome {
    let body = Body::Outcome(ActionOutcome { decision: decision.clone(), kind, result_digest: None });
    let signed = house.signed("gate", body);
    house.send(&signed)
}

/// What each bound has left by a check, now.
fn left(house: &House, agent: &str) -> Vec<u64> {
    let (args, args_digest) = (pay(agent, 0).args, pay(agent, 0).args_digest);
    let request = Request { args, args_digest, ..request(agent, "pay", "account/1") };
    let at = Interval { low_ms: house.now_ms, high_ms: house.now_ms };
    match house.read_set(&request, at).0 {
        Decision::Permit(authority) => authority.bounds.iter().map(Allowance::left).collect(),
        Decision::Denied(Denial::BoundExhausted { limit, used, .. }) => vec![limit - used],
        Decision::Denied(denial) => panic!("{denial:?}"),
    }
}

#[track_caller]
fn permitted(house: &mut House, asked: Authorize) -> DecisionRef {
    let (decision, verdict) = house.authorize(asked);
    assert!(verdict.is_permit(), "{verdict:?}");
    decision
}

#[track_caller]
fn exhausted(house: &mut House, asked: Authorize) {
    let (_, verdict) = house.authorize(asked);
    let exhausted = matches!(&verdict.decided, Decided::Denied(Denial::BoundExhausted { .. }));
    assert!(exhausted, "{verdict:?}");
}

#[test]
fn a_sum_is_spent_to_its_limit_and_no_further() {
    let mut house = house(vec![sum(100, Per::Grant)]);
    let (_, first) = house.authorize(pay("a", 70));
    let Decided::Permit { bounds, .. } = &first.decided else { panic!("{first:?}") };
    assert_eq!((bounds[0].used, bounds[0].taken, bounds[0].left()), (0, 70, 30));
    assert_eq!(left(&house, "a"), [30]);
    exhausted(&mut house, pay("a", 31));
    assert_eq!(left(&house, "a"), [30]);
    permitted(&mut house, pay("a", 30));
    exhausted(&mut house, pay("a", 1));
    // Nothing costs nothing.
    permitted(&mut house, pay("a", 0));
}

#[test]
fn a_rate_looks_back_one_window_of_ledger_time() {
    let window_ms = 10_000;
    let mut house = house(vec![bound("often", BoundKind::Rate { window_ms }, 2, Per::Grant)]);
    permitted(&mut house, pay("a", 0));
    let first_ms = house.now_ms;
    house.now_ms += 3_000;
    permitted(&mut house, pay("a", 0));
    exhausted(&mut house, pay("a", 0));
    // Each block of the house is a second later.
    house.now_ms = first_ms + window_ms - 2_000;
    exhausted(&mut house, pay("a", 0));
    assert_eq!(house.now_ms, first_ms + window_ms - 1_000);
    permitted(&mut house, pay("a", 0));
    exhausted(&mut house, pay("a", 0));
}

#[test]
fn a_slot_is_taken_until_the_outcome_or_the_deadline() {
    let mut house = house(vec![bound("at_once", BoundKind::Concurrency, 1, Per::Grant)]);
    let decision = permitted(&mut house, Authorize { execute_within_ms: 5_000, ..pay("a", 0) });
    exhausted(&mut house, pay("a", 0));
    for kind in [OutcomeKind::Unknown, OutcomeKind::Executed] {
        assert!(matches!(outcome(&mut house, &decision, kind), Outcome::Applied(_)));
        assert_eq!(left(&house, "a"), [1]);
    }
    let at_ms = house.now_ms + 1_000;
    permitted(&mut house, Authorize { execute_within_ms: 5_000, ..pay("a", 0) });
    assert_eq!(house.now_ms, at_ms);
    house.now_ms = at_ms + 3_000;
    exhausted(&mut house, pay("a", 0));
    assert_eq!(house.now_ms, at_ms + 4_000);
    permitted(&mut house, pay("a", 0));
}

#[test]
fn what_failed_in_time_is_given_back_and_nothing_else() {
    use OutcomeKind::{Compensated, Executed, Failed, Unknown};
    let paths: [(&[OutcomeKind], u64); 6] = [
        (&[], 60),
        (&[Executed], 60),
        (&[Executed, Compensated], 60),
        (&[Unknown], 60),
        (&[Failed], 100),
        (&[Unknown, Failed], 100),
    ];
    for (path, expected) in paths {
        let mut house = house(vec![sum(100, Per::Grant)]);
        let decision = permitted(&mut house, pay("a", 40));
        for kind in path {
            assert!(matches!(outcome(&mut house, &decision, *kind), Outcome::Applied(_)));
            // Said again, it is the same.
            assert!(matches!(outcome(&mut house, &decision, *kind), Outcome::Before(_)));
        }
        assert_eq!(left(&house, "a"), [expected], "{path:?}");
    }
}

#[test]
fn a_failure_a_minute_after_the_deadline_gives_nothing_back() {
    for (after_ms, expected) in [(59_999, 100), (60_000, 60)] {
        let mut house = house(vec![sum(100, Per::Grant), bound("ever", BoundKind::Count, 9, Per::Grant)]);
        let decision = permitted(&mut house, pay("a", 40));
        let deadline_ms = house.now_ms + 2_000;
        house.now_ms = deadline_ms + after_ms - 1_000;
        assert!(matches!(outcome(&mut house, &decision, OutcomeKind::Failed), Outcome::Applied(_)));
        assert_eq!(house.now_ms, deadline_ms + after_ms);
        let count = if expected == 100 { 9 } else { 8 };
        assert_eq!(left(&house, "a"), [count, expected]);
    }
}

#[test]
fn a_retry_spends_once() {
    let mut house = house(vec![sum(100, Per::Grant)]);
    let signed = house.signed("gate", Body::Authorize(pay("a", 40)));
    assert!(matches!(house.send(&signed), Outcome::Applied(_)));
    for _ in 0..3 {
        assert!(matches!(house.send(&signed), Outcome::Before(_)));
    }
    // Also within one block.
    let again = house.signed("gate", Body::Authorize(pay("a", 10)));
    house.now_ms += 1_000;
    let outcomes = house.block(vec![again.clone(), again.clone(), signed, again]).outcomes;
    assert!(matches!(outcomes[0], Outcome::Applied(_)));
    assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Outcome::Before(_))));
    assert_eq!(left(&house, "a"), [50]);
}

/// The verdicts of one block.
fn verdicts(house: &mut House, commands: Vec<SignedCommand>) -> Vec<Verdict> {
    house.now_ms += 1_000;
    let applied = house.block(commands);
    let first = house.head().log_size - u64::try_from(applied.leaves.len()).unwrap();
    let verdict = |index| match house.entry(index) {
        chancery_ledger::authority::Entry::Command { verdict, .. } => verdict,
        chancery_ledger::authority::Entry::State { .. } => None,
    };
    (first..house.head().log_size).filter_map(verdict).collect()
}

#[test]
fn two_agents_racing_for_the_last_unit_one_wins() {
    for kind in [BoundKind::Count, BoundKind::Rate { window_ms: 60_000 }, BoundKind::Concurrency] {
        for reversed in [false, true] {
            for together in [false, true] {
                let mut house = House::found();
                let last = bound("last", kind.clone(), 1, Per::Key(name("shared")));
                for agent in ["a", "b"] {
                    house.register(agent);
                    house.grant(granting(agent, vec![last.clone()], house.now_ms));
                }
                let mut race: Vec<SignedCommand> =
                    ["a", "b"].map(|agent| house.signed("gate", Body::Authorize(pay(agent, 0)))).into();
                if reversed {
                    race.reverse();
                }
                let found: Vec<Verdict> = if together {
                    verdicts(&mut house, race)
                } else {
                    race.into_iter().flat_map(|signed| verdicts(&mut house, vec![signed])).collect()
                };
                let permits: Vec<bool> = found.iter().map(Verdict::is_permit).collect();
                assert_eq!(permits, [true, false], "{kind:?} {reversed} {together}");
            }
        }
    }
}

#[test]
fn a_child_spends_its_parents_bounds_and_its_own() {
    let mut house = House::found();
    for agent in ["a", "b", "c"] {
        house.register(agent);
    }
    let now_ms = house.now_ms;
    let shared = |limit| bound("calls", BoundKind::Count, limit, Per::Key(name("desk")));
    let root = house.grant(granting("a", vec![sum(100, Per::Agent), shared(3)], now_ms));
    let child = Terms { delegable_depth: 1, ..granting("b", vec![sum(60, Per::Grant)], now_ms) };
    let child = house.delegate("a", root, child);
    // The same meter twice in one chain is spent once.
    let grandchild = Terms { delegable_depth: 0, ..granting("c", vec![shared(9)], now_ms) };
    house.delegate("b", child, grandchild);

    permitted(&mut house, pay("c", 50));
    assert_eq!(left(&house, "c"), [8, 10, 2, 50]);
    assert_eq!(left(&house, "b"), [10, 2, 50]);
    assert_eq!(left(&house, "a"), [2, 50]);
    exhausted(&mut house, pay("c", 11));
    permitted(&mut house, pay("a", 45));
    // Only 5 are left to the parent: its child has no more, whatever its own bound leaves.
    exhausted(&mut house, pay("b", 6));
    permitted(&mut house, pay("b", 5));
    exhausted(&mut house, pay("c", 0));
    assert_eq!(left(&house, "a"), [0]);
}

#[test]
fn what_is_left_is_proven_to_whoever_checks() {
    let mut house = house(vec![sum(100, Per::Agent), bound("ever", BoundKind::Count, 3, Per::Grant)]);
    permitted(&mut house, pay("a", 40));
    let asked = pay("a", 60);
    let request =
        Request { args: asked.args, args_digest: asked.args_digest, ..request("a", "pay", "account/1") };
    let answer = house.answer(&request, nonce("left"));
    let verified = verify(&house.trust, &request, nonce("left"), &answer).unwrap();
    let Decision::Permit(authority) = verified.decision else { panic!("{:?}", verified.decision) };
    let found: Vec<_> = authority
        .bounds
        .iter()
        .map(|left| (left.bound.name.as_str(), left.used, left.left(), left.wanted))
        .collect();
    assert_eq!(found, [("ever", 1, 2, 1), ("money", 40, 60, 60)]);
    // Without the meters' records nothing is decided: what is spent cannot be left out.
    let meters = answer.tree.encode();
    let spent = meters.windows(5).filter(|bytes| bytes == b"meter").count();
    assert_eq!(spent, 2);
}
