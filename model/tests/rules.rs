//! The rules hold in a bounded search, and each of them is needed: without it the same search finds what it rules out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chancery_model::clocks::search::follow as follow_clocks;
use chancery_model::clocks::{self, Assumption, Setting};
use chancery_model::node_set::NodeSet;
use chancery_model::raft::search::{explore, explore_around, follow};
use chancery_model::raft::{NamedRoster, Rules, Tail, Violation, schedules};
use chancery_model::random::Budget;
use chancery_model::sabotage::{Row, Search, rows};

/// Another seed looks elsewhere; every one must do.
const SEED: u64 = 1;

/// Steps in which a sabotaged rule must show.
const STEPS_TO_FIND_MAX: u64 = 8_000_000;

/// Steps in which nothing may be found.
const STEPS_OF_PEACE: u64 = 5_000_000;

fn judge(row: &Row) {
    let steps_max = if row.must_find { STEPS_TO_FIND_MAX } else { STEPS_OF_PEACE };
    let outcome = row.run(SEED, Budget { steps_max, first_only: row.must_find });
    assert_eq!(
        row.must_find,
        outcome.counterexamples > 0,
        "rule {}, {}: {} counterexamples in {} steps\n{:#?}",
        row.rule,
        row.name,
        outcome.counterexamples,
        outcome.steps,
        outcome.shortest
    );
}

fn judge_all(mut chosen: impl FnMut(&Search) -> bool) {
    let rows: Vec<Row> = rows().into_iter().filter(|row| chosen(&row.search)).collect();
    assert!(!rows.is_empty());
    rows.iter().for_each(judge);
}

#[test]
fn rules_1_to_4() {
    judge_all(|search| matches!(search, Search::Raft { .. } | Search::RaftAround { .. }));
}

#[test]
fn rules_7_and_8() {
    judge_all(|search| matches!(search, Search::Clocks { .. }));
}

#[test]
fn one_liar() {
    judge_all(|search| matches!(search, Search::Lying { .. }));
}

fn stale(result: &Result<chancery_model::raft::World, Violation>) -> bool {
    matches!(result, Err(Violation::StaleProof { .. }))
}

#[test]
fn the_half_measures_for_rule_1_are_defeated_to_the_letter() {
    let draft = Rules::FIRST_DRAFT;
    let signs = schedules::signs_while_truncated();
    let power_cut = schedules::power_cut_while_truncated();
    let registered = Rules { snapshot_registered_first: true, ..draft };
    let floor = Rules { floor: true, ..draft };
    let high_water = Rules { tail: Tail::HighWaterMark, ..draft };
    let recovers = Rules { recover_before_signing: true, ..draft };
    for rules in [draft, registered, recovers] {
        assert!(stale(&follow(&signs, &rules)), "{rules:?}");
    }
    for rules in [draft, floor, high_water] {
        assert!(stale(&follow(&power_cut, &rules)), "{rules:?}");
    }
    let both = Rules { floor: true, ..registered };
    for schedule in [&signs, &power_cut] {
        assert_eq!(follow(schedule, &both).err(), None);
        let world = follow(schedule, &Rules::ALL).unwrap();
        assert!(world.acknowledged() > 0, "a run that acknowledges nothing shows nothing");
    }
}

#[test]
fn a_removed_node_is_elected_unless_snapshots_are_registered_first() {
    let schedule = schedules::removed_node_is_elected();
    assert_eq!(follow(&schedule, &Rules::FIRST_DRAFT).err(), Some(Violation::TwoHistories(2)));
    let unregistered = Rules { snapshot_registered_first: false, ..Rules::ALL };
    assert_eq!(follow(&schedule, &unregistered).err(), Some(Violation::TwoHistories(2)));
    let registered = Rules { snapshot_registered_first: true, ..Rules::FIRST_DRAFT };
    assert_eq!(follow(&schedule, &registered).err(), None);
    assert_eq!(follow(&schedule, &Rules::ALL).err(), None);
}

