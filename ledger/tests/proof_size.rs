//! How large a proof is in a large ledger: a check by a chain of four grants, each under a condition of 512 bytes,
//! with a bound that was spent of.
//!
//! `CHANCERY_PROOF_GRANTS=1000000 cargo test -p chancery-ledger --test proof_size -- --nocapture` measures a million.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod house;

use std::collections::BTreeMap;

use chancery_ledger::answer::{Answer, verify};
use chancery_ledger::authority::{GrantRef, MeterId, Place, State, Summary};
use chancery_ledger::command::{
    Authorize, Body, Bound, BoundKind, Bounds, GenerationId, GrantId, HaltScope, Limits, Per, Terms,
};
use chancery_ledger::condition::Condition;
use chancery_ledger::decide::{Decision, Denial, Request};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::Head;
use chancery_ledger::log::Frontier;
use chancery_ledger::log::nonces::NoncePath;
use chancery_ledger::state::{Key, Update, Value, update};
use house::{House, identifier, name, nonce, terms};

/// What a proof may take, in bytes, statements apart.
const PROOF_SIZE_BYTES_MAX: usize = 8 * 1024;

const MILLION: u64 = 1_000_000;

/// A million has five more levels.
const GRANTS: u64 = MILLION >> 5;

const GRANTS_PER_AGENT: u64 = 10;

/// What a level adds to a way: an inner node with the hash of its other side.
const LEVEL_SIZE_BYTES: usize = 33;

/// How many checks are answered by one round; each doubling is one hash more.
const ROUND: u32 = 64;

/// What the denied call asks for, and nobody has.
const TOO_MUCH: u64 = 900_000;

fn grants() -> u64 {
    let asked = std::env::var("CHANCERY_PROOF_GRANTS").ok();
    asked.map_or(GRANTS, |text| text.parse().expect("a number of grants"))
}

/// A house among strangers who hold `grants` grants: where their records stand is what their commands would have
/// made, what is in them no proof shows. Ten agents share a key of bounds. `busy` agents have recorded as many decisions
/// as are kept.
fn crowded(grants: u64, busy: &str) -> House {
    let mut house = House::found_with(Limits { resumer_threshold: 1, ..house::limits() });
    house.replicas.truncate(1);
    let value: Value = [7; 200].into();
    let mut changes: BTreeMap<Key, Option<Value>> = BTreeMap::new();
    let mut put = |place: Place| changes.insert(place.key(), Some(Value::clone(&value)));
    for number in 0..grants / GRANTS_PER_AGENT {
        let agent = name(&format!("stranger/{number}"));
        put(Place::agent(&agent));
        put(Place::page(&agent, 0, 0));
        put(Place::decision(&agent, 1));
        for nth in 0..GRANTS_PER_AGENT {
            let grant = GrantId(Hash::of(&[b"stranger's", &number.to_be_bytes(), &nth.to_be_bytes()]));
            put(Place::grant(GrantRef { grant, root: grant }));
            put(Place::locator(grant));
        }
    }
    for number in 0..grants / GRANTS_PER_AGENT / 10 {
        let nobody = GrantRef { grant: GrantId(Hash::ZERO), root: GrantId(Hash::ZERO) };
        let shared = bound(Per::Key(name(&format!("stranger/{number}/budget"))));
        put(MeterId::of(&shared, nobody, &name("nobody")).place());
    }
    for agent in members(busy) {
        // The first is yet to be recorded.
        (2..=1024).for_each(|slot| drop(put(Place::decision(&name(&agent), slot % 1024))));
    }
    let replica = &mut house.replicas[0];
    let before = replica.state.summary().clone();
    let step = update(&replica.nodes, before.root, before.next_node, &changes).unwrap();
    replica.nodes.insert(&step);
    let Update { root, next_id: next_node, .. } = step;
    // Indices and blocks are as large as in such a ledger; nothing here looks into its log.
    let log_size = grants + grants / GRANTS_PER_AGENT;
    let subtrees = vec![[7; 32]; usize::try_from(log_size.count_ones()).unwrap()].concat();
    let frontier = Frontier::decode(&[log_size.to_be_bytes().as_slice(), &subtrees].concat()).unwrap();
    let head = Head {
        block: log_size / 10,
        log_size,
        log_root: frontier.root(),
        state_root: root.hash(),
        ..before.head
    };
    let summary = Summary { head, frontier, root, next_node, ..before };
    replica.state = State::resume(summary, replica.state.dedup().clone(), []);
    house
}

/// A rule, filled up to 512 bytes.
fn condition(most: u64) -> Condition {
    let rule = format!("permit(principal, action, resource) when {{ context.args.amount <= {most} }}; // ");
    Condition::new(format!("{rule:x<512}")).unwrap()
}

fn members(desk: &str) -> [String; 4] {
    ["lead", "planner", "broker", "clerk"].map(|role| format!("{desk}/{role}"))
}

/// Four agents, the first of whom was granted, and each then delegated to the next.
struct Chain {
    agents: [String; 4],
    generation: Option<GenerationId>,
}

