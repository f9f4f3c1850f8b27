//! What agents read, as the log has it: so that knowledge is held against the reading, and not believed.

use std::collections::{HashMap, HashSet};

use chancery_ledger::authority::{Decided, Entry};
use chancery_ledger::command::{Body, DecisionId, LedgerId, Name, OutcomeKind};
use chancery_ledger::decide::Request;
use chancery_ledger::hash::Hash;
use serde_json::json;

/// The tool that reads a reservation.
const READING_TOOL: &str = "get_reservation_details";

/// Every reading that was permitted and carried out.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// Permitted, with nothing known yet of what became of it.
    begun: HashMap<DecisionId, Reading>,
    /// With the digest of the result.
    done: HashSet<(Reading, Hash)>,
}

/// Who read what, and when that was permitted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Reading {
    agent: Name,
    args_digest: Hash,
    permitted_ms: u64,
}

impl Readings {
    /// Learns from a leaf, in the order of the log.
    pub(super) fn learn(&mut self, ledger: LedgerId, leaf: &Entry) {
        let Entry::Command { time_ms, signed, verdict, .. } = leaf else { return };
        match (&signed.command().body, verdict.as_ref().map(|verdict| &verdict.decided)) {
            (Body::Authorize(asked), Some(Decided::Permit { .. }))
                if asked.action.as_str() == READING_TOOL =>
            {
                let (agent, args_digest) = (asked.agent.clone(), asked.args_digest);
                let reading = Reading { agent, args_digest, permitted_ms: *time_ms };
                self.begun.insert(DecisionId::of(ledger, signed.command_bytes()), reading);
            }
            (Body::Outcome(said), _) => {
                let reading = self.begun.remove(&said.decision.id);
                if let (Some(reading), OutcomeKind::Executed, Some(digest)) =
                    (reading, said.kind, said.result_digest)
                {
                    self.done.insert((reading, digest));
                }
            }
            _ => {}
        }
    }

    /// Whether all that `request` shows of its knowledge is the result of the agent's own reading of that very
    /// reservation, at that time.
    pub(super) fn hold(&self, request: &Request) -> bool {
        let mut shown = request.knowledge.iter().flat_map(|knowledge| knowledge.shown());
        shown.all(|placed| {
            let item = &placed.item;
            let source = item.source.as_str().strip_prefix(request.agent.as_str());
            let Some(number) = source.and_then(|source| source.strip_prefix("/reservation/")) else {
                return false;
            };
            let args = json!({ "reservation_id": number }).to_string();
            let reading = Reading {
                agent: request.agent.clone(),
                args_digest: Hash::of(&[args.as_bytes()]),
                permitted_ms: item.retrieved_at_ms,
            };
            self.done.contains(&(reading, item.digest))
        })
    }
}
