//! `chancery revoke`: one grant and all below it, or everything of an agent; and waiting until it is dead.

use std::time::{Duration, Instant};

use chancery_ledger::command::{Body, GrantId, Name};
use clap::Args;
use serde_json::json;

use crate::context;
use crate::exit::{Exit, Failure, Result};
use crate::grant::parse_grant;
use crate::ledger::{self, Act};
use crate::output::{Report, seconds, style};
use crate::principal::parse_name;

/// Revoke one grant with every delegation below it, or everything of an agent. Final.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The grant. It need not have been seen yet.
    #[arg(value_parser = parse_grant, required_unless_present = "agent", conflicts_with = "agent")]
    grant: Option<GrantId>,
    /// Everything that this agent was granted so far.
    #[arg(long, value_parser = parse_name)]
    agent: Option<Name>,
    /// Why, for people.
    #[arg(long, default_value = "")]
    reason: String,
    /// Return only when no permit from before can be used any more, by any clock that is in its bounds.
    #[arg(long)]
    wait: bool,
}

impl Revoke {
    /// Runs `chancery revoke`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let (words, body) = match (&self.grant, &self.agent) {
            (Some(grant), _) => (
                format!("revoked grant {}", style::name(&grant.to_string())),
                Body::RevokeGrant { grant: *grant, reason: self.reason.clone() },
            ),
            (None, agent) => {
                let agent = agent.clone().ok_or_else(|| Failure::usage("a grant or --agent"))?;
                (
                    format!("revoked everything of {}", style::name(agent.as_str())),
                    Body::RevokeAgent { agent, reason: self.reason.clone() },
                )
            }
        };
        let receipt = Act::new(words.clone(), body).submit(&ledger).await?;
        let acknowledged = Instant::now();
        let page = ledger::dead_field(ledger::receipt_page(&words, &ledger.trust(), &receipt), &receipt);
        let mut json = ledger::receipt_json(&ledger.trust(), &receipt);
        if !self.wait {
            return Ok(Report::done(page, json));
        }
        let dead = receipt
            .dead
            .ok_or_else(|| Failure::new(Exit::Invalid, "a revocation that takes nothing away"))?;
        let wait = Duration::from_millis(dead.after_ms);
        tokio::time::sleep(wait.saturating_sub(acknowledged.elapsed())).await;
        if let Some(fields) = json.as_object_mut() {
            fields.insert("waited_ms".into(), json!(dead.after_ms));
        }
        let waited =
            format!("{} after it was acknowledged: no permit from before can start a call", seconds(wait));
        Ok(Report::done(page.field("dead", waited), json))
    }
}
