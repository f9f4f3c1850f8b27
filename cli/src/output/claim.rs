//! What a file of evidence claims, in one sentence, and what it does not show: for who was not there, and knows neither
//! the formats nor us.

use chancery_ledger::answer::Moment;
use chancery_ledger::authority::{Cause, Decided, GrantRef};
use chancery_ledger::command::{Body, GrantId};
use chancery_ledger::decide::{Decision, Denial};
use chancery_ledger::evidence::{
    Conviction, Evidence, Proof, Proven, Recorded, Shown, ShownNoPermit, ShownRecord, ShownRecordedBy,
};
use chancery_ledger::trust::Trust;
use serde_json::{Value, json};

use super::{Page, denial, short, style, utc, with, words};

/// What is claimed.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The question that it answers: a stable name for machines.
    question: &'static str,
    claim: String,
    does_not_show: Vec<String>,
}

const NOT_THAT_IT_ACTED: &str = "that the agent did it, or did not: only what it was allowed";
const NOT_UNRECORDED: &str = "what was allowed by checks that were not recorded, or done around the gates";
const NOT_THE_COMMIT: &str = "when exactly the command took effect: it was there by then, and its block's time is a \
                              lower bound";

impl Claim {
    fn new<const N: usize>(question: &'static str, claim: String, does_not_show: [&str; N]) -> Self {
        Self { question, claim, does_not_show: does_not_show.map(Into::into).to_vec() }
    }

    /// The claim at the top.
    pub(crate) fn head(&self, page: Page) -> Page {
        page.field("claim", style::name(&self.claim))
    }

    /// What is not shown, at the end.
    pub(crate) fn tail(&self, mut page: Page) -> Page {
        for (place, line) in self.does_not_show.iter().enumerate() {
            page = page.field(if place == 0 { "does not show" } else { "" }, style::dim(line));
        }
        page
    }

    /// For machines: two more fields, and what was asked.
    pub(crate) fn json(&self, value: Value) -> Value {
        let value = with(value, "question", json!(self.question));
        let value = with(value, "claim", json!(self.claim));
        with(value, "does_not_show", json!(self.does_not_show))
    }
}

/// The grant whose chain a decision shows to be unrevoked, if it shows that of one: of a permit the agent's own, of a
/// denial the one that forbade it for another reason.
pub(crate) fn live_chain(decision: &Decision) -> Option<&GrantRef> {
    match decision {
        Decision::Permit(authority) => authority.chain.first(),
        // Whether a chain is revoked is looked at before these are.
        Decision::Denied(
            Denial::BoundExhausted { grant, .. }
            | Denial::KnowledgeMissing { grant, .. }
            | Denial::ConditionFailed { grant, .. },
        ) => Some(grant),
        Decision::Denied(_) => None,
    }
}

/// Of a check, or of the past.
pub(crate) fn of_evidence(trust: &Trust, evidence: &Evidence, shown: &Shown) -> Claim {
    let request = &evidence.request;
    let call = format!("{} on {}", request.action, request.resource);
    let when = when(&evidence.proof, &shown.proven);
    let late = unseen(trust, &evidence.proof, &shown.proven);
    let decision = shown.proven.decision();
    let mut claim = match decision {
        Decision::Permit(authority) => {
            let chain: Vec<_> = authority.chain.iter().map(|link| grant(&link.grant)).collect();
            let within = if authority.bounds.is_empty() { "" } else { ", within bounds if it was recorded" };
            let claim = format!(
                "{when}, {} was allowed {call}{within}; by {}, unrevoked then",
                request.agent,
                chain.join(", below ")
            );
            Claim::new("in_force_at", claim, [NOT_THAT_IT_ACTED])
        }
        Decision::Denied(denied @ Denial::Halted { scope, cause, .. }) => {
            let claim = format!(
                "{when}, the halt of {scope} at index {} of the log covered {}'s {call}: it was not allowed ({})",
                cause.index,
                request.agent,
                denial(denied)
            );
            let before = "that no call was begun on a permit from before the halt, which may have lived on until the \
                          halt's dead_at";
            Claim::new("halt_covered", claim, [NOT_THAT_IT_ACTED, before])
        }
        Decision::Denied(denied) => {
            let (question, unrevoked) = match live_chain(decision) {
                Some(link) => (
                    "not_revoked_at",
                    format!("; {} and those above it were unrevoked then", grant(&link.grant)),
                ),
                None => ("denied_at", String::new()),
            };
            let why = denial(denied);
            let claim = format!("{when}, {} was not allowed {call}: {why}{unrevoked}", request.agent);
            Claim::new(question, claim, [NOT_THAT_IT_ACTED])
        }
    };
    claim.does_not_show.push(late);
    if shown.cause.is_none() && decision.denial().is_some_and(|denied| denied.cause().is_some()) {
        claim
            .does_not_show
            .push("who signed the command that brought it about: the file leaves it out".into());
    }
    claim
}

/// That a command took effect.
pub(crate) fn of_record(shown: &ShownRecord) -> Claim {
    let Recorded { signed, cause, verdict } = &shown.recorded;
    let at = place(cause);
    let halted = match verdict.as_ref().map(|verdict| &verdict.decided) {
        Some(Decided::Denied(Denial::Halted { scope, cause, .. })) => {
            Some(format!("; the halt of {scope} at index {} covered the call", cause.index))
        }
        _ => None,
    };
    let question = if halted.is_some() { "halt_covered" } else { "recorded" };
    let what = what(&shown.recorded);
    let claim = format!("{what}, recorded {at}{}", halted.unwrap_or_default());
    let mut claim = Claim::new(question, claim, [""]);
    claim.does_not_show = limits(&signed.command().body);
    claim.does_not_show.push("by when it was recorded: no clock but that of its block's proposer".into());
    claim
}

