//! The past: might this agent have done this then?
//!
//! What is proven of the past is a [`Past`] and never a [`Permit`](crate::Permit): nothing of it is about now.
//!
//! ```compile_fail
//! async fn act(ledger: chancery_client::Ledger, past: chancery_client::Past) {
//!     past.run(b"arguments", || ());
//! }
//! ```

use std::sync::Arc;

use chancery_ledger::answer::{HeadProof, Moment, PastAnswer, VerifiedPast, decode_past_answer, verify_past};
use chancery_ledger::command::LedgerId;
use chancery_ledger::decide::Request;
use chancery_ledger::evidence::{Evidence, Leaf, Proof};
use chancery_ledger::head::RosterChain;
use chancery_proto::v1::api::check_past_reply::Outcome;
use chancery_proto::v1::api::check_past_request::Moment as Asked;
use chancery_proto::v1::api::{CheckPastRequest, NotKept, NotReached};
use tokio::time::Instant;

use crate::Ledger;
use crate::check::{ANSWER_OVERHEAD_BYTES, CheckError, ProofError, list, question};
use crate::convictions::Convicted;
use crate::endpoints::{Attempt, Failure, Try, call};
use crate::proven::Known;
use crate::read::ReadError;

/// Room for two leaves and their proofs, in bytes.
const LEAVES_SIZE_BYTES_MAX: usize = 160 * 1024;

/// A decision about the past, with everything that proves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Past {
    /// Names the log.
    pub origin: String,
    /// The ledger.
    pub ledger: LedgerId,
    /// What was asked.
    pub request: Request,
    /// About when.
    pub moment: Moment,
    /// What proves it.
    pub answer: PastAnswer,
    /// How the rosters that it names came about, from genesis on.
    pub rosters: RosterChain,
    /// What it proves.
    pub verified: VerifiedPast,
}

/// Why nothing is known about the past.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The nodes keep that state no more, or there was no ledger yet: a replay of the log can still show it.
    #[error(
        "the nodes keep the states from block {oldest_block} on, ledger time {oldest_time_ms}; what was before, a \
         replay of the log shows"
    )]
    NotKept {
        /// The oldest block whose state a node says that it keeps.
        oldest_block: u64,
        /// Its ledger time, in milliseconds since 1970.
        oldest_time_ms: u64,
        /// What was tried.
        tries: Vec<Try>,
    },
    /// That moment has not come, as far as the nodes know.
    #[error("the newest block is {newest_block}, and the nodes' clocks say {clock_ms}")]
    NotReached {
        /// The newest block that a node knows.
        newest_block: u64,
        /// The oldest clock of its quorum, in milliseconds since 1970.
        clock_ms: u64,
        /// What was tried.
        tries: Vec<Try>,
    },
    /// A node's answer proves nothing, and no other node gave one that does.
    #[error("{endpoint}: the answer proves nothing: {source}")]
    Unproven {
        /// Whose answer.
        endpoint: String,
        /// What is wrong with it.
        source: Box<ProofError>,
        /// The other tries.
        tries: Vec<Try>,
    },
    /// A statement that came with the answer contradicts another of the same node.
    #[error("{endpoint}: {convicted}")]
    Contradiction {
        /// Whose answer.
        endpoint: String,
        /// Who lies, with the proof.
        convicted: Arc<Convicted>,
        /// The other tries.
        tries: Vec<Try>,
    },
    /// The nodes say that this client may not ask about the agent. It is only their word.
    #[error("this client may not ask: {message}")]
    Refused {
        /// A node's words.
        message: String,
        /// What was tried.
        tries: Vec<Try>,
    },
    /// No node answered in time.
    #[error("no answer: {}", list(.tries))]
    Unavailable {
        /// What was tried.
        tries: Vec<Try>,
    },
}

impl Past {
    /// Evidence without the command that brought a denial about.
    fn evidence(&self, cause: Option<Leaf>) -> Evidence {
        Evidence {
            origin: self.origin.clone(),
            ledger: self.ledger,
            request: self.request.clone(),
            proof: Proof::Past { moment: self.moment, answer: self.answer.clone() },
            rosters: self.rosters.clone(),
            cause,
        }
    }
}

