//! The parts that are pure computation, each beside what does the like elsewhere: the state tree beside its hashes and
//! `jmt`, the log beside `ct-merkle`, and a condition beside `cedar-policy` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet};
use chancery_client::chancery_ledger::command::Name;
use chancery_client::chancery_ledger::condition::{Call, Condition, Fact};
use chancery_client::chancery_ledger::hash::Hash;
use chancery_client::chancery_ledger::state::{
    Key, MemoryNodes, Node, NodeId, Recording, Root, Update, Value, prune, update,
};
use serde::{Deserialize, Serialize};

use crate::floor::units::{each, thread_cpu};
use crate::measures::median;

/// What the update of the tree is beside.
pub(crate) const HASHES_ALONE: &str = "its hashes alone";

/// Keys that one block changes.
const BLOCK: u32 = 100;

/// Keys that are added at once while a tree is filled.
const FILLED_AT_ONCE: u32 = 10_000;

/// Blocks that are measured: the figure is their median.
const BLOCKS: u32 = 31;

/// Keys that one proof is about: about as many as a decision reads.
const PROVEN_KEYS: u32 = 4;

/// Proofs that are measured.
const PROOFS: u32 = 1_000;

/// Hashes that are measured, of each kind.
const HASHES: u32 = 20_000;

/// Decisions that are measured.
const DECISIONS: u32 = 300;

/// Bytes of a value: about what a grant's record takes.
const VALUE_SIZE_BYTES: usize = 256;

const POLICY: &str = r#"permit (principal, action, resource)
when { context.args.amount <= 500 && context.args.currency == "EUR" };"#;

const ARGUMENTS: &str = r#"{"amount":120,"currency":"EUR"}"#;

/// One figure, and what stands beside it: CPU time in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Beside {
    pub(crate) what: String,
    pub(crate) us: f64,
    pub(crate) other: String,
    pub(crate) other_us: f64,
    /// What is not the same.
    pub(crate) differs: String,
}

pub(crate) type Failed<T> = Result<T, String>;

/// Measures all of it, with so many keys and leaves.
pub(crate) fn measure(keys: u32) -> Failed<Vec<Beside>> {
    let (mut rows, ours) = state(keys)?;
    #[cfg(feature = "trees")]
    rows.extend(super::trees::measure(keys, &ours)?);
    #[cfg(not(feature = "trees"))]
    let _ = ours;
    rows.extend(condition()?);
    Ok(rows)
}

/// What ours takes, in microseconds.
pub(crate) struct Ours {
    pub(crate) update_us: f64,
    pub(crate) prove_us: f64,
}

/// The key of a number, scattered.
pub(crate) fn key(number: u32) -> [u8; 32] {
    Hash::of(&[&number.to_be_bytes()]).0
}

/// A value that no other version has.
pub(crate) fn value(version: u32) -> Vec<u8> {
    let mut value = vec![7; VALUE_SIZE_BYTES];
    for (to, from) in value.iter_mut().zip(version.to_be_bytes()) {
        *to = from;
    }
    value
}

/// The numbers of the keys that a block changes: spread over all.
pub(crate) fn block(block: u32, keys: u32) -> impl Iterator<Item = u32> {
    (0..BLOCK).map(move |number| (block * BLOCK + number).wrapping_mul(7_919) % keys)
}

/// The numbers of the keys that a proof is about.
pub(crate) fn proven(proof: u32, keys: u32) -> impl Iterator<Item = u32> {
    (0..PROVEN_KEYS).map(move |number| (proof * PROVEN_KEYS + number).wrapping_mul(104_729) % keys)
}

/// The numbers of what is added at once, of all.
pub(crate) fn fillings(keys: u32) -> impl Iterator<Item = std::ops::Range<u32>> {
    let first = (0..keys).step_by(FILLED_AT_ONCE.try_into().unwrap_or(usize::MAX));
    first.map(move |first| first..first.saturating_add(FILLED_AT_ONCE).min(keys))
}

/// The median time for one key, where `each` gives how long a block took, in microseconds.
pub(crate) fn per_key(each: impl FnMut(u32) -> Failed<f64>) -> Failed<f64> {
    let took = (0..BLOCKS).map(each).collect::<Failed<Vec<_>>>()?;
    Ok(median(took.into_iter()).unwrap_or(0.0) / f64::from(BLOCK))
}

/// The time for one proof, in microseconds.
pub(crate) fn per_proof(mut prove: impl FnMut(u32)) -> f64 {
    let mut proof = 0;
    each(PROOFS, || {
        prove(proof);
        proof += 1;
    })
}

/// CPU time of `what`, in microseconds, and what it gives.
pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (T, f64) {
    let before = thread_cpu();
    let made = what();
    (made, thread_cpu().saturating_sub(before).as_secs_f64() * 1e6)
}

/// A tree that is changed version by version.
struct Tree {
    nodes: MemoryNodes,
    root: Root,
    next_id: NodeId,
}

impl Tree {
    fn change(&self, changes: &BTreeMap<Key, Option<Value>>) -> Failed<Update> {
        update(&self.nodes, self.root, self.next_id, changes).map_err(|error| error.to_string())
    }

