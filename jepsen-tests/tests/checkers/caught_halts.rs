//! What a ledger that does not stop what is halted, or does not go on afterwards, would show.

use chancery_jepsen::history::{Call, Outcome};
use chancery_ledger::authority::{Decided, Entry, Verdict};
use chancery_ledger::command::{GrantId, HaltScope, Pattern};
use chancery_ledger::decide::Denial;
use chancery_ledger::hash::Hash;

use crate::house::name;
use crate::run::{Run, assert_valid, caught_by, grant_of};

/// Registers x and y of one lineage, grants to x, and delegates that to y: the grant of x.
fn founded() -> (Run, String) {
    let mut run = Run::new();
    for agent in ["x", "y"] {
        let command = run.register_in(agent, Some("l"));
        run.give(command);
    }
    let grant = run.granted("x");
    let command = run.delegate("x", &grant, "y", 1);
    assert_ne!(grant_of(&command.1), grant);
    run.give(command);
    (run, grant)
}

/// Who is checked, on record and not: the operations.
fn asked(run: &mut Run, agent: &str) -> [u64; 2] {
    let check = run.check(agent);
    run.authorized(agent);
    [check, check + 1]
}

fn leaf_of(run: &Run, id: u64) -> u64 {
    match &run.operations[id as usize].outcome {
        Outcome::Acknowledged { index, .. } => *index,
        other => panic!("{other:?}"),
    }
}

fn is_permitted(run: &Run, id: u64) -> bool {
    match &run.operations[id as usize].outcome {
        Outcome::Permitted { .. } => true,
        Outcome::Acknowledged { verdict, .. } => verdict.as_ref().unwrap().is_permit(),
        _ => false,
    }
}

/// What was asked in a round of one halt.
struct Story {
    run: Run,
    before: [u64; 2],
    halt: u64,
    halted: [u64; 2],
    resumes: [u64; 2],
    /// After one resumer of two has said so.
    half: [u64; 2],
    after: [u64; 2],
}

/// What is asked is for y, by a delegation of x, whatever is halted.
fn story(scope: impl FnOnce(&str) -> HaltScope) -> Story {
    let (mut run, grant) = founded();
    let before = asked(&mut run, "y");
    let command = run.halt(scope(&grant));
    let halt = run.give(command);
    let halted = asked(&mut run, "y");
    let leaf = leaf_of(&run, halt);
    let command = run.resume("resumer-1", leaf);
    let first = run.give(command);
    let half = asked(&mut run, "y");
    let command = run.resume("resumer-2", leaf);
    let second = run.give(command);
    let after = asked(&mut run, "y");
    assert_valid(&run.findings());
    Story { run, before, halt, halted, resumes: [first, second], half, after }
}

fn of_agent(_: &str) -> HaltScope {
    HaltScope::Agent(name("x"))
}

#[test]
fn every_scope_is_stopped_and_let_go_on() {
    let scopes: [fn(&str) -> HaltScope; 6] = [
        |_| HaltScope::Everything,
        of_agent,
        |_| HaltScope::Lineage(name("l")),
        |_| HaltScope::Action(Pattern::new("a").unwrap()),
        |_| HaltScope::Resource(Pattern::new("r/*").unwrap()),
        |grant| HaltScope::Subtree(GrantId(Hash::from_hex(grant).unwrap())),
    ];
    for scope in scopes {
        let Story { run, before, halted, half, after, .. } = story(scope);
        for (ids, expected) in [(before, true), (halted, false), (half, false), (after, true)] {
            assert_eq!(ids.map(|id| is_permitted(&run, id)), [expected; 2]);
        }
        let findings = run.findings();
        assert_eq!(findings.iter().find(|finding| finding.checker == "halts").unwrap().examined, 4);
    }
}

/// What was decided on record.
fn decided(run: &Run, id: u64) -> Decided {
    let Entry::Command { verdict: Some(verdict), .. } = run.house.entry(leaf_of(run, id)) else { panic!() };
    verdict.decided
}

#[test]
fn a_recorded_permit_of_what_is_halted() {
    for which in [0, 1] {
        let Story { mut run, before, halted, half, .. } = story(of_agent);
        let id = [halted, half][which][1];
        let Entry::Command { time_ms, .. } = run.house.entry(leaf_of(&run, id)) else { panic!() };
        let Decided::Permit { chain, generation, bounds, .. } = decided(&run, before[1]) else { panic!() };
        // As far as time goes it is in order.
        let deadline_ms = time_ms + 2_000;
        let decided = Decided::Permit { chain, generation, deadline_ms, bounds };
        let logs = run.decide_otherwise(id, |verdict| Verdict { decided: decided.clone(), ..verdict });
        assert_eq!(caught_by(&run.findings_over(&logs)), ["halts"]);
    }
}

#[test]
fn a_check_that_permits_what_is_halted() {
    let Story { mut run, before, halted, .. } = story(of_agent);
    let Outcome::Permitted { chain, .. } = run.operation(before[0]).outcome.clone() else { panic!() };
    let Outcome::Denied { block, .. } = run.operation(halted[0]).outcome else { panic!() };
    run.operation(halted[0]).outcome = Outcome::Permitted { block, chain };
    assert_eq!(caught_by(&run.findings()), ["halts", "proofs"]);
}

