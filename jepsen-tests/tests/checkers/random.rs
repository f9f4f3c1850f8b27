//! Random histories of a real ledger pass every checker; with one thing changed, they do not.

use chancery_jepsen::history::{Call, Operation, Outcome};
use proptest::prelude::*;

use crate::run::{RESOURCE, Run, assert_valid, caught_by, grant_of};

const AGENTS: [&str; 3] = ["x", "y", "z"];
const ACTIONS: [&str; 2] = ["a", "b"];

/// One choice of what happens next, and how it looks to the client.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    pub what: u8,
    pub which: u8,
    pub fate: u8,
    /// How long before and after it took effect the client began and heard.
    pub early_us: u16,
    pub late_us: u16,
}

pub fn choice() -> impl Strategy<Value = Choice> {
    (any::<u8>(), any::<u8>(), any::<u8>(), 0..400_u16, 0..400_u16)
        .prop_map(|(what, which, fate, early_us, late_us)| Choice { what, which, fate, early_us, late_us })
}

/// Makes a history in which each choice takes effect 100 µs after the one before.
pub fn history(choices: &[Choice]) -> Run {
    let mut run = Run::new();
    let mut grants: Vec<(String, &str, u32)> = Vec::new();
    for agent in AGENTS.iter().skip(1) {
        let command = run.register(agent);
        run.give(command);
    }
    let mut now_us = run.now_us + 1_000;
    for Choice { what, which, fate, early_us, late_us } in choices.iter().copied() {
        now_us += 100;
        let (invoked_us, returned_us) = (now_us - u64::from(early_us), now_us + u64::from(late_us));
        let agent = AGENTS[usize::from(which) % AGENTS.len()];
        let action = ACTIONS[usize::from(which / 8) % ACTIONS.len()];
        let old = grants.get(usize::from(which) % grants.len().max(1)).cloned();
        let command = match (what % 16, old) {
            (0, _) => run.register(agent),
            (1..=3, _) => {
                let command = run.grant(agent, action, if which < 64 { "r/*" } else { RESOURCE });
                grants.push((grant_of(&command.1), agent, 0));
                command
            }
            (4 | 5, Some((parent, holder, depth))) if depth < 2 => {
                let agent = AGENTS[usize::from(fate) % AGENTS.len()];
                let command = run.delegate(holder, &parent, agent, depth + 1);
                grants.push((grant_of(&command.1), agent, depth + 1));
                command
            }
            (6..=8, Some((grant, ..))) => run.revoke(&grant),
            (9, _) => run.revoke_all(agent),
            _ => {
                run.ask(agent, action, invoked_us, returned_us);
                continue;
            }
        };
        let nothing = |reason: &str| reason.to_owned();
        match fate % 16 {
            // Never done, whether the client knows or not.
            0 => {
                let outcome = Outcome::NotDone { reason: nothing("test") };
                run.record(Some(&command.0), command.1, outcome, invoked_us, returned_us);
            }
            1 => {
                let outcome = Outcome::Unknown { reason: nothing("test") };
                run.record(Some(&command.0), command.1, outcome, invoked_us, returned_us);
            }
            // Done, and the client does not know.
            2 | 3 => {
                let id = run.apply(vec![command], invoked_us, returned_us)[0];
                run.operation(id).outcome = Outcome::Unknown { reason: nothing("test") };
                if fate % 16 == 2 {
                    run.operation(id).returned_us = None;
                }
            }
            // Two in one block.
            4 => {
                let another = run.grant(agent, action, RESOURCE);
                grants.push((grant_of(&another.1), agent, 0));
                run.apply(vec![command, another], invoked_us, returned_us);
            }
            // Sent twice by one client, or by two.
            5 => {
                let first = run.apply(vec![command.clone()], invoked_us, returned_us)[0];
                let second = run.apply(vec![command], invoked_us, returned_us + 10)[0];
                if which % 2 == 0 {
                    let again = run.operation(second).outcome.clone();
                    run.operation(first).outcome = Outcome::Unknown { reason: nothing("test") };
                    run.operation(second).outcome = again;
                }
            }
            _ => {
                run.apply(vec![command], invoked_us, returned_us);
            }
        }
    }
    run.now_us = now_us + 1_000;
    run
}

/// Lets the operation happen after everything else, as far as its client's clock goes.
pub fn happens_last(run: &mut Run, id: u64) {
    let now_us = run.now_us;
    let operation = run.operation(id);
    (operation.invoked_us, operation.returned_us) = (now_us, Some(now_us + 10));
}

