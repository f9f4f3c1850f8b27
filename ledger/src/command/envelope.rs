//! The signed envelope: exact bytes, and exactly the signatures that the command requires.

use ed25519_dalek::{Signature, Signer, SigningKey};
use prost::Message;

use super::batch::{BatchPath, VerifiedSignatures, batch};
use super::{
    Body, COMMAND_SIZE_BYTES_MAX, Command, LedgerId, MalformedCommand, PublicKey, RequestId, Role,
    decode_strict,
};
use crate::hash::Hash;
use chancery_proto::v1 as wire;

const SIGNING_PREFIX: &[u8] = b"chancery/command/v1\0";

const BATCH_SIGNING_PREFIX: &[u8] = b"chancery/commands/v1\0";

/// Signatures that genesis may carry; its own limits bind only later commands.
const SIGNATURES_MAX: usize = 64;

/// Longest encoded signature, in bytes: a key, a signature, and a place in a batch with ten hashes.
const SIGNATURE_SIZE_BYTES_MAX: usize = 464;

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
    /// No command, or more than one signature may cover.
    #[error("one signature covers 1 to {max} commands, not {found}")]
    BatchSize {
        /// How many there are.
        found: usize,
        /// The bound.
        max: u32,
    },
    /// A command of a batch that others than its signer have to sign.
    #[error("a command that several keys sign cannot be signed in a batch")]
    SignedBySeveral,
}

/// A command with its signatures. The bytes are those that were signed; they are never encoded again.
///
/// A value of this type is canonical and in its bounds; whether its signatures verify is known only after
/// [`SignedCommand::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCommand {
    bytes: Vec<u8>,
    signatures: Vec<KeySignature>,
    command: Command,
}

/// The signature of one key: over this command alone, or over a batch.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct KeySignature {
    key: PublicKey,
    bytes: [u8; 64],
    batch: Option<BatchPath>,
}

impl SignedCommand {
    /// Signs `command` with each of `keys` for `ledger`.
    ///
    /// # Errors
    /// The command, once encoded, is out of its bounds.
    pub fn sign(ledger: LedgerId, command: &Command, keys: &[&SigningKey]) -> Result<Self, EnvelopeError> {
        Self::sign_known(ledger, command, keys, &VerifiedSignatures::default())
    }

    /// The same, and its signatures are known as good to `made`: who made them need not verify them when they come back.
    ///
    /// # Errors
    /// As [`SignedCommand::sign`].
    pub fn sign_known(
        ledger: LedgerId,
        command: &Command,
        keys: &[&SigningKey],
        made: &VerifiedSignatures,
    ) -> Result<Self, EnvelopeError> {
        let bytes = command.to_wire().encode_to_vec();
        let command = Command::decode(&bytes)?;
        let message = signed_message(ledger, &bytes);
        let sign = |key: &&SigningKey| {
            let signature = KeySignature::alone(key, &message);
            if made.has_singles() {
                made.made(signature.key, &signature.bytes, &message);
            }
            signature
        };
        let mut signatures: Vec<_> = keys.iter().map(sign).collect();
        signatures.sort();
        signatures.dedup();
        Ok(Self { bytes, signatures, command })
    }

    /// Signs all of `commands`, whose signer has `key`, with one signature for `ledger`. What comes out is in
    /// their order, and each can be given without the others.
    ///
    /// # Errors
    /// There is none, or more than [`COMMANDS_SIGNED_AT_ONCE_MAX`](super::COMMANDS_SIGNED_AT_ONCE_MAX); one is
    /// out of its bounds, or is to be signed by another key or by several.
    pub fn sign_batch(
        ledger: LedgerId,
        commands: &[Command],
        key: &SigningKey,
    ) -> Result<Vec<Self>, EnvelopeError> {
        Self::sign_batch_known(ledger, commands, key, &VerifiedSignatures::default())
    }

    /// The same, and the signature is known as good to `made`, as with [`SignedCommand::sign_known`].
    ///
    /// # Errors
    /// As [`SignedCommand::sign_batch`].
    pub fn sign_batch_known(
        ledger: LedgerId,
        commands: &[Command],
        key: &SigningKey,
        made: &VerifiedSignatures,
    ) -> Result<Vec<Self>, EnvelopeError> {
        let public = PublicKey(key.verifying_key().to_bytes());
        let mut unsigned = Vec::with_capacity(commands.len());
        for command in commands {
            let bytes = command.to_wire().encode_to_vec();
            let command = Command::decode(&bytes)?;
            match command.required_signers().as_slice() {
                [signer] if *signer == public => {}
                [_] => return Err(EnvelopeError::NotASigner(public)),
                _ => return Err(EnvelopeError::SignedBySeveral),
            }
            unsigned.push(Self { bytes, signatures: Vec::new(), command });
        }
        let hashes: Vec<Hash> = unsigned.iter().map(Self::command_hash).collect();
        let max = super::COMMANDS_SIGNED_AT_ONCE_MAX;
        let (batch, paths) = batch(&hashes).ok_or(EnvelopeError::BatchSize { found: commands.len(), max })?;
        let message = batch_message(ledger, &batch);
        let bytes = key.sign(&message).to_bytes();
        made.made(public, &bytes, &message);
        let signed = unsigned.into_iter().zip(paths).map(|(unsigned, path)| {
            let signature = KeySignature { key: public, bytes, batch: Some(path) };
            Self { signatures: vec![signature], ..unsigned }
        });
        Ok(signed.collect())
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
        self.verify_each(ledger, &VerifiedSignatures::default())?;
        if let Err(place) = self.signatures.binary_search_by_key(&public, |signature| signature.key) {
            let signature = KeySignature::alone(key, &signed_message(ledger, &self.bytes));
            self.signatures.insert(place, signature);
        }
        Ok(self)
    }