#[test]
fn a_dead_branch_must_be_dropped_at_the_start() {
    let schedule = schedules::dead_branch_under_a_snapshot();
    let unreconciled = Rules { reconcile_at_start: false, ..Rules::ALL };
    assert_eq!(follow(&schedule, &unreconciled).err(), Some(Violation::TruncatesCommitted(0)));
    assert_eq!(follow(&schedule, &Rules::ALL).err(), None);
}

#[test]
fn removed_nodes_answer_unless_the_roster_is_the_logs_and_counted_whole() {
    let schedule = schedules::removed_nodes_answer();
    for rules in [
        Rules { named_roster: NamedRoster::Applied, ..Rules::ALL },
        Rules { named_roster: NamedRoster::Watch, ..Rules::ALL },
        Rules { demand_named_roster: false, ..Rules::ALL },
        Rules { joint_needs_both: false, ..Rules::ALL },
    ] {
        assert!(stale(&follow(&schedule, &rules)), "{rules:?}");
    }
    assert_eq!(follow(&schedule, &Rules::ALL).err(), None);
}

#[test]
fn an_honest_node_convicts_itself_without_rule_4() {
    let schedule = schedules::head_lost_with_the_power();
    let without = Rules { apply_after_flush: false, recover_before_signing: false, ..Rules::ALL };
    let convicted = Violation::ConvictsItself { node: 0, tail: 0, head: 3 };
    assert_eq!(follow(&schedule, &without).err(), Some(convicted));
    assert_eq!(follow(&schedule, &Rules::ALL).err(), None);
}

/// A fault that never happened shows nothing.
#[test]
fn the_random_runs_go_where_it_hurts() {
    let budget = Budget { steps_max: 3_000_000, first_only: false };
    let found = explore(&Rules::ALL, true, SEED, budget, |_| true);
    assert_eq!(found.counterexamples, 0);
    for (what, times, least) in [
        ("statements", found.statements, 50_000),
        ("logs truncated for a snapshot", found.truncated, 3),
        ("leaders", found.leaders, 5_000),
        ("power cuts", found.power_cuts, 5_000),
        ("membership changes", found.rosters, 100),
    ] {
        assert!(times >= least, "{what}: {times}");
    }
    let around = explore_around(&schedules::signs_while_truncated(), &Rules::ALL, SEED, budget, |_| true);
    assert!(around.truncated >= 10_000, "{around:?}");
}

#[test]
fn one_seed_one_outcome() {
    let budget = Budget { steps_max: 200_000, first_only: false };
    let rules = Rules { tail: Tail::Applied, ..Rules::ALL };
    let run = || explore(&rules, true, SEED, budget, |_| true);
    let (a, b) = (run(), run());
    assert!(a.counterexamples > 0);
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
}

/// Two of five clocks are an hour behind. n2 has lately heard only from n4, which is as wrong, and from n0, which
/// is right: the median of the three is wrong. The `dead_at` that n2 tells is an hour early.
#[test]
fn a_median_of_a_bare_quorum_lets_a_wrong_clock_sign() {
    use clocks::Event::{Check, Measure, Revoke, Set};
    let hour_ms = 3_600_000;
    let setting = Setting { nodes: 5, wrong: NodeSet::of(&[2, 4]), assumption: Assumption::Minority };
    let right = [0, 1, 3];
    let measure =
        |node, peers: &[usize]| Measure { node, peers: NodeSet::of(peers), there_ms: 1, back_ms: 1 };
    let mut events = vec![Set { node: 2, offset_ms: -hour_ms }, Set { node: 4, offset_ms: -hour_ms }];
    events.extend(right.map(|node| measure(node, &right)));
    events.extend([measure(2, &[0, 4]), Check { nodes: NodeSet::of(&right) }, Revoke { replier: 2 }]);
    let early = follow_clocks(setting, &events, &clocks::Rules::DESIGN).err();
    assert!(matches!(early, Some(clocks::Violation::AfterDeadAt(ms)) if ms > hour_ms / 2), "{early:?}");
    assert_eq!(follow_clocks(setting, &events, &clocks::Rules::NEAR_A_QUORUM).err(), None);
}
