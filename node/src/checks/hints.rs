//! Which grant to ask first: of what each agent was granted lately, what names the question.
//!
//! An agent may have many grants, and a decision looks at one after the other. A hint spares that: it is tried, and
//! whatever it says is decided from the state anew. So a wrong or an old one costs a look, and changes no decision.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use chancery_ledger::command::Name;
use chancery_ledger::decide::Candidates;

/// Places for agents, each by its name, and how many there are at each.
const PLACES: usize = 1 << 10;
const AGENTS_EACH: usize = 4;

/// Grants of one agent that are remembered: it is a few hundred bytes for each.
pub(super) const GRANTS_MAX: usize = 32;

/// What agents were granted.
pub struct Hints {
    /// Each agent has one place, where the last that came there stand, the newest first. No place until there is a first.
    places: Mutex<Vec<[Option<Granted>; AGENTS_EACH]>>,
    /// Who asks does not choose whose place he takes.
    hasher: RandomState,
}

#[derive(Clone)]
struct Granted {
    agent: Name,
    candidates: Arc<Candidates>,
}

impl Default for Hints {
    fn default() -> Self {
        Self { places: Mutex::default(), hasher: RandomState::new() }
    }
}

impl Hints {
    /// What `agent` was granted, as far as it is known.
    pub(super) fn of(&self, agent: &Name) -> Option<Arc<Candidates>> {
        // INVARIANT: nothing panics while it is held.
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let mut here = places.get(self.place(agent))?.iter().flatten();
        here.find(|granted| granted.agent == *agent).map(|granted| Arc::clone(&granted.candidates))
    }

    /// Remembers what `agent` was granted.
    pub(super) fn keep(&self, agent: Name, candidates: Candidates) {
        let (place, candidates) = (self.place(&agent), Arc::new(candidates));
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.is_empty() {
            places.resize(PLACES, Default::default());
        }
        let Some(here) = places.get_mut(place) else { return };
        // What was known of it makes room; if nothing was, the oldest does.
        let known = |granted: &Option<Granted>| granted.as_ref().is_some_and(|g| g.agent == agent);
        let oldest = here.iter().position(known).unwrap_or(AGENTS_EACH - 1);
        if let Some(moved) = here.get_mut(..=oldest) {
            moved.rotate_right(1);
        }
        if let Some(newest) = here.first_mut() {
            *newest = Some(Granted { agent, candidates });
        }
    }

    fn place(&self, agent: &Name) -> usize {
        let [.., high, low] = self.hasher.hash_one(agent).to_be_bytes();
        usize::from(u16::from_be_bytes([high, low])) % PLACES
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// Agents that stand at one place.
    fn at_one_place(hints: &Hints, count: usize) -> Vec<Name> {
        let names = (0_u32..).map(|number| Name::new(format!("agent-{number}")).unwrap());
        names.filter(|name| hints.place(name) == 0).take(count).collect()
    }

    #[test]
    fn as_many_agents_as_have_room_stay_at_a_place_and_the_oldest_goes_first() {
        let hints = Hints::default();
        let agents = at_one_place(&hints, AGENTS_EACH + 1);
        let [first, second, .., last] = agents.as_slice() else { panic!("more than two") };
        assert!(hints.of(first).is_none(), "nobody came yet");
        for agent in &agents[..AGENTS_EACH] {
            hints.keep(agent.clone(), Candidates::default());
        }
        let kept: Vec<_> = agents[..AGENTS_EACH].iter().map(|agent| hints.of(agent).unwrap()).collect();

        // Who comes again takes nobody's room, and is the newest.
        hints.keep(first.clone(), Candidates::default());
        for (agent, before) in agents.iter().zip(&kept) {
            assert_eq!(Arc::ptr_eq(&hints.of(agent).unwrap(), before), agent != first, "{agent}");
        }
        assert!(hints.of(last).is_none());
        hints.keep(last.clone(), Candidates::default());
        assert!(hints.of(second).is_none(), "the oldest");
        for agent in agents.iter().filter(|agent| *agent != second) {
            assert!(hints.of(agent).is_some(), "{agent}");
        }
    }
}
