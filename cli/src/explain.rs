//! `chancery explain`: why an agent may, or may not: the chain in words, over the proof of a check.

use chancery_client::Checked;
use chancery_ledger::command::Patterns;
use chancery_ledger::condition::{PolicyOutcome, PolicyTold};
use chancery_ledger::decide::{Considered, Denial, Explanation, Link, Measured, Required};
use clap::Args;
use serde_json::{Value, json};

use crate::check::Question;
use crate::exit::{Exit, Failure, Result};
use crate::limits::duration_words;
use crate::output::{self, Page, Report, style, utc};
use crate::{context, ledger};

/// Why may this agent do this, or why not? The grants that the proof shows, with what each condition saw. Exit code 0
/// if it may, 10 if it may not.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    question: Question,
}

impl Explain {
    /// Runs `chancery explain`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let answer = self.question.ask(&ledger).await?;
        let mut report = answer.report(&ledger, None);
        let explanation = explain(&answer.checked)?;
        report.page = page(report.page, &explanation);
        if let Some(fields) = report.json.as_object_mut() {
            let grants: Vec<_> = explanation.grants.iter().map(considered_json).collect();
            fields.insert("grants".into(), json!(grants));
        }
        Ok(report)
    }
}

fn explain(checked: &Checked) -> Result<Explanation> {
    let failed = |error| Failure::new(Exit::Invalid, format!("the proof does not explain itself: {error}"));
    checked.explain().map_err(failed)
}

fn page(mut page: Page, explanation: &Explanation) -> Page {
    for considered in &explanation.grants {
        for (place, link) in considered.links.iter().enumerate() {
            page = link_page(page, place, link);
        }
        page = match &considered.denial {
            Some(Denial::NoGrant) => {
                page.field("so", format!("{}: it is for other actions or resources", style::bad("no")))
            }
            Some(denial) => page.field("so", format!("{}: {}", style::bad("no"), output::denial(denial))),
            None => page.field("so", style::good("it may")),
        };
    }
    page
}

fn link_page(page: Page, place: usize, link: &Link) -> Page {
    let terms = &link.grant.terms;
    let id = style::name(&link.reference.grant.to_string());
    let mut page = page.text(if place == 0 { format!("grant {id}") } else { format!("narrows {id}") });
    page = page
        .field("to", style::name(terms.agent.as_str()))
        .field("may", format!("{} on {}", list(&terms.actions), list(&terms.resources)))
        .field("until", utc(terms.not_after_ms));
    if terms.not_before_ms > 0 {
        page = page.field("from", utc(terms.not_before_ms));
    }
    if let Some(cause) = &link.grant.revoked {
        page =
            page.field("revoked", style::bad(&format!("at index {}, {}", cause.index, utc(cause.time_ms))));
    }
    page = match &terms.condition {
        Some(condition) if link.policies.is_empty() => page.field("condition", condition.as_str().trim()),
        _ => link.policies.iter().fold(page, policy_page),
    };
    let page =
        link.required.iter().fold(page, |page, required| page.field("knowledge", knowledge_words(required)));
    link.measured.iter().fold(page, |page, measured| {
        page.field(format!("bound {}", measured.bound.name), measured_words(measured))
    })
}

fn knowledge_words(required: &Required) -> String {
    let Required { template, source, retrieved_at_ms, is_met, .. } = required;
    let of = source.as_ref().map_or_else(|| template.to_string(), ToString::to_string);
    let had = match retrieved_at_ms {
        Some(time_ms) => format!("of {}", utc(*time_ms)),
        None => "not shown".into(),
    };
    let age = duration_words(required.max_age_ms);
    let words = format!("{of} of the last {age}: {had}");
    if *is_met { style::good(&words) } else { style::bad(&words) }
}

fn measured_words(measured: &Measured) -> String {
    let Measured { bound, used, wanted } = measured;
    let left = bound.limit.saturating_sub(*used);
    match wanted {
        Some(wanted) if *wanted <= left => format!("{left} of {} left; this takes {wanted}", bound.limit),
        Some(wanted) => style::bad(&format!("{left} of {} left; this would take {wanted}", bound.limit)),
        None => style::bad("the argument that it adds up is not shown, or is no whole number of at least 0"),
    }
}

fn policy_page(page: Page, policy: &PolicyTold) -> Page {
    let what = if policy.permits { "permits" } else { "forbids" };
    let outcome = match (&policy.outcome, policy.permits) {
        (PolicyOutcome::Applies, true) => style::good("it permits"),
        (PolicyOutcome::Applies, false) => style::bad("it forbids"),
        (PolicyOutcome::Silent, _) => format!("not this: it {what} others"),
        (PolicyOutcome::Error(words), _) => {
            style::bad(&format!("it cannot be evaluated, which denies: {words}"))
        }
    };
    let mut text = format!("{outcome}\n{}", style::dim(policy.text.trim()));
    for seen in &policy.seen {
        text.push_str(&format!("\n{} is {}", seen.path, seen.value.as_deref().unwrap_or("absent")));
    }
    page.field(format!("policy {}", policy.number), text)
}

fn considered_json(considered: &Considered) -> Value {
    json!({
        "links": considered.links.iter().map(link_json).collect::<Vec<_>>(),
        "allows": considered.denial.is_none(),
        "denial": considered.denial.as_ref().map(output::denial_json),
    })
}

fn link_json(link: &Link) -> Value {
    let terms = &link.grant.terms;
    json!({
        "grant": link.reference.grant.to_string(),
        "agent": terms.agent.as_str(),
        "actions": terms.actions.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "resources": terms.resources.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "not_before_ms": terms.not_before_ms,
        "not_after_ms": terms.not_after_ms,
        "condition": terms.condition.as_ref().map(|condition| condition.as_str()),
        "policies": link.policies.iter().map(policy_json).collect::<Vec<_>>(),
        "knowledge": link.required.iter().map(required_json).collect::<Vec<_>>(),
        "bounds": link.measured.iter().map(measured_json).collect::<Vec<_>>(),
        "revoked_index": link.grant.revoked.as_ref().map(|cause| cause.index),
    })
}

fn required_json(required: &Required) -> Value {
    json!({
        "template": required.template.as_str(),
        "source": required.source.as_ref().map(ToString::to_string),
        "max_age_ms": required.max_age_ms,
        "retrieved_at_ms": required.retrieved_at_ms,
        "met": required.is_met,
    })
}

fn measured_json(measured: &Measured) -> Value {
    let Measured { bound, used, wanted } = measured;
    json!({
        "name": bound.name.as_str(),
        "limit": bound.limit,
        "used": used,
        "left": bound.limit.saturating_sub(*used),
        "wanted": wanted,
    })
}

fn policy_json(policy: &PolicyTold) -> Value {
    let (outcome, error) = match &policy.outcome {
        PolicyOutcome::Applies => ("applies", None),
        PolicyOutcome::Silent => ("silent", None),
        PolicyOutcome::Error(words) => ("error", Some(words)),
    };
    let seen = |seen: &chancery_ledger::condition::Seen| json!({ "path": seen.path, "value": seen.value });
    json!({
        "policy": policy.number,
        "effect": if policy.permits { "permit" } else { "forbid" },
        "text": policy.text,
        "outcome": outcome,
        "error": error,
        "seen": policy.seen.iter().map(seen).collect::<Vec<_>>(),
    })
}

fn list(patterns: &Patterns) -> String {
    patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
