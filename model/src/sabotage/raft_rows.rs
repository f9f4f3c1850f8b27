//! Rules 1 to 4.

use super::{Row, Search};
use crate::raft::schedules::{self, Schedule};
use crate::raft::{NamedRoster, Rules, Tail, Violation};

const fn stale(violation: &Violation) -> bool {
    matches!(violation, Violation::StaleProof { .. })
}

const fn any(_: &Violation) -> bool {
    true
}

/// Without rule 4 honest nodes convict themselves: rule 1 is not there to prevent that.
const fn but_convictions(violation: &Violation) -> bool {
    !matches!(violation, Violation::ConvictsItself { .. })
}

fn random(rule: &'static str, name: &'static str, must_find: bool, members: bool, rules: Rules) -> Row {
    let wanted = if must_find { stale } else { any };
    Row { rule, name, must_find, search: Search::Raft { rules, members, wanted } }
}

fn around(rule: &'static str, name: &'static str, must_find: bool, schedule: Schedule, rules: Rules) -> Row {
    let wanted = if rule == "1" { but_convictions } else { any };
    Row { rule, name, must_find, search: Search::RaftAround { schedule, rules, wanted } }
}

pub(super) fn rows() -> Vec<Row> {
    let all = Rules::ALL;
    let draft = Rules::FIRST_DRAFT;
    let mut rows = vec![
        random("1-4", "all rules, fixed roster", false, false, all),
        random("1-4", "all rules, changing roster", false, true, all),
        around("1-4", "all rules, around a truncation", false, schedules::signs_while_truncated(), all),
        around(
            "1-4",
            "all rules, around a power cut in it",
            false,
            schedules::power_cut_while_truncated(),
            all,
        ),
        around("1-4", "all rules, around a removed node", false, schedules::removed_node_is_elected(), all),
        around(
            "1-4",
            "all rules, around a dead branch",
            false,
            schedules::dead_branch_under_a_snapshot(),
            all,
        ),
        around(
            "1-4",
            "all rules, around removed nodes that answer",
            false,
            schedules::removed_nodes_answer(),
            all,
        ),
        around("1-4", "all rules, around a lost head", false, schedules::head_lost_with_the_power(), all),
        random("1", "b as written, not as flushed", false, true, Rules { tail: Tail::Written, ..all }),
    ];
    rows.extend(rule_1(draft, all));
    rows.extend([
        random("1", "b = applied", true, true, Rules { tail: Tail::Applied, ..all }),
        random("2", "b read before the nonce", true, false, Rules { read_after_nonce: false, ..all }),
        around(
            "3",
            "roster of the applied state",
            true,
            schedules::removed_nodes_answer(),
            Rules { named_roster: NamedRoster::Applied, ..all },
        ),
        around(
            "3",
            "roster from a lagging watch",
            true,
            schedules::removed_nodes_answer(),
            Rules { named_roster: NamedRoster::Watch, ..all },
        ),
        around(
            "3",
            "named roster ignored",
            true,
            schedules::removed_nodes_answer(),
            Rules { demand_named_roster: false, ..all },
        ),
        around(
            "3",
            "joint counted on the old half",
            true,
            schedules::removed_nodes_answer(),
            Rules { joint_needs_both: false, ..all },
        ),
        around(
            "4",
            "neither half: an honest node convicts itself",
            true,
            schedules::head_lost_with_the_power(),
            Rules { apply_after_flush: false, recover_before_signing: false, ..all },
        ),
        around(
            "4",
            "applied before the own flush",
            false,
            schedules::head_lost_with_the_power(),
            Rules { apply_after_flush: false, ..all },
        ),
        around(
            "4",
            "signs before it has recovered",
            false,
            schedules::head_lost_with_the_power(),
            Rules { recover_before_signing: false, ..all },
        ),
    ]);
    rows
}

/// Each half alone, against the script that defeats it.
fn rule_1(draft: Rules, all: Rules) -> [Row; 9] {
    let truncated = schedules::signs_while_truncated;
    let power_cut = schedules::power_cut_while_truncated;
    let floor = Rules { floor: true, ..draft };
    let registered = Rules { snapshot_registered_first: true, ..draft };
    let whole = Rules { floor: true, snapshot_registered_first: true, ..draft };
    [
        around("1", "none of it", true, truncated(), draft),
        around(
            "1",
            "none of it: a removed node is elected",
            true,
            schedules::removed_node_is_elected(),
            draft,
        ),
        around("1", "only the floor", true, power_cut(), floor),
        around(
            "1",
            "only a high-water mark in memory",
            true,
            power_cut(),
            Rules { tail: Tail::HighWaterMark, ..draft },
        ),
        around("1", "only the registered snapshot", true, truncated(), registered),
        around(
            "1",
            "only the recovery before signing",
            true,
            truncated(),
            Rules { recover_before_signing: true, ..draft },
        ),
        around("1", "only the floor and the snapshot: a truncation", false, truncated(), whole),
        around("1", "only the floor and the snapshot: a power cut", false, power_cut(), whole),
        around(
            "1",
            "no reconciliation at the start",
            true,
            schedules::dead_branch_under_a_snapshot(),
            Rules { reconcile_at_start: false, ..all },
        ),
    ]
}
