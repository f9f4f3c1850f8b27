//! The log: an RFC 6962 Merkle tree with SHA-256, stored as c2sp.org/tlog-tiles.
//!
//! * [`Frontier`] is the tree's right edge: what an append and a root need, in O(log n).
//! * [`tiles`] says which hashes an append adds to which tile; what keeps tiles is a [`TileRead`].
//! * [`prove_inclusion`], [`prove_consistency`] and [`root_at`] read tiles; [`verify_inclusion`] and
//!   [`verify_consistency`] need nothing but the proof, and accept exactly one proof per statement.
//! * [`nonces`] is the tree over the nonces of one freshness round.
//!
//! Everything here works on hashes. An entry's bytes matter only to [`leaf_hash`] and to bundles of
//! entries ([`encode_entry_bundle`]).

mod entry_bundle;
mod frontier;
pub mod nonces;
mod prove;
mod rfc6962;
mod tile_path;
pub mod tiles;
mod verify;

#[cfg(test)]
mod tests;

pub use entry_bundle::{BundleError, ENTRY_BYTES_MAX, decode_entry_bundle, encode_entry_bundle};
pub use frontier::{Frontier, FrontierError};
pub use prove::{
    ProveError, SubtreeRoots, frontier_at, prove_consistency, prove_inclusion, prove_inclusion_with, root_at,
};
pub use rfc6962::{EMPTY_ROOT, Rfc6962, leaf_hash, node_hash};
pub(crate) use rfc6962::{audit_path, whole_tree};
pub use tile_path::TilePath;
pub(crate) use tile_path::parse_decimal;
pub use tiles::{MemoryTiles, TILE_WIDTH, TileIndex, TileRead, TileRow};
pub use verify::{VerifyError, root_from_inclusion, verify_consistency, verify_inclusion};

/// The greatest size of a log: 2^63 - 1, because widely used C2SP tools read sizes as signed.
pub const SIZE_MAX: u64 = u64::MAX >> 1;
