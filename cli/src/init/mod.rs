//! `chancery init`: a new ledger's folder, with one folder for each node and one context for each principal.
//!
//! ```text
//! DIR/trust.toml            what clients must get from somewhere safe
//! DIR/genesis               the first block, for nodes that join later
//! DIR/log.key               the log's own key, for nodes that join later and serve the log
//! DIR/ca/                   the two CAs' keys: keep them away from the nodes
//! DIR/node-N/               everything that node N needs, and nothing else: copy it there whole
//! DIR/contexts/PRINCIPAL/   a client context whose TLS key is the principal's own
//! ```

pub(crate) mod certificates;
pub(crate) mod founding;
mod node_folder;

pub(crate) use node_folder::{NodeFolder, NodeKeys};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chancery_client::{CLOCK_SKEW_MS_DEFAULT, Context};
use chancery_ledger::command::{Limits, Role};
use chancery_node::config::{PeerConfig, Tuning, WitnessConfig, WitnessesConfig};
use chancery_node::tile_log::Witnesses;
use clap::Args;
use serde_json::json;

use crate::context;
use crate::exit::{Failure, Result};
use crate::output::{Page, Report, style};
use crate::{files, keys};

use certificates::{Authority, Kind};
use founding::{FirstPrincipal, Founding, found, node_name, one_per_role};

/// Founds a ledger: keys, genesis, certificates, a folder for each node and a context for each principal.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The folder to make.
    dir: PathBuf,
    /// Names the log for ever, like a URL without its scheme.
    #[arg(long, default_value = "chancery.localhost/ledger")]
    origin: String,
    /// One node: where its peers reach it, where clients do, and, if it is to serve the log over HTTP, where auditors do,
    /// each as HOST:PORT. Once for each node. Without any: three nodes on this machine.
    #[arg(long = "node", value_name = "PEERS,CLIENTS[,AUDITORS]")]
    nodes: Vec<NodeAddresses>,
    /// Greatest staleness that a grant may allow, in milliseconds.
    #[arg(long, default_value_t = Limits::default().staleness_cap_ms)]
    staleness_cap_ms: u64,
    /// How far a node's clock may be off when it signs, in milliseconds.
    #[arg(long, default_value_t = Limits::default().clock_skew_ms_max)]
    clock_skew_ms_max: u64,
    /// First operators. With several, each key belongs on a machine of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=OPERATORS_MAX))]
    operators: u32,
    /// Operators that must sign a change of the voters; more than half of them by default.
    #[arg(long, value_name = "N")]
    operator_threshold: Option<u32>,
    /// First resumers, likewise.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=RESUMERS_MAX))]
    resumers: u32,
    /// Resumers that must say so before a halt ends; more than half of them by default.
    #[arg(long, value_name = "N")]
    resumer_threshold: Option<u32>,
    /// A witness (c2sp.org/tlog-witness) that nodes which serve the log ask to cosign it, and that `trust.toml` knows: its
    /// submission prefix and its verifier key. Once for each.
    #[arg(long = "witness", value_name = "URL=VKEY", value_parser = witness)]
    witnesses: Vec<WitnessConfig>,
    /// Witnesses that must have cosigned a checkpoint; more than half of them by default.
    #[arg(long, value_name = "N", requires = "witnesses")]
    witness_quorum: Option<u32>,
}

/// A witness from URL=VKEY. A key may end in equal signs.
fn witness(text: &str) -> std::result::Result<WitnessConfig, String> {
    let (url, vkey) = text.split_once('=').ok_or("not URL=VKEY")?;
    Ok(WitnessConfig { url: url.into(), vkey: vkey.into() })
}

/// Most first operators: all of them sign genesis.
const OPERATORS_MAX: i64 = 8;

/// Most first resumers: genesis has at most 64 principals.
const RESUMERS_MAX: i64 = 32;

impl Init {
    /// Runs `chancery init`.
    pub(crate) fn run(&self) -> Result<Report> {
        let nodes = if self.nodes.is_empty() { three_local() } else { self.nodes.clone() };
        let limits = Limits {
            staleness_cap_ms: self.staleness_cap_ms,
            clock_skew_ms_max: self.clock_skew_ms_max,
            operator_threshold: self.operator_threshold.unwrap_or(self.operators / 2 + 1),
            resumer_threshold: self.resumer_threshold.unwrap_or(self.resumers / 2 + 1),
            ..Limits::default()
        };
        let plan = Plan {
            origin: self.origin.clone(),
            nodes,
            principals: one_per_role(self.operators, self.resumers),
            limits,
            tuning: Tuning::default(),
            witnesses: (!self.witnesses.is_empty())
                .then(|| WitnessesConfig { quorum: self.witness_quorum, servers: self.witnesses.clone() }),
        };
        let made = plan.write(&self.dir)?;
        Ok(report(&self.dir, &plan, &made))
    }
}

