//! `chancery revoke`: one grant and all below it, or everything of an agent; and waiting until it is dead.

use std::time::{Duration, Instant};

use chancery_client::{Ledger, Receipt};
use chancery_ledger::authority::Entry;
use chancery_ledger::command::{Body, GrantId, Name};
use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure, Result};
use crate::grant::parse_grant;
use crate::ledger::{self, Act};
use crate::output::{Report, seconds, style};
use crate::principal::parse_name;
use crate::{context, lookup};

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
    /// With --wait: the agent that holds the grant, so that its own staleness is waited for and not the
    /// ledger's greatest. Needs the right to check for it.
    #[arg(long, value_parser = parse_name, requires = "wait", conflicts_with = "agent")]
    holder: Option<Name>,
}

impl Revoke {
    /// Runs `chancery revoke`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let context = context::load(named)?;
        let clock_skew_ms = context.clock_skew_ms;
        let ledger = ledger::connect(context).await?;
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
        let page = ledger::receipt_page(&words, &ledger.trust(), &receipt);
        let mut json = ledger::receipt_json(&ledger.trust(), &receipt);
        if !self.wait {
            return Ok(Report::done(page, json));
        }
        let staleness_ms = self.staleness_ms(&ledger, &receipt).await?;
        let wait_ms =
            staleness_ms.saturating_add(ledger.trust().clock_skew_ms_max).saturating_add(clock_skew_ms);
        let wait = Duration::from_millis(wait_ms);
        tokio::time::sleep(wait.saturating_sub(acknowledged.elapsed())).await;
        if let Some(fields) = json.as_object_mut() {
            fields.insert("waited_ms".into(), json!(wait_ms));
        }
        let waited =
            format!("{} after it was acknowledged: no permit from before can start a call", seconds(wait));
        Ok(Report::done(page.field("dead", waited), json))
    }

    /// How old an answer could be on which the revoked authority is still used.
    async fn staleness_ms(&self, ledger: &Ledger, receipt: &Receipt) -> Result<u64> {
        if let (Some(grant), Some(holder)) = (self.grant, &self.holder) {
            let held = lookup::grants(ledger, holder).await?;
            if let Some(terms) = held.grants.iter().find(|held| held.id == grant).map(|held| &held.terms) {
                return Ok(terms.max_staleness_ms);
            }
        }
        // Genesis is leaf 0, proven by the very head that acknowledged the revocation.
        let genesis = ledger.leaf_in(&receipt.head.head, 0).await;
        let (_, entry) = genesis.map_err(|error| ledger::read_failure(&error))?;
        if let Entry::Command { signed, .. } = entry
            && let Body::Genesis(genesis) = &signed.command().body
        {
            return Ok(genesis.limits.staleness_cap_ms);
        }
        Err(Failure::new(Exit::Invalid, "leaf 0 is not genesis"))
    }
}
