//! Our search and Go's porcupine judge the same histories, and agree.

use std::io::Write;
use std::time::Duration;

use chancery_jepsen::checkers::linearizability;
use chancery_jepsen::checkers::porcupine::Porcupine;
use chancery_jepsen::history::{Operation, Outcome};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::random::{choice, happens_last, history};
use crate::run::STEPS_MAX;

const HISTORIES: usize = 60;

#[test]
fn they_agree() {
    let folder = tempfile::tempdir().unwrap();
    let porcupine = match Porcupine::build(folder.path()) {
        Ok(porcupine) => porcupine,
        Err(not_run) => {
            eprintln!("porcupine: {not_run}");
            return;
        }
    };
    let mut runner = TestRunner::deterministic();
    let (mut good, mut bad) = (0, 0);
    for number in 0..HISTORIES {
        let choices = prop::collection::vec(choice(), 20..50).new_tree(&mut runner).unwrap().current();
        let mut run = history(&choices);
        // Two of three have a check moved to the end: some of these are good all the same.
        let decided =
            |one: &&Operation| matches!(one.outcome, Outcome::Permitted { .. } | Outcome::Denied { .. });
        let checks: Vec<u64> = run.operations.iter().filter(decided).map(|one| one.id).collect();
        if number % 3 > 0 && !checks.is_empty() {
            happens_last(&mut run, checks[number % checks.len()]);
        }
        let ours = linearizability::check(&run.operations, STEPS_MAX);
        let path = folder.path().join("history.jsonl");
        let mut file = std::fs::File::create(&path).unwrap();
        for operation in &run.operations {
            writeln!(file, "{}", serde_json::to_string(operation).unwrap()).unwrap();
        }
        let theirs = porcupine.check(&path, Duration::from_secs(600)).unwrap();
        assert_eq!(
            std::mem::discriminant(&ours.verdict),
            std::mem::discriminant(&theirs.verdict),
            "history {number}: ours {}, theirs {}",
            ours.verdict,
            theirs.verdict
        );
        if ours.verdict.is_valid() {
            // They have counted the same operations into the same parts.
            assert_eq!(ours.examined, theirs.examined, "history {number}");
            good += 1;
        } else {
            bad += 1;
        }
    }
    assert!(good >= 20 && bad >= 8, "{good} good, {bad} bad: the set shows too little of either");
}
