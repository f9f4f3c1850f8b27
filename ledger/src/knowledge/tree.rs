//! The tree itself: who has all the items makes proofs from it.

use rs_merkle::PartialTree;
use thiserror::Error;

use super::{
    Absence, Claim, Item, Knowledge, KnowledgeError, KnowledgeProof, Placed, Subject, labelled_root,
};
use crate::hash::Hash;
use crate::log::{Rfc6962, audit_path, whole_tree};

/// The most items that one tree has.
pub const ITEMS_MAX: u32 = 4_096;

/// A set of items, each of them provable against [`KnowledgeTree::root`], and each absence too.
pub struct KnowledgeTree {
    /// Sorted, unique.
    items: Vec<Item>,
    tree: PartialTree<Rfc6962>,
    root: Hash,
}

impl KnowledgeTree {
    /// The tree over `items`, in whatever order they come and however often: at least one, at most
    /// [`ITEMS_MAX`].
    pub fn new(mut items: Vec<Item>) -> Result<Self, KnowledgeTreeError> {
        items.sort();
        items.dedup();
        let count = u32::try_from(items.len()).ok().filter(|count| *count <= ITEMS_MAX);
        let count = count.ok_or(KnowledgeTreeError::TooMany)?;
        let leaves: Vec<[u8; 32]> = items.iter().map(|item| item.leaf_hash().0).collect();
        let tree = whole_tree(&leaves).ok_or(KnowledgeTreeError::Empty)?;
        let tree_root = tree.root().copied().map(Hash).ok_or(KnowledgeTreeError::Empty)?;
        Ok(Self { root: labelled_root(count, &tree_root), items, tree })
    }

    /// What a decision binds: `L("chancery/knowledge/v1", u32 count ‖ tree root)`.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// How many items there are.
    pub fn count(&self) -> u32 {
        // INVARIANT: `new` saw to it that there are at most 4,096.
        u32::try_from(self.items.len()).unwrap_or(u32::MAX)
    }

    /// In their order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The item at `index`, and where it stands; `None` if there are not that many.
    pub fn placed(&self, index: u32) -> Option<Placed> {
        let item = self.items.get(index as usize)?.clone();
        Some(Placed { item, index, path: audit_path(&self.tree, index) })
    }

    /// The newest item of each of `sources` that is there: what a gate shows with a request.
    ///
    /// # Errors
    /// More than [`SHOWN_ITEMS_MAX`](super::SHOWN_ITEMS_MAX) would be shown.
    pub fn show<'a>(
        &self,
        sources: impl IntoIterator<Item = &'a crate::command::Name>,
    ) -> Result<Knowledge, KnowledgeError> {
        let newest = |source: &crate::command::Name| {
            let of_source = self.items.iter().enumerate().filter(|(_, item)| item.source == *source);
            of_source.max_by_key(|(_, item)| item.retrieved_at_ms).map(|(index, _)| index)
        };
        let mut indices: Vec<usize> = sources.into_iter().filter_map(newest).collect();
        indices.sort_unstable();
        indices.dedup();
        let placed = |index: usize| self.placed(u32::try_from(index).ok()?);
        Knowledge::new(self.root, self.count(), indices.into_iter().filter_map(placed).collect())
    }

    /// Shows that `subject` was there (of a source the newest item), or that it was not.
    pub fn prove(&self, subject: Subject) -> Option<KnowledgeProof> {
        let claim = match self.absence(&subject) {
            Some(absence) => Claim::Absent { subject, absence },
            None => {
                let there = |item: &Item| !subject.precedes(item) && !subject.follows(item);
                let found = self.items.iter().enumerate().filter(|(_, item)| there(item));
                let (index, _) = found.max_by_key(|(_, item)| item.retrieved_at_ms)?;
                Claim::Present(self.placed(u32::try_from(index).ok()?)?)
            }
        };
        Some(KnowledgeProof { root: self.root, count: self.count(), claim })
    }

    /// Where `subject` would stand, if it is not there; `None` if it is.
    pub fn absence(&self, subject: &Subject) -> Option<Absence> {
        // Items are ordered by source first: those before the subject come before all others.
        let at = self.items.partition_point(|item| subject.follows(item));
        if self.items.get(at).is_some_and(|item| !subject.precedes(item)) {
            return None;
        }
        let at = u32::try_from(at).ok()?;
        let before = at.checked_sub(1).and_then(|index| self.placed(index));
        Some(Absence { before, after: self.placed(at) })
    }
}

/// Why items make no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KnowledgeTreeError {
    /// There is no item.
    #[error("knowledge has at least one item")]
    Empty,
    /// There are more than [`ITEMS_MAX`].
    #[error("knowledge has at most {ITEMS_MAX} items")]
    TooMany,
}
