//! `chancery check` and `chancery evidence`: may this agent do this, now? Or might it have, then?

use std::path::{Path, PathBuf};

use chancery_client::{CheckError, CheckOptions, Checked, JsonArgs, Ledger, Past};
use chancery_ledger::answer::Moment;
use chancery_ledger::command::{GenerationId, Name};
use chancery_ledger::decide::{Authority, Decision, Request};
use chancery_ledger::hash::Hash;
use clap::Args;
use serde_json::json;

use crate::consistency::Consistency;
use crate::exit::{Exit, Result};
use crate::generations::parse_generation;
use crate::knowledge::Shown;
use crate::output::{self, Page, Report, style, utc};
use crate::principal::parse_name;
use crate::{context, files, ledger};

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct Question {
    /// Who would act.
    #[arg(value_parser = parse_name)]
    pub(crate) agent: Name,
    /// What it would do.
    #[arg(value_parser = parse_name)]
    pub(crate) action: Name,
    /// On what.
    #[arg(value_parser = parse_name)]
    pub(crate) resource: Name,
    /// The call's arguments: a JSON object of integers, texts, lists and objects. It is shown to the ledger in its
    /// canonical form, which grants may look at; a permit is bound to its SHA-256.
    #[arg(long, value_name = "JSON", value_parser = parse_args)]
    args_json: Option<JsonArgs>,
    /// The SHA-256 of the call's arguments, where these are not to be shown to the ledger: a grant that looks at
    /// them then denies.
    #[arg(long, value_name = "HEX", value_parser = parse_digest, conflicts_with = "args_json")]
    args_digest: Option<Hash>,
    /// The generation that the agent runs as; needed once its lineage has one.
    #[arg(long, value_parser = parse_generation)]
    pub(crate) generation: Option<GenerationId>,
    #[command(flatten)]
    shown: Shown,
}

/// When it is about.
#[derive(Debug, Args)]
struct Mode {
    /// What makes the answer fresh: `linearizable` (nothing is missing that was acknowledged before the question
    /// was asked) or `fresh-within=250ms` (by the nodes' clocks, without a round between them). Or about when it is:
    /// `at-block=N` or `at-time=MS` (milliseconds since 1970), which says nothing of now.
    #[arg(long, value_name = "MODE", default_value_t)]
    consistency: Consistency,
}

/// May this agent do this, now? Exit code 0 if it may, 10 if it may not; both are proven.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    question: Question,
    #[command(flatten)]
    mode: Mode,
    /// Write the evidence to this file, for `chancery verify`.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
}

/// Checks, and writes the evidence: exit code 0 once it is written, whatever it shows.
#[derive(Debug, Args)]
pub(crate) struct WriteEvidence {
    #[command(flatten)]
    question: Question,
    #[command(flatten)]
    mode: Mode,
    /// Where the evidence goes.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

impl Check {
    /// Runs `chancery check`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let answer = self.question.ask_as(&ledger, self.mode.consistency).await?;
        if let Some(path) = &self.evidence {
            answer.write(&ledger, path).await?;
        }
        Ok(answer.report(&ledger, self.evidence.as_deref()))
    }
}

impl WriteEvidence {
    /// Runs `chancery evidence`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let answer = self.question.ask_as(&ledger, self.mode.consistency).await?;
        answer.write(&ledger, &self.file).await?;
        let report = answer.report(&ledger, Some(&self.file));
        Ok(Report { exit: Exit::Done, ..report })
    }
}

/// A proven answer, either way.
#[derive(Debug)]
pub(crate) struct ProvenAnswer {
    /// The question and its proof.
    pub(crate) checked: Checked,
    /// On the wall clock, when a permit ends.
    permit_until_ms: Option<u64>,
    /// What other nodes did that were tried before.
    failed_tries: Vec<String>,
}

/// What was answered: about now, or about the past.
enum Answered {
    Now(ProvenAnswer),
    Then(Past),
}

impl Answered {
    /// Writes evidence, which is verified first.
    async fn write(&self, ledger: &Ledger, path: &Path) -> Result<()> {
        match self {
            Self::Now(answer) => write(ledger, &answer.checked, path).await,
            Self::Then(past) => {
                let evidence =
                    ledger.past_evidence(past).await.map_err(|error| ledger::read_failure(&error))?;
                files::replace(path, evidence.to_json().as_bytes())
            }
        }
    }

