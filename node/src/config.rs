//! A node's configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Least history: what a check reads must not be forgotten before it is read, while blocks go on.
pub const HISTORY_BLOCKS_MIN: u64 = 16;

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
    /// Sizes and times that an operator may want to change.
    #[serde(default)]
    pub tuning: Tuning,
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
    /// The states of this many blocks before the last are kept; at least [`HISTORY_BLOCKS_MIN`]. The log is kept
    /// whatever this says.
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
}

impl NodeConfig {
    /// Reads `node.toml`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let text = String::from_utf8(text)
            .map_err(|error| ConfigError::Malformed { path: path.into(), reason: error.to_string() })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { path: path.into(), reason: error.to_string() })?;
        let kept = config.tuning.history_blocks;
        if kept < HISTORY_BLOCKS_MIN {
            let reason = format!("history_blocks is {kept}, and at least {HISTORY_BLOCKS_MIN} are needed");
            return Err(ConfigError::Malformed { path: path.into(), reason });
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let Self { data, genesis, key, tls, .. } = &mut config;
        for relative in
            [data, genesis, key, &mut tls.certificate, &mut tls.key, &mut tls.node_ca, &mut tls.client_ca]
        {
            *relative = folder.join(&*relative);
        }
        Ok(config)
    }
}

/// Reads a file that a configuration names.
pub fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Read { path: path.into(), source })
}
