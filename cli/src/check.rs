//! `chancery check` and `chancery evidence`: may this agent do this, now? Or might it have, then?

use std::path::{Path, PathBuf};

use chancery_client::{CheckError, CheckOptions, Checked, Ledger, Past};
use chancery_ledger::answer::Moment;
use chancery_ledger::command::{GenerationId, Name};
use chancery_ledger::decide::{Authority, Decision, Request};
use clap::Args;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::consistency::Consistency;
use crate::exit::{Exit, Failure, Result};
use crate::generations::parse_generation;
use crate::output::{self, Page, Report, style, utc};
use crate::principal::parse_name;
use crate::{context, files, ledger};

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct Question {
    /// Who would act.
    #[arg(value_parser = parse_name)]
    agent: Name,
    /// What it would do.
    #[arg(value_parser = parse_name)]
    action: Name,
    /// On what.
    #[arg(value_parser = parse_name)]
    resource: Name,
    /// The call's arguments. Only the SHA-256 of these very bytes leaves this machine; a permit is bound to it.
    #[arg(long, value_name = "JSON")]
    args_json: Option<String>,
    /// The generation that the agent runs as; needed once its lineage has one.
    #[arg(long, value_parser = parse_generation)]
    generation: Option<GenerationId>,
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
    /// Write the evidence to this file, for `chancery verify`.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
}

/// Checks, and writes the evidence: exit code 0 once it is written, whatever it shows.
#[derive(Debug, Args)]
pub(crate) struct WriteEvidence {
    #[command(flatten)]
    question: Question,
    /// Where the evidence goes.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

impl Check {
    /// Runs `chancery check`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let answer = self.question.ask(&ledger).await?;
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
        let answer = self.question.ask(&ledger).await?;
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
    async fn ask(&self, ledger: &Ledger) -> Result<Answered> {
        let args = self.args_json.as_deref().unwrap_or_default();
        if self.args_json.is_some() {
            serde_json::from_str::<IgnoredAny>(args)
                .map_err(|error| Failure::usage(format!("--args-json: {error}")))?;
        }
        let request =
            request_of([&self.agent, &self.action, &self.resource], args.as_bytes(), self.generation);
        let options = ledger.check_options();
        match self.consistency {
            Consistency::Linearizable => Ok(Answered::Now(ask_now(ledger, request, options).await?)),
            Consistency::FreshWithin(within) => {
                let options = CheckOptions { fresh_within: Some(within), ..options };
                Ok(Answered::Now(ask_now(ledger, request, options).await?))
            }
            Consistency::At(moment) => {
                let past = ledger.check_past(request, moment).await;
                past.map(Answered::Then).map_err(|error| ledger::past_failure(&error))
            }
        }
    }
}

/// Asks whether agent, action and resource are allowed with `args`, now, and demands a proof either way.
pub(crate) async fn ask(ledger: &Ledger, names: [&Name; 3], args: &[u8]) -> Result<ProvenAnswer> {
    ask_now(ledger, request_of(names, args, None), ledger.check_options()).await
}

fn request_of(
    [agent, action, resource]: [&Name; 3],
    args: &[u8],
    generation: Option<GenerationId>,
) -> Request {
    Request {
        agent: agent.clone(),
        action: action.clone(),
        resource: resource.clone(),
        args_digest: chancery_client::Args::from(args).digest(),
        generation,
        hint: None,
    }
}

/// Asks with options, and demands a proof either way.
async fn ask_now(ledger: &Ledger, request: Request, options: CheckOptions) -> Result<ProvenAnswer> {
    match ledger.check_with(request, options).await {
        Ok(permit) => Ok(ProvenAnswer {
            checked: permit.checked().clone(),
            permit_until_ms: Some(permit.deadline().wall_ms),
            failed_tries: permit.failed_tries().iter().map(ToString::to_string).collect(),
        }),
        Err(CheckError::Denied(denied)) => {
            Ok(ProvenAnswer { checked: denied.checked, permit_until_ms: None, failed_tries: Vec::new() })
        }
        Err(error) => Err(ledger::check_failure(&error)),
    }
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
    fn report(&self, ledger: &Ledger, evidence: Option<&Path>) -> Report {
        let (request, verified) = (&self.checked.request, &self.checked.verified);
        let [agent, action, resource] =
            [&request.agent, &request.action, &request.resource].map(|name| style::name(name.as_str()));
        let (exit, outcome, page) = match &verified.decision {
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
        let mut chain = authority.chain.iter().map(|link| link.grant.to_string());
        let mut grants = style::name(&chain.next().unwrap_or_default());
        for ancestor in chain {
            grants.push_str(&format!("\nnarrows {}", style::name(&ancestor)));
        }
        let until_ms = self.permit_until_ms.unwrap_or_default();
        page.field("by grant", grants).field("until", format!("{}, for one call", utc(until_ms)))
    }
}
