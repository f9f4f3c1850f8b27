//! What nodes ask each other besides Raft: the called side's trait, the answers, and the ways to fail.

use std::future::Future;
use std::time::Duration;

use chancery_ledger::hash::Hash;
use chancery_proto::v1::peer;
use tonic::{Code, Status};

use crate::network::bounds::{HEAD_STATEMENTS_MAX, REASON_BYTES_MAX, STATEMENT_BYTES_MAX};
use crate::network::connector::was_not_sent;
use crate::network::tls::PeerId;
use crate::network::wire::{Malformed, malformed};
use crate::raft::types::{Entry, LogId, NodeId};

/// Answers peers. A call whose caller gave up is dropped where it waits.
pub trait PeerHandler: Send + Sync + 'static {
    /// This node's head statement over `nonce_root`, encoded.
    fn statement(
        &self,
        caller: PeerId,
        nonce_root: Hash,
    ) -> impl Future<Output = Result<Vec<u8>, Declined>> + Send;

    /// This node's statement about the head of `block`, encoded.
    fn sign_head(&self, caller: PeerId, block: u64)
    -> impl Future<Output = Result<Vec<u8>, Declined>> + Send;

    /// This node's cosignature of the checkpoint of the log after `block`, as a line of a note.
    fn cosign(&self, caller: PeerId, block: u64) -> impl Future<Output = Result<String, Declined>> + Send;

    /// This node's clock, now.
    fn clock(&self) -> ClockReading;

    /// Whether `entries` may be appended here after `prev`. It is asked before Raft sees them; a refusal is
    /// the peer's to deal with, and costs this node nothing. `last_block` is what this said of the entries
    /// before, if it was asked: the hash of the last block up to there. Says what it is after these.
    fn accept_entries(
        &self,
        prev: Option<LogId>,
        last_block: Option<Hash>,
        entries: &[Entry],
    ) -> Result<Option<Hash>, Declined>;

    /// The encoded roster chain after `since_block`, as far as this node knows it. Any node may ask, one that
    /// is removed too: it has to learn that it is.
    fn roster_links(&self, since_block: u64) -> Vec<u8>;

    /// Takes a command, if this node leads. It is not forwarded again.
    fn submit(&self, caller: PeerId, signed_command: Vec<u8>) -> impl Future<Output = SubmitResult> + Send;
}

/// A handler does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// Not now: still recovering, the clock is off, not applied so far.
    #[error("not now: {0}")]
    NotNow(String),
    /// It has that no more.
    #[error("gone: {0}")]
    Gone(String),
    /// It is broken.
    #[error("fault: {0}")]
    Fault(String),
}

/// A node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Milliseconds since 1970.
    pub clock_ms: u64,
    /// No step against the monotonic clock of late.
    pub monotonic_ok: bool,
}

/// A peer's clock, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSample {
    /// What it said.
    pub reading: ClockReading,
    /// From before the question until after the answer; half of it counts as error.
    pub round_trip: Duration,
}

/// What became of a submitted command, and the head it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitResult {
    /// What became of it.
    pub outcome: SubmitOutcome,
    /// The encoded head that the outcome is in; empty if there is none to show.
    pub head: Vec<u8>,
    /// Encoded statements of a quorum about that head.
    pub head_statements: Vec<Vec<u8>>,
}

/// What became of a submitted command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// Acknowledged.
    Applied {
        /// The leaf's index in the log.
        index: u64,
        /// The block.
        block: u64,
        /// The ledger time of the block.
        time_ms: u64,
        /// These bytes were applied before.
        before: bool,
    },
    /// Not done, and never will be.
    Refused {
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
    /// Not done: that node does not lead.
    NotLeader,
    /// Not done, for another reason.
    NotDone {
        /// Why.
        message: String,
    },
    /// Taken, and may be done later.
    Unknown {
        /// Why it is not known.
        message: String,
    },
}

impl From<SubmitOutcome> for SubmitResult {
    fn from(outcome: SubmitOutcome) -> Self {
        Self { outcome, head: Vec::new(), head_statements: Vec::new() }
    }
}

/// There is no such peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {0} is no peer of this node")]
pub struct UnknownPeer(pub NodeId);

