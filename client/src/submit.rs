//! Giving commands: sent until acknowledged, done once.
//!
//! Every try of a command sends the same signed bytes, so that the ledger does it once however often it
//! arrives. A failure says which of two it is: *not done*, or *unknown*; after either, the same bytes may be
//! sent again until the command's `not_after_ms`.

use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::command::{EnvelopeError, SignedCommand};
use chancery_ledger::head::{STATEMENTS_MAX, Statement};
use chancery_ledger::trust::{Newest, Trust};
use chancery_proto::v1::api::{Acknowledged, SubmitReply, SubmitRequest, submit_reply::Outcome};
use tokio::time::Instant;

use crate::Ledger;
use crate::check::list;
use crate::convictions::Convicted;
use crate::endpoints::{Attempt, Failure, Try, call, printable};
use crate::receipt::{Clocks, Receipt, ReceiptError};

/// Longest acknowledgement, in bytes: an entry, a head, 62 statements, two records and proofs fit well.
const REPLY_SIZE_BYTES_MAX: usize = 512 * 1024;

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It was not done, and will not be unless it is sent again.
    #[error("not done: {}", list(.tries))]
    NotDone {
        /// What to send again, until its `not_after_ms`.
        signed: Box<SignedCommand>,
        /// What was tried.
        tries: Vec<Try>,
    },
    /// It may have been done, or may yet be.
    #[error("unknown whether done: {}", list(.tries))]
    Unknown {
        /// What to send again, until its `not_after_ms`: it is done once.
        signed: Box<SignedCommand>,
        /// What was tried.
        tries: Vec<Try>,
    },
    /// A node says that it has no effect. It is only its word.
    #[error("refused: {message} ({code})")]
    Refused {
        /// A stable name for machines; `not_permitted` if the node does not speak to this client.
        code: String,
        /// For people.
        message: String,
    },
    /// A node says that it was done, but does not prove it, and no other node does: so it is unknown.
    #[error("{endpoint}: the acknowledgement proves nothing: {source}")]
    Unproven {
        /// Whose acknowledgement.
        endpoint: String,
        /// What is wrong with it.
        source: Box<ReceiptError>,
        /// What to send again, until its `not_after_ms`: it is done once.
        signed: Box<SignedCommand>,
        /// The other tries.
        tries: Vec<Try>,
    },
    /// A statement that came with an acknowledgement contradicts another of the same node, and no other node
    /// proved that the command was done: so it is unknown.
    #[error("{convicted}")]
    Contradiction {
        /// Who lies, with the proof.
        convicted: Arc<Convicted>,
        /// What to send again, until its `not_after_ms`: it is done once.
        signed: Box<SignedCommand>,
        /// What was tried.
        tries: Vec<Try>,
    },
    /// The context has no key to sign with. Nothing was sent.
    #[error("the context has no key to sign with")]
    NoKey,
    /// The command is out of its bounds. Nothing was sent.
    #[error(transparent)]
    Command(#[from] EnvelopeError),
    /// The system gives no randomness for a request id. Nothing was sent.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl Ledger {
    /// Sends `signed` until it is acknowledged: the very same bytes at each try.
    ///
    /// # Errors
    /// See [`SubmitError`]; [`SubmitError::NotDone`] and [`SubmitError::Unknown`] are never mixed: one try
    /// whose outcome is unknown makes the whole unknown, unless a later one was acknowledged.
    pub async fn submit(&self, signed: &SignedCommand) -> Result<Receipt, SubmitError> {
        self.submit_within(signed, self.options().submit_timeout).await
    }

    /// [`Ledger::submit`] with its own timeout for all tries together.
    ///
    /// # Errors
    /// As [`Ledger::submit`].
    pub async fn submit_within(
        &self,
        signed: &SignedCommand,
        timeout: Duration,
    ) -> Result<Receipt, SubmitError> {
        let encoded = signed.encode();
        let mut tries = self.tries(Instant::now() + timeout);
        let mut maybe_done = false;
        while let Some(attempt) = tries.next().await {
            match self.give(&attempt, signed, encoded.clone()).await {
                Ok(receipt) => {
                    tries.served(&attempt);
                    return Ok(receipt);
                }
                // An earlier try may yet take effect, whatever this node knows: then a refusal says nothing.
                Err(Failure::Refused { code, message }) if !maybe_done => {
                    tries.served(&attempt);
                    return Err(SubmitError::Refused { code, message });
                }
                Err(failure) => {
                    maybe_done |= may_be_done(&failure);
                    tries.failed(&attempt, failure);
                }
            }
            if self.clock().wall_ms() > signed.command().not_after_ms {
                break;
            }
        }
        Err(SubmitError::of(signed, tries.into_failed()))
    }

    /// One try at one node.
    async fn give(
        &self,
        attempt: &Attempt<'_>,
        signed: &SignedCommand,
        encoded: Vec<u8>,
    ) -> Result<Receipt, Failure> {
        let newest = self.newest().known();
        let deadline = Instant::now() + attempt.time;
        let mut client = attempt.endpoint.client(REPLY_SIZE_BYTES_MAX);
        let request = attempt.request(SubmitRequest { signed_command: encoded });
        let SubmitReply { outcome } = call(attempt.time, client.submit(request)).await?;
        match outcome {
            Some(Outcome::Acknowledged(reply)) => {
                let receipt = self.verify_receipt(attempt, deadline, &newest, signed, &reply).await?;
                self.newest().note(&receipt.head.head);
                Ok(receipt)
            }
            Some(Outcome::Refused(reply)) => {
                Err(Failure::Refused { code: printable(&reply.code), message: printable(&reply.message) })
            }
            Some(Outcome::NotDone(reply)) => Err(Failure::NotDone(printable(&reply.message))),
            Some(Outcome::Unknown(reply)) => Err(Failure::Unknown(printable(&reply.message))),
            None => Err(Failure::Unknown("the reply has no outcome".into())),
        }
    }

    /// Verifies that `reply` acknowledges `sent`, by nodes that did not contradict themselves.
    async fn verify_receipt(
        &self,
        attempt: &Attempt<'_>,
        deadline: Instant,
        newest: &Newest,
        sent: &SignedCommand,
        reply: &Acknowledged,
    ) -> Result<Receipt, Failure> {
        let clocks = Clocks { now_ms: self.clock().wall_ms(), own_skew_ms: self.clock_skew_ms() };
        let verify = |trust: &Trust| Receipt::verify(trust, newest, sent, reply, clocks);
        let receipt = self.verified(attempt, deadline, verify).await;
        let decoded = reply.statements.iter().take(STATEMENTS_MAX).map(|bytes| Statement::decode(bytes));
        let statements: Vec<_> = decoded.filter_map(Result::ok).collect();
        let nodes: Vec<u64> = statements.iter().map(|statement| statement.node).collect();
        let trust = self.trust();
        // Also what came with an acknowledgement that proves nothing: it may convict a later one.
        if let Some(convicted) = self.convictions().hear(&trust, statements, receipt.is_ok()).await {
            return Err(Failure::Contradiction(convicted));
        }
        let receipt = receipt?;
        let voters = trust.voters_of(&receipt.head.head).map_err(ReceiptError::from)?;
        match self.convictions().needed(|nodes| voters.has_quorum(nodes), nodes) {
            Some(convicted) => Err(ReceiptError::Convicted(convicted).into()),
            None => Ok(receipt),
        }
    }
}

