//! Checks: may this agent do this, now? Asked, proven, and decided here.
//!
//! Now is, by default, after the question was asked: a nonce of the client's own proves it. Who accepts less, by
//! the nodes' clocks, spares the nodes a round ([`CheckOptions::fresh_within`]).

use std::sync::Arc;
use std::time::Duration;

use chancery_ledger::answer::{
    Answer, AnswerError, HeadProof, Nonce, Verified, decode_answer, verify, verify_recent,
};
use chancery_ledger::authority::{Cause, ViewError};
use chancery_ledger::command::{LedgerId, Name, NameError};
use chancery_ledger::decide::{Authority, Decision, Denial, Explanation, Request, explain};
use chancery_ledger::evidence::{Evidence, Leaf, Proof};
use chancery_ledger::head::{RosterChain, RosterId};
use chancery_ledger::knowledge::Knowledge;
use chancery_ledger::state::{PrunedReadError, PrunedView};
use chancery_ledger::trust::TrustError;
use chancery_proto::v1::api::CheckRequest;
use tokio::time::Instant;

use crate::convictions::Convicted;
use crate::endpoints::{Attempt, Failure, Try, call};
use crate::permit::Bounds;
use crate::proven::Known;
use crate::rosters::NeedsRoster;
use crate::session::MESSAGE_OVERHEAD_BYTES;
use crate::{Args, Ledger, Permit, RostersError};

/// Room in an answer beside the read set, in bytes: two lists of 62 statements, and the nonce's path.
pub(crate) const ANSWER_OVERHEAD_BYTES: usize = 64 * 1024;

/// How a check is made.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// How long it may take, all tries together.
    pub timeout: Duration,
    /// The staleness that the caller accepts, in milliseconds; the grants' own counts if it is less.
    pub staleness_ms_max: u64,
    /// `None`: nothing is missing that was acknowledged before the question was asked. Otherwise nothing that was
    /// acknowledged before this long ago, and the clocks' bounds: proven by the nodes' clocks, held against this
    /// machine's. It spares the nodes a round of statements.
    pub fresh_within: Option<Duration>,
}

/// Why there is no permit.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It may not. This is proven.
    #[error("{0}")]
    Denied(Box<Denied>),
    /// It may within bounds, which only a recorded decision spends. What is left of them is proven.
    #[error("{0}")]
    Bounded(Box<Bounded>),
    /// A node's answer proves nothing, and no other node gave one that does. This is not a denial: either the
    /// node is faulty or malicious, or the trust is another ledger's.
    #[error("{endpoint}: the answer proves nothing: {source}")]
    Unproven {
        /// Whose answer.
        endpoint: String,
        /// What is wrong with it.
        source: Box<ProofError>,
        /// The other tries.
        tries: Vec<Try>,
    },
    /// A statement that came with the answer contradicts another of the same node: it lies to somebody. There
    /// is no permit, whatever the answer says, and from here on none that needs this node's signature.
    #[error("{endpoint}: {convicted}")]
    Contradiction {
        /// Whose answer.
        endpoint: String,
        /// Who lies, with the proof.
        convicted: Arc<Convicted>,
        /// The other tries.
        tries: Vec<Try>,
    },
    /// No node answered in time.
    #[error("no answer: {}", list(.tries))]
    Unavailable {
        /// What was tried.
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
    /// It might, but each answer came when its permit's deadline had passed.
    #[error("the answer came after the permit's deadline")]
    Expired {
        /// What was tried.
        tries: Vec<Try>,
    },
    /// No answer was as recent as was asked for.
    #[error("no answer was as recent as was asked for: {}", list(.tries))]
    Stale {
        /// What was tried.
        tries: Vec<Try>,
    },
    /// The question is none: a name is not well formed.
    #[error("{field} {source}")]
    Name {
        /// Which.
        field: &'static str,
        /// Why not.
        source: NameError,
    },
    /// The system gives no randomness for a nonce.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// A proven denial.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Why.
    pub denial: Denial,
    /// The check, with its proof.
    pub checked: Checked,
}

/// A proven "it may, if it is recorded".
#[derive(Clone, Debug)]
pub struct Bounded {
    /// What it rests on, with what is left of each bound.
    pub authority: Authority,
    /// The check, with its proof.
    pub checked: Checked,
}

