//! Signing checkpoints, and verifying who signed: the log's own signature (c2sp.org/signed-note, "Ed25519
//! signatures") and cosignatures (c2sp.org/tlog-cosignature, "Ed25519 signed message").

use ed25519_dalek::{Signer, SigningKey};
use thiserror::Error;

use super::{
    Checkpoint, CheckpointError, KeyName, Note, NoteError, SignatureLine, SignatureType, VerifierKey, key_id,
};

impl Checkpoint {
    /// The log's signature, under the origin's name.
    pub fn sign(&self, key: &SigningKey) -> SignatureLine {
        let id = key_id(self.origin(), SignatureType::Ed25519.byte(), key.verifying_key().as_bytes());
        let signature = key.sign(self.encode().as_bytes()).to_bytes();
        SignatureLine::of(self.origin().clone(), id, signature)
    }

    /// A cosignature by `name`: as of `time_s`, in seconds since the Unix epoch, this is the largest
    /// consistent tree that the cosigner knows of this log. The time is 1 to 2^63 - 1.
    pub fn cosign(
        &self,
        name: &KeyName,
        time_s: u64,
        key: &SigningKey,
    ) -> Result<SignatureLine, SignatureError> {
        if !is_time(time_s) {
            return Err(SignatureError::Time);
        }
        let id = key_id(name, SignatureType::Cosignature.byte(), key.verifying_key().as_bytes());
        let signature = key.sign(self.cosigned_message(time_s).as_bytes()).to_bytes();
        let mut timestamped = [0; COSIGNATURE_BYTES];
        let (time, rest) = timestamped.split_at_mut(8);
        time.copy_from_slice(&time_s.to_be_bytes());
        rest.copy_from_slice(&signature);
        Ok(SignatureLine::of(name.clone(), id, timestamped))
    }

    fn cosigned_message(&self, time_s: u64) -> String {
        format!("cosignature/v1\ntime {time_s}\n{}", self.encode())
    }
}

/// A checkpoint as it is served, with at least one signature. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signatures: Vec<SignatureLine>,
}

impl SignedCheckpoint {
    /// The checkpoint under 1 to [`super::SIGNATURES_MAX`] signatures, in this order.
    pub fn new(checkpoint: Checkpoint, signatures: Vec<SignatureLine>) -> Result<Self, NoteError> {
        let (_, signatures) = Note::new(checkpoint.encode(), signatures)?.into_parts();
        Ok(Self { checkpoint, signatures })
    }

    /// Reads a signed checkpoint; what it accepts, [`SignedCheckpoint::encode`] writes again byte for byte.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let (text, signatures) = Note::parse(bytes)?.into_parts();
        Ok(Self { checkpoint: Checkpoint::parse(&text)?, signatures })
    }

    /// The signed note (c2sp.org/tlog-checkpoint).
    pub fn encode(&self) -> String {
        let mut note = self.checkpoint.encode();
        note.push('\n');
        for signature in &self.signatures {
            note.push_str(&signature.encode());
            note.push('\n');
        }
        note
    }

    /// What is signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signature lines in their order, of known and unknown keys.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Demands the log's signature by `key`, which is named as the origin.
    pub fn verify_log_signature(&self, key: &VerifierKey) -> Result<(), SignatureError> {
        if key.signature_type() != SignatureType::Ed25519 {
            return Err(SignatureError::KeyType);
        }
        if key.name() != self.checkpoint.origin() {
            return Err(SignatureError::Origin);
        }
        let line = self.line_of(key)?.ok_or(SignatureError::Missing)?;
        let signature = line.signature().try_into().map_err(|_| SignatureError::Invalid)?;
        if key.signed(self.checkpoint.encode().as_bytes(), signature) {
            Ok(())
        } else {
            Err(SignatureError::Invalid)
        }
    }

    /// The cosignatures by `keys`, in the order of `keys`; who has none is left out. The caller counts.
    ///
    /// Refused as a whole if one of them does not verify, or if two of `keys` share a public key: then one
    /// signer would count twice, because a cosignature does not commit to its signer's name.
    pub fn verify_cosignatures(&self, keys: &[VerifierKey]) -> Result<Vec<Cosignature>, SignatureError> {
        let mut cosignatures = Vec::new();
        for (cosigner, key) in keys.iter().enumerate() {
            if key.signature_type() != SignatureType::Cosignature {
                return Err(SignatureError::KeyType);
            }
            if keys.iter().take(cosigner).any(|other| other.public_key() == key.public_key()) {
                return Err(SignatureError::SharedKey);
            }
            if let Some(line) = self.line_of(key)? {
                let time_s = self.verify_cosignature(key, line)?;
                cosignatures.push(Cosignature { cosigner, time_s });
            }
        }
        Ok(cosignatures)
    }

    fn verify_cosignature(&self, key: &VerifierKey, line: &SignatureLine) -> Result<u64, SignatureError> {
        let (time, signature) = line.signature().split_first_chunk().ok_or(SignatureError::Invalid)?;
        let signature = signature.try_into().map_err(|_| SignatureError::Invalid)?;
        let time_s = u64::from_be_bytes(*time);
        if !is_time(time_s) {
            return Err(SignatureError::Time);
        }
        if key.signed(self.checkpoint.cosigned_message(time_s).as_bytes(), signature) {
            Ok(time_s)
        } else {
            Err(SignatureError::Invalid)
        }
    }

    /// The one line with this key's name and id. A known key that signs twice is refused, not chosen from.
    fn line_of(&self, key: &VerifierKey) -> Result<Option<&SignatureLine>, SignatureError> {
        let mut lines =
            self.signatures.iter().filter(|line| line.name() == key.name() && line.key_id() == key.id());
        let line = lines.next();
        if lines.next().is_some() { Err(SignatureError::Twice) } else { Ok(line) }
    }
}

/// A cosignature that verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// Which of the keys that were asked about.
    pub cosigner: usize,
    /// When it was made, by the cosigner's clock, in seconds since the Unix epoch.
    pub time_s: u64,
}

/// c2sp.org/tlog-cosignature, `timestamped_signature`: a u64 and an Ed25519 signature.
const COSIGNATURE_BYTES: usize = 8 + 64;

/// c2sp.org/tlog-cosignature: at most 2^63 - 1; c2sp.org/tlog-witness: not 0.
fn is_time(time_s: u64) -> bool {
    (1..=u64::MAX >> 1).contains(&time_s)
}

/// Why signatures were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The key's type is not for this kind of signature.
    #[error("the key is of another signature type")]
    KeyType,
    /// The log key's name is not the checkpoint's origin.
    #[error("the checkpoint is of another origin than the log key")]
    Origin,
    /// The log did not sign.
    #[error("the log's signature is missing")]
    Missing,
    /// A known key has two lines.
    #[error("a key signed twice")]
    Twice,
    /// Two cosigners with one public key.
    #[error("two cosigners share a public key")]
    SharedKey,
    /// A known key's signature does not verify.
    #[error("a signature does not verify")]
    Invalid,
    /// A cosignature's time is 0 or above 2^63 - 1.
    #[error("a cosignature's time is out of range")]
    Time,
}
