//! Does the cost of a block grow with the ledger? A block of 100 at 10,000 and at 1,000,000 leaves and keys.
//!
//! Three things apart: the log's append, the state tree's update, and `apply` of a whole block of 100 registrations
//! (every signature checked). Runs are interleaved; medians are printed, with the hashes that a tree of each
//! size cannot do without, so that the ratio can be judged. `cargo bench -p chancery-ledger --bench flat_cost`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use chancery_ledger::authority::{Block, Dedup, State, Summary};
use chancery_ledger::command::{
    Body, Command, Genesis, LedgerId, Limits, Name, Patterns, Principal, PublicKey, RequestId, Role, Scope,
    SignedCommand,
};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Roster, Voter, VoterSet};
use chancery_ledger::log::{MemoryTiles, leaf_hash};
use chancery_ledger::state::{Key, MemoryNodes, NodeId, Root, Value, update};
use ed25519_dalek::SigningKey;

const SMALL: u64 = 10_000;
const LARGE: u64 = 1_000_000;
const BLOCK: u64 = 100;
const RUNS: usize = 41;

fn main() {
    // `cargo test` builds and runs benches too: once, small, to see that they work.
    let quick = std::env::args().any(|argument| argument == "--test");
    let (small, large, runs) = if quick { (500, 1_000, 3) } else { (SMALL, LARGE, RUNS) };
    let (mut a, mut b) = (Size::new(small), Size::new(large));
    let mut times: BTreeMap<&str, (Vec<Duration>, Vec<Duration>)> = BTreeMap::new();
    for run in 0..runs as u64 {
        for (size, second) in [(&mut a, false), (&mut b, true)] {
            for (what, time) in [
                ("log append", size.append_log(run)),
                ("state tree update", size.update_tree(run)),
                ("whole block, signatures checked", size.apply_block(run)),
            ] {
                let (first, other) = times.entry(what).or_default();
                if second { other.push(time) } else { first.push(time) }
            }
        }
    }
    println!("a block of {BLOCK}, median of {runs} interleaved runs");
    println!("{:<34} {:>12} {:>12} {:>7}", "", format!("at {small}"), format!("at {large}"), "ratio");
    for (what, (first, second)) in &mut times {
        let (x, y) = (median(first), median(second));
        let ratio = y.as_secs_f64() / x.as_secs_f64();
        println!("{what:<34} {:>9.1} µs {:>9.1} µs {ratio:>6.2}x", micros(x), micros(y));
    }
    let (x, y) = (a.copied_nodes(), b.copied_nodes());
    println!("{:<34} {x:>12} {y:>12} {:>6.2}x", "tree nodes that must be hashed", y as f64 / x as f64);
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A ledger of one size.
struct Size {
    tiles: MemoryTiles,
    nodes: MemoryNodes,
    root: Root,
    next: NodeId,
    house: House,
    copied: usize,
}

impl Size {
    fn new(size: u64) -> Self {
        let mut tiles = MemoryTiles::new();
        let mut nodes = MemoryNodes::new();
        let house = House::new();
        // The house's own records first, then strangers' keys.
        let (state, applied) = State::genesis(&nodes, &house.genesis).unwrap();
        let mut update_0 = update(&nodes, Root::EMPTY, NodeId(0), &BTreeMap::new()).unwrap();
        (update_0.root, update_0.new, update_0.next_id) =
            (applied.summary.root, applied.new_nodes, applied.summary.next_node);
        nodes.insert(&update_0);
        let (mut root, mut next) = (state.summary().root, state.summary().next_node);
        for start in (0..size).step_by(1_000) {
            let leaves: Vec<Hash> = (start..start + 1_000).map(|i| leaf_hash(&i.to_be_bytes())).collect();
            tiles.append(&leaves);
            let batch =
                (start..(start + 1_000).min(size)).map(|i| (key(b"old", i), Some(value(i)))).collect();
            let step = update(&nodes, root, next, &batch).unwrap();
            nodes.insert(&step);
            nodes.forget(&step.stale);
            (root, next) = (step.root, step.next_id);
        }
        Self { tiles, nodes, root, next, house, copied: 0 }
    }

    fn append_log(&self, run: u64) -> Duration {
        let mut frontier = self.tiles.frontier().clone();
        let leaves: Vec<Vec<u8>> =
            (0..BLOCK).map(|i| [run.to_be_bytes(), i.to_be_bytes()].concat()).collect();
        let started = Instant::now();
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        black_box(chancery_ledger::log::tiles::append(&mut frontier, &hashes));
        black_box(frontier.root());
        started.elapsed()
    }

    fn update_tree(&mut self, run: u64) -> Duration {
        let batch: BTreeMap<Key, Option<Value>> =
            (0..BLOCK).map(|i| (key(b"new", run * BLOCK + i), Some(value(i)))).collect();
        let started = Instant::now();
        let step = black_box(update(&self.nodes, self.root, self.next, &batch).unwrap());
        let time = started.elapsed();
        self.copied = step.new.len();
        time
    }

    fn apply_block(&mut self, run: u64) -> Duration {
        let summary = Summary {
            root: self.root,
            next_node: self.next,
            frontier: self.tiles.frontier().clone(),
            ..self.house.founded.clone()
        };
        let state = State::resume(summary.clone(), Dedup::default(), []);
        let agents = (0..BLOCK).map(|i| self.house.register_numbered(run * BLOCK + i)).collect();
        let block = self.house.block(&summary, run, agents);
        let started = Instant::now();
        let applied = black_box(state.apply(&self.nodes, &block).unwrap());
        let time = started.elapsed();
        assert_eq!(applied.leaves.len() as u64, BLOCK + 1, "every command took effect");
        time
    }

    const fn copied_nodes(&self) -> usize {
        self.copied
    }
}

fn key(label: &[u8], i: u64) -> Key {
    Key(Hash::of(&[label, &i.to_be_bytes()]).0)
}

fn value(i: u64) -> Value {
    i.to_be_bytes().repeat(25).into()
}

/// A founded ledger and its keys.
struct House {
    ledger: LedgerId,
    genesis: Block,
    founded: Summary,
    operator: SigningKey,
    node: SigningKey,
}

impl House {
    fn new() -> Self {
        let operator = SigningKey::from_bytes(&[7; 32]);
        let node = SigningKey::from_bytes(&[8; 32]);
        let name = |text: &str| Name::new(text).unwrap();
        let everything = || Patterns::collect(["*"]).unwrap();
        let voter = Voter { node: 1, name: name("node-1"), key: PublicKey(node.verifying_key().to_bytes()) };
        let genesis = Genesis {
            origin: "bench.example/ledger".into(),
            roster: Roster::new(vec![VoterSet::majority(vec![voter]).unwrap()]).unwrap(),
            principals: vec![Principal {
                key: PublicKey(operator.verifying_key().to_bytes()),
                name: name("operator"),
                roles: vec![Role::Operator, Role::Issuer],
                scope: Scope { agents: everything(), actions: everything(), resources: everything() },
            }],
            limits: Limits::default(),
            rules_version: 1,
        };
        let signer = PublicKey(operator.verifying_key().to_bytes());
        let command = Command {
            signer,
            request_id: RequestId([0; 16]),
            not_after_ms: 2_000_000,
            body: Body::Genesis(genesis),
        };
        let signed = SignedCommand::sign(LedgerId::GENESIS, &command, &[&operator]).unwrap();
        let genesis = Block::genesis(1_000_000, signed);
        let (state, _) = State::genesis(&MemoryNodes::new(), &genesis).unwrap();
        let founded = state.summary().clone();
        Self { ledger: founded.head.ledger, genesis, founded, operator, node }
    }

    fn sign(&self, number: u64, body: Body) -> SignedCommand {
        let mut request_id = [1; 16];
        request_id[..8].copy_from_slice(&number.to_be_bytes());
        let command = Command {
            signer: PublicKey(self.operator.verifying_key().to_bytes()),
            request_id: RequestId(request_id),
            not_after_ms: 2_000_000,
            body,
        };
        SignedCommand::sign(self.ledger, &command, &[&self.operator]).unwrap()
    }

    fn register_numbered(&self, number: u64) -> SignedCommand {
        let agent = Name::new(format!("agent/{number}")).unwrap();
        self.sign(
            number,
            Body::RegisterAgent { agent, owner: Name::new("owner").unwrap(), key: None, lineage: None },
        )
    }

    fn block(&self, summary: &Summary, run: u64, commands: Vec<SignedCommand>) -> Block {
        let head = (summary.head.block, summary.head.hash());
        Block::propose(self.ledger, summary.block_hash, 1_000_001 + run, (1, 1), head, commands, &self.node)
    }
}
