//! What was spent of bounds, said as plainly as possible: a list of everything that was ever taken.

use std::collections::HashMap;

use chancery_ledger::command::{Authorize, Bound, BoundKind, OutcomeKind, Per};
use serde_json::Value;

use crate::history::ToldBound;

/// How long after a deadline a failure gives back what was taken, in milliseconds of ledger time.
const GIVEN_BACK_WITHIN_MS: u64 = 60_000;

/// A bound of a grant.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    name: String,
    kind: Kind,
    limit: u64,
    /// What it is measured by: bounds that have the same share what is spent.
    meter: String,
}

#[derive(Clone, Debug)]
enum Kind {
    Count,
    Sum { argument: String },
    Rate { window_ms: u64 },
    Concurrency,
}

/// What one decision took of one meter.
#[derive(Debug)]
struct Taken {
    decision: String,
    amount: u64,
    at_ms: u64,
    deadline_ms: u64,
    given_back: bool,
    /// An outcome was said of it: its call is under way no longer.
    ended: bool,
}

/// Everything that was ever taken, by meter.
#[derive(Debug, Default)]
pub(super) struct Spending {
    taken: HashMap<String, Vec<Taken>>,
    /// The meters of each decision that took something.
    meters: HashMap<String, Vec<String>>,
}

impl Bounded {
    /// `bound` of the grant with this id, to this agent.
    pub(super) fn of(bound: &Bound, grant: &str, agent: &str) -> Self {
        let (kind, measured) = match &bound.kind {
            BoundKind::Count => (Kind::Count, "count".into()),
            BoundKind::Sum { argument } => {
                (Kind::Sum { argument: argument.to_string() }, format!("sum of {argument}"))
            }
            BoundKind::Rate { window_ms } => {
                (Kind::Rate { window_ms: *window_ms }, format!("rate in {window_ms}"))
            }
            BoundKind::Concurrency => (Kind::Concurrency, "concurrency".into()),
        };
        let whose = match &bound.per {
            Per::Grant => format!("grant {grant}"),
            Per::Agent => format!("agent {agent}"),
            Per::Key(key) => format!("key {key}"),
        };
        let meter = format!("{} | {measured} | {whose}", bound.name);
        Self { name: bound.name.to_string(), kind, limit: bound.limit, meter }
    }

    /// What a decision would take of it; nothing if the request does not say.
    fn wanted(&self, asked: &Authorize) -> Option<u64> {
        let Kind::Sum { argument } = &self.kind else { return Some(1) };
        let args: Value = serde_json::from_slice(asked.args.as_deref()?).ok()?;
        args.get(argument)?.as_u64()
    }

    /// The bound as a verdict has it, if `grant` has it.
    fn told(&self, grant: &str, used: u64, taken: Option<u64>) -> ToldBound {
        ToldBound { grant: grant.into(), name: self.name.clone(), limit: self.limit, used, taken }
    }
}

impl Spending {
    /// What `asked` takes at `at_ms` of each bound of a chain (with its grant), if all of them have room; else the
    /// first that has none.
    pub(super) fn take<'a>(
        &self,
        bounds: impl Iterator<Item = (&'a str, &'a Bounded)>,
        asked: &Authorize,
        at_ms: u64,
    ) -> Result<Vec<ToldBound>, ToldBound> {
        let mut all = Vec::new();
        for (grant, bound) in bounds {
            let (used, wanted) = (self.used(bound, at_ms), bound.wanted(asked));
            let told = bound.told(grant, used, wanted);
            let then = wanted.and_then(|wanted| used.checked_add(wanted));
            if then.is_none_or(|then| then > bound.limit) {
                return Err(told);
            }
            all.push(told);
        }
        Ok(all)
    }

    /// Lets a decision take its part of each of `bounds`, once of each meter.
    pub(super) fn spend<'a>(
        &mut self,
        bounds: impl Iterator<Item = &'a Bounded>,
        asked: &Authorize,
        decision: &str,
        (at_ms, deadline_ms): (u64, u64),
    ) {
        let mut meters: Vec<String> = Vec::new();
        for bound in bounds.filter(|bound| bound.wanted(asked).is_some()) {
            if meters.contains(&bound.meter) {
                continue;
            }
            meters.push(bound.meter.clone());
            self.taken.entry(bound.meter.clone()).or_default().push(Taken {
                decision: decision.into(),
                amount: bound.wanted(asked).unwrap_or_default(),
                at_ms,
                deadline_ms,
                given_back: false,
                ended: false,
            });
        }
        self.meters.insert(decision.into(), meters);
    }

    /// An outcome of a decision: its call is over, and one that failed in time took nothing.
    pub(super) fn settle(&mut self, decision: &str, kind: OutcomeKind, at_ms: u64) {
        for meter in self.meters.get(decision).into_iter().flatten() {
            let taken = self.taken.get_mut(meter).into_iter().flatten();
            for one in taken.filter(|one| one.decision == decision) {
                let until_ms = one.deadline_ms.saturating_add(GIVEN_BACK_WITHIN_MS);
                one.ended = true;
                one.given_back |= kind == OutcomeKind::Failed && at_ms < until_ms;
            }
        }
    }

    fn used(&self, bound: &Bounded, at_ms: u64) -> u64 {
        let counts = |one: &&Taken| match bound.kind {
            Kind::Count | Kind::Sum { .. } => !one.given_back,
            Kind::Rate { window_ms } => !one.given_back && one.at_ms.saturating_add(window_ms) > at_ms,
            Kind::Concurrency => !one.ended && one.deadline_ms > at_ms,
        };
        let taken = self.taken.get(&bound.meter).into_iter().flatten();
        taken.filter(counts).map(|one| one.amount).sum()
    }
}
