//! What faults of the network do to which links.

use std::collections::BTreeMap;
use std::time::Duration;

use super::faults::Fault;
use crate::proxy::{Party, Passage, Weather};
use crate::seed::Choices;

/// The weather of each direction that is not fair.
pub(super) type Rules = BTreeMap<(Party, Party), Weather>;

/// What `fault` does to a cluster of `nodes` that `leader` leads; nothing if it is no fault of the network, or
/// needs a leader and there is none.
pub(super) fn rules(fault: Fault, nodes: &[u64], leader: Option<u64>, choices: &mut Choices) -> Rules {
    let passage = if choices.chance(300) { Passage::Reset } else { Passage::Blackhole };
    let cut = Weather::cut(passage);
    let order = choices.shuffled(nodes.iter().copied());
    let any = order.first().copied();
    match fault {
        Fault::Halves => {
            let (one, other) = order.split_at(order.len() / 2);
            between(one, other, cut)
        }
        Fault::MajoritiesRing => ring(&order, cut),
        Fault::OneWay => one_way(leader.filter(|_| choices.chance(600)).or(any), nodes, choices),
        Fault::IsolateOne | Fault::Flapping => alone(any, nodes, cut),
        Fault::IsolateLeader => alone(leader, nodes, cut),
        Fault::Slow => everywhere(nodes, |_| Weather {
            delay: Duration::from_millis(choices.between(5, 60)),
            jitter: Duration::from_millis(choices.between(0, 60)),
            ..Weather::default()
        }),
        Fault::Lossy => everywhere(nodes, |_| Weather {
            stalls_per_mille: choices.between(20, 80),
            // The least time after which TCP sends again.
            stall: Duration::from_millis(choices.between(200, 400)),
            ..Weather::default()
        }),
        Fault::Clogged => {
            let slow = choices.between(4_000, 40_000);
            everywhere(nodes, |number| Weather {
                bytes_per_second: (number % 2 == 0).then_some(slow),
                ..Weather::default()
            })
        }
        _ => Rules::new(),
    }
}

fn between(one: &[u64], other: &[u64], weather: Weather) -> Rules {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (Party::Node(*a), Party::Node(*b))));
    pairs.flat_map(|(a, b)| [((a, b), weather), ((b, a), weather)]).collect()
}

fn alone(node: Option<u64>, nodes: &[u64], weather: Weather) -> Rules {
    let Some(node) = node else { return Rules::new() };
    let others: Vec<u64> = nodes.iter().copied().filter(|other| *other != node).collect();
    between(&[node], &others, weather)
}

/// Nothing that `node` says arrives, or nothing arrives at it.
fn one_way(node: Option<u64>, nodes: &[u64], choices: &mut Choices) -> Rules {
    let outward = choices.chance(500);
    // A reset would be felt both ways.
    let all = alone(node, nodes, Weather::cut(Passage::Blackhole));
    let from = node.map(Party::Node);
    all.into_iter().filter(|((a, b), _)| if outward { Some(*a) == from } else { Some(*b) == from }).collect()
}

/// Each node hears its two neighbours alone. Of three nodes all are neighbours: there, two do not hear each other.
fn ring(order: &[u64], weather: Weather) -> Rules {
    let count = order.len();
    let mut rules = Rules::new();
    for (place, one) in order.iter().enumerate() {
        for (other_place, other) in order.iter().enumerate().skip(place + 1) {
            let apart = other_place - place;
            let neighbours = apart == 1 || (apart == count - 1 && count > 3);
            if !neighbours {
                rules.extend(between(&[*one], &[*other], weather));
            }
        }
    }
    rules
}

/// Every direction between nodes, and to and from the clients.
fn everywhere(nodes: &[u64], mut weather: impl FnMut(usize) -> Weather) -> Rules {
    let parties: Vec<Party> = nodes.iter().map(|node| Party::Node(*node)).chain([Party::Clients]).collect();
    let pairs = parties.iter().flat_map(|from| parties.iter().map(move |to| (*from, *to)));
    pairs.filter(|(from, to)| from != to).enumerate().map(|(number, pair)| (pair, weather(number))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NODES: [u64; 5] = [1, 2, 3, 4, 5];

    fn hears(rules: &Rules, node: u64) -> BTreeSet<u64> {
        let open = |other: &u64| !rules.contains_key(&(Party::Node(*other), Party::Node(node)));
        NODES.into_iter().filter(open).collect()
    }

    #[test]
    fn in_a_ring_each_hears_a_majority_and_no_two_the_same() {
        let rules = rules(Fault::MajoritiesRing, &NODES, None, &mut Choices::new(3));
        let heard: BTreeSet<_> = NODES.into_iter().map(|node| hears(&rules, node)).collect();
        assert!(heard.iter().all(|one| one.len() == 3), "{heard:?}");
        assert_eq!(heard.len(), NODES.len());
    }

    #[test]
    fn one_way_is_one_way() {
        let rules = rules(Fault::OneWay, &NODES, Some(2), &mut Choices::new(3));
        assert_eq!(rules.len(), NODES.len() - 1);
        assert!(rules.keys().all(|(from, to)| !rules.contains_key(&(*to, *from))));
    }

    #[test]
    fn without_a_leader_none_is_isolated() {
        assert!(rules(Fault::IsolateLeader, &NODES, None, &mut Choices::new(3)).is_empty());
    }
}
