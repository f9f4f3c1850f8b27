//! Certificates: one CA for nodes and one for clients, so that a client's certificate opens no peer port.
//!
//! A CA is its key alone: its name follows from its kind and the ledger's origin, so that a later certificate
//! can be issued without parsing the first. All keys are Ed25519; a client's is its principal's own.

use std::net::IpAddr;

use chancery_ledger::command::PublicKey;
use ed25519_dalek::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SignatureAlgorithm,
};

use crate::exit::{Failure, Result};
use crate::init::founding::node_name;
use crate::keys;

/// Which certificates a CA issues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Of nodes.
    Node,
    /// Of principals and gates.
    Client,
}

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
}

impl Authority {
    /// The CA with this key for the ledger called `origin`.
    pub(crate) fn new(kind: Kind, origin: &str, key: &SigningKey) -> Result<Self> {
        let mut name = DistinguishedName::new();
        let common = match kind {
            Kind::Node => "Chancery nodes",
            Kind::Client => "Chancery clients",
        };
        name.push(DnType::OrganizationName, origin);
        name.push(DnType::CommonName, common);
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pair = pair(key)?;
        let pem = params.self_signed(&pair).map_err(failed)?.pem();
        Ok(Self { issuer: Issuer::new(params, pair), pem })
    }

    /// A node's certificate, for both of its ports and as a client of its peers.
    pub(crate) fn node(&self, number: u64, hosts: &[String], key: PublicKey) -> Result<String> {
        let purposes = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let mut sans = vec![dns(&chancery_node::network::node_name(number))?];
        for host in hosts {
            let san = match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => dns(host)?,
            };
            if !sans.contains(&san) {
                sans.push(san);
            }
        }
        self.issue(&node_name(number), sans, purposes.to_vec(), key)
    }

    /// The certificate of a principal or gate, for its own key.
    pub(crate) fn client(&self, name: &str, key: PublicKey) -> Result<String> {
        self.issue(name, Vec::new(), vec![ExtendedKeyUsagePurpose::ClientAuth], key)
    }

    fn issue(
        &self,
        name: &str,
        sans: Vec<SanType>,
        purposes: Vec<ExtendedKeyUsagePurpose>,
        key: PublicKey,
    ) -> Result<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = sans;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes;
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&Subject(key), &self.issuer).map_err(failed)?.pem())
    }
}

/// Whose certificate it is. A public key is enough: its secret need not be here.
struct Subject(PublicKey);

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.0.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

fn pair(key: &SigningKey) -> Result<KeyPair> {
    KeyPair::from_pem(&keys::pkcs8_pem(key)).map_err(failed)
}

fn dns(name: &str) -> Result<SanType> {
    let name = name
        .try_into()
        .map_err(|_| Failure::usage(format!("{name:?} cannot be a host name in a certificate")))?;
    Ok(SanType::DnsName(name))
}

fn failed(error: rcgen::Error) -> Failure {
    Failure::local(format!("certificate: {error}"))
}
