//! Batches: one signature over many commands, so that the cost of signing and of verifying is shared.
//!
//! What is signed is a hash of the number of commands and of the RFC 6962 root over their hashes. Each
//! command carries its place in that tree, so that it can be verified without the others, for ever.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ed25519_dalek::VerifyingKey;

use super::{MalformedCommand, PublicKey};
use crate::hash::Hash;
use crate::log::{audit_path, leaf_hash, root_from_inclusion, whole_tree};
use chancery_proto::v1 as wire;

/// Most commands that one signature covers.
pub const COMMANDS_SIGNED_AT_ONCE_MAX: u32 = 1_024;

/// Most signatures that are remembered.
const VERIFIED_MAX: usize = 65_536;

/// Most keys that are remembered.
const KEYS_MAX: usize = 4_096;

/// Hashes from a leaf to the root of such a tree.
const HASHES_MAX: usize = 10;

/// Where a command stands in its batch.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BatchPath {
    /// Its position.
    pub index: u32,
    /// How many commands the signature covers.
    pub count: u32,
    /// From the leaf's sibling up.
    pub hashes: Vec<Hash>,
}

impl BatchPath {
    /// What the signature must be over, for it to cover the command whose hash is `command_hash`:
    /// `SHA-256("chancery/command-batch/v1" ‖ 00 ‖ count u32be ‖ tree root)`. `None` if the path is not one.
    pub(super) fn batch_hash(&self, command_hash: &Hash) -> Option<Hash> {
        let leaf = leaf_hash(command_hash.as_bytes());
        let root = root_from_inclusion(&leaf, self.index.into(), self.count.into(), &self.hashes).ok()?;
        Some(batch_hash(self.count, &root))
    }

    pub(super) fn to_wire(&self) -> wire::CommandBatch {
        wire::CommandBatch {
            index: self.index,
            count: self.count,
            hashes: self.hashes.iter().map(|hash| hash.0.to_vec()).collect(),
        }
    }

    pub(super) fn from_wire(w: &wire::CommandBatch) -> Result<Self, MalformedCommand> {
        if w.count == 0 || w.count > COMMANDS_SIGNED_AT_ONCE_MAX || w.index >= w.count {
            return Err(MalformedCommand::OutOfBounds("batch"));
        }
        if w.hashes.len() > HASHES_MAX {
            return Err(MalformedCommand::OutOfBounds("batch hashes"));
        }
        let hash = |bytes: &Vec<u8>| Hash::from_slice(bytes).ok_or(MalformedCommand::Length("batch hash"));
        let hashes = w.hashes.iter().map(hash).collect::<Result<_, _>>()?;
        Ok(Self { index: w.index, count: w.count, hashes })
    }
}

/// The batch of commands with these hashes: what is signed, and the path of each. `None` if there are none,
/// or more than [`COMMANDS_SIGNED_AT_ONCE_MAX`].
pub(super) fn batch(command_hashes: &[Hash]) -> Option<(Hash, Vec<BatchPath>)> {
    let count = u32::try_from(command_hashes.len()).ok().filter(|n| *n <= COMMANDS_SIGNED_AT_ONCE_MAX)?;
    let leaves: Vec<[u8; 32]> = command_hashes.iter().map(|hash| leaf_hash(hash.as_bytes()).0).collect();
    let tree = whole_tree(&leaves)?;
    let root = tree.root().copied().map(Hash)?;
    let path = |index: u32| BatchPath { index, count, hashes: audit_path(&tree, index) };
    Some((batch_hash(count, &root), (0..count).map(path).collect()))
}

fn batch_hash(count: u32, root: &Hash) -> Hash {
    Hash::labelled("chancery/command-batch/v1", &[&count.to_be_bytes(), root.as_bytes()])
}

fn signature_id(key: PublicKey, signature: &[u8; 64], message: &[u8]) -> Hash {
    Hash::of(&[&key.0, signature, message])
}

/// Signatures that were found good lately and come again (those over batches come with every command, nodes' statements
/// with every answer of a round), so that each is verified once; and the keys that signed lately, so that each is
/// decoded once: that is a tenth of a verification. What it has forgotten is only done again.
#[derive(Default, Debug)]
pub struct VerifiedSignatures {
    /// Whether those over one command are remembered too.
    singles: bool,
    good: Mutex<HashSet<Hash>>,
    keys: Mutex<HashMap<PublicKey, VerifyingKey>>,
}

impl VerifiedSignatures {
    /// Remembers signatures over single commands too: for who meets a command several times.
    pub fn with_singles() -> Self {
        Self { singles: true, ..Self::default() }
    }

    pub(super) const fn has_singles(&self) -> bool {
        self.singles
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known().is_empty()
    }

    /// Whether this signature over this message was found good; if not, whether `verify` finds so now.
    pub(crate) fn verified(
        &self,
        key: PublicKey,
        signature: &[u8; 64],
        message: &[u8],
        verify: impl FnOnce() -> bool,
    ) -> bool {
        if self.known().contains(&signature_id(key, signature, message)) {
            return true;
        }
        // Outside the lock: others verify meanwhile.
        let good = verify();
        if good {
            self.made(key, signature, message);
        }
        good
    }

    /// Remembers a signature that is good: it was verified, or made, here.
    pub(super) fn made(&self, key: PublicKey, signature: &[u8; 64], message: &[u8]) {
        let mut known = self.known();
        if known.len() >= VERIFIED_MAX {
            known.clear();
        }
        known.insert(signature_id(key, signature, message));
    }

    /// The key, decoded; `None` if it is no point.
    pub(crate) fn key(&self, key: &PublicKey) -> Option<VerifyingKey> {
        let lock = || self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(key) {
            return Some(*known);
        }
        let decoded = VerifyingKey::from_bytes(&key.0).ok()?;
        let mut keys = lock();
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(*key, decoded);
        Some(decoded)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Hash>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
