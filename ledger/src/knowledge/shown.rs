//! What is shown of a set of items: some of them, each with its path.

use thiserror::Error;

use super::{ITEMS_MAX, Item, labelled_root};
use crate::command::Name;
use crate::hash::Hash;
use crate::log::{VerifyError, root_from_inclusion};

/// The most items that one request shows.
pub const SHOWN_ITEMS_MAX: usize = 16;

/// An item, and where it stands among the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// The item.
    pub item: Item,
    /// Its place in the order of the items.
    pub index: u32,
    /// The audit path of RFC 6962 §2.1.1, from the leaf's sibling up.
    pub path: Vec<Hash>,
}

impl Placed {
    /// Demands that the item stands at its index among `count` items whose root is `root`.
    ///
    /// # Errors
    /// It does not, or the path has not exactly the length that it must have.
    pub fn verify(&self, root: &Hash, count: u32) -> Result<(), VerifyError> {
        if count > ITEMS_MAX {
            return Err(VerifyError::OutOfRange);
        }
        let (index, size) = (u64::from(self.index), u64::from(count));
        let tree_root = root_from_inclusion(&self.item.leaf_hash(), index, size, &self.path)?;
        if labelled_root(count, &tree_root) == *root { Ok(()) } else { Err(VerifyError::RootMismatch) }
    }
}

/// The knowledge that a request binds: the root, and what is shown of it. Whatever is shown is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Knowledge {
    root: Hash,
    count: u32,
    shown: Vec<Placed>,
}

impl Knowledge {
    /// Checks that each of `shown` is among the `count` items whose root is `root`.
    ///
    /// # Errors
    /// One is not, or they are too many, or not in the order in which they stand.
    pub fn new(root: Hash, count: u32, shown: Vec<Placed>) -> Result<Self, KnowledgeError> {
        if count == 0 || count > ITEMS_MAX {
            return Err(KnowledgeError::Count);
        }
        if shown.len() > SHOWN_ITEMS_MAX {
            return Err(KnowledgeError::TooManyShown);
        }
        // The order of places is that of the items: a tree in which it is not cannot show what is absent.
        if !shown.is_sorted_by(|a, b| a.index < b.index && a.item < b.item) {
            return Err(KnowledgeError::Unsorted);
        }
        for placed in &shown {
            let source = placed.item.source.clone();
            placed
                .verify(&root, count)
                .map_err(|error| KnowledgeError::Path { source_name: source, error })?;
        }
        Ok(Self { root, count, shown })
    }

    /// What a decision binds.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// How many items there are.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// In the order in which they stand.
    pub fn shown(&self) -> &[Placed] {
        &self.shown
    }

    /// When the newest shown item of `source` was retrieved, in ledger time, of those that were by `at_ms`.
    pub fn newest_of(&self, source: &Name, at_ms: u64) -> Option<u64> {
        let of_source = self.shown.iter().filter(|placed| placed.item.source == *source);
        of_source.map(|placed| placed.item.retrieved_at_ms).filter(|time_ms| *time_ms <= at_ms).max()
    }
}

/// Why knowledge is not shown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KnowledgeError {
    /// No item, or more than a tree may have.
    #[error("knowledge has 1 to {ITEMS_MAX} items")]
    Count,
    /// More than [`SHOWN_ITEMS_MAX`].
    #[error("a request shows at most {SHOWN_ITEMS_MAX} items")]
    TooManyShown,
    /// Not in the order in which they stand.
    #[error("the shown items are not in their order, or one is there twice")]
    Unsorted,
    /// A path leads elsewhere.
    #[error("the item of {source_name} is not shown: {error}")]
    Path {
        /// Of which source.
        source_name: Name,
        /// What is wrong.
        error: VerifyError,
    },
}
