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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chancery_client::Args;
    use chancery_ledger::authority::Verdict;
    use chancery_ledger::command::{
        ActionOutcome, Authorize, Command, DecisionRef, PublicKey, RequestId, SignedCommand,
    };
    use chancery_ledger::knowledge::{Item, KnowledgeTree};
    use ed25519_dalek::SigningKey;

    use super::*;

    const LEDGER: LedgerId = LedgerId(Hash::ZERO);

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn leaf(time_ms: u64, body: Body, verdict: Option<Verdict>) -> Entry {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signer = PublicKey(key.verifying_key().to_bytes());
        let command = Command { signer, request_id: RequestId([0; 16]), not_after_ms: 9, body };
        let signed = SignedCommand::sign(LEDGER, &command, &[&key]).unwrap();
        Entry::Command { block: 1, time_ms, signed, verdict }
    }

    /// The agent `a` reads reservation `R` at 5, as `kind` says.
    fn readings(kind: OutcomeKind) -> Readings {
        let args = Args::from(br#"{"reservation_id":"R"}"#);
        let asked = Authorize::of(args.request([name("a"), name(READING_TOOL), name("desk")]), 1);
        let decided =
            Decided::Permit { chain: Vec::new(), deadline_ms: 6, bounds: Vec::new(), generation: None };
        let asked = leaf(5, Body::Authorize(asked), Some(Verdict { number: 1, decided }));
        let Entry::Command { signed, .. } = &asked else { return Readings::default() };
        let id = DecisionId::of(LEDGER, signed.command_bytes());
        let decision = DecisionRef { agent: name("a"), number: 1, id };
        let result_digest = Some(Hash::of(&[b"result"]));
        let said = leaf(6, Body::Outcome(ActionOutcome { decision, kind, result_digest }), None);
        let mut readings = Readings::default();
        readings.learn(LEDGER, &asked);
        readings.learn(LEDGER, &said);
        readings
    }

    fn request(agent: &str, source: &str, result: &[u8], retrieved_at_ms: u64) -> Request {
        let source = name(source);
        let item = Item { source: source.clone(), digest: Hash::of(&[result]), retrieved_at_ms };
        let knowledge = KnowledgeTree::new(vec![item]).unwrap().show(&[source]).unwrap();
        let names = [name(agent), name("change"), name("desk")];
        Request { knowledge: Some(knowledge), ..Args::from(Hash::ZERO).request(names) }
    }

    #[test]
    fn only_what_the_log_has_holds() {
        let done = readings(OutcomeKind::Executed);
        assert!(done.hold(&request("a", "a/reservation/R", b"result", 5)));
        for (agent, source, result, time_ms) in [
            ("b", "b/reservation/R", &b"result"[..], 5),
            ("b", "a/reservation/R", b"result", 5),
            ("a", "a/reservation/S", b"result", 5),
            ("a", "a/user/R", b"result", 5),
            ("a", "a/reservation/R", b"another", 5),
            ("a", "a/reservation/R", b"result", 6),
        ] {
            assert!(!done.hold(&request(agent, source, result, time_ms)), "{agent} {source} {time_ms}");
        }
        let failed = readings(OutcomeKind::Failed);
        assert!(!failed.hold(&request("a", "a/reservation/R", b"result", 5)));
    }
}
