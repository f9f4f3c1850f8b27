//! What a ledger that decides wrongly on record would show.

use chancery_jepsen::history::{Call, Outcome};
use chancery_ledger::authority::{Decided, Entry, Verdict};
use chancery_ledger::command::{DecisionId, DecisionRef, OutcomeKind};
use chancery_ledger::decide::Denial;

use crate::caught::story;
use crate::run::{Run, caught_by};

/// The leaf of operation `id`.
fn leaf_of(run: &Run, id: usize) -> Entry {
    let Outcome::Acknowledged { index, .. } = run.operations[id].outcome else { panic!() };
    run.house.entry(index)
}

#[test]
fn a_recorded_verdict_that_the_log_does_not_give() {
    let mut run = story();
    let denied = Decided::Denied(Denial::NoGrant);
    let logs = run.decide_otherwise(11, |verdict| Verdict { decided: denied.clone(), ..verdict });
    assert_eq!(caught_by(&run.findings_over(&logs)), ["decisions"]);
    let mut run = story();
    let Entry::Command { verdict: Some(permit), .. } = leaf_of(&run, 11) else { panic!() };
    let logs = run.decide_otherwise(14, |verdict| Verdict { decided: permit.decided.clone(), ..verdict });
    assert_eq!(caught_by(&run.findings_over(&logs)), ["decisions"]);
}

#[test]
fn a_recorded_verdict_that_its_client_was_not_told() {
    let mut run = story();
    let Outcome::Acknowledged { verdict, .. } = &mut run.operation(11).outcome else { panic!() };
    verdict.as_mut().unwrap().number += 1;
    assert_eq!(caught_by(&run.findings()), ["decisions"]);
}

#[test]
fn a_permit_that_lasts_longer_than_its_grants_let_it() {
    let mut run = story();
    let logs = run.decide_otherwise(11, |mut verdict| {
        let Decided::Permit { deadline_ms, .. } = &mut verdict.decided else { panic!() };
        *deadline_ms += 1;
        verdict
    });
    assert_eq!(caught_by(&run.findings_over(&logs)), ["decisions"]);
}

#[test]
fn a_recorded_decision_that_is_counted_twice_or_not_at_all() {
    for number in [1, 3] {
        let mut run = story();
        let logs = run.decide_otherwise(14, |verdict| Verdict { number, ..verdict });
        assert_eq!(caught_by(&run.findings_over(&logs)), ["decisions"]);
    }
}

#[test]
fn an_outcome_that_is_recorded_twice_or_of_a_denial() {
    let mut run = story();
    let permit = DecisionRef::parse(match &run.operations[12].call {
        Call::Outcome { decision, .. } => decision,
        other => panic!("{other:?}"),
    })
    .unwrap();
    let Entry::Command { signed, .. } = leaf_of(&run, 14) else { panic!() };
    let id = DecisionId::of(run.house.ledger, signed.command_bytes());
    let denial = DecisionRef { number: 2, id, ..permit.clone() };
    let astray = DecisionRef { number: 2, ..permit.clone() };
    for (decision, kind) in [
        (&permit, OutcomeKind::Executed),
        (&permit, OutcomeKind::Failed),
        (&denial, OutcomeKind::Executed),
        (&astray, OutcomeKind::Executed),
    ] {
        // What a broken ledger would have added at its end; its client was told so.
        let (signed, call) = run.outcome(decision, kind);
        let mut logs = run.logs();
        let index = logs[0].leaves.len() as u64;
        let block = run.house.head().block + 1;
        let entry =
            Entry::Command { block, time_ms: run.house.now_ms, signed: signed.clone(), verdict: None };
        logs.iter_mut().for_each(|log| log.leaves.push(entry.encode()));
        let outcome = Outcome::Acknowledged { index, block, before: false, verdict: None };
        run.now_us += 100;
        let now_us = run.now_us;
        run.record(Some(&signed), call, outcome, now_us, now_us + 50);
        assert_eq!(caught_by(&run.findings_over(&logs)), ["decisions"], "{decision} {kind:?}");
        run.operations.pop();
    }
}
