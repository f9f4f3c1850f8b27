//! What the tests of the state tree share: keys that meet in every way, and trees grown from a plain map.

use std::collections::BTreeMap;
use std::sync::Arc;

use chancery_ledger::state::{Key, MemoryNodes, NodeId, Root, Update, Value, update};
use proptest::prelude::*;

pub(crate) type Map = BTreeMap<Key, Value>;
pub(crate) type Batch = BTreeMap<Key, Option<Value>>;

/// Keys that often share long prefixes, differ in one bit, or lie at the extremes.
pub(crate) fn keys() -> impl Strategy<Value = Key> {
    let edge = prop_oneof![Just(0_u8), Just(1), Just(0x80), Just(0xff)];
    prop_oneof![
        4 => (edge.clone(), edge.clone(), edge).prop_map(|(first, middle, last)| {
            let mut key = [0; 32];
            (key[0], key[15], key[31]) = (first, middle, last);
            Key(key)
        }),
        3 => any::<u8>().prop_map(|bit| one_bit(bit, 0)),
        1 => any::<u8>().prop_map(|bit| one_bit(bit, 0xff)),
        1 => any::<[u8; 32]>().prop_map(Key),
    ]
}

/// A key of equal bytes but for one bit, which is flipped.
pub(crate) fn one_bit(bit: u8, fill: u8) -> Key {
    let mut key = [fill; 32];
    key[usize::from(bit / 8)] ^= 0x80 >> (bit % 8);
    Key(key)
}

pub(crate) fn values() -> impl Strategy<Value = Value> {
    proptest::collection::vec(0..3_u8, 0..4).prop_map(Value::from)
}

pub(crate) fn value(text: &str) -> Value {
    Arc::from(text.as_bytes())
}

/// A version of a tree and all the nodes there are.
#[derive(Clone, Default)]
pub(crate) struct Grown {
    pub(crate) nodes: MemoryNodes,
    pub(crate) root: Option<Root>,
    pub(crate) next_id: u64,
}

impl Grown {
    pub(crate) fn from(map: &Map) -> Self {
        let mut grown = Self::default();
        grown.apply(&map.iter().map(|(key, value)| (*key, Some(value.clone()))).collect());
        grown
    }

    pub(crate) fn root(&self) -> Root {
        self.root.unwrap_or(Root::EMPTY)
    }

    pub(crate) fn apply(&mut self, batch: &Batch) -> Update {
        let update = update(&self.nodes, self.root(), NodeId(self.next_id), batch).unwrap();
        self.nodes.insert(&update);
        self.root = Some(update.root);
        self.next_id = update.next_id.0;
        update
    }
}
