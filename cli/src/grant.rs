//! `chancery grant` and `chancery delegate`: authority for an agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chancery_ledger::command::{Body, Bound, Bounds, GrantId, Name, Requirement, Requirements, Terms};
use chancery_ledger::condition::{Condition, Schema};
use chancery_ledger::hash::Hash;
use clap::Args;

use crate::exit::{Failure, Result};
use crate::ledger::{self, Act};
use crate::limits::{parse_bound, parse_requirement};
use crate::output::{Report, now_ms, style};
use crate::principal::{parse_name, patterns};
use crate::{files, keys};

/// What is granted.
#[derive(Debug, Args)]
pub(crate) struct TermsArguments {
    /// The agent that may.
    #[arg(value_parser = parse_name)]
    agent: Name,
    /// What it may do: a name, `prefix/*` or `*`; more than once for several.
    #[arg(long = "action", required = true, value_name = "PATTERN")]
    actions: Vec<String>,
    /// On what; likewise.
    #[arg(long = "resource", required = true, value_name = "PATTERN")]
    resources: Vec<String>,
    /// For how long from now: 90s, 15m, 8h or 30d.
    #[arg(long = "for", default_value = "8h", value_name = "DURATION", value_parser = parse_duration)]
    lasting: Duration,
    /// From when, in milliseconds since 1970. At once by default.
    #[arg(long, default_value_t = 0)]
    not_before_ms: u64,
    /// How old an answer may be when the agent acts on it, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    staleness_ms: u64,
    /// Levels of delegation that may follow.
    #[arg(long, default_value_t = 0)]
    delegable: u32,
    /// A Cedar policy set that each call must satisfy besides: a file, or the text itself.
    #[arg(long, value_name = "FILE|TEXT")]
    condition: Option<String>,
    /// A Cedar schema that the condition is checked against before it is granted.
    #[arg(long, value_name = "FILE", requires = "condition")]
    schema: Option<PathBuf>,
    /// How much of it may be used: NAME:KIND:LIMIT or NAME:KIND:LIMIT:PER, with KIND count, sum/ARGUMENT,
    /// rate/DURATION or concurrency, and PER grant (the default), agent or key/NAME. More than once for several.
    /// Then only recorded decisions are permits.
    #[arg(long = "bound", value_name = "BOUND", value_parser = parse_bound)]
    bounds: Vec<Bound>,
    /// What the agent must have had in front of it: SOURCE@AGE, such as 'reservation/{args.id}@10m'. More than once
    /// for several.
    #[arg(long = "knowledge", value_name = "SOURCE@AGE", value_parser = parse_requirement)]
    knowledge: Vec<Requirement>,
}

/// Grant authority to an agent. By an issuer.
#[derive(Debug, Args)]
pub(crate) struct Grant {
    #[command(flatten)]
    terms: TermsArguments,
}

/// Narrow a grant for another agent: actions, resources, time, staleness and depth only shrink.
#[derive(Debug, Args)]
pub(crate) struct Delegate {
    /// The grant that is narrowed.
    #[arg(value_parser = parse_grant)]
    parent: GrantId,
    #[command(flatten)]
    terms: TermsArguments,
    /// The secret file of the key of the agent that holds the parent; the context's own by default.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Grant {
    /// Runs `chancery grant`.
    pub(crate) async fn run(&self, context: Option<&str>) -> Result<Report> {
        let words = format!("granted to {}", style::name(self.terms.agent.as_str()));
        ledger::act(
            context,
            Act::new(words, Body::Grant { terms: self.terms.terms()?, schema: self.terms.schema()? }),
        )
        .await
    }
}

impl Delegate {
    /// Runs `chancery delegate`.
    pub(crate) async fn run(&self, context: Option<&str>) -> Result<Report> {
        let words = format!("delegated to {}", style::name(self.terms.agent.as_str()));
        let body =
            Body::Delegate { parent: self.parent, terms: self.terms.terms()?, schema: self.terms.schema()? };
        let signs = self.key.as_deref().map(keys::load).transpose()?;
        ledger::act(context, Act { signs, ..Act::new(words, body) }).await
    }
}

impl TermsArguments {
    fn terms(&self) -> Result<Terms> {
        let lasting_ms = u64::try_from(self.lasting.as_millis()).unwrap_or(u64::MAX);
        Ok(Terms {
            agent: self.agent.clone(),
            actions: patterns("--action", &self.actions)?,
            resources: patterns("--resource", &self.resources)?,
            not_before_ms: self.not_before_ms,
            not_after_ms: now_ms().saturating_add(lasting_ms),
            max_staleness_ms: self.staleness_ms,
            delegable_depth: self.delegable,
            condition: self.condition.as_deref().map(condition).transpose()?,
            knowledge: Requirements::collect(self.knowledge.iter().cloned())
                .map_err(|error| Failure::usage(format!("--knowledge: {error}")))?,
            bounds: Bounds::collect(self.bounds.iter().cloned())
                .map_err(|error| Failure::usage(format!("--bound: {error}")))?,
        })
    }

    fn schema(&self) -> Result<Option<Schema>> {
        let Some(path) = &self.schema else { return Ok(None) };
        let text = text("--schema", files::read(path)?)?;
        Schema::new(text).map(Some).map_err(|error| Failure::usage(format!("--schema {error}")))
    }
}

/// A condition from a file, or from the text itself, which has a `;` and is no file's name.
fn condition(given: &str) -> Result<Condition> {
    let text = if given.contains(';') {
        given.to_owned()
    } else {
        text("--condition", files::read(Path::new(given))?)?
    };
    Condition::new(text).map_err(|error| Failure::usage(format!("--condition {error}")))
}

fn text(option: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{option} is not UTF-8")))
}

/// Parses a grant's id.
pub(crate) fn parse_grant(text: &str) -> std::result::Result<GrantId, String> {
    Hash::from_hex(text).map(GrantId).ok_or_else(|| "not a grant's id: 64 lower-case hex digits".into())
}

/// Parses a number with its unit.
pub(crate) fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 90s, 15m, 8h or 30d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text.strip_suffix(unit).and_then(|count| count.parse().ok()).ok_or_else(wrong)?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(2_592_000)));
        for text in ["", "8", "h", "-1h", "1w", "1.5h", "99999999999999999999d", "8 h", "8é"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
