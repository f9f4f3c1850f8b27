//! Nodes that come and go while the cluster runs.

use std::fs;
use std::process::Command;

use chancery_client::chancery_ledger::command::{Name, PublicKey};
use chancery_client::chancery_ledger::hash::Hash;
use chancery_client::chancery_ledger::head::Voter;

use super::{Cluster, configure, ledger_folder, node_folder};
use crate::fault::HarnessError;

/// A node that runs, and does not vote yet.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The voter that it is to be.
    pub voter: Voter,
    /// Where its peers reach it: at its proxy.
    pub address: String,
}

impl Cluster {
    /// Whether nodes may come in the place of others.
    pub const fn members_change(&self) -> bool {
        self.plan.numbers > self.plan.nodes
    }

    /// Whether there is a number that no node has had.
    pub fn has_numbers(&self) -> bool {
        self.next_number <= self.plan.numbers
    }

    /// Makes the folder of a node with a new number and key, as the program does, and starts it. It is not a
    /// member of Raft's yet.
    ///
    /// # Errors
    /// The program refuses, or a file, a port or the process.
    pub async fn start_joining(&mut self) -> Result<Joining, HarnessError> {
        let node = self.next_number;
        let addresses = &self.addresses;
        let mut prepare = Command::new(&self.plan.program);
        prepare.env("HOME", &self.plan.folder).args(["member", "prepare", &node.to_string()]);
        prepare.arg("--ledger").arg(ledger_folder(&self.plan));
        let own = format!("{},{}", addresses.peer_proxy(node), addresses.client_proxy(node));
        prepare.args(["--addresses", &own]);
        for member in &self.members {
            prepare.args(["--peer", &format!("{member}={}", addresses.peer_proxy(*member))]);
        }
        let made = prepare.output().map_err(HarnessError::at(&self.plan.program))?;
        if !made.status.success() {
            let words = String::from_utf8_lossy(&made.stderr);
            return Err(HarnessError::Setup(format!("chancery member prepare: {words}")));
        }
        configure(&self.plan, &self.addresses, node)?;
        self.network.before_peers(node, addresses.peer_proxy(node), addresses.peer(node)).await?;
        self.network.before_clients(node, addresses.client_proxy(node), addresses.client(node)).await?;
        self.next_number += 1;
        self.members.insert(node);
        self.start_node(node)?;
        self.joining(node)
    }

    /// A node is a member no more: it is killed if it runs, and never started again.
    ///
    /// # Errors
    /// Its process cannot be waited for.
    pub fn dismiss(&mut self, node: u64) -> Result<(), HarnessError> {
        self.members.remove(&node);
        self.kill(&[node])
    }

    fn joining(&self, node: u64) -> Result<Joining, HarnessError> {
        let path = node_folder(&self.plan, node).join("member.toml");
        let text = fs::read_to_string(&path).map_err(HarnessError::at(&path))?;
        let file: toml::Table = toml::from_str(&text)
            .map_err(|error| HarnessError::Setup(format!("{}: {error}", path.display())))?;
        let field = |name: &str| file.get(name).and_then(toml::Value::as_str);
        let found = || {
            let key = PublicKey(Hash::from_hex(field("key")?)?.0);
            let voter = Voter { node, name: Name::new(field("name")?).ok()?, key };
            Some(Joining { voter, address: field("peer_address")?.to_owned() })
        };
        found().ok_or_else(|| HarnessError::Setup(format!("{}: not a member.toml", path.display())))
    }
}
