//! Rules 7 and 8.

use super::{Row, Search};
use crate::clocks::search::Wanted;
use crate::clocks::{Agreement, Assumption, Rules, Setting, Violation};
use crate::node_set::NodeSet;

/// Three nodes, one wrong clock.
const ONE_OF_THREE: Setting =
    Setting { nodes: 3, wrong: NodeSet::of(&[2]), assumption: Assumption::Minority };

/// Five nodes, two wrong clocks, which may be wrong alike.
const TWO_OF_FIVE: Setting =
    Setting { nodes: 5, wrong: NodeSet::of(&[2, 4]), assumption: Assumption::Minority };

/// Three nodes, two wrong clocks, which stay wrong as they are.
const TWO_OF_THREE: Setting =
    Setting { nodes: 3, wrong: NodeSet::of(&[1, 2]), assumption: Assumption::WrongApart { steps: false } };

/// The same, but they step.
const TWO_OF_THREE_STEP: Setting =
    Setting { assumption: Assumption::WrongApart { steps: true }, ..TWO_OF_THREE };

const fn any(_: &Violation) -> bool {
    true
}

const fn past_its_end(violation: &Violation) -> bool {
    matches!(violation, Violation::PastItsEnd(_))
}

const fn after_dead_at(violation: &Violation) -> bool {
    matches!(violation, Violation::AfterDeadAt(_))
}

const fn before_its_start(violation: &Violation) -> bool {
    matches!(violation, Violation::BeforeItsStart(_))
}

const fn holds(rule: &'static str, name: &'static str, setting: Setting, rules: Rules) -> Row {
    Row { rule, name, must_find: false, search: Search::Clocks { setting, rules, wanted: any } }
}

const fn breaks(
    rule: &'static str,
    name: &'static str,
    setting: Setting,
    rules: Rules,
    wanted: Wanted,
) -> Row {
    Row { rule, name, must_find: true, search: Search::Clocks { setting, rules, wanted } }
}

pub(super) fn rows() -> Vec<Row> {
    let design = Rules::DESIGN;
    let near = Rules::NEAR_A_QUORUM;
    let unchecked = Rules { agreement: Agreement::None, ..design };
    let blind_to_steps = Rules { steps_are_seen: false, ..design };
    let remembers = Rules { measurements_age: false, ..design };
    let careless_leader = Rules { leader_checks_its_clock: false, ..design };
    let careless_follower = Rules { follower_refuses_late_stamp: false, ..design };
    let one_clock = Rules { every_clock_counts: false, ..unchecked };
    vec![
        holds("7, 8", "all rules, 1 of 3 clocks wrong", ONE_OF_THREE, design),
        holds("7, 8", "all rules, 2 of 3 wrong, apart", TWO_OF_THREE, design),
        breaks("7", "median rule, 2 of 5 wrong alike: dead_at is early", TWO_OF_FIVE, design, after_dead_at),
        breaks("7", "median rule, 2 of 3 wrong, apart, stepping", TWO_OF_THREE_STEP, design, any),
        holds("7", "near a quorum, 1 of 3 wrong", ONE_OF_THREE, near),
        holds("7", "near a quorum, 2 of 5 wrong alike", TWO_OF_FIVE, near),
        holds("7", "near a quorum, 2 of 3 wrong, apart, stepping", TWO_OF_THREE_STEP, near),
        breaks("7", "clocks not compared: past its end", TWO_OF_THREE, unchecked, past_its_end),
        breaks("7", "clocks not compared: dead_at is early", ONE_OF_THREE, unchecked, after_dead_at),
        breaks("7", "steps not seen: dead_at is early", ONE_OF_THREE, blind_to_steps, after_dead_at),
        breaks("7", "measurements never age: dead_at is early", ONE_OF_THREE, remembers, after_dead_at),
        breaks(
            "7",
            "late stamps not refused: before its start",
            ONE_OF_THREE,
            careless_follower,
            before_its_start,
        ),
        holds("7", "only the leader does not check its clock", ONE_OF_THREE, careless_leader),
        breaks(
            "7, 8",
            "not compared, and one clock counts: past its end",
            ONE_OF_THREE,
            one_clock,
            past_its_end,
        ),
    ]
}
