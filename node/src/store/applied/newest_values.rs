//! Values of the newest state by key, in memory: what every command and every check reads again.
//!
//! What they say is what the tree says, without the way down through it. They are of one version, that of a root: who
//! asks about another one learns nothing, and a value that was found in another one is not taken.

use std::collections::hash_map::RandomState;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chancery_ledger::state::{Changes, Key, Root, Value};

use super::lately_used::{LatelyUsed, SizeBytes};

const SHARDS: usize = 16;

/// What a value costs beyond its bytes: its places in two maps with its key, and the allocation that it may share.
const VALUE_OVERHEAD_BYTES: usize = 160;

/// Values of at most about a given size.
pub(super) struct NewestValues {
    shards: [Mutex<Shard>; SHARDS],
}

/// Guarded by one lock, so that root and values belong together.
struct Shard {
    root: Root,
    values: LatelyUsed<Key, Found, RandomState>,
}

/// A key's value; `None` if it has none.
#[derive(Clone)]
struct Found(Option<Value>);

impl SizeBytes for Found {
    fn size_bytes(&self) -> usize {
        VALUE_OVERHEAD_BYTES + self.0.as_ref().map_or(0, |value| value.len())
    }
}

impl NewestValues {
    /// Knows nothing yet of the version at `root`.
    pub(super) fn new(root: Root, size_bytes_max: usize) -> Self {
        let values = || LatelyUsed::new(size_bytes_max / SHARDS);
        Self { shards: std::array::from_fn(|_| Mutex::new(Shard { root, values: values() })) }
    }

    /// The value of `key` in the version at `root`, or that it has none, if that is known.
    pub(super) fn get(&self, root: Root, key: &Key) -> Option<Option<Value>> {
        let mut shard = self.shard(shard_of(key));
        if shard.root != root {
            return None;
        }
        shard.values.get(key).map(|Found(value)| value)
    }

    /// Takes what was found in the version at `root`.
    pub(super) fn insert(&self, root: Root, key: &Key, value: Option<&Value>) {
        let mut shard = self.shard(shard_of(key));
        if shard.root == root {
            shard.values.insert(*key, Found(value.cloned()));
        }
    }

    /// Goes on to the version at `root`, which `changes` made of the one before.
    pub(super) fn advance(&self, root: Root, changes: &Changes) {
        for index in 0..SHARDS {
            let mut shard = self.shard(index);
            for (key, value) in changes.iter().filter(|(key, _)| shard_of(key) == index) {
                shard.values.insert(*key, Found(value.clone()));
            }
            shard.root = root;
        }
    }

    fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        // INVARIANT: the remainder is below the number of shards, which is not 0.
        #[allow(clippy::indexing_slicing, reason = "the remainder is an index")]
        self.shards[index % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shard_of(key: &Key) -> usize {
    let [.., last] = key.0;
    usize::from(last) % SHARDS
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chancery_ledger::hash::Hash;
    use chancery_ledger::state::{Child, NodeId};

    use super::*;

    fn root(number: u64) -> Root {
        Root { child: Some(Child { id: NodeId(number), hash: Hash::of(&[&number.to_be_bytes()]) }) }
    }

    fn key(byte: u8) -> Key {
        Key([byte; 32])
    }

    fn value(text: &str) -> Value {
        text.as_bytes().into()
    }

    #[test]
    fn they_are_of_the_newest_version_and_of_no_other() {
        let newest = NewestValues::new(root(1), 1 << 20);
        assert_eq!(newest.get(root(1), &key(1)), None);
        for byte in [1, 2, 3] {
            newest.insert(root(1), &key(byte), Some(&value("first")));
        }
        newest.insert(root(1), &key(4), None);
        newest.insert(root(2), &key(5), Some(&value("not yet")));
        assert_eq!(newest.get(root(1), &key(1)), Some(Some(value("first"))));
        assert_eq!(newest.get(root(1), &key(4)), Some(None), "known to have none");
        assert_eq!(newest.get(root(1), &key(5)), None);
        assert_eq!(newest.get(root(2), &key(1)), None);

        let changes = [(key(1), Some(value("second"))), (key(2), None), (key(4), Some(value("new")))];
        newest.advance(root(2), &changes.into());
        assert_eq!(newest.get(root(2), &key(1)), Some(Some(value("second"))));
        assert_eq!(newest.get(root(2), &key(2)), Some(None));
        assert_eq!(newest.get(root(2), &key(3)), Some(Some(value("first"))), "not changed");
        assert_eq!(newest.get(root(2), &key(4)), Some(Some(value("new"))));
        assert_eq!(newest.get(root(1), &key(3)), None, "the version before");
        newest.insert(root(1), &key(1), Some(&value("first")));
        assert_eq!(newest.get(root(2), &key(1)), Some(Some(value("second"))), "read too late");
    }

    #[test]
    fn what_does_not_fit_is_not_known_and_never_as_it_was_before() {
        let newest = NewestValues::new(root(1), SHARDS * 4096);
        newest.insert(root(1), &key(1), Some(&value("short")));
        let long: Value = vec![7; 4096].into();
        newest.advance(root(2), &[(key(1), Some(long))].into());
        assert_eq!(newest.get(root(2), &key(1)), None);
        for number in 0..1000_u16 {
            let [high, low] = number.to_be_bytes();
            let mut key = key(1);
            key.0[..2].copy_from_slice(&[high, low]);
            newest.insert(root(2), &key, Some(&value("one of many")));
        }
        let held = newest.shard(1).values.size_bytes();
        assert!(held > 1024 && held <= 4096, "{held}");
    }
}