/// That a command had taken effect by a time.
pub(crate) fn of_recorded_by(shown: &ShownRecordedBy) -> Claim {
    let Recorded { signed, cause, .. } = &shown.recorded;
    let at = place(cause);
    let question = match &signed.command().body {
        Body::RevokeGrant { .. } | Body::RevokeAgent { .. } | Body::RetireAgent { .. } => "revoked_by",
        _ => "recorded_by",
    };
    let claim = format!("by {}: {}, {at}", utc(shown.by_ms), what(&shown.recorded));
    let mut claim = Claim::new(question, claim, [NOT_THE_COMMIT]);
    claim.does_not_show.push("that the clocks were right of those who cosigned: the time is by these".into());
    claim.does_not_show.extend(limits(&signed.command().body));
    claim
}

/// That none was recorded.
pub(crate) fn of_no_permit(shown: &ShownNoPermit) -> Claim {
    let ShownNoPermit { agent, permits, denials, from, to } = shown;
    let end = |block, time_ms| format!("block {block} ({})", utc(time_ms));
    let claim = format!(
        "no permit was recorded for {agent} after {} up to {}: its record counts {permits} at both; {denials} \
         denials were recorded between",
        end(from.block, from.time_ms),
        end(to.block, to.time_ms),
    );
    let before = "that nothing was done on a permit that was recorded before";
    Claim::new("no_recorded_permit", claim, [NOT_UNRECORDED, before])
}

/// That a node contradicted itself.
pub(crate) fn of_conviction(conviction: &Conviction) -> Claim {
    let why =
        "why: a node that lies, one whose key was stolen and one that lost what it had signed sign the same";
    let which = "which of what it signed is true";
    Claim::new("convicted", conviction.to_string(), [why, which])
}

/// What was recorded, in words.
fn what(recorded: &Recorded) -> String {
    let Recorded { signed, cause, verdict } = recorded;
    let body = &signed.command().body;
    let mut told = format!("{}, signed by {}", words(body), cause.signer);
    if let Some(verdict) = verdict {
        let decided = match &verdict.decided {
            Decided::Permit { .. } => "permitted".into(),
            Decided::Denied(denied) => format!("denied: {}", denial(denied)),
        };
        told.push_str(&format!("; decision {}, {decided}", verdict.number));
    }
    if let Body::Authorize(asked) = body {
        match &asked.knowledge {
            Some(knowledge) => {
                let sources: Vec<_> =
                    knowledge.shown().iter().map(|placed| placed.item.source.to_string()).collect();
                let shown = if sources.is_empty() { "none of them shown".into() } else { sources.join(", ") };
                let (count, root) = (knowledge.count(), knowledge.root());
                told.push_str(&format!("; with the knowledge of root {root}, {count} items ({shown})"));
            }
            None => told.push_str("; with no knowledge"),
        }
    }
    told
}

/// What a record of such a command does not show.
fn limits(body: &Body) -> Vec<String> {
    let lines: &[&str] = match body {
        Body::Authorize(asked) if asked.knowledge.is_some() => &[
            "that the call was begun, or what became of it",
            "that what the agent is said to have known was true, or all: only that it was recorded",
        ],
        Body::Authorize(_) => &["that the call was begun, or what became of it"],
        Body::RevokeGrant { .. } | Body::RevokeAgent { .. } | Body::RetireAgent { .. } => &[
            "that no call was begun on a permit from before it, which may have lived on until its dead_at",
            "that it was not granted again, by another grant",
        ],
        Body::Halt { .. } => &["until when it was in force"],
        _ => &["that nothing changed it since"],
    };
    lines.iter().map(ToString::to_string).collect()
}

fn when(proof: &Proof, proven: &Proven) -> String {
    match (proof, proven) {
        (Proof::Past { moment: Moment::Block(block), .. }, _) => format!("after block {block}"),
        (Proof::Past { moment: Moment::Time(time_ms), .. }, _) => format!("at {}", utc(*time_ms)),
        (_, Proven::Check(check)) => {
            let (low, high) = (check.freshness.clock_min_ms, check.freshness.clock_max_ms);
            let lo_ms = low.max(check.head.time_ms);
            format!("from {} to {}", utc(lo_ms), utc(high.max(check.head.time_ms)))
        }
        (_, Proven::Past(past)) => format!("at {}", utc(past.time_ms)),
    }
}

/// What may be missing from it.
fn unseen(trust: &Trust, proof: &Proof, proven: &Proven) -> String {
    let skew_ms = trust.clock_skew_ms_max;
    let since = |time_ms: u64| {
        format!(
            "what was acknowledged after {} (that time less {skew_ms} ms)",
            utc(time_ms.saturating_sub(skew_ms))
        )
    };
    match (proof, proven) {
        (Proof::Check { .. }, _) => "what was acknowledged after the question was asked".into(),
        (Proof::Past { moment: Moment::Time(time_ms), .. }, _) => since(*time_ms),
        (Proof::Past { moment: Moment::Block(_), .. }, _) => "anything of later blocks".into(),
        (_, Proven::Check(check)) => since(check.freshness.clock_min_ms),
        (_, Proven::Past(past)) => since(past.time_ms),
    }
}

fn grant(id: &GrantId) -> String {
    format!("grant {}", short(id))
}

fn place(cause: &Cause) -> String {
    format!("at index {} of the log, in block {} of {}", cause.index, cause.block, utc(cause.time_ms))
}