impl std::fmt::Display for Bounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let request = &self.checked.request;
        write!(
            f,
            "{} may {} {} within bounds: the decision must be recorded",
            request.agent, request.action, request.resource
        )
    }
}

/// Why an answer to a check is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is not an answer at all.
    #[error(transparent)]
    Malformed(#[from] AnswerError),
    /// It does not prove what it must.
    #[error(transparent)]
    Answer(#[from] chancery_ledger::answer::ProofError),
    /// It is from before what was verified already.
    #[error(transparent)]
    RolledBack(TrustError),
    /// It needs a newer roster than is known, and the node does not prove that one.
    #[error("the rosters since: {0}")]
    Rosters(#[from] RostersError),
    /// It needs the signature of a node that contradicted itself.
    #[error("it rests on a node that was convicted: {0}")]
    Convicted(Arc<Convicted>),
}

impl NeedsRoster for ProofError {
    fn unknown_roster(&self) -> Option<RosterId> {
        match self {
            Self::Answer(chancery_ledger::answer::ProofError::Trust(error)) => error.unknown_roster(),
            _ => None,
        }
    }
}

/// A check that was proven: the question, and everything that proves the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Names the log.
    pub origin: String,
    /// The ledger.
    pub ledger: LedgerId,
    /// What was asked.
    pub request: Request,
    /// Under which nonce; none if it is recent by the nodes' clocks.
    pub nonce: Option<Nonce>,
    /// What proves it.
    pub answer: Answer,
    /// How the rosters that it names came about, from genesis on.
    pub rosters: RosterChain,
    /// What it proves.
    pub verified: Verified,
}

impl Checked {
    /// Why: what each grant came to that the proof shows, with what each condition saw.
    ///
    /// # Errors
    /// Never, for what was verified: the same is read again.
    pub fn explain(&self) -> Result<Explanation, ViewError<PrunedReadError>> {
        let request = Request { hint: self.answer.hint, ..self.request.clone() };
        explain(&PrunedView::new(&self.answer.tree), &request, self.verified.interval)
    }

    /// The evidence, with the leaf of the command that brought the decision about, if one did.
    pub(crate) fn evidence(&self, cause: Option<Leaf>) -> Evidence {
        let answer = self.answer.clone();
        let proof = match self.nonce {
            Some(nonce) => Proof::Check { nonce, answer },
            None => Proof::Recent { answer },
        };
        Evidence {
            origin: self.origin.clone(),
            ledger: self.ledger,
            request: self.request.clone(),
            proof,
            rosters: self.rosters.clone(),
            cause,
        }
    }
}

impl Denied {
    /// The command that brought it about, with its index, block and time, if one did.
    pub const fn cause(&self) -> Option<&Cause> {
        self.denial.cause()
    }
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let request = &self.checked.request;
        write!(f, "{} may not {} {}: ", request.agent, request.action, request.resource)?;
        write!(f, "{}", self.denial.code())?;
        if let Denial::ConditionFailed { grant, reason } = &self.denial {
            write!(f, " of grant {}: {reason}", grant.grant)?;
        }
        match self.cause() {
            Some(cause) => write!(f, " by leaf {} in block {}", cause.index, cause.block),
            None => Ok(()),
        }
    }
}

