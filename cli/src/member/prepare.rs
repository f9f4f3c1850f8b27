//! `chancery member prepare`: the folder of a node that is to join: its keys, its certificate, its `node.toml`, and
//! the `member.toml` that operators need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chancery_ledger::authority::Block;
use chancery_ledger::command::LedgerId;
use chancery_ledger::trust::Trust;
use chancery_node::config::{NodeConfig, PeerConfig, Tuning, WitnessesConfig};
use clap::Args;
use serde_json::json;

use super::description::Description;
use crate::exit::{Failure, Result};
use crate::init::certificates::{Authority, Kind};
use crate::init::founding::node_name;
use crate::init::{Address, NodeAddresses, NodeFolder, NodeKeys};
use crate::output::{Page, Report, style};
use crate::{files, keys, verify};

/// Make the folder of a node that is to join. Nothing is asked of the ledger.
#[derive(Debug, Args)]
pub(crate) struct Prepare {
    /// Its number: never another node's, now or before.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    node: u64,
    /// The folder that `init` made, with the node CA in it.
    #[arg(long, value_name = "DIR")]
    ledger: PathBuf,
    /// Where its peers reach it and where clients do.
    #[arg(long, value_name = "PEERS,CLIENTS[,AUDITORS]")]
    addresses: NodeAddresses,
    /// A voter to hear of the others from, as NUMBER=HOST:PORT; more than once for several. By default every
    /// node that `init` or this command made.
    #[arg(long = "peer", value_name = "NODE=PEERS", value_parser = parse_peer)]
    peers: Vec<(u64, Address)>,
    /// The `node.toml` of a node whose witnesses the new one asks too, if it serves the log. By default the first of those
    /// that are here and name any.
    #[arg(long, value_name = "FILE")]
    witnesses_from: Option<PathBuf>,
    /// The folder to make. By default below the ledger's.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Prepare {
    /// Runs `chancery member prepare`.
    pub(crate) fn run(&self) -> Result<Report> {
        let trust = verify::load_trust(&self.ledger.join("trust.toml"))?;
        if trust.genesis.voter(self.node).is_some() {
            return Err(Failure::usage(format!("node {} is a voter of genesis", self.node)));
        }
        let genesis = genesis(&self.ledger, &trust)?;
        let ca = |name: &str| self.ledger.join("ca").join(name);
        let authority = Authority::new(Kind::Node, &trust.origin, &keys::load(&ca("nodes.key"))?)?;
        let client_ca = String::from_utf8(files::read(&ca("clients.pem"))?);
        let client_ca = client_ca.map_err(|error| Failure::usage(error.to_string()))?;
        let peers = self.peers(&trust)?;

        let folder = self.out.clone().unwrap_or_else(|| self.ledger.join(node_name(self.node)));
        if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Failure::usage(format!("{} is not empty", folder.display()))
                .hint("a node that comes back takes a new number and key"));
        }
        let key = keys::generate()?;
        let new = NodeFolder {
            number: self.node,
            addresses: &self.addresses,
            peers,
            name: Some(node_name(self.node)),
            tuning: Tuning::default(),
            witnesses: self.witnesses(&trust)?,
        };
        let log_key = self.addresses.tiles.as_ref().map(|_| keys::load(&self.ledger.join("log.key")));
        let log_key = log_key.transpose()?;
        let node_keys = NodeKeys { signing: &key, log: log_key.as_ref() };
        new.write(&folder, node_keys, &genesis, (&authority, &client_ca))?;
        let description = Description {
            ledger: trust.ledger.to_string(),
            node: self.node,
            name: node_name(self.node),
            key: keys::public(&key).to_string(),
            peer_address: self.addresses.peer.to_string(),
            client_address: self.addresses.client.to_string(),
        };
        let member = folder.join("member.toml");
        files::write_public(&member, description.to_toml()?.as_bytes())?;
        Ok(report(&folder, &member, &description))
    }

    /// Those of the file that is named, which must name some; else those that another node of this ledger asks. A trust file
    /// that demands witnesses believes no checkpoint that they were not asked for.
    fn witnesses(&self, trust: &Trust) -> Result<Option<WitnessesConfig>> {
        let of = |config: NodeConfig| config.tiles.and_then(|tiles| tiles.witnesses);
        if let Some(path) = &self.witnesses_from {
            let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
            let config = NodeConfig::load(path).map_err(|error| wrong(error.to_string()))?;
            let named = of(config).ok_or_else(|| wrong("it names no witnesses".into()))?;
            if self.addresses.tiles.is_none() {
                return Err(Failure::usage("a node that does not serve the log asks no witnesses")
                    .hint("--addresses PEERS,CLIENTS,AUDITORS has it serve the log"));
            }
            return Ok(Some(named));
        }
        let joined = self.ledger.read_dir().into_iter().flatten().flatten().map(|folder| folder.path());
        let joined =
            joined.filter(|folder| Description::load(&folder.join("member.toml"), trust.ledger).is_ok());
        let founders = trust.genesis.voters().map(|voter| self.ledger.join(node_name(voter.node)));
        let mut folders: Vec<_> = joined.collect();
        folders.sort();
        let configs =
            founders.chain(folders).filter_map(|folder| NodeConfig::load(&folder.join("node.toml")).ok());
        Ok(configs.into_iter().find_map(of))
    }

    /// Those of the arguments; else those of whatever node of this ledger has its folder here.
    fn peers(&self, trust: &Trust) -> Result<Vec<PeerConfig>> {
        let mut peers: BTreeMap<u64, String> = BTreeMap::new();
        if self.peers.is_empty() {
            for voter in trust.genesis.voters() {
                let path = self.ledger.join(node_name(voter.node)).join("node.toml");
                let Ok(config) = NodeConfig::load(&path) else { continue };
                peers.extend(config.peers.into_iter().map(|peer| (peer.node, peer.address)));
            }
            for folder in self.ledger.read_dir().into_iter().flatten().flatten() {
                let path = folder.path().join("member.toml");
                let Ok(joined) = Description::load(&path, trust.ledger) else { continue };
                peers.insert(joined.node, joined.peer_address);
            }
        }
        peers.extend(self.peers.iter().map(|(node, address)| (*node, address.to_string())));
        peers.remove(&self.node);
        if peers.is_empty() {
            return Err(Failure::usage("no node.toml of the ledger's nodes is here: say --peer"));
        }
        Ok(peers.into_iter().map(|(node, address)| PeerConfig { node, address }).collect())
    }
}

