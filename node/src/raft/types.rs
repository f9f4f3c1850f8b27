//! The types that Raft is instantiated with.
//!
//! A log entry carries a block, a membership, both, or neither:
//!
//! | block | membership | what it is |
//! |---|---|---|
//! | – | – | blank: a new leader's first entry |
//! | yes | – | a block of commands |
//! | – | yes | a change of learners only, or the membership that `initialize` writes |
//! | yes | yes | a *roster block*: a change of voters, and the block that says so to verifiers |
//!
//! Raft's own payload type is an enum that cannot carry both, and so cannot make the roster and Raft's
//! membership one decision. This version of `openraft` lets the application choose the payload type:
//! `change_membership_with_payload` takes one payload for the joint entry and one for the uniform
//! entry, computes each membership inside the Raft core, and puts it in with
//! [`RaftPayload::with_membership`], which may keep the other fields. [`Payload::with_membership`]
//! keeps the block; `change_membership` and `add_learner` start from [`Payload::blank`], so what they
//! write has no block, and the log store refuses it if it changes voters.
//!
//! The uniform payload is given before the joint entry is appended, so its block must name the joint
//! block as its predecessor: no other block may be proposed between the two.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::entry::RaftPayload;
use openraft::impls::leader_id_std;
use openraft::vote::RaftLeaderId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

openraft::declare_raft_types!(
    /// Raft's type configuration. Leader ids are the standard ones (at most one leader a term), so a
    /// log id is (term, index) and `with_leader` takes a term.
    pub TypeConfig:
        D = EncodedBlock,
        R = Applied,
        NodeId = NodeId,
        Node = RaftNode,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        Payload = Payload,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

/// A node's id. Never given twice: a wiped or restored node takes a new one.
pub type NodeId = u64;
/// Who leads, or asks to: (term, node).
pub type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
/// A leader that a quorum elected: its term.
pub type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
/// A vote as it is persisted.
pub type Vote = openraft::impls::Vote<LeaderId>;
/// The identity of a log entry: (term, index).
pub type LogId = openraft::LogId<CommittedLeaderId>;
/// A log entry.
pub type Entry = openraft::Entry<CommittedLeaderId, Payload>;
/// Voters (one set, or two while joint) and the nodes.
pub type Membership = openraft::Membership<NodeId, RaftNode>;
/// A membership and the log id that it was appended at.
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId, NodeId, RaftNode>;
/// What Raft knows of a snapshot.
pub type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, NodeId, RaftNode>;
/// A snapshot as Raft hands it around: the metadata and a [`SnapshotFolder`].
pub type Snapshot = openraft::Snapshot<CommittedLeaderId, NodeId, RaftNode, SnapshotFolder>;

/// The log id of the entry that the leader of `term` appended at `index`.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::from(term), index)
}

/// What an entry carries; see the table at the top of this module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    block: Option<EncodedBlock>,
    membership: Option<Membership>,
}

impl Payload {
    /// A payload with the given parts.
    pub const fn new(block: Option<EncodedBlock>, membership: Option<Membership>) -> Self {
        Self { block, membership }
    }

    /// The block, if this entry is one.
    pub const fn block(&self) -> Option<&EncodedBlock> {
        self.block.as_ref()
    }

    /// The membership, if this entry sets one.
    pub const fn membership(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }
}

impl RaftPayload for Payload {
    type D = EncodedBlock;
    type NodeId = NodeId;
    type Node = RaftNode;

    fn blank() -> Self {
        Self::default()
    }

    fn with_normal(self, block: EncodedBlock) -> Self {
        Self { block: Some(block), ..self }
    }

    fn with_membership(self, membership: Membership) -> Self {
        Self { membership: Some(membership), ..self }
    }

    fn get_membership(&self) -> Option<Membership> {
        self.membership.clone()
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.block, &self.membership) {
            (None, None) => f.write_str("blank"),
            (Some(block), None) => write!(f, "{block}"),
            (None, Some(membership)) => write!(f, "membership {membership}"),
            (Some(block), Some(membership)) => write!(f, "roster {block}, membership {membership}"),
        }
    }
}

/// The bytes of a block, shared: the cache, the replication streams and the state machine hold the
/// same allocation. Opaque here; a [`BlockFormat`](crate::store::BlockFormat) reads its header.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedBlock(Arc<[u8]>);

impl EncodedBlock {
    /// The encoded block.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Arc<[u8]>>> From<T> for EncodedBlock {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for EncodedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for EncodedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block of {} bytes", self.0.len())
    }
}

impl Serialize for EncodedBlock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for EncodedBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(Self::from)
    }
}

/// What applying an entry answers to the proposer: the number of the last block at or before it. The
/// outcomes of the block's commands are read from the applied state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// The number of block entries up to and including this entry.
    pub block: u64,
}

/// Where a node is reached by its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaftNode {
    /// `host:port` of the peer listener.
    pub address: String,
    /// The name that people and signed notes know the node by.
    pub name: String,
}

/// A snapshot on this node's disk, complete: built here, or received, verified, synced, renamed and
/// registered with the log store *before* it was handed to Raft. Raft only passes it on, so it is a
/// path: the bytes are streamed from and to files and never held in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFolder {
    path: PathBuf,
}

impl SnapshotFolder {
    /// The snapshot in the folder at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_membership_keeps_the_block_it_is_put_beside() {
        let membership = Membership::new_with_defaults(vec![BTreeSet::from([1, 2, 3])], []);
        let block = EncodedBlock::from(vec![1, 2]);
        let payload = Payload::normal(block.clone()).with_membership(membership.clone());
        assert_eq!(payload, Payload::new(Some(block), Some(membership)));
        assert_eq!(Payload::blank().block(), None);
    }

    #[test]
    fn payload_survives_serde() {
        let membership = Membership::new_with_defaults(vec![BTreeSet::from([1])], [2]);
        let payload = Payload::new(Some(vec![0, 255].into()), Some(membership));
        let json = serde_json::to_string(&payload).unwrap();
        assert_eq!(serde_json::from_str::<Payload>(&json).unwrap(), payload);
    }
}
