//! What each link of a chain demands beyond its names and its time: knowledge, a condition, and what is left of
//! bounds.

use std::collections::BTreeMap;

use super::{Asked, Denial, Measured, Required};
use crate::authority::{
    Allowance, Chain, GrantRecord, GrantRef, Meter, MeterId, View, ViewError, metered, used,
};
use crate::command::{Bound, BoundKind, Requirement, TemplatePlace};
use crate::condition::{Condition, ConditionFault, Fact, PolicyTold, Unreadable};

/// A link, with the meters of its bounds.
pub(super) struct Metered<'a> {
    grant: GrantRef,
    link: &'a GrantRecord,
    meters: Vec<(&'a Bound, MeterId, Meter)>,
}

/// What the chain's bounds leave, if every link allows the request; else what the first link that does not,
/// from the agent's grant up, has against it.
pub(super) fn judged<V: View>(
    view: &V,
    asked: &Asked<'_>,
    chain: &Chain,
) -> Result<Result<Vec<Allowance>, Denial>, ViewError<V::Error>> {
    let mut bounds = Vec::new();
    // All meters first: a condition sees what is left, and whoever explains needs those of every link.
    for link in metered_links(view, &chain.links)? {
        if let Some(denial) = link.missing_knowledge(asked) {
            return Ok(Err(denial));
        }
        if let Err(reason) = link.condition(asked)? {
            return Ok(Err(Denial::ConditionFailed { grant: link.grant, reason }));
        }
        for (bound, meter, spent) in &link.meters {
            match link.allowance(asked, bound, meter, spent)? {
                Ok(allowance) => bounds.push(allowance),
                Err(denial) => return Ok(Err(denial)),
            }
        }
    }
    Ok(Ok(bounds))
}

/// Reads the meters of all links.
pub(super) fn metered_links<'a, V: View>(
    view: &V,
    links: &'a [(GrantRef, GrantRecord)],
) -> Result<Vec<Metered<'a>>, ViewError<V::Error>> {
    let read = |(grant, link): &'a (GrantRef, GrantRecord)| {
        let meters = link.terms.bounds.iter().map(|bound| {
            let id = MeterId::of(bound, *grant, &link.terms.agent);
            let meter = metered(view, bound, &id)?;
            Ok((bound, id, meter))
        });
        Ok(Metered { grant: *grant, link, meters: meters.collect::<Result<_, ViewError<V::Error>>>()? })
    };
    links.iter().map(read).collect()
}