/// The genesis block, which is this ledger's.
fn genesis(ledger: &Path, trust: &Trust) -> Result<Vec<u8>> {
    let path = ledger.join("genesis");
    let bytes = files::read(&path)?;
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let block = Block::decode(&bytes).map_err(|error| wrong(error.to_string()))?;
    if LedgerId(block.hash()) != trust.ledger {
        return Err(wrong("it is another ledger's".into()));
    }
    Ok(bytes)
}

fn parse_peer(text: &str) -> std::result::Result<(u64, Address), String> {
    let (node, address) = text.split_once('=').ok_or("not NODE=HOST:PORT")?;
    let node = node.parse().map_err(|_| format!("{node:?} is no node's number"))?;
    Ok((node, Address::from_str(address)?))
}

fn report(folder: &Path, member: &Path, description: &Description) -> Report {
    let page = Page::new(format!("{} {}", style::good("prepared"), style::name(&description.name)))
        .field("public key", &description.key)
        .field("start it", format!("chancery node --config {}", folder.join("node.toml").display()))
        .field("", style::dim("copy its folder to its machine whole, and nowhere else"))
        .field("then", format!("chancery member add {}", member.display()));
    let json = json!({
        "outcome": "done",
        "node": description.node,
        "name": description.name,
        "public_key": description.key,
        "config": folder.join("node.toml"),
        "member": member,
        "peer_address": description.peer_address,
        "client_address": description.client_address,
    });
    Report::done(page, json)
}