/// Moves an operation to right after another, as far as its client's clock goes.
fn happens_after(run: &mut Run, id: u64, other: u64) {
    let returned_us = run.operation(other).returned_us.unwrap();
    let operation = run.operation(id);
    (operation.invoked_us, operation.returned_us) = (returned_us + 1, Some(returned_us + 2));
}

#[test]
fn a_stale_permit_after_a_halt() {
    let Story { mut run, before, halt, resumes, .. } = story(of_agent);
    happens_after(&mut run, before[0], halt);
    assert_eq!(caught_by(&run.findings()), ["real-time", "halts"]);
    // With one resumer of two it has not ended.
    let Story { run: mut other, .. } = story(of_agent);
    happens_after(&mut other, before[0], resumes[0]);
    assert_eq!(caught_by(&other.findings()), ["real-time", "halts"]);
    // When the second one asks, it may have.
    let asks_us = other.operation(resumes[1]).invoked_us;
    other.operation(before[0]).returned_us = Some(asks_us + 1);
    assert_eq!(caught_by(&other.findings()), ["real-time"]);
}

#[test]
fn a_stale_denial_after_the_end_of_a_halt() {
    let Story { mut run, halted, resumes, .. } = story(of_agent);
    happens_after(&mut run, halted[0], resumes[1]);
    assert_eq!(caught_by(&run.findings()), ["real-time", "halts"]);
    // On record too; its place in the log is against the clock then.
    let Story { mut run, halted, resumes, .. } = story(of_agent);
    happens_after(&mut run, halted[1], resumes[1]);
    assert_eq!(caught_by(&run.findings()), ["real-time", "halts"]);
}

#[test]
fn a_denial_by_a_halt_before_it_was_asked_for() {
    let Story { mut run, before, halted, .. } = story(of_agent);
    let instants = (run.operation(before[0]).invoked_us, run.operation(before[0]).returned_us);
    let denial = run.operation(halted[0]);
    (denial.invoked_us, denial.returned_us) = instants;
    let caught = caught_by(&run.findings());
    assert!(caught.contains(&"halts"), "{caught:?}");
}

#[test]
fn a_denial_by_a_halt_that_is_over() {
    let Story { mut run, halted, after, .. } = story(of_agent);
    let denied = decided(&run, halted[1]);
    let logs = run.decide_otherwise(after[1], |verdict| Verdict { decided: denied.clone(), ..verdict });
    assert_eq!(caught_by(&run.findings_over(&logs)), ["halts"]);
}

#[test]
fn a_denial_by_a_halt_of_something_else() {
    let (mut run, _) = founded();
    let command = run.halt(HaltScope::Agent(name("z")));
    let halt = run.give(command);
    let [_, recorded] = asked(&mut run, "y");
    assert_valid(&run.findings());
    let Entry::Command { block, time_ms, signed, .. } = run.house.entry(leaf_of(&run, halt)) else {
        panic!()
    };
    // What the ledger says of the halt that stands there.
    let Story { run: other, halted, .. } = story(of_agent);
    let Decided::Denied(Denial::Halted { reason, mut cause, .. }) = decided(&other, halted[1]) else {
        panic!()
    };
    (cause.index, cause.block, cause.time_ms) = (leaf_of(&run, halt), block, time_ms);
    cause.signer = signed.command().signer;
    let scope = HaltScope::Agent(name("z"));
    let denied = Decided::Denied(Denial::Halted { scope, reason, cause });
    let logs = run.decide_otherwise(recorded, |verdict| Verdict { decided: denied.clone(), ..verdict });
    assert_eq!(caught_by(&run.findings_over(&logs)), ["halts"]);
}

#[test]
fn what_is_halted_is_denied_for_that() {
    let Story { mut run, halted, .. } = story(of_agent);
    let denied = Decided::Denied(Denial::NoGrant);
    let logs = run.decide_otherwise(halted[1], |verdict| Verdict { decided: denied.clone(), ..verdict });
    let caught = caught_by(&run.findings_over(&logs));
    assert_eq!(caught, ["decisions", "halts"]);
    // An agent that nobody registered too.
    let mut run = Run::new();
    let command = run.halt(HaltScope::Everything);
    run.give(command);
    let check = run.check("nobody");
    assert_valid(&run.findings());
    let Outcome::Denied { block, .. } = run.operation(check).outcome else { panic!() };
    run.operation(check).outcome = Outcome::Denied { block, reason: "unknown_agent".into(), halt: None };
    assert_eq!(caught_by(&run.findings()), ["halts", "proofs"]);
}

#[test]
fn a_halt_or_an_end_that_is_lost() {
    for lost in [true, false] {
        let Story { mut run, halt, resumes, .. } = story(of_agent);
        let id = if lost { halt } else { resumes[1] };
        let (Call::Halt { .. } | Call::Resume { .. }) = run.operations[id as usize].call else { panic!() };
        run.operation(id).outcome = Outcome::NotDone { reason: "test".into() };
        let caught = caught_by(&run.findings());
        assert!(caught.contains(&"log"), "{caught:?}");
    }
}
