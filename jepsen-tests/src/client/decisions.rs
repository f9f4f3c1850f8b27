//! Decisions on record, and what became of them.

use chancery_client::chancery_ledger::authority::Verdict;
use chancery_client::chancery_ledger::command::{
    ActionOutcome, Authorize, Body, DecisionId, DecisionRef, Name, OutcomeKind,
};
use chancery_client::{Args, JsonArgs};

use super::Client;
use crate::history::{Call, Outcome};

/// How long after the decision the execution may begin, in milliseconds: longer than any grant's staleness.
const EXECUTE_WITHIN_MS: u64 = 30_000;

impl Client {
    /// Asks, on record, whether `agent` may, perhaps with an argument `amount`: the decision, if it is a permit.
    pub async fn authorize(
        &mut self,
        agent: &Name,
        action: &Name,
        resource: &Name,
        amount: Option<u64>,
    ) -> Option<DecisionRef> {
        let args = amount.and_then(|amount| JsonArgs::new(format!("{{\"amount\":{amount}}}")).ok());
        let args = args.as_ref().map_or(Args::from(""), Args::Json);
        let request = args.request([agent, action, resource].map(Clone::clone));
        let asked = Authorize::of(request, EXECUTE_WITHIN_MS);
        let ledger = self.gate.clone();
        let signed = ledger.sign(Body::Authorize(asked), &[]);
        let (_, receipt) = self
            .receipt(&ledger, signed, |_| Call::Authorize {
                agent: agent.to_string(),
                action: action.to_string(),
                resource: resource.to_string(),
            })
            .await;
        let receipt = receipt?;
        let verdict = receipt.verdict.filter(Verdict::is_permit)?;
        let id = DecisionId::of(ledger.trust().ledger, receipt.command.command_bytes());
        Some(DecisionRef { agent: agent.clone(), number: verdict.number, id })
    }

    /// Says what became of a call.
    pub async fn outcome(&mut self, decision: DecisionRef, kind: OutcomeKind) -> Outcome {
        let call = Call::Outcome {
            agent: decision.agent.to_string(),
            decision: decision.to_string(),
            kind: kind.name().into(),
        };
        let ledger = self.gate.clone();
        let said = ActionOutcome { decision, kind, result_digest: None };
        let signed = ledger.sign(Body::Outcome(said), &[]);
        self.submit(&ledger, signed, |_| call).await
    }
}
