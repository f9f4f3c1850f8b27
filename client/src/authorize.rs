//! Recorded decisions: asked, committed to the log, and only then acted upon; then what became of it.

use std::future::Future;
use std::time::Duration;

use chancery_ledger::authority::{BoundTaken, Decided, GrantRef};
use chancery_ledger::command::{
    ActionOutcome, Authorize, Body, DecisionId, DecisionRef, NameError, OutcomeKind, SignedCommand,
};
use chancery_ledger::decide::Denial;
use chancery_ledger::hash::Hash;

use crate::check::milliseconds;
use crate::permit::{Deadline, PermitError, admit};
use crate::receipt::Receipt;
use crate::submit::SubmitError;
use crate::{Args, Ledger};

/// Why there is no recorded permit.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// It may not. This is recorded, and proven.
    #[error("{0}")]
    Denied(Box<RecordedDenial>),
    /// It is recorded that it may, but that was proven when the deadline had passed. Nothing was done.
    #[error("decision {} of {} was acknowledged after its deadline", .0.number, .0.agent)]
    Expired(DecisionRef),
    /// It was not recorded, or that is not known. The same command may be given again, with
    /// [`Ledger::authorize_signed`]: it is decided once.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The question is none: a name is not well formed.
    #[error("{field} {source}")]
    Name {
        /// Which.
        field: &'static str,
        /// Why not.
        source: NameError,
    },
    /// The command is no Authorize. Nothing was sent.
    #[error("the command asks for no decision")]
    NotAuthorize,
}

/// A recorded denial.
#[derive(Clone, Debug)]
pub struct RecordedDenial {
    /// Why.
    pub denial: Denial,
    /// Which decision it is.
    pub decision: DecisionRef,
    /// What was asked.
    pub asked: Authorize,
    /// Its place in the log.
    pub receipt: Receipt,
}

impl std::fmt::Display for RecordedDenial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Authorize { agent, action, resource, .. } = &self.asked;
        write!(f, "{agent} may not {action} {resource}: {}", self.denial.code())?;
        if let Some(cause) = self.denial.cause() {
            write!(f, " by leaf {} in block {}", cause.index, cause.block)?;
        }
        write!(f, " (decision {}, leaf {})", self.decision.number, self.receipt.index)
    }
}

/// A permit that is in the log: for one call with the arguments that were named, until its deadline.
///
/// Running the call consumes it. What becomes of the call is then recorded, once. Where nothing is recorded,
/// the decision counts as spent.
#[derive(Debug)]
#[must_use = "a recorded permit allows nothing until a call is run with it"]
pub struct Authorized {
    ledger: Ledger,
    asked: Authorize,
    decision: DecisionRef,
    chain: Vec<GrantRef>,
    bounds: Vec<BoundTaken>,
    deadline: Deadline,
    receipt: Receipt,
}

/// A call that was begun under an [`Authorized`]: what becomes of it is still to be recorded.
#[derive(Debug)]
#[must_use = "what became of the call is to be recorded"]
pub struct Running {
    ledger: Ledger,
    decision: DecisionRef,
}

/// What became of a call, as the call itself says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended<T> {
    /// In one word.
    pub kind: OutcomeKind,
    /// SHA-256 of the call's result, if it is to be recorded.
    pub result_digest: Option<Hash>,
    /// What the caller gets.
    pub value: T,
}

/// A call that was run.
#[derive(Debug)]
pub struct Ran<T> {
    /// What it returned.
    pub value: T,
    /// Under which decision.
    pub decision: DecisionRef,
    /// What became of it, on record; or why that is not: the same command may then be given again, with
    /// [`Ledger::submit`].
    pub outcome: Result<Receipt, SubmitError>,
}