/// Where one node listens, and is reached: host and port for peers, for clients, and for auditors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NodeAddresses {
    /// Its peers'.
    pub(crate) peer: Address,
    /// Its clients'.
    pub(crate) client: Address,
    /// Where it serves the log, if it does.
    pub(crate) tiles: Option<Address>,
}

/// A host name or IP address, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    /// The host, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
}

impl Address {
    /// A port on the loopback interface.
    pub(crate) fn loopback(port: u16) -> Self {
        Self { host: "127.0.0.1".into(), port }
    }

    /// Where to listen in order to be reached here: at the IP address itself, or anywhere for a name.
    fn listen(&self) -> SocketAddr {
        let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        SocketAddr::new(self.host.parse().unwrap_or(anywhere), self.port)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or("not HOST:PORT")?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
        if host.is_empty() {
            return Err("not HOST:PORT".into());
        }
        Ok(Self { host: host.into(), port })
    }
}

impl NodeAddresses {
    /// Where auditors read the log, if they can.
    pub(crate) fn log_url(&self) -> Option<String> {
        self.tiles.as_ref().map(|address| format!("http://{address}"))
    }
}

impl FromStr for NodeAddresses {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (peer, rest) = text.split_once(',').ok_or("not HOST:PORT,HOST:PORT")?;
        let (client, tiles) = match rest.split_once(',') {
            Some((client, tiles)) => (client, Some(tiles.parse()?)),
            None => (rest, None),
        };
        Ok(Self { peer: peer.parse()?, client: client.parse()?, tiles })
    }
}

/// Where a new ledger's folder keeps the context of a first principal.
pub(crate) fn context_folder(dir: &Path, principal: &str) -> PathBuf {
    dir.join("contexts").join(principal)
}

fn three_local() -> Vec<NodeAddresses> {
    let node = |number: u16| NodeAddresses {
        peer: Address::loopback(7400 + number),
        client: Address::loopback(7500 + number),
        tiles: Some(Address::loopback(7600 + number)),
    };
    (1..=3).map(node).collect()
}

/// Everything that a new ledger's folder is made from.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Names the log.
    pub(crate) origin: String,
    /// Node 1 and so on.
    pub(crate) nodes: Vec<NodeAddresses>,
    /// The first principals.
    pub(crate) principals: Vec<FirstPrincipal>,
    /// The ledger's bounds.
    pub(crate) limits: Limits,
    /// What every `node.toml` says.
    pub(crate) tuning: Tuning,
    /// Whom nodes ask to cosign the log, and clients demand.
    pub(crate) witnesses: Option<WitnessesConfig>,
}

