//! `chancery dev`: a ledger of three node processes on this machine, until Ctrl-C.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chancery_client::Context;
use chancery_ledger::command::{Limits, Role};
use chancery_node::config::{NodeConfig, Tuning};
use clap::Args;
use serde_json::json;

use crate::cluster::{self, Cluster, Reserved, serving};
use crate::exit::{Failure, Result};
use crate::init::founding::{FirstPrincipal, node_name};
use crate::init::{Address, NodeAddresses, Plan, context_folder};
use crate::node::stop_signal;
use crate::output::{self, Format, Page, Report, seconds, style};
use crate::{context, files, verify};

/// The context that `dev` makes and selects, and its one principal.
const DEV: &str = "dev";

const NODES: u64 = 3;

/// One principal who may do everything: what `dev` shows needs no separation of duties.
fn principals() -> Vec<FirstPrincipal> {
    const ROLES: [Role; 6] =
        [Role::Operator, Role::Issuer, Role::Revoker, Role::Halter, Role::Resumer, Role::Gate];
    vec![FirstPrincipal::new(DEV, &ROLES)]
}

/// Runs a ledger of three nodes on this machine, and makes and selects the context `dev`. Ctrl-C stops it.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Where the ledger is kept; the next `dev` goes on with it.
    #[arg(long)]
    data: Option<PathBuf>,
}

impl Dev {
    /// Runs `chancery dev`.
    pub(crate) async fn run(&self, format: Format) -> Result<Report> {
        let began = Instant::now();
        let stop = stop_signal(false)?;
        let dir = match &self.data {
            Some(dir) => dir.clone(),
            None => default_data()?,
        };
        let _only_one = lock(&dir)?;
        let ledger = dir.join("ledger");
        let (plan, _reserved) =
            if ledger.join("trust.toml").exists() { go_on(&ledger)? } else { begin(&ledger)? };
        let context = make_context(&ledger, &plan)?;
        let mut cluster = Cluster::start(&ledger, NODES)?;
        tokio::pin!(stop);
        let run = async {
            tokio::select! {
                ready = serving::wait(&context, NODES) => ready?,
                failure = cluster.ended() => return Err(failure),
            }
            announce(format, &dir, &plan, &context, &cluster, began);
            Err(cluster.ended().await)
        };
        let ended: Result<()> = tokio::select! {
            () = &mut stop => Ok(()),
            ended = run => ended,
        };
        cluster.stop().await;
        ended?;
        let page = Page::new(format!("\nstopped; the ledger stays in {}", dir.display()));
        Ok(Report::done(page, json!({ "outcome": "done", "event": "stopped", "data": dir })))
    }
}

/// `$XDG_DATA_HOME/chancery/dev`, by default below `~/.local/share`.
fn default_data() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/share")))
        .map(|home| home.join("chancery/dev"))
        .ok_or_else(|| Failure::usage("neither XDG_DATA_HOME nor HOME is an absolute path: name a --data"))
}

/// Makes the folder, and makes sure that no other `dev` runs there.
fn lock(dir: &Path) -> Result<File> {
    files::make_folder(dir)?;
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|error| Failure::file(&path, &error))?;
    file.try_lock().map_err(|_| Failure::usage(format!("another `dev` runs in {}", dir.display())))?;
    Ok(file)
}

/// A new ledger.
fn begin(dir: &Path) -> Result<(Plan, Reserved)> {
    let (nodes, reserved) = cluster::choose(NODES)?;
    let plan = Plan {
        origin: "chancery.localhost/dev".into(),
        nodes,
        principals: principals(),
        limits: Limits::default(),
        tuning: Tuning::default(),
        witnesses: None,
    };
    plan.write(dir)?;
    Ok((plan, reserved))
}

