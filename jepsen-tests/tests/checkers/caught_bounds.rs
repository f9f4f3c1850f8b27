//! What a ledger that overspends, or that says too early that nothing is left, would show.

use chancery_jepsen::history::{Outcome, ToldDecided};
use chancery_ledger::authority::{BoundTaken, Decided, Verdict};
use chancery_ledger::command::{Bound, BoundKind, OutcomeKind, Per};
use chancery_ledger::decide::Denial;

use crate::house::{bound, identifier, name};
use crate::run::{RESOURCE, Run, assert_valid, caught_by, grant_of};

fn money(limit: u64) -> Bound {
    bound("money", BoundKind::Sum { argument: identifier("amount") }, limit, Per::Key(name("purse")))
}

/// Operations 0 register x, 1 grant of 100 in three calls; 2 permit of 60, 3 denial of 60, 4 what failed is given
/// back, 5 permit of 60, 6 permit of 40, 7 denial of 1.
fn story() -> Run {
    let mut run = Run::new();
    let command = run.register("x");
    run.give(command);
    let calls = bound("calls", BoundKind::Count, 3, Per::Agent);
    let command = run.grant_within("x", "a", RESOURCE, vec![calls, money(100)]);
    run.give(command);
    let permit = run.authorized_amount("x", Some(60));
    run.authorized_amount("x", Some(60));
    let command = run.outcome(&permit, OutcomeKind::Failed);
    run.give(command);
    for amount in [60, 40, 1] {
        run.authorized_amount("x", Some(amount));
    }
    assert_valid(&run.findings());
    run
}

fn told(run: &Run, id: usize) -> &ToldDecided {
    match &run.operations[id].outcome {
        Outcome::Acknowledged { verdict: Some(verdict), .. } => &verdict.decided,
        other => panic!("{other:?}"),
    }
}

fn is_permitted(run: &Run, id: usize) -> bool {
    matches!(told(run, id), ToldDecided::Permit { .. })
}

#[test]
fn the_story_is_what_it_says() {
    let run = story();
    assert_eq!([2, 3, 5, 6, 7].map(|id| is_permitted(&run, id)), [true, false, true, true, false]);
    let findings = run.findings();
    let bounds = findings.iter().find(|finding| finding.checker == "bounds").unwrap();
    assert_eq!(bounds.examined, 5);
}

/// The verdict of a denial for a bound, as a permit that takes what there is not.
fn permitted(verdict: Verdict, of: &ToldDecided) -> Verdict {
    let Decided::Denied(Denial::BoundExhausted { grant, name, limit, used, wanted }) = verdict.decided else {
        panic!()
    };
    let ToldDecided::Permit { deadline_ms, .. } = of else { panic!() };
    let taken = BoundTaken { grant, name, limit, used, taken: wanted.unwrap() };
    let decided = Decided::Permit {
        chain: vec![grant],
        generation: None,
        deadline_ms: *deadline_ms,
        bounds: vec![taken],
    };
    Verdict { decided, ..verdict }
}

#[test]
fn what_was_overspent() {
    for id in [3, 7] {
        let mut run = story();
        // As long as the one before it, a second or more later.
        let before = told(&run, if id == 3 { 2 } else { 6 }).clone();
        let ToldDecided::Permit { chain, deadline_ms, bounds } = before else { panic!() };
        let deadline_ms = deadline_ms + 1_000;
        let before = ToldDecided::Permit { chain, deadline_ms, bounds };
        let logs = run.decide_otherwise(id, |verdict| permitted(verdict, &before));
        assert_eq!(caught_by(&run.findings_over(&logs)), ["bounds"]);
    }
}

#[test]
fn a_denial_while_there_is_room() {
    for id in [2, 5, 6] {
        let mut run = story();
        let logs = run.decide_otherwise(id, |verdict| {
            let Decided::Permit { bounds, .. } = verdict.decided else { panic!() };
            let BoundTaken { grant, name, limit, .. } = bounds[0].clone();
            let denial = Denial::BoundExhausted { grant, name, limit, used: limit, wanted: Some(1) };
            Verdict { decided: Decided::Denied(denial), ..verdict }
        });
        let caught = caught_by(&run.findings_over(&logs));
        assert!(caught.contains(&"bounds"), "{caught:?}");
        // The outcome of the first one is of no permit then.
        assert_eq!(caught.contains(&"decisions"), id == 2);
    }
}

