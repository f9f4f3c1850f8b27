//! A cluster of real node processes, each behind proxies, all in one folder that is kept when it shows a bug.
//!
//! Processes are ended by their own handles only, and all of them when the cluster is dropped; each ends by
//! itself when this process does.

mod addresses;
mod faulty;
mod members;
mod observe;
mod power;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use chancery_client::chancery_ledger::trust::Trust;
use chancery_client::{Context, Ledger, Options};

pub use faulty::ClockError;
pub use members::Joining;
pub use observe::Sight;

use crate::fault::HarnessError;
use crate::proxy::Network;
use addresses::Addresses;
use process::Process;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// Where everything is kept; made if it is not there.
    pub folder: PathBuf,
    /// How many nodes it is founded with.
    pub nodes: u64,
    /// The highest number that a node may have: more than there are at first if some are to join.
    pub numbers: u64,
    /// What goes into the table `tuning` of every `node.toml`.
    pub tuning: toml::Table,
    /// What nodes have in their environment besides this process' own: node, name, value.
    pub environment: Vec<(u64, String, String)>,
}

/// A cluster.
pub struct Cluster {
    plan: Plan,
    addresses: Addresses,
    running: BTreeMap<u64, Process>,
    /// Who votes, and who is about to. Only these are started.
    members: BTreeSet<u64>,
    next_number: u64,
    /// The links between the nodes, and to them.
    pub network: Network,
    contexts: AtomicU64,
    control: Ledger,
}

impl Cluster {
    /// Founds a ledger, and starts its nodes.
    ///
    /// # Errors
    /// A file, a port or a process; the program's own words if it refuses.
    pub async fn start(plan: Plan) -> Result<Self, HarnessError> {
        let addresses = Addresses::new();
        fs::create_dir_all(&plan.folder).map_err(HarnessError::at(&plan.folder))?;
        found(&plan, &addresses)?;
        let mut network = Network::default();
        for node in 1..=plan.nodes {
            configure(&plan, &addresses, node)?;
            network.before_peers(node, addresses.peer_proxy(node), addresses.peer(node)).await?;
            network.before_clients(node, addresses.client_proxy(node), addresses.client(node)).await?;
        }
        let contexts = AtomicU64::new(0);
        let direct: Vec<_> = (1..=plan.numbers).map(|node| addresses.client(node).to_string()).collect();
        let options = Options { read_timeout: observe::PATIENCE, ..Options::default() };
        let control = connect(&plan, &contexts, "operator", Some(direct), options).await?;
        let (members, next_number) = ((1..=plan.nodes).collect(), plan.nodes + 1);
        let running = BTreeMap::new();
        let mut cluster = Self { plan, addresses, running, members, next_number, network, contexts, control };
        for node in cluster.nodes() {
            cluster.start_node(node)?;
        }
        Ok(cluster)
    }

    /// Whom clients believe, with every roster that was proven up to now, and no minimum: what is verified
    /// again may be old.
    ///
    /// # Errors
    /// No node proves the rosters.
    pub async fn trust(&self) -> Result<Trust, HarnessError> {
        let direct = self.nodes().into_iter().map(|node| self.addresses.client(node).to_string()).collect();
        let options = Options { read_timeout: observe::LEAF_TIMEOUT, ..Options::default() };
        let ledger = connect(&self.plan, &self.contexts, "operator", Some(direct), options).await?;
        let known = ledger.rosters().await.map_err(|error| HarnessError::TooLate(error.to_string()))?;
        Ok(known.since_genesis())
    }

    /// Every node that votes, or is about to.
    pub fn nodes(&self) -> Vec<u64> {
        self.members.iter().copied().collect()
    }

    /// Where everything is kept.
    pub fn folder(&self) -> &Path {
        &self.plan.folder
    }

