//! Bounds and knowledge in the plain model: a list of all that was ever permitted, counted again each time.

use chancery_ledger::authority::{Allowance, MeterId};
use chancery_ledger::command::{Bound, BoundKind, GrantId, OutcomeKind, Per, Terms};
use chancery_ledger::decide::{Denial, Interval, Request};
use chancery_ledger::hash::Hash;

use super::Plain;
use super::conditions::{self, Facts};

const MINUTE_MS: u64 = 60_000;

/// What one permitted decision took of what is measured under `meter`.
#[derive(Clone)]
pub(crate) struct Spent {
    meter: String,
    amount: u64,
    at_ms: u64,
    ends_ms: u64,
    /// The agent and the number of the decision.
    decision: (String, u64),
    over: bool,
    given_back: bool,
}

fn meter(bound: &Bound, grant: GrantId, agent: &str) -> String {
    let whose = match &bound.per {
        Per::Grant => format!("grant {grant}"),
        Per::Agent => format!("agent {agent}"),
        Per::Key(key) => format!("key {key}"),
    };
    format!("{whose}: {:?} {}", bound.kind, bound.name)
}

/// The argument of a text that is none of the bad ones.
fn argument(request: &Request, name: &str) -> Option<serde_json::Value> {
    let text = request.args.as_ref().filter(|text| conditions::fault(text).is_none())?;
    assert_eq!(Hash::of(&[text]), request.args_digest);
    serde_json::from_slice::<serde_json::Value>(text).ok()?.get(name).cloned()
}

impl Plain {
    fn used(&self, bound: &Bound, meter: &str, at_ms: u64) -> u64 {
        let of_meter = self.spent.iter().filter(|spent| spent.meter == meter);
        // What was over when something was last spent is forgotten: the state does not tell of times before that.
        let at_ms = of_meter.clone().map(|spent| spent.at_ms).fold(at_ms, u64::max);
        let counted = of_meter.filter(|spent| match bound.kind {
            BoundKind::Count | BoundKind::Sum { .. } => !spent.given_back,
            BoundKind::Rate { window_ms } => !spent.given_back && spent.at_ms + window_ms > at_ms,
            BoundKind::Concurrency => !spent.over && spent.ends_ms > at_ms,
        });
        counted.map(|spent| spent.amount).sum()
    }

    /// What the bounds of `chain` leave, or why the request does not fit it.
    pub(super) fn limits(
        &self,
        chain: &[GrantId],
        request: &Request,
        at: Interval,
    ) -> Result<Vec<Allowance>, Box<Denial>> {
        let mut allowances = Vec::new();
        for link in chain {
            let (grant, terms) = (self.reference(*link), &self.grants[link].terms);
            self.knows(*link, terms, request, at)?;
            if let Some(condition) = &terms.condition {
                // At the latest time first, as it is told.
                for at_ms in [at.high_ms, at.low_ms] {
                    if let Err(reason) =
                        conditions::plainly(condition, request, &self.facts(*link, request, at_ms))
                    {
                        return Err(Box::new(Denial::ConditionFailed { grant, reason }));
                    }
                }
            }
            for bound in terms.bounds.iter() {
                let used = self.used(bound, &meter(bound, *link, terms.agent.as_str()), at.low_ms);
                let wanted = match &bound.kind {
                    BoundKind::Sum { argument: name } => {
                        argument(request, name.as_str()).and_then(|value| value.as_u64())
                    }
                    _ => Some(1),
                };
                let Some(fits) = wanted.filter(|wanted| used + wanted <= bound.limit) else {
                    let (name, limit) = (bound.name.clone(), bound.limit);
                    return Err(Box::new(Denial::BoundExhausted { grant, name, limit, used, wanted }));
                };
                let meter = MeterId::of(bound, grant, &terms.agent);
                allowances.push(Allowance { grant, bound: bound.clone(), meter, used, wanted: fits });
            }
        }
        Ok(allowances)
    }

    /// What a condition of `link` knows of the ledger.
    fn facts(&self, link: GrantId, request: &Request, at_ms: u64) -> Facts {
        let terms = &self.grants[&link].terms;
        let left = |bound: &Bound| {
            let used = self.used(bound, &meter(bound, link, terms.agent.as_str()), at_ms);
            (bound.name.to_string(), bound.limit - used)
        };
        let items = request.knowledge.iter().flat_map(|knowledge| knowledge.shown());
        let of_zero = items.filter(|placed| placed.item.source.as_str() == "about/0");
        let ages = of_zero.filter_map(|placed| at_ms.checked_sub(placed.item.retrieved_at_ms));
        Facts {
            decisions: self.agents[request.agent.as_str()].decisions.len() as u64,
            left: terms.bounds.iter().map(left).collect(),
            age_of_zero_ms: ages.min(),
        }
    }

    fn knows(
        &self,
        link: GrantId,
        terms: &Terms,
        request: &Request,
        at: Interval,
    ) -> Result<(), Box<Denial>> {
        for requirement in terms.knowledge.iter() {
            // The one template that the generator has.
            let id = argument(request, "id").and_then(|id| id.as_str().map(ToString::to_string));
            let source = id.map(|id| requirement.source.as_str().replace("{args.id}", &id));
            let shown = request.knowledge.iter().flat_map(|knowledge| knowledge.shown());
            let of_source = shown.filter(|placed| Some(placed.item.source.as_str()) == source.as_deref());
            let times = of_source.map(|placed| placed.item.retrieved_at_ms);
            let retrieved_at_ms = times.filter(|time_ms| *time_ms <= at.high_ms).max();
            if retrieved_at_ms.is_none_or(|time_ms| at.high_ms - time_ms > requirement.max_age_ms) {
                return Err(Box::new(Denial::KnowledgeMissing {
                    grant: self.reference(link),
                    template: requirement.source.clone(),
                    source: source.map(|source| chancery_ledger::command::Name::new(source).unwrap()),
                    max_age_ms: requirement.max_age_ms,
                    retrieved_at_ms,
                }));
            }
        }
        Ok(())
    }

    /// A permitted decision takes its part of each bound of its chain; of what several bounds measure together,
    /// once.
    pub(super) fn take(
        &mut self,
        (agent, number): (&str, u64),
        allowances: &[Allowance],
        at_ms: u64,
        ends_ms: u64,
    ) {
        let decision = (agent.to_string(), number);
        for Allowance { grant, bound, wanted, .. } in allowances {
            let holder = self.grants[&grant.grant].terms.agent.to_string();
            let meter = meter(bound, grant.grant, &holder);
            if !self.spent.iter().any(|spent| spent.meter == meter && spent.decision == decision) {
                let (decision, amount) = (decision.clone(), *wanted);
                let (over, given_back) = (false, false);
                self.spent.push(Spent { meter, amount, at_ms, ends_ms, decision, over, given_back });
            }
        }
    }

    /// What an outcome does to what its decision took.
    pub(super) fn settle(&mut self, (agent, number): (&str, u64), kind: OutcomeKind, now_ms: u64) {
        let own = |spent: &&mut Spent| spent.decision.0 == agent && spent.decision.1 == number;
        for spent in self.spent.iter_mut().filter(own) {
            spent.over = true;
            spent.given_back |= kind == OutcomeKind::Failed && now_ms < spent.ends_ms + MINUTE_MS;
        }
    }
}
