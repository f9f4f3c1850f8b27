//! `chancery status`: who votes and who leads, where each node is, and what is wrong, at a glance. Nothing of it
//! is proven, and it says so.

mod json;
mod survey;
mod trouble;

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Result};
use crate::member::headline;
use crate::output::{Page, Report, Table, seconds, style};
use crate::{context, ledger};

use chancery_client::{LearnerStatus, NodeStatus, PeerStatus, WitnessStatus};
use survey::Survey;

/// Who votes and leads, where each node is, and what is wrong.
#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Status {
    /// Runs `chancery status`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let survey = Survey::new(ledger.status().await, ledger.trust().clock_skew_ms_max);
        // Whether the ledger serves is not known when nobody answers.
        let exit = if survey.answers().next().is_none() { Exit::Unknown } else { Exit::Done };
        let troubles = trouble::find(&survey);
        let json = json!({
            "outcome": exit.name(),
            "roster": survey.roster().map(|(id, roster)| crate::member::roster_json(*id, roster)),
            "leader": survey.leader().map(|leader| leader.node),
            "term": survey.leader().map(|leader| leader.term),
            "learners": json::learners(survey.learners()),
            "nodes": json::nodes(&survey),
            "troubles": json::troubles(&troubles),
        });
        Ok(Report { exit, page: page(&survey, &troubles), json })
    }
}

fn page(survey: &Survey, troubles: &[trouble::Trouble]) -> Page {
    let headline = match survey.roster() {
        Some((id, roster)) => headline(*id, roster),
        None => "the roster is not known".into(),
    };
    let leads = match survey.leader() {
        Some(leader) => format!("{} leads in term {}", style::name(&leader.name), leader.term),
        None => style::bad("no leader"),
    };
    let headings = [
        "node",
        "role",
        ">block",
        ">log tail",
        ">applied",
        ">lag",
        ">clock",
        ">snapshot",
        ">purged",
        "signs",
        "endpoint",
    ];
    let mut table = Table::new(&headings);
    for (endpoint, status) in &survey.all {
        match status {
            Ok(node) => table.row(row(survey, endpoint, node)),
            Err(failure) => table.row(silent(endpoint, &failure.to_string())),
        }
    }
    for (node, name) in survey.not_asked() {
        table.row(not_asked(survey, node, &name));
    }
    let mut page = Page::new(headline).text(leads).table(table);
    for LearnerStatus { name, address, node } in survey.learners() {
        let lag = survey.lag(*node).map_or_else(String::new, |lag| format!(", lacks {lag} entries"));
        page = page.text(format!("{} learns from {address}{lag}", style::name(name)));
    }
    let mut witnesses = Table::new(&["witness", "asked by", ">leaves", ">cosigned", "failed by"]);
    let asked = survey.answers().flat_map(|node| node.witnesses.iter().map(move |witness| (node, witness)));
    for (node, witness) in asked {
        witnesses.row(witness_row(node, witness));
    }
    if survey.answers().any(|node| !node.witnesses.is_empty()) {
        page = page.table(witnesses);
    }
    page = page.text(style::dim("What nodes say of themselves; nothing of it is proven. `check` proves."));
    if troubles.is_empty() {
        return page.text(format!("{} nothing is wrong", style::good("ok")));
    }
    for trouble in troubles {
        let word = if trouble.is_grave { style::bad("wrong") } else { style::warn("wrong") };
        page = page.text(format!("{word} {}", trouble.message));
    }
    page
}

fn row(survey: &Survey, endpoint: &str, node: &NodeStatus) -> [String; 11] {
    let votes = survey.votes(node.node);
    let role = match node.leader {
        Some(leader) if leader == node.node => style::good("leader"),
        _ if survey.learners().iter().any(|learner| learner.node == node.node) => "learner".into(),
        _ if !votes => style::warn("no voter"),
        Some(_) => "follower".into(),
        None => style::warn("no leader"),
    };
    let signs = match &node.silent_because {
        None => style::good("yes"),
        Some(why) => style::warn(&format!("no: {why}")),
    };
    [
        style::name(&node.name),
        role,
        number(node.head.map(|head| head.block)),
        node.tail_block.to_string(),
        number(node.log.applied_index),
        number(survey.lag(node.node)),
        survey.peer(node.node).map_or_else(|| "-".into(), clock),
        number(node.log.snapshot_block),
        number(node.log.purged_index),
        signs,
        endpoint.to_owned(),
    ]
}

/// How a witness does, by one of the nodes that ask it.
fn witness_row(node: &NodeStatus, witness: &WitnessStatus) -> [String; 5] {
    let since = witness.cosigned_ms.map(|ms| format!("{} ago", seconds(Duration::from_millis(ms))));
    [
        style::name(&witness.name),
        node.name.clone(),
        number(witness.size),
        since.unwrap_or_else(|| "-".into()),
        witness.error.as_deref().map_or_else(|| "-".into(), style::warn),
    ]
}

fn silent(endpoint: &str, failure: &str) -> [String; 11] {
    let dash = || "-".to_owned();
    let role = style::bad("silent");
    let [block, tail, applied, lag, offset, snapshot, purged, signs] = std::array::from_fn(|_| dash());
    let endpoint = format!("{endpoint}: {failure}");
    [dash(), role, block, tail, applied, lag, offset, snapshot, purged, signs, endpoint]
}

/// A voter that no endpoint of the context is, as the leader sees it.
fn not_asked(survey: &Survey, node: u64, name: &str) -> [String; 11] {
    let dash = || "-".to_owned();
    let peer = survey.peer(node);
    let role = match peer {
        Some(peer) if !peer.reachable => style::bad("silent"),
        _ => style::dim("not asked"),
    };
    let offset = peer.map_or_else(dash, clock);
    let [block, tail, applied, snapshot, purged, signs] = std::array::from_fn(|_| dash());
    let lag = number(survey.lag(node));
    let endpoint = style::dim("no endpoint of this context, or it does not answer");
    [style::name(name), role, block, tail, applied, lag, offset, snapshot, purged, signs, endpoint]
}

fn clock(peer: &PeerStatus) -> String {
    if peer.reachable {
        format!("{:+} ms ±{}", peer.clock_offset_ms, peer.clock_error_ms)
    } else {
        "-".into()
    }
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".into(), |number| number.to_string())
}
