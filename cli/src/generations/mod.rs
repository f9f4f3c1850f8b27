//! `chancery generations`: the versions of the agents of a lineage, and what all of them keep to.

mod behaviour;
mod listed;

use std::path::PathBuf;

use chancery_ledger::command::{
    Body, Digests, Generation, GenerationId, LineageConstraints, LineagePolicy, Name,
};
use chancery_ledger::hash::Hash;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::exit::{Exit, Failure, Result};
use crate::ledger::{self, Act};
use crate::output::{Report, style};
use crate::principal::{parse_name, patterns};
use crate::{context, keys};

use listed::Lineage;

/// Versions of the agents of a lineage.
#[derive(Debug, Subcommand)]
pub(crate) enum GenerationsCommand {
    /// The generations of an agent's lineage, proven complete.
    List(List),
    /// What changed from one generation to another: what was declared of it, and what it did on record.
    Diff(Diff),
    /// Register a generation. By an operator or issuer.
    Register(Register),
    /// Have a generation act. By as many reviewers or operators as the lineage's policy says.
    Release(Release),
    /// Go back to an older generation: later ones act no more. By an operator or issuer.
    Rollback(Rollback),
    /// Set what all generations keep to. To tighten takes an operator or issuer, to loosen as many operators as the
    /// lineage's policy says.
    Set(Set),
}

/// The generations of an agent's lineage.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// An agent of the lineage.
    #[arg(value_parser = parse_name)]
    agent: Name,
}

/// What changed.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// An agent of the lineage.
    #[arg(value_parser = parse_name)]
    agent: Name,
    /// From which generation: its number.
    from: u64,
    /// To which.
    to: u64,
}

/// Register a generation.
#[derive(Debug, Args)]
pub(crate) struct Register {
    /// The lineage.
    #[arg(value_parser = parse_name)]
    lineage: Name,
    /// Id of the generation that it was made from; none for a lineage's first.
    #[arg(long, value_name = "GENERATION", value_parser = parse_generation)]
    parent: Option<GenerationId>,
    /// The model: the SHA-256 of what describes it, or the file itself.
    #[arg(long, value_name = "HASH|FILE")]
    model: String,
    /// The prompt, likewise.
    #[arg(long, value_name = "HASH|FILE")]
    prompt: String,
    /// The tools, likewise.
    #[arg(long, value_name = "HASH|FILE")]
    tools: String,
    /// The parameters, likewise.
    #[arg(long, value_name = "HASH|FILE")]
    parameters: String,
    /// The memory that it begins with, likewise.
    #[arg(long, value_name = "HASH|FILE")]
    memory: String,
}

/// Have a generation act.
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The lineage.
    #[arg(value_parser = parse_name)]
    lineage: Name,
    /// The generation's id.
    #[arg(value_parser = parse_generation)]
    generation: GenerationId,
    /// The secret file of a further reviewer's or operator's key, who signs too.
    #[arg(long, value_name = "FILE")]
    with_key: Vec<PathBuf>,
}

/// Go back to an older generation.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The lineage.
    #[arg(value_parser = parse_name)]
    lineage: Name,
    /// The generation's number.
    number: u64,
    /// Its id.
    #[arg(value_parser = parse_generation)]
    generation: GenerationId,
}

/// Set what all generations keep to. What is not given is not demanded.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The lineage.
    #[arg(value_parser = parse_name)]
    lineage: Name,
    /// Have a new generation act at once, without a release.
    #[arg(long)]
    no_quarantine: bool,
    /// How many must sign a release, or a loosening.
    #[arg(long, default_value_t = 1)]
    threshold: u32,
    /// Generations in service at once: the newest that were released.
    #[arg(long, default_value_t = 1)]
    in_service: u32,
    /// An action that they may do: a name, `prefix/*` or `*`; more than once for several. Any, without one.
    #[arg(long = "action", value_name = "PATTERN")]
    actions: Vec<String>,
    /// On what, likewise.
    #[arg(long = "resource", value_name = "PATTERN")]
    resources: Vec<String>,
    /// How old an answer may be when one acts on it, in milliseconds; 0: as the grants say.
    #[arg(long, default_value_t = 0)]
    staleness_ms: u64,
    /// The secret file of a further operator's key, who signs too.
    #[arg(long, value_name = "FILE")]
    with_key: Vec<PathBuf>,
}

