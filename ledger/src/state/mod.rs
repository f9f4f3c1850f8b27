//! The state tree: a Merkle crit-bit tree (path-compressed binary radix tree) over 32-byte keys.
//!
//! An inner node stands at the first bit in which the keys beneath it differ: those with a 0 there are
//! on its left, those with a 1 on its right. So the tree's shape, and with it the root hash, depends only
//! on the keys and values in it, never on the order in which they came. Looking a key up always ends at
//! one leaf; if that leaf bears another key, the key is absent.
//!
//! | | hash |
//! |---|---|
//! | leaf | `SHA-256(10 ‖ key ‖ SHA-256(value))` |
//! | inner node | `SHA-256(11 ‖ bit index, 2 bytes big-endian ‖ left ‖ right)` |
//! | empty tree | `SHA-256(12)` |
//!
//! Bit 0 is the highest bit of byte 0, bit 255 the lowest of byte 31. A value has at most
//! [`VALUE_SIZE_BYTES_MAX`] bytes.
//!
//! Nodes are immutable and addressed by number. [`update`] writes copies under new numbers and says which
//! old ones the new version no longer uses, so an older version stays readable for as long as its nodes
//! are kept. Where nodes live is the business of whoever implements [`NodeRead`].
//!
//! - [`get`], [`update`]: read and change one version of the tree.
//! - [`Recording`], [`prune`]: read, then cut out a [`PrunedTree`] that proves just these reads.
//! - [`PrunedView`]: the same reads over the pruned tree, by someone who trusts only the root hash.
//! - [`Sent`], [`Kept`]: the same for a reader with many questions, who is sent each node once.
//! - [`Version`]: one version to be read and changed, however it is kept: as [`Numbered`] nodes, or [`Hashed`], as
//!   hashes in bounded memory over values that stand by key.
//! - [`Walk`], [`leaves`], [`verify_whole`]: every node of a version, checked.
//!
//! A node whose place is structurally impossible is an error wherever it is met. That a node has the hash
//! its parent says is checked by [`Walk`] (and what is built on it) and by whoever compares
//! [`PrunedTree::root_hash`] with a root; the other readers trust their own disk.

mod hash_tree;
mod kept;
mod key;
mod memory;
mod node;
mod prune;
mod pruned;
mod tree;
mod update;
mod version;
mod view;
mod walk;
mod ways;

pub use hash_tree::{HashTree, HashTreeError, Hashed, LeafKeep, LeafRead, NextHashes};
pub use kept::{KEPT_SIZE_BYTES_MAX, Kept, KeptError, Missing, Sent, decode_keys, encode_keys};
pub use key::Key;
pub use memory::{MemoryLeaves, MemoryNodes, MissingNode};
pub use node::{Child, Node, NodeDecodeError, NodeId, NodeIdHasher, VALUE_SIZE_BYTES_MAX, Value};
pub use prune::{Recording, prune};
pub use pruned::{PrunedDecodeError, PrunedTree};
pub use tree::{Defect, NodeRead, Root, TreeError, get};
pub use update::{Update, update};
pub use version::{Changes, Numbered, Version};
pub use view::{PrunedReadError, PrunedView, UnusedError};
pub use walk::{Walk, leaves, verify_whole};
