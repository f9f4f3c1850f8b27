//! What an agent had in front of it when it asked: a set of items, each a source, a digest of what was had
//! from it, and when.
//!
//! A decision binds the set's *root* alone. Whoever holds the items can show later that one was among them, or
//! that none of a source was, without disclosing the others: a [`KnowledgeTree`] is the RFC 6962 tree over
//! the items in their order, and an absence is two items next to each other with nothing between.
//!
//! What it attests is what the gate recorded: not that it was true, nor that it was all, nor that the agent
//! took any notice of it.

mod absence;
mod file;
mod shown;
mod tree;
mod wire;

pub use absence::{Absence, AbsenceError, Subject};
pub use file::{
    Claim, KNOWLEDGE_PROOF_FORMAT, KNOWLEDGE_PROOF_SIZE_BYTES_MAX, KnowledgeFileError, KnowledgeProof,
    KnowledgeProofError,
};
pub use shown::{Knowledge, KnowledgeError, Placed, SHOWN_ITEMS_MAX};
pub use tree::{ITEMS_MAX, KnowledgeTree, KnowledgeTreeError};
pub(crate) use wire::{knowledge_from_wire, knowledge_to_wire};

use crate::command::Name;
use crate::hash::Hash;
use crate::log::leaf_hash;

/// One thing that was in front of the agent. Items are ordered by source, then digest, then time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Item {
    /// What it was had from, such as `reservation/EHGLP3`.
    pub source: Name,
    /// SHA-256 of what was had.
    pub digest: Hash,
    /// The ledger's time by which it was had, in milliseconds since 1970: a time that the gate had verified
    /// by then, so that it is never ahead of the ledger.
    pub retrieved_at_ms: u64,
}

impl Item {
    /// `H(00 ‖ u16 length of source ‖ source ‖ digest ‖ u64 retrieved at)`.
    fn leaf_hash(&self) -> Hash {
        let source = self.source.as_str().as_bytes();
        // INVARIANT: a name has at most 256 bytes, so its length fits two.
        let [.., high, low] = source.len().to_be_bytes();
        let time = self.retrieved_at_ms.to_be_bytes();
        leaf_hash(&[&[high, low], source, self.digest.as_bytes(), &time].concat())
    }
}

/// `L("chancery/knowledge/v1", u32 count ‖ tree root)`.
fn labelled_root(count: u32, tree_root: &Hash) -> Hash {
    Hash::labelled("chancery/knowledge/v1", &[&count.to_be_bytes(), tree_root.as_bytes()])
}