    /// A connection as `operator`, `issuer`, `gate` or whom else `chancery init` founds, through the proxies: over every node that there
    /// is or may be, or to one and those that may come in its place. Its context is a copy, so that none shares
    /// what it verified.
    ///
    /// # Errors
    /// The context cannot be copied.
    pub async fn connect(
        &self,
        principal: &str,
        node: Option<u64>,
        options: Options,
    ) -> Result<Ledger, HarnessError> {
        let mut numbers: Vec<u64> = (1..=self.plan.numbers).collect();
        if let Some(node) = node {
            numbers.retain(|number| number % self.plan.nodes == node % self.plan.nodes);
        }
        let endpoints =
            numbers.into_iter().map(|node| self.addresses.client_proxy(node).to_string()).collect();
        connect(&self.plan, &self.contexts, principal, Some(endpoints), options).await
    }

    /// [`Cluster::connect`] past the proxies, to one node.
    ///
    /// # Errors
    /// The context cannot be copied.
    pub async fn connect_directly(
        &self,
        principal: &str,
        node: u64,
        options: Options,
    ) -> Result<Ledger, HarnessError> {
        let endpoints = Some(vec![self.addresses.client(node).to_string()]);
        connect(&self.plan, &self.contexts, principal, endpoints, options).await
    }

    fn node_folder(&self, node: u64) -> PathBuf {
        node_folder(&self.plan, node)
    }
}

fn ledger_folder(plan: &Plan) -> PathBuf {
    plan.folder.join("ledger")
}

fn node_folder(plan: &Plan, node: u64) -> PathBuf {
    ledger_folder(plan).join(format!("node-{node}"))
}

/// The founding is the program's own, with the proxies' addresses: so they are in the contexts, the
/// certificates and the first membership.
fn found(plan: &Plan, addresses: &Addresses) -> Result<(), HarnessError> {
    let mut init = Command::new(&plan.program);
    init.env("HOME", &plan.folder).arg("init").arg(ledger_folder(plan));
    // Two of three end a halt.
    init.args(["--resumers", "3"]);
    for node in 1..=plan.nodes {
        let node = format!("{},{}", addresses.peer_proxy(node), addresses.client_proxy(node));
        init.args(["--node", &node]);
    }
    let made = init.output().map_err(HarnessError::at(&plan.program))?;
    if made.status.success() {
        return Ok(());
    }
    Err(HarnessError::Setup(format!("chancery init: {}", String::from_utf8_lossy(&made.stderr))))
}

/// Where a node really listens, and its tuning, go into its `node.toml`.
fn configure(plan: &Plan, addresses: &Addresses, node: u64) -> Result<(), HarnessError> {
    let path = node_folder(plan, node).join("node.toml");
    let text = fs::read_to_string(&path).map_err(HarnessError::at(&path))?;
    let malformed = |reason: String| HarnessError::Setup(format!("{}: {reason}", path.display()));
    let mut config: toml::Table = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    config.insert("peer_listen".into(), addresses.peer(node).to_string().into());
    config.insert("client_listen".into(), addresses.client(node).to_string().into());
    let tuning = config.entry("tuning").or_insert_with(|| toml::Table::new().into());
    let tuning = tuning.as_table_mut().ok_or_else(|| malformed("tuning is no table".into()))?;
    tuning.extend(plan.tuning.clone());
    let text = toml::to_string(&config).map_err(|error| malformed(error.to_string()))?;
    fs::write(&path, text).map_err(HarnessError::at(&path))
}

async fn connect(
    plan: &Plan,
    contexts: &AtomicU64,
    principal: &str,
    endpoints: Option<Vec<String>>,
    options: Options,
) -> Result<Ledger, HarnessError> {
    let setup = |error: &dyn std::fmt::Display| HarnessError::Setup(format!("context {principal}: {error}"));
    let folder = ledger_folder(plan).join("contexts").join(principal);
    let mut context = Context::open(folder).map_err(|error| setup(&error))?;
    if let Some(endpoints) = endpoints {
        context.endpoints = endpoints;
    }
    let number = contexts.fetch_add(1, Ordering::Relaxed);
    context.folder = plan.folder.join("contexts").join(number.to_string());
    context.save().map_err(|error| setup(&error))?;
    Ledger::connect_with(context, options).await.map_err(|error| setup(&error))
}
