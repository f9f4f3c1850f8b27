//! Commands as `apply` takes them: their signatures are to be verified, or were.

use super::entry::encode_command;
use super::verdict::Verdict;
use crate::command::{EnvelopeError, LedgerId, SignedCommand, VerifiedSignatures};
use crate::hash::Hash;
use crate::log::leaf_hash;

/// A command that is put before the rules.
pub(super) trait Given {
    /// The command as it was signed.
    fn signed(&self) -> &SignedCommand;

    /// [`SignedCommand::command_hash`].
    fn command_hash(&self) -> Hash;

    /// Demands exactly the required signatures, each valid for `ledger`.
    fn verify(&self, ledger: LedgerId, batches: &VerifiedSignatures) -> Result<(), EnvelopeError>;

    /// The leaf that it leaves in `block` at `time_ms` with `verdict`, encoded, and that leaf's hash.
    fn leaf(&self, block: u64, time_ms: u64, verdict: Option<&Verdict>) -> (Vec<u8>, Hash) {
        let bytes = encode_command(block, time_ms, self.signed(), verdict);
        let hash = leaf_hash(&bytes);
        (bytes, hash)
    }
}

impl Given for SignedCommand {
    fn signed(&self) -> &SignedCommand {
        self
    }

    fn command_hash(&self) -> Hash {
        self.command_hash()
    }

    fn verify(&self, ledger: LedgerId, batches: &VerifiedSignatures) -> Result<(), EnvelopeError> {
        self.verify_with(ledger, batches)
    }
}
