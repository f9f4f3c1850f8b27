//! The quorum as a policy file for other tools (c2sp.org/tlog-policy).

use std::fmt::Write;

use thiserror::Error;

use super::{SignatureType, VerifierKey};

/// The policy that a checkpoint is valid if `log` signed it and `threshold` of `witnesses` cosigned it.
///
/// Each witness is called by its key's name. A roster in transition, where two overlapping groups must each
/// reach their threshold, has no such file: the specification lists each name in one group at most.
pub fn tlog_policy(
    log: &VerifierKey,
    witnesses: &[VerifierKey],
    threshold: usize,
) -> Result<String, PolicyError> {
    if log.signature_type() != SignatureType::Ed25519 {
        return Err(PolicyError::KeyType);
    }
    if threshold == 0 || threshold > witnesses.len() {
        return Err(PolicyError::Threshold);
    }
    is_octets(log)?;
    // INVARIANT: writing to a String cannot fail.
    let mut policy = format!("log {log}\n\n");
    for (i, witness) in witnesses.iter().enumerate() {
        if witness.signature_type() != SignatureType::Cosignature {
            return Err(PolicyError::KeyType);
        }
        is_octets(witness)?;
        let name = witness.name();
        let is_duplicate =
            |other: &VerifierKey| other.public_key() == witness.public_key() || other.name() == name;
        if witnesses.iter().take(i).any(is_duplicate) {
            return Err(PolicyError::Duplicate);
        }
        if [GROUP, "none"].contains(&name.as_str()) {
            return Err(PolicyError::Name);
        }
        let _ = writeln!(policy, "witness {name} {witness}");
    }
    let _ = write!(policy, "group {GROUP} {threshold}");
    for witness in witnesses {
        let _ = write!(policy, " {}", witness.name());
    }
    let _ = write!(policy, "\nquorum {GROUP}\n");
    Ok(policy)
}

/// What the group of all witnesses is called.
const GROUP: &str = "roster";

/// A note's key name may have the one control character that a policy may not.
fn is_octets(key: &VerifierKey) -> Result<(), PolicyError> {
    if key.name().as_str().contains('\x7f') { Err(PolicyError::Name) } else { Ok(()) }
}

/// Why there is no policy of these keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// A log key that is not Ed25519, or a witness key that is not for cosignatures.
    #[error("a key is of another signature type than its role has")]
    KeyType,
    /// Not from 1 to the number of witnesses.
    #[error("the threshold is 1 to the number of witnesses")]
    Threshold,
    /// A name that a policy cannot carry, or that means something else in it.
    #[error("a key's name cannot stand in a policy")]
    Name,
    /// Two witnesses with one name or one public key.
    #[error("two witnesses share a name or a public key")]
    Duplicate,
}
