//! No permit after a revocation that was acknowledged before it was asked for.
//!
//! Only the clients' clock and what they were told counts here: no index, no block.

use std::collections::HashMap;

use super::authority::matches;
use super::{Finding, Verdict};
use crate::history::{Call, Operation, Outcome};

/// The checker's name.
pub const NAME: &str = "permits";

/// Demands of each permit that its chain is one that clients asked for, from a grant to the agent and the action
/// in question, and that nothing in it had been revoked, acknowledged, before the check began: no grant of the
/// chain, and not all of an agent of it once its grant was there.
pub fn check(operations: &[Operation]) -> Finding {
    let permits: Vec<(&Operation, &[String])> = operations
        .iter()
        .filter_map(|one| match &one.outcome {
            Outcome::Permitted { chain, .. } => Some((one, chain.as_slice())),
            _ => None,
        })
        .collect();
    Finding::of(NAME, permits.len(), judge(operations, &permits))
}

fn judge(operations: &[Operation], permits: &[(&Operation, &[String])]) -> Result<(), Verdict> {
    let told = Told::by(operations, permits);
    for (permit, chain) in permits {
        let wrong =
            |what: String, operation: u64| Err(Verdict::violation(NAME, what, &[operation, permit.id]));
        let Call::Check { agent, action, resource } = &permit.call else {
            return wrong("a command with the outcome of a check".into(), permit.id);
        };
        if chain.is_empty() {
            return wrong("a permit that rests on no grant".into(), permit.id);
        }
        let mut above = chain.iter().skip(1);
        for (depth, id) in chain.iter().enumerate() {
            let Some(given) = told.given.get(id.as_str()) else {
                return wrong(format!("permitted by grant {id}, which no client gave"), permit.id);
            };
            let made = given.operation;
            if depth == 0 && made.call.agent() != agent {
                return wrong(format!("permitted by grant {id}, which is another agent's"), made.id);
            }
            if given.parent != above.next().map(String::as_str) {
                return wrong(format!("permitted by a chain that ends or goes on wrongly at {id}"), made.id);
            }
            if !matches(given.action, action) || !matches(given.resource, resource) {
                return wrong(format!("permitted by grant {id}, which does not allow it"), made.id);
            }
            if permit.returned_us.is_some_and(|returned_us| returned_us < made.invoked_us) {
                return wrong(format!("permitted by grant {id} before it was asked for"), made.id);
            }
            if let Some((revocation, returned_us)) = told.revoked.get(id.as_str())
                && *returned_us < permit.invoked_us
            {
                return wrong(format!("permitted after grant {id} was revoked, acknowledged"), *revocation);
            }
            if let Some(revocation) = told.all_revoked_before(given, id, permit.invoked_us) {
                let of = made.call.agent();
                return wrong(format!("permitted after all of {of} was revoked, acknowledged"), revocation);
            }
        }
    }
    Ok(())
}

/// What clients asked for and were told.
struct Told<'a> {
    given: HashMap<&'a str, Given<'a>>,
    /// When a grant was known to be there, at the earliest: acknowledged, or shown by a permit.
    there_us: HashMap<&'a str, u64>,
    /// The first acknowledged revocation of each grant, and when it was acknowledged.
    revoked: HashMap<&'a str, (u64, u64)>,
    /// Acknowledged revocations of all of an agent, by when they were asked for.
    all_revoked: HashMap<&'a str, Vec<Revocation>>,
}

struct Given<'a> {
    operation: &'a Operation,
    action: &'a str,
    resource: &'a str,
    parent: Option<&'a str>,
}

#[derive(Clone, Copy)]
struct Revocation {
    operation: u64,
    invoked_us: u64,
    returned_us: u64,
}

impl<'a> Told<'a> {
    fn by(operations: &'a [Operation], permits: &[(&'a Operation, &'a [String])]) -> Self {
        let mut told = Self {
            given: HashMap::new(),
            there_us: HashMap::new(),
            revoked: HashMap::new(),
            all_revoked: HashMap::new(),
        };
        for operation in operations {
            let acknowledged = matches!(operation.outcome, Outcome::Acknowledged { .. });
            let returned_us = operation.returned_us.filter(|_| acknowledged);
            match &operation.call {
                Call::Grant { action, resource, grant, .. } => {
                    told.give(grant, Given { operation, action, resource, parent: None }, returned_us);
                }
                Call::Delegate { action, resource, grant, parent, .. } => {
                    told.give(
                        grant,
                        Given { operation, action, resource, parent: Some(parent) },
                        returned_us,
                    );
                }
                Call::RevokeGrant { grant } => {
                    let Some(returned_us) = returned_us else { continue };
                    let first = told.revoked.entry(grant).or_insert((operation.id, returned_us));
                    if returned_us < first.1 {
                        *first = (operation.id, returned_us);
                    }
                }
                Call::RevokeAgent { agent } => {
                    let Some(returned_us) = returned_us else { continue };
                    let (operation, invoked_us) = (operation.id, operation.invoked_us);
                    let list = told.all_revoked.entry(agent).or_default();
                    list.push(Revocation { operation, invoked_us, returned_us });
                }
                // A recorded permit is judged by the log: see `decisions`. Halts have a checker of their own.
                Call::Register { .. }
                | Call::Check { .. }
                | Call::Halt { .. }
                | Call::Resume { .. }
                | Call::Authorize { .. }
                | Call::Outcome { .. } => {}
            }
        }
        for (permit, chain) in permits {
            let Some(returned_us) = permit.returned_us else { continue };
            for grant in *chain {
                told.there_by(grant, returned_us);
            }
        }
        for list in told.all_revoked.values_mut() {
            first_to_return_from_each_on(list);
        }
        told
    }

    fn give(&mut self, grant: &'a str, given: Given<'a>, returned_us: Option<u64>) {
        let earlier = self.given.get(grant).map_or(u64::MAX, |one| one.operation.invoked_us);
        if given.operation.invoked_us < earlier {
            self.given.insert(grant, given);
        }
        if let Some(returned_us) = returned_us {
            self.there_by(grant, returned_us);
        }
    }

    fn there_by(&mut self, grant: &'a str, instant_us: u64) {
        let earliest = self.there_us.entry(grant).or_insert(instant_us);
        *earliest = instant_us.min(*earliest);
    }

    /// A revocation of all of the agent that was asked for once the grant was there, and acknowledged before.
    fn all_revoked_before(&self, given: &Given<'_>, grant: &str, instant_us: u64) -> Option<u64> {
        let there_us = *self.there_us.get(grant)?;
        let list = self.all_revoked.get(given.operation.call.agent())?;
        let first = list.get(list.partition_point(|one| one.invoked_us <= there_us))?;
        (first.returned_us < instant_us).then_some(first.operation)
    }
}

/// Sorts by when they were asked for, and lets each stand for the first to return of those asked for then or later.
fn first_to_return_from_each_on(list: &mut [Revocation]) {
    list.sort_by_key(|one| one.invoked_us);
    let mut first: Option<Revocation> = None;
    for one in list.iter_mut().rev() {
        let least = first.filter(|first| first.returned_us < one.returned_us).unwrap_or(*one);
        (one.operation, one.returned_us) = (least.operation, least.returned_us);
        first = Some(least);
    }
}
