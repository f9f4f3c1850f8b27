//! Nodes in this process, over real loopback TLS.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod calls;
mod cluster;
mod identity;
mod in_memory;
mod replication;
mod snapshots;
mod streams;
mod wire;

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use crate::network::PeerTls;
use crate::raft::types::NodeId;

/// A CA of nodes.
pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Ca {
    pub(super) fn new() -> Arc<Self> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Arc::new(Self { issuer: Issuer::new(params, key), pem })
    }

    /// The PEM of a certificate with these names, and of its key.
    pub(super) fn sign(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The identity of `node`.
    pub(super) fn node(&self, node: NodeId) -> PeerTls {
        let (chain, key) = self.sign(&[&crate::network::node_name(node), "localhost"]);
        PeerTls::from_pem(node, self.pem.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap()
    }
}
