//! The signed envelope: exact bytes, and exactly the signatures that the command requires.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use prost::Message;

use super::{
    Body, COMMAND_SIZE_BYTES_MAX, Command, LedgerId, MalformedCommand, PublicKey, RequestId, Role,
    decode_strict,
};
use crate::hash::Hash;
use chancery_proto::v1 as wire;

const SIGNING_PREFIX: &[u8] = b"chancery/command/v1\0";

/// Signatures that genesis may carry; its own limits bind only later commands.
const SIGNATURES_MAX: usize = 64;

/// Why an envelope is refused before anything looks at what it says.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes are not a canonical `SignedCommand`, or hold no canonical `Command`.
    #[error("malformed command: {0}")]
    Malformed(#[from] MalformedCommand),
    /// The keys that signed are not exactly those that must.
    #[error("signed by {signed} keys, which are not exactly the {required} that must sign")]
    WrongSigners {
        /// Signatures on it.
        signed: usize,
        /// Signatures that it needs.
        required: usize,
    },
    /// A key that does not sign this command.
    #[error("the command does not ask for the signature of key {0}")]
    NotASigner(PublicKey),
    /// A signature does not verify, or its key is not a valid point.
    #[error("the signature of key {0} does not verify over this ledger's id")]
    BadSignature(PublicKey),
}

/// A command with its signatures. The bytes are those that were signed; they are never encoded again.
///
/// A value of this type is canonical and in its bounds; whether its signatures verify is known only after
/// [`SignedCommand::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCommand {
    bytes: Vec<u8>,
    signatures: Vec<(PublicKey, [u8; 64])>,
    command: Command,
}

impl SignedCommand {
    /// Signs `command` with each of `keys` for `ledger`.
    ///
    /// # Errors
    /// The command, once encoded, is out of its bounds.
    pub fn sign(ledger: LedgerId, command: &Command, keys: &[&SigningKey]) -> Result<Self, EnvelopeError> {
        let bytes = command.to_wire().encode_to_vec();
        let command = Command::decode(&bytes)?;
        let message = signed_message(ledger, &bytes);
        let mut signatures: Vec<_> = keys
            .iter()
            .map(|key| (PublicKey(key.verifying_key().to_bytes()), key.sign(&message).to_bytes()))
            .collect();
        signatures.sort();
        signatures.dedup();
        Ok(Self { bytes, signatures, command })
    }

    /// Adds the signature of `key` to a command that others have signed already, so that each can sign where
    /// its key is. The same signature again changes nothing.
    ///
    /// # Errors
    /// The command does not ask for this key's signature, or a signature on it does not verify.
    pub fn co_sign(mut self, ledger: LedgerId, key: &SigningKey) -> Result<Self, EnvelopeError> {
        let public = PublicKey(key.verifying_key().to_bytes());
        let required = self.command.required_signers();
        if !required.contains(&public) {
            return Err(EnvelopeError::NotASigner(public));
        }
        self.verify_each(ledger)?;
        if let Err(place) = self.signatures.binary_search_by_key(&public, |(signed, _)| *signed) {
            let signature = key.sign(&signed_message(ledger, &self.bytes)).to_bytes();
            self.signatures.insert(place, (public, signature));
        }
        Ok(self)
    }

    /// The keys that must sign and have not.
    pub fn missing_signers(&self) -> Vec<PublicKey> {
        let signed = |key: &PublicKey| self.signatures.iter().any(|(signed, _)| signed == key);
        self.command.required_signers().into_iter().filter(|key| !signed(key)).collect()
    }