impl Metered<'_> {
    /// The link's requirements, and what the request shows of each.
    pub(super) fn required(&self, asked: &Asked<'_>) -> Vec<Required> {
        let (request, latest_ms) = (asked.request, asked.interval.high_ms);
        let one = |Requirement { source: template, max_age_ms }: &Requirement| {
            let source = template.fill(|place| match place {
                TemplatePlace::Agent => Some(request.agent.to_string()),
                TemplatePlace::Action => Some(request.action.to_string()),
                TemplatePlace::Resource => Some(request.resource.to_string()),
                TemplatePlace::Argument(name) => asked.call.arguments()?.segment(name),
            });
            // Ages are measured at the latest time, and what is later than that was not there.
            let newest = |source| request.knowledge.as_ref()?.newest_of(source, latest_ms);
            let retrieved_at_ms = source.as_ref().and_then(newest);
            let young = |time_ms: u64| latest_ms.saturating_sub(time_ms) <= *max_age_ms;
            let is_met = retrieved_at_ms.is_some_and(young);
            let (template, max_age_ms) = (template.clone(), *max_age_ms);
            Required { template, source, max_age_ms, retrieved_at_ms, is_met }
        };
        self.link.terms.knowledge.iter().map(one).collect()
    }

    /// The first of the link's requirements that the request does not meet.
    fn missing_knowledge(&self, asked: &Asked<'_>) -> Option<Denial> {
        let grant = self.grant;
        let missing = self.required(asked).into_iter().find(|required| !required.is_met)?;
        let Required { template, source, max_age_ms, retrieved_at_ms, .. } = missing;
        Some(Denial::KnowledgeMissing { grant, template, source, max_age_ms, retrieved_at_ms })
    }

    /// Whether the link's condition holds, if it has one.
    fn condition<E>(&self, asked: &Asked<'_>) -> Result<Result<(), ConditionFault>, ViewError<E>> {
        let Some(condition) = &self.link.terms.condition else { return Ok(Ok(())) };
        Ok(self.satisfied(asked, condition)?.1)
    }

    /// What each policy of the link's condition comes to, over the facts that decide it.
    pub(super) fn tell<E>(&self, asked: &Asked<'_>) -> Result<Vec<PolicyTold>, ViewError<E>> {
        let Some(condition) = &self.link.terms.condition else { return Ok(Vec::new()) };
        let (facts, _) = self.satisfied(asked, condition)?;
        Ok(asked.call.tell(condition, &facts)?)
    }

    /// Whether `condition` holds at the latest time as at the earliest, and the facts that decide it: those of the
    /// earliest if it holds at the latest alone.
    fn satisfied<E>(
        &self,
        asked: &Asked<'_>,
        condition: &Condition,
    ) -> Result<(Fact, Result<(), ConditionFault>), ViewError<E>> {
        let latest = self.facts(asked, asked.interval.high_ms)?;
        if let Err(fault) = asked.call.satisfies(condition, &latest)? {
            return Ok((latest, Err(fault)));
        }
        let earliest = self.facts(asked, asked.interval.low_ms)?;
        if earliest == latest {
            return Ok((latest, Ok(())));
        }
        Ok(match asked.call.satisfies(condition, &earliest)? {
            Ok(()) => (latest, Ok(())),
            Err(fault) => (earliest, Err(fault)),
        })
    }

    /// What the condition knows of the ledger at `at_ms`: `context.ledger`.
    fn facts<E>(&self, asked: &Asked<'_>, at_ms: u64) -> Result<Fact, ViewError<E>> {
        let mut bounds = Vec::new();
        for (bound, _, meter) in &self.meters {
            let used = used(meter, bound, at_ms)?;
            let left = bound.limit.saturating_sub(used);
            let numbers = [("limit", bound.limit), ("used", used), ("left", left)];
            bounds.push((bound.name.to_string(), record(numbers)?));
        }
        let mut knowledge = BTreeMap::new();
        for placed in asked.request.knowledge.iter().flat_map(|knowledge| knowledge.shown()) {
            let (source, retrieved_at_ms) = (placed.item.source.as_str(), placed.item.retrieved_at_ms);
            if let Some(age_ms) = at_ms.checked_sub(retrieved_at_ms) {
                let youngest: &mut u64 = knowledge.entry(source.to_owned()).or_insert(age_ms);
                *youngest = age_ms.min(*youngest);
            }
        }
        let knowledge =
            knowledge.into_iter().map(|(source, age_ms)| Ok((source, record([("age_ms", age_ms)])?)));
        let mut facts = vec![
            ("bounds".into(), Fact::Record(bounds)),
            ("decisions".into(), number(asked.agent.decisions)?),
            ("knowledge".into(), Fact::Record(knowledge.collect::<Result<_, Unreadable>>()?)),
            ("permits".into(), number(asked.agent.permits)?),
        ];
        if let Some(generation) = asked.generation {
            facts.push(("generation".into(), number(generation.number)?));
        }
        Ok(Fact::Record(facts))
    }

    /// The link's bounds, each with what is spent of it.
    pub(super) fn measured<E>(&self, asked: &Asked<'_>) -> Result<Vec<Measured>, ViewError<E>> {
        let one = |(bound, _, spent): &(&Bound, MeterId, Meter)| {
            let used = used(spent, bound, asked.interval.low_ms)?;
            Ok(Measured { bound: (*bound).clone(), used, wanted: wanted(asked, bound) })
        };
        self.meters.iter().map(one).collect()
    }

    /// What is left of one of the link's bounds, if it is enough for the request.
    fn allowance<E>(
        &self,
        asked: &Asked<'_>,
        bound: &Bound,
        meter: &MeterId,
        spent: &Meter,
    ) -> Result<Result<Allowance, Denial>, ViewError<E>> {
        // The earliest time: then the most is still in its window, and the most calls are under way.
        let used = used(spent, bound, asked.interval.low_ms)?;
        let (wanted, grant) = (wanted(asked, bound), self.grant);
        Ok(match wanted {
            Some(wanted) if used.checked_add(wanted).is_some_and(|then| then <= bound.limit) => {
                Ok(Allowance { grant, bound: bound.clone(), meter: meter.clone(), used, wanted })
            }
            _ => {
                let (name, limit) = (bound.name.clone(), bound.limit);
                Err(Denial::BoundExhausted { grant, name, limit, used, wanted })
            }
        })
    }
}

/// What the request would spend of a bound; none if the argument that it adds up is not shown, or is no whole number
/// of at least 0.
fn wanted(asked: &Asked<'_>, bound: &Bound) -> Option<u64> {
    match &bound.kind {
        BoundKind::Sum { argument } => asked.call.arguments().and_then(|shown| shown.amount(argument)),
        BoundKind::Count | BoundKind::Rate { .. } | BoundKind::Concurrency => Some(1),
    }
}

fn record<const N: usize>(numbers: [(&str, u64); N]) -> Result<Fact, Unreadable> {
    let numbers = numbers.into_iter().map(|(name, value)| Ok((name.to_owned(), number(value)?)));
    numbers.collect::<Result<_, _>>().map(Fact::Record)
}

/// Cedar counts to 2^63 - 1: beyond that there is no condition to hold.
fn number(value: u64) -> Result<Fact, Unreadable> {
    i64::try_from(value).map(Fact::Number).map_err(|_| Unreadable)
}
