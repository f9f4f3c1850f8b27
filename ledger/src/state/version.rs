//! One version of the tree, however it is kept.

use std::collections::BTreeMap;

use super::{NodeId, NodeRead, Root, TreeError, Update, Value, get, update};
use crate::hash::Hash;
use crate::state::Key;

/// What becomes of keys: a value, or nothing any more.
pub type Changes = BTreeMap<Key, Option<Value>>;

/// One version of the tree, however it is kept: what it says, and what changes make of it.
pub trait Version {
    /// Why it cannot be read or changed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// What whoever keeps the version needs to keep the next one in its place.
    type Next;

    /// The value of `key`; `None` if it has none.
    fn value(&self, key: &Key) -> Result<Option<Value>, Self::Error>;

    /// The version that `changes` make of this one: the hash of its root, and the rest of it. This one stays.
    fn next(&self, changes: Changes) -> Result<(Hash, Self::Next), Self::Error>;
}

/// A version whose nodes are kept by their numbers, as those of others are.
#[derive(Clone, Copy, Debug)]
pub struct Numbered<'a, N> {
    /// Where the nodes are.
    pub nodes: &'a N,
    /// The version's root.
    pub root: Root,
    /// The first number that no node has.
    pub next_id: NodeId,
}

impl<N: NodeRead> Version for Numbered<'_, N> {
    type Error = TreeError<N::Error>;
    /// And the changes that it was made by.
    type Next = (Update, Changes);

    fn value(&self, key: &Key) -> Result<Option<Value>, Self::Error> {
        get(self.nodes, self.root, key)
    }

    fn next(&self, changes: Changes) -> Result<(Hash, (Update, Changes)), Self::Error> {
        let update = update(self.nodes, self.root, self.next_id, &changes)?;
        Ok((update.root.hash(), (update, changes)))
    }
}