#[test]
fn numbers_that_are_not_so() {
    let mut run = story();
    let logs = run.decide_otherwise(6, |mut verdict| {
        let Decided::Permit { bounds, .. } = &mut verdict.decided else { panic!() };
        bounds[1].used -= 1;
        verdict
    });
    assert_eq!(caught_by(&run.findings_over(&logs)), ["bounds"]);

    let mut run = story();
    let logs = run.decide_otherwise(6, |mut verdict| {
        let Decided::Permit { bounds, .. } = &mut verdict.decided else { panic!() };
        bounds.pop();
        verdict
    });
    assert_eq!(caught_by(&run.findings_over(&logs)), ["bounds"]);

    let mut run = story();
    let logs = run.decide_otherwise(7, |mut verdict| {
        let Decided::Denied(Denial::BoundExhausted { limit, .. }) = &mut verdict.decided else { panic!() };
        *limit += 1;
        verdict
    });
    assert_eq!(caught_by(&run.findings_over(&logs)), ["bounds"]);
}

#[test]
fn of_two_who_want_the_last_unit_one_gets_it() {
    let mut run = Run::new();
    for agent in ["x", "y"] {
        let command = run.register(agent);
        run.give(command);
    }
    let last = bound("last", BoundKind::Count, 1, Per::Key(name("both")));
    let grants: Vec<String> = ["x", "y"]
        .into_iter()
        .map(|agent| {
            let command = run.grant_within(agent, "a", RESOURCE, vec![last.clone()]);
            let grant = grant_of(&command.1);
            run.give(command);
            grant
        })
        .collect();
    assert_ne!(grants[0], grants[1]);
    let race = vec![run.authorize("x"), run.authorize("y")];
    let ids = run.apply(race, 5_000, 6_000);
    assert_eq!([0, 1].map(|one: usize| is_permitted(&run, ids[one] as usize)), [true, false]);
    assert_valid(&run.findings());
    // Both win,
    let before = told(&run, ids[0] as usize).clone();
    let logs = run.decide_otherwise(ids[1], |verdict| permitted(verdict, &before));
    assert_eq!(caught_by(&run.findings_over(&logs)), ["bounds"]);
}

#[test]
fn every_kind_is_counted_in_the_ledgers_time() {
    let kinds = [
        (BoundKind::Rate { window_ms: 2_500 }, [true, true, false, true]),
        (BoundKind::Concurrency, [true, true, true, true]),
        (BoundKind::Count, [true, true, false, false]),
    ];
    for (kind, expected) in kinds {
        let mut run = Run::new();
        let command = run.register("x");
        run.give(command);
        let command = run.grant_within("x", "a", RESOURCE, vec![bound("b", kind, 2, Per::Grant)]);
        run.give(command);
        // A second from one to the next; each may begin within two.
        let first = run.operations.len();
        for _ in 0..4 {
            run.authorized_amount("x", None);
        }
        assert_eq!([0, 1, 2, 3].map(|number| is_permitted(&run, first + number)), expected);
        assert_valid(&run.findings());
    }
}

#[test]
fn what_is_below_spends_what_is_above() {
    let mut run = Run::new();
    for agent in ["x", "y"] {
        let command = run.register(agent);
        run.give(command);
    }
    let command = run.grant_within("x", "a", RESOURCE, vec![bound("b", BoundKind::Count, 1, Per::Grant)]);
    let parent = grant_of(&command.1);
    run.give(command);
    let command = run.delegate("x", &parent, "y", 1);
    run.give(command);
    run.authorized("y");
    run.authorized("x");
    let denied = run.operations.len() - 1;
    assert!(!is_permitted(&run, denied));
    assert_valid(&run.findings());
}
