//! Who votes, with which keys, and how many make a quorum.

use std::collections::BTreeSet;

use ed25519_dalek::VerifyingKey;
use prost::Message;

use crate::checkpoint::{KeyError, KeyName, SignatureType, VerifierKey};
use crate::command::{Name, PublicKey, roster_to_wire};
use crate::hash::Hash;

/// Most voters in one set.
pub const VOTERS_MAX: usize = 31;

/// One voting node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voter {
    /// Its Raft node id: not 0, and never used again after removal.
    pub node: u64,
    /// Its name in the roster, and the end of its key's name in signed notes, see [`Voter::cosigner_name`].
    pub name: Name,
    /// The key that signs its statements and cosignatures.
    pub key: PublicKey,
}

impl Voter {
    /// The name of its key for cosignatures of the log of `origin`: `<origin>/<name>`. Nodes of two ledgers may be
    /// called the same, and a key's name should be nobody else's.
    ///
    /// # Errors
    /// The two together are no key name: they are too long.
    pub fn cosigner_name(&self, origin: &str) -> Result<KeyName, KeyError> {
        KeyName::new(&format!("{origin}/{}", self.name))
    }

    /// Its key for cosignatures of the log of `origin`.
    ///
    /// # Errors
    /// It can have none: see [`Voter::cosigner_name`], or its key is none of Ed25519.
    pub fn cosigner_key(&self, origin: &str) -> Result<VerifierKey, KeyError> {
        let key = VerifyingKey::from_bytes(&self.key.0).map_err(|_| KeyError::PublicKey)?;
        VerifierKey::new(self.cosigner_name(origin)?, SignatureType::Cosignature, key)
    }
}

/// Voters, and how many of them make a quorum: always more than half.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoterSet {
    voters: Vec<Voter>,
    quorum: u32,
}

impl VoterSet {
    /// A set of at most [`VOTERS_MAX`] voters sorted by node, with distinct nodes, names and keys, named as keys in signed notes can
    /// be; `None` if they are not, or if `quorum` is not a majority of them.
    pub fn new(voters: Vec<Voter>, quorum: u32) -> Option<Self> {
        if voters.len() > VOTERS_MAX {
            return None;
        }
        let count = u32::try_from(voters.len()).ok()?;
        let keys: BTreeSet<_> = voters.iter().map(|v| v.key).collect();
        let names: BTreeSet<_> = voters.iter().map(|v| &v.name).collect();
        let distinct = keys.len() == voters.len() && names.len() == voters.len();
        if !voters.iter().all(|v| KeyName::new(v.name.as_str()).is_ok()) {
            return None;
        }
        let sorted = voters.is_sorted_by(|a, b| a.node < b.node) && voters.first()?.node > 0;
        // More than half, so that any two quorums, and any quorum and any Raft majority, share a voter.
        (distinct && sorted && quorum <= count && quorum > count / 2).then_some(Self { voters, quorum })
    }

    /// The set in which a majority is a quorum.
    pub fn majority(voters: Vec<Voter>) -> Option<Self> {
        let quorum = u32::try_from(voters.len()).ok()? / 2 + 1;
        Self::new(voters, quorum)
    }

    /// Sorted by node.
    pub fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// Signatures that make a quorum.
    pub const fn quorum(&self) -> u32 {
        self.quorum
    }

    fn has_quorum(&self, nodes: &BTreeSet<u64>) -> bool {
        self.voters.iter().filter(|v| nodes.contains(&v.node)).count() >= self.quorum as usize
    }
}

/// The voters in force: one set, or two while a membership change is joint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roster {
    sets: Vec<VoterSet>,
}

impl Roster {
    /// A roster of one or two sets; `None` otherwise, or if two sets disagree on a node's name or key.
    pub fn new(sets: Vec<VoterSet>) -> Option<Self> {
        if sets.is_empty() || sets.len() > 2 {
            return None;
        }
        let roster = Self { sets };
        let voters = || roster.sets.iter().flat_map(VoterSet::voters);
        // One node, one key; one key, one node: a signature must count once.
        let agree = voters().all(|a| {
            voters()
                .all(|b| (a.node == b.node) == (a.key == b.key) && (a.node == b.node) == (a.name == b.name))
        });
        agree.then_some(roster)
    }

    /// The sets.
    pub fn sets(&self) -> &[VoterSet] {
        &self.sets
    }

    /// Whether a change of the voters is under way.
    pub fn is_joint(&self) -> bool {
        self.sets.len() == 2
    }

    /// The joint roster with which a change from this one to `next` begins; `None` if one is under way
    /// already, if the voters are the same, or if the two disagree on a node's name or key.
    pub fn joint_with(&self, next: &VoterSet) -> Option<Self> {
        let [now] = self.sets.as_slice() else { return None };
        if now.voters == next.voters {
            return None;
        }
        Self::new(vec![now.clone(), next.clone()])
    }

    /// The uniform roster with which the change that is under way ends; `None` if none is.
    pub fn completed(&self) -> Option<Self> {
        let [_, next] = self.sets.as_slice() else { return None };
        Some(Self { sets: vec![next.clone()] })
    }

    /// The voter with this node id, in either set.
    pub fn voter(&self, node: u64) -> Option<&Voter> {
        self.sets.iter().flat_map(VoterSet::voters).find(|v| v.node == node)
    }

    /// All voters, each once.
    pub fn voters(&self) -> impl Iterator<Item = &Voter> {
        let mut seen = BTreeSet::new();
        self.sets.iter().flat_map(VoterSet::voters).filter(move |v| seen.insert(v.node))
    }

    /// Whether `nodes` hold a quorum of every set: while a change is joint, of both.
    pub fn has_quorum(&self, nodes: &BTreeSet<u64>) -> bool {
        self.sets.iter().all(|set| set.has_quorum(nodes))
    }

    /// `SHA-256("chancery/roster/v1" ‖ 00 ‖ encoded Roster)`: commits to voter sets, keys and quorum rule.
    pub fn digest(&self) -> Hash {
        Hash::labelled("chancery/roster/v1", &[&roster_to_wire(self).encode_to_vec()])
    }

    /// The id of this roster when `block` brought it into force.
    pub fn id(&self, block: u64) -> RosterId {
        RosterId { block, digest: self.digest() }
    }
}

/// Names a roster: the block that brought it into force, and its digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RosterId {
    /// The roster block.
    pub block: u64,
    /// [`Roster::digest`].
    pub digest: Hash,
}

impl std::fmt::Display for RosterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.digest, self.block)
    }
}
