//! How a node's cosignatures are named: under the origin, because two logs may have nodes of one name.

use ed25519_dalek::VerifyingKey;

use super::{KeyError, KeyName, SignatureType, SignedCheckpoint, VerifierKey};
use crate::head::Voter;

/// The key with which `voter` cosigns the checkpoints of `origin`: its key as a voter, named `<origin>/<node>`.
///
/// # Errors
/// The name cannot stand in a note, or the key is none.
pub fn cosigner_key(origin: &str, voter: &Voter) -> Result<VerifierKey, KeyError> {
    let name = KeyName::new(&format!("{origin}/{}", voter.name))?;
    let key = VerifyingKey::from_bytes(&voter.key.0).map_err(|_| KeyError::PublicKey)?;
    VerifierKey::new(name, SignatureType::Cosignature, key)
}

/// When `voter` cosigned, in seconds since the Unix epoch; `None` if it did not, or if what is there in its name does
/// not verify.
pub fn cosigned_at(signed: &SignedCheckpoint, voter: &Voter) -> Option<u64> {
    let key = cosigner_key(signed.checkpoint().origin().as_str(), voter).ok()?;
    let cosignatures = signed.verify_cosignatures(std::slice::from_ref(&key)).ok()?;
    cosignatures.first().map(|cosignature| cosignature.time_s)
}