    fn report(&self, ledger: &Ledger, evidence: Option<&Path>) -> Report {
        match self {
            Self::Now(answer) => answer.report(ledger, evidence),
            Self::Then(past) => past_report(ledger, past, evidence),
        }
    }
}

impl Question {
    /// Asks, and demands a proof.
    /// Asks about now, and demands a proof.
    pub(crate) async fn ask(&self, ledger: &Ledger) -> Result<ProvenAnswer> {
        ask_now(ledger, self.request()?, ledger.check_options()).await
    }

    /// Asks as `consistency` says, and demands a proof.
    async fn ask_as(&self, ledger: &Ledger, consistency: Consistency) -> Result<Answered> {
        match consistency {
            Consistency::Linearizable => Ok(Answered::Now(self.ask(ledger).await?)),
            Consistency::FreshWithin(within) => {
                let options = CheckOptions { fresh_within: Some(within), ..ledger.check_options() };
                Ok(Answered::Now(ask_now(ledger, self.request()?, options).await?))
            }
            Consistency::At(moment) => {
                let past = ledger.check_past(self.request()?, moment).await;
                past.map(Answered::Then).map_err(|error| ledger::past_failure(&error))
            }
        }
    }

    /// What the ledger is asked.
    pub(crate) fn request(&self) -> Result<Request> {
        let names = [&self.agent, &self.action, &self.resource].map(Clone::clone);
        let (generation, knowledge) = (self.generation, self.shown.knowledge()?);
        Ok(Request { generation, knowledge, ..self.args().request(names) })
    }

    /// The call's arguments, and what is shown of them.
    pub(crate) fn args(&self) -> chancery_client::Args<'_> {
        match (&self.args_json, self.args_digest) {
            (Some(json), _) => chancery_client::Args::Json(json),
            (None, Some(digest)) => digest.into(),
            (None, None) => "".into(),
        }
    }
}

/// Asks whether agent, action and resource are allowed with `args`, now, and demands a proof either way.
pub(crate) async fn ask(ledger: &Ledger, names: [&Name; 3], args: &[u8]) -> Result<ProvenAnswer> {
    let request = chancery_client::Args::from(args).request(names.map(Clone::clone));
    ask_now(ledger, request, ledger.check_options()).await
}

/// Asks with options, and demands a proof either way.
async fn ask_now(ledger: &Ledger, request: Request, options: CheckOptions) -> Result<ProvenAnswer> {
    match ledger.check_with(request, options).await {
        Ok(permit) => Ok(ProvenAnswer {
            checked: permit.checked().clone(),
            permit_until_ms: Some(permit.deadline().wall_ms),
            failed_tries: permit.failed_tries().iter().map(ToString::to_string).collect(),
        }),
        Err(CheckError::Denied(denied)) => Ok(ProvenAnswer::of(denied.checked)),
        Err(CheckError::Bounded(bounded)) => Ok(ProvenAnswer::of(bounded.checked)),
        Err(error) => Err(ledger::check_failure(&error)),
    }
}

/// Parses arguments, in any spelling.
fn parse_args(text: &str) -> std::result::Result<JsonArgs, String> {
    JsonArgs::new(text).map_err(|fault| fault.to_string())
}

/// Parses a digest.
fn parse_digest(text: &str) -> std::result::Result<Hash, String> {
    Hash::from_hex(text).ok_or_else(|| "not a SHA-256: 64 lower-case hex digits".into())
}

/// Writes evidence, which is verified first.
pub(crate) async fn write(ledger: &Ledger, checked: &Checked, path: &Path) -> Result<()> {
    let evidence = ledger.evidence(checked).await.map_err(|error| ledger::read_failure(&error))?;
    files::replace(path, evidence.to_json().as_bytes())
}

