//! For each kind of violation a small history that shows it, and the checkers that must say so. Each is made from a
//! good one, which passes, by one change.

use chancery_jepsen::checkers::Verdict as Judged;
use chancery_jepsen::history::{Call, Outcome, Proof};
use chancery_ledger::authority::Entry;
use chancery_ledger::command::OutcomeKind;
use chancery_ledger::hash::{Hash, to_hex};
use chancery_ledger::head::{Fresh, Head, Number, Statement};

use crate::house::{key, voter};
use crate::run::{Run, assert_valid, caught_by};

/// Operations 0 to 7: register x, grant, permit, revoke, denial, grant again, permit, all of x revoked; 8: denial.
/// Then, of another agent and on record: 9 register y, 10 grant, 11 permit, 12 executed, 13 revoke, 14 denial.
pub fn story() -> Run {
    let mut run = Run::new();
    let command = run.register("x");
    run.give(command);
    let grant = run.granted("x");
    run.check("x");
    let command = run.revoke(&grant);
    run.give(command);
    run.check("x");
    run.granted("x");
    run.check("x");
    let command = run.revoke_all("x");
    run.give(command);
    run.check("x");
    let command = run.register("y");
    run.give(command);
    let grant = run.granted("y");
    let permit = run.authorized("y");
    let command = run.outcome(&permit, OutcomeKind::Executed);
    run.give(command);
    let command = run.revoke(&grant);
    run.give(command);
    run.authorized("y");
    assert_valid(&run.findings());
    run
}

/// Lets operation `id` happen after everything else, as far as its client's clock goes.
pub fn happens_last(run: &mut Run, id: u64) {
    let last_us = run.operations.iter().filter_map(|one| one.returned_us).max().unwrap();
    let operation = run.operation(id);
    (operation.invoked_us, operation.returned_us) = (last_us + 10, Some(last_us + 20));
}

#[test]
fn the_story_is_what_it_says() {
    let run = story();
    let permitted = |id: usize| matches!(run.operations[id].outcome, Outcome::Permitted { .. });
    assert_eq!([2, 4, 6, 8].map(permitted), [true, false, true, false]);
    let findings = run.findings();
    let empty = findings.iter().filter(|finding| finding.examined == 0).map(|finding| finding.checker);
    // Those have stories of their own.
    assert_eq!(empty.collect::<Vec<_>>(), ["bounds", "halts"]);
}

#[test]
fn a_lost_command() {
    let run = story();
    let mut logs = run.logs();
    for log in &mut logs {
        let last = log.leaves.len() - 2;
        log.leaves.drain(last..);
    }
    assert!(caught_by(&run.findings_over(&logs)).contains(&"log"));
}

#[test]
fn a_command_done_twice() {
    let run = story();
    let mut logs = run.logs();
    for log in &mut logs {
        let again = log.leaves[log.leaves.len() - 2].clone();
        log.leaves.push(again);
    }
    assert_eq!(caught_by(&run.findings_over(&logs))[..1], ["log"]);
}

#[test]
fn nodes_that_serve_different_logs() {
    let run = story();
    let mut logs = run.logs();
    logs[2].leaves.pop();
    assert_eq!(caught_by(&run.findings_over(&logs))[..1], ["log"]);
}

#[test]
fn an_effect_of_what_was_said_to_have_none() {
    for outcome in
        [Outcome::NotDone { reason: "test".into() }, Outcome::Refused { reason: "grant_exists".into() }]
    {
        let mut run = story();
        run.operation(5).outcome = outcome;
        assert!(caught_by(&run.findings()).contains(&"log"));
    }
}

#[test]
fn a_command_that_nobody_gave() {
    let mut run = story();
    run.operations.remove(7);
    assert!(caught_by(&run.findings()).contains(&"log"));
}

#[test]
fn an_index_that_the_client_was_not_told() {
    let mut run = story();
    let Outcome::Acknowledged { index, .. } = &mut run.operation(3).outcome else { panic!() };
    *index += 2;
    assert!(caught_by(&run.findings()).contains(&"log"));
}

#[test]
fn an_order_of_commands_against_the_clock() {
    let mut run = story();
    // The registration was asked for after all else was acknowledged, but is the first in the log.
    happens_last(&mut run, 0);
    assert!(caught_by(&run.findings()).contains(&"real-time"));
}