impl Ledger {
    /// Asks whether `agent` may do `action` on `resource` with `args`, now.
    ///
    /// # Errors
    /// Anything but `Ok` means no: see [`CheckError`]. [`CheckError::Denied`] alone is a proven denial; where
    /// the authority has bounds there is no permit but a recorded one ([`CheckError::Bounded`]).
    pub async fn check<'a>(
        &self,
        agent: &str,
        action: &str,
        resource: &str,
        args: impl Into<Args<'a>>,
    ) -> Result<Permit, CheckError> {
        let request = self.request([agent, action, resource], args.into());
        let request = request.map_err(|(field, source)| CheckError::Name { field, source })?;
        self.check_with(request, self.check_options()).await
    }

    /// [`Ledger::check`] with options of its own. The request's hint is not sent.
    ///
    /// # Errors
    /// As [`Ledger::check`].
    pub async fn check_with(&self, request: Request, options: CheckOptions) -> Result<Permit, CheckError> {
        let request = Request { hint: None, ..request };
        let mut within_ms = options.fresh_within.map(milliseconds);
        let mut tries = self.tries(Instant::now() + options.timeout);
        while let Some(attempt) = tries.next().await {
            // The time is taken before the nonce is made: the answer is at least as new as the nonce.
            let sent = self.clock().since_boot();
            let freshness = match within_ms {
                Some(within_ms) => Freshness::Within(within_ms),
                None => Freshness::Nonce(nonce().map_err(CheckError::Randomness)?),
            };
            let checked = match self.ask(&attempt, &request, freshness).await {
                Ok(checked) => checked,
                Err(Failure::Contradiction(convicted)) => {
                    let (endpoint, tries) = (attempt.endpoint.name.clone(), tries.into_failed());
                    return Err(CheckError::Contradiction { endpoint, convicted, tries });
                }
                Err(failure) => {
                    tries.failed(&attempt, failure);
                    continue;
                }
            };
            match checked.verified.decision.clone() {
                Decision::Denied(denial) => {
                    tries.served(&attempt);
                    return Err(CheckError::Denied(Box::new(Denied { denial, checked })));
                }
                Decision::Permit(authority) if !authority.bounds.is_empty() => {
                    tries.served(&attempt);
                    return Err(CheckError::Bounded(Box::new(Bounded { authority, checked })));
                }
                Decision::Permit(authority) => {
                    let bounds = Bounds {
                        staleness_ms_max: options.staleness_ms_max,
                        clock_skew_ms: self.clock_skew_ms(),
                    };
                    let staleness_ms = authority.max_staleness_ms.min(options.staleness_ms_max);
                    let sent = within_ms.is_none().then_some(sent);
                    let permit = Permit::new(checked, authority, sent, bounds, self.clock().clone());
                    if !permit.is_expired() {
                        return Ok(permit.after(tries.served(&attempt)));
                    }
                    // Recent as asked for, and too old for the grant: what is half as old leaves time to act.
                    within_ms = within_ms.map(|within_ms| within_ms.min(staleness_ms / 2));
                    tries.failed(&attempt, Failure::Expired);
                }
            }
        }
        Err(CheckError::of(tries.into_failed()))
    }

    /// One try at one node: sends, decodes, verifies.
    async fn ask(
        &self,
        attempt: &Attempt<'_>,
        request: &Request,
        freshness: Freshness,
    ) -> Result<Checked, Failure> {
        let known = self.known();
        let deadline = Instant::now() + attempt.time;
        let size_bytes_max = self.proof_size_bytes_max() + ANSWER_OVERHEAD_BYTES;
        let mut message = question(request);
        match freshness {
            Freshness::Nonce(nonce) => message.nonce = nonce.0.to_vec(),
            Freshness::Within(within_ms) => {
                message.fresh_within_ms = Some(within_ms);
                message.since_block = known.newest.block;
            }
        }
        let answer = match freshness {
            Freshness::Nonce(_) if self.options().check_sessions => {
                let client = attempt.endpoint.client(size_bytes_max + MESSAGE_OVERHEAD_BYTES);
                attempt.endpoint.sessions.ask(client, message, attempt.time, size_bytes_max).await?
            }
            Freshness::Nonce(_) | Freshness::Within(_) => {
                let mut client = attempt.endpoint.client(size_bytes_max + 16);
                let reply = call(attempt.time, client.check(attempt.request(message))).await?;
                decode_answer(&reply.answer, size_bytes_max).map_err(ProofError::from)?
            }
        };
        let Answer { head, statements, head_statements, .. } = &answer;
        let signed = HeadProof {
            head: *head,
            statements: statements.clone(),
            head_statements: head_statements.clone(),
        };
        let proven = self.proven(attempt, deadline, &known, &signed, |trust| match freshness {
            Freshness::Nonce(nonce) => verify(trust, request, nonce, &answer),
            Freshness::Within(_) => verify_recent(trust, request, &answer),
        });
        let (verified, rosters) = proven.await?;
        if let Freshness::Within(within_ms) = freshness {
            let age_ms = self.clock().wall_ms().saturating_sub(verified.freshness.clock_min_ms);
            if age_ms > within_ms {
                return Err(Failure::Stale { age_ms, within_ms });
            }
        }
        let nonce = match freshness {
            Freshness::Nonce(nonce) => Some(nonce),
            Freshness::Within(_) => None,
        };
        let Known { trust, .. } = known;
        Ok(Checked {
            origin: trust.origin.clone(),
            ledger: trust.ledger,
            request: request.clone(),
            nonce,
            answer,
            rosters,
            verified,
        })
    }
}

