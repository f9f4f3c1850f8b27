//! What a ledger that does not tell its followers everything, once, would show.

use chancery_jepsen::checkers::{Verdict, following};
use chancery_jepsen::follower::Followed;
use chancery_ledger::follow::{GrantEnd, grant_end};

use crate::house::{FOUNDED_MS, HOUR_MS};
use crate::run::Run;

/// Two grants that end in an hour, and whom they were told to, two hours later.
fn story() -> (Run, Followed) {
    let mut run = Run::new();
    let command = run.register("x");
    run.give(command);
    run.granted("x");
    run.granted("x");
    let log = run.logs().remove(0);
    let ends = (0..log.leaves.len() as u64)
        .filter_map(|index| grant_end(run.house.ledger, index, &run.house.entry(index)))
        .collect::<Vec<GrantEnd>>();
    assert_eq!(ends.len(), 2);
    let followed = Followed {
        node: Some(1),
        leaves: (0..).zip(log.leaves).collect(),
        ends,
        ended_ms: FOUNDED_MS + 2 * HOUR_MS,
        heads: 1,
        ..Followed::default()
    };
    (run, followed)
}

/// What the verdict says, and what is changed.
type Change = (&'static str, fn(&mut Followed));

fn judged(run: &Run, followed: &Followed) -> Verdict {
    following::check(run.house.ledger, std::slice::from_ref(followed), &run.logs()).verdict
}

#[test]
fn whoever_was_told_everything_once_has_nothing_against_it() {
    let (run, followed) = story();
    assert_eq!(judged(&run, &followed), Verdict::Valid);
    // A grant that was over when it came does not end again.
    let mut late = followed.clone();
    late.ended_before.push(late.ends.remove(0).index);
    assert_eq!(judged(&run, &late), Verdict::Valid);
    // Before its time nothing has ended.
    let early = Followed { ends: Vec::new(), ended_ms: FOUNDED_MS, ..followed };
    assert_eq!(judged(&run, &early), Verdict::Valid);
}

#[test]
fn leaves_that_are_missed_doubled_or_changed() {
    let changes: [Change; 5] = [
        ("leaf 2 not at all", |one| one.leaves.retain(|(index, _)| *index != 2)),
        ("leaf 2 twice", |one| one.leaves.insert(2, one.leaves[2].clone())),
        ("another leaf 2", |one| one.leaves[2].1.push(0)),
        ("leaves", |one| one.leaves.truncate(one.leaves.len() - 1)),
        ("not true", |one| one.untrue.push("test".into())),
    ];
    for (words, change) in changes {
        let (run, mut followed) = story();
        change(&mut followed);
        let verdict = judged(&run, &followed);
        assert!(matches!(verdict, Verdict::Violation { checker: following::NAME, .. }));
        // A leaf that is doubled stands in the place of the next one.
        assert!(verdict.to_string().contains(words), "{words}: {verdict}");
    }
}

#[test]
fn ends_that_are_missed_doubled_or_none() {
    let changes: [Change; 4] = [
        ("not told that the grant", |one| one.ends.truncate(1)),
        ("twice", |one| one.ends.push(one.ends[0].clone())),
        ("twice", |one| one.ended_before.push(one.ends[0].index)),
        ("does not have", |one| one.ends[0].not_after_ms += 1),
    ];
    for (words, change) in changes {
        let (run, mut followed) = story();
        change(&mut followed);
        let verdict = judged(&run, &followed);
        assert!(matches!(verdict, Verdict::Violation { checker: following::NAME, .. }));
        assert!(verdict.to_string().contains(words), "{words}: {verdict}");
    }
}

#[test]
fn a_follower_without_a_head_is_no_pass() {
    let (run, followed) = story();
    let followed = Followed { heads: 0, ..followed };
    assert!(matches!(judged(&run, &followed), Verdict::Inconclusive { .. }));
}