/// Whether the command may have been done, or may yet be, though the try failed so.
const fn may_be_done(failure: &Failure) -> bool {
    !matches!(
        failure,
        Failure::Unreachable(_) | Failure::NotPermitted(_) | Failure::NotDone(_) | Failure::Refused { .. }
    )
}

impl SubmitError {
    /// What failed tries amount to.
    fn of(signed: &SignedCommand, mut tries: Vec<Try>) -> Self {
        let signed = Box::new(signed.clone());
        let contradiction = tries.iter().find_map(|one| match &one.failure {
            Failure::Contradiction(convicted) => Some(Arc::clone(convicted)),
            _ => None,
        });
        if let Some(convicted) = contradiction {
            return Self::Contradiction { convicted, signed, tries };
        }
        let unproven = tries.iter().position(|one| matches!(one.failure, Failure::Unacknowledged(_)));
        if let Some(Try { endpoint, failure: Failure::Unacknowledged(source) }) =
            unproven.map(|position| tries.remove(position))
        {
            return Self::Unproven { endpoint, source: Box::new(source), signed, tries };
        }
        if tries.iter().any(|one| may_be_done(&one.failure)) {
            return Self::Unknown { signed, tries };
        }
        let only_refused = |one: &Try| match &one.failure {
            Failure::NotPermitted(message) => Some(message.clone()),
            _ => None,
        };
        match tries.iter().find_map(only_refused) {
            Some(message) => Self::Refused { code: "not_permitted".into(), message },
            None => Self::NotDone { signed, tries },
        }
    }
}
