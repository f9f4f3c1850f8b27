//! Whether an order exists that explains what clients saw, from nothing but when they asked and what they heard.
//!
//! No index, block or proof is looked at. The history is split by question (agent, action, resource): each part
//! has every check of it, and every command that could bear on it: the registration of the agent, the grants that
//! allow it with their ancestors, their revocations, and the revocations of all of an agent in such a chain. Each
//! part must be linearizable by itself (an order *across* questions is what [`super::replay`] judges).
//!
//! A command whose outcome is unknown may take effect at any time after it was given, or never. What was refused
//! or not done took no effect, and a refusal is only a node's word, so that it is no observation of the state.

mod partition;

use std::collections::BTreeMap;

use self::partition::partition;
use super::search::{Event, Model, Outcome as Found, search};
use super::{Finding, Verdict};
use crate::history::Operation;

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

/// Most ways to take events without a return before one thing.
const WAYS_MAX: usize = 256;

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
    /// The agent asked about.
    agent: String,
    /// Each grant's ancestors, itself first.
    ancestors: Vec<Vec<usize>>,
    /// Those that end such a chain at the agent asked about.
    leaves: Vec<usize>,
    /// Those of each agent.
    held: BTreeMap<String, Vec<usize>>,
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

    fn enabling(&self, state: &State, step: &Step, open: &[(usize, &Step)]) -> Vec<Vec<usize>> {
        let one_of = |what: &Step| open.iter().find(|(_, step)| *step == what).map(|(at, _)| *at);
        let mut registration = Vec::new();
        if !state.registered && !matches!(step, Step::Grant(_)) {
            match (step, one_of(&Step::Register)) {
                (Step::Denied { unknown_agent: true }, _) => {}
                (_, Some(at)) => registration.push(at),
                (_, None) => return Vec::new(),
            }
        }
        let after_registration = |ways: Vec<Vec<usize>>| {
            ways.into_iter().map(|way| [registration.clone(), way].concat()).collect()
        };
        match step {
            Step::Permitted => {
                let ways = self
                    .leaves
                    .iter()
                    .filter_map(|leaf| self.granting(state, self.ancestors.get(*leaf)?, one_of));
                after_registration(ways.collect())
            }
            Step::Grant(grant) => {
                let above = self.ancestors.get(*grant).and_then(|chain| chain.get(1..));
                above.and_then(|above| self.granting(state, above, one_of)).into_iter().collect()
            }
            Step::Denied { unknown_agent } if !(*unknown_agent && state.registered) => {
                after_registration(self.cutting(state, one_of))
            }
            _ => Vec::new(),
        }
    }

    /// A revocation of all that another agent holds hits, of what it is granted later, nothing: so it is tried
    /// before that, even where its effect does not show yet.
    fn before(&self, _: &State, step: &Step, open: &[(usize, &Step)]) -> Vec<Vec<usize>> {
        let Step::Grant(grant) = step else { return Vec::new() };
        let hits = |open: &Step| match open {
            Step::RevokeAll(agent) => {
                *agent != self.agent && self.held.get(agent).is_some_and(|held| held.contains(grant))
            }
            _ => false,
        };
        open.iter().find(|(_, open)| hits(open)).map(|(at, _)| vec![*at]).into_iter().collect()
    }

    /// What is granted, or revoked by its id, too late is granted or revoked all the same where it first counts. So
    /// is all that the agent in question holds: where that first counts, at a denial, nothing it holds is in
    /// force. Revocations of all that an agent above it holds are tried before each acknowledged grant that they
    /// would hit too late; only before one that nobody knows of they are not.
    fn is_directed_enough(&self, open: &[&Step]) -> bool {
        let revoked = |step: &&Step| matches!(step, Step::RevokeAll(agent) if *agent != self.agent);
        let granted = |step: &&Step| matches!(step, Step::Grant(grant) if !self.leaves.contains(grant));
        let both = open.iter().any(revoked) && open.iter().any(granted);
        !both && self.leaves.len() < WAYS_MAX
    }
}

impl Chains {
    /// The grants, from the root down, that would put `chain` in force; none if it cannot be.
    fn granting(
        &self,
        state: &State,
        chain: &[usize],
        one_of: impl Fn(&Step) -> Option<usize>,
    ) -> Option<Vec<usize>> {
        let mut way = Vec::new();
        for link in chain.iter().rev() {
            match state.grants.get(*link)? {
                Status::Active => {}
                Status::Absent => way.push(one_of(&Step::Grant(*link))?),
                Status::Void => return None,
            }
        }
        Some(way)
    }

    /// The revocations that would leave nothing in force, in each way.
    fn cutting(&self, state: &State, one_of: impl Fn(&Step) -> Option<usize>) -> Vec<Vec<usize>> {
        let mut ways: Vec<Vec<usize>> = vec![Vec::new()];
        for leaf in self.leaves.iter().filter(|leaf| self.in_force(state, **leaf)) {
            let chain = self.ancestors.get(*leaf).map_or(&[][..], Vec::as_slice);
            let of_links = chain.iter().filter_map(|link| one_of(&Step::Revoke(*link)));
            let holds = |held: &&Vec<usize>| chain.iter().any(|link| held.contains(link));
            let of_agents = self.held.iter().filter(|(_, held)| holds(held));
            let of_agents = of_agents.filter_map(|(agent, _)| one_of(&Step::RevokeAll(agent.clone())));
            let cuts: Vec<usize> = of_links.chain(of_agents).collect();
            let (mut done, todo): (Vec<_>, Vec<_>) =
                ways.into_iter().partition(|way| way.iter().any(|at| cuts.contains(at)));
            let extended = todo.iter().flat_map(|way| cuts.iter().map(|cut| [&way[..], &[*cut]].concat()));
            done.extend(extended.take(WAYS_MAX));
            ways = done;
        }
        ways
    }
}