#[test]
fn a_stale_denial() {
    let mut run = story();
    // Denied from the block before the second grant, though asked for after the second permit.
    happens_last(&mut run, 4);
    assert_eq!(caught_by(&run.findings()), ["real-time"]);
    // Without our indices it is no contradiction: at the end a denial is right.
    let permit_us = run.operations[6].returned_us.unwrap();
    let denial = run.operation(4);
    (denial.invoked_us, denial.returned_us) = (permit_us + 1, Some(permit_us + 2));
    assert_eq!(caught_by(&run.findings()), ["real-time", "linearizability"]);
}

#[test]
fn a_stale_permit() {
    let mut run = story();
    happens_last(&mut run, 2);
    assert_eq!(caught_by(&run.findings()), ["real-time", "permits", "linearizability"]);
}

#[test]
fn a_permit_after_all_was_revoked() {
    let mut run = story();
    happens_last(&mut run, 6);
    assert_eq!(caught_by(&run.findings()), ["real-time", "permits", "linearizability"]);
}

#[test]
fn a_permit_below_a_revoked_ancestor() {
    let mut run = Run::new();
    for agent in ["x", "y", "z"] {
        let command = run.register(agent);
        run.give(command);
    }
    let root = run.granted("x");
    let command = run.delegate("x", &root, "y", 1);
    let middle = crate::run::grant_of(&command.1);
    run.give(command);
    let command = run.delegate("y", &middle, "z", 2);
    run.give(command);
    let permit = run.check("z");
    let command = run.revoke(&root);
    run.give(command);
    run.check("z");
    assert_valid(&run.findings());
    let Outcome::Permitted { chain, .. } = &run.operations[permit as usize].outcome else { panic!() };
    assert_eq!(chain.len(), 3);
    happens_last(&mut run, permit);
    assert_eq!(caught_by(&run.findings()), ["real-time", "permits", "linearizability"]);
}

#[test]
fn a_permit_where_the_log_denies_and_the_reverse() {
    let mut run = story();
    let Outcome::Permitted { chain, .. } = run.operations[2].outcome.clone() else { panic!() };
    let Outcome::Denied { block, .. } = run.operations[4].outcome else { panic!() };
    run.operation(4).outcome = Outcome::Permitted { block, chain };
    assert_eq!(caught_by(&run.findings()), ["replay", "permits", "linearizability", "proofs"]);

    let mut run = story();
    let Outcome::Permitted { block, .. } = run.operations[6].outcome else { panic!() };
    run.operation(6).outcome = Outcome::Denied { block, reason: "no_grant".into(), halt: None };
    assert_eq!(caught_by(&run.findings()), ["replay", "linearizability", "proofs"]);
}

#[test]
fn a_permit_by_a_grant_that_does_not_allow_it() {
    let mut run = story();
    let Call::Check { action, .. } = &mut run.operation(2).call else { panic!() };
    *action = "b".into();
    assert_eq!(caught_by(&run.findings()), ["replay", "permits", "linearizability", "proofs"]);
}

#[test]
fn an_answer_whose_bytes_prove_nothing() {
    let mut run = story();
    for proof in &mut run.proofs {
        if let Proof::Answer { operation: 6, nonce, .. } = proof {
            *nonce = Hash::of(&[b"another"]).to_string();
        }
    }
    assert_eq!(caught_by(&run.findings()), ["proofs"]);
}

#[test]
fn an_answer_that_was_not_kept_is_no_pass() {
    let mut run = story();
    run.proofs.retain(|proof| !matches!(proof, Proof::Answer { operation: 6, .. }));
    let proofs = run.findings().into_iter().find(|finding| finding.checker == "proofs").unwrap();
    assert!(matches!(proofs.verdict, Judged::Inconclusive { .. }));
}

#[test]
fn a_search_that_gave_up_is_no_pass() {
    let run = story();
    let finding = chancery_jepsen::checkers::linearizability::check(&run.operations, 2);
    assert!(matches!(finding.verdict, Judged::Inconclusive { .. }), "{}", finding.verdict);
}

