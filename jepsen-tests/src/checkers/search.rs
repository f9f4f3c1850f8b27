//! The search for a linearization: Wing and Gong's algorithm with Lowe's cache of configurations.
//!
//! What only looks at the state and fits is taken at once: it changes nothing, and everything else stays possible.
//! An event without a return need not be taken at all, and is first tried only where it makes something possible
//! that had a return: else a few dozen of them would make the search hopeless. Only if no order is found so, and
//! the model cannot vouch that then there is none, is every order tried. The bound is a number of configurations,
//! not a time, so that the same history always gets the same verdict.

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

    /// Which of `open` (each with its name), taken in the order given, would make `step` possible in `state`, in
    /// which it is not.
    fn enabling(
        &self,
        state: &Self::State,
        step: &Self::Step,
        open: &[(usize, &Self::Step)],
    ) -> Vec<Vec<usize>>;

    /// Which of `open`, in the order given, are to be tried before `step`, though it is possible without.
    fn before(
        &self,
        state: &Self::State,
        step: &Self::Step,
        open: &[(usize, &Self::Step)],
    ) -> Vec<Vec<usize>>;

    /// Whether an order exists only if one does in which events without a return, of which `open` are all there
    /// are, are taken just where [`Model::enabling`] and [`Model::before`] say.
    fn is_directed_enough(&self, open: &[&Self::Step]) -> bool;
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
    /// More configurations than allowed, or than fit the memory.
    GaveUp,
}

/// Looks for an order of `events` that fits `model`, through at most `steps_max` configurations.
pub(super) fn search<M: Model>(model: &M, events: &[Event<M::Step>], steps_max: u64) -> Outcome {
    let mut steps = 0;
    let directed = Search::new(model, events, true).run(steps_max, &mut steps);
    let open = events.iter().filter(|event| event.returned_us.is_none()).map(|event| &event.step);
    let open: Vec<_> = open.collect();
    match directed {
        Outcome::None { .. } if !model.is_directed_enough(&open) => {
            Search::new(model, events, false).run(steps_max, &mut steps)
        }
        _ => directed,
    }
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
    /// Whether these are taken only where they make something possible.
    directed: bool,
}

