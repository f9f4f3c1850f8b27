//! The folder of one node: everything that it needs, and nothing else.

use std::path::Path;

use chancery_node::config::{NodeConfig, PeerConfig, TilesConfig, TlsConfig, Tuning, WitnessesConfig};
use ed25519_dalek::SigningKey;

use super::NodeAddresses;
use super::certificates::Authority;
use crate::exit::{Failure, Result};
use crate::{files, keys};

/// What a node's folder is made from.
#[derive(Debug)]
pub(crate) struct NodeFolder<'a> {
    /// Its number.
    pub(crate) number: u64,
    /// Its name, unless genesis has it.
    pub(crate) name: Option<String>,
    /// Where it listens, and is reached.
    pub(crate) addresses: &'a NodeAddresses,
    /// Where its peers are.
    pub(crate) peers: Vec<PeerConfig>,
    /// What `node.toml` says of sizes and times.
    pub(crate) tuning: Tuning,
    /// Whom it asks to cosign the log, if it serves it.
    pub(crate) witnesses: Option<WitnessesConfig>,
}

/// The keys that it gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeKeys<'a> {
    /// Its own, which signs.
    pub(crate) signing: &'a SigningKey,
    /// The log's, if it serves the log.
    pub(crate) log: Option<&'a SigningKey>,
}

impl NodeFolder<'_> {
    /// Makes the folder; no file of it may exist.
    pub(crate) fn write(
        &self,
        folder: &Path,
        node_keys: NodeKeys<'_>,
        genesis: &[u8],
        (node_ca, client_ca_pem): (&Authority, &str),
    ) -> Result<()> {
        files::make_folder(folder)?;
        // The TLS key is one of its own: what it signs is chosen by whoever connects.
        let tls = keys::generate()?;
        let hosts = [self.addresses.peer.host.clone(), self.addresses.client.host.clone()];
        let certificate = node_ca.node(self.number, &hosts, keys::public(&tls))?;
        files::write_public(&folder.join("genesis"), genesis)?;
        files::write_public(&folder.join("tls.pem"), certificate.as_bytes())?;
        files::write_secret(&folder.join("tls.key"), keys::pkcs8_pem(&tls).as_bytes())?;
        files::write_public(&folder.join("node-ca.pem"), node_ca.pem.as_bytes())?;
        files::write_public(&folder.join("client-ca.pem"), client_ca_pem.as_bytes())?;
        keys::store(&folder.join("signing.key"), node_keys.signing)?;
        if let Some(key) = node_keys.log {
            keys::store(&folder.join("log.key"), key)?;
        }
        self.write_config(folder)
    }

    /// Writes `node.toml`, over the one that is there.
    pub(crate) fn write_config(&self, folder: &Path) -> Result<()> {
        let text = toml::to_string(&self.config());
        let text = text.map_err(|error| Failure::local(format!("node.toml: {error}")))?;
        files::replace(&folder.join("node.toml"), text.as_bytes())
    }

    fn config(&self) -> NodeConfig {
        NodeConfig {
            node: self.number,
            name: self.name.clone(),
            data: "data".into(),
            genesis: "genesis".into(),
            key: "signing.key".into(),
            peer_listen: self.addresses.peer.listen(),
            client_listen: self.addresses.client.listen(),
            tls: TlsConfig {
                certificate: "tls.pem".into(),
                key: "tls.key".into(),
                node_ca: "node-ca.pem".into(),
                client_ca: "client-ca.pem".into(),
            },
            peers: self.peers.clone(),
            tiles: self
                .addresses
                .tiles
                .as_ref()
                .map(|tiles| TilesConfig::new(tiles.listen(), "log.key".into()))
                .map(|tiles| TilesConfig { witnesses: self.witnesses.clone(), ..tiles }),
            tuning: self.tuning.clone(),
        }
    }
}