/// Why a peer's answer did not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Not asked.
    #[error(transparent)]
    NoPeer(#[from] UnknownPeer),
    /// Not asked: no connection.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Asked, and refused before anything was done: the caller, the message, or too much of it.
    #[error("refused: {0}")]
    Refused(String),
    /// Asked; the handler does not answer.
    #[error(transparent)]
    Declined(#[from] Declined),
    /// Perhaps asked; no answer until the deadline.
    #[error("no answer in time")]
    Deadline,
    /// Perhaps asked; the connection broke.
    #[error("connection broke: {0}")]
    Broken(String),
    /// Asked; the answer is malformed.
    #[error("{0}")]
    Malformed(String),
}

impl PeerError {
    /// Whether the peer certainly did not act on the request.
    pub const fn is_surely_not_done(&self) -> bool {
        matches!(self, Self::NoPeer(_) | Self::Unreachable(_) | Self::Refused(_))
    }
}

impl From<Malformed> for PeerError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

/// A handler's refusals have codes that the transport does not make up.
impl From<Declined> for Status {
    fn from(declined: Declined) -> Self {
        match declined {
            Declined::NotNow(reason) => Self::failed_precondition(cut(reason)),
            Declined::Gone(reason) => Self::not_found(cut(reason)),
            Declined::Fault(reason) => Self::data_loss(cut(reason)),
        }
    }
}

impl From<Status> for PeerError {
    fn from(status: Status) -> Self {
        let reason = || status.message().to_owned();
        match status.code() {
            _ if was_not_sent(&status) => Self::Unreachable(reason()),
            Code::FailedPrecondition => Declined::NotNow(reason()).into(),
            Code::NotFound => Declined::Gone(reason()).into(),
            Code::DataLoss => Declined::Fault(reason()).into(),
            Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument => Self::Refused(reason()),
            Code::DeadlineExceeded => Self::Deadline,
            _ => Self::Broken(reason()),
        }
    }
}

/// A reason is for people; it is cut rather than refused.
fn cut(mut reason: String) -> String {
    while reason.len() > REASON_BYTES_MAX {
        reason.pop();
    }
    reason
}

pub(super) fn to_submit_reply(result: SubmitResult) -> peer::SubmitReply {
    use peer::submit_reply::{Applied, NotDone, NotLeader, Outcome, Refused, Unknown};
    let outcome = match result.outcome {
        SubmitOutcome::Applied { index, block, time_ms, before } => {
            Outcome::Applied(Applied { index, block, time_ms, before })
        }
        SubmitOutcome::Refused { code, message } => {
            Outcome::Refused(Refused { code: cut(code), message: cut(message) })
        }
        SubmitOutcome::NotLeader => Outcome::NotLeader(NotLeader {}),
        SubmitOutcome::NotDone { message } => Outcome::NotDone(NotDone { message: cut(message) }),
        SubmitOutcome::Unknown { message } => Outcome::Unknown(Unknown { message: cut(message) }),
    };
    let SubmitResult { head, head_statements, .. } = result;
    peer::SubmitReply { outcome: Some(outcome), head, head_statements }
}

pub(super) fn of_submit_reply(reply: peer::SubmitReply) -> Result<SubmitResult, Malformed> {
    use peer::submit_reply::{NotDone, Outcome, Refused, Unknown};
    let refused = |reason| malformed("submit reply", reason);
    let outcome = match reply.outcome.ok_or_else(|| refused("empty"))? {
        Outcome::Applied(applied) => SubmitOutcome::Applied {
            index: applied.index,
            block: applied.block,
            time_ms: applied.time_ms,
            before: applied.before,
        },
        Outcome::Refused(Refused { code, message }) => SubmitOutcome::Refused { code, message },
        Outcome::NotLeader(_) => SubmitOutcome::NotLeader,
        Outcome::NotDone(NotDone { message }) => SubmitOutcome::NotDone { message },
        Outcome::Unknown(Unknown { message }) => SubmitOutcome::Unknown { message },
    };
    let too_long = match &outcome {
        SubmitOutcome::Refused { code, message } => code.len().max(message.len()) > REASON_BYTES_MAX,
        SubmitOutcome::NotDone { message } | SubmitOutcome::Unknown { message } => {
            message.len() > REASON_BYTES_MAX
        }
        SubmitOutcome::Applied { .. } | SubmitOutcome::NotLeader => false,
    };
    let statements = &reply.head_statements;
    if too_long
        || reply.head.len() > STATEMENT_BYTES_MAX
        || statements.len() > HEAD_STATEMENTS_MAX
        || statements.iter().any(|statement| statement.len() > STATEMENT_BYTES_MAX)
    {
        return Err(refused("too long"));
    }
    Ok(SubmitResult { outcome, head: reply.head, head_statements: reply.head_statements })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_back() {
        let outcomes = [
            SubmitOutcome::Applied { index: 1, block: 2, time_ms: 3, before: true },
            SubmitOutcome::Refused { code: "c".to_owned(), message: "m".to_owned() },
            SubmitOutcome::NotLeader,
            SubmitOutcome::NotDone { message: "m".to_owned() },
            SubmitOutcome::Unknown { message: "m".to_owned() },
        ];
        for outcome in outcomes {
            let result = SubmitResult { outcome, head: vec![1], head_statements: vec![vec![2], vec![3]] };
            assert_eq!(of_submit_reply(to_submit_reply(result.clone())), Ok(result));
        }
        assert!(of_submit_reply(peer::SubmitReply::default()).is_err());
        let mut long = SubmitResult::from(SubmitOutcome::NotLeader);
        long.head_statements = vec![vec![]; HEAD_STATEMENTS_MAX + 1];
        assert!(of_submit_reply(to_submit_reply(long)).is_err());
        let message = "ä".repeat(REASON_BYTES_MAX);
        let cut = of_submit_reply(to_submit_reply(SubmitOutcome::Unknown { message }.into())).unwrap();
        assert_eq!(cut.outcome, SubmitOutcome::Unknown { message: "ä".repeat(REASON_BYTES_MAX / 2) });
    }

    #[test]
    fn what_is_declined_stays_what_it_is() {
        for declined in [
            Declined::NotNow("a".to_owned()),
            Declined::Gone("b".to_owned()),
            Declined::Fault("c".to_owned()),
        ] {
            let error = PeerError::from(Status::from(declined.clone()));
            assert_eq!(error, PeerError::Declined(declined));
            assert!(!error.is_surely_not_done());
        }
        assert!(PeerError::from(Status::permission_denied("x")).is_surely_not_done());
        assert!(!PeerError::from(Status::unavailable("x")).is_surely_not_done());
    }
}