/// One configuration on the path.
struct Frame<S> {
    state: S,
    /// What was taken on entering it.
    taken: Vec<usize>,
    /// What could come next, and was not tried: one event, or some without a return and what they make possible.
    moves: Vec<Vec<usize>>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, events: &'a [Event<M::Step>], directed: bool) -> Self {
        let mut sorted: Vec<_> = events.iter().collect();
        sorted.sort_by_key(|event| (event.invoked_us, event.operation));
        let open: Vec<usize> =
            (0..).zip(&sorted).filter(|(_, event)| event.returned_us.is_none()).map(|(at, _)| at).collect();
        let closed = sorted.len() - open.len();
        let taken = vec![0; sorted.len().div_ceil(64)];
        let (closed_left_min, stuck) = (usize::MAX, Vec::new());
        let (events, low, closed_left) = (sorted, 0, closed);
        Self { model, events, taken, low, closed_left, closed_left_min, stuck, open, directed }
    }

    fn run(mut self, steps_max: u64, steps: &mut u64) -> Outcome {
        let mut frames = vec![self.enter(self.model.initial(), &[])];
        let mut seen = HashSet::new();
        let seen_max = SEEN_SIZE_BYTES_MAX / (self.events.len() + self.events.len() / 8 + 128);
        while let Some(frame) = frames.last_mut() {
            if self.closed_left == 0 {
                return Outcome::Linearizable { steps: *steps };
            }
            let Some(events) = frame.moves.pop() else {
                self.leave(&frame.taken);
                frames.pop();
                continue;
            };
            let Some(state) = self.after(&frame.state, &events) else { continue };
            if *steps >= steps_max || seen.len() >= seen_max {
                return Outcome::GaveUp;
            }
            *steps += 1;
            let next = self.enter(state, &events);
            if seen.insert((self.taken.clone(), next.state.clone())) {
                frames.push(next);
            } else {
                self.leave(&next.taken);
            }
        }
        Outcome::None { stuck: self.stuck }
    }

    /// The state after `events`; none if they are impossible, or would change nothing and need not be taken.
    fn after(&self, state: &M::State, events: &[usize]) -> Option<M::State> {
        let mut next = state.clone();
        for at in events {
            let event = self.events.get(*at)?;
            next = self.model.step(&next, &event.step, event.returned_us.is_some())?;
        }
        let needless = next == *state && events.iter().all(|at| self.returned(*at) == u64::MAX);
        (!needless).then_some(next)
    }

    /// Takes `events`, and then everything that only looks, and fits.
    fn enter(&mut self, state: M::State, events: &[usize]) -> Frame<M::State> {
        let mut taken = events.to_vec();
        for at in events {
            self.take(*at);
        }
        let candidates = loop {
            let candidates = self.candidates();
            let looks = |at: &usize| {
                let step = self.events.get(*at).map(|event| &event.step);
                step.is_some_and(|step| {
                    self.model.only_looks(step) && self.model.step(&state, step, true).is_some()
                })
            };
            let looks: Vec<usize> = candidates.iter().copied().filter(looks).collect();
            if looks.is_empty() {
                break candidates;
            }
            for at in looks {
                self.take(at);
                taken.push(at);
            }
        };
        self.note_stuck(&candidates);
        let moves = self.moves(&state, candidates);
        Frame { state, taken, moves }
    }

    /// The last is to be tried first: what had to return first, and if it is impossible, what makes it possible.
    fn moves(&self, state: &M::State, mut candidates: Vec<usize>) -> Vec<Vec<usize>> {
        candidates.sort_by_key(|at| std::cmp::Reverse(self.returned(*at)));
        let event = |at: usize| self.events.get(at).map(|event| (at, &event.step));
        let may_be_left = |at: &&usize| self.returned(**at) == u64::MAX;
        let open: Vec<_> = candidates.iter().filter(may_be_left).filter_map(|at| event(*at)).collect();
        let mut moves = Vec::new();
        for (at, step) in candidates.iter().filter_map(|at| event(*at)) {
            if !self.directed {
                moves.push(vec![at]);
            } else if self.returned(at) != u64::MAX {
                let then = |mut before: Vec<usize>| {
                    before.push(at);
                    before
                };
                if self.model.step(state, step, true).is_some() {
                    moves.extend(self.model.before(state, step, &open).into_iter().map(then));
                    moves.push(vec![at]);
                } else {
                    moves.extend(self.model.enabling(state, step, &open).into_iter().map(then));
                }
            }
        }
        moves
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

/// Room for the configurations of one search, at a bit and a byte an event and 128 bytes each: the model's state
/// has no more than a byte an event.
const SEEN_SIZE_BYTES_MAX: usize = 512 << 20;

/// Most operations that a verdict names.
const STUCK_MAX: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A register of small numbers.
    struct Register;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Write(u8),
        Read(u8),
    }

    impl Model for Register {
        type Step = Step;
        type State = u8;

        fn initial(&self) -> u8 {
            0
        }

        fn only_looks(&self, step: &Step) -> bool {
            matches!(step, Step::Read(_))
        }

        fn step(&self, state: &u8, step: &Step, _: bool) -> Option<u8> {
            match step {
                Step::Write(value) => Some(*value),
                Step::Read(value) => (value == state).then_some(*state),
            }
        }

        fn enabling(&self, _: &u8, step: &Step, open: &[(usize, &Step)]) -> Vec<Vec<usize>> {
            let fits = |(_, open): &&(usize, &Step)| match (open, step) {
                (Step::Write(written), Step::Read(read)) => written == read,
                _ => false,
            };
            open.iter().filter(fits).map(|(at, _)| vec![*at]).collect()
        }

        fn before(&self, _: &u8, _: &Step, _: &[(usize, &Step)]) -> Vec<Vec<usize>> {
            Vec::new()
        }

        fn is_directed_enough(&self, _: &[&Step]) -> bool {
            true
        }
    }

    /// The definition, tried in every order.
    fn some_order_fits(events: &[Event<Step>], left: &mut Vec<usize>, state: u8) -> bool {
        if left.iter().all(|at| events[*at].returned_us.is_none()) {
            return true;
        }
        (0..left.len()).any(|position| {
            let at = left.remove(position);
            let returned = |other: &usize| events[*other].returned_us.unwrap_or(u64::MAX);
            let may_be_next = left.iter().all(|other| returned(other) >= events[at].invoked_us);
            let next = Register.step(&state, &events[at].step, true).filter(|_| may_be_next);
            let fits = next.is_some_and(|next| some_order_fits(events, left, next));
            left.insert(position, at);
            fits
        })
    }

    fn event() -> impl Strategy<Value = Event<Step>> {
        (any::<bool>(), 0..3_u8, 0..12_u64, 0..6_u64, 0..5_u8).prop_map(|(write, value, at, long, open)| {
            let step = if write { Step::Write(value) } else { Step::Read(value) };
            let returned_us = (!write || open > 0).then_some(at + long);
            Event { operation: at, invoked_us: at, returned_us, step }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        #[test]
        fn finds_an_order_exactly_if_there_is_one(events in prop::collection::vec(event(), 0..7)) {
            let fits = some_order_fits(&events, &mut (0..events.len()).collect(), 0);
            let found = search(&Register, &events, u64::MAX);
            prop_assert_eq!(matches!(found, Outcome::Linearizable { .. }), fits, "{:?}", found);
        }
    }
}