    /// Decodes an encoded `SignedCommand` strictly.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        // Bounds first: nothing is allocated for what is too large.
        let most = COMMAND_SIZE_BYTES_MAX + SIGNATURES_MAX * 104 + 16;
        Self::from_wire(decode_strict::<wire::SignedCommand>(bytes, most)?)
    }

    pub(crate) fn from_wire(signed: wire::SignedCommand) -> Result<Self, EnvelopeError> {
        if signed.signatures.len() > SIGNATURES_MAX {
            return Err(MalformedCommand::OutOfBounds("signatures").into());
        }
        let mut signatures: Vec<(PublicKey, [u8; 64])> = Vec::with_capacity(signed.signatures.len());
        for one in &signed.signatures {
            let key = one.key.as_slice().try_into().map_err(|_| MalformedCommand::Length("signature key"))?;
            let bytes =
                one.signature.as_slice().try_into().map_err(|_| MalformedCommand::Length("signature"))?;
            if signatures.last().is_some_and(|(last, _)| *last >= PublicKey(key)) {
                return Err(MalformedCommand::Unsorted("signatures").into());
            }
            signatures.push((PublicKey(key), bytes));
        }
        let command = Command::decode(&signed.command)?;
        Ok(Self { bytes: signed.command, signatures, command })
    }

    pub(crate) fn to_wire(&self) -> wire::SignedCommand {
        wire::SignedCommand {
            command: self.bytes.clone(),
            signatures: self
                .signatures
                .iter()
                .map(|(key, bytes)| wire::Signature { key: key.0.to_vec(), signature: bytes.to_vec() })
                .collect(),
        }
    }

    /// The envelope's encoding.
    pub fn encode(&self) -> Vec<u8> {
        self.to_wire().encode_to_vec()
    }

    /// What is commanded.
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// The bytes that were signed.
    pub fn command_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Identifies the command for deduplication: its bytes, whoever signed.
    pub fn command_hash(&self) -> Hash {
        Hash::labelled("chancery/command-hash/v1", &[&self.bytes])
    }

    /// Number of signatures.
    pub fn signature_count(&self) -> usize {
        self.signatures.len()
    }

    /// Demands exactly the required signatures, each valid under `verify_strict` for `ledger`.
    pub fn verify(&self, ledger: LedgerId) -> Result<(), EnvelopeError> {
        let required = self.command.required_signers();
        if !self.signatures.iter().map(|(key, _)| key).eq(required.iter()) {
            return Err(EnvelopeError::WrongSigners {
                signed: self.signatures.len(),
                required: required.len(),
            });
        }
        self.verify_each(ledger)
    }

    /// Demands that each signature is valid, whether they are all there or not.
    fn verify_each(&self, ledger: LedgerId) -> Result<(), EnvelopeError> {
        let message = signed_message(ledger, &self.bytes);
        for (key, bytes) in &self.signatures {
            VerifyingKey::from_bytes(&key.0)
                .and_then(|verifier| verifier.verify_strict(&message, &Signature::from_bytes(bytes)))
                .map_err(|_| EnvelopeError::BadSignature(*key))?;
        }
        Ok(())
    }

    /// The signer and its request id: what deduplication is keyed by.
    pub const fn dedup_key(&self) -> (PublicKey, RequestId) {
        (self.command.signer, self.command.request_id)
    }
}

impl Body {
    /// The keys that it names as those of principals that sign beside the signer.
    pub(super) fn co_signers(&self) -> &[PublicKey] {
        match self {
            Self::SetRoster { operators, .. } | Self::SetLineage { operators, .. } => operators,
            Self::ReleaseGeneration { reviewers, .. } => reviewers,
            _ => &[],
        }
    }
}

impl Command {
    /// The keys that must sign, sorted and unique: the signer, and whoever else consents.
    fn required_signers(&self) -> Vec<PublicKey> {
        let mut keys = vec![self.signer];
        match &self.body {
            Body::Genesis(genesis) => keys.extend(
                genesis.principals.iter().filter(|p| p.roles.contains(&Role::Operator)).map(|p| p.key),
            ),
            Body::RotatePrincipal { new_key, .. } => keys.push(*new_key),
            body => keys.extend(body.co_signers()),
        }
        keys.sort();
        keys.dedup();
        keys
    }
}

fn signed_message(ledger: LedgerId, command: &[u8]) -> Vec<u8> {
    [SIGNING_PREFIX, ledger.0.as_bytes(), command].concat()
}
