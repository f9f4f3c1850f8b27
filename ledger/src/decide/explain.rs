//! Why: the same decision, with what each grant came to and what each policy saw.

use super::links::metered_links;
use super::{Asked, Decision, Denial, Interval, Request, consider, decide_with};
use crate::authority::{Chain, GrantRecord, GrantRef, Place, View, ViewError, referred};
use crate::command::{Bound, Name, Template};
use crate::condition::PolicyTold;

/// A decision, and everything that it was made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// Of a permit the one grant that it rests on; of a denial all that the agent holds, in the order of its list.
    pub grants: Vec<Considered>,
}

/// What one of the agent's grants came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Considered {
    /// The grant, then its ancestors up to the root; the grant alone if its own names already do not fit.
    pub links: Vec<Link>,
    /// Why it does not allow the request, if it does not.
    pub denial: Option<Denial>,
}

/// A grant of a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Where it stands.
    pub reference: GrantRef,
    /// What the state says of it.
    pub grant: GrantRecord,
    /// Its condition's policies, in the order of the text. None if it has no condition, if the arguments cannot be
    /// used, or if the grant is denied before any condition is looked at.
    pub policies: Vec<PolicyTold>,
    /// What it requires the agent to have had in front of it; nothing if the grant is denied before that is looked
    /// at.
    pub required: Vec<Required>,
    /// What is spent of its bounds; nothing if the grant is denied before that is looked at.
    pub measured: Vec<Measured>,
}

/// A source that a grant requires, and what the request shows of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Required {
    /// The source, as the grant names it.
    pub template: Template,
    /// The source for this request; none if an argument that names it is not shown, or names none.
    pub source: Option<Name>,
    /// How old it may be, in milliseconds.
    pub max_age_ms: u64,
    /// When the newest that is shown was retrieved, in ledger time.
    pub retrieved_at_ms: Option<u64>,
    /// Whether that is enough.
    pub is_met: bool,
}

/// A bound of a grant, and what the request finds of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measured {
    /// The bound.
    pub bound: Bound,
    /// What is spent of it.
    pub used: u64,
    /// What the request would spend; none if the argument that the bound adds up is not shown, or is no whole number
    /// of at least 0.
    pub wanted: Option<u64>,
}

/// [`decide()`](super::decide()), with its reasons. It reads nothing that the decision did not read, so that it can be run over the
/// proof of one.
///
/// # Errors
/// As [`decide()`](super::decide()).
pub fn explain<V: View>(
    view: &V,
    request: &Request,
    interval: Interval,
) -> Result<Explanation, ViewError<V::Error>> {
    let (decision, agent) = decide_with(view, request, request.hint, interval)?;
    let mut grants = Vec::new();
    // What is denied whatever was granted is told by the denial alone.
    let Ok(asked) = Asked::read(view, request, agent.as_ref(), interval)? else {
        return Ok(Explanation { decision, grants });
    };
    if let Decision::Permit(authority) = &decision {
        if let Some(reference) = authority.chain.first() {
            grants.push(considered(view, &asked, *reference)?);
        }
        return Ok(Explanation { decision, grants });
    }
    for number in 0..asked.agent.pages {
        let page: Vec<GrantRef> = referred(view, &Place::page(&request.agent, asked.agent.epoch, number))?;
        for reference in page {
            grants.push(considered(view, &asked, reference)?);
        }
    }
    Ok(Explanation { decision, grants })
}

fn considered<V: View>(
    view: &V,
    asked: &Asked<'_>,
    reference: GrantRef,
) -> Result<Considered, ViewError<V::Error>> {
    let grant: GrantRecord = referred(view, &Place::grant(reference))?;
    let denial = consider(view, asked, reference, grant.clone())?.err();
    let chain = if asked.is_named_by(&grant.terms) {
        Chain::read(view, reference, grant)?.links
    } else {
        vec![(reference, grant)]
    };
    // Only then the decision has read the meters that the conditions see.
    let judged = match &denial {
        None => true,
        Some(denial) => matches!(
            denial,
            Denial::ConditionFailed { .. } | Denial::KnowledgeMissing { .. } | Denial::BoundExhausted { .. }
        ),
    };
    if !judged {
        let bare = |(reference, grant)| Link {
            reference,
            grant,
            policies: Vec::new(),
            required: Vec::new(),
            measured: Vec::new(),
        };
        return Ok(Considered { links: chain.into_iter().map(bare).collect(), denial });
    }
    let metered = metered_links(view, &chain)?;
    let links = metered.iter().zip(&chain).map(|(link, (reference, grant))| {
        Ok(Link {
            reference: *reference,
            grant: grant.clone(),
            policies: link.tell(asked)?,
            required: link.required(asked),
            measured: link.measured(asked)?,
        })
    });
    Ok(Considered { links: links.collect::<Result<_, ViewError<V::Error>>>()?, denial })
}