impl Ledger {
    /// What is asked of a call of this client's generation; or which name is none, and why.
    pub(crate) fn request(
        &self,
        [agent, action, resource]: [&str; 3],
        args: Args<'_>,
    ) -> Result<Request, (&'static str, NameError)> {
        let name = |field, text: &str| Name::new(text).map_err(|source| (field, source));
        let names = [name("agent", agent)?, name("action", action)?, name("resource", resource)?];
        Ok(Request { generation: self.options().generation, ..args.request(names) })
    }
}

/// What makes an answer fresh.
#[derive(Clone, Copy)]
enum Freshness {
    /// This nonce was made before it.
    Nonce(Nonce),
    /// By the nodes' clocks: at most so many milliseconds old.
    Within(u64),
}

/// `request` on the wire, without what makes it fresh.
pub(crate) fn question(request: &Request) -> CheckRequest {
    CheckRequest {
        agent: request.agent.to_string(),
        action: request.action.to_string(),
        resource: request.resource.to_string(),
        args_digest: request.args_digest.0.to_vec(),
        args: request.args.clone().unwrap_or_default(),
        knowledge: request.knowledge.as_ref().map(Knowledge::encode).unwrap_or_default(),
        generation: request.generation.map(|id| id.0.0.to_vec()).unwrap_or_default(),
        nonce: Vec::new(),
        fresh_within_ms: None,
        since_block: 0,
    }
}

fn nonce() -> Result<Nonce, getrandom::Error> {
    let mut nonce = Nonce([0; 32]);
    getrandom::fill(&mut nonce.0)?;
    Ok(nonce)
}

/// Whole milliseconds, never more than there are.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl CheckError {
    /// What failed tries amount to. The worst is told: an answer that proves nothing before a refusal, a
    /// refusal before an answer that was late, and that before none.
    pub(crate) fn of(mut tries: Vec<Try>) -> Self {
        let unproven = tries.iter().position(|one| matches!(one.failure, Failure::Unproven(_)));
        if let Some(Try { endpoint, failure: Failure::Unproven(source) }) =
            unproven.map(|position| tries.remove(position))
        {
            return Self::Unproven { endpoint, source: Box::new(source), tries };
        }
        for one in &tries {
            if let Failure::NotPermitted(message) = &one.failure {
                return Self::Refused { message: message.clone(), tries };
            }
        }
        if tries.iter().any(|one| matches!(one.failure, Failure::Expired)) {
            return Self::Expired { tries };
        }
        if tries.iter().any(|one| matches!(one.failure, Failure::Stale { .. })) {
            return Self::Stale { tries };
        }
        Self::Unavailable { tries }
    }

    /// What was tried.
    pub(crate) fn into_tries(self) -> Vec<Try> {
        match self {
            Self::Unproven { tries, .. }
            | Self::Contradiction { tries, .. }
            | Self::Unavailable { tries }
            | Self::Refused { tries, .. }
            | Self::Expired { tries }
            | Self::Stale { tries } => tries,
            Self::Denied(_) | Self::Bounded(_) | Self::Name { .. } | Self::Randomness(_) => Vec::new(),
        }
    }
}

/// Every try, for people.
pub(crate) fn list(tries: &[Try]) -> String {
    if tries.is_empty() {
        return "there was no time to try".into();
    }
    // The last of each endpoint says enough; the error itself has all of them.
    let last = |(place, one): &(usize, &Try)| {
        !tries.iter().skip(place + 1).any(|later| later.endpoint == one.endpoint)
    };
    let told: Vec<_> = tries.iter().enumerate().filter(last).map(|(_, one)| one.to_string()).collect();
    format!("{} ({} tries)", told.join("; "), tries.len())
}
