//! Membership: for operators. Voters change by a command that operators sign; what comes before and after it
//! (a node that catches up, leadership) is between the operator and the nodes, and proves nothing.

use chancery_ledger::command::{Body, Command, PublicKey, RequestId, SignedCommand};
use chancery_ledger::head::{RosterId, VoterSet};
use chancery_proto::v1::api::{
    AddLearnerProgress, AddLearnerRequest, RemoveLearnerRequest, TransferLeadershipReply,
    TransferLeadershipRequest,
};
use ed25519_dalek::SigningKey;
use tokio::time::Instant;
use tonic::Streaming;

use crate::Ledger;
use crate::check::list;
use crate::commands::public;
use crate::endpoints::{Failure, Tries, Try, call};
use crate::receipt::Receipt;
use crate::submit::SubmitError;

/// Longest reply to each of these calls, in bytes.
const REPLY_SIZE_BYTES_MAX: usize = 4096;

/// Why a node did not do what an operator asked.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// No node did it in time; most know only that they do not lead. It may have been done all the same.
    #[error("not done: {}", list(.tries))]
    Unavailable {
        /// What was tried.
        tries: Vec<Try>,
    },
    /// The nodes say that this client is no operator.
    #[error("this client may not: {message}")]
    NotPermitted {
        /// A node's words.
        message: String,
        /// What was tried.
        tries: Vec<Try>,
    },
    /// The leader says that it cannot be done: it would be asked in vain again.
    #[error("refused: {message}")]
    Refused {
        /// The leader's words.
        message: String,
    },
    /// The node stopped to tell of the progress. It goes on, unless its leader changed.
    #[error("{endpoint} tells no more of the progress: {failure}")]
    Interrupted {
        /// Which.
        endpoint: String,
        /// Why.
        failure: Box<Failure>,
    },
}

/// How far a learner is, as the leader tells.
#[derive(Debug)]
pub struct LearnerProgress {
    endpoint: String,
    stream: Streaming<AddLearnerProgress>,
}

/// What the leader knows of a learner's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnerLag {
    /// The last Raft log entry that the learner is known to have.
    pub matched_index: Option<u64>,
    /// The leader's last.
    pub last_index: u64,
    /// It has caught up; nothing follows.
    pub caught_up: bool,
}

impl LearnerProgress {
    /// What comes next; the last has `caught_up`.
    ///
    /// # Errors
    /// The stream broke before the learner had caught up. Asking for it again does no harm.
    pub async fn next(&mut self) -> Result<LearnerLag, MembersError> {
        let interrupted = |failure| MembersError::Interrupted {
            endpoint: self.endpoint.clone(),
            failure: Box::new(failure),
        };
        match self.stream.message().await {
            Ok(Some(AddLearnerProgress { matched_index, last_index, caught_up })) => {
                Ok(LearnerLag { matched_index, last_index, caught_up })
            }
            Ok(None) => {
                let (code, message) = (tonic::Code::Ok, "the stream ended".into());
                Err(interrupted(Failure::Failed { code, message }))
            }
            Err(status) => Err(interrupted(Failure::of(&status))),
        }
    }
}

impl Ledger {
    /// Has `node` replicate the log, without a vote, from its peer port at `address`.
    ///
    /// # Errors
    /// No node did it: see [`MembersError`].
    pub async fn add_learner(
        &self,
        node: u64,
        name: &str,
        address: &str,
    ) -> Result<LearnerProgress, MembersError> {
        let mut tries = self.member_tries();
        while let Some(attempt) = tries.next().await {
            let mut client = attempt.endpoint.client(REPLY_SIZE_BYTES_MAX);
            let message = AddLearnerRequest { node, name: name.into(), address: address.into() };
            // Without a deadline of its own: it would end the whole stream.
            match call(attempt.time, client.add_learner(message)).await {
                Ok(stream) => {
                    let endpoint = attempt.endpoint.name.clone();
                    tries.served(&attempt);
                    return Ok(LearnerProgress { endpoint, stream });
                }
                Err(failure) => {
                    if let Some(refused) = MembersError::refused(&failure) {
                        return Err(refused);
                    }
                    tries.failed(&attempt, failure);
                }
            }
        }
        Err(MembersError::of(tries.into_failed()))
    }

