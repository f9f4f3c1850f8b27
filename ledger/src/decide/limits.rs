//! What one link of a chain demands beyond its patterns and its time: knowledge, and what is left of bounds.

use super::arguments::Arguments;
use super::{Denial, Interval, Request};
use crate::authority::{Allowance, GrantRef, MeterId, View, ViewError, used};
use crate::command::{Bound, BoundKind, Requirement, TemplatePlace, Terms};

/// The first of the link's requirements that the request does not meet.
pub(super) fn missing_knowledge(
    request: &Request,
    arguments: &Arguments,
    interval: Interval,
    grant: GrantRef,
    terms: &Terms,
) -> Option<Denial> {
    terms.knowledge.iter().find_map(|Requirement { source: template, max_age_ms }| {
        let source = template.fill(|place| match place {
            TemplatePlace::Agent => Some(request.agent.to_string()),
            TemplatePlace::Action => Some(request.action.to_string()),
            TemplatePlace::Resource => Some(request.resource.to_string()),
            TemplatePlace::Argument(name) => arguments.segment(name),
        });
        // Ages are measured at the latest time, and what is later than that was not there.
        let newest = |source| request.knowledge.as_ref()?.newest_of(source, interval.high_ms);
        let retrieved_at_ms = source.as_ref().and_then(newest);
        let young = |time_ms: u64| interval.high_ms.saturating_sub(time_ms) <= *max_age_ms;
        (!retrieved_at_ms.is_some_and(young)).then(|| Denial::KnowledgeMissing {
            grant,
            template: template.clone(),
            source,
            max_age_ms: *max_age_ms,
            retrieved_at_ms,
        })
    })
}

/// What is left of one of the link's bounds, if it is enough for the request.
pub(super) fn allowance<V: View>(
    view: &V,
    arguments: &Arguments,
    interval: Interval,
    (grant, terms): (GrantRef, &Terms),
    bound: &Bound,
) -> Result<Result<Allowance, Denial>, ViewError<V::Error>> {
    let meter = MeterId::of(bound, grant, &terms.agent);
    // The earliest time: then the most is still in its window, and the most calls are under way.
    let used = used(view, bound, &meter, interval.low_ms)?;
    let wanted = match &bound.kind {
        BoundKind::Sum { argument } => arguments.amount(argument),
        BoundKind::Count | BoundKind::Rate { .. } | BoundKind::Concurrency => Some(1),
    };
    Ok(match wanted {
        Some(wanted) if used.checked_add(wanted).is_some_and(|then| then <= bound.limit) => {
            Ok(Allowance { grant, bound: bound.clone(), meter, used, wanted })
        }
        _ => {
            let (name, limit) = (bound.name.clone(), bound.limit);
            Err(Denial::BoundExhausted { grant, name, limit, used, wanted })
        }
    })
}
