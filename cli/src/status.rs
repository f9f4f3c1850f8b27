//! `chancery status`: what each node says of itself. Nothing of it is proven, and it says so.

use chancery_client::{Failure as TryFailure, NodeStatus};
use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Exit, Result};
use crate::output::{Page, Report, Table, head_json, style};
use crate::{context, ledger};

/// What each node says of itself.
#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Status {
    /// Runs `chancery status`.
    pub(crate) async fn run(&self, named: Option<&str>) -> Result<Report> {
        let ledger = ledger::connect(context::load(named)?).await?;
        let all = ledger.status().await;
        let mut table = Table::new(&["node", "role", ">block", ">leaves", ">log tail", "signs", "endpoint"]);
        for (endpoint, status) in &all {
            table.row(row(endpoint, status));
        }
        let reached = all.iter().filter(|(_, status)| status.is_ok()).count();
        let page = Page::new(format!("{} of {} nodes answer", reached, all.len()))
            .table(table)
            .text(style::dim("What nodes say of themselves; nothing of it is proven. `check` proves."));
        let nodes: Vec<_> = all.iter().map(|(endpoint, status)| node_json(endpoint, status)).collect();
        // Whether the ledger serves is not known when nobody answers.
        let exit = if reached == 0 { Exit::Unknown } else { Exit::Done };
        Ok(Report { exit, page, json: json!({ "outcome": exit.name(), "nodes": nodes }) })
    }
}

fn row(endpoint: &str, status: &std::result::Result<NodeStatus, TryFailure>) -> [String; 7] {
    let node = match status {
        Ok(node) => node,
        Err(failure) => {
            let dash = || "-".to_owned();
            return [
                dash(),
                style::bad("silent"),
                dash(),
                dash(),
                dash(),
                dash(),
                format!("{endpoint}: {failure}"),
            ];
        }
    };
    let role = match node.leader {
        Some(leader) if leader == node.node => style::good("leader"),
        Some(_) => "follower".into(),
        None => style::warn("no leader"),
    };
    let signs = match &node.silent_because {
        None => style::good("yes"),
        Some(why) => style::warn(&format!("no: {why}")),
    };
    let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |number| number.to_string());
    [
        style::name(&node.name),
        role,
        number(node.head.map(|head| head.block)),
        number(node.head.map(|head| head.log_size)),
        node.tail_block.to_string(),
        signs,
        endpoint.to_owned(),
    ]
}

fn node_json(endpoint: &str, status: &std::result::Result<NodeStatus, TryFailure>) -> Value {
    let node = match status {
        Ok(node) => node,
        Err(failure) => return json!({ "endpoint": endpoint, "error": failure.to_string() }),
    };
    let peers: Vec<_> = node
        .peers
        .iter()
        .map(|peer| {
            json!({
                "node": peer.node,
                "name": peer.name,
                "reachable": peer.reachable,
                "clock_offset_ms": peer.clock_offset_ms,
                "clock_error_ms": peer.clock_error_ms,
                "lag_entries": peer.lag_entries,
            })
        })
        .collect();
    json!({
        "endpoint": endpoint,
        "node": node.node,
        "name": node.name,
        "leader": node.leader,
        "term": node.term,
        "head": node.head.as_ref().map(head_json),
        "tail_block": node.tail_block,
        "silent_because": node.silent_because,
        "peers": peers,
        "version": node.version,
    })
}