impl Ledger {
    /// Has it decided and recorded whether `agent` may do `action` on `resource` with `args`, now. The execution
    /// may begin within the options' `execute_within`.
    ///
    /// # Errors
    /// Anything but `Ok` means no: see [`AuthorizeError`]. [`AuthorizeError::Denied`] alone is a proven denial.
    pub async fn authorize<'a>(
        &self,
        agent: &str,
        action: &str,
        resource: &str,
        args: impl Into<Args<'a>>,
    ) -> Result<Authorized, AuthorizeError> {
        let request = self.request([agent, action, resource], args.into());
        let request = request.map_err(|(field, source)| AuthorizeError::Name { field, source })?;
        let within_ms = milliseconds(self.options().execute_within);
        self.authorize_with(Authorize::of(request, within_ms.max(1))).await
    }

    /// [`Ledger::authorize`] with everything that a decision may name.
    ///
    /// # Errors
    /// As [`Ledger::authorize`].
    pub async fn authorize_with(&self, asked: Authorize) -> Result<Authorized, AuthorizeError> {
        let signed = self.sign_among(Body::Authorize(asked)).await?;
        self.authorize_signed(&signed).await
    }

    /// Gives a signed Authorize, perhaps again: it is decided once, and the permit is good for one execution of
    /// whoever gives it.
    ///
    /// # Errors
    /// As [`Ledger::authorize`].
    pub async fn authorize_signed(&self, signed: &SignedCommand) -> Result<Authorized, AuthorizeError> {
        let Body::Authorize(asked) = signed.command().body.clone() else {
            return Err(AuthorizeError::NotAuthorize);
        };
        let sent = self.clock().since_boot();
        let receipt = self.submit(signed).await?;
        // INVARIANT: a receipt for an Authorize is of that very command, whose leaf has a verdict.
        let Some(verdict) = receipt.verdict.clone() else { return Err(AuthorizeError::NotAuthorize) };
        let id = DecisionId::of(self.trust().ledger, signed.command_bytes());
        let decision = DecisionRef { agent: asked.agent.clone(), number: verdict.number, id };
        let (chain, bounds, deadline_ms) = match verdict.decided {
            Decided::Permit { chain, deadline_ms, bounds, .. } => (chain, bounds, deadline_ms),
            Decided::Denied(denial) => {
                let denied = RecordedDenial { denial, decision, asked, receipt };
                return Err(AuthorizeError::Denied(Box::new(denied)));
            }
        };
        let lasts = Duration::from_millis(deadline_ms.saturating_sub(receipt.time_ms));
        let deadline = Deadline {
            since_boot: sent.saturating_add(lasts),
            wall_ms: deadline_ms.saturating_sub(self.clock_skew_ms()),
        };
        if deadline.has_passed(&**self.clock()) {
            return Err(AuthorizeError::Expired(decision));
        }
        Ok(Authorized { ledger: self.clone(), asked, decision, chain, bounds, deadline, receipt })
    }

    /// Records what became of a permitted call.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn outcome(
        &self,
        decision: DecisionRef,
        kind: OutcomeKind,
        result_digest: Option<Hash>,
    ) -> Result<Receipt, SubmitError> {
        let said = Body::Outcome(ActionOutcome { decision, kind, result_digest });
        self.submit(&self.sign_among(said).await?).await
    }
}

impl Authorized {
    /// Consumes the permit, if it holds now and for these arguments: the call may begin at once, and not later.
    ///
    /// # Errors
    /// The deadline has passed, or `args` are others: then nothing may be run, and the permit is spent.
    pub fn start<'a>(self, args: impl Into<Args<'a>>) -> Result<Running, PermitError> {
        let clock = self.ledger.clock();
        admit(self.asked.args_digest, args.into(), self.deadline, &**clock)?;
        Ok(Running { ledger: self.ledger, decision: self.decision })
    }

    /// Runs `call` with the arguments that were named, if the permit holds when this is first polled, and records
    /// what became of it.
    ///
    /// # Errors
    /// As [`Authorized::start`]. That the outcome could not be recorded is no error of the call: see
    /// [`Ran::outcome`].
    pub async fn run<'a, T, F: Future<Output = Ended<T>>>(
        self,
        args: impl Into<Args<'a>>,
        call: impl FnOnce() -> F,
    ) -> Result<Ran<T>, PermitError> {
        let running = self.start(args)?;
        let Ended { kind, result_digest, value } = call().await;
        let decision = running.decision.clone();
        Ok(Ran { value, decision, outcome: running.end(kind, result_digest).await })
    }

    /// Which decision it is.
    pub const fn decision(&self) -> &DecisionRef {
        &self.decision
    }

    /// What was asked.
    pub const fn asked(&self) -> &Authorize {
        &self.asked
    }

    /// The grants that it rests on: the agent's own, then its ancestors up to the root.
    pub fn chain(&self) -> &[GrantRef] {
        &self.chain
    }

    /// What it took of the bounds of each, in the same order, and what is left of them.
    pub fn bounds(&self) -> &[BoundTaken] {
        &self.bounds
    }

    /// When it ends.
    pub const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Whether it would still be admitted.
    pub fn is_expired(&self) -> bool {
        self.deadline.has_passed(&**self.ledger.clock())
    }

    /// Its place in the log.
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

impl Running {
    /// Under which decision.
    pub const fn decision(&self) -> &DecisionRef {
        &self.decision
    }

    /// Records what became of the call.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn end(self, kind: OutcomeKind, result_digest: Option<Hash>) -> Result<Receipt, SubmitError> {
        self.ledger.outcome(self.decision, kind, result_digest).await
    }
}

impl<T> Ended<T> {
    /// It was done, with this result.
    pub fn executed<'a>(value: T, result: impl Into<Args<'a>>) -> Self {
        Self { kind: OutcomeKind::Executed, result_digest: Some(result.into().digest()), value }
    }

    /// It was not done.
    pub const fn failed(value: T) -> Self {
        Self { kind: OutcomeKind::Failed, result_digest: None, value }
    }

    /// Whether it was done is not known.
    pub const fn unknown(value: T) -> Self {
        Self { kind: OutcomeKind::Unknown, result_digest: None, value }
    }
}
