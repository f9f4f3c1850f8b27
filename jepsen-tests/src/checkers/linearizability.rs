//! Whether an order exists that explains what clients saw, from nothing but when they asked and what they heard.
//!
//! No index, block or proof is looked at. The history is split by question (agent, action, resource): each part
//! has every check of it, and every command that could bear on it: the registration of the agent, the grants that
//! allow it with their ancestors, their revocations, and the revocations of all of an agent in such a chain. Each
//! part must be linearizable by itself (an order *across* questions is what [`super::replay`] judges).
//!
//! A command whose outcome is unknown may take effect at any time after it was given, or never. What was refused
//! or not done took no effect, and a refusal is only a node's word, so that it is no observation of the state.

use std::collections::{BTreeMap, HashMap};

use super::authority::matches;
use super::search::{Event, Model, Outcome as Found, search};
use super::{Finding, Verdict};
use crate::history::{Call, Operation, Outcome};

/// The checker's name.
pub const NAME: &str = "linearizability";

/// Searches each question's part for an order, looking at no more than `steps_max` configurations in all.
pub fn check(operations: &[Operation], steps_max: u64) -> Finding {
    let parts = partition(operations);
    let examined = parts.iter().map(|part| part.events.len()).sum();
    Finding::of(NAME, examined, judge(&parts, steps_max))
}

fn judge(parts: &[Part], steps_max: u64) -> Result<(), Verdict> {
    let mut steps_left = steps_max;
    let mut undecided = Vec::new();
    for part in parts {
        match search(&part.chains, &part.events, steps_left) {
            Found::Linearizable { steps } => steps_left = steps_left.saturating_sub(steps),
            Found::None { stuck } => {
                let what = format!("no order explains what clients saw of {}", part.question);
                return Err(Verdict::violation(NAME, what, &stuck));
            }
            // The others are still looked at, if only with what little is left: a violation there counts.
            Found::GaveUp => {
                undecided.push(part.question.clone());
                steps_left = STEPS_OF_THE_REST;
            }
        }
    }
    if undecided.is_empty() {
        return Ok(());
    }
    let why = format!("{steps_max} configurations did not decide {}", undecided.join(", "));
    Err(Verdict::Inconclusive { why })
}

/// Configurations for each part that is left when one was not decided.
const STEPS_OF_THE_REST: u64 = 100_000;

/// What bears on one question.
struct Part {
    question: String,
    chains: Chains,
    events: Vec<Event<Step>>,
}

/// The grants that bear on one question, by number.
struct Chains {
    /// Each grant's ancestors, itself first.
    ancestors: Vec<Vec<usize>>,
    /// Those that end such a chain at the agent asked about.
    leaves: Vec<usize>,
    /// Those of each agent.
    held: HashMap<String, Vec<usize>>,
}

/// What one operation does or sees.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Register,
    Grant(usize),
    Revoke(usize),
    RevokeAll(String),
    Permitted,
    Denied { unknown_agent: bool },
}

/// What a grant is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Status {
    Absent,
    Active,
    /// Revoked, or of an earlier epoch: for good, seen or not.
    Void,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    registered: bool,
    grants: Vec<Status>,
}

impl Chains {
    fn in_force(&self, state: &State, grant: usize) -> bool {
        let chain = self.ancestors.get(grant).map_or(&[][..], Vec::as_slice);
        !chain.is_empty() && chain.iter().all(|link| state.grants.get(*link) == Some(&Status::Active))
    }
}

impl Model for Chains {
    type Step = Step;
    type State = State;

    fn initial(&self) -> State {
        State { registered: false, grants: vec![Status::Absent; self.ancestors.len()] }
    }

    fn only_looks(&self, step: &Step) -> bool {
        matches!(step, Step::Permitted | Step::Denied { .. })
    }

    fn step(&self, state: &State, step: &Step, certain: bool) -> Option<State> {
        let permitted = || self.leaves.iter().any(|leaf| self.in_force(state, *leaf));
        let mut next = state.clone();
        match step {
            Step::Register => next.registered = true,
            Step::Grant(grant) => {
                let chain = self.ancestors.get(*grant).map_or(&[][..], Vec::as_slice);
                let allowed =
                    chain.iter().skip(1).all(|link| state.grants.get(*link) == Some(&Status::Active));
                match next.grants.get_mut(*grant) {
                    // A delegation below what is not in force is refused; if it was acknowledged, it was not so.
                    _ if !allowed => return (!certain).then_some(next),
                    Some(status @ Status::Absent) => *status = Status::Active,
                    _ => {}
                }
            }
            Step::Revoke(grant) => {
                if let Some(status) = next.grants.get_mut(*grant) {
                    *status = Status::Void;
                }
            }
            Step::RevokeAll(agent) => {
                for grant in self.held.get(agent).into_iter().flatten() {
                    if let Some(status @ Status::Active) = next.grants.get_mut(*grant) {
                        *status = Status::Void;
                    }
                }
            }
            Step::Permitted => return (state.registered && permitted()).then_some(next),
            Step::Denied { unknown_agent } => {
                let fits = !permitted() && *unknown_agent != state.registered;
                return fits.then_some(next);
            }
        }
        Some(next)
    }
}

/// A grant or delegation that some client gave.
struct Given<'a> {
    agent: &'a str,
    action: &'a str,
    resource: &'a str,
    parent: Option<&'a str>,
}

fn partition(operations: &[Operation]) -> Vec<Part> {
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
            let (numbers, chains) = number(&given, &leaves);
            let mut events: Vec<Event<Step>> =
                checks.into_iter().filter_map(|check| event(check, &numbers)).collect();
            let bearing = commands.bearing_on(agent, &numbers, &chains);
            events.extend(bearing.into_iter().filter_map(|command| event(command, &numbers)));
            Part { question: format!("{agent} {action} {resource}"), chains, events }
        })
        .collect()
}

/// Numbers `leaves` and all their ancestors.
fn number<'a>(given: &HashMap<&'a str, Given<'a>>, leaves: &[&'a str]) -> (HashMap<&'a str, usize>, Chains) {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut chains = Chains { ancestors: Vec::new(), leaves: Vec::new(), held: HashMap::new() };
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
                Call::Register { agent } => by.registrations.entry(agent),
                Call::RevokeAgent { agent } => by.revocations.entry(agent),
                Call::Check { .. } => continue,
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
                Call::Check { .. } => return None,
            };
            let acknowledged = matches!(outcome, Outcome::Acknowledged { .. });
            (step, known().filter(|_| acknowledged))
        }
    };
    Some(Event { operation: operation.id, invoked_us: operation.invoked_us, returned_us, step })
}