fn permits(run: &Run) -> Vec<u64> {
    let permitted = run.operations.iter().filter(|one| matches!(one.outcome, Outcome::Permitted { .. }));
    permitted.map(|one| one.id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_happened_passes(choices in prop::collection::vec(choice(), 1..60)) {
        assert_valid(&history(&choices).findings());
    }

    #[test]
    fn a_lost_or_doubled_command_is_caught(
        choices in prop::collection::vec(choice(), 1..30), which: prop::sample::Index, doubled: bool,
    ) {
        let run = history(&choices);
        let indices: Vec<u64> = run.operations.iter().filter_map(|one| match one.outcome {
            Outcome::Acknowledged { index, .. } => Some(index),
            _ => None,
        }).collect();
        let index = *which.get(&indices) as usize;
        let mut logs = run.logs();
        for log in &mut logs {
            let leaf = log.leaves.remove(index);
            if doubled {
                log.leaves.insert(index, leaf.clone());
                log.leaves.insert(index, leaf);
            }
        }
        prop_assert!(caught_by(&run.findings_over(&logs)).contains(&"log"));
    }

    #[test]
    fn a_command_against_the_clock_is_caught(
        choices in prop::collection::vec(choice(), 1..30), which: prop::sample::Index,
    ) {
        let mut run = history(&choices);
        let mut acknowledged: Vec<(u64, u64)> = run.operations.iter().filter_map(|one| match one.outcome {
            Outcome::Acknowledged { index, before: false, .. } => Some((index, one.id)),
            _ => None,
        }).collect();
        acknowledged.sort_unstable();
        let (last, earlier) = acknowledged.split_last().unwrap();
        let (index, id) = *which.get(earlier);
        prop_assert!(index < last.0);
        // The bytes may have been given twice; each time is moved.
        let command = run.operation(id).command.clone();
        let same = |one: &Operation| one.command == command;
        let ids: Vec<u64> = run.operations.iter().filter(|one| same(one)).map(|one| one.id).collect();
        for id in ids {
            happens_last(&mut run, id);
        }
        prop_assert!(caught_by(&run.findings()).contains(&"real-time"));
    }

    #[test]
    fn a_permit_after_its_revocation_is_caught(
        choices in prop::collection::vec(choice(), 1..30), agent in prop::sample::select(&AGENTS[1..]),
        all: bool,
    ) {
        let mut run = history(&choices);
        run.granted(agent);
        let permit = run.check(agent);
        let Outcome::Permitted { chain, .. } = run.operation(permit).outcome.clone() else {
            panic!("a grant was just acknowledged")
        };
        // Whatever it rests on, and whatever else would allow it.
        let commands = if all {
            vec![run.revoke_all(agent)]
        } else {
            let grants: Vec<String> =
                run.operations.iter().filter_map(|one| match &one.call {
                    Call::Grant { agent: of, grant, .. } | Call::Delegate { agent: of, grant, .. }
                        if of == agent || chain.contains(grant) => Some(grant.clone()),
                    _ => None,
                }).collect();
            grants.iter().map(|grant| run.revoke(grant)).collect()
        };
        for command in commands {
            run.give(command);
        }
        run.check(agent);
        assert_valid(&run.findings());
        run.now_us += 1_000;
        happens_last(&mut run, permit);
        let caught = caught_by(&run.findings());
        // Nobody knows whether it came after all was revoked: without indices it explains the permit.
        let may_come_later = |one: &Operation| {
            matches!(one.outcome, Outcome::Unknown { .. })
                && matches!(one.call, Call::Grant { .. } | Call::Delegate { .. })
        };
        let explained = all && run.operations.iter().any(may_come_later);
        let without_indices = if explained { &[][..] } else { &["permits", "linearizability"] };
        for checker in ["real-time"].iter().chain(without_indices) {
            prop_assert!(caught.contains(checker), "{checker} is not among {caught:?}");
        }
    }

    #[test]
    fn a_verdict_turned_round_is_caught(
        choices in prop::collection::vec(choice(), 1..30), which: prop::sample::Index,
    ) {
        let mut run = history(&choices);
        run.granted("y");
        run.check("y");
        let id = *which.get(&permits(&run));
        let Outcome::Permitted { block, .. } = run.operation(id).outcome else { panic!() };
        run.operation(id).outcome = Outcome::Denied { block, reason: "no_grant".into(), halt: None };
        let caught = caught_by(&run.findings());
        prop_assert!(caught.contains(&"replay") && caught.contains(&"proofs"), "{caught:?}");
    }
}
