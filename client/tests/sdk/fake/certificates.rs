//! A certificate authority for nodes and clients.

use chancery_client::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ED25519,
};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub fn pem(&self) -> String {
        self.pem.clone()
    }

    /// A certificate for loopback, and its key.
    pub fn server(&self) -> (String, String) {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        (self.issue(&key, vec!["127.0.0.1".into()], ExtendedKeyUsagePurpose::ServerAuth), key.serialize_pem())
    }

    /// A certificate for the principal's own key, and that key.
    pub fn client(&self, principal: &SigningKey) -> (String, String) {
        // RFC 8410: PrivateKeyInfo of an Ed25519 seed.
        let prefix =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let der = [&prefix[..], principal.as_bytes()].concat();
        let key = KeyPair::try_from(der.as_slice()).unwrap();
        (self.issue(&key, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth), key.serialize_pem())
    }

    fn issue(&self, key: &KeyPair, names: Vec<String>, purpose: ExtendedKeyUsagePurpose) -> String {
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![purpose];
        params.signed_by(key, &self.issuer).unwrap().pem()
    }
}
