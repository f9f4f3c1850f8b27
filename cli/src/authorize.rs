//! `chancery authorize` and `chancery outcome`: recorded decisions, and what became of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chancery_client::{AuthorizeError, Ledger, Receipt};
use chancery_ledger::authority::Decided;
use chancery_ledger::command::{self, ActionOutcome, Body, DecisionRef, OutcomeKind, Traceparent};
use chancery_ledger::hash::Hash;
use clap::Args;
use serde_json::json;

use crate::check::Question;
use crate::exit::{Exit, Failure, Result};
use crate::grant::parse_duration;
use crate::ledger::{self, Act};
use crate::output::{self, Page, Report, style, utc};
use crate::{context, files};

/// May this agent do this, now? The decision is in the log before the answer comes: exit code 0 if it may, 10 if
/// it may not. By a gate.
#[derive(Debug, Args)]
pub(crate) struct Authorize {
    #[command(flatten)]
    question: Question,
    /// How long after the decision the call may begin; the grants' own staleness counts if it is less.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = parse_duration)]
    execute_within: Duration,
    /// The recorded decision that led to this one.
    #[arg(long, value_name = "AGENT/NUMBER@ID", value_parser = parse_decision)]
    parent: Option<DecisionRef>,
    /// The trace that the call belongs to: a W3C traceparent.
    #[arg(long, value_name = "TRACEPARENT", value_parser = parse_traceparent)]
    traceparent: Option<Traceparent>,
    /// Write the evidence of what was recorded to this file, for `chancery verify`.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
}

/// Record what became of a call that was authorized. By a gate.
#[derive(Debug, Args)]
pub(crate) struct Outcome {
    /// The decision, as `authorize` named it.
    #[arg(value_name = "AGENT/NUMBER@ID", value_parser = parse_decision)]
    decision: DecisionRef,
    /// executed, failed or unknown; compensated after executed.
    #[arg(value_parser = parse_kind)]
    kind: OutcomeKind,
    /// The file with the call's result. Only its SHA-256 is recorded.
    #[arg(long, value_name = "FILE", conflicts_with = "result_digest")]
    result: Option<PathBuf>,
    /// SHA-256 of the call's result.
    #[arg(long, value_name = "HEX", value_parser = parse_digest)]
    result_digest: Option<Hash>,
}

impl Authorize {
    /// Runs `chancery authorize`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let within_ms = u64::try_from(self.execute_within.as_millis()).unwrap_or(u64::MAX);
        let asked = command::Authorize {
            parent: self.parent.clone(),
            traceparent: self.traceparent.clone(),
            ..command::Authorize::of(self.question.request()?, within_ms.max(1))
        };
        let ledger = ledger::connect(context::load(named)?).await?;
        // Whoever goes on by the exit code uses the permit; this process does not.
        let (decision, receipt, until_ms) = match ledger.authorize_with(asked.clone()).await {
            Ok(authorized) => {
                let until_ms = authorized.deadline().wall_ms;
                (authorized.decision().clone(), authorized.receipt().clone(), Some(until_ms))
            }
            Err(AuthorizeError::Denied(denied)) => (denied.decision, denied.receipt, None),
            Err(error) => return Err(failure(error)),
        };
        let report = report(&ledger, &asked, &decision, &receipt, until_ms);
        let Some(path) = &self.evidence else { return Ok(report) };
        write(&ledger, &receipt, path).await?;
        Ok(Report {
            page: report.page.field("evidence", format!("{}", path.display())),
            json: output::with(report.json, "evidence", json!(path)),
            ..report
        })
    }
}

impl Outcome {
    /// Runs `chancery outcome`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let result_digest = match &self.result {
            Some(path) => Some(Hash::of(&[&files::read(path)?])),
            None => self.result_digest,
        };
        let (decision, kind) = (self.decision.clone(), self.kind);
        let of = style::name(decision.agent.as_str());
        let words = format!("recorded that decision {} of {of} was {}", decision.number, outcome_words(kind));
        ledger::act(named, Act::new(words, Body::Outcome(ActionOutcome { decision, kind, result_digest })))
            .await
    }
}

