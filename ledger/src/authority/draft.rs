//! The state under change, and what one command would do to it.

use std::collections::BTreeMap;

use super::Refusal;
use super::records::{self, Body as RecordBody, Cause, Place};
use super::verdict::Verdict;
use super::view::{View, ViewError};
use crate::command::LedgerId;
use crate::head::RosterId;
use crate::state::{self as tree, Key, NodeRead, Root, TreeError, Value};

/// Why a command stops: by its own fault, or by the replica's.
pub(super) enum Stop<E> {
    Refused(Refusal),
    Fault(ViewError<E>),
}

impl<E> From<Refusal> for Stop<E> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<E> From<ViewError<E>> for Stop<E> {
    fn from(fault: ViewError<E>) -> Self {
        Self::Fault(fault)
    }
}

/// What a command would write.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) records: Vec<(Key, Value)>,
    /// What its leaf says besides the command.
    pub(super) verdict: Option<Verdict>,
}

impl Writes {
    pub(super) fn put<B: RecordBody>(&mut self, place: &Place, body: &B) {
        self.records.push((place.key(), records::encode(place, body)));
    }
}

pub(super) enum Effect {
    Writes(Writes),
    /// Nothing to do: the effect is there, and this is what brought it about.
    Before(Cause),
}

/// The state under change: the tree as it was, and what the block changed so far.
pub(super) struct Draft<'a, N> {
    pub(super) nodes: &'a N,
    pub(super) root: Root,
    pub(super) ledger: LedgerId,
    /// In force before the block.
    pub(super) roster: RosterId,
    pub(super) changes: BTreeMap<Key, Option<Value>>,
}

impl<'a, N: NodeRead> Draft<'a, N> {
    pub(super) const fn new(nodes: &'a N, root: Root, ledger: LedgerId, roster: RosterId) -> Self {
        Self { nodes, root, ledger, roster, changes: BTreeMap::new() }
    }

    pub(super) fn put<B: RecordBody>(&mut self, place: &Place, body: &B) {
        self.changes.insert(place.key(), Some(records::encode(place, body)));
    }
}

impl<N: NodeRead> View for Draft<'_, N> {
    type Error = TreeError<N::Error>;

    fn read(&self, key: &Key) -> Result<Option<Value>, Self::Error> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => tree::get(self.nodes, self.root, key),
        }
    }
}