/// What was, which is no permit: nothing of it is about now.
fn past_report(ledger: &Ledger, past: &Past, evidence: Option<&Path>) -> Report {
    let (request, verified, trust) = (&past.request, &past.verified, ledger.trust());
    let [agent, action, resource] =
        [&request.agent, &request.action, &request.resource].map(|name| style::name(name.as_str()));
    let (exit, outcome, page) = match &verified.decision {
        Decision::Permit(_) => {
            let words =
                format!("{}  {agent} might {action} on {resource} then", style::good("was permitted"));
            (Exit::Done, "was_permitted", Page::new(words))
        }
        Decision::Denied(denial) => {
            let words =
                format!("{}  {agent} might not {action} on {resource} then", style::bad("was denied"));
            let page = Page::new(words).field("because", output::denial(denial));
            (Exit::Denied, "was_denied", page)
        }
    };
    let mut page = output::past_proof(page, &trust, verified);
    if let Some(path) = evidence {
        page = page.field("evidence", format!("{}", path.display()));
    }
    let mut json = output::past_json(&trust, verified);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("outcome".into(), json!(outcome));
        fields.insert("agent".into(), json!(request.agent.as_str()));
        fields.insert("action".into(), json!(request.action.as_str()));
        fields.insert("resource".into(), json!(request.resource.as_str()));
        fields.insert("args_digest".into(), json!(request.args_digest.to_string()));
        if let Some(args) = &request.args {
            fields.insert("args".into(), json!(String::from_utf8_lossy(args)));
        }
        match past.moment {
            Moment::Block(block) => fields.insert("at_block".into(), json!(block)),
            Moment::Time(time_ms) => fields.insert("at_time_ms".into(), json!(time_ms)),
        };
        if let Some(path) = evidence {
            fields.insert("evidence".into(), json!(path));
        }
    }
    Report { exit, page, json }
}

impl ProvenAnswer {
    /// One that is no permit.
    const fn of(checked: Checked) -> Self {
        Self { checked, permit_until_ms: None, failed_tries: Vec::new() }
    }

    pub(crate) fn report(&self, ledger: &Ledger, evidence: Option<&Path>) -> Report {
        let (request, verified) = (&self.checked.request, &self.checked.verified);
        let [agent, action, resource] =
            [&request.agent, &request.action, &request.resource].map(|name| style::name(name.as_str()));
        let (exit, outcome, page) = match &verified.decision {
            Decision::Permit(authority) if !authority.bounds.is_empty() => {
                let words = format!(
                    "{}  {agent} may {action} on {resource} within bounds: once it is recorded",
                    style::warn("no permit")
                );
                let page = Page::new(words).field("by grant", grants(authority));
                let page = page.field("left", output::allowances(&authority.bounds));
                (Exit::Denied, "must_be_recorded", page)
            }
            Decision::Permit(authority) => {
                let words = format!("{}  {agent} may {action} on {resource}", style::good("permit"));
                (Exit::Done, "permit", self.permit_page(Page::new(words), authority))
            }
            Decision::Denied(denial) => {
                let words = format!("{}  {agent} may not {action} on {resource}", style::bad("denied"));
                (Exit::Denied, "denied", Page::new(words).field("because", output::denial(denial)))
            }
        };
        let mut page = output::proof(page, &ledger.trust(), verified);
        for failed in &self.failed_tries {
            page = page.field("not from", style::warn(failed));
        }
        if let Some(path) = evidence {
            page = page.field("evidence", format!("{}", path.display()));
        }
        let mut json = output::verdict_json(&ledger.trust(), verified);
        if let Some(fields) = json.as_object_mut() {
            fields.insert("outcome".into(), json!(outcome));
            fields.insert("agent".into(), json!(request.agent.as_str()));
            fields.insert("action".into(), json!(request.action.as_str()));
            fields.insert("resource".into(), json!(request.resource.as_str()));
            fields.insert("args_digest".into(), json!(request.args_digest.to_string()));
            if let Some(args) = &request.args {
                fields.insert("args".into(), json!(String::from_utf8_lossy(args)));
            }
            if let Some(until_ms) = self.permit_until_ms {
                fields.insert("permit_until_ms".into(), json!(until_ms));
            }
            if let Some(path) = evidence {
                fields.insert("evidence".into(), json!(path));
            }
        }
        Report { exit, page, json }
    }

    fn permit_page(&self, page: Page, authority: &Authority) -> Page {
        let until_ms = self.permit_until_ms.unwrap_or_default();
        page.field("by grant", grants(authority)).field("until", format!("{}, for one call", utc(until_ms)))
    }
}

/// The chain, a line each.
fn grants(authority: &Authority) -> String {
    let mut chain = authority.chain.iter().map(|link| link.grant.to_string());
    let mut grants = style::name(&chain.next().unwrap_or_default());
    for ancestor in chain {
        grants.push_str(&format!("\nnarrows {}", style::name(&ancestor)));
    }
    grants
}
