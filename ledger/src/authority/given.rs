//! Commands as `apply` takes them: their signatures are to be verified, or were.

use crate::command::{EnvelopeError, LedgerId, SignedCommand, VerifiedBatches};
use crate::hash::Hash;

/// A command that is put before the rules.
pub(super) trait Given {
    /// The command as it was signed.
    fn signed(&self) -> &SignedCommand;

    /// [`SignedCommand::command_hash`].
    fn command_hash(&self) -> Hash;

    /// Demands exactly the required signatures, each valid for `ledger`.
    fn verify(&self, ledger: LedgerId, batches: &VerifiedBatches) -> Result<(), EnvelopeError>;
}

impl Given for SignedCommand {
    fn signed(&self) -> &SignedCommand {
        self
    }

    fn command_hash(&self) -> Hash {
        self.command_hash()
    }

    fn verify(&self, ledger: LedgerId, batches: &VerifiedBatches) -> Result<(), EnvelopeError> {
        self.verify_with(ledger, batches)
    }
}
