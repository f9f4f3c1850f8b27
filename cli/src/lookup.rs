//! `chancery lookup`: what an agent was granted, from the read set of a proven denial; or who may do something.
//!
//! A denial shows every grant of the agent, or it would not verify. So an agent's grants are looked up by
//! asking for what nobody grants, and reading what was shown. Of one that is halted, or may do everything, there is no
//! such denial: then they are read from the whole log.

mod from_log;
mod holders;

use chancery_client::{CheckError, Checked, Ledger};
use chancery_ledger::authority::Place;
use chancery_ledger::command::{Bounds, GrantId, Name, Requirements, Terms, decode_strict};
use chancery_ledger::condition::Condition;
use chancery_ledger::decide::{Decision, Denial};
use chancery_ledger::hash::Hash;
use chancery_ledger::state::PrunedView;
use chancery_proto::v1::{self as wire, record::Body};
use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Result};
use crate::limits::{bound_words, requirement_words};
use crate::output::{self, Page, Report, Table, style, utc};
use crate::principal::{parse_name, patterns};
use crate::{context, ledger};

/// Longest record, in bytes.
const RECORD_SIZE_BYTES_MAX: usize = 65_535;

/// What an agent was granted since all of it was last revoked; or which agents may do something. Both lists are
/// proven to be complete.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["agent", "action"]))]
pub(crate) struct Lookup {
    /// Whose grants.
    #[arg(value_parser = parse_name)]
    agent: Option<Name>,
    /// Which agents may do this. It reads the whole log.
    #[arg(long, requires = "resource", value_parser = parse_name)]
    action: Option<Name>,
    /// On what.
    #[arg(long, requires = "action", value_parser = parse_name)]
    resource: Option<Name>,
}

/// A grant, as the state has it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Its id.
    pub(crate) id: GrantId,
    /// What it conveys.
    pub(crate) terms: Terms,
    parent: Option<GrantId>,
    revoked: Option<(u64, u64)>,
}

/// What an agent holds, and what proves it.
#[derive(Debug)]
pub(crate) struct Holding {
    /// Every grant of this epoch.
    pub(crate) grants: Vec<Held>,
    owner: String,
    lineage: String,
    checked: Checked,
}

impl Lookup {
    /// Runs `chancery lookup`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        match (&self.agent, &self.action, &self.resource) {
            (Some(agent), ..) => Ok(grants(&ledger, agent).await?.report(&ledger, agent)),
            (None, Some(action), Some(resource)) => holders::report(&ledger, action, resource).await,
            // INVARIANT: clap demands one or the other.
            _ => Err(Failure::usage("whose grants, or --action and --resource")),
        }
    }
}

/// Every grant of `agent`, proven complete.
pub(crate) async fn grants(ledger: &Ledger, agent: &Name) -> Result<Holding> {
    // Only a grant of everything on everything covers this one.
    let nobody = "chancery/lookup/nobody-grants-this";
    let checked = match ledger.check(agent.as_str(), nobody, nobody, b"").await {
        Err(CheckError::Denied(denied)) => denied.checked,
        // A permit shows one chain.
        Err(CheckError::Bounded(bounded)) => return from_log::grants(ledger, agent, bounded.checked).await,
        Ok(permit) => return from_log::grants(ledger, agent, permit.checked().clone()).await,
        Err(error) => return Err(ledger::check_failure(&error)),
    };
    match &checked.verified.decision {
        Decision::Denied(Denial::UnknownAgent) => {
            Err(Failure::new(Exit::Refused, format!("{agent} was never registered")).code("unknown_agent"))
        }
        Decision::Denied(denial @ Denial::Retired { .. }) => {
            Err(Failure::new(Exit::Refused, output::denial(denial)).code("retired"))
        }
        // One of its chains was halted, and all of them are shown; or it is halted itself, and none is.
        Decision::Denied(Denial::Halted { .. }) => match read(checked.clone(), agent) {
            Ok(shown) => Ok(shown),
            Err(_) => from_log::grants(ledger, agent, checked).await,
        },
        _ => read(checked, agent),
    }
}

