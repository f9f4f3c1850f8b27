//! The state under change, and what one command would do to it.

use super::Refusal;
use super::records::{self, Body as RecordBody, Cause, Place};
use super::verdict::Verdict;
use super::view::{View, ViewError};
use crate::command::LedgerId;
use crate::head::RosterId;
use crate::state::{Changes, Key, Value, Version};

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

/// The state under change: the version that it was, and what the block changed so far.
pub(super) struct Draft<'a, V> {
    pub(super) before: &'a V,
    pub(super) ledger: LedgerId,
    /// In force before the block.
    pub(super) roster: RosterId,
    pub(super) changes: Changes,
}

impl<'a, V: Version> Draft<'a, V> {
    pub(super) const fn new(before: &'a V, ledger: LedgerId, roster: RosterId) -> Self {
        Self { before, ledger, roster, changes: Changes::new() }
    }

    pub(super) fn put<B: RecordBody>(&mut self, place: &Place, body: &B) {
        self.changes.insert(place.key(), Some(records::encode(place, body)));
    }
}

impl<V: Version> View for Draft<'_, V> {
    type Error = V::Error;

    fn read(&self, key: &Key) -> Result<Option<Value>, Self::Error> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.before.value(key),
        }
    }
}