/// Writes evidence of a command, which is verified first.
pub(crate) async fn write(ledger: &Ledger, receipt: &Receipt, path: &Path) -> Result<()> {
    let record = ledger.record(receipt).await.map_err(|error| ledger::read_failure(&error))?;
    files::replace(path, record.to_json().as_bytes())
}

const fn outcome_words(kind: OutcomeKind) -> &'static str {
    match kind {
        OutcomeKind::Executed => "executed",
        OutcomeKind::Failed => "not executed",
        OutcomeKind::Unknown => "perhaps executed",
        OutcomeKind::Compensated => "compensated",
    }
}

fn report(
    ledger: &Ledger,
    asked: &command::Authorize,
    decision: &DecisionRef,
    receipt: &Receipt,
    until_ms: Option<u64>,
) -> Report {
    let command::Authorize { agent, action, resource, args_digest, .. } = asked;
    let [agent, action, resource] = [agent, action, resource].map(|name| style::name(name.as_str()));
    let (exit, outcome, words) = match until_ms {
        Some(_) => {
            (Exit::Done, "permit", format!("{}  {agent} may {action} on {resource}", style::good("permit")))
        }
        None => (
            Exit::Denied,
            "denied",
            format!("{}  {agent} may not {action} on {resource}", style::bad("denied")),
        ),
    };
    let mut page = Page::new(words).field("decision", style::name(&decision.to_string()));
    if let Some(until_ms) = until_ms {
        page = page.field("until", format!("{}, for one call; then record its outcome", utc(until_ms)));
    }
    let mut json = ledger::receipt_json(&ledger.trust(), receipt);
    if let Some(verdict) = &receipt.verdict {
        page = page.field("recorded", output::verdict(verdict));
        if let Decided::Permit { bounds, .. } = &verdict.decided
            && !bounds.is_empty()
        {
            page = page.field("left", output::taken(bounds));
        }
        json = output::with(json, "verdict", output::recorded_json(verdict));
    }
    let page = ledger::receipt_fields(page, &ledger.trust(), receipt);
    let facts = [
        ("outcome", json!(outcome)),
        ("agent", json!(asked.agent.as_str())),
        ("action", json!(asked.action.as_str())),
        ("resource", json!(asked.resource.as_str())),
        ("args_digest", json!(args_digest.to_string())),
        ("decision", json!(decision.to_string())),
    ];
    for (name, value) in
        facts.into_iter().chain(until_ms.map(|until_ms| ("permit_until_ms", json!(until_ms))))
    {
        json = output::with(json, name, value);
    }
    Report { exit, page, json }
}

/// Why no call may be begun.
pub(crate) fn failure(error: AuthorizeError) -> Failure {
    let message = error.to_string();
    match error {
        AuthorizeError::Denied(denied) => Failure::new(Exit::Denied, message).code(denied.denial.code()),
        AuthorizeError::Expired(decision) => {
            Failure::new(Exit::Unknown, message).code("expired").fact("decision", json!(decision.to_string()))
        }
        AuthorizeError::Submit(error) => ledger::submit_failure(error),
        AuthorizeError::Name { .. } | AuthorizeError::NotAuthorize => Failure::usage(message),
    }
}

fn parse_decision(text: &str) -> std::result::Result<DecisionRef, String> {
    DecisionRef::parse(text)
        .ok_or_else(|| "not a decision such as bot/7@ and 64 lower-case hex digits".into())
}

fn parse_traceparent(text: &str) -> std::result::Result<Traceparent, String> {
    Traceparent::new(text).ok_or_else(|| "not a W3C traceparent of version 00".into())
}

fn parse_digest(text: &str) -> std::result::Result<Hash, String> {
    Hash::from_hex(text).ok_or_else(|| "not 64 lower-case hex digits".into())
}

fn parse_kind(text: &str) -> std::result::Result<OutcomeKind, String> {
    let names = || OutcomeKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    OutcomeKind::ALL
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| format!("not one of {}", names()))
}
