//! Bounds: never overspent, and never said to be while there is room.

use std::collections::HashMap;

use chancery_ledger::command::{Authorize, Body, Terms};

use super::authority::Authority;
use super::decisions::question;
use super::spending::{Bounded, Spending};
use super::{Finding, Leaf, Leaves, Verdict, replay};
use crate::history::{Told, ToldBound, ToldDecided};

/// The checker's name.
pub const NAME: &str = "bounds";

/// Replays the log through a plain list of everything that recorded decisions took of bounds, and gave back, in the
/// ledger's own time. Demands of each permit that every bound of its chain had room for it, and that it says just what
/// was spent and what it takes; of each denial, that no bounded chain in force had room, and that what it
/// says of a bound is so. So of two who want the last unit, one gets it, always.
pub fn check(leaves: &Leaves) -> Finding {
    let mut judge = Judge::default();
    let judged = leaves.commands().iter().try_for_each(|leaf| judge.take(leaves, leaf));
    Finding::of(NAME, judge.examined, judged)
}

/// After some prefix of the log.
#[derive(Default)]
struct Judge {
    authority: Authority,
    /// The bounds of each grant, in the order of their names.
    bounds: HashMap<String, Vec<Bounded>>,
    spending: Spending,
    /// Decisions that had to do with a bound.
    examined: usize,
}

impl Judge {
    fn take(&mut self, leaves: &Leaves, leaf: &Leaf) -> Result<(), Verdict> {
        match &leaf.signed.command().body {
            Body::Authorize(asked) => self.decided(leaves, leaf, asked)?,
            Body::Outcome(said) => {
                self.spending.settle(&said.decision.id.to_string(), said.kind, leaf.time_ms);
            }
            Body::Grant { terms, .. } | Body::Delegate { terms, .. } => {
                self.granted(leaves.grant_id(leaf), terms);
            }
            _ => {}
        }
        replay::apply(&mut self.authority, leaves, leaf);
        Ok(())
    }

    fn granted(&mut self, grant: String, terms: &Terms) {
        let bounds = terms.bounds.iter().map(|bound| Bounded::of(bound, &grant, terms.agent.as_str()));
        let bounds = bounds.collect();
        self.bounds.insert(grant, bounds);
    }

    fn decided(&mut self, leaves: &Leaves, leaf: &Leaf, asked: &Authorize) -> Result<(), Verdict> {
        // Without a verdict it is for `decisions` to say.
        let Some(verdict) = leaf.verdict.as_ref().map(Told::of) else { return Ok(()) };
        match &verdict.decided {
            ToldDecided::Permit { chain, deadline_ms, bounds } => {
                let due = self.spending.take(self.of_chain(chain), asked, leaf.time_ms);
                let due = due.map_err(|bound| wrong(leaf, format!("overspends {}", spelled(&bound))))?;
                self.examined += usize::from(!due.is_empty());
                if *bounds != due {
                    return Err(wrong(leaf, format!("takes {bounds:?}, where it should {due:?}")));
                }
                let id = leaves.decision_id(leaf).to_string();
                let all = chain.iter().filter_map(|grant| self.bounds.get(grant)).flatten();
                self.spending.spend(all, asked, &id, (leaf.time_ms, *deadline_ms));
            }
            // For a halt: whatever is left.
            ToldDecided::Denied { halt: Some(_), .. } => {}
            ToldDecided::Denied { reason, bound, .. } => {
                self.examined += usize::from(bound.is_some());
                self.denied(leaf, asked, reason, bound.as_ref())?;
            }
        }
        Ok(())
    }

    /// A denial: for a bound, or for what outweighs it of another grant. Either way no bounded chain had room.
    fn denied(
        &self,
        leaf: &Leaf,
        asked: &Authorize,
        reason: &str,
        bound: Option<&ToldBound>,
    ) -> Result<(), Verdict> {
        let mut chains = self.authority.chains(question(asked));
        chains.retain(|chain| self.authority.is_bounded(chain));
        let mut exhausted = Vec::new();
        for chain in chains {
            match self.spending.take(self.of_chain(&chain), asked, leaf.time_ms) {
                Ok(room) => {
                    let what = format!("denied ({reason}), where there is room: {room:?}");
                    return Err(wrong(leaf, what));
                }
                Err(bound) => exhausted.push(bound),
            }
        }
        match bound.filter(|told| !exhausted.contains(told)) {
            Some(told) => Err(wrong(leaf, format!("denied for {}, which is not so", spelled(told)))),
            None => Ok(()),
        }
    }

    /// The bounds of a chain, each with its grant.
    fn of_chain<'a>(&'a self, chain: &'a [String]) -> impl Iterator<Item = (&'a str, &'a Bounded)> {
        chain.iter().flat_map(|grant| {
            let bounds = self.bounds.get(grant).map_or(&[][..], Vec::as_slice);
            bounds.iter().map(move |bound| (grant.as_str(), bound))
        })
    }
}

fn spelled(bound: &ToldBound) -> String {
    let ToldBound { grant, name, limit, used, taken } = bound;
    format!("bound {name} of grant {grant} ({used} of {limit} used, {taken:?} wanted)")
}

fn wrong(leaf: &Leaf, what: impl std::fmt::Display) -> Verdict {
    Verdict::violation(NAME, format!("leaf {}: {what}", leaf.index), &[])
}
