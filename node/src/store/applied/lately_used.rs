//! A map that is bounded by its size and keeps what was used lately.
//!
//! It has a young and an old generation: what is met in the old one moves to the young one, and when that has half of
//! the bytes, the old one is dropped and the young one is old. So nothing is kept in order, and what is used often
//! costs one look.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// At most about `size_bytes_max`, as its values measure themselves.
pub(super) struct LatelyUsed<K, V, S> {
    young: HashMap<K, V, S>,
    young_bytes: usize,
    old: HashMap<K, V, S>,
    young_bytes_max: usize,
}

/// What a value takes of memory, in bytes, with its place in the map.
pub(super) trait SizeBytes {
    /// About as many.
    fn size_bytes(&self) -> usize;
}

impl<K: Copy + Eq + Hash, V: Clone + SizeBytes, S: BuildHasher + Default> LatelyUsed<K, V, S> {
    pub(super) fn new(size_bytes_max: usize) -> Self {
        let (young, old) = (HashMap::default(), HashMap::default());
        Self { young, young_bytes: 0, old, young_bytes_max: size_bytes_max / 2 }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(*key, value.clone());
        Some(value)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let size_bytes = value.size_bytes();
        if size_bytes > self.young_bytes_max {
            self.remove(&key);
            return;
        }
        if self.young_bytes + size_bytes > self.young_bytes_max {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += size_bytes;
        if let Some(before) = self.young.insert(key, value) {
            self.young_bytes = self.young_bytes.saturating_sub(before.size_bytes());
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(before) = self.young.remove(key) {
            self.young_bytes = self.young_bytes.saturating_sub(before.size_bytes());
        }
        self.old.remove(key);
    }

    /// What its values take of memory.
    #[cfg(test)]
    pub(super) fn size_bytes(&self) -> usize {
        self.young.values().chain(self.old.values()).map(SizeBytes::size_bytes).sum()
    }
}