impl Ledger {
    /// Asks whether the agent of `request` might have done this at `moment`. The request's hint is not sent.
    ///
    /// # Errors
    /// See [`PastError`]; none of them is a denial.
    pub async fn check_past(&self, request: Request, moment: Moment) -> Result<Past, PastError> {
        let request = Request { hint: None, ..request };
        let mut tries = self.tries(Instant::now() + self.options().check_timeout);
        while let Some(attempt) = tries.next().await {
            match self.ask_past(&attempt, &request, moment).await {
                Ok(past) => {
                    tries.served(&attempt);
                    return Ok(past);
                }
                Err(Failure::Contradiction(convicted)) => {
                    let (endpoint, tries) = (attempt.endpoint.name.clone(), tries.into_failed());
                    return Err(PastError::Contradiction { endpoint, convicted, tries });
                }
                Err(failure) => tries.failed(&attempt, failure),
            }
            if tries
                .all_say(|failure| matches!(failure, Failure::NotKept { .. } | Failure::NotReached { .. }))
            {
                break;
            }
        }
        Err(PastError::of(tries.into_failed()))
    }

    /// Evidence of the past, for who does not trust this client: with the leaf of the command that brought a denial
    /// about, if one did. It is verified before it is returned.
    ///
    /// # Errors
    /// No node gave that leaf in time, or what it gave is not the one that the denial names.
    pub async fn past_evidence(&self, past: &Past) -> Result<Evidence, ReadError> {
        let VerifiedPast { decision, head, .. } = &past.verified;
        let leaf = self.cause_in(decision.denial(), head).await?;
        let evidence = past.evidence(leaf);
        evidence.verify(&self.trust())?;
        Ok(evidence)
    }

    async fn ask_past(
        &self,
        attempt: &Attempt<'_>,
        request: &Request,
        moment: Moment,
    ) -> Result<Past, Failure> {
        let known = self.known();
        let deadline = Instant::now() + attempt.time;
        let size_bytes_max = self.proof_size_bytes_max() + ANSWER_OVERHEAD_BYTES + LEAVES_SIZE_BYTES_MAX;
        let mut client = attempt.endpoint.client(size_bytes_max + 16);
        let mut check = question(request);
        check.since_block = known.newest.block;
        let asked = match moment {
            Moment::Block(block) => Asked::Block(block),
            Moment::Time(time_ms) => Asked::TimeMs(time_ms),
        };
        let message = CheckPastRequest { check: Some(check), moment: Some(asked) };
        let answer = match call(attempt.time, client.check_past(attempt.request(message))).await?.outcome {
            Some(Outcome::Answer(answer)) => answer,
            Some(Outcome::NotKept(NotKept { oldest_block, oldest_time_ms })) => {
                return Err(Failure::NotKept { oldest_block, oldest_time_ms });
            }
            Some(Outcome::NotReached(NotReached { newest_block, clock_ms })) => {
                return Err(Failure::NotReached { newest_block, clock_ms });
            }
            None => return Err(Failure::Unknown("the reply has no outcome".into())),
        };
        let answer = decode_past_answer(&answer, size_bytes_max).map_err(ProofError::from)?;
        let PastAnswer { head, statements, head_statements, .. } = &answer;
        let signed = HeadProof {
            head: *head,
            statements: statements.clone(),
            head_statements: head_statements.clone(),
        };
        let verify = |trust: &_| verify_past(trust, request, moment, &answer);
        let (verified, rosters) = self.proven(attempt, deadline, &known, &signed, verify).await?;
        let Known { trust, .. } = known;
        Ok(Past {
            origin: trust.origin.clone(),
            ledger: trust.ledger,
            request: request.clone(),
            moment,
            answer,
            rosters,
            verified,
        })
    }
}

impl PastError {
    /// What failed tries amount to: of what nodes keep, the oldest.
    fn of(tries: Vec<Try>) -> Self {
        let kept = tries.iter().filter_map(|one| match &one.failure {
            Failure::NotKept { oldest_block, oldest_time_ms } => Some((*oldest_block, *oldest_time_ms)),
            _ => None,
        });
        let reached = tries.iter().filter_map(|one| match &one.failure {
            Failure::NotReached { newest_block, clock_ms } => Some((*newest_block, *clock_ms)),
            _ => None,
        });
        match (kept.min(), reached.max(), CheckError::of(tries)) {
            (_, _, CheckError::Unproven { endpoint, source, tries }) => {
                Self::Unproven { endpoint, source, tries }
            }
            (_, _, CheckError::Refused { message, tries }) => Self::Refused { message, tries },
            (Some((oldest_block, oldest_time_ms)), _, error) => {
                Self::NotKept { oldest_block, oldest_time_ms, tries: error.into_tries() }
            }
            (None, Some((newest_block, clock_ms)), error) => {
                Self::NotReached { newest_block, clock_ms, tries: error.into_tries() }
            }
            (None, None, error) => Self::Unavailable { tries: error.into_tries() },
        }
    }
}