#[test]
fn an_unknown_outcome_stays_open_for_ever() {
    let mut run = story();
    // The revocation's client never heard: then the second permit's chain and all else still fit,
    let Call::RevokeGrant { .. } = run.operations[3].call else { panic!() };
    run.operation(3).outcome = Outcome::Unknown { reason: "test".into() };
    assert_valid(&run.findings());
    // and without indices it may explain a permit that came after it.
    happens_last(&mut run, 2);
    let all_revoked = run.operations.remove(7);
    assert!(matches!(all_revoked.call, Call::RevokeAgent { .. }));
    run.operations.retain(|one| one.id != 8 && one.id != 4);
    assert!(!caught_by(&run.findings()).contains(&"linearizability"));
    assert!(!caught_by(&run.findings()).contains(&"permits"));
}

// ----------------------------------------------------------------------------------------------------
// Heads.

fn sign(node: u64, counter: u64, tail_block: Option<u64>, head: Head) -> Proof {
    let fresh = |tail_block| Fresh {
        nonce_root: Hash::of(&[b"nonces"]),
        clock_ms: head.time_ms,
        tail_block,
        tail_roster: head.roster,
    };
    let number = Number { epoch: 2, counter };
    let key = key(&format!("node-{node}"));
    let statement = Statement::sign(&voter(node), &key, number, tail_block.map(fresh), head);
    Proof::Statement { statement: to_hex(&statement.encode()) }
}

#[test]
fn good_statements_of_a_later_start() {
    let mut run = story();
    let head = *run.house.head();
    run.proofs.extend([sign(1, 1, Some(head.block), head), sign(1, 2, None, head)]);
    // The same again is no contradiction.
    run.proofs.push(sign(1, 1, Some(head.block), head));
    // What was never committed may be cut from the end of a log.
    run.proofs.extend([sign(2, 1, Some(head.block + 3), head), sign(2, 2, Some(head.block), head)]);
    assert_valid(&[run.heads()]);
}

#[test]
fn heads_that_contradict_one_another_or_the_log() {
    let head = *story().house.head();
    let lies = [
        ("two heads", Head { state_root: Hash::ZERO, ..head }),
        ("not of the final log", Head { block: head.block + 1, log_root: Hash::ZERO, ..head }),
        ("not its STATE leaf's", Head { block: head.block + 1, state_root: Hash::ZERO, ..head }),
        ("longer than the final", Head { block: head.block + 1, log_size: head.log_size + 2, ..head }),
        ("falls behind", Head { block: head.block + 1, time_ms: 1, ..head }),
    ];
    for (words, lie) in lies {
        let mut run = story();
        run.proofs.push(sign(2, 1, None, lie));
        let verdict = run.heads().verdict;
        assert!(verdict.to_string().contains(words), "{words}: {verdict}");
        assert_eq!(caught_by(&run.findings()), ["heads"]);
    }
}

#[test]
fn statements_that_fall_behind_what_their_node_knew() {
    let good = story();
    let head = *good.house.head();
    let earlier = *good.house.state().head_of(head.block - 1).unwrap();
    let lies = [
        // Its log ends before a head that it has signed.
        vec![sign(3, 1, None, head), sign(3, 2, Some(earlier.block), earlier)],
        // Its log ends before the head that it signs with it.
        vec![sign(3, 1, Some(head.block - 1), head)],
        // One number, two statements.
        vec![sign(3, 1, Some(head.block), head), sign(3, 1, None, head)],
    ];
    for lie in lies {
        let mut run = story();
        run.proofs.extend(lie);
        assert_eq!(caught_by(&run.findings()), ["heads"]);
    }
}

#[test]
fn a_statement_that_is_not_its_nodes_says_nothing_of_it() {
    let mut run = story();
    let head = Head { state_root: Hash::ZERO, ..*run.house.head() };
    let forged = Statement::sign(&voter(1), &key("nobody"), Number { epoch: 9, counter: 9 }, None, head);
    run.proofs.push(Proof::Statement { statement: to_hex(&forged.encode()) });
    assert_valid(&[run.heads()]);
}

#[test]
fn a_log_whose_state_leaf_was_changed() {
    let mut run = story();
    let last = run.house.replicas[0].leaves.len() - 1;
    let Entry::State { block, time_ms, roster, rules_version, previous, .. } = run.house.entry(last as u64)
    else {
        panic!()
    };
    let state_root = Hash::ZERO;
    let changed = Entry::State { block, time_ms, state_root, roster, rules_version, previous };
    for replica in &mut run.house.replicas {
        replica.leaves[last] = changed.encode();
    }
    assert_eq!(caught_by(&run.findings()), ["heads"]);
}
