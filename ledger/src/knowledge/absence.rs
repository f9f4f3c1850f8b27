//! That something was not in front of the agent: two items next to each other, between which it would stand.

use std::cmp::Ordering;

use thiserror::Error;

use super::{Item, Placed};
use crate::command::Name;
use crate::hash::Hash;
use crate::log::VerifyError;

/// Whose absence is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Every item of a source.
    Source(Name),
    /// One item.
    Item(Item),
}

impl Subject {
    fn compare(&self, item: &Item) -> Ordering {
        match self {
            Self::Source(source) => source.cmp(&item.source),
            Self::Item(own) => own.cmp(item),
        }
    }

    /// Whether it would stand before `item`.
    pub(super) fn precedes(&self, item: &Item) -> bool {
        self.compare(item) == Ordering::Less
    }

    /// Whether it would stand behind `item`.
    pub(super) fn follows(&self, item: &Item) -> bool {
        self.compare(item) == Ordering::Greater
    }
}

/// The two items between which a [`Subject`] would stand; one, if it would stand first or last.
///
/// It discloses these two. It proves what it says of a tree whose items are in their order, as
/// [`KnowledgeTree`](super::KnowledgeTree) makes them: who built another could hide an item, and who has all of
/// them finds out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Absence {
    /// The last item before it; none if it would be the first.
    pub before: Option<Placed>,
    /// The first item behind it; none if it would be the last.
    pub after: Option<Placed>,
}

impl Absence {
    /// Demands that `subject` is not among the `count` items whose root is `root`.
    ///
    /// # Errors
    /// It is not shown to be absent.
    pub fn verify(&self, subject: &Subject, root: &Hash, count: u32) -> Result<(), AbsenceError> {
        for placed in self.before.iter().chain(&self.after) {
            placed.verify(root, count)?;
        }
        let adjacent = match (&self.before, &self.after) {
            (Some(before), Some(after)) => before.index.checked_add(1) == Some(after.index),
            (None, Some(after)) => after.index == 0,
            (Some(before), None) => before.index.checked_add(1) == Some(count),
            (None, None) => false,
        };
        if !adjacent {
            return Err(AbsenceError::NotAdjacent);
        }
        let between = self.before.as_ref().is_none_or(|before| subject.follows(&before.item))
            && self.after.as_ref().is_none_or(|after| subject.precedes(&after.item));
        if between { Ok(()) } else { Err(AbsenceError::NotBetween) }
    }
}

/// Why an absence is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AbsenceError {
    /// One of the two is not there itself.
    #[error("path: {0}")]
    Path(#[from] VerifyError),
    /// There may be something between the two.
    #[error("the two items do not stand next to each other")]
    NotAdjacent,
    /// The subject would stand elsewhere, or is one of the two.
    #[error("it would not stand between the two items")]
    NotBetween,
}
