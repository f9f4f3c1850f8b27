//! A ledger with all of its keys: three founding nodes, two operators, of whom both change the voters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use chancery_ledger::authority::{Block, State};
use chancery_ledger::command::{
    Body, Command, Genesis, LedgerId, Limits, Name, Patterns, Principal, PublicKey, RequestId, Role, Scope,
    SignedCommand, Terms,
};
use chancery_ledger::head::{Roster, RosterId, Voter, VoterSet};
use chancery_ledger::state::MemoryNodes;
use chancery_ledger::trust::Trust;
use ed25519_dalek::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ED25519,
};

pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

pub(crate) fn name(text: impl Into<String>) -> Name {
    Name::new(text.into()).unwrap()
}

pub(crate) fn node_key(node: u64) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(node).unwrap(); 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

pub(crate) fn voters(nodes: &[u64]) -> VoterSet {
    let voter =
        |node: &u64| Voter { node: *node, name: name(format!("node-{node}")), key: public(&node_key(*node)) };
    VoterSet::majority(nodes.iter().map(voter).collect()).unwrap()
}

/// The ledger, and the CA of its nodes and clients.
pub(crate) struct World {
    pub(crate) genesis: Block,
    pub(crate) ledger: LedgerId,
    pub(crate) operators: [SigningKey; 2],
    issuer: Issuer<'static, KeyPair>,
    pub(crate) ca_pem: String,
    requests: AtomicU64,
}

impl World {
    pub(crate) fn found() -> Self {
        let operators = [101, 102].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let all = || Patterns::collect(["*"]).unwrap();
        let principal = |(number, key): (usize, &SigningKey)| Principal {
            key: public(key),
            name: name(format!("operator-{number}")),
            roles: Role::ALL.to_vec(),
            scope: Scope { agents: all(), actions: all(), resources: all() },
        };
        let mut principals: Vec<Principal> = operators.iter().enumerate().map(principal).collect();
        principals.sort_by_key(|principal| principal.key);
        let genesis = Genesis {
            origin: "example.com/members".into(),
            roster: Roster::new(vec![voters(&[1, 2, 3])]).unwrap(),
            principals,
            limits: Limits { operator_threshold: 2, clock_skew_ms_max: 5_000, ..Limits::default() },
            rules_version: 1,
        };
        let command = Command {
            signer: public(&operators[0]),
            request_id: RequestId([0; 16]),
            not_after_ms: now_ms() + 60_000,
            body: Body::Genesis(genesis),
        };
        let signed = SignedCommand::sign(LedgerId::GENESIS, &command, &operators.each_ref()).unwrap();
        let genesis = Block::genesis(now_ms(), signed);
        let (state, _) = State::genesis(&MemoryNodes::new(), &genesis).unwrap();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = params.self_signed(&key).unwrap().pem();
        Self {
            genesis,
            ledger: state.head().ledger,
            operators,
            issuer: Issuer::new(params, key),
            ca_pem,
            requests: AtomicU64::new(1),
        }
    }

    /// What a client knows that has verified nothing yet.
    pub(crate) fn trust(&self) -> Trust {
        let genesis = Roster::new(vec![voters(&[1, 2, 3])]).unwrap();
        Trust::new("example.com/members".into(), self.ledger, genesis, 5_000)
    }

    /// The certificate of a node, and its key.
    pub(crate) fn node_certificate(&self, node: u64) -> (String, String) {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let names = vec![chancery_node::network::node_name(node), "127.0.0.1".into()];
        (self.issue(&key, names), key.serialize_pem())
    }

    /// The certificate of the first operator, and its key.
    pub(crate) fn client_certificate(&self) -> (String, String) {
        // RFC 8410: PrivateKeyInfo of an Ed25519 seed.
        let prefix =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let der = [&prefix[..], self.operators[0].as_bytes()].concat();
        let key = KeyPair::try_from(der.as_slice()).unwrap();
        (self.issue(&key, Vec::new()), key.serialize_pem())
    }

    fn issue(&self, key: &KeyPair, names: Vec<String>) -> String {
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.signed_by(key, &self.issuer).unwrap().pem()
    }

    /// A command of the first operator's.
    pub(crate) fn command(&self, body: Body) -> SignedCommand {
        self.sign(body, &self.operators[..1])
    }

    /// The change of the voters in `replaces` to these nodes, signed by both operators.
    pub(crate) fn set_roster(&self, replaces: RosterId, nodes: &[u64]) -> SignedCommand {
        let operators = vec![public(&self.operators[1])];
        self.sign(Body::SetRoster { voters: voters(nodes), replaces, operators }, &self.operators)
    }

    fn sign(&self, body: Body, keys: &[SigningKey]) -> SignedCommand {
        let mut request_id = [7; 16];
        request_id[..8].copy_from_slice(&self.requests.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let command = Command {
            signer: public(&self.operators[0]),
            request_id: RequestId(request_id),
            not_after_ms: now_ms() + 3_600_000,
            body,
        };
        SignedCommand::sign(self.ledger, &command, &keys.iter().collect::<Vec<_>>()).unwrap()
    }

    pub(crate) fn register(&self, agent: &str) -> SignedCommand {
        self.command(Body::RegisterAgent {
            agent: name(agent),
            owner: name("someone"),
            key: None,
            lineage: None,
        })
    }

    pub(crate) fn grant(&self, agent: &str) -> SignedCommand {
        self.command(Body::grant(Terms {
            agent: name(agent),
            actions: Patterns::collect(["read"]).unwrap(),
            resources: Patterns::collect(["documents/*"]).unwrap(),
            not_before_ms: 0,
            not_after_ms: u64::MAX,
            max_staleness_ms: 10_000,
            delegable_depth: 0,
            condition: None,
            knowledge: Default::default(),
            bounds: Default::default(),
        }))
    }
}