/// Reads what the denial showed: `decide` has read all of it already, and found it well formed.
fn read(checked: Checked, agent: &Name) -> Result<Holding> {
    let shown = || -> Option<Holding> {
        let view = PrunedView::new(&checked.answer.tree);
        let record = |place: &Place| -> Option<Body> {
            let value = view.get(&place.key()).ok()??;
            decode_strict::<wire::Record>(&value, RECORD_SIZE_BYTES_MAX).ok()?.body
        };
        let Body::Agent(registered) = record(&Place::agent(agent))? else { return None };
        let mut grants = Vec::new();
        for number in 0..registered.pages {
            let Body::Page(page) = record(&Place::page(agent, registered.epoch, number))? else {
                return None;
            };
            for listed in page.grants {
                let reference = chancery_ledger::authority::GrantRef {
                    grant: id(&listed.grant)?,
                    root: id(&listed.root)?,
                };
                let Body::Grant(grant) = record(&Place::grant(reference))? else { return None };
                grants.push(held(reference.grant, grant)?);
            }
        }
        let (owner, lineage) = (registered.owner, registered.lineage);
        Some(Holding { grants, owner, lineage, checked: checked.clone() })
    };
    shown().ok_or_else(|| Failure::new(Exit::Invalid, "the proof does not show the agent's grants"))
}

fn held(id: GrantId, grant: wire::GrantRecord) -> Option<Held> {
    let terms = grant.terms?;
    let terms = Terms {
        agent: Name::new(terms.agent).ok()?,
        actions: patterns("actions", &terms.actions).ok()?,
        resources: patterns("resources", &terms.resources).ok()?,
        not_before_ms: terms.not_before_ms,
        not_after_ms: terms.not_after_ms,
        max_staleness_ms: terms.max_staleness_ms,
        delegable_depth: terms.delegable_depth,
        condition: if terms.condition.is_empty() {
            None
        } else {
            Some(Condition::new(terms.condition).ok()?)
        },
        knowledge: Requirements::from_wire(terms.knowledge).ok()?,
        bounds: Bounds::from_wire(terms.bounds).ok()?,
    };
    let parent = if grant.parent.is_empty() { None } else { Some(self::id(&grant.parent)?) };
    Some(Held { id, terms, parent, revoked: grant.revoked.map(|cause| (cause.index, cause.time_ms)) })
}

fn id(bytes: &[u8]) -> Option<GrantId> {
    Hash::from_slice(bytes).map(GrantId)
}

impl Holding {
    fn report(&self, ledger: &Ledger, agent: &Name) -> Report {
        let count = self.grants.len();
        let mut page = Page::new(format!("{}  owner {}", style::name(agent.as_str()), self.owner));
        if count > 0 {
            let mut table = Table::new(&["grant", "actions", "resources", "until", "state"]);
            for held in &self.grants {
                table.row(held.row());
            }
            page = page.table(table);
        }
        let grants = if count == 1 { "grant" } else { "grants" };
        let page = page.field("complete", format!("{count} {grants}, proven to be all of this epoch"));
        let page = output::proof(page, &ledger.trust(), &self.checked.verified);
        let grants: Vec<_> = self.grants.iter().map(Held::to_json).collect();
        let json = json!({
            "outcome": "done",
            "agent": agent.as_str(),
            "owner": self.owner,
            "lineage": self.lineage,
            "grants": grants,
            "proof": output::verdict_json(&ledger.trust(), &self.checked.verified).get("proof"),
        });
        Report::done(page, json)
    }
}

impl Held {
    fn row(&self) -> [String; 5] {
        let list = |patterns: &chancery_ledger::command::Patterns| {
            patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let state = match (self.revoked, self.parent) {
            (Some((index, _)), _) => style::bad(&format!("revoked at index {index}")),
            (None, Some(parent)) => format!("delegated from {}", output::short(&parent)),
            (None, None) => style::good("granted"),
        };
        [
            style::name(&self.id.to_string()),
            list(&self.terms.actions),
            list(&self.terms.resources),
            utc(self.terms.not_after_ms),
            state,
        ]
    }

    fn to_json(&self) -> Value {
        let list = |patterns: &chancery_ledger::command::Patterns| {
            patterns.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        json!({
            "grant": self.id.to_string(),
            "parent": self.parent.map(|parent| parent.to_string()),
            "actions": list(&self.terms.actions),
            "resources": list(&self.terms.resources),
            "not_before_ms": self.terms.not_before_ms,
            "not_after_ms": self.terms.not_after_ms,
            "max_staleness_ms": self.terms.max_staleness_ms,
            "delegable_depth": self.terms.delegable_depth,
            "condition": self.terms.condition.as_ref().map(Condition::as_str),
            "bounds": self.terms.bounds.iter().map(bound_words).collect::<Vec<_>>(),
            "knowledge": self.terms.knowledge.iter().map(requirement_words).collect::<Vec<_>>(),
            "revoked_index": self.revoked.map(|(index, _)| index),
            "revoked_time_ms": self.revoked.map(|(_, time_ms)| time_ms),
        })
    }
}