    fn take(&mut self, update: &Update) {
        self.nodes.replace(&update.new, &update.stale);
        (self.root, self.next_id) = (update.root, update.next_id);
    }
}

fn state(keys: u32) -> Failed<(Vec<Beside>, Ours)> {
    let mut tree = Tree { nodes: MemoryNodes::new(), root: Root::EMPTY, next_id: NodeId(1) };
    let changes = |numbers: &mut dyn Iterator<Item = u32>, version: u32| {
        numbers
            .map(|number| (Key(key(number)), Some(Value::from(value(version)))))
            .collect::<BTreeMap<_, _>>()
    };
    for mut numbers in fillings(keys) {
        let filled = tree.change(&changes(&mut numbers, 0))?;
        tree.take(&filled);
    }
    let (mut leaves, mut inner_nodes) = (0_u32, 0_u32);
    let update_us = per_key(|number| {
        let changes = changes(&mut block(number, keys), number + 1);
        let (changed, took_us) = timed(|| tree.change(black_box(&changes)));
        let changed = changed?;
        for (_, node) in &changed.new {
            match node {
                Node::Leaf { .. } => leaves += 1,
                Node::Inner { .. } => inner_nodes += 1,
            }
        }
        tree.take(&changed);
        Ok(took_us)
    })?;
    let (inner_us, leaf_us, value_us) = (hash_us(66), hash_us(65), hash_us(VALUE_SIZE_BYTES));
    let per_key = |count: u32| f64::from(count) / f64::from(BLOCKS * BLOCK);
    let (leaves, inner_nodes) = (per_key(leaves), per_key(inner_nodes));
    let floor_us = inner_nodes * inner_us + leaves * (leaf_us + value_us);
    let prove_us = per_proof(|proof| {
        let reading = Recording::new(&tree.nodes, tree.root);
        for number in proven(proof, keys) {
            let _ = black_box(reading.get(&Key(key(number))));
        }
        let keys: BTreeSet<Key> = reading.into_keys();
        let _ = black_box(prune(&tree.nodes, tree.root, &keys));
    });
    let rows = vec![Beside {
        what: format!("state update, for each key of a block of {BLOCK}, {keys} keys"),
        us: update_us,
        other: HASHES_ALONE.into(),
        other_us: floor_us,
        differs: format!("{inner_nodes:.1} inner nodes, {leaves:.1} leaves and their values for each key"),
    }];
    Ok((rows, Ours { update_us, prove_us }))
}

/// A hash of so many bytes.
fn hash_us(size_bytes: usize) -> f64 {
    let bytes = vec![7; size_bytes];
    each(HASHES, || {
        black_box(Hash::of(&[black_box(&bytes)]));
    })
}

fn condition() -> Failed<Vec<Beside>> {
    let name = |text: &str| Name::new(text).map_err(|error| error.to_string());
    let (agent, action, resource) = (name("bench/agent-1")?, name("payments/send")?, name("accounts/7")?);
    let condition = Condition::new(POLICY).map_err(|error| error.to_string())?;
    let digest = Hash::of(&[ARGUMENTS.as_bytes()]);
    let facts = Fact::Record(vec![("block".into(), Fact::Number(7))]);
    let satisfied = || {
        let call = Call::new([&agent, &action, &resource], digest, Some(black_box(ARGUMENTS.as_bytes())));
        matches!(call.satisfies(black_box(&condition), &facts), Ok(Ok(())))
    };
    let parse = || black_box(POLICY).parse::<PolicySet>().map_err(|error| error.to_string());
    let policies = parse()?;
    let entity = |text: &str| text.parse::<EntityUid>().map_err(|error| error.to_string());
    let asked = [
        entity(r#"Agent::"bench/agent-1""#)?,
        entity(r#"Action::"payments/send""#)?,
        entity(r#"Resource::"accounts/7""#)?,
    ];
    let allowed = |policies: &PolicySet| {
        let [agent, action, resource] = asked.clone();
        let context = format!(r#"{{"args":{},"ledger":{{"block":7}}}}"#, black_box(ARGUMENTS));
        let Ok(context) = Context::from_json_str(&context, None) else { return false };
        let Ok(request) = cedar_policy::Request::new(agent, action, resource, context, None) else {
            return false;
        };
        let answer = Authorizer::new().is_authorized(&request, policies, &Entities::empty());
        answer.decision() == Decision::Allow
    };
    if !satisfied() || !allowed(&policies) {
        return Err("the condition does not hold".into());
    }
    let ours = each(DECISIONS, || {
        black_box(satisfied());
    });
    let from_text = each(DECISIONS, || {
        black_box(parse().is_ok_and(|policies| allowed(&policies)));
    });
    let parsed = each(DECISIONS, || {
        black_box(allowed(&policies));
    });
    let row = |other: &str, other_us, differs: &str| Beside {
        what: "a condition of one policy, from its text".into(),
        us: ours,
        other: other.into(),
        other_us,
        differs: differs.into(),
    };
    Ok(vec![
        row(
            "cedar-policy, from the text",
            from_text,
            "ours also holds the arguments against their digest and their canonical form",
        ),
        row(
            "cedar-policy, parsed before",
            parsed,
            "ours has the text with each answer, and parses it each time",
        ),
    ])
}