impl Plan {
    /// Founds the ledger and writes its folder, which must not exist or be empty.
    pub(crate) fn write(&self, dir: &Path) -> Result<Founding> {
        if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Failure::usage(format!("{} is not empty", dir.display())));
        }
        let count = self.nodes.len() as u64;
        let mut founding = found(&self.origin, count, &self.principals, self.limits)?;
        if let Some(witnesses) = &self.witnesses {
            Witnesses::configured(witnesses).map_err(|error| Failure::usage(error.to_string()))?;
            let rule = witnesses.rule().map_err(|error| Failure::usage(error.to_string()))?;
            founding.trust = founding.trust.with_witnesses(rule);
        }
        files::make_folder(&dir.join("ca"))?;
        let node_ca = self.authority(dir, Kind::Node)?;
        let client_ca = self.authority(dir, Kind::Client)?;
        files::write_public(&dir.join("genesis"), &founding.genesis)?;
        files::write_public(&dir.join("trust.toml"), founding.trust.to_toml().as_bytes())?;
        let log_key = keys::generate()?;
        keys::store(&dir.join("log.key"), &log_key)?;
        for (node, number) in founding.node_keys.iter().zip(1..) {
            let folder = self.node_folder(number)?;
            let log = folder.addresses.tiles.is_some().then_some(&log_key);
            let node_keys = NodeKeys { signing: node, log };
            let path = dir.join(node_name(number));
            folder.write(&path, node_keys, &founding.genesis, (&node_ca, &client_ca.pem))?;
        }
        for (principal, key) in self.principals.iter().zip(&founding.principal_keys) {
            let certificate = client_ca.client(&principal.name, keys::public(key))?;
            Context {
                folder: context_folder(dir, &principal.name),
                endpoints: self.endpoints(),
                trust: founding.trust.clone(),
                key: Some(key.clone()),
                certificate,
                tls_key: keys::pkcs8_pem(key),
                server_ca: node_ca.pem.clone(),
                clock_skew_ms: CLOCK_SKEW_MS_DEFAULT,
            }
            .save()
            .map_err(context::failure)?;
        }
        Ok(founding)
    }

    /// Writes `node.toml` of one node, over the one that is there.
    pub(crate) fn write_node_config(&self, dir: &Path, number: u64) -> Result<()> {
        self.node_folder(number)?.write_config(&dir.join(node_name(number)))
    }

    /// Where clients reach the nodes.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.client.to_string()).collect()
    }

    fn authority(&self, dir: &Path, kind: Kind) -> Result<Authority> {
        let name = match kind {
            Kind::Node => "nodes",
            Kind::Client => "clients",
        };
        let key = keys::generate()?;
        let authority = Authority::new(kind, &self.origin, &key)?;
        keys::store(&dir.join(format!("ca/{name}.key")), &key)?;
        files::write_public(&dir.join(format!("ca/{name}.pem")), authority.pem.as_bytes())?;
        Ok(authority)
    }

    fn addresses(&self, number: u64) -> Result<&NodeAddresses> {
        let position = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        position
            .and_then(|position| self.nodes.get(position))
            .ok_or_else(|| Failure::usage(format!("there is no node {number}")))
    }

    fn node_folder(&self, number: u64) -> Result<NodeFolder<'_>> {
        let peers = (1..)
            .zip(&self.nodes)
            .map(|(node, addresses)| PeerConfig { node, address: addresses.peer.to_string() })
            .collect();
        let addresses = self.addresses(number)?;
        let (tuning, witnesses) = (self.tuning.clone(), self.witnesses.clone());
        Ok(NodeFolder { number, name: None, addresses, peers, tuning, witnesses })
    }
}

fn report(dir: &Path, plan: &Plan, made: &Founding) -> Report {
    let roles = |roles: &[Role]| roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ");
    let mut page = Page::new(format!("{} ledger {}", style::good("founded"), style::name(&plan.origin)))
        .field("ledger id", style::name(&made.trust.ledger.to_string()))
        .field("trust", format!("{}", dir.join("trust.toml").display()))
        .field(
            "",
            style::dim("give it to clients over a way that you trust: everything else is proven from it"),
        )
        .field("CAs", format!("{}", dir.join("ca").display()))
        .field("", style::dim("keep it away from the nodes: who has it can let clients in"));
    for (number, node) in (1..).zip(&plan.nodes) {
        let folder = dir.join(node_name(number));
        let run = format!("chancery node --config {}", folder.join("node.toml").display());
        let ports = format!("peers {}, clients {}", node.peer, node.client);
        let ports = match node.log_url() {
            Some(url) => format!("{ports}, auditors {url}"),
            None => ports,
        };
        page = page.field(node_name(number), format!("{run}\n{}", style::dim(&ports)));
    }
    for principal in &plan.principals {
        let context = context_folder(dir, &principal.name);
        page = page.field(
            principal.name.clone(),
            format!("--context {}\n{}", context.display(), style::dim(&roles(principal.roles))),
        );
    }
    let nodes: Vec<_> = (1..)
        .zip(&plan.nodes)
        .map(|(number, node)| {
            json!({
                "name": node_name(number),
                "config": dir.join(node_name(number)).join("node.toml"),
                "peer_address": node.peer.to_string(),
                "client_address": node.client.to_string(),
                "log_url": node.log_url(),
            })
        })
        .collect();
    let principals: Vec<_> = plan
        .principals
        .iter()
        .zip(&made.principal_keys)
        .map(|(principal, key)| {
            json!({
                "name": principal.name,
                "roles": principal.roles,
                "public_key": keys::public(key).to_string(),
                "context": context_folder(dir, &principal.name),
            })
        })
        .collect();
    let json = json!({
        "outcome": "done",
        "origin": plan.origin,
        "ledger": made.trust.ledger.to_string(),
        "trust": dir.join("trust.toml"),
        "nodes": nodes,
        "principals": principals,
    });
    Report::done(page, json)
}
