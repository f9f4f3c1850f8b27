//! Random runs of the clocks.

use super::{Assumption, Event, RIGHT_MS_MAX, Rules, Setting, Violation, World};
use crate::node_set::NodeSet;
use crate::random::{Budget, Random};

/// Steps in one run.
const STEPS_MAX: usize = 200;

/// How far a wrong clock is off, in milliseconds; wrong clocks that are apart each take a multiple of their own.
const WRONG_MS: [i64; 6] = [-3_600_000, -5_000, -600, 600, 5_000, 3_600_000];

/// How far apart the wrong clocks' own ranges are.
const APART_MS: i64 = 10_000_000;

/// A run that broke a claim.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The number of the run under its seed.
    pub run: u64,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What came of it.
    pub violation: Violation,
}

/// Which violations a search looks for; a run that meets another ends there, unreported.
pub type Wanted = fn(&Violation) -> bool;

/// What a search did and found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Steps taken.
    pub steps: u64,
    /// Checks that a quorum answered: a search in which hardly any were would show nothing.
    pub checks: u64,
    /// How many runs broke a claim.
    pub counterexamples: u64,
    /// The shortest.
    pub shortest: Option<Counterexample>,
}

/// Runs random events from a random setting of the clocks.
pub fn explore(setting: Setting, rules: &Rules, seed: u64, budget: Budget, wanted: Wanted) -> Found {
    let mut found = Found::default();
    for run in 0_u64.. {
        if budget.is_spent(found.steps, found.counterexamples) {
            break;
        }
        let mut random = Random::new(seed, run);
        let mut world = World::new(setting);
        let mut events = Vec::new();
        for event in beginning(setting, &mut random) {
            events.push(event);
            // INVARIANT: setting a clock breaks no claim.
            let _ = world.step(event, rules);
        }
        for _ in 0..STEPS_MAX {
            found.steps += 1;
            let event = random_event(setting, &mut random);
            match world.step(event, rules) {
                Ok(false) => {}
                Ok(true) => {
                    events.push(event);
                    found.checks += u64::from(matches!(event, Event::Check { .. }));
                }
                Err(violation) if !wanted(&violation) => break,
                Err(violation) => {
                    events.push(event);
                    found.counterexamples += 1;
                    let shorter =
                        found.shortest.as_ref().is_none_or(|known| events.len() < known.events.len());
                    if shorter {
                        found.shortest = Some(Counterexample { run, events, violation });
                    }
                    break;
                }
            }
        }
    }
    found
}

/// Follows `events` to the letter.
pub fn follow(setting: Setting, events: &[Event], rules: &Rules) -> Result<World, Violation> {
    let mut world = World::new(setting);
    for event in events {
        world.step(*event, rules)?;
    }
    Ok(world)
}

/// Every clock is set once; wrong ones as wrong as they may be.
fn beginning(setting: Setting, random: &mut Random) -> Vec<Event> {
    (0..setting.nodes).map(|node| set(setting, node, random)).collect()
}

fn set(setting: Setting, node: usize, random: &mut Random) -> Event {
    let right_ms = RIGHT_MS_MAX * [-1, 0, 1][random.below(3)];
    let wrong_ms = WRONG_MS[random.below(WRONG_MS.len())];
    let offset_ms = match setting.assumption {
        _ if !setting.wrong.has(node) => right_ms,
        Assumption::Minority => wrong_ms,
        // Ranges of their own, on either side of true time.
        Assumption::WrongApart { .. } => {
            // INVARIANT: there are at most 5 nodes.
            let place = i64::try_from(node).unwrap_or(0);
            (place + 1) * APART_MS * [-1, 1][random.below(2)] + wrong_ms
        }
    };
    Event::Set { node, offset_ms }
}

fn random_event(setting: Setting, random: &mut Random) -> Event {
    let node = random.below(setting.nodes);
    let some = |random: &mut Random| NodeSet::from_bits(1 + random.below((1 << setting.nodes) - 1));
    match random.below(100) {
        0..=9 => Event::Pass { ms: [1, 100, 900, 2_500, 1_200_000][random.below(5)] },
        10..=14 if setting.assumption != (Assumption::WrongApart { steps: false }) => {
            set(setting, random.below(setting.nodes), random)
        }
        15..=16 if setting.assumption == Assumption::Minority => {
            Event::Drift { node, ppm: [-500, 0, 500][random.below(3)] }
        }
        10..=64 => {
            let peers = some(random);
            let trip = |random: &mut Random| [0, 1, 10, 100, 400][random.below(5)];
            Event::Measure { node, peers, there_ms: trip(random), back_ms: trip(random) }
        }
        65..=71 => {
            let lies_ms = [0, 0, 600, 3_600_000][random.below(4)];
            Event::Stamp { leader: node, ahead_ms: lies_ms, followers: some(random) }
        }
        72..=92 => Event::Check { nodes: some(random) },
        _ => Event::Revoke { replier: node },
    }
}
