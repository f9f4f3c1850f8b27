//! Which checkpoints a verifier believes: those that a quorum of the nodes cosigned, and, if the trust file demands
//! it, as many of its witnesses.
//!
//! Witnesses are others' servers (c2sp.org/tlog-witness) that cosign only what extends all that they cosigned before.
//! What a quorum of the nodes alone could do, to show two people two logs, it cannot do without them.

use std::collections::BTreeSet;

use super::Trust;
use crate::checkpoint::{
    Cosignature, KeyError, KeyName, SignatureError, SignatureType, SignedCheckpoint, VerifierKey,
};
use crate::head::HeadVoters;

/// Most witnesses that a trust file, or a node, knows.
pub const WITNESSES_MAX: usize = 16;

/// External witnesses, and how many of them must have cosigned a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witnesses {
    keys: Vec<VerifierKey>,
    quorum: u32,
}

/// Why keys are no witnesses'.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WitnessesError {
    /// None, or more than [`WITNESSES_MAX`].
    #[error("there are 1 to {WITNESSES_MAX} witnesses")]
    Count,
    /// Not from 1 to the number of witnesses.
    #[error("the quorum of witnesses is 1 to their number")]
    Quorum,
    /// A key that is not for cosignatures.
    #[error("a witness' key is not of the type for cosignatures, 04")]
    KeyType,
    /// Two with one public key, so that one signer would count twice.
    #[error("two witnesses share a public key")]
    SharedKey,
}

impl Witnesses {
    /// The rule that `quorum` of the holders of `keys` must have cosigned.
    ///
    /// # Errors
    /// Each way in which these make no rule has its own.
    pub fn new(keys: Vec<VerifierKey>, quorum: u32) -> Result<Self, WitnessesError> {
        if keys.is_empty() || keys.len() > WITNESSES_MAX {
            return Err(WitnessesError::Count);
        }
        if quorum == 0 || quorum as usize > keys.len() {
            return Err(WitnessesError::Quorum);
        }
        if keys.iter().any(|key| key.signature_type() != SignatureType::Cosignature) {
            return Err(WitnessesError::KeyType);
        }
        let distinct: BTreeSet<_> = keys.iter().map(|key| key.public_key().as_bytes()).collect();
        if distinct.len() != keys.len() {
            return Err(WitnessesError::SharedKey);
        }
        Ok(Self { keys, quorum })
    }

    /// Their keys, in the order that they were given in.
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// How many of them must have cosigned.
    pub const fn quorum(&self) -> u32 {
        self.quorum
    }
}

/// Who cosigned a checkpoint that is trusted: everybody known who did, not only as many as needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosigned {
    /// Nodes, in the order of their voters.
    pub nodes: Vec<NodeCosignature>,
    /// Witnesses, in the order of the trust file.
    pub witnesses: Vec<WitnessCosignature>,
    /// The first second in which enough of them had cosigned, each by its own clock.
    pub enough_by_s: u64,
}

/// A node's verified cosignature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeCosignature {
    /// The node.
    pub node: u64,
    /// When it was made, by the node's clock, in seconds since 1970.
    pub time_s: u64,
}

/// A witness' verified cosignature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessCosignature {
    /// The witness.
    pub key: VerifierKey,
    /// When it was made, by the witness' clock, in seconds since 1970.
    pub time_s: u64,
}

/// Why a checkpoint is not trusted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CosignedError {
    /// Of another log.
    #[error("the checkpoint is of {found}, not of the trusted {expected}")]
    OtherOrigin {
        /// What it says.
        found: KeyName,
        /// The trusted one.
        expected: String,
    },
    /// A voter that can have no key for cosignatures.
    #[error("node {node} has no key for cosignatures: {source}")]
    Voter {
        /// The voter.
        node: u64,
        /// Why not.
        source: KeyError,
    },
    /// A cosignature by a known key that does not verify, or known keys that are not distinct.
    #[error("the checkpoint's cosignatures: {0}")]
    Signatures(#[from] SignatureError),
    /// The nodes that cosigned are no quorum.
    #[error("{found} nodes cosigned the checkpoint, which are no quorum of the roster")]
    TooFewNodes {
        /// How many there are.
        found: usize,
    },
    /// Fewer witnesses than the trust file demands.
    #[error("{found} of the {demanded} witnesses that the trust file demands cosigned the checkpoint")]
    TooFewWitnesses {
        /// How many there are.
        found: usize,
        /// How many there should be.
        demanded: u32,
    },
}

impl Trust {
    /// The same, demanding cosignatures of `witnesses` too.
    pub fn with_witnesses(self, witnesses: Witnesses) -> Self {
        Self { witnesses: Some(witnesses), ..self }
    }

    /// Demands that enough have cosigned a checkpoint at whose end `voters` vote: a quorum of these, under the names
    /// that nodes cosign by, and as many of the witnesses as this trust demands.
    ///
    /// A checkpoint does not say its block. Whoever asks knows it from its last leaf, see [`Trust::cosigners_after`].
    /// Signatures by keys that are not known count for nothing, the log's own included, and are not looked at.
    ///
    /// # Errors
    /// Each way in which it can fail has its own. One bad cosignature by a known key is enough.
    pub fn verify_checkpoint(
        &self,
        signed: &SignedCheckpoint,
        voters: &HeadVoters<'_>,
    ) -> Result<Cosigned, CosignedError> {
        let found = signed.checkpoint().origin();
        if found.as_str() != self.origin {
            return Err(CosignedError::OtherOrigin { found: found.clone(), expected: self.origin.clone() });
        }
        let ids: Vec<u64> = voters.voters().map(|voter| voter.node).collect();
        let mut keys = Vec::new();
        for voter in voters.voters() {
            let key = voter.cosigner_key(&self.origin);
            keys.push(key.map_err(|source| CosignedError::Voter { node: voter.node, source })?);
        }
        keys.extend(self.witnesses.iter().flat_map(Witnesses::keys).cloned());
        let (mut nodes, mut witnesses) = (Vec::new(), Vec::new());
        for Cosignature { cosigner, time_s } in signed.verify_cosignatures(&keys)? {
            if let Some(&node) = ids.get(cosigner) {
                nodes.push(NodeCosignature { node, time_s });
            } else if let Some(key) = keys.get(cosigner) {
                witnesses.push(WitnessCosignature { key: key.clone(), time_s });
            }
        }
        let demanded = self.witnesses.as_ref().map_or(0, Witnesses::quorum);
        let nodes_suffice = |by_s: u64| {
            voters.has_quorum(&nodes.iter().filter(|by| by.time_s <= by_s).map(|by| by.node).collect())
        };
        let witnesses_suffice =
            |by_s: u64| witnesses.iter().filter(|by| by.time_s <= by_s).count() >= demanded as usize;
        if !nodes_suffice(u64::MAX) {
            return Err(CosignedError::TooFewNodes { found: nodes.len() });
        }
        if !witnesses_suffice(u64::MAX) {
            return Err(CosignedError::TooFewWitnesses { found: witnesses.len(), demanded });
        }
        let times = nodes.iter().map(|by| by.time_s).chain(witnesses.iter().map(|by| by.time_s));
        let enough = times.filter(|&by_s| nodes_suffice(by_s) && witnesses_suffice(by_s)).min();
        // INVARIANT: a quorum is not empty, and the last time suffices.
        let enough_by_s = enough.unwrap_or(u64::MAX);
        Ok(Cosigned { nodes, witnesses, enough_by_s })
    }
}
