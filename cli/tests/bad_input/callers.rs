//! Callers that are not let in, and callers that may not ask.

use chancery_client::{CheckError, Context, Ledger, Options, SigningKey, SubmitError};
use chancery_ledger::command::{Patterns, Principal, Role, Scope};
use chancery_proto::v1::api::{LeafRequest, StatusRequest, WatchRequest};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ED25519,
};
use tonic::Code;

use crate::House;
use crate::commands::{key, public};
use crate::harness::{Cluster, NODES, name, patient};
use crate::wire::{Papers, Ports, client, lets_in};

pub(crate) async fn not_let_in(house: &mut House) {
    certificates(house).await;
    unknown_principal(house).await;
    out_of_scope(house).await;
}

/// A certificate of a CA that nobody knows.
fn forged() -> Papers {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = Issuer::new(authority, KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::new(vec![chancery_node::network::node_name(2)]).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, &authority).unwrap();
    Papers { certificate: certificate.pem(), key: key.serialize_pem() }
}

async fn certificates(house: &mut House) {
    let cluster = &house.cluster;
    let (forged, gate) = (forged(), Papers::of_principal(cluster, "gate"));
    for node in 1..=NODES {
        let Ports { peers, clients } = Ports::of(cluster, node);
        let peer = Papers::of_node(cluster, node % NODES + 1);
        assert!(lets_in(cluster, clients, Some(&gate)).await, "a client, at node {node}");
        assert!(lets_in(cluster, peers, Some(&peer)).await, "a peer, at node {node}");
        for (port, address) in [("client", clients), ("peer", peers)] {
            assert!(!lets_in(cluster, address, None).await, "nobody, at the {port} port of node {node}");
            assert!(
                !lets_in(cluster, address, Some(&forged)).await,
                "another CA's certificate, at the {port} port of node {node}"
            );
        }
        assert!(!lets_in(cluster, peers, Some(&gate)).await, "a client at the peer port of node {node}");
        assert!(!lets_in(cluster, clients, Some(&peer)).await, "a peer at the client port of node {node}");
        let itself = Papers::of_node(cluster, node);
        assert!(!lets_in(cluster, peers, Some(&itself)).await, "node {node} at its own peer port");
    }
    house.unharmed("callers with the wrong certificate, or none").await;

    // The same with the SDK: nothing was done, and nothing is permitted.
    let gate = Context::open(house.cluster.ledger_folder().join("contexts/gate")).unwrap();
    let strange = Context { certificate: forged.certificate, tls_key: forged.key.into(), ..gate };
    let ledger = connect(house, strange, "forged").await;
    let checked = ledger.check(crate::READER, "read", "documents/1", b"").await;
    assert!(matches!(checked, Err(CheckError::Unavailable { .. })), "{checked:?}");
    let registered = ledger.register_agent(name("forged"), name("ada@example.com"), None).await;
    let failed = matches!(registered, Err(SubmitError::NotDone { .. } | SubmitError::Unknown { .. }));
    assert!(failed, "{registered:?}");
    house.unharmed("an SDK with another CA's certificate").await;
}

/// A context for a new key with a certificate of the client CA, made as an operator makes it.
fn certified(cluster: &Cluster, principal: &str, key: &SigningKey) -> Context {
    let out = cluster.ledger_folder().join(format!("{principal}.pem"));
    let mut certify = cluster.chancery();
    certify.args(["principal", "certify", &public(key).to_string(), "--name", principal]);
    certify.arg("--ledger").arg(cluster.ledger_folder()).arg("--out").arg(&out);
    let output = certify.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let seed =
        [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], key.as_bytes()].concat();
    let tls_key = KeyPair::try_from(seed).unwrap().serialize_pem();
    let gate = Context::open(cluster.ledger_folder().join("contexts/gate")).unwrap();
    Context {
        key: Some(key.clone()),
        certificate: std::fs::read_to_string(out).unwrap(),
        tls_key: tls_key.into(),
        ..gate
    }
}

async fn connect(house: &House, context: Context, folder: &str) -> Ledger {
    let folder = house.cluster.ledger_folder().join("strangers").join(folder);
    let context = Context { folder, ..context };
    context.save().unwrap();
    // All of it is refused: soon, not for as long as it may be asked.
    Ledger::connect_with(context, Options { tries_max: 8, ..patient() }).await.unwrap()
}

async fn unknown_principal(house: &mut House) {
    let key = key();
    let context = certified(&house.cluster, "stranger", &key);
    let papers = Papers::of_context(&context);
    for node in 1..=NODES {
        let mut client = client(&house.cluster, node, &papers);
        let status = client.status(StatusRequest {}).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        let leaf = client.leaf(LeafRequest { index: 0, log_size: house.leaves }).await.unwrap_err();
        assert_eq!(leaf.code(), Code::PermissionDenied, "{leaf:?}");
        let watch = client.watch(WatchRequest::default()).await.unwrap_err();
        assert_eq!(watch.code(), Code::PermissionDenied, "{watch:?}");
    }
    let ledger = connect(house, context, "unknown").await;
    for agent in [crate::READER, "nobody"] {
        let checked = ledger.check(agent, "read", "documents/1", b"").await;
        assert!(matches!(checked, Err(CheckError::Refused { .. })), "{checked:?}");
    }
    match ledger.register_agent(name("never"), name("ada@example.com"), None).await {
        Err(SubmitError::Refused { code, .. }) => assert_eq!(code, "unknown_principal"),
        other => panic!("{other:?}"),
    }
    house.unharmed("a certified key that is no principal's").await;
}

async fn out_of_scope(house: &mut House) {
    let key = key();
    let scope = Scope { agents: Patterns::collect(["desk/*"]).unwrap(), ..Scope::default() };
    let roles = vec![Role::Gate];
    let gate = Principal { key: public(&key), name: name("desk-gate"), roles, scope };
    house.operator.add_principal(gate).await.unwrap();
    house.count_leaves().await;
    let context = certified(&house.cluster, "desk-gate", &key);
    let ledger = connect(house, context, "desk-gate").await;
    let inside = ledger.check("desk/1", "read", "documents/1", b"").await;
    assert!(matches!(inside, Err(CheckError::Denied(_))), "{inside:?}");
    for agent in [crate::READER, "desk", "desks/1", "nobody"] {
        let outside = ledger.check(agent, "read", "documents/1", b"").await;
        assert!(matches!(outside, Err(CheckError::Refused { .. })), "{agent}: {outside:?}");
    }
    house.unharmed("a gate outside its scope").await;
}
