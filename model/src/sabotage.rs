//! The table: each rule switched off, and the search that must find what comes of it.
//!
//! Rows that expect nothing are the design, or a rule whose absence another one makes up for.

mod clock_rows;
mod lying_rows;
mod raft_rows;

use crate::random::Budget;
use crate::{clocks, lying, raft};

/// How a row is searched.
#[derive(Clone, Debug)]
pub enum Search {
    /// Random runs of the Raft model.
    Raft {
        /// The rules in force.
        rules: raft::Rules,
        /// Whether rosters change.
        members: bool,
        /// What it looks for.
        wanted: raft::search::Wanted,
    },
    /// Random runs around a script.
    RaftAround {
        /// The script.
        schedule: raft::schedules::Schedule,
        /// The rules in force.
        rules: raft::Rules,
        /// What it looks for.
        wanted: raft::search::Wanted,
    },
    /// Random runs of the clocks.
    Clocks {
        /// Whose clocks are wrong, and how.
        setting: clocks::Setting,
        /// The rules in force.
        rules: clocks::Rules,
        /// What it looks for.
        wanted: clocks::search::Wanted,
    },
    /// Every case of one lying node.
    Lying {
        /// Who is there.
        cluster: lying::Cluster,
        /// The rules in force.
        rules: lying::Rules,
        /// Whether only what convicts nobody counts.
        unconvicted_only: bool,
    },
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// The rule of the design.
    pub rule: &'static str,
    /// What was changed.
    pub name: &'static str,
    /// Whether a counterexample must be found; otherwise none may be.
    pub must_find: bool,
    /// How it is searched.
    pub search: Search,
}

/// What came of a row.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Steps, or cases of an exhaustive search.
    pub steps: u64,
    /// How many runs, or cases, violate.
    pub counterexamples: u64,
    /// The shortest of them.
    pub shortest: Option<Shortest>,
}

/// A counterexample, spelled out.
#[derive(Clone, Debug)]
pub struct Shortest {
    /// The run's number under its seed, if it has one.
    pub run: Option<u64>,
    /// What happened, in order.
    pub events: Vec<String>,
    /// What came of it.
    pub violation: String,
}

/// Every row.
pub fn rows() -> Vec<Row> {
    [raft_rows::rows(), clock_rows::rows(), lying_rows::rows()].concat()
}

impl Row {
    /// Searches. An exhaustive search takes no seed and knows no budget.
    pub fn run(&self, seed: u64, budget: Budget) -> Outcome {
        match &self.search {
            Search::Raft { rules, members, wanted } => {
                raft::search::explore(rules, *members, seed, budget, *wanted).into()
            }
            Search::RaftAround { schedule, rules, wanted } => {
                raft::search::explore_around(schedule, rules, seed, budget, *wanted).into()
            }
            Search::Clocks { setting, rules, wanted } => {
                clocks::search::explore(*setting, rules, seed, budget, *wanted).into()
            }
            Search::Lying { cluster, rules, unconvicted_only } => {
                let found = lying::search(*cluster, *rules);
                let counterexamples = if *unconvicted_only { found.unconvicted } else { found.stale };
                let shortest = found.example.filter(|_| counterexamples > 0).map(|case| Shortest {
                    run: None,
                    events: case.honest.iter().map(|held| format!("{held:?}")).collect(),
                    violation: format!(
                        "{:?} was acknowledged, a later proof shows {:?}",
                        case.acknowledged, case.shown
                    ),
                });
                Outcome { steps: found.cases, counterexamples, shortest }
            }
        }
    }

    /// Whether a longer search looks at more.
    pub const fn is_exhaustive(&self) -> bool {
        matches!(self.search, Search::Lying { .. })
    }
}

impl From<raft::search::Found> for Outcome {
    fn from(found: raft::search::Found) -> Self {
        let shortest = found.shortest.map(|shortest| Shortest {
            run: Some(shortest.run),
            events: shortest.events.iter().map(|event| format!("{event:?}")).collect(),
            violation: shortest.violation.to_string(),
        });
        Self { steps: found.steps, counterexamples: found.counterexamples, shortest }
    }
}

impl From<clocks::search::Found> for Outcome {
    fn from(found: clocks::search::Found) -> Self {
        let shortest = found.shortest.map(|shortest| Shortest {
            run: Some(shortest.run),
            events: shortest.events.iter().map(|event| format!("{event:?}")).collect(),
            violation: shortest.violation.to_string(),
        });
        Self { steps: found.steps, counterexamples: found.counterexamples, shortest }
    }
}
