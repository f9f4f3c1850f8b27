//! Signing under load: one signature for all the commands that are waiting for one.
//!
//! A lone command is signed alone and at once. What comes right after it waits for a moment, and one signature covers
//! whatever came in it: the busier a gate is, the less of its time, and of the nodes', goes into signatures.

use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::command::{COMMANDS_SIGNED_AT_ONCE_MAX, Command, EnvelopeError, SignedCommand};
use chancery_ledger::trust::Trust;
use ed25519_dalek::SigningKey;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// Commands that may wait for a signature; who comes when they are as many waits for room.
const QUEUE_MAX: usize = 4 * COMMANDS_SIGNED_AT_ONCE_MAX as usize;

/// How long after a signature the next one is made at the soonest: a fraction of what a write takes, in which whoever
/// asks at once can do so. Who asks again when it is answered never comes as soon.
const APART: Duration = Duration::from_millis(2);

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
    /// Starts to sign with `key` for the ledger of `trust`, on the runtime that it is called on.
    pub(crate) fn start(trust: Arc<Trust>, key: SigningKey) -> Self {
        Self::start_apart(trust, key, APART)
    }

    fn start_apart(trust: Arc<Trust>, key: SigningKey, apart: Duration) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(sign_all(trust, key, waiting, apart));
        Self { queue }
    }

    /// Signs `command`, whose signer has the key. `None` if the runtime that signed is gone.
    pub(crate) async fn sign(&self, command: Command) -> Option<Result<SignedCommand, EnvelopeError>> {
        let (reply, signed) = oneshot::channel();
        self.queue.send(Waiting { command, reply }).await.ok()?;
        signed.await.ok()
    }
}

async fn sign_all(trust: Arc<Trust>, key: SigningKey, mut queue: mpsc::Receiver<Waiting>, apart: Duration) {
    const AT_ONCE: usize = COMMANDS_SIGNED_AT_ONCE_MAX as usize;
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, AT_ONCE).await > 0 {
        let (commands, replies): (Vec<_>, Vec<_>) =
            waiting.drain(..).map(|Waiting { command, reply }| (command, reply)).unzip();
        for (signed, reply) in sign(&trust, &commands, &key).into_iter().zip(replies) {
            // Who asked may have gone.
            let _ = reply.send(signed);
        }
        sleep(apart).await;
    }
}

/// Each of `commands`, signed: together if there are several and none is out of its bounds.
fn sign(trust: &Trust, commands: &[Command], key: &SigningKey) -> Vec<Result<SignedCommand, EnvelopeError>> {
    if commands.len() > 1
        && let Ok(signed) = SignedCommand::sign_batch_known(trust.ledger, commands, key, trust.seen())
    {
        return signed.into_iter().map(Ok).collect();
    }
    let alone = |command| SignedCommand::sign_known(trust.ledger, command, &[key], trust.seen());
    commands.iter().map(alone).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chancery_ledger::command::{Body, Name, PublicKey, RequestId};
    use futures_util::future::join_all;
    use prost::Message;
    use tokio::time::Instant;

    use super::*;
    use crate::newest::tests::trust;

    /// How many commands the signature is over.
    fn together(signed: &SignedCommand) -> u32 {
        let wire = chancery_proto::v1::SignedCommand::decode(signed.encode().as_slice()).unwrap();
        wire.signatures.first().unwrap().batch.as_ref().map_or(1, |batch| batch.count)
    }

    #[tokio::test]
    async fn a_lone_command_is_signed_at_once_and_what_follows_is_signed_together() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let trust = Arc::new(trust());
        // So long that whatever else this machine does, what follows comes within it.
        let apart = Duration::from_secs(3);
        let signing = Signing::start_apart(Arc::clone(&trust), key.clone(), apart);
        let one = |number: u8| {
            let body = Body::RevokeAgent { agent: Name::new("a").unwrap(), reason: String::new() };
            let (signer, request_id) = (PublicKey(key.verifying_key().to_bytes()), RequestId([number; 16]));
            let command = Command { signer, request_id, not_after_ms: 1, body };
            let (signing, trust) = (signing.clone(), Arc::clone(&trust));
            async move {
                // Not all in one turn of whoever signs.
                for _ in 0..number {
                    tokio::task::yield_now().await;
                }
                let signed = signing.sign(command).await.unwrap().unwrap();
                signed.verify(trust.ledger).unwrap();
                together(&signed)
            }
        };
        let began = Instant::now();
        assert_eq!(one(0).await, 1);
        assert!(began.elapsed() < apart, "it waited for nobody");
        assert_eq!(join_all((1..=9).map(one)).await, [9; 9]);
        assert!(began.elapsed() >= apart);
        sleep(apart).await;
        assert_eq!(one(10).await, 1, "nothing came right before it");
    }
}
