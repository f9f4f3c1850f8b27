//! Signing under load: one signature for all the commands that are waiting for one.
//!
//! A lone command is signed alone and at once. While one signature is made others queue, and the next covers
//! all of them: the busier a gate is, the less of its time, and of the nodes', goes into signatures.

use chancery_ledger::command::{
    COMMANDS_SIGNED_AT_ONCE_MAX, Command, EnvelopeError, LedgerId, SignedCommand,
};
use ed25519_dalek::SigningKey;
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait for a signature; who comes when they are as many waits for room.
const QUEUE_MAX: usize = 4 * COMMANDS_SIGNED_AT_ONCE_MAX as usize;

struct Waiting {
    command: Command,
    reply: oneshot::Sender<Result<SignedCommand, EnvelopeError>>,
}

/// The way to the task that signs. It ends with the last handle, or with the runtime that it runs on.
#[derive(Clone)]
pub(crate) struct Signing {
    queue: mpsc::Sender<Waiting>,
}

impl Signing {
    /// Starts to sign with `key` for `ledger`, on the runtime that it is called on.
    pub(crate) fn start(ledger: LedgerId, key: SigningKey) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(sign_all(ledger, key, waiting));
        Self { queue }
    }

    /// Signs `command`, whose signer has the key. `None` if the runtime that signed is gone.
    pub(crate) async fn sign(&self, command: Command) -> Option<Result<SignedCommand, EnvelopeError>> {
        let (reply, signed) = oneshot::channel();
        self.queue.send(Waiting { command, reply }).await.ok()?;
        signed.await.ok()
    }
}

async fn sign_all(ledger: LedgerId, key: SigningKey, mut queue: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, COMMANDS_SIGNED_AT_ONCE_MAX as usize).await > 0 {
        let (commands, replies): (Vec<_>, Vec<_>) =
            waiting.drain(..).map(|Waiting { command, reply }| (command, reply)).unzip();
        for (signed, reply) in sign(ledger, &commands, &key).into_iter().zip(replies) {
            // Who asked may have gone.
            let _ = reply.send(signed);
        }
    }
}

/// Each of `commands`, signed: together if there are several and none is out of its bounds.
fn sign(
    ledger: LedgerId,
    commands: &[Command],
    key: &SigningKey,
) -> Vec<Result<SignedCommand, EnvelopeError>> {
    if commands.len() > 1
        && let Ok(signed) = SignedCommand::sign_batch(ledger, commands, key)
    {
        return signed.into_iter().map(Ok).collect();
    }
    commands.iter().map(|command| SignedCommand::sign(ledger, command, &[key])).collect()
}
