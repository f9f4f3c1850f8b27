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
