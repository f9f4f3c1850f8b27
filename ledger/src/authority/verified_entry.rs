//! Entries of which everything is known that can be known of one entry alone: what an auditor's threads find out
//! of many at once, before one thread applies them in their order.

use super::entry::{Entry, EntryError, encode_command};
use super::given::Given;
use super::verdict::Verdict;
use crate::command::{Body, EnvelopeError, LedgerId, SignedCommand, VerifiedSignatures};
use crate::hash::Hash;
use crate::log::leaf_hash;

/// An entry that is canonical, and whose command bears exactly the signatures that it requires, each verified.
///
/// Only [`VerifiedEntry::verify`] and [`VerifiedEntry::of`] make one.
#[derive(Clone, Debug)]
pub struct VerifiedEntry {
    bytes: Vec<u8>,
    /// Of these bytes, as a leaf of the log.
    hash: Hash,
    entry: Entry,
    /// Of its command, if it is one.
    command_hash: Hash,
    /// What the signatures are for.
    ledger: LedgerId,
}

/// Why an entry is wrong, whatever stands before it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryFault {
    /// The bytes are no entry.
    #[error(transparent)]
    Malformed(#[from] EntryError),
    /// The signatures are not those that the command requires.
    #[error("its signatures: {0}")]
    Signatures(#[from] EnvelopeError),
}

impl VerifiedEntry {
    /// Decodes an encoded entry of the log of `ledger`, and verifies its signatures. Those over a batch that is in
    /// `batches` are not verified again.
    ///
    /// # Errors
    /// It is none, or a signature is missing, too many, or bad.
    pub fn verify(
        ledger: LedgerId,
        bytes: Vec<u8>,
        batches: &VerifiedSignatures,
    ) -> Result<Self, EntryFault> {
        let entry = Entry::decode(&bytes)?;
        Ok(Self::check(ledger, bytes, entry, batches)?)
    }

    /// The same of an entry that was decoded already.
    ///
    /// # Errors
    /// A signature is missing, too many, or bad.
    pub fn of(ledger: LedgerId, entry: Entry, batches: &VerifiedSignatures) -> Result<Self, EnvelopeError> {
        Self::check(ledger, entry.encode(), entry, batches)
    }

    fn check(
        ledger: LedgerId,
        bytes: Vec<u8>,
        entry: Entry,
        batches: &VerifiedSignatures,
    ) -> Result<Self, EnvelopeError> {
        let hash = leaf_hash(&bytes);
        let Entry::Command { signed, .. } = &entry else {
            return Ok(Self { bytes, hash, entry, command_hash: Hash::ZERO, ledger });
        };
        // Genesis is signed before there is an id. Anywhere but in block 0 it is refused.
        let founds = matches!(signed.command().body, Body::Genesis(_));
        let ledger = if founds { LedgerId::GENESIS } else { ledger };
        signed.verify_with(ledger, batches)?;
        let command_hash = signed.command_hash();
        Ok(Self { bytes, hash, entry, command_hash, ledger })
    }

    /// What it says.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its encoding.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its command.
    pub(super) fn command(&self) -> Option<VerifiedCommand<'_>> {
        match &self.entry {
            Entry::Command { signed, .. } => Some(VerifiedCommand { signed, told: self }),
            Entry::State { .. } => None,
        }
    }
}

/// A command whose signatures are verified, for one ledger.
#[derive(Clone, Copy)]
pub(super) struct VerifiedCommand<'a> {
    signed: &'a SignedCommand,
    /// Its entry.
    told: &'a VerifiedEntry,
}

impl Given for VerifiedCommand<'_> {
    fn signed(&self) -> &SignedCommand {
        self.signed
    }

    fn command_hash(&self) -> Hash {
        self.told.command_hash
    }

    fn verify(&self, ledger: LedgerId, batches: &VerifiedSignatures) -> Result<(), EnvelopeError> {
        if ledger == self.told.ledger { Ok(()) } else { self.signed.verify_with(ledger, batches) }
    }

    fn leaf(&self, block: u64, time_ms: u64, verdict: Option<&Verdict>) -> (Vec<u8>, Hash) {
        match &self.told.entry {
            // An entry has one encoding: if it says the same, its bytes are the same.
            Entry::Command { block: b, time_ms: t, verdict: v, .. }
                if (*b, *t, v.as_ref()) == (block, time_ms, verdict) =>
            {
                (self.told.bytes.clone(), self.told.hash)
            }
            _ => {
                let bytes = encode_command(block, time_ms, self.signed, verdict);
                let hash = leaf_hash(&bytes);
                (bytes, hash)
            }
        }
    }
}
