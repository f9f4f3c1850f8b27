//! A node's configuration file.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use chancery_ledger::checkpoint::VerifierKey;
use chancery_ledger::trust::Witnesses;
use serde::{Deserialize, Serialize};

/// What a node must know before it starts. Relative paths are relative to the file's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// This node's Raft id. Never another node's, now or before.
    pub node: u64,
    /// Its name, for a node that is not in the genesis roster: what the roster is to call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it keeps its stores and snapshots. Nothing else may write there.
    pub data: PathBuf,
    /// The encoded genesis block; the same file on every node.
    pub genesis: PathBuf,
    /// The seed of its signing key: 64 hex digits, mode 0600.
    pub key: PathBuf,
    /// Where it serves its peers.
    pub peer_listen: SocketAddr,
    /// Where it serves clients.
    pub client_listen: SocketAddr,
    /// Certificates and keys.
    pub tls: TlsConfig,
    /// Every voter of the genesis roster; for a node that joins later, at least one that still votes. What
    /// stands here goes before the address that the cluster knows a node by.
    pub peers: Vec<PeerConfig>,
    /// Where it serves the log to whoever wants to audit it; nowhere, without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<TilesConfig>,
    /// Sizes and times that an operator may want to change.
    #[serde(default)]
    pub tuning: Tuning,
}

/// The log over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TilesConfig {
    /// Where.
    pub listen: SocketAddr,
    /// The seed of the log's own key, the same on every node: 64 hex digits, mode 0600. It signs checkpoints under the
    /// origin's name, for tools that want that; it proves nothing.
    pub log_key: PathBuf,
    /// Requests of one address in a second; what is more is answered with 429.
    #[serde(default = "requests_per_second_max")]
    pub requests_per_second_max: NonZeroU32,
    /// Who is asked to cosign; nobody, without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<WitnessesConfig>,
}

/// Witnesses, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessesConfig {
    /// How many of them must have cosigned a checkpoint for it to be served as witnessed: more than half, if this is not
    /// said. Clients demand what their own trust files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// Each of them.
    pub servers: Vec<WitnessConfig>,
}

/// Somebody else's server that cosigns checkpoints (c2sp.org/tlog-witness).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// Its submission prefix.
    pub url: String,
    /// Its verifier key, of the type for Ed25519 cosignatures.
    pub vkey: String,
}

impl TilesConfig {
    /// With the bounds that it has unless the file says otherwise.
    pub fn new(listen: SocketAddr, log_key: PathBuf) -> Self {
        Self { listen, log_key, requests_per_second_max: requests_per_second_max(), witnesses: None }
    }
}

impl WitnessesConfig {
    /// Their keys in this order, and how many of them are enough.
    ///
    /// # Errors
    /// A key is none, there are none or too many, or the quorum is not of them.
    pub fn rule(&self) -> Result<Witnesses, ConfigError> {
        let key = |WitnessConfig { vkey, .. }: &WitnessConfig| {
            VerifierKey::parse(vkey).map_err(|error| ConfigError::Witness(format!("{vkey:?}: {error}")))
        };
        let keys = self.servers.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let majority = u32::try_from(keys.len() / 2 + 1).unwrap_or(u32::MAX);
        let rule = Witnesses::new(keys, self.quorum.unwrap_or(majority));
        rule.map_err(|error| ConfigError::Witness(error.to_string()))
    }
}

const fn requests_per_second_max() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(999)
}

/// PEM files. Nodes and clients have CAs of their own: a client's certificate opens no peer port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The node's certificate chain, for both of its ports.
    pub certificate: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
    /// The CA that signed every node's certificate.
    pub node_ca: PathBuf,
    /// The CA that signed clients' certificates.
    pub client_ca: PathBuf,
}

/// Where a voter is reached by its peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// Its Raft id.
    pub node: u64,
    /// `host:port` of its peer listener.
    pub address: String,
}

/// Sizes and times. The defaults suit a machine with a disk of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// Raft heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
    /// Least and greatest election timeout, in milliseconds. A node stands for election when it has not heard
    /// from the leader for the greatest, which is the leader's lease, and then for one between the two.
    pub election_timeout_ms: (u64, u64),
    /// Log entries between snapshots.
    pub snapshot_every_entries: u64,
    /// Log entries kept behind a snapshot, for nodes that are a little behind.
    pub keep_log_entries: u64,
    /// Blocks of state history kept.
    pub history_blocks: u64,
    /// Bytes of state tree nodes kept in memory.
    pub node_cache_size_bytes: u64,
    /// Connections served at once on the client port.
    pub client_connections_max: usize,
    /// How long a check or a command may take on the node, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long who watches the log may take nothing before it is cut off, in milliseconds.
    pub watch_patience_ms: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            election_timeout_ms: (200, 400),
            snapshot_every_entries: 20_000,
            keep_log_entries: 5_000,
            history_blocks: 65_536,
            node_cache_size_bytes: 64 << 20,
            client_connections_max: 2_048,
            request_timeout_ms: 5_000,
            watch_patience_ms: 10_000,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not such a file as it should be.
    #[error("{path}: {reason}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A witness that is none, or too many.
    #[error("witnesses: {0}")]
    Witness(String),
}

impl NodeConfig {
    /// Reads `node.toml`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let text = String::from_utf8(text)
            .map_err(|error| ConfigError::Malformed { path: path.into(), reason: error.to_string() })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { path: path.into(), reason: error.to_string() })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let Self { data, genesis, key, tls, .. } = &mut config;
        for relative in
            [data, genesis, key, &mut tls.certificate, &mut tls.key, &mut tls.node_ca, &mut tls.client_ca]
        {
            *relative = folder.join(&*relative);
        }
        if let Some(tiles) = &mut config.tiles {
            tiles.log_key = folder.join(&tiles.log_key);
        }
        Ok(config)
    }
}

/// Reads a file that a configuration names.
pub fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Read { path: path.into(), source })
}
