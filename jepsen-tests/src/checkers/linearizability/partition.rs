//! Which operations bear on which question.

use std::collections::{BTreeMap, HashMap};

use super::super::authority::matches;
use super::{Chains, Event, Part, Step};
use crate::history::{Call, Operation, Outcome};

/// A grant or delegation that some client gave.
struct Given<'a> {
    agent: &'a str,
    action: &'a str,
    resource: &'a str,
    parent: Option<&'a str>,
}

/// Splits the history by question.
pub(super) fn partition(operations: &[Operation]) -> Vec<Part> {
    let mut given: HashMap<&str, Given<'_>> = HashMap::new();
    let mut by_agent: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut questions: BTreeMap<(&str, &str, &str), Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        let (grant, one) = match &operation.call {
            Call::Grant { agent, action, resource, grant } => {
                (grant, Given { agent, action, resource, parent: None })
            }
            Call::Delegate { agent, action, resource, grant, parent } => {
                (grant, Given { agent, action, resource, parent: Some(parent) })
            }
            // It says nothing of what was granted: see `halts`.
            Call::Check { .. } if is_halted(operation) => continue,
            Call::Check { agent, action, resource } => {
                questions.entry((agent, action, resource)).or_default().push(operation);
                continue;
            }
            _ => continue,
        };
        if given.insert(grant, one).is_none() {
            by_agent.entry(operation.call.agent()).or_default().push(grant);
        }
    }
    let commands = CommandsBySubject::of(operations);
    questions
        .into_iter()
        .map(|((agent, action, resource), checks)| {
            let allows = |id: &&&str| {
                let grant = given.get(**id);
                grant.is_some_and(|one| matches(one.action, action) && matches(one.resource, resource))
            };
            let leaves: Vec<&str> =
                by_agent.get(agent).into_iter().flatten().filter(allows).copied().collect();
            let (numbers, chains) = number(&given, agent, &leaves);
            let mut events: Vec<Event<Step>> =
                checks.into_iter().filter_map(|check| event(check, &numbers)).collect();
            let bearing = commands.bearing_on(agent, &numbers, &chains);
            events.extend(bearing.into_iter().filter_map(|command| event(command, &numbers)));
            Part { question: format!("{agent} {action} {resource}"), chains, events }
        })
        .collect()
}

fn is_halted(check: &Operation) -> bool {
    matches!(&check.outcome, Outcome::Denied { halt: Some(_), .. })
}

/// Numbers `leaves` and all their ancestors.
fn number<'a>(
    given: &HashMap<&'a str, Given<'a>>,
    agent: &str,
    leaves: &[&'a str],
) -> (HashMap<&'a str, usize>, Chains) {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut chains =
        Chains { agent: agent.to_owned(), ancestors: Vec::new(), leaves: Vec::new(), held: BTreeMap::new() };
    let mut todo: Vec<&str> = leaves.to_vec();
    let mut ids: Vec<&str> = Vec::new();
    while let Some(id) = todo.pop() {
        if numbers.contains_key(id) {
            continue;
        }
        let number = ids.len();
        numbers.insert(id, number);
        ids.push(id);
        if let Some(one) = given.get(id) {
            chains.held.entry(one.agent.to_owned()).or_default().push(number);
            todo.extend(one.parent);
        }
    }
    for id in &ids {
        let mut ancestors = Vec::new();
        let mut link = Some(*id);
        // A history could name a cycle: no chain is longer than there are grants.
        while let Some(number) =
            link.and_then(|link| numbers.get(link)).filter(|_| ancestors.len() < ids.len())
        {
            ancestors.push(*number);
            link = link.and_then(|link| given.get(link)).and_then(|one| one.parent);
        }
        chains.ancestors.push(ancestors);
    }
    chains.leaves = leaves.iter().filter_map(|leaf| numbers.get(leaf)).copied().collect();
    (numbers, chains)
}

/// Every command, by what it is about.
struct CommandsBySubject<'a> {
    by_grant: HashMap<&'a str, Vec<&'a Operation>>,
    registrations: HashMap<&'a str, Vec<&'a Operation>>,
    revocations: HashMap<&'a str, Vec<&'a Operation>>,
}

impl<'a> CommandsBySubject<'a> {
    fn of(operations: &'a [Operation]) -> Self {
        let mut by =
            Self { by_grant: HashMap::new(), registrations: HashMap::new(), revocations: HashMap::new() };
        for operation in operations {
            let list = match &operation.call {
                Call::Grant { grant, .. } | Call::Delegate { grant, .. } | Call::RevokeGrant { grant } => {
                    by.by_grant.entry(grant)
                }
                Call::Register { agent, .. } => by.registrations.entry(agent),
                Call::RevokeAgent { agent } => by.revocations.entry(agent),
                // They change nobody's grants, and what they were told is in the log.
                Call::Check { .. }
                | Call::Halt { .. }
                | Call::Resume { .. }
                | Call::Authorize { .. }
                | Call::Outcome { .. } => continue,
            };
            list.or_default().push(operation);
        }
        by
    }

    fn bearing_on(&self, agent: &str, numbers: &HashMap<&str, usize>, chains: &Chains) -> Vec<&'a Operation> {
        let of_grants = numbers.keys().filter_map(|grant| self.by_grant.get(grant));
        let of_agents = chains.held.keys().filter_map(|agent| self.revocations.get(agent.as_str()));
        let registrations = self.registrations.get(agent);
        of_grants.chain(of_agents).chain(registrations).flatten().copied().collect()
    }
}

/// What the operation does or sees, and when; none if it did and saw nothing.
fn event(operation: &Operation, numbers: &HashMap<&str, usize>) -> Option<Event<Step>> {
    let known = || operation.returned_us;
    let (step, returned_us) = match (&operation.outcome, &operation.call) {
        (Outcome::Permitted { .. }, _) => (Step::Permitted, known()),
        (Outcome::Denied { reason, .. }, _) => {
            (Step::Denied { unknown_agent: reason == "unknown_agent" }, known())
        }
        (Outcome::Refused { .. } | Outcome::NotDone { .. }, _) | (_, Call::Check { .. }) => return None,
        (outcome, call) => {
            let step = match call {
                Call::Register { .. } => Step::Register,
                Call::Grant { grant, .. } | Call::Delegate { grant, .. } => {
                    Step::Grant(*numbers.get(grant.as_str())?)
                }
                Call::RevokeGrant { grant } => Step::Revoke(*numbers.get(grant.as_str())?),
                Call::RevokeAgent { agent } => Step::RevokeAll(agent.clone()),
                Call::Check { .. }
                | Call::Halt { .. }
                | Call::Resume { .. }
                | Call::Authorize { .. }
                | Call::Outcome { .. } => return None,
            };
            let acknowledged = matches!(outcome, Outcome::Acknowledged { .. });
            (step, known().filter(|_| acknowledged))
        }
    };
    Some(Event { operation: operation.id, invoked_us: operation.invoked_us, returned_us, step })
}