/// The ledger that is there, on the same ports if they are free.
fn go_on(dir: &Path) -> Result<(Plan, Reserved)> {
    let trust = verify::load_trust(&dir.join("trust.toml"))?;
    let (mut nodes, mut witnesses) = (Vec::new(), None);
    for node in 1..=NODES {
        let config = NodeConfig::load(&dir.join(node_name(node)).join("node.toml"))
            .map_err(|error| Failure::usage(error.to_string()))?;
        nodes.push(NodeAddresses {
            peer: Address::loopback(config.peer_listen.port()),
            client: Address::loopback(config.client_listen.port()),
            tiles: config.tiles.as_ref().map(|tiles| Address::loopback(tiles.listen.port())),
        });
        // Whoever was put there by hand stays.
        witnesses = witnesses.or(config.tiles.and_then(|tiles| tiles.witnesses));
    }
    let mut reserved = Reserved::default();
    if !nodes.iter().all(cluster::is_free) {
        (nodes, reserved) = cluster::choose(NODES)?;
    }
    let plan = Plan {
        origin: trust.origin,
        nodes,
        principals: principals(),
        limits: Limits::default(),
        tuning: Tuning::default(),
        witnesses,
    };
    for node in 1..=NODES {
        plan.write_node_config(dir, node)?;
    }
    Ok((plan, reserved))
}

/// Copies the principal's context to the user's contexts, with the ports of this run, and selects it.
fn make_context(ledger: &Path, plan: &Plan) -> Result<Context> {
    let contexts = context::contexts()?;
    let made = Context::open(context_folder(ledger, DEV)).map_err(context::failure)?;
    let folder = contexts.folder(DEV).map_err(context::failure)?;
    let other = Context::open(&folder).is_ok_and(|old| old.trust.ledger != made.trust.ledger);
    if other {
        // What was verified of another ledger says nothing about this one.
        std::fs::remove_dir_all(&folder).map_err(|error| Failure::file(&folder, &error))?;
    }
    let context = Context { folder, endpoints: plan.endpoints(), ..made };
    context.save().map_err(context::failure)?;
    contexts.select(DEV).map_err(context::failure)?;
    Ok(context)
}

fn announce(format: Format, dir: &Path, plan: &Plan, context: &Context, cluster: &Cluster, began: Instant) {
    let node_json = |(node, addresses): (u64, &NodeAddresses)| {
        json!({
            "name": node_name(node),
            "process_id": cluster.process_id(node),
            "client_address": addresses.client.to_string(),
            "log_url": addresses.log_url(),
            "log": cluster.log(node),
        })
    };
    if format == Format::Json {
        let nodes: Vec<_> = (1..).zip(&plan.nodes).map(node_json).collect();
        output::say_json(&json!({
            "outcome": "done",
            "event": "serving",
            "ledger": context.trust.ledger.to_string(),
            "data": dir,
            "context": DEV,
            "nodes": nodes,
        }));
        return;
    }
    let mut page = Page::new(format!("{} after {}\n", style::good("serving"), seconds(began.elapsed())))
        .field("ledger", style::name(&context.trust.ledger.to_string()))
        .field("kept in", format!("{}", dir.display()))
        .field("context", format!("{DEV} (selected)"));
    for (node, addresses) in (1..).zip(&plan.nodes) {
        let process = cluster.process_id(node).map_or_else(String::new, |id| format!("process {id}, "));
        let log = cluster.log(node);
        let url = addresses.log_url().map_or_else(String::new, |url| format!("auditors at {url}, "));
        let text = format!("{process}clients at {}, {url}log {}", addresses.client, log.display());
        page = page.field(node_name(node), text);
    }
    let page = page
        .text("\nIn another terminal:\n")
        .text("  chancery agent register bot --owner you@example.com")
        .text("  chancery grant bot --action 'mail/*' --resource 'customer/*'")
        .text("  chancery check bot mail/send customer/42          # permit, proven")
        .text("  chancery revoke --agent bot --wait")
        .text("  chancery check bot mail/send customer/42 --evidence denied.json")
        .text(format!("  chancery verify denied.json --trust {}\n", dir.join("ledger/trust.toml").display()))
        .text(style::dim("Ctrl-C stops it."));
    output::say(&page.render());
}
