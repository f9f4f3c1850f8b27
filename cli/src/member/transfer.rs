//! `chancery transfer`: another voter leads.

use chancery_client::{Ledger, NodeStatus};
use clap::Args;
use serde_json::json;

use super::{find_voter, member_failure, no_voter};
use crate::exit::{Exit, Failure, Result};
use crate::output::{Page, Report, node_names, style};
use crate::{context, ledger};

/// Have the leader hand over to another voter that has caught up. By an operator.
#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// The voter, by its number or name. By default the one that lacks least of the log.
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
}

impl Transfer {
    /// Runs `chancery transfer`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let to = match &self.to {
            Some(text) => {
                let trust = ledger.rosters().await.map_err(|error| ledger::read_failure(&error))?;
                let roster = trust.roster(trust.newest_roster());
                roster.ok().and_then(|roster| find_voter(roster, text)).ok_or_else(|| no_voter(text))?
            }
            None => nearest(&ledger).await?,
        };
        let (leader, term) = ledger.transfer_leadership(to).await.map_err(|error| member_failure(&error))?;
        let name = node_names(&ledger.trust(), &[leader]).concat();
        let page = Page::new(format!("{} {} leads in term {term}", style::good("done"), style::name(&name)));
        Ok(Report::done(page, json!({ "outcome": "done", "leader": leader, "name": name, "term": term })))
    }
}

/// The voter that lacks least, as the leader says.
async fn nearest(ledger: &Ledger) -> Result<u64> {
    let all = ledger.status().await;
    let leads = |status: &&NodeStatus| status.leader == Some(status.node);
    let answers = all.iter().filter_map(|(_, status)| status.as_ref().ok());
    let leader = answers.filter(leads).max_by_key(|status| status.term);
    let leader = leader.ok_or_else(|| Failure::new(Exit::NotDone, "no node says that it leads"))?;
    let votes = |node: u64| leader.roster.as_ref().is_some_and(|(_, roster)| roster.voter(node).is_some());
    let lag = |node: u64| leader.peers.iter().find(|peer| peer.node == node && peer.reachable)?.lag_entries;
    let peers = leader.peers.iter().map(|peer| peer.node).filter(|node| votes(*node));
    let nearest = peers.filter_map(|node| Some((lag(node)?, node))).min();
    let (_, node) =
        nearest.ok_or_else(|| Failure::new(Exit::NotDone, "the leader reaches no other voter"))?;
    Ok(node)
}
