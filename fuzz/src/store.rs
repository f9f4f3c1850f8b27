//! Of the node's stores: the manifest of a snapshot, and a stand-in for what it refers to and no decoder does.

#![allow(dead_code, reason = "the node uses the rest")]

use std::collections::BTreeSet;

use chancery_ledger::hash::Hash;
use chancery_ledger::head::RosterId;

use crate::raft::types::NodeId;

#[path = "../../node/src/store/snapshot/manifest.rs"]
mod manifest;

pub mod snapshot {
    pub use super::manifest::Manifest;
}

pub struct Position {
    pub block: u64,
    pub block_hash: Hash,
    pub roster: RosterId,
    pub voters: Hash,
}

pub fn voters_digest(_: &[BTreeSet<NodeId>]) -> Hash {
    Hash::ZERO
}