impl GenerationsCommand {
    /// Runs `chancery generations`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        match self {
            Self::List(List { agent }) => {
                let ledger = ledger::connect(context::load(named)?).await?;
                Ok(Lineage::read(&ledger, agent, &[]).await?.report(&ledger))
            }
            Self::Diff(Diff { agent, from, to }) => {
                let ledger = ledger::connect(context::load(named)?).await?;
                Lineage::read(&ledger, agent, &[*from, *to]).await?.difference(*from, *to)
            }
            Self::Register(register) => register.run(named).await,
            Self::Release(release) => release.run(named).await,
            Self::Rollback(rollback) => rollback.run(named).await,
            Self::Set(set) => set.run(named).await,
        }
    }
}

impl Register {
    async fn run(&self, named: Option<&str>) -> Result<Report> {
        let digests = Digests {
            model: digest(&self.model)?,
            prompt: digest(&self.prompt)?,
            tools: digest(&self.tools)?,
            parameters: digest(&self.parameters)?,
            memory: digest(&self.memory)?,
        };
        let generation = Generation { lineage: self.lineage.clone(), parent: self.parent, digests };
        let ledger = ledger::connect(context::load(named)?).await?;
        let id = generation.id(ledger.trust().ledger);
        let words = format!("registered a generation of {}", style::name(self.lineage.as_str()));
        let act = Act::new(words, Body::RegisterGeneration(Box::new(generation)));
        let receipt = act.submit(&ledger).await?;
        let page = ledger::receipt_page(&act.words, &ledger.trust(), &receipt)
            .field("generation", style::name(&id.to_string()));
        let mut json = ledger::receipt_json(&ledger.trust(), &receipt);
        if let Some(fields) = json.as_object_mut() {
            fields.insert("generation".into(), json!(id.to_string()));
        }
        Ok(Report::done(page, json))
    }
}

impl Release {
    async fn run(&self, named: Option<&str>) -> Result<Report> {
        let (also_sign, reviewers) = keys::load_sorted(&self.with_key)?;
        let words = format!("released generation {}", style::name(&self.generation.to_string()));
        let (lineage, generation) = (self.lineage.clone(), self.generation);
        let body = Body::ReleaseGeneration { lineage, generation, reviewers };
        ledger::act(named, Act { also_sign, ..Act::new(words, body) }).await
    }
}

impl Rollback {
    async fn run(&self, named: Option<&str>) -> Result<Report> {
        let lineage = style::name(self.lineage.as_str());
        let words = format!("rolled {lineage} back to generation {}", self.number);
        let (lineage, number, generation) = (self.lineage.clone(), self.number, self.generation);
        ledger::act(named, Act::new(words, Body::RollbackLineage { lineage, number, generation })).await
    }
}

impl Set {
    async fn run(&self, named: Option<&str>) -> Result<Report> {
        let (also_sign, operators) = keys::load_sorted(&self.with_key)?;
        let policy = LineagePolicy {
            quarantine: !self.no_quarantine,
            threshold: self.threshold,
            in_service_max: self.in_service,
        };
        let constraints = LineageConstraints {
            actions: patterns("--action", &self.actions)?,
            resources: patterns("--resource", &self.resources)?,
            max_staleness_ms: self.staleness_ms,
        };
        let words = format!("set what {} keeps to", style::name(self.lineage.as_str()));
        let lineage = self.lineage.clone();
        let body = Body::SetLineage { lineage, policy, constraints, operators };
        ledger::act(named, Act { also_sign, ..Act::new(words, body) }).await
    }
}

/// Parses a generation's id.
pub(crate) fn parse_generation(text: &str) -> std::result::Result<GenerationId, String> {
    let wrong = || "not a generation's id: 64 lower-case hex digits".into();
    Hash::from_hex(text).map(GenerationId).ok_or_else(wrong)
}

/// A digest as it is given, or of the file that is named.
fn digest(text: &str) -> Result<Hash> {
    if let Some(hash) = Hash::from_hex(text) {
        return Ok(hash);
    }
    let wrong = |error| Failure::new(Exit::Usage, format!("{text} is no digest, and as a file: {error}"));
    Ok(Hash::of(&[&std::fs::read(text).map_err(wrong)?]))
}
