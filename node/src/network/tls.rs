//! Who may speak, and who is speaking.
//!
//! A node's certificate bears the DNS name `node-<id>.chancery.internal` and is signed by the CA of the
//! cluster's nodes; the same certificate serves and calls. A caller names the node that it wants, and
//! TLS refuses another; the called node reads the caller's id off the verified certificate. TLS 1.3
//! only, and no resumption: every connection verifies afresh.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::raft::types::NodeId;

const NAME_PREFIX: &str = "node-";
const NAME_SUFFIX: &str = ".chancery.internal";

/// The DNS name in the certificate of node `id`.
pub fn node_name(id: NodeId) -> String {
    format!("{NAME_PREFIX}{id}{NAME_SUFFIX}")
}

/// The node at the other end, as its verified certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(super) NodeId);

impl PeerId {
    /// Its id.
    pub const fn node(self) -> NodeId {
        self.0
    }
}

/// Which of the nodes that the CA signed for are still served. Asked at each call but the one for roster links.
///
/// It must not be the applied membership alone: a follower that is behind hears of a new leader from
/// that leader. Refuse nodes known to be removed, and ids that cannot be.
pub trait PeerRoster: Send + Sync + 'static {
    /// Whether `id` is served.
    fn admits(&self, id: NodeId) -> bool;
}

impl<F: Fn(NodeId) -> bool + Send + Sync + 'static> PeerRoster for F {
    fn admits(&self, id: NodeId) -> bool {
        self(id)
    }
}

/// Why certificates and keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or not what it should hold.
    #[error("{what}: {reason}")]
    Pem {
        /// The CA, the certificate or the key.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The certificate is another node's, or nobody's.
    #[error("the certificate is not for {expected}")]
    Name {
        /// The name it should bear.
        expected: String,
    },
    /// The TLS library refuses them.
    #[error("{0}")]
    Rustls(String),
}

/// This node's identity and its CA, ready for both sides.
#[derive(Clone)]
pub struct PeerTls {
    node: NodeId,
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

impl PeerTls {
    /// The identity of `node`, from the PEM of the nodes' CA, of the certificate chain and of its key.
    pub fn from_pem(node: NodeId, ca: &[u8], chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates("node certificate", chain)?;
        if chain.first().and_then(peer_of) != Some(PeerId(node)) {
            return Err(TlsError::Name { expected: node_name(node) });
        }
        Self::of_chain(node, ca, chain, key)
    }

    /// Whatever name the certificate bears.
    pub(super) fn of_chain(
        node: NodeId,
        ca: &[u8],
        chain: Vec<CertificateDer<'static>>,
        key: &[u8],
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("node CA", ca)? {
            roots.add(certificate).map_err(|error| TlsError::Rustls(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| TlsError::Pem { what: "node key", reason: error.to_string() })?;
        Ok(Self {
            node,
            client: Arc::new(client_config(Arc::clone(&roots), chain.clone(), key.clone_key())?),
            server: Arc::new(server_config(roots, chain, key)?),
        })
    }

    /// Whose identity it is.
    pub const fn node(&self) -> NodeId {
        self.node
    }
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PeerTls of node {}", self.node)
    }
}

fn client_config(
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
        .map_err(|error| TlsError::Rustls(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn server_config(
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| TlsError::Rustls(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key))
        .map_err(|error| TlsError::Rustls(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The CA, chain and key of a port, checked; for a server that demands certificates of `ca`.
pub(crate) fn server_from_pem(ca: &[u8], chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client CA", ca)? {
        roots.add(certificate).map_err(|error| TlsError::Rustls(error.to_string()))?;
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| TlsError::Pem { what: "node key", reason: error.to_string() })?;
    Ok(Arc::new(server_config(Arc::new(roots), certificates("node certificate", chain)?, key)?))
}

pub(super) fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refused = |reason: String| TlsError::Pem { what, reason };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| refused(error.to_string()))?;
    if found.is_empty() { Err(refused("no certificate".to_owned())) } else { Ok(found) }
}

/// What TLS holds the called node to.
pub(super) fn server_name(id: NodeId) -> Option<ServerName<'static>> {
    ServerName::try_from(node_name(id)).ok()
}

/// The node of a verified certificate: the one DNS name of the form above. Other names do not count;
/// two of the form do not either.
pub(super) fn peer_of(certificate: &CertificateDer<'_>) -> Option<PeerId> {
    let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let names = parsed.subject_alternative_name().ok()??;
    let mut nodes = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => node_of(name),
        _ => None,
    });
    let only = nodes.next()?;
    if nodes.next().is_some() { None } else { Some(PeerId(only)) }
}

/// The id in a node's name, which has one spelling.
fn node_of(name: &str) -> Option<NodeId> {
    let id = name.strip_prefix(NAME_PREFIX)?.strip_suffix(NAME_SUFFIX)?.parse().ok()?;
    (node_name(id) == name).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        assert_eq!(node_of(&node_name(17)), Some(17));
        for other in [
            "node-017.chancery.internal",
            "node-+1.chancery.internal",
            "node-.chancery.internal",
            "NODE-1.chancery.internal",
            "node-1.chancery.internal.",
            "node-1.example",
            "node-18446744073709551616.chancery.internal",
        ] {
            assert_eq!(node_of(other), None, "{other}");
        }
    }
}
