//! A denial in words: which rule, in which grant, with which values.

use chancery_ledger::authority::GrantRef;
use chancery_ledger::condition::PolicyTold;
use chancery_ledger::decide::{Denial, Explanation, Link};

use super::policy;
use crate::limits::{bound_words, requirement_words};
use crate::output;

/// Why a call was denied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Explained {
    /// The rule that it broke, as it is written; none if no grant has one.
    pub(super) rule: Option<String>,
    /// What was found, a line each.
    pub(super) found: Vec<String>,
}

/// Puts `denial` into words, from everything that it was decided from.
pub(super) fn explained(denial: &Denial, explanation: &Explanation) -> Explained {
    let link = |grant: &GrantRef| {
        let mut links = explanation.grants.iter().flat_map(|considered| &considered.links);
        links.find(|link| link.reference == *grant)
    };
    let (rule, values) = match denial {
        Denial::ConditionFailed { grant, reason } => {
            let link = link(grant);
            let broken = |told: &&PolicyTold| reason.policies().contains(&told.number);
            let broken: Vec<_> = link.iter().flat_map(|link| link.policies.iter()).filter(broken).collect();
            let rules = link.map(|link| rules(link, &broken)).filter(|rules| !rules.is_empty());
            let seen = broken.iter().flat_map(|policy| &policy.seen);
            let seen =
                seen.map(|seen| format!("{} is {}", seen.path, seen.value.as_deref().unwrap_or("absent")));
            (rules, seen.collect())
        }
        Denial::BoundExhausted { grant, name, .. } => {
            let bounds = link(grant).into_iter().flat_map(|link| link.grant.terms.bounds.iter());
            (bounds.into_iter().find(|bound| bound.name == *name).map(bound_words), Vec::new())
        }
        Denial::KnowledgeMissing { grant, template, .. } => {
            let required = link(grant).into_iter().flat_map(|link| link.grant.terms.knowledge.iter());
            (required.into_iter().find(|one| one.source == *template).map(requirement_words), Vec::new())
        }
        _ => (None, Vec::new()),
    };
    let whose = grant(denial).and_then(link).map(|link| {
        format!("grant {} is {}'s", output::short(&link.reference.grant), link.grant.terms.agent)
    });
    Explained { rule, found: [output::denial(denial)].into_iter().chain(whose).chain(values).collect() }
}

/// The airline's words for each policy that was broken.
fn rules(link: &Link, broken: &[&PolicyTold]) -> String {
    let condition = link.grant.terms.condition.as_ref();
    let rule = |told: &&PolicyTold| condition.and_then(|condition| policy::rule(condition, told.number));
    broken.iter().filter_map(rule).collect::<Vec<_>>().join(" ")
}

/// The grant that a denial names.
const fn grant(denial: &Denial) -> Option<&GrantRef> {
    match denial {
        Denial::ConditionFailed { grant, .. }
        | Denial::BoundExhausted { grant, .. }
        | Denial::KnowledgeMissing { grant, .. }
        | Denial::Revoked { grant, .. } => Some(grant),
        _ => None,
    }
}
