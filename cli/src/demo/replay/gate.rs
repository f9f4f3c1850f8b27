//! The gate: each call is decided in the log before it is carried out, and what became of it is recorded after.

use std::time::{Duration, Instant};

use chancery_client::{Args, AuthorizeError, Ended, Ledger, PermitError, Receipt};
use chancery_ledger::command::{Authorize, DecisionRef, Name, OutcomeKind, Traceparent};
use chancery_ledger::decide::{Denial, Request};

use super::airline::{Effect, effect};
use super::conversation::Conversation;
use super::facts;
use super::trajectory::Step;
use crate::authorize;
use crate::exit::{Failure, Result};
use crate::ledger::submit_failure;

/// How long after its decision a call may begin; the grants' own staleness counts if it is less.
const EXECUTE_WITHIN_MS: u64 = 30_000;

/// Decisions for one call: a permit that was acknowledged after its deadline is given back, and another is asked for.
const DECISIONS_MAX: u64 = 8;

/// Asks, and carries out.
pub(super) struct Gate {
    ledger: Ledger,
}

/// What became of one call.
#[derive(Debug)]
pub(super) struct Called {
    /// Why it was denied, if it was.
    pub(super) denied: Option<Denial>,
    /// The decision's own receipt.
    pub(super) decided: Receipt,
    /// The last that was recorded of it: the outcome, if it was permitted.
    pub(super) last: Receipt,
    /// Which decision.
    pub(super) decision: DecisionRef,
    /// Decisions that were recorded for it.
    pub(super) decisions: u64,
    /// How long the decision took.
    pub(super) took: Duration,
}

impl Gate {
    /// A gate on `ledger`.
    pub(super) const fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    /// Has one call decided, carries it out if it may be, and records what became of it. `parent` is the decision
    /// before it in the same conversation.
    pub(super) async fn call(
        &self,
        step: &Step,
        conversation: &mut Conversation,
        parent: Option<DecisionRef>,
    ) -> Result<Called> {
        let asked = question(step, conversation, parent)?;
        for decisions in 1..=DECISIONS_MAX {
            let began = Instant::now();
            let authorized = match self.ledger.authorize_with(asked.clone()).await {
                Ok(authorized) => authorized,
                Err(AuthorizeError::Denied(denied)) => {
                    let (decided, took) = (denied.receipt, began.elapsed());
                    let (last, decision, denied) = (decided.clone(), denied.decision, Some(denied.denial));
                    return Ok(Called { denied, decided, last, decision, decisions, took });
                }
                Err(AuthorizeError::Expired(decision)) => {
                    self.give_back(decision).await?;
                    continue;
                }
                Err(error) => return Err(authorize::failure(error)),
            };
            let took = began.elapsed();
            let (decided, decision) = (authorized.receipt().clone(), authorized.decision().clone());
            match authorized.run(asked.args_digest, || async { carry_out(step) }).await {
                Ok(ran) => {
                    let last = ran.outcome.map_err(submit_failure)?;
                    if ran.value == OutcomeKind::Executed {
                        conversation.learn(step, decided.time_ms);
                    }
                    return Ok(Called { denied: None, decided, last, decision, decisions, took });
                }
                Err(PermitError::Expired) => self.give_back(decision).await?,
                Err(error) => return Err(Failure::local(error.to_string())),
            }
        }
        Err(Failure::local(format!("{DECISIONS_MAX} permits of {} were acknowledged too late", step.tool)))
    }

    /// Records that what was permitted was not done.
    async fn give_back(&self, decision: DecisionRef) -> Result<()> {
        self.ledger.outcome(decision, OutcomeKind::Failed, None).await.map_err(submit_failure)?;
        Ok(())
    }
}

/// What is asked. Reading is neither bounded nor conditional, and its arguments are the customer's: of these the
/// digest is enough.
fn question(step: &Step, conversation: &Conversation, parent: Option<DecisionRef>) -> Result<Authorize> {
    let name = |text: &str| Name::new(text).map_err(|error| Failure::local(error.to_string()));
    let shown = match effect(&step.tool) {
        Some(Effect::Changes) => facts::shown(conversation, step),
        _ => None,
    };
    let own = step.args.to_string();
    let args = shown.as_ref().map_or(Args::from(own.as_str()), Args::Json);
    let names = [name(conversation.agent())?, name(&step.tool)?, name(&conversation.resource(step))?];
    let request = Request { knowledge: conversation.knowledge(step), ..args.request(names) };
    Ok(Authorize {
        traceparent: trace(step.episode, parent.as_ref()),
        parent,
        ..Authorize::of(request, EXECUTE_WITHIN_MS)
    })
}

/// A trace for each episode; the span is that of the decision before.
fn trace(episode: u64, parent: Option<&DecisionRef>) -> Option<Traceparent> {
    let span = parent.map_or(0, |parent| parent.number).saturating_add(1);
    Traceparent::new(format!("00-{:032x}-{span:016x}-01", episode.saturating_add(1)))
}

/// What the tool did when it was recorded.
fn carry_out(step: &Step) -> Ended<OutcomeKind> {
    if step.result.starts_with("Error") {
        Ended::failed(OutcomeKind::Failed)
    } else {
        Ended::executed(OutcomeKind::Executed, step.result.as_bytes())
    }
}
