//! Values in memory that are on the disk too, bounded by their size.
//!
//! There is a young and an old generation: what is met in the old one moves to the young one, and when that has half
//! of the bytes, the old one is dropped and the young one is old. That keeps what was used lately.

use std::collections::HashMap;

use chancery_ledger::state::{Key, Value};

/// What a value costs beyond itself: its place in a table that may be half empty, its key and its allocation.
const VALUE_OVERHEAD_BYTES: usize = 144;

/// About what a value takes of memory.
pub(super) fn size_bytes(value: &Value) -> usize {
    VALUE_OVERHEAD_BYTES + value.len()
}

/// A cache of at most about `size_bytes_max`.
pub(super) struct ValueCache {
    young: HashMap<Key, Value>,
    young_bytes: usize,
    old: HashMap<Key, Value>,
    young_bytes_max: usize,
}

impl ValueCache {
    pub(super) fn new(size_bytes_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            young_bytes: 0,
            old: HashMap::new(),
            young_bytes_max: size_bytes_max / 2,
        }
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<Value> {
        if let Some(value) = self.young.get(key) {
            return Some(Value::clone(value));
        }
        let value = self.old.remove(key)?;
        self.insert(*key, Value::clone(&value));
        Some(value)
    }

    pub(super) fn insert(&mut self, key: Key, value: Value) {
        let size_bytes = size_bytes(&value);
        if size_bytes > self.young_bytes_max {
            return;
        }
        if self.young_bytes + size_bytes > self.young_bytes_max {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.old.remove(&key);
        match self.young.insert(key, value) {
            None => self.young_bytes += size_bytes,
            Some(before) => {
                self.young_bytes = (self.young_bytes + size_bytes).saturating_sub(self::size_bytes(&before));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        match self.young.remove(key) {
            Some(value) => self.young_bytes = self.young_bytes.saturating_sub(size_bytes(&value)),
            None => drop(self.old.remove(key)),
        }
    }
}
