//! The keys at which records stand.
//!
//! `key = H(anchor)[..8] ‖ H(kind ‖ 00 ‖ anchor ‖ id)[..24]`, but for two bits in front of each half. What shares an
//! anchor sits together in the tree, so that one check reads one neighbourhood. The first two bits say what the anchor
//! is, so that the way to what there is little of is not as long as if there were as much of it as of grants. Those of
//! the second half say which decisions show the record, so that whatever a permit does not show is one or two hashes
//! beside its way, however much there is of it. Each value repeats kind, anchor and id, and a
//! value whose repetition does not fit its key is refused, so that no collision can pass for a record.

use super::GrantRef;
use crate::authority::meters::MeterId;
use crate::command::{GenerationId, GrantId, Name, PublicKey};
use crate::hash::Hash;
use crate::state::Key;

/// Where a record stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub(super) kind: &'static str,
    pub(super) anchor: Vec<u8>,
    pub(super) id: Vec<u8>,
}

impl Place {
    /// The ledger's own record.
    pub fn ledger() -> Self {
        Self { kind: "ledger", anchor: Vec::new(), id: Vec::new() }
    }

    /// A principal's record.
    pub fn principal(key: PublicKey) -> Self {
        Self { kind: "principal", anchor: key.0.to_vec(), id: Vec::new() }
    }

    /// An agent's record.
    pub fn agent(agent: &Name) -> Self {
        Self { kind: "agent", anchor: agent.as_str().into(), id: Vec::new() }
    }

    /// A page of the list of an agent's grants in one epoch.
    pub fn page(agent: &Name, epoch: u64, page: u32) -> Self {
        let id = [epoch.to_be_bytes().as_slice(), &page.to_be_bytes()].concat();
        Self { kind: "page", anchor: agent.as_str().into(), id }
    }

    /// A grant, kept under the root of its delegation tree.
    pub fn grant(grant: GrantRef) -> Self {
        Self { kind: "grant", anchor: grant.root.0.0.to_vec(), id: grant.grant.0.0.to_vec() }
    }

    /// Where to find the root of a grant's tree.
    pub fn locator(grant: GrantId) -> Self {
        Self { kind: "locator", anchor: grant.0.0.to_vec(), id: grant.0.0.to_vec() }
    }

    /// The revocation of a grant that has not been seen.
    pub fn tombstone(grant: GrantId) -> Self {
        Self { kind: "tombstone", anchor: grant.0.0.to_vec(), id: grant.0.0.to_vec() }
    }

    /// A recorded decision of an agent: those with this number modulo `open_decisions_per_agent_max` take turns.
    pub fn decision(agent: &Name, slot: u64) -> Self {
        Self { kind: "decision", anchor: agent.as_str().into(), id: slot.to_be_bytes().to_vec() }
    }

    /// The deduplication entries whose `not_after_ms` lies in one span.
    pub fn dedup_bucket(bucket: u64) -> Self {
        Self { kind: "dedup", anchor: b"dedup".to_vec(), id: bucket.to_be_bytes().to_vec() }
    }

    /// What was spent of a bound.
    pub fn meter(meter: &MeterId) -> Self {
        Self { kind: "meter", anchor: meter.anchor.clone(), id: meter.id.clone() }
    }

    /// What used a node id.
    pub fn voter_node(node: u64) -> Self {
        Self { kind: "voter", anchor: b"voter".to_vec(), id: node.to_be_bytes().to_vec() }
    }

    /// What used a node's name.
    pub fn voter_name(name: &Name) -> Self {
        Self { kind: "voter_name", anchor: b"voter".to_vec(), id: name.as_str().into() }
    }

    /// What used a node's key.
    pub fn voter_key(key: PublicKey) -> Self {
        Self { kind: "voter_key", anchor: b"voter".to_vec(), id: key.0.to_vec() }
    }

    /// The halts in force.
    pub fn halts() -> Self {
        Self { kind: "halts", anchor: b"halts".to_vec(), id: Vec::new() }
    }

    /// A halt: the index of its leaf.
    pub fn halt(index: u64) -> Self {
        Self { kind: "halt", anchor: b"halts".to_vec(), id: index.to_be_bytes().to_vec() }
    }

    /// A lineage.
    pub fn lineage(lineage: &Name) -> Self {
        Self { kind: "lineage", anchor: lineage.as_str().into(), id: Vec::new() }
    }

    /// A generation, kept with its lineage.
    pub fn generation(lineage: &Name, id: GenerationId) -> Self {
        Self { kind: "generation", anchor: lineage.as_str().into(), id: id.0.0.to_vec() }
    }

    /// What kind of record stands here.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The key in the state tree.
    pub fn key(&self) -> Key {
        let near = Hash::of(&[&self.anchor]);
        let own = Hash::of(&[self.kind.as_bytes(), &[0], &self.anchor, &self.id]);
        let mut key = own.0;
        key.rotate_right(8);
        // INVARIANT: both iterators have the same length, 8.
        for (to, from) in key.iter_mut().zip(near.0).take(8) {
            *to = from;
        }
        for (at, bits) in [(0, self.anchored_at() as u8), (8, self.shown_by() as u8)] {
            // INVARIANT: a key has 32 bytes.
            if let Some(byte) = key.get_mut(at) {
                *byte = (*byte & 0x3f) | bits;
            }
        }
        Key(key)
    }

    fn anchored_at(&self) -> AnchoredAt {
        match self.kind {
            "ledger" | "halts" | "halt" | "voter" | "voter_name" | "voter_key" | "dedup" => {
                AnchoredAt::Ledger
            }
            "agent" | "page" | "decision" | "lineage" | "generation" => AnchoredAt::Agent,
            "grant" | "locator" | "tombstone" => AnchoredAt::Grant,
            // A meter's id says who shares it.
            "meter" => match self.id.get(1) {
                Some(1) => AnchoredAt::Grant,
                Some(2) => AnchoredAt::Agent,
                _ => AnchoredAt::Key,
            },
            _ => AnchoredAt::Key,
        }
    }

    fn shown_by(&self) -> ShownBy {
        match self.kind {
            "page" | "generation" | "halt" => ShownBy::Denials,
            "decision" | "locator" | "tombstone" => ShownBy::Nothing,
            _ => ShownBy::Permits,
        }
    }
}

/// What a record's anchor is, as the two highest bits of its key.
#[derive(Clone, Copy)]
#[repr(u8)]
enum AnchoredAt {
    /// One of a few, whatever there is of the others.
    Ledger = 0,
    /// A principal's key, or a key that bounds share.
    Key = 0x40,
    /// An agent or a lineage.
    Agent = 0x80,
    /// A grant.
    Grant = 0xc0,
}

/// Which decisions show a record, as the two highest bits after its anchor's.
#[derive(Clone, Copy)]
#[repr(u8)]
enum ShownBy {
    /// Permits, and denials too.
    Permits = 0,
    /// Denials only.
    Denials = 0x40,
    /// None: only `apply` reads it.
    Nothing = 0x80,
}
