//! Random runs, and random runs around a script.

use super::event::Event;
use super::rules::Rules;
use super::schedules::Schedule;
use super::world::{Violation, World};
use crate::node_set::{NODES_MAX, NodeSet};
use crate::random::{Budget, Random};

/// Steps in one random run.
const STEPS_MAX: usize = 1_500;

/// Random steps at most between two scripted ones, and after the last.
const DETOUR_STEPS_MAX: usize = 3;
const SEQUEL_STEPS_MAX: usize = 60;

/// The voters that a random run begins with.
const VOTERS: NodeSet = NodeSet::first(3);

/// What kind of violation a search looks for; a run that meets another ends there, unreported.
pub type Wanted = fn(&Violation) -> bool;

/// A run that violated what it must not.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The number of the run under its seed.
    pub run: u64,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What came of it.
    pub violation: Violation,
}

/// What a search did and found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Steps taken.
    pub steps: u64,
    /// Statements signed: a search in which hardly any were would show nothing.
    pub statements: u64,
    /// Logs that were truncated for a snapshot: where rule 1 matters.
    pub truncated: u64,
    /// Elections won.
    pub leaders: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Membership changes that were finished.
    pub rosters: u64,
    /// How many runs ended in a violation.
    pub counterexamples: u64,
    /// The shortest.
    pub shortest: Option<Counterexample>,
}

impl Found {
    /// Adds what another search did, but for its counterexamples.
    const fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.statements += other.statements;
        self.truncated += other.truncated;
        self.leaders += other.leaders;
        self.power_cuts += other.power_cuts;
        self.rosters += other.rosters;
    }
}

/// Runs random events from genesis; `members` lets rosters change and uses all nodes.
pub fn explore(rules: &Rules, members: bool, seed: u64, budget: Budget, wanted: Wanted) -> Found {
    search(budget, wanted, seed, |random, run| {
        let mut world = World::new(VOTERS);
        for _ in 0..STEPS_MAX {
            let event = random_event(random, members, &world);
            run.take(&mut world, event, rules)?;
        }
        Ok(())
    })
}

/// Follows `schedule` with random steps thrown in, some scripted ones left out, and random ones after it.
pub fn explore_around(
    schedule: &Schedule,
    rules: &Rules,
    seed: u64,
    budget: Budget,
    wanted: Wanted,
) -> Found {
    search(budget, wanted, seed, |random, run| {
        let mut world = World::new(schedule.voters);
        for event in &schedule.events {
            if random.chance(4) {
                continue;
            }
            run.take(&mut world, *event, rules)?;
            if random.chance(8) {
                for _ in 0..random.below(DETOUR_STEPS_MAX) {
                    let event = random_event(random, true, &world);
                    run.take(&mut world, event, rules)?;
                }
            }
        }
        for _ in 0..SEQUEL_STEPS_MAX {
            let event = random_event(random, true, &world);
            run.take(&mut world, event, rules)?;
        }
        Ok(())
    })
}

/// Follows `schedule` to the letter.
pub fn follow(schedule: &Schedule, rules: &Rules) -> Result<World, Violation> {
    let mut world = World::new(schedule.voters);
    for event in &schedule.events {
        world.step(*event, rules)?;
    }
    Ok(world)
}

/// One run, as it is recorded.
#[derive(Default)]
struct Run {
    events: Vec<Event>,
    found: Found,
}

impl Run {
    fn take(&mut self, world: &mut World, event: Event, rules: &Rules) -> Result<(), Violation> {
        self.found.steps += 1;
        let truncated = world.truncated;
        let happened = world.step(event, rules);
        self.found.truncated += world.truncated - truncated;
        if !matches!(happened, Ok(false)) {
            self.events.push(event);
            match event {
                Event::Sign { .. } => self.found.statements += 1,
                Event::Elect { node, .. } => self.found.leaders += u64::from(world.nodes[node].leader),
                Event::PowerCut { .. } => self.found.power_cuts += 1,
                Event::FinishRoster { .. } => self.found.rosters += 1,
                _ => {}
            }
        }
        happened.map(|_| ())
    }
}

fn search(
    budget: Budget,
    wanted: Wanted,
    seed: u64,
    mut go: impl FnMut(&mut Random, &mut Run) -> Result<(), Violation>,
) -> Found {
    let mut found = Found::default();
    for number in 0_u64.. {
        if budget.is_spent(found.steps, found.counterexamples) {
            break;
        }
        let mut run = Run::default();
        let ended = go(&mut Random::new(seed, number), &mut run);
        found.add(&run.found);
        if let Err(violation) = ended
            && wanted(&violation)
        {
            found.counterexamples += 1;
            let shorter = found.shortest.as_ref().is_none_or(|known| run.events.len() < known.events.len());
            if shorter {
                found.shortest = Some(Counterexample { run: number, events: run.events, violation });
            }
        }
    }
    found
}

/// The next event of a random run. The weights make leaders last long enough to purge what others need.
fn random_event(random: &mut Random, members: bool, world: &World) -> Event {
    let count = if members { NODES_MAX } else { VOTERS.count() as usize };
    let node = random.below(count);
    let other = (node + 1 + random.below(count - 1)) % count;
    match random.below(100) {
        0..=3 => {
            let leads = |l: usize| {
                world.nodes[l].leader
                    && world.nodes[l].term >= world.nodes[node].term
                    && world.reaches(l, node)
            };
            // Who hears of a leader seldom stands.
            if (0..NODES_MAX).any(leads) && random.chance(70) {
                return Event::Start { node };
            }
            let voters = (0..NODES_MAX).filter(|_| random.chance(80)).fold(NodeSet::NONE, NodeSet::with);
            Event::Elect { node, voters }
        }
        4..=14 => Event::Append { node },
        15..=17 if members && world.nodes[node].roster().is_some_and(|(_, roster)| roster.new.is_some()) => {
            Event::FinishRoster { node }
        }
        15..=17 if members => Event::ProposeRoster { node, voters: NodeSet::from_bits(1 + random.below(31)) },
        18..=42 => Event::Replicate { from: node, to: other, entries_max: random.below(5) },
        43..=49 => Event::SendSnapshot { from: node, to: other },
        50..=60 => Event::Flush { node },
        61..=71 => match random.below(world.in_flight.len().max(1)) {
            at if at < world.in_flight.len() => {
                let (from, acknowledgement) = world.in_flight[at];
                let to = acknowledgement.leader;
                if random.chance(90) {
                    Event::Acknowledge { from, to }
                } else {
                    Event::LoseAcknowledgement { from, to }
                }
            }
            _ => Event::Flush { node },
        },
        72..=77 => Event::Apply { node, entries_max: 1 + random.below(8) },
        78 => Event::TakeSnapshot { node },
        79 => Event::Purge { node },
        80..=83 if world.nodes[node].installing.is_some() && random.chance(20) => power_cut(random, node),
        80..=83 => Event::Install { node },
        84 if random.chance(60) => power_cut(random, node),
        84..=88 => Event::Start { node },
        89 if random.chance(80) => {
            let side = if random.chance(50) { 0 } else { random.below(32) };
            Event::Partition { side: NodeSet::from_bits(side) }
        }
        89..=90 => Event::MakeNonce,
        91 => Event::UpdateWatch { node },
        _ => Event::Sign { node },
    }
}

fn power_cut(random: &mut Random, node: usize) -> Event {
    Event::PowerCut { node, log_survives: random.chance(40), applied_survives: random.below(8) }
}
