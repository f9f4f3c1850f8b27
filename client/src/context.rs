//! Contexts: where a ledger is, whom to believe about it, and as whom to speak to it.
//!
//! A context is a folder for its owner alone, by default `~/.config/chancery/contexts/NAME/`, and never the
//! working directory, where an agent could write:
//!
//! ```toml
//! # context.toml; paths are relative to the folder
//! endpoints = ["ledger-1.example.com:7301", "ledger-2.example.com:7301"]
//! trust = "trust.toml"              # the one file that must come from somewhere safe
//! certificate = "client.pem"        # of the ledger's client CA, for the key below
//! tls_key = "client-key.pem"
//! server_ca = "server-ca.pem"
//! key = "key"                       # Ed25519 seed, 64 hex digits; none for who only reads
//! clock_skew_ms = 500               # how far this machine's own clock may be off
//! ```
//!
//! `newest.toml` and `rosters` beside it are the SDK's own: the newest roster and block that were verified, and
//! the proven chain of rosters since genesis.

use std::path::{Path, PathBuf};

use chancery_ledger::hash::{from_hex, to_hex};
use chancery_ledger::trust::{Trust, TrustError};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::files;

/// How far the client's own wall clock may be off unless its context says otherwise, in milliseconds.
pub const CLOCK_SKEW_MS_DEFAULT: u64 = 500;

/// Most endpoints of one context.
pub const ENDPOINTS_MAX: usize = 64;

const CONTEXT_FILE: &str = "context.toml";

/// A context, loaded.
pub struct Context {
    /// Its folder.
    pub folder: PathBuf,
    /// `host:port` of each node's client port; at least one.
    pub endpoints: Vec<String>,
    /// Whom to believe.
    pub trust: Trust,
    /// The principal's key; none for who only reads.
    pub key: Option<SigningKey>,
    /// PEM of the certificate chain that is shown to nodes.
    pub certificate: String,
    /// PEM (PKCS #8) of its key.
    pub tls_key: Zeroizing<String>,
    /// PEM of the authorities that sign the nodes' certificates.
    pub server_ca: String,
    /// How far this machine's own wall clock may be off, in milliseconds.
    pub clock_skew_ms: u64,
}

/// Why a context cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{path}: cannot be written: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others can read a secret, or change a file that is believed.
    #[error("{path} has mode {mode:04o}: others could read or change it; if nobody did: chmod 600")]
    LaxMode {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is larger than any such file is.
    #[error("{path} is too large")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The trust file is not one.
    #[error("{path}: {source}")]
    Trust {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: TrustError,
    },
    /// A name that is no context's: a folder's name of letters, digits, `-`, `_` and `.`.
    #[error("{0:?} is no name for a context")]
    Name(String),
    /// No context was named, and none is selected.
    #[error("no context is selected: name one, or set CHANCERY_CONTEXT")]
    NoneSelected,
    /// Neither `XDG_CONFIG_HOME` nor `HOME` says where contexts are.
    #[error("neither XDG_CONFIG_HOME nor HOME is an absolute path")]
    NoHome,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    endpoints: Vec<String>,
    trust: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
    certificate: PathBuf,
    tls_key: PathBuf,
    server_ca: PathBuf,
    #[serde(default = "clock_skew_ms_default")]
    clock_skew_ms: u64,
}

const fn clock_skew_ms_default() -> u64 {
    CLOCK_SKEW_MS_DEFAULT
}

impl Context {
    /// Loads the context in `folder`.
    ///
    /// # Errors
    /// A file is missing or malformed, or open to others: keys must be readable, and all else writable, by
    /// their owner alone.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, ContextError> {
        let folder = folder.into();
        let path = folder.join(CONTEXT_FILE);
        let malformed = |reason: String| ContextError::Malformed { path: path.clone(), reason };
        let file: File =
            toml::from_str(&files::read_trusted(&path)?).map_err(|error| malformed(error.to_string()))?;
        if file.endpoints.is_empty() || file.endpoints.len() > ENDPOINTS_MAX {
            return Err(malformed(format!("endpoints: from 1 to {ENDPOINTS_MAX}")));
        }
        let trust_path = folder.join(&file.trust);
        let trust = Trust::from_toml(&files::read_trusted(&trust_path)?)
            .map_err(|source| ContextError::Trust { path: trust_path, source })?;
        Ok(Self {
            endpoints: file.endpoints,
            trust,
            key: file.key.map(|key| read_key(&folder.join(key))).transpose()?,
            certificate: files::read_trusted(&folder.join(file.certificate))?,
            tls_key: read_pem(&folder.join(file.tls_key))?,
            server_ca: files::read_trusted(&folder.join(file.server_ca))?,
            clock_skew_ms: file.clock_skew_ms,
            folder,
        })
    }

    /// Writes everything into the folder, each file for its owner alone, `context.toml` last.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self) -> Result<(), ContextError> {
        let write = |name: &str, content: &[u8]| {
            let path = self.folder.join(name);
            files::replace(&path, content).map_err(|source| ContextError::Write { path, source })
        };
        files::make_folder(&self.folder)
            .map_err(|source| ContextError::Write { path: self.folder.clone(), source })?;
        write("trust.toml", self.trust.to_toml().as_bytes())?;
        write("client.pem", self.certificate.as_bytes())?;
        write("client-key.pem", self.tls_key.as_bytes())?;
        write("server-ca.pem", self.server_ca.as_bytes())?;
        if let Some(key) = &self.key {
            let text = Zeroizing::new(format!("{}\n", &*Zeroizing::new(to_hex(key.as_bytes()))));
            write("key", text.as_bytes())?;
        }
        let file = File {
            endpoints: self.endpoints.clone(),
            trust: "trust.toml".into(),
            key: self.key.as_ref().map(|_| "key".into()),
            certificate: "client.pem".into(),
            tls_key: "client-key.pem".into(),
            server_ca: "server-ca.pem".into(),
            clock_skew_ms: self.clock_skew_ms,
        };
        let text = toml::to_string(&file).map_err(|error| ContextError::Malformed {
            path: self.folder.join(CONTEXT_FILE),
            reason: error.to_string(),
        })?;
        write(CONTEXT_FILE, text.as_bytes())
    }
}

impl std::fmt::Debug for Context {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("folder", &self.folder)
            .field("endpoints", &self.endpoints)
            .field("ledger", &self.trust.ledger)
            .field("clock_skew_ms", &self.clock_skew_ms)
            .finish_non_exhaustive()
    }
}

fn read_key(path: &Path) -> Result<SigningKey, ContextError> {
    let text = read_pem(path)?;
    let mut seed = Zeroizing::new([0; 32]);
    from_hex(text.trim_end(), seed.as_mut()).ok_or_else(|| ContextError::Malformed {
        path: path.into(),
        reason: "a key is 64 lower-case hex digits".into(),
    })?;
    Ok(SigningKey::from_bytes(&seed))
}

fn read_pem(path: &Path) -> Result<Zeroizing<String>, ContextError> {
    let bytes = files::read_secret(path)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => Err(ContextError::Malformed { path: path.into(), reason: error.to_string() }),
    }
}
