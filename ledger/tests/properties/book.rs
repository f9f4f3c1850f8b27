//! What permits took of bounds: a list of all that the log says, counted again each time.

use chancery_ledger::command::{Bound, BoundKind, DecisionId, GrantId, OutcomeKind, Per, Terms};

/// How long after the deadline a failure gives back.
const GIVEN_BACK_WITHIN_MS: u64 = 60_000;

struct Spent {
    measure: String,
    amount: u64,
    at_ms: u64,
    deadline_ms: u64,
    decision: DecisionId,
    over: bool,
    given_back: bool,
}

#[derive(Default)]
pub(crate) struct Book {
    spent: Vec<Spent>,
    /// Bounds of which more was spent than there is, at any time.
    pub(crate) overspent: Vec<String>,
    /// Bounds that were spent to their limit.
    pub(crate) exhausted: Vec<&'static str>,
}

/// What adds up: that of one grant, of one agent, or of one key.
fn measure(bound: &Bound, grant: GrantId, agent: &str) -> String {
    match &bound.per {
        Per::Grant => format!("{:?} of {grant}", bound.kind),
        Per::Agent => format!("{:?} of agent {agent}", bound.kind),
        Per::Key(key) => format!("{:?} of key {key}", bound.kind),
    }
}

pub(crate) fn amount(bound: &Bound, args: Option<&[u8]>) -> u64 {
    match &bound.kind {
        BoundKind::Sum { argument } => {
            let args: serde_json::Value = serde_json::from_slice(args.unwrap()).unwrap();
            args[argument.as_str()].as_u64().unwrap()
        }
        _ => 1,
    }
}

impl Book {
    /// What counts at `at_ms`.
    pub(crate) fn used(&self, bound: &Bound, grant: GrantId, agent: &str, at_ms: u64) -> u64 {
        let measure = measure(bound, grant, agent);
        let counts = |spent: &&Spent| match bound.kind {
            BoundKind::Count | BoundKind::Sum { .. } => !spent.given_back,
            BoundKind::Rate { window_ms } => !spent.given_back && spent.at_ms + window_ms > at_ms,
            BoundKind::Concurrency => !spent.over && spent.deadline_ms > at_ms,
        };
        self.spent.iter().filter(|spent| spent.measure == measure).filter(counts).map(|s| s.amount).sum()
    }

    /// A permit takes of each bound of its chain, of what several of them measure together once. As what is spent
    /// only falls in between, no limit was exceeded at any time if none is right after a permit.
    pub(crate) fn take(
        &mut self,
        decision: DecisionId,
        chain: &[(GrantId, &Terms)],
        args: Option<&[u8]>,
        at_ms: u64,
        deadline_ms: u64,
    ) {
        let bounds = || {
            let all = chain.iter().map(|(grant, terms)| (*grant, terms.agent.as_str(), &terms.bounds));
            all.flat_map(|(grant, agent, bounds)| bounds.iter().map(move |bound| (bound, grant, agent)))
        };
        for (bound, grant, agent) in bounds() {
            let measure = measure(bound, grant, agent);
            if !self.spent.iter().any(|spent| spent.decision == decision && spent.measure == measure) {
                let (amount, over, given_back) = (amount(bound, args), false, false);
                self.spent.push(Spent { measure, amount, at_ms, deadline_ms, decision, over, given_back });
            }
        }
        for (bound, grant, agent) in bounds() {
            let used = self.used(bound, grant, agent, at_ms);
            if used > bound.limit {
                self.overspent.push(format!("{used} of {bound:?} of {grant}, {agent}"));
            } else if used == bound.limit {
                self.exhausted.push(bound.kind.name());
            }
        }
    }

    pub(crate) fn settle(&mut self, decision: DecisionId, kind: OutcomeKind, now_ms: u64) {
        for spent in self.spent.iter_mut().filter(|spent| spent.decision == decision) {
            spent.over = true;
            spent.given_back |=
                kind == OutcomeKind::Failed && now_ms < spent.deadline_ms + GIVEN_BACK_WITHIN_MS;
        }
    }
}
