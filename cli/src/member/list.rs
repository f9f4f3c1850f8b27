//! `chancery member list`: the voters, proven; the learners, as the leader says.

use chancery_client::NodeStatus;
use chancery_ledger::head::{Roster, RosterId};
use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Failure, Result};
use crate::output::{Page, Report, Table, quorums, style};
use crate::{context, ledger};

/// Who votes, proven from genesis, and who learns.
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    /// Runs `chancery member list`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let trust = ledger.rosters().await.map_err(|error| ledger::read_failure(&error))?;
        let id = trust.newest_roster();
        let roster = trust.roster(id).map_err(|error| Failure::local(error.to_string()))?;
        let all = ledger.status().await;
        let answers = all.iter().filter_map(|(_, status)| status.as_ref().ok());
        // Whoever has most of the log knows most about learners.
        let newest = answers.max_by_key(|status| (status.term, status.leader == Some(status.node)));
        let learners = newest.map(|status| status.learners.as_slice()).unwrap_or_default();

        let mut table = Table::new(&[">node", "name", "votes", "key or address"]);
        for voter in roster.voters() {
            let (number, name) = (voter.node.to_string(), style::name(voter.name.as_str()));
            table.row([number, name, votes(roster, voter.node), voter.key.to_string()]);
        }
        for learner in learners {
            let (number, name) = (learner.node.to_string(), style::name(&learner.name));
            table.row([number, name, style::dim("learns"), learner.address.clone()]);
        }
        let page = Page::new(headline(id, roster))
            .table(table)
            .text(style::dim("The voters are proven from genesis; who learns is what the leader says."));
        let learners: Vec<_> = learners
            .iter()
            .map(|learner| json!({ "node": learner.node, "name": learner.name, "address": learner.address }))
            .collect();
        let links = trust.roster_chain().links.len();
        let mut json = roster_json(id, roster);
        if let Some(fields) = json.as_object_mut() {
            fields.insert("outcome".into(), json!("done"));
            fields.insert("roster_blocks".into(), json!(links));
            fields.insert("learners".into(), json!(learners));
            fields.insert("leader".into(), json!(newest.and_then(|status: &NodeStatus| status.leader)));
        }
        Ok(Report::done(page, json))
    }
}

fn votes(roster: &Roster, node: u64) -> String {
    let is_in = |set: usize| {
        roster.sets().get(set).is_some_and(|set| set.voters().iter().any(|voter| voter.node == node))
    };
    match (roster.is_joint(), is_in(0), is_in(1)) {
        (true, true, false) => style::warn("leaves"),
        (true, false, true) => style::warn("joins"),
        _ => style::good("votes"),
    }
}

/// The roster in one line.
pub(crate) fn headline(id: RosterId, roster: &Roster) -> String {
    let joint = if roster.is_joint() { style::warn(", while the voters change") } else { String::new() };
    let count = roster.voters().count();
    format!(
        "roster of block {}: {count} voters, {}{joint}",
        style::name(&id.block.to_string()),
        quorums(roster)
    )
}

/// The roster for machines.
pub(crate) fn roster_json(id: RosterId, roster: &Roster) -> Value {
    let set = |set: &chancery_ledger::head::VoterSet| {
        let voter = |voter: &chancery_ledger::head::Voter| json!({ "node": voter.node, "name": voter.name.as_str(), "key": voter.key.to_string() });
        let voters: Vec<_> = set.voters().iter().map(voter).collect();
        json!({ "quorum": set.quorum(), "voters": voters })
    };
    let sets: Vec<_> = roster.sets().iter().map(set).collect();
    json!({ "roster": id.to_string(), "roster_block": id.block, "joint": roster.is_joint(), "sets": sets })
}