impl Chain {
    /// The bound is on the first grant. All are of one lineage with a generation in service, if of any.
    fn found(house: &mut House, desk: &str, bound: Bound, lineage: Option<&str>) -> Self {
        let agents = members(desk);
        for agent in &agents {
            match lineage {
                Some(lineage) => house.register_in(agent, lineage),
                None => house.register(agent),
            }
        }
        let generation = lineage.map(|lineage| {
            let generation = house.register_generation(lineage, None, "model-1");
            house.release(lineage, generation);
            generation
        });
        let (begins_ms, mut held) = (house.now_ms, None);
        for (place, agent) in (0..).zip(&agents) {
            let actions = ["reservation/cancel", "reservation/change"];
            let terms = Terms {
                condition: Some(condition(MILLION + u64::from(place))),
                delegable_depth: 3 - place,
                bounds: Bounds::collect((place == 0).then(|| bound.clone())).unwrap(),
                ..terms(agent, &actions, &["reservation/*"], begins_ms)
            };
            held = Some(match held {
                None => house.grant(terms),
                Some(parent) => house.delegate(&agents[place as usize - 1], parent, terms),
            });
        }
        let chain = Self { agents, generation };
        house.applied("gate", Body::Authorize(Authorize::of(chain.asks(100), 2_000)));
        chain
    }

    /// The last of them asks.
    fn asks(&self, amount: u64) -> Request {
        let args = format!("{{\"amount\":{amount},\"reservation\":\"EHGLP3\"}}").into_bytes();
        Request {
            args_digest: Hash::of(&[&args]),
            args: Some(args),
            generation: self.generation,
            ..house::request(&self.agents[3], "reservation/cancel", "reservation/EHGLP3")
        }
    }
}

/// What an answer is made of, in bytes; statements apart.
#[derive(Debug, Default)]
struct Size {
    whole: usize,
    /// The ways to what is read: inner nodes, and the hashes beside them.
    ways: usize,
    /// What is read, by kind.
    records: BTreeMap<String, usize>,
    /// Leaves that are not what was looked for.
    others: usize,
}

impl Size {
    fn of(answer: &Answer) -> Self {
        let hashes = vec![Hash::ZERO; usize::try_from(ROUND.ilog2()).unwrap()];
        let nonce_path = Some(NoncePath { index: ROUND - 1, count: ROUND, hashes });
        let (statements, head_statements) = (Vec::new(), Vec::new());
        let whole = Answer { statements, head_statements, nonce_path, ..answer.clone() }.encode().len();
        let mut size = Self { whole, ..Self::default() };
        let tree = answer.tree.encode();
        let mut rest = tree.as_slice();
        while let [tag, behind @ ..] = rest {
            let length = match tag {
                1 => 2,
                2 => 35 + usize::from(u16::from_be_bytes([behind[32], behind[33]])),
                3 => 65,
                _ => 33,
            };
            match tag {
                // A record begins with its kind, behind a tag and a length.
                2 => {
                    let kind = std::str::from_utf8(&rest[37..37 + usize::from(rest[36])]).unwrap();
                    *size.records.entry(kind.into()).or_default() += length;
                }
                3 => size.others += length,
                _ => size.ways += length,
            }
            rest = &rest[length..];
        }
        size
    }
}

/// What a check is answered, verified as its client does.
fn answered(house: &House, request: &Request) -> (Decision, Size) {
    let answer = house.answer(request, nonce("size"));
    let verified = verify(&house.trust, request, nonce("size"), &answer).unwrap();
    (verified.decision, Size::of(&answer))
}

fn bound(per: Per) -> Bound {
    house::bound("money", BoundKind::Sum { argument: identifier("amount") }, 500_000, per)
}

/// Levels that a million grants have more, on each way.
fn levels_missing(grants: u64) -> usize {
    usize::try_from(MILLION.div_ceil(grants).next_power_of_two().ilog2()).unwrap()
}

#[test]
fn a_chain_of_four_among_a_million_grants_proves_itself_in_eight_kibibytes() {
    let grants = grants();
    let mut house = crowded(grants, "busy");
    let mut found = |label, per, lineage| Chain::found(&mut house, label, bound(per), lineage);
    // Ways that grow with the grants: to four agents, to the tree of grants; to the key, or the lineage.
    let cases = [
        ("per-grant", found("per-grant", Per::Grant, None), 5),
        ("per-agent", found("per-agent", Per::Agent, None), 5),
        ("per-key", found("per-key", Per::Key(name("desk/budget")), None), 6),
        ("busy", found("busy", Per::Grant, None), 5),
        ("of-a-lineage", found("of-a-lineage", Per::Grant, Some("team/desks")), 6),
    ];
    for halts in [0, 4] {
        (0..halts).for_each(|number| drop(house.halt(HaltScope::Agent(name(&format!("stranger/{number}"))))));
        for (label, chain, ways) in &cases {
            let (permit, permit_size) = answered(&house, &chain.asks(100));
            let Decision::Permit(authority) = permit else { panic!("{permit:?}") };
            assert_eq!((authority.chain.len(), authority.bounds.len()), (4, 1));
            assert_ne!(authority.bounds[0].used, 0, "there is a meter");
            let (denied, denied_size) = answered(&house, &chain.asks(TOO_MUCH));
            assert!(matches!(denied, Decision::Denied(Denial::BoundExhausted { .. })), "{denied:?}");
            for (verdict, size) in [("permit", permit_size), ("denial", denied_size)] {
                println!("{grants} grants, {halts} halts, {label}, {verdict}: {size:?}");
                let among_a_million = size.whole + ways * levels_missing(grants) * LEVEL_SIZE_BYTES;
                assert!(among_a_million <= PROOF_SIZE_BYTES_MAX, "{label}, {verdict}: {among_a_million}");
            }
        }
    }
}