    /// The keys that must sign and have not.
    pub fn missing_signers(&self) -> Vec<PublicKey> {
        let signed = |key: &PublicKey| self.signatures.iter().any(|signature| signature.key == *key);
        self.command.required_signers().into_iter().filter(|key| !signed(key)).collect()
    }

    /// Decodes an encoded `SignedCommand` strictly.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        // Bounds first: nothing is allocated for what is too large.
        let most = COMMAND_SIZE_BYTES_MAX + SIGNATURES_MAX * SIGNATURE_SIZE_BYTES_MAX + 16;
        Self::from_wire(decode_strict::<wire::SignedCommand>(bytes, most)?)
    }

    pub(crate) fn from_wire(signed: wire::SignedCommand) -> Result<Self, EnvelopeError> {
        if signed.signatures.len() > SIGNATURES_MAX {
            return Err(MalformedCommand::OutOfBounds("signatures").into());
        }
        let mut signatures: Vec<KeySignature> = Vec::with_capacity(signed.signatures.len());
        for one in &signed.signatures {
            let signature = KeySignature::from_wire(one)?;
            if signatures.last().is_some_and(|last| last.key >= signature.key) {
                return Err(MalformedCommand::Unsorted("signatures").into());
            }
            signatures.push(signature);
        }
        let command = Command::decode(&signed.command)?;
        Ok(Self { bytes: signed.command, signatures, command })
    }

    pub(crate) fn to_wire(&self) -> wire::SignedCommand {
        wire::SignedCommand {
            command: self.bytes.clone(),
            signatures: self.signatures.iter().map(KeySignature::to_wire).collect(),
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
        self.verify_with(ledger, &VerifiedSignatures::default())
    }

    /// [`SignedCommand::verify`] among others: a signature over a batch that is in `batches` is not verified
    /// again, and one that is good comes into it.
    pub fn verify_with(&self, ledger: LedgerId, batches: &VerifiedSignatures) -> Result<(), EnvelopeError> {
        let required = self.command.required_signers();
        if !self.signatures.iter().map(|signature| &signature.key).eq(required.iter()) {
            return Err(EnvelopeError::WrongSigners {
                signed: self.signatures.len(),
                required: required.len(),
            });
        }
        self.verify_each(ledger, batches)
    }

    /// Demands that each signature is valid, whether they are all there or not.
    fn verify_each(&self, ledger: LedgerId, batches: &VerifiedSignatures) -> Result<(), EnvelopeError> {
        self.signatures.iter().try_for_each(|signature| signature.verify(ledger, self, batches))
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

impl KeySignature {
    fn alone(key: &SigningKey, message: &[u8]) -> Self {
        let public = PublicKey(key.verifying_key().to_bytes());
        Self { key: public, bytes: key.sign(message).to_bytes(), batch: None }
    }

    fn verify(
        &self,
        ledger: LedgerId,
        signed: &SignedCommand,
        batches: &VerifiedSignatures,
    ) -> Result<(), EnvelopeError> {
        let good = match &self.batch {
            None => {
                let message = signed_message(ledger, &signed.bytes);
                let verify = || self.is_over(&message, batches);
                if batches.has_singles() {
                    batches.verified(self.key, &self.bytes, &message, verify)
                } else {
                    verify()
                }
            }
            Some(path) => path.batch_hash(&signed.command_hash()).is_some_and(|batch| {
                let message = batch_message(ledger, &batch);
                batches.verified(self.key, &self.bytes, &message, || self.is_over(&message, batches))
            }),
        };
        if good { Ok(()) } else { Err(EnvelopeError::BadSignature(self.key)) }
    }

    fn is_over(&self, message: &[u8], batches: &VerifiedSignatures) -> bool {
        let signature = Signature::from_bytes(&self.bytes);
        batches.key(&self.key).is_some_and(|key| key.verify_strict(message, &signature).is_ok())
    }

    fn from_wire(w: &wire::Signature) -> Result<Self, MalformedCommand> {
        let key = w.key.as_slice().try_into().map_err(|_| MalformedCommand::Length("signature key"))?;
        let bytes = w.signature.as_slice().try_into().map_err(|_| MalformedCommand::Length("signature"))?;
        let batch = w.batch.as_ref().map(BatchPath::from_wire).transpose()?;
        Ok(Self { key: PublicKey(key), bytes, batch })
    }

    fn to_wire(&self) -> wire::Signature {
        wire::Signature {
            key: self.key.0.to_vec(),
            signature: self.bytes.to_vec(),
            batch: self.batch.as_ref().map(BatchPath::to_wire),
        }
    }
}

fn signed_message(ledger: LedgerId, command: &[u8]) -> Vec<u8> {
    [SIGNING_PREFIX, ledger.0.as_bytes(), command].concat()
}

fn batch_message(ledger: LedgerId, batch: &Hash) -> Vec<u8> {
    [BATCH_SIGNING_PREFIX, ledger.0.as_bytes(), batch.as_bytes()].concat()
}
