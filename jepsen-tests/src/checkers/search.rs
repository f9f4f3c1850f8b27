//! The search for a linearization: Wing and Gong's algorithm with Lowe's cache of configurations.
//!
//! Three things keep it small. What only looks at the state and fits is taken at once: it changes nothing, and
//! everything else stays possible. An event without a return need not be taken at all. The bound is a number of
//! configurations, not a time, so that the same history always gets the same verdict.

use std::collections::HashSet;
use std::hash::Hash;

/// A sequential specification.
pub(super) trait Model {
    /// What an event does or sees.
    type Step;
    /// What it does it to.
    type State: Clone + Eq + Hash;

    /// Before anything.
    fn initial(&self) -> Self::State;

    /// Whether the step never changes a state.
    fn only_looks(&self, step: &Self::Step) -> bool;

    /// The state after `step`; none if it is impossible in `state`. A step that is not `certain` to have taken
    /// effect is always possible.
    fn step(&self, state: &Self::State, step: &Self::Step, certain: bool) -> Option<Self::State>;
}

/// A step, and when it was open.
#[derive(Clone, Debug)]
pub(super) struct Event<S> {
    /// Whose.
    pub(super) operation: u64,
    /// It took effect at this time or later,
    pub(super) invoked_us: u64,
    /// and at this time or earlier; without one at any later time, or never.
    pub(super) returned_us: Option<u64>,
    /// What it does or sees.
    pub(super) step: S,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// An order, after so many configurations.
    Linearizable { steps: u64 },
    /// There is none. The longest attempt could not go past `stuck`: the first is the event that had to come next.
    None { stuck: Vec<u64> },
    /// More configurations than allowed.
    GaveUp,
}

/// Looks for an order of `events` that fits `model`, through at most `steps_max` configurations.
pub(super) fn search<M: Model>(model: &M, events: &[Event<M::Step>], steps_max: u64) -> Outcome {
    let mut search = Search::new(model, events);
    let mut frames = vec![search.enter(model.initial(), None)];
    let mut seen = HashSet::new();
    let mut steps: u64 = 0;
    while let Some(frame) = frames.last_mut() {
        if search.closed_left == 0 {
            return Outcome::Linearizable { steps };
        }
        let Some(candidate) = frame.candidates.pop() else {
            search.leave(&frame.taken);
            frames.pop();
            continue;
        };
        let Some(event) = search.events.get(candidate) else { continue };
        let Some(state) = model.step(&frame.state, &event.step, event.returned_us.is_some()) else {
            continue;
        };
        // An event that need not be taken, and would change nothing, is left for later.
        if event.returned_us.is_none() && state == frame.state {
            continue;
        }
        if steps == steps_max {
            return Outcome::GaveUp;
        }
        steps += 1;
        let next = search.enter(state, Some(candidate));
        if seen.insert((search.taken.clone(), next.state.clone())) {
            frames.push(next);
        } else {
            search.leave(&next.taken);
        }
    }
    Outcome::None { stuck: search.stuck }
}

struct Search<'a, M: Model> {
    model: &'a M,
    /// Sorted by when they were invoked.
    events: Vec<&'a Event<M::Step>>,
    /// One bit an event: whether it is in the order so far.
    taken: Vec<u64>,
    /// Every event before this one is taken, or has no return.
    low: usize,
    /// Events with a return that are not taken.
    closed_left: usize,
    /// Least `closed_left` so far, and what could not be passed there.
    closed_left_min: usize,
    stuck: Vec<u64>,
    /// Events without a return.
    open: Vec<usize>,
}

