//! Histories as long as those of a fault run, with as many outcomes that nobody knows, are decided in time.

use chancery_jepsen::checkers::{linearizability, permits};
use chancery_jepsen::history::{Call, Operation, Outcome};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::run::{STEPS_MAX, caught_by};

const OPERATIONS: usize = 20_000;
const AGENTS: usize = 10;

/// A history of [`AGENTS`] registers, with some 20 operations under way at any time. Of the commands, one in 16 has
/// an outcome that nobody knows; half of these took effect.
fn history() -> Vec<Operation> {
    let choices = prop::collection::vec((any::<u8>(), any::<u8>(), 0..1_000_u64, 0..1_000_u64), OPERATIONS);
    let choices = choices.new_tree(&mut TestRunner::deterministic()).unwrap().current();
    // The grants in force of each agent.
    let mut held: Vec<Vec<String>> = vec![Vec::new(); AGENTS];
    let mut operations = Vec::new();
    for (number, (what, fate, early_us, late_us)) in choices.into_iter().enumerate() {
        let (id, now_us) = (number as u64, 10_000 + 100 * number as u64);
        let (agent, held) = (format!("x{}", number % AGENTS), &mut held[number % AGENTS]);
        let unknown = fate % 16 == 0;
        let done = !unknown || fate >= 128;
        let (action, resource) = ("a".to_owned(), "r".to_owned());
        let acknowledged = Outcome::Acknowledged { index: id, block: id, before: false, verdict: None };
        let (call, mut outcome) = match what % 8 {
            _ if number < AGENTS => (Call::Register { agent, lineage: None }, acknowledged),
            0 | 1 => {
                let grant = format!("g{number}");
                if done {
                    held.push(grant.clone());
                }
                (Call::Grant { agent, action, resource, grant }, acknowledged)
            }
            2 | 3 if !held.is_empty() => {
                let position = usize::from(what / 8) % held.len();
                let grant = if done { held.remove(position) } else { held[position].clone() };
                (Call::RevokeGrant { grant }, acknowledged)
            }
            4 => {
                if done {
                    held.clear();
                }
                (Call::RevokeAgent { agent }, acknowledged)
            }
            _ => {
                let outcome = match held.first() {
                    Some(grant) => Outcome::Permitted { block: id, chain: vec![grant.clone()] },
                    None => Outcome::Denied { block: id, reason: "no_grant".into(), halt: None },
                };
                (Call::Check { agent, action, resource }, outcome)
            }
        };
        if unknown && number >= AGENTS && !matches!(call, Call::Check { .. }) {
            outcome = Outcome::Unknown { reason: "test".into() };
        }
        operations.push(Operation {
            id,
            process: 0,
            node: None,
            invoked_us: now_us - early_us,
            returned_us: Some(now_us + late_us),
            command: None,
            call,
            outcome,
        });
    }
    operations
}

#[test]
fn a_long_history_is_decided() {
    let mut operations = history();
    let finding = linearizability::check(&operations, STEPS_MAX);
    assert!(finding.verdict.is_valid(), "{}", finding.verdict);
    assert!(finding.examined > OPERATIONS as u64 * 9 / 10);
    assert!(permits::check(&operations).verdict.is_valid());

    // One permit in the middle, 30 ms late: after the next revocation of all, if not before.
    let late = operations
        .iter()
        .position(|one| one.id > OPERATIONS as u64 / 2 && matches!(one.outcome, Outcome::Permitted { .. }));
    let late = &mut operations[late.unwrap()];
    let shift_us = 30_000;
    late.invoked_us += shift_us;
    late.returned_us = late.returned_us.map(|returned_us| returned_us + shift_us);
    assert_eq!(caught_by(&[permits::check(&operations)]), ["permits"]);
}
