//! Halts, and their ends.

use chancery_client::chancery_ledger::command::{Body, HaltScope, SignedCommand};
use chancery_client::chancery_ledger::hash::Hash;

use super::Client;
use crate::history::{Call, Outcome};

impl Client {
    /// A halt, signed, so that it can be given until it is known what became of it.
    pub fn sign_halt(&self, scope: HaltScope) -> Option<SignedCommand> {
        self.halter.sign(Body::Halt { scope, reason: "a test".into() }, &[]).ok()
    }

    /// Halts: gives what [`Client::sign_halt`] signed, perhaps again.
    pub async fn halt(&mut self, signed: &SignedCommand) -> Outcome {
        let Body::Halt { scope, .. } = &signed.command().body else {
            return Outcome::NotDone { reason: "no halt".into() };
        };
        let call = Call::Halt { scope: scope.kind().into(), subject: scope.subject() };
        let ledger = self.halter.clone();
        self.submit(&ledger, Ok(signed.clone()), |_| call).await
    }

    /// Has one of the resumers say that the halt of the leaf `halt`, by the command of this hash, may end.
    pub async fn resume(&mut self, resumer: usize, halt: u64, halt_command: Hash) -> Outcome {
        let Some(ledger) = self.resumers.get(resumer).cloned() else {
            return Outcome::NotDone { reason: "no such resumer".into() };
        };
        let key = ledger.public_key().map(|key| key.to_string()).unwrap_or_default();
        let signed = ledger.sign(Body::Resume { halt, halt_command }, &[]);
        self.submit(&ledger, signed, |_| Call::Resume { halt, resumer: key }).await
    }
}