/// One configuration on the path.
struct Frame<S> {
    state: S,
    /// What was taken on entering it.
    taken: Vec<usize>,
    /// What could come next, and was not tried.
    candidates: Vec<usize>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, events: &'a [Event<M::Step>]) -> Self {
        let mut sorted: Vec<_> = events.iter().collect();
        sorted.sort_by_key(|event| event.invoked_us);
        let open: Vec<usize> =
            (0..).zip(&sorted).filter(|(_, event)| event.returned_us.is_none()).map(|(at, _)| at).collect();
        let closed = sorted.len() - open.len();
        let taken = vec![0; sorted.len().div_ceil(64)];
        let (closed_left_min, stuck) = (usize::MAX, Vec::new());
        Self { model, events: sorted, taken, low: 0, closed_left: closed, closed_left_min, stuck, open }
    }

    /// Takes `event`, and then everything that only looks, and fits.
    fn enter(&mut self, state: M::State, event: Option<usize>) -> Frame<M::State> {
        let mut taken = Vec::new();
        if let Some(at) = event {
            self.take(at);
            taken.push(at);
        }
        let candidates = loop {
            let candidates = self.candidates();
            let mut looks = Vec::new();
            for at in &candidates {
                let Some(event) = self.events.get(*at) else { continue };
                let fits = || self.model.step(&state, &event.step, true).is_some();
                if self.model.only_looks(&event.step) && fits() {
                    looks.push(*at);
                }
            }
            if looks.is_empty() {
                break candidates;
            }
            for at in looks {
                self.take(at);
                taken.push(at);
            }
        };
        self.note_stuck(&candidates);
        let changes = |at: &usize| self.events.get(*at).is_some_and(|e| !self.model.only_looks(&e.step));
        let mut candidates: Vec<usize> = candidates.into_iter().filter(changes).collect();
        // What had to return first is tried first, and what never did last.
        candidates.sort_by_key(|at| std::cmp::Reverse(self.returned(*at)));
        Frame { state, taken, candidates }
    }

    fn leave(&mut self, taken: &[usize]) {
        for at in taken {
            if let Some(word) = self.taken.get_mut(at / 64) {
                *word &= !(1 << (at % 64));
            }
            if self.returned(*at) != u64::MAX {
                self.closed_left += 1;
                self.low = self.low.min(*at);
            }
        }
    }

    fn take(&mut self, at: usize) {
        if let Some(word) = self.taken.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
        if self.returned(at) != u64::MAX {
            self.closed_left -= 1;
        }
        while self.low < self.events.len() && (self.is_taken(self.low) || self.returned(self.low) == u64::MAX)
        {
            self.low += 1;
        }
    }

    /// What may come next: events that are not taken, and began before any of these had returned.
    fn candidates(&self) -> Vec<usize> {
        let mut first_return = u64::MAX;
        let mut candidates = Vec::new();
        for (at, event) in self.events.iter().enumerate().skip(self.low) {
            if event.invoked_us > first_return {
                break;
            }
            if event.returned_us.is_some() && !self.is_taken(at) {
                first_return = first_return.min(self.returned(at));
                candidates.push(at);
            }
        }
        let began = |at: &&usize| self.events.get(**at).is_some_and(|event| event.invoked_us <= first_return);
        candidates.extend(self.open.iter().take_while(began).filter(|at| !self.is_taken(**at)));
        candidates
    }

    fn note_stuck(&mut self, candidates: &[usize]) {
        if self.closed_left < self.closed_left_min {
            self.closed_left_min = self.closed_left;
            let mut stuck: Vec<usize> = candidates.to_vec();
            stuck.sort_by_key(|at| self.returned(*at));
            let operation = |at: &usize| self.events.get(*at).map(|event| event.operation);
            self.stuck = stuck.iter().filter_map(operation).take(STUCK_MAX).collect();
        }
    }

    /// [`u64::MAX`] for what never did.
    fn returned(&self, at: usize) -> u64 {
        self.events.get(at).and_then(|event| event.returned_us).unwrap_or(u64::MAX)
    }

    fn is_taken(&self, at: usize) -> bool {
        self.taken.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }
}

/// Most operations that a verdict names.
const STUCK_MAX: usize = 16;