    /// Ends the replication to a node that has no vote.
    ///
    /// # Errors
    /// No node did it: see [`MembersError`].
    pub async fn remove_learner(&self, node: u64) -> Result<(), MembersError> {
        let mut tries = self.member_tries();
        while let Some(attempt) = tries.next().await {
            let mut client = attempt.endpoint.client(REPLY_SIZE_BYTES_MAX);
            let request = attempt.request(RemoveLearnerRequest { node });
            match call(attempt.time, client.remove_learner(request)).await {
                Ok(_) => {
                    tries.served(&attempt);
                    return Ok(());
                }
                Err(failure) => {
                    if let Some(refused) = MembersError::refused(&failure) {
                        return Err(refused);
                    }
                    tries.failed(&attempt, failure);
                }
            }
        }
        Err(MembersError::of(tries.into_failed()))
    }

    /// Has the leader hand over to the voter `to`: who leads then, and in which term, as a node says.
    ///
    /// # Errors
    /// No node did it: see [`MembersError`].
    pub async fn transfer_leadership(&self, to: u64) -> Result<(u64, u64), MembersError> {
        let mut tries = self.member_tries();
        while let Some(attempt) = tries.next().await {
            let mut client = attempt.endpoint.client(REPLY_SIZE_BYTES_MAX);
            let request = attempt.request(TransferLeadershipRequest { to });
            match call(attempt.time, client.transfer_leadership(request)).await {
                Ok(TransferLeadershipReply { leader, term }) => {
                    tries.served(&attempt);
                    return Ok((leader, term));
                }
                Err(failure) => {
                    if let Some(refused) = MembersError::refused(&failure) {
                        return Err(refused);
                    }
                    tries.failed(&attempt, failure);
                }
            }
        }
        Err(MembersError::of(tries.into_failed()))
    }

    /// Changes the voters from the roster `replaces`, which the caller has seen to be in force (see
    /// [`Ledger::rosters`]); signed with the context's key and those of the `other` operators.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn set_roster(
        &self,
        voters: VoterSet,
        replaces: RosterId,
        others: &[&SigningKey],
    ) -> Result<Receipt, SubmitError> {
        let operators = others.iter().map(|key| public(key)).collect();
        let lifetime_ms = self.options().command_lifetime_ms;
        let mut signed = self.propose_roster(voters, replaces, operators, lifetime_ms)?;
        for key in others {
            signed = signed.co_sign(self.trust().ledger, key)?;
        }
        self.submit(&signed).await
    }

    /// The same command, signed with the context's key alone, for the other `operators` to sign one after the
    /// other (see [`Ledger::co_sign`]). It must take effect within `lifetime_ms`, at most 24 hours.
    ///
    /// # Errors
    /// Nothing was sent: there is no key, or the command is out of its bounds.
    pub fn propose_roster(
        &self,
        voters: VoterSet,
        replaces: RosterId,
        mut operators: Vec<PublicKey>,
        lifetime_ms: u64,
    ) -> Result<SignedCommand, SubmitError> {
        let key = self.key().ok_or(SubmitError::NoKey)?;
        operators.sort_unstable();
        let mut request_id = RequestId([0; 16]);
        getrandom::fill(&mut request_id.0).map_err(SubmitError::Randomness)?;
        let not_after_ms = self.clock().wall_ms().saturating_add(lifetime_ms);
        let body = Body::SetRoster { voters, replaces, operators };
        let command = Command { signer: public(key), request_id, not_after_ms, body };
        Ok(SignedCommand::sign(self.trust().ledger, &command, &[key])?)
    }

    /// Adds the context's signature to a command that others have signed. [`SignedCommand::missing_signers`]
    /// says who has yet to sign; then it is submitted.
    ///
    /// # Errors
    /// There is no key, the command does not ask for it, or a signature on it does not verify.
    pub fn co_sign(&self, half: SignedCommand) -> Result<SignedCommand, SubmitError> {
        Ok(half.co_sign(self.trust().ledger, self.key().ok_or(SubmitError::NoKey)?)?)
    }

    fn member_tries(&self) -> Tries<'_> {
        self.tries(Instant::now() + self.options().submit_timeout)
    }
}

impl MembersError {
    /// What the leader itself refused; who does not lead is only unavailable.
    fn refused(failure: &Failure) -> Option<Self> {
        use tonic::Code::{FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted};
        match failure {
            Failure::Failed {
                code: FailedPrecondition | InvalidArgument | NotFound | ResourceExhausted,
                message,
            } => Some(Self::Refused { message: message.clone() }),
            _ => None,
        }
    }

    fn of(tries: Vec<Try>) -> Self {
        let not_permitted = tries.iter().find_map(|one| match &one.failure {
            Failure::NotPermitted(message) => Some(message.clone()),
            _ => None,
        });
        match not_permitted {
            Some(message) => Self::NotPermitted { message, tries },
            None => Self::Unavailable { tries },
        }
    }
}
